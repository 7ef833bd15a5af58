/*
 * test_aead.c
 *		AES-256-GCM: the answers of NIST, both back ends against each other, and
 *		every way to tamper.
 */
#include "harness.h"

#include "core/aead.h"

static const cc_aead_backend backends[] = {CC_AEAD_OPENSSL, CC_AEAD_SODIUM, CC_AEAD_AUTO};
#define NBACKENDS (sizeof(backends) / sizeof(backends[0]))

/* Test cases 13 to 16 of the GCM submission to NIST: AES-256 with 96-bit nonces. */
static const struct
{
	const char *key;
	const char *nonce;
	const char *aad;
	const char *plaintext;
	const char *ciphertext;
	const char *tag;
}			nist[] = {
	{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"000000000000000000000000",
		"", "", "", "530f8afbc74536b9a963b4f1c4cb738b"
	},
	{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"000000000000000000000000",
		"", "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
		"d0d1c8a799996bf0265b98b5d48ab919"
	},
	{
		"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
		"cafebabefacedbaddecaf888", "",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
		"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
		"b094dac5d93471bdec1a502270e3cc6c"
	},
	{
		"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
		"cafebabefacedbaddecaf888",
		"feedfacedeadbeeffeedfacedeadbeefabaddad2",
		"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
		"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
		"76fc6ece0f4e1768cddf8853bb2d551b"
	}
};

/* NULL where this CPU cannot run the back end; any other failure ends the run. */
static cc_aead *
new_or_skip(cc_aead_backend backend)
{
	cc_aead    *ctx = cc_aead_new(backend);

	if (ctx == NULL && (backend != CC_AEAD_SODIUM || cc_aead_has_sodium()))
		abort();
	return ctx;
}

static bool
nist_case(cc_aead *ctx, size_t i)
{
	size_t		aad_len;
	size_t		len;
	uint8_t    *key = unit_hex(nist[i].key, NULL);
	uint8_t    *nonce = unit_hex(nist[i].nonce, NULL);
	uint8_t    *aad = unit_hex(nist[i].aad, &aad_len);
	uint8_t    *plaintext = unit_hex(nist[i].plaintext, &len);
	uint8_t    *out = unit_alloc(len);
	uint8_t		tag[CC_AEAD_TAG_LEN];
	bool		good;

	good = cc_aead_seal(ctx, key, nonce, aad, aad_len, plaintext, len, out, tag) == CC_OK &&
		unit_is_hex(out, len, nist[i].ciphertext) && unit_is_hex(tag, sizeof(tag), nist[i].tag);

	/* And back, in place. */
	good = good && cc_aead_open(ctx, key, nonce, aad, aad_len, out, len, tag, out) == CC_OK &&
		memcmp(out, plaintext, len) == 0;
	free(key);
	free(nonce);
	free(aad);
	free(plaintext);
	free(out);
	return good;
}

static void
nist_answers(void)
{
	for (size_t b = 0; b < NBACKENDS; b++)
	{
		cc_aead    *ctx = new_or_skip(backends[b]);

		if (ctx == NULL)
			continue;
		for (size_t i = 0; i < sizeof(nist) / sizeof(nist[0]); i++)
			CHECK_AT(nist_case(ctx, i), 13 + i);
		cc_aead_free(ctx);
	}
}

/* One message, sealed by each back end and opened by the other. */
static bool
agree(cc_aead *one, cc_aead *other, size_t len, size_t aad_len)
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		nonce[CC_AEAD_NONCE_LEN];
	uint8_t    *aad = unit_alloc(aad_len);
	uint8_t    *plaintext = unit_alloc(len);
	uint8_t    *a = unit_alloc(len);
	uint8_t    *b = unit_alloc(len);
	uint8_t		tag_a[CC_AEAD_TAG_LEN];
	uint8_t		tag_b[CC_AEAD_TAG_LEN];
	bool		good;

	unit_fill(key, sizeof(key));
	unit_fill(nonce, sizeof(nonce));
	unit_fill(aad, aad_len);
	unit_fill(plaintext, len);
	good = cc_aead_seal(one, key, nonce, aad, aad_len, plaintext, len, a, tag_a) == CC_OK &&
		cc_aead_seal(other, key, nonce, aad, aad_len, plaintext, len, b, tag_b) == CC_OK &&
		memcmp(a, b, len) == 0 && memcmp(tag_a, tag_b, sizeof(tag_a)) == 0 &&
		cc_aead_open(other, key, nonce, aad, aad_len, a, len, tag_a, a) == CC_OK &&
		cc_aead_open(one, key, nonce, aad, aad_len, b, len, tag_b, b) == CC_OK &&
		memcmp(a, plaintext, len) == 0 && memcmp(b, plaintext, len) == 0;
	free(aad);
	free(plaintext);
	free(a);
	free(b);
	return good;
}

static void
back_ends_agree(void)
{
	cc_aead    *openssl = cc_aead_new(CC_AEAD_OPENSSL);
	cc_aead    *other = cc_aead_new(cc_aead_has_sodium() ? CC_AEAD_SODIUM : CC_AEAD_AUTO);
	cc_aead    *automatic = cc_aead_new(CC_AEAD_AUTO);

	CHECK(openssl != NULL && other != NULL && automatic != NULL);
	for (size_t len = 0; len <= 300; len++)
		CHECK_AT(agree(openssl, other, len, len % 40), len);
	for (size_t len = 690; len <= 720; len++)
		CHECK_AT(agree(automatic, other, len, 5), len);
	for (int round = 0; round < 120; round++)
	{
		size_t		len = unit_number(70001);

		CHECK_AT(agree(openssl, other, len, unit_number(300)), len);
	}
	CHECK(agree(openssl, other, 70000, 0));
	cc_aead_free(openssl);
	cc_aead_free(other);
	cc_aead_free(automatic);
}

/* Everything in which one bit can be changed. */
typedef struct pieces
{
	uint8_t		key[CC_AEAD_KEY_LEN];
	uint8_t		nonce[CC_AEAD_NONCE_LEN];
	uint8_t		aad[7];
	uint8_t		ciphertext[35];
	uint8_t		tag[CC_AEAD_TAG_LEN];
} pieces;

static void
every_bit_counts(void)
{
	static const uint8_t plaintext[35] = "thirty-four bytes of one's thoughts";

	for (size_t b = 0; b < NBACKENDS; b++)
	{
		cc_aead    *ctx = new_or_skip(backends[b]);
		pieces		p;
		uint8_t		out[sizeof(plaintext)];

		if (ctx == NULL)
			continue;
		unit_fill((uint8_t *) &p, sizeof(p));
		CHECK(cc_aead_seal(ctx, p.key, p.nonce, p.aad, sizeof(p.aad), plaintext, sizeof(plaintext),
						   p.ciphertext, p.tag) == CC_OK);
		for (size_t bit = 0; bit < 8 * sizeof(p); bit++)
		{
			uint8_t    *byte = (uint8_t *) &p + bit / 8;

			*byte ^= (uint8_t) (1 << (bit % 8));
			memset(out, 0xee, sizeof(out));
			CHECK_AT(cc_aead_open(ctx, p.key, p.nonce, p.aad, sizeof(p.aad), p.ciphertext,
								  sizeof(p.ciphertext), p.tag, out) == CC_ERR_AUTH, bit);
			CHECK_AT(unit_all_zero(out, sizeof(out)), bit);
			*byte ^= (uint8_t) (1 << (bit % 8));
		}
		CHECK(cc_aead_open(ctx, p.key, p.nonce, p.aad, sizeof(p.aad), p.ciphertext,
						   sizeof(p.ciphertext), p.tag, out) == CC_OK);
		CHECK(memcmp(out, plaintext, sizeof(out)) == 0);
		cc_aead_free(ctx);
	}
}

static void
long_output_is_wiped_too(void)
{
	for (size_t b = 0; b < NBACKENDS; b++)
	{
		cc_aead    *ctx = new_or_skip(backends[b]);
		size_t		len = 40000;
		uint8_t    *in = unit_alloc(len);
		uint8_t    *out = unit_alloc(len);
		uint8_t		tag[CC_AEAD_TAG_LEN] = {0};
		static const uint8_t key[CC_AEAD_KEY_LEN];
		bool		good;

		if (ctx == NULL)
		{
			free(in);
			free(out);
			continue;
		}
		unit_fill(in, len);
		memset(out, 0xee, len);
		good = cc_aead_open(ctx, key, key, NULL, 0, in, len, tag, out) == CC_ERR_AUTH &&
			unit_all_zero(out, len);

		/* In place as well. */
		good = good && cc_aead_open(ctx, key, key, NULL, 0, in, len, tag, in) == CC_ERR_AUTH &&
			unit_all_zero(in, len);
		free(in);
		free(out);
		cc_aead_free(ctx);
		CHECK_AT(good, b);
	}
}

static void
forgetting_changes_nothing(void)
{
	for (size_t b = 0; b < NBACKENDS; b++)
	{
		cc_aead    *ctx = new_or_skip(backends[b]);

		if (ctx == NULL)
			continue;
		cc_aead_forget(ctx);
		for (int round = 0; round < 4; round++)
		{
			CHECK_AT(nist_case(ctx, 3), round);
			CHECK_AT(agree(ctx, ctx, 5000, 3), round);
			cc_aead_forget(ctx);
			cc_aead_forget(ctx);
		}
		cc_aead_free(ctx);
	}
	cc_aead_free(NULL);
}

static void
lengths_over_the_libraries_are_refused(void)
{
	cc_aead    *ctx = cc_aead_new(CC_AEAD_AUTO);
	uint8_t		bytes[CC_AEAD_KEY_LEN] = {0};

	/* The lengths are wrong, and nothing may be read or written: out cannot be wiped either. */
	CHECK(cc_aead_seal(ctx, bytes, bytes, NULL, 0, bytes, SIZE_MAX, bytes, bytes)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_aead_seal(ctx, bytes, bytes, bytes, SIZE_MAX, bytes, 1, bytes, bytes)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_aead_open(ctx, bytes, bytes, bytes, SIZE_MAX, bytes, 1, bytes, bytes)
		  == CC_ERR_TOO_LARGE);
	CHECK(cc_aead_open(ctx, bytes, bytes, NULL, 0, bytes, SIZE_MAX, bytes, bytes)
		  == CC_ERR_TOO_LARGE);
	cc_aead_free(ctx);
}

static void
starting_twice_is_harmless(void)
{
	CHECK(cc_aead_global_init() == CC_OK);
	CHECK(cc_aead_global_init() == CC_OK);
}

int
main(void)
{
	RUN(nist_answers);
	RUN(back_ends_agree);
	RUN(every_bit_counts);
	RUN(long_output_is_wiped_too);
	RUN(forgetting_changes_nothing);
	RUN(lengths_over_the_libraries_are_refused);
	RUN(starting_twice_is_harmless);
	return unit_done();
}
