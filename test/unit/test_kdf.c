/*
 * test_kdf.c
 *		SHA-256, HMAC and HKDF against RFC 4231, RFC 5869 and OpenSSL's own, what an
 *		HMAC costs, and the limits of the key schedule.
 */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>

#include "core/kdf.h"

/* The linker puts these around the functions of OpenSSL: see UNIT_LDFLAGS_test_kdf. */
extern void __real_SHA256_Transform(void *ctx, const unsigned char *block);
extern void __wrap_SHA256_Transform(void *ctx, const unsigned char *block);

static int	compressions;

void
__wrap_SHA256_Transform(void *ctx, const unsigned char *block)
{
	compressions++;
	__real_SHA256_Transform(ctx, block);
}

static void
hmac_of(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len,
		uint8_t mac[CC_SHA256_LEN])
{
	cc_hmac_key kept;

	cc_hmac_key_init(&kept, key, key_len);
	cc_hmac(&kept, data, len, mac);
}

static void
rfc_4231(void)
{
	static const struct
	{
		const char *key;
		const char *data;
		const char *mac;
	}			cases[] = {
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
		},
		{
			"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
		},
		{
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
			"dddddddddddddddddddddddddddddddddddd",
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
		},
		{
			"0102030405060708090a0b0c0d0e0f10111213141516171819",
			"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
			"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
		},
		{
			"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", "546573742057697468205472756e636174696f6e",
			"a3b6167473100ee06e0c796c2955552b"	/* cut to 128 bits by the RFC */
		},
		{
			"131 times aa", "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a"
			"65204b6579202d2048617368204b6579204669727374",
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
		},
		{
			"131 times aa", "5468697320697320612074657374207573696e672061206c6172676572207468"
			"616e20626c6f636b2d73697a65206b657920616e642061206c61726765722074"
			"68616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565"
			"647320746f20626520686173686564206265666f7265206265696e6720757365"
			"642062792074686520484d414320616c676f726974686d2e",
			"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
		}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool		long_key = cases[i].key[1] == '3' && cases[i].key[3] == ' ';
		size_t		key_len = 131;
		size_t		len;
		uint8_t    *key = long_key ? unit_alloc(key_len) : unit_hex(cases[i].key, &key_len);
		uint8_t    *data = unit_hex(cases[i].data, &len);
		uint8_t		mac[CC_SHA256_LEN];

		if (long_key)
			memset(key, 0xaa, key_len);
		hmac_of(key, key_len, data, len, mac);
		free(key);
		free(data);
		CHECK_AT(unit_is_hex(mac, strlen(cases[i].mac) / 2, cases[i].mac), i + 1);
	}
}

static void
rfc_5869(void)
{
	static const struct
	{
		const char *ikm;
		const char *salt;
		const char *info;
		const char *prk;
		const char *okm;
	}			cases[] = {
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
			"f0f1f2f3f4f5f6f7f8f9",
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
		},
		{
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
			"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
			"404142434445464748494a4b4c4d4e4f",
			"606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
			"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
			"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
			"b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
			"d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
			"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			"06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
			"59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
			"cc30c58179ec3e87c14c01d5c1f3434f1d87"
		},
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
			"19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
		}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t		ikm_len;
		size_t		salt_len;
		size_t		info_len;
		size_t		okm_len = strlen(cases[i].okm) / 2;
		uint8_t    *ikm = unit_hex(cases[i].ikm, &ikm_len);
		uint8_t    *salt = unit_hex(cases[i].salt, &salt_len);
		uint8_t    *info = unit_hex(cases[i].info, &info_len);
		uint8_t    *okm = unit_alloc(okm_len);
		uint8_t		prk[CC_SHA256_LEN];
		cc_hmac_key key;
		bool		same;

		cc_hkdf_extract(salt, salt_len, ikm, ikm_len, prk);
		cc_hmac_key_init(&key, prk, sizeof(prk));
		same = cc_hkdf_expand(&key, info, info_len, okm, okm_len) == CC_OK &&
			unit_is_hex(okm, okm_len, cases[i].okm);
		free(ikm);
		free(salt);
		free(info);
		free(okm);
		CHECK_AT(unit_is_hex(prk, sizeof(prk), cases[i].prk), i + 1);
		CHECK_AT(same, i + 1);
	}
}

static void
sha256_of_every_length(void)
{
	for (size_t len = 0; len <= 300; len++)
	{
		uint8_t    *data = unit_alloc(len);
		uint8_t		ours[CC_SHA256_LEN];
		uint8_t		theirs[CC_SHA256_LEN];

		unit_fill(data, len);
		cc_sha256(data, len, ours);
		SHA256(data, len, theirs);
		free(data);
		CHECK_AT(memcmp(ours, theirs, sizeof(ours)) == 0, len);
	}
}

static void
hmac_of_every_length(void)
{
	for (size_t len = 0; len <= 300; len++)
	{
		size_t		key_len = unit_number(140);
		uint8_t    *key = unit_alloc(key_len);
		uint8_t    *data = unit_alloc(len);
		uint8_t		ours[CC_SHA256_LEN];
		uint8_t		theirs[CC_SHA256_LEN];

		unit_fill(key, key_len);
		unit_fill(data, len);
		hmac_of(key, key_len, data, len, ours);
		HMAC(EVP_sha256(), key, (int) key_len, data, len, theirs, NULL);
		free(key);
		free(data);
		CHECK_AT(memcmp(ours, theirs, sizeof(ours)) == 0, len);
	}
}

static void
a_short_hmac_is_two_compressions(void)
{
	static const uint8_t data[64];
	uint8_t		mac[CC_SHA256_LEN];
	cc_hmac_key key;

	compressions = 0;
	cc_hmac_key_init(&key, data, 32);
	CHECK(compressions == 2);
	for (size_t len = 0; len <= sizeof(data); len++)
	{
		compressions = 0;
		cc_hmac(&key, data, len, mac);
		CHECK_AT(compressions == (len <= 55 ? 2 : 3), len);
	}
	compressions = 0;
	CHECK(cc_hkdf_expand(&key, data, 54, mac, 32) == CC_OK && compressions == 2);
	compressions = 0;
	CHECK(cc_hkdf_expand_pair(&key, &key, data, 54, mac, mac) == CC_OK && compressions == 4);
}

static void
a_pair_is_two_expands(void)
{
	cc_hmac_key a;
	cc_hmac_key b;
	uint8_t		info[CC_EXPAND_PAIR_INFO_MAX + 1];
	uint8_t		out_a[CC_SHA256_LEN];
	uint8_t		out_b[CC_SHA256_LEN];
	uint8_t		expected[CC_SHA256_LEN];

	unit_fill(info, sizeof(info));
	cc_hmac_key_init(&a, info, 32);
	cc_hmac_key_init(&b, info, 31);
	for (size_t len = 0; len <= CC_EXPAND_PAIR_INFO_MAX; len++)
	{
		CHECK(cc_hkdf_expand_pair(&a, &b, info, len, out_a, out_b) == CC_OK);
		CHECK(cc_hkdf_expand(&a, info, len, expected, sizeof(expected)) == CC_OK);
		CHECK_AT(memcmp(out_a, expected, sizeof(expected)) == 0, len);
		CHECK(cc_hkdf_expand(&b, info, len, expected, sizeof(expected)) == CC_OK);
		CHECK_AT(memcmp(out_b, expected, sizeof(expected)) == 0, len);
	}
	CHECK(cc_hkdf_expand_pair(&a, &b, info, sizeof(info), out_a, out_b) == CC_ERR_TOO_LARGE);
}

/* OpenSSL's HKDF, expand alone. */
static bool
expand_by_openssl(const char *digest, const uint8_t *prk, size_t prk_len, uint8_t *info,
				  size_t info_len, uint8_t *out, size_t out_len)
{
	EVP_KDF    *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int			mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM	params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (uint8_t *) prk, prk_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_len),
		OSSL_PARAM_construct_end()
	};
	bool		ok = EVP_KDF_derive(ctx, out, out_len, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static void
expand_of_every_length(void)
{
	uint8_t		prk[32];
	uint8_t		info[256];
	uint8_t		theirs[255 * CC_SHA256_LEN];
	cc_hmac_key key;

	unit_fill(prk, sizeof(prk));
	unit_fill(info, sizeof(info));
	cc_hmac_key_init(&key, prk, sizeof(prk));
	for (size_t out_len = 1; out_len <= 255 * CC_SHA256_LEN; out_len += 1 + out_len / 100 * 37)
	{
		size_t		info_len = unit_number(sizeof(info) + 1);
		uint8_t    *ours = unit_alloc(out_len);
		cc_status	status = cc_hkdf_expand(&key, info, info_len, ours, out_len);
		bool		same = status == CC_OK &&
			expand_by_openssl("SHA256", prk, sizeof(prk), info, info_len, theirs, out_len) &&
			memcmp(ours, theirs, out_len) == 0;

		free(ours);
		CHECK_AT(same, out_len);
	}
}

static void
expand512_of_every_length(void)
{
	uint8_t		prk[CC_DEK_LEN];
	uint8_t		info[600];
	uint8_t		theirs[300];

	unit_fill(prk, sizeof(prk));
	unit_fill(info, sizeof(info));
	for (size_t out_len = 1; out_len <= sizeof(theirs); out_len++)
	{
		size_t		info_len = unit_number(sizeof(info) + 1);
		size_t		first = unit_number(info_len + 1);
		uint8_t    *ours = unit_alloc(out_len);
		cc_status	status = cc_hkdf512_expand(prk, info, first, info + first, info_len - first,
											   ours, out_len);
		bool		same = status == CC_OK &&
			expand_by_openssl("SHA512", prk, sizeof(prk), info, info_len, theirs, out_len) &&
			memcmp(ours, theirs, out_len) == 0;

		free(ours);
		CHECK_AT(same, out_len);
	}
}

static void
expand_refuses_what_is_over_its_limits(void)
{
	static uint8_t large[255 * 64 + 1];
	cc_hmac_key key;

	cc_hmac_key_init(&key, large, 32);
	CHECK(cc_hkdf_expand(&key, large, 256, large, 255 * 32) == CC_OK);
	CHECK(cc_hkdf_expand(&key, large, 257, large, 32) == CC_ERR_TOO_LARGE);
	CHECK(cc_hkdf_expand(&key, large, 1, large, 255 * 32 + 1) == CC_ERR_TOO_LARGE);
	CHECK(cc_hkdf512_expand(large, NULL, 0, NULL, 0, large, 255 * 64 + 1) == CC_ERR_TOO_LARGE);
	CHECK(cc_hkdf_expand(&key, NULL, 0, NULL, 0) == CC_OK);
}

static void
every_use_has_its_own_key(void)
{
	static const uint8_t dek[CC_DEK_LEN] = {1};
	static const uint8_t chat[CC_ID_LEN] = {2};
	uint8_t		keys[CC_USE_KCV + 1][CC_DEK_LEN];

	for (int use = CC_USE_MESSAGE; use <= CC_USE_KCV; use++)
	{
		CHECK(cc_dek_derive(dek, chat, 1, (cc_key_use) use, keys[use]) == CC_OK);
		for (int other = 0; other < use; other++)
			CHECK_AT(memcmp(keys[use], keys[other], CC_DEK_LEN) != 0, use);
	}
	CHECK(cc_dek_derive(dek, chat, 1, (cc_key_use) (CC_USE_KCV + 1), keys[0]) == CC_ERR_ARGUMENT);
	CHECK(cc_dek_derive(dek, chat, 1, (cc_key_use) -1, keys[0]) == CC_ERR_ARGUMENT);
}

static void
hmac_keys_of_several_uses_are_those_of_each(void)
{
	static const uint8_t dek[CC_DEK_LEN] = {1};
	static const uint8_t chat[CC_ID_LEN] = {2};
	static const cc_key_use uses[] = {CC_USE_KCV, CC_USE_MESSAGE, CC_USE_SEARCH};
	cc_hmac_key together[3];
	cc_hmac_key *const wanted[] = {&together[0], &together[1], &together[2]};
	cc_key_use	none = (cc_key_use) (CC_USE_KCV + 1);

	CHECK(cc_dek_derive_hmac_keys(dek, chat, 7, uses, wanted, 3) == CC_OK);
	for (int i = 0; i < 3; i++)
	{
		uint8_t		key[CC_DEK_LEN];
		cc_hmac_key alone;

		CHECK(cc_dek_derive(dek, chat, 7, uses[i], key) == CC_OK);
		cc_hmac_key_init(&alone, key, sizeof(key));
		CHECK_AT(memcmp(&alone, &together[i], sizeof(alone)) == 0, i);
	}
	CHECK(cc_dek_derive_hmac_keys(dek, chat, 0, uses, wanted, 3) == CC_ERR_VERSION);
	CHECK(cc_dek_derive_hmac_keys(dek, chat, 7, &none, wanted, 1) == CC_ERR_ARGUMENT);
}

static void
version_0_is_refused(void)
{
	static const uint8_t bytes[32] = {1};
	uint8_t		out[32];

	for (int use = CC_USE_MESSAGE; use <= CC_USE_KCV; use++)
		CHECK_AT(cc_dek_derive(bytes, bytes, 0, (cc_key_use) use, out) == CC_ERR_VERSION, use);
	CHECK(cc_dek_kcv(bytes, bytes, 0, out) == CC_ERR_VERSION);
	CHECK(cc_wrap_context(bytes, bytes, "data", 0, out) == CC_ERR_VERSION);
}

static void
contexts_bind_everything(void)
{
	uint8_t		deployment[CC_ID_LEN] = {1};
	uint8_t		chat[CC_ID_LEN] = {2};
	uint8_t		base[CC_CONTEXT_LEN];
	uint8_t		other[CC_CONTEXT_LEN];

	CHECK(cc_wrap_context(deployment, chat, "data", 1, base) == CC_OK);
	CHECK(cc_wrap_context(deployment, chat, "data", 2, other) == CC_OK &&
		  memcmp(base, other, 32) != 0);
	CHECK(cc_wrap_context(deployment, chat, "search", 1, other) == CC_OK &&
		  memcmp(base, other, 32) != 0);
	CHECK(cc_wrap_context(chat, deployment, "data", 1, other) == CC_OK &&
		  memcmp(base, other, 32) != 0);
	CHECK(cc_wrap_context(deployment, chat, "", 1, other) == CC_ERR_ARGUMENT);
	CHECK(cc_wrap_context(deployment, chat, "12345678901234567890123456789012", 1, other) == CC_OK);
	CHECK(cc_wrap_context(deployment, chat, "123456789012345678901234567890123", 1, other)
		  == CC_ERR_ARGUMENT);
}

int
main(void)
{
	RUN(rfc_4231);
	RUN(rfc_5869);
	RUN(sha256_of_every_length);
	RUN(hmac_of_every_length);
	RUN(a_short_hmac_is_two_compressions);
	RUN(a_pair_is_two_expands);
	RUN(expand_of_every_length);
	RUN(expand512_of_every_length);
	RUN(expand_refuses_what_is_over_its_limits);
	RUN(every_use_has_its_own_key);
	RUN(hmac_keys_of_several_uses_are_those_of_each);
	RUN(version_0_is_refused);
	RUN(contexts_bind_everything);
	return unit_done();
}
