/*
 * fuzz_envelope.c
 *		Message envelopes: inspect, open, and seal again.
 *
 * Input: mode, dek32, chat16, u32 version, message16, salt12, u32 bit to change,
 * u16 length of aad, aad, and the envelope or the plaintext.
 */
#include "core/envelope.h"
#include "fuzz.h"

typedef struct fields
{
	cc_message_keys keys;
	uint32_t	version;
	uint8_t		message_id[CC_ID_LEN];
	uint8_t		salt[CC_SALT_LEN];
	uint32_t	flip;
	fuzz_bytes	aad;
	fuzz_bytes	rest;
} fields;

static cc_status
read_fields(fuzz_input *input, fields *f)
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		chat_id[CC_ID_LEN];

	fuzz_take(input, dek, sizeof(dek));
	fuzz_take(input, chat_id, sizeof(chat_id));
	f->version = (uint32_t) fuzz_number(input, 4);
	fuzz_take(input, f->message_id, sizeof(f->message_id));
	fuzz_take(input, f->salt, sizeof(f->salt));
	f->flip = (uint32_t) fuzz_number(input, 4);
	f->aad = fuzz_slice(input, (size_t) fuzz_number(input, 2));
	f->rest = fuzz_rest(input);
	return cc_message_keys_derive(&f->keys, dek, chat_id, f->version);
}

static cc_status
seal(const fields *f, const uint8_t salt[CC_SALT_LEN], fuzz_bytes plaintext, fuzz_bytes envelope)
{
	DEMAND(envelope.len == plaintext.len + CC_ENVELOPE_OVERHEAD);
	return cc_envelope_seal_salted(fuzz_aead(), &f->keys, f->version, f->message_id, salt,
								   f->aad.data, f->aad.len, plaintext.data, plaintext.len,
								   envelope.data);
}

/* The plaintext lies in *plaintext, which the caller frees. */
static cc_status
open_envelope(const fields *f, fuzz_bytes envelope, fuzz_bytes *plaintext)
{
	cc_envelope_info info;
	cc_status	inspected = cc_envelope_inspect(envelope.data, envelope.len, &info);
	cc_status	opened;

	*plaintext = fuzz_room(envelope.len, CC_ENVELOPE_OVERHEAD);
	opened = cc_envelope_open(fuzz_aead(), &f->keys, f->version, f->message_id, f->aad.data,
							  f->aad.len, envelope.data, envelope.len, plaintext->data);

	/* Nothing opens that inspect refuses, and an envelope that opens is as inspect said. */
	if (opened == CC_OK)
		DEMAND(inspected == CC_OK && info.suite == CC_SUITE_MESSAGE &&
			   info.dek_version == f->version && info.plaintext_len == plaintext->len);
	else
		DEMAND(envelope.len < CC_ENVELOPE_OVERHEAD || fuzz_wiped(*plaintext));
	if (inspected == CC_OK && info.suite == CC_SUITE_MESSAGE)
		DEMAND(info.plaintext_len + CC_ENVELOPE_OVERHEAD == envelope.len);
	return opened;
}

/* Sealing again with the salt of an envelope gives that envelope: there is one for each input. */
static void
open_as_it_stands(const fields *f)
{
	fuzz_bytes	plaintext;

	if (open_envelope(f, f->rest, &plaintext) == CC_OK)
	{
		fuzz_bytes	again = fuzz_alloc(f->rest.len, 0);

		DEMAND(seal(f, f->rest.data + CC_HEADER_LEN, plaintext, again) == CC_OK);
		DEMAND(fuzz_same(again, f->rest));
		fuzz_free(again);
	}
	fuzz_free(plaintext);
}

static void
seal_open_change_open(const fields *f)
{
	fuzz_bytes	envelope = fuzz_alloc(f->rest.len + CC_ENVELOPE_OVERHEAD, 0);
	fields		other = *f;
	fuzz_bytes	plaintext;

	DEMAND(seal(f, f->salt, f->rest, envelope) == CC_OK);
	DEMAND(open_envelope(f, envelope, &plaintext) == CC_OK);
	DEMAND(fuzz_same(plaintext, f->rest));
	fuzz_free(plaintext);

	other.message_id[f->flip % CC_ID_LEN] ^= 1;
	DEMAND(open_envelope(&other, envelope, &plaintext) == CC_ERR_AUTH);
	fuzz_free(plaintext);

	fuzz_flip(envelope, f->flip);
	DEMAND(open_envelope(f, envelope, &plaintext) != CC_OK);
	fuzz_free(plaintext);
	fuzz_free(envelope);
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
		if (sealing)
			seal_open_change_open(&f);
		else
			open_as_it_stands(&f);
	}
	fuzz_free(f.aad);
	fuzz_free(f.rest);
	return 0;
}
