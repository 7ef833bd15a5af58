/*
 * filemeta.h
 *		The metadata of a file, which is stored, sealed, beside the file's parts:
 *
 *	01 ‖ u8 complete ‖ u32 part_size ‖ u32 parts ‖ u64 size ‖
 *	u16 length ‖ name ‖ u16 length ‖ content type
 *
 * It is the plaintext of a message envelope whose message id is the file's and whose
 * aad is "file" 00.  Numbers have fixed lengths, so that the length of the envelope
 * tells nothing of the size.  The number of parts and their lengths are stored here alone,
 * so that parts which went missing at the end of a file are noticed.
 */
#ifndef CC_FILEMETA_H
#define CC_FILEMETA_H

#include "core/bytes.h"

#define CC_FILE_AAD				"file"	/* with its 00 */
#define CC_FILE_NAME_MAX		4096	/* bytes of UTF-8 */
#define CC_FILE_TYPE_MAX		255
#define CC_FILE_PART_SIZE_MIN	1024
#define CC_FILE_PART_SIZE_MAX	(UINT32_C(1) << 24)
#define CC_FILE_PARTS_MAX		(UINT32_C(1) << 24)

/* Points to the caller's bytes.  A file without a name or a content type has length 0 there. */
typedef struct cc_filemeta
{
	bool		complete;
	uint32_t	part_size;			/* of every part but the last, which may be shorter */
	uint32_t	parts;				/* 0 until complete, then at least 1 */
	uint64_t	size;				/* 0 until complete */
	const uint8_t *name;
	size_t		name_len;
	const uint8_t *content_type;
	size_t		content_type_len;
} cc_filemeta;

extern size_t cc_filemeta_len(const cc_filemeta *meta);

/* out has cc_filemeta_len() bytes.  CC_ERR_ARGUMENT where the numbers contradict each other. */
extern CC_MUST_CHECK cc_status cc_filemeta_write(const cc_filemeta *meta, uint8_t *out);

/* Accepts only what cc_filemeta_write() could have written. */
extern CC_MUST_CHECK cc_status cc_filemeta_read(const uint8_t *bytes, size_t len,
												cc_filemeta *meta);

/* Bytes of plaintext in a part of a complete file. */
extern uint32_t cc_filemeta_part_len(const cc_filemeta *meta, uint32_t part);

#endif
