/*
 * fuzz_secretbox.c
 *		Conversation messages.
 *
 * Input: mode, dek32, u32 version, nonce24, u32 bit to change, and the message or
 * the plaintext.
 */
#include "core/envelope.h"
#include "core/secretbox.h"
#include "fuzz.h"

typedef struct fields
{
	uint8_t		dek[CC_DEK_LEN];
	uint32_t	version;
	uint8_t		nonce[CC_SECRETBOX_NONCE_LEN];
	uint32_t	flip;
	fuzz_bytes	rest;
} fields;

static void
read_fields(fuzz_input *input, fields *f)
{
	fuzz_take(input, f->dek, sizeof(f->dek));
	f->version = (uint32_t) fuzz_number(input, 4);
	fuzz_take(input, f->nonce, sizeof(f->nonce));
	f->flip = (uint32_t) fuzz_number(input, 4);
	f->rest = fuzz_rest(input);
}

/* The plaintext lies in *plaintext, which the caller frees. */
static cc_status
open_message(const fields *f, fuzz_bytes message, fuzz_bytes *plaintext)
{
	cc_envelope_info info;
	cc_status	inspected = cc_envelope_inspect(message.data, message.len, &info);
	cc_status	opened;

	*plaintext = fuzz_room(message.len, CC_SECRETBOX_OVERHEAD);
	opened = cc_secretbox_open(f->dek, f->version, message.data, message.len, plaintext->data);
	if (opened == CC_OK)
		DEMAND(inspected == CC_OK && info.suite == CC_SUITE_CONVERSATION &&
			   info.dek_version == f->version && info.plaintext_len == plaintext->len);
	else
		DEMAND(message.len < CC_SECRETBOX_OVERHEAD || fuzz_wiped(*plaintext));
	return opened;
}

static void
open_as_it_stands(const fields *f)
{
	fuzz_bytes	plaintext;

	if (open_message(f, f->rest, &plaintext) == CC_OK)
	{
		fuzz_bytes	again = fuzz_alloc(f->rest.len, 0);

		DEMAND(cc_secretbox_seal_nonce(f->dek, f->version, f->rest.data + CC_HEADER_LEN,
									   plaintext.data, plaintext.len, again.data) == CC_OK);
		DEMAND(fuzz_same(again, f->rest));
		memset(again.data, 0, again.len);
		DEMAND(cc_secretbox_assemble(f->version, f->rest.data + CC_SECRETBOX_NONCE_AT,
									 f->rest.data + CC_SECRETBOX_BOX_AT,
									 f->rest.len - CC_SECRETBOX_BOX_AT, again.data) == CC_OK);
		DEMAND(fuzz_same(again, f->rest));
		fuzz_free(again);
	}
	fuzz_free(plaintext);
}

/* The version is not authenticated, but it is compared: a change of any bit is refused. */
static void
seal_open_change_open(const fields *f)
{
	fuzz_bytes	message = fuzz_alloc(f->rest.len + CC_SECRETBOX_OVERHEAD, 0);
	cc_status	sealed = cc_secretbox_seal_nonce(f->dek, f->version, f->nonce, f->rest.data,
												 f->rest.len, message.data);
	fuzz_bytes	plaintext;

	DEMAND((sealed == CC_OK) == (f->version != 0));
	if (sealed == CC_OK)
	{
		DEMAND(open_message(f, message, &plaintext) == CC_OK);
		DEMAND(fuzz_same(plaintext, f->rest));
		fuzz_free(plaintext);

		fuzz_flip(message, f->flip);
		DEMAND(open_message(f, message, &plaintext) != CC_OK);
		fuzz_free(plaintext);
	}
	fuzz_free(message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	bool		sealing = fuzz_number(&input, 1) & 1;
	fields		f;

	read_fields(&input, &f);
	if (sealing)
		seal_open_change_open(&f);
	else
		open_as_it_stands(&f);
	fuzz_free(f.rest);
	return 0;
}
