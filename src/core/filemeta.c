/*
 * filemeta.c
 *		The metadata of a file: see filemeta.h.
 */
#include "core/filemeta.h"

#define LAYOUT		1
#define FIXED_LEN	(1 + 1 + 4 + 4 + 8 + 2 + 2)

size_t
cc_filemeta_len(const cc_filemeta *meta)
{
	return FIXED_LEN + meta->name_len + meta->content_type_len;
}

/* Would a file of this size, cut into parts of part_size, have this number of parts? */
static bool
goes_together(const cc_filemeta *meta)
{
	uint64_t	before_last;

	if (meta->part_size < CC_FILE_PART_SIZE_MIN || meta->part_size > CC_FILE_PART_SIZE_MAX)
		return false;
	if (!meta->complete)
		return meta->parts == 0 && meta->size == 0;
	if (meta->parts == 0 || meta->parts > CC_FILE_PARTS_MAX)
		return false;
	before_last = (uint64_t) (meta->parts - 1) * meta->part_size;
	return meta->size >= before_last && meta->size - before_last <= meta->part_size;
}

static void
write_text(cc_writer *w, const uint8_t *text, size_t len)
{
	cc_write_u8(w, (uint8_t) (len >> 8));
	cc_write_u8(w, (uint8_t) len);
	if (len > 0)
		cc_write_bytes(w, text, len);
}

cc_status
cc_filemeta_write(const cc_filemeta *meta, uint8_t *out)
{
	cc_writer	w = cc_writer_init(out, cc_filemeta_len(meta));

	if (meta->name_len > CC_FILE_NAME_MAX || meta->content_type_len > CC_FILE_TYPE_MAX)
		return CC_ERR_TOO_LARGE;
	if (!goes_together(meta))
		return CC_ERR_ARGUMENT;
	cc_write_u8(&w, LAYOUT);
	cc_write_u8(&w, meta->complete ? 1 : 0);
	cc_write_u32(&w, meta->part_size);
	cc_write_u32(&w, meta->parts);
	cc_write_u32(&w, (uint32_t) (meta->size >> 32));
	cc_write_u32(&w, (uint32_t) meta->size);
	write_text(&w, meta->name, meta->name_len);
	write_text(&w, meta->content_type, meta->content_type_len);
	return cc_writer_ok(&w) ? CC_OK : CC_ERR_ARGUMENT;
}

static const uint8_t *
read_text(cc_reader *r, size_t *len)
{
	*len = (size_t) cc_read_u8(r) << 8;
	*len |= cc_read_u8(r);
	return cc_read_bytes(r, *len);
}

cc_status
cc_filemeta_read(const uint8_t *bytes, size_t len, cc_filemeta *meta)
{
	cc_reader	r = cc_reader_init(bytes, len);
	uint8_t		layout = cc_read_u8(&r);
	uint8_t		complete = cc_read_u8(&r);

	meta->complete = complete == 1;
	meta->part_size = cc_read_u32(&r);
	meta->parts = cc_read_u32(&r);
	meta->size = (uint64_t) cc_read_u32(&r) << 32;
	meta->size |= cc_read_u32(&r);
	meta->name = read_text(&r, &meta->name_len);
	meta->content_type = read_text(&r, &meta->content_type_len);
	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (r.left > 0)
		return CC_ERR_TRAILING;
	if (layout != LAYOUT || complete > 1)
		return CC_ERR_SYNTAX;
	if (meta->name_len > CC_FILE_NAME_MAX || meta->content_type_len > CC_FILE_TYPE_MAX)
		return CC_ERR_TOO_LARGE;
	return goes_together(meta) ? CC_OK : CC_ERR_SYNTAX;
}

uint32_t
cc_filemeta_part_len(const cc_filemeta *meta, uint32_t part)
{
	if (part + 1 < meta->parts)
		return meta->part_size;
	return (uint32_t) (meta->size - (uint64_t) part * meta->part_size);
}
