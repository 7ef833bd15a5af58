/*
 * test_vectors.c
 *		The frozen answers of test/vectors/envelope.json, with both AES back ends.
 */
#include "harness.h"

#include "core/blind.h"
#include "core/envelope.h"
#include "core/id.h"

#include "envelope_vectors.h"

#define NVECTORS (sizeof(envelope_vectors) / sizeof(envelope_vectors[0]))
#define NIDS	 (sizeof(id_vectors) / sizeof(id_vectors[0]))

/* One vector, decoded. */
typedef struct loaded
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		chat_id[CC_ID_LEN];
	uint8_t		message_id[CC_ID_LEN];
	uint8_t		deployment_id[CC_ID_LEN];
	uint8_t		salt[CC_SALT_LEN];
	uint32_t	version;
	uint8_t    *aad;
	size_t		aad_len;
	uint8_t    *plaintext;
	size_t		plaintext_len;
	uint8_t    *envelope;
	size_t		envelope_len;
	cc_message_keys keys;
} loaded;

static loaded
load(const envelope_vector *v)
{
	loaded		l;

	unit_hex_into(v->dek, l.dek, sizeof(l.dek));
	unit_hex_into(v->chat_id, l.chat_id, sizeof(l.chat_id));
	unit_hex_into(v->message_id, l.message_id, sizeof(l.message_id));
	unit_hex_into(v->deployment_id, l.deployment_id, sizeof(l.deployment_id));
	unit_hex_into(v->salt, l.salt, sizeof(l.salt));
	l.version = (uint32_t) strtoul(v->dek_version, NULL, 10);
	l.aad = unit_hex(v->aad, &l.aad_len);
	l.plaintext = unit_hex(v->plaintext, &l.plaintext_len);
	l.envelope = unit_hex(v->envelope, &l.envelope_len);
	if (cc_message_keys_derive(&l.keys, l.dek, l.chat_id, l.version) != CC_OK)
		abort();
	return l;
}

static void
unload(loaded *l)
{
	free(l->aad);
	free(l->plaintext);
	free(l->envelope);
}

static bool
seals(cc_aead *aead, const loaded *l)
{
	uint8_t    *sealed = unit_alloc(l->envelope_len);
	cc_status	status;
	bool		same;

	status = cc_envelope_seal_salted(aead, &l->keys, l->version, l->message_id, l->salt, l->aad,
									 l->aad_len, l->plaintext, l->plaintext_len, sealed);
	same = status == CC_OK && memcmp(sealed, l->envelope, l->envelope_len) == 0;
	free(sealed);
	return same;
}

static bool
opens(cc_aead *aead, const loaded *l)
{
	uint8_t    *opened = unit_alloc(l->plaintext_len);
	cc_status	status;
	bool		same;

	status = cc_envelope_open(aead, &l->keys, l->version, l->message_id, l->aad, l->aad_len,
							  l->envelope, l->envelope_len, opened);
	same = status == CC_OK && memcmp(opened, l->plaintext, l->plaintext_len) == 0;
	free(opened);
	return same;
}

static void
check_backend(cc_aead_backend backend)
{
	cc_aead    *aead = cc_aead_new(backend);

	CHECK(aead != NULL);
	CHECK(NVECTORS >= 5);
	for (size_t i = 0; i < NVECTORS; i++)
	{
		loaded		l = load(&envelope_vectors[i]);
		bool		sealed = seals(aead, &l);
		bool		opened = opens(aead, &l);
		bool		sized = l.envelope_len == l.plaintext_len + CC_ENVELOPE_OVERHEAD;

		unload(&l);
		CHECK_AT(sealed, i);
		CHECK_AT(opened, i);
		CHECK_AT(sized, i);
	}
	cc_aead_free(aead);
}

static void
envelopes_through_openssl(void)
{
	check_backend(CC_AEAD_OPENSSL);
}

static void
envelopes_through_sodium(void)
{
	if (cc_aead_has_sodium())
		check_backend(CC_AEAD_SODIUM);
	else
		printf("# this CPU has no AES for libsodium\n");
}

static void
envelopes_through_either(void)
{
	check_backend(CC_AEAD_AUTO);
}

static void
key_check_values(void)
{
	for (size_t i = 0; i < NVECTORS; i++)
	{
		loaded		l = load(&envelope_vectors[i]);
		uint8_t		kcv[CC_KCV_LEN];

		unload(&l);
		CHECK(cc_dek_kcv(l.dek, l.chat_id, l.version, kcv) == CC_OK);
		CHECK_AT(unit_is_hex(kcv, sizeof(kcv), envelope_vectors[i].kcv), i);
	}
}

static void
wrap_contexts(void)
{
	for (size_t i = 0; i < NVECTORS; i++)
	{
		loaded		l = load(&envelope_vectors[i]);
		uint8_t		context[CC_CONTEXT_LEN];

		unload(&l);
		CHECK(cc_wrap_context(l.deployment_id, l.chat_id, "data", l.version, context) == CC_OK);
		CHECK_AT(unit_is_hex(context, sizeof(context), envelope_vectors[i].wrap_context), i);
		CHECK(cc_wrap_context(l.deployment_id, l.chat_id, "search", l.version, context) == CC_OK);
		CHECK_AT(unit_is_hex(context, sizeof(context), envelope_vectors[i].wrap_context_search), i);
	}
}

static void
blind_tokens(void)
{
	for (size_t i = 0; i < NVECTORS; i++)
	{
		loaded		l = load(&envelope_vectors[i]);
		uint8_t		search[CC_DEK_LEN];
		uint8_t		token[CC_BLIND_LEN];
		cc_hmac_key key;

		unload(&l);
		CHECK(cc_dek_derive(l.dek, l.chat_id, l.version, CC_USE_SEARCH, search) == CC_OK);
		cc_hmac_key_init(&key, search, sizeof(search));
		CHECK(cc_blind_token(&key, CC_BLIND_WORD, "hello", 5, 64, token) == CC_OK);
		CHECK_AT(unit_is_hex(token, sizeof(token), envelope_vectors[i].blind_token_word_hello), i);
	}
}

static void
bigint_ids(void)
{
	CHECK(NIDS >= 6);
	for (size_t i = 0; i < NIDS; i++)
	{
		int64_t		number = strtoll(id_vectors[i].bigint, NULL, 10);
		uint8_t		id[CC_ID_LEN];
		uint64_t	space;
		int64_t		back;

		CHECK(cc_id_from_int64(0, number, id) == CC_OK);
		CHECK_AT(unit_is_hex(id, sizeof(id), id_vectors[i].uuid), i);
		CHECK_AT(cc_id_to_int64(id, &space, &back) && space == 0 && back == number, i);
	}
}

int
main(void)
{
	RUN(envelopes_through_openssl);
	RUN(envelopes_through_sodium);
	RUN(envelopes_through_either);
	RUN(key_check_values);
	RUN(wrap_contexts);
	RUN(blind_tokens);
	RUN(bigint_ids);
	return unit_done();
}
