/*
 * fuzz_part.c
 *		Attachment parts: header, lengths, chunk by chunk and whole.
 *
 * Input: mode, dek32, chat16, u32 version, file16, u32 part, u8 last, salt24, u32 bit
 * to change, u16 length of aad, aad, and the sealed part; where it seals, instead of
 * the part a u16 length and one byte that the plaintext is made of, so that a short
 * input reaches several chunks.
 */
#include "core/attachment.h"
#include "fuzz.h"

typedef struct fields
{
	uint8_t		key[CC_DEK_LEN];
	uint32_t	version;
	uint8_t		file_id[CC_ID_LEN];
	uint8_t		salt[CC_CHUNK_SALT_LEN];
	uint32_t	flip;
	fuzz_bytes	aad;
	cc_part_id	id;
} fields;

static cc_status
read_fields(fuzz_input *input, fields *f)
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		chat_id[CC_ID_LEN];

	fuzz_take(input, dek, sizeof(dek));
	fuzz_take(input, chat_id, sizeof(chat_id));
	f->version = (uint32_t) fuzz_number(input, 4);
	fuzz_take(input, f->file_id, sizeof(f->file_id));
	f->id.file_id = f->file_id;
	f->id.part = (uint32_t) fuzz_number(input, 4);
	f->id.last = fuzz_number(input, 1) & 1;
	fuzz_take(input, f->salt, sizeof(f->salt));
	f->flip = (uint32_t) fuzz_number(input, 4);
	f->aad = fuzz_slice(input, (size_t) fuzz_number(input, 2));
	f->id.aad = f->aad.data;
	f->id.aad_len = f->aad.len;
	return cc_dek_derive(dek, chat_id, f->version, CC_USE_ATTACHMENT, f->key);
}

/* Opens the header alone, from memory that holds nothing else. */
static cc_status
open_header(const fields *f, fuzz_bytes sealed, cc_part *part)
{
	fuzz_input	input = {sealed.data, sealed.len};
	fuzz_bytes	header = fuzz_alloc(CC_PART_HEADER_LEN, 0);
	cc_status	status;

	fuzz_take(&input, header.data, header.len);
	status = cc_part_open(part, f->key, f->version, &f->id, header.data, sealed.len);
	fuzz_free(header);
	return status;
}

/*
 * Opens one chunk into its place of plaintext.  The chunks lie one behind the
 * other, in the sealed part and in the plaintext.
 */
static cc_status
open_chunk(const cc_part *part, uint32_t n, fuzz_bytes sealed, fuzz_bytes plaintext)
{
	fuzz_input	input = {sealed.data, sealed.len};
	size_t		offset,
				sealed_len,
				plaintext_len;
	fuzz_bytes	chunk,
				out;
	cc_status	status;

	DEMAND(cc_part_chunk_range(part, n, &offset, &sealed_len, &plaintext_len) == CC_OK);
	DEMAND(offset == CC_PART_HEADER_LEN + (size_t) n * (CC_CHUNK_LEN + CC_AEAD_TAG_LEN));
	DEMAND(sealed_len == plaintext_len + CC_AEAD_TAG_LEN && offset + sealed_len <= sealed.len);
	DEMAND((n + 1 == part->chunks) == (plaintext_len < CC_CHUNK_LEN));

	input.at += offset;
	input.left -= offset;
	chunk = fuzz_slice(&input, sealed_len);
	out = fuzz_alloc(plaintext_len, 0xaa);
	status = cc_part_open_chunk(fuzz_aead(), part, n, chunk.data, out.data);
	DEMAND(status == CC_OK || fuzz_wiped(out));
	if (plaintext_len > 0)
		memcpy(plaintext.data + (size_t) n * CC_CHUNK_LEN, out.data, plaintext_len);
	fuzz_free(chunk);
	fuzz_free(out);
	return status;
}

/* How many chunks do not open.  They are opened backwards, so that no order is assumed. */
static uint32_t
open_chunks(const cc_part *part, fuzz_bytes sealed, fuzz_bytes plaintext)
{
	uint32_t	refused = 0;
	size_t		offset,
				sealed_len,
				plaintext_len;

	for (uint32_t n = part->chunks; n-- > 0;)
		refused += open_chunk(part, n, sealed, plaintext) != CC_OK;
	DEMAND(cc_part_chunk_range(part, part->chunks, &offset, &sealed_len, &plaintext_len) != CC_OK);
	return refused;
}

/* Opens whole and in chunks, which must agree.  The caller frees *plaintext. */
static cc_status
open_part(const fields *f, fuzz_bytes sealed, fuzz_bytes *plaintext)
{
	size_t		plaintext_len = 0,
				back;
	cc_status	measured = cc_part_plaintext_len(sealed.len, &plaintext_len);
	cc_status	whole;
	cc_part		part;

	if (measured == CC_OK)
		DEMAND(cc_part_sealed_len(plaintext_len, &back) == CC_OK && back == sealed.len);
	*plaintext = fuzz_alloc(measured == CC_OK ? plaintext_len : 0, 0xaa);
	whole = cc_part_open_all(fuzz_aead(), f->key, f->version, &f->id, sealed.data, sealed.len,
							 plaintext->data);
	DEMAND(whole == CC_OK || fuzz_wiped(*plaintext));
	DEMAND(whole != CC_OK || measured == CC_OK);

	if (open_header(f, sealed, &part) == CC_OK)
	{
		fuzz_bytes	chunks = fuzz_alloc(plaintext_len, 0);

		DEMAND(measured == CC_OK && part.plaintext_len == plaintext_len);
		DEMAND((open_chunks(&part, sealed, chunks) == 0) == (whole == CC_OK));
		DEMAND(whole != CC_OK || fuzz_same(chunks, *plaintext));
		fuzz_free(chunks);
		cc_part_close(&part);
	}
	else
		DEMAND(whole != CC_OK);
	return whole;
}

static cc_status
seal(const fields *f, const uint8_t salt[CC_CHUNK_SALT_LEN], fuzz_bytes plaintext, fuzz_bytes *sealed)
{
	size_t		sealed_len;

	DEMAND(cc_part_sealed_len(plaintext.len, &sealed_len) == CC_OK);
	*sealed = fuzz_alloc(sealed_len, 0);
	return cc_part_seal_salted(fuzz_aead(), f->key, f->version, &f->id, salt,
							   plaintext.data, plaintext.len, sealed->data);
}

static void
open_as_it_stands(const fields *f, fuzz_bytes sealed)
{
	fuzz_bytes	plaintext;

	if (open_part(f, sealed, &plaintext) == CC_OK)
	{
		fuzz_bytes	again;

		DEMAND(seal(f, sealed.data + 5, plaintext, &again) == CC_OK);
		DEMAND(fuzz_same(again, sealed));
		fuzz_free(again);
	}
	fuzz_free(plaintext);
}

/* After a change in a chunk the header still opens, and that chunk alone does not. */
static void
open_changed(const fields *f, fuzz_bytes sealed, size_t changed)
{
	fuzz_bytes	plaintext;
	cc_part		part;

	DEMAND(open_part(f, sealed, &plaintext) != CC_OK);
	if (changed < CC_PART_HEADER_LEN)
		DEMAND(open_header(f, sealed, &part) != CC_OK);
	else
	{
		DEMAND(open_header(f, sealed, &part) == CC_OK);
		DEMAND(open_chunks(&part, sealed, plaintext) == 1);
		cc_part_close(&part);
	}
	fuzz_free(plaintext);
}

/* No part opens as another one, nor as the end where it is not. */
static void
open_as_another(const fields *f, fuzz_bytes sealed)
{
	fields		other = *f;
	cc_part		part;

	other.id.last = !f->id.last;
	DEMAND(open_header(&other, sealed, &part) == CC_ERR_AUTH);
	other = *f;
	other.id.part ^= UINT32_C(1) << f->flip % 32;
	DEMAND(open_header(&other, sealed, &part) == CC_ERR_AUTH);
	other = *f;
	other.file_id[f->flip % CC_ID_LEN] ^= 1;
	other.id.file_id = other.file_id;
	DEMAND(open_header(&other, sealed, &part) == CC_ERR_AUTH);
}

static void
seal_open_change_open(const fields *f, fuzz_bytes plaintext)
{
	fuzz_bytes	sealed,
				opened;

	DEMAND(seal(f, f->salt, plaintext, &sealed) == CC_OK);
	DEMAND(open_part(f, sealed, &opened) == CC_OK);
	DEMAND(fuzz_same(opened, plaintext));
	fuzz_free(opened);

	open_as_another(f, sealed);
	open_changed(f, sealed, fuzz_flip(sealed, f->flip));
	fuzz_free(sealed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	bool		sealing = fuzz_number(&input, 1) & 1;
	fields		f;
	cc_status	derived = read_fields(&input, &f);

	DEMAND((derived == CC_OK) == (f.version != 0));
	if (derived == CC_OK)
	{
		size_t		len = sealing ? (size_t) fuzz_number(&input, 2) : 0;
		fuzz_bytes	rest = sealing ? fuzz_alloc(len, (int) fuzz_number(&input, 1)) : fuzz_rest(&input);

		if (sealing)
			seal_open_change_open(&f, rest);
		else
			open_as_it_stands(&f, rest);
		fuzz_free(rest);
	}
	fuzz_free(f.aad);
	return 0;
}
