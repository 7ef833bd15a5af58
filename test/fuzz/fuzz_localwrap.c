/*
 * fuzz_localwrap.c
 *		DEKs wrapped by a local master key: version, open, seal again.
 *
 * Input: mode, master32, u32 version, context32, salt16, dek32, u32 bit to change,
 * and the wrapped DEK.
 */
#include "core/localwrap.h"
#include "fuzz.h"

typedef struct fields
{
	uint8_t		master[32];
	uint32_t	version;
	uint8_t		context[CC_CONTEXT_LEN];
	uint8_t		salt[CC_LOCALWRAP_SALT_LEN];
	uint8_t		dek[CC_DEK_LEN];
	uint32_t	flip;
	fuzz_bytes	rest;
} fields;

static void
read_fields(fuzz_input *input, fields *f)
{
	fuzz_take(input, f->master, sizeof(f->master));
	f->version = (uint32_t) fuzz_number(input, 4);
	fuzz_take(input, f->context, sizeof(f->context));
	fuzz_take(input, f->salt, sizeof(f->salt));
	fuzz_take(input, f->dek, sizeof(f->dek));
	f->flip = (uint32_t) fuzz_number(input, 4);
	f->rest = fuzz_rest(input);
}

/* The DEK lies in *dek, which the caller frees. */
static cc_status
open_wrapped(const fields *f, fuzz_bytes wrapped, fuzz_bytes *dek)
{
	uint32_t	version = 0;
	cc_status	looked = cc_localwrap_version(wrapped.data, wrapped.len, &version);
	cc_status	opened;

	*dek = fuzz_alloc(CC_DEK_LEN, 0xaa);
	opened = cc_localwrap_open(fuzz_aead(), f->master, f->version, f->context, wrapped.data,
							   wrapped.len, dek->data);
	if (opened == CC_OK)
		DEMAND(looked == CC_OK && version == f->version && wrapped.len == CC_LOCALWRAP_LEN);
	else
		DEMAND(fuzz_wiped(*dek));
	if (looked == CC_OK)
		DEMAND(version != 0 && wrapped.len == CC_LOCALWRAP_LEN);
	return opened;
}

static cc_status
seal(const fields *f, const uint8_t *salt, const uint8_t *dek, fuzz_bytes wrapped)
{
	return cc_localwrap_seal_salted(fuzz_aead(), f->master, f->version, f->context, salt, dek,
									wrapped.data);
}

static void
open_as_it_stands(const fields *f)
{
	fuzz_bytes	dek;

	if (open_wrapped(f, f->rest, &dek) == CC_OK)
	{
		fuzz_bytes	again = fuzz_alloc(CC_LOCALWRAP_LEN, 0);

		DEMAND(seal(f, f->rest.data + 5, dek.data, again) == CC_OK);
		DEMAND(fuzz_same(again, f->rest));
		fuzz_free(again);
	}
	fuzz_free(dek);
}

static void
seal_open_change_open(const fields *f)
{
	fuzz_bytes	wrapped = fuzz_alloc(CC_LOCALWRAP_LEN, 0);
	cc_status	sealed = seal(f, f->salt, f->dek, wrapped);
	fields		other = *f;
	fuzz_bytes	dek;

	DEMAND((sealed == CC_OK) == (f->version != 0));
	if (sealed == CC_OK)
	{
		DEMAND(open_wrapped(f, wrapped, &dek) == CC_OK);
		DEMAND(memcmp(dek.data, f->dek, CC_DEK_LEN) == 0);
		fuzz_free(dek);

		other.context[f->flip % CC_CONTEXT_LEN] ^= 1;
		DEMAND(open_wrapped(&other, wrapped, &dek) == CC_ERR_AUTH);
		fuzz_free(dek);

		fuzz_flip(wrapped, f->flip);
		DEMAND(open_wrapped(f, wrapped, &dek) != CC_OK);
		fuzz_free(dek);
	}
	fuzz_free(wrapped);
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
