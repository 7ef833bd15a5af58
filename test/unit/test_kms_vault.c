/*
 * test_kms_vault.c
 *		Key checks and batches of the provider `vault`, on replies as OpenBao 2 and
 *		Vault 1 send them, and on replies that no server should send.
 */
#include "vault_server.h"

#define URI		"vault:team/transit/chat"
#define MANY	CC_KMS_BATCH_MAX

/* base64 of 32 times 'x', and of 32 zero bytes */
#define X32		"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="
#define ZERO32	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* the text of a wrapped DEK: 60 bytes in base64 */
#define CT(version) \
	"vault:v" version ":YG/xTXXHTPocDJUyll0y3yCtw85wnLntVxG1y9BaLl18uJeN+rLeXRDOapqq/9FZgzR5o9I0ieyd/qp4"

#define ENVELOPE(data) \
	"{\"request_id\":\"r\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,\"data\":" data \
	",\"wrap_info\":null,\"warnings\":null,\"auth\":null}\n"
#define RESULTS(list) ENVELOPE("{\"batch_results\":[" list "]}")
#define ERRORS(text) "{\"errors\":[\"" text "\"]}\n"

#define KEY(type, derived, exportable, backup) ENVELOPE("{\"allow_plaintext_backup\":" backup \
	",\"derived\":" derived ",\"exportable\":" exportable ",\"keys\":{\"1\":1795266195,\"2\":1795266196}" \
	",\"latest_version\":2,\"min_decryption_version\":1,\"name\":\"chat\",\"type\":\"" type "\"}")

static char error[CC_KMS_ERROR_MAX];
static cc_kms_item items[MANY];
static cc_kms_item *pointers[MANY];

/* A session with a token from a file, at time 0. */
static cc_kms_session *
logged_in_with(const cc_kms_config *config)
{
	cc_kms_session *session = cc_kms_vault.open(config, error);

	if (session == NULL ||
		exchange(session, 200, "{\"data\":{\"ttl\":0,\"renewable\":false}}", 0) != CC_KMS_OK)
	{
		printf("Bail out! no session: %s\n", error);
		exit(1);
	}
	return session;
}

static cc_kms_session *
logged_in(void)
{
	cc_kms_config config = token_config();

	write_file(token_file, "hvs.first\n");
	return logged_in_with(&config);
}

/* A batch of n items under contexts of zeroes, with DEKs of 'x'. */
static cc_kms_batch
new_batch(cc_kms_op op, int n)
{
	cc_kms_batch batch = {.op = op, .kms_key = URI, .items = pointers, .nitems = n};

	memset(items, 0, sizeof(items));
	for (int i = 0; i < n; i++)
	{
		pointers[i] = &items[i];
		items[i].outcome = CC_KMS_LOGIN_AGAIN;	/* which no item ever has */
		if (op == CC_KMS_WRAP)
			memset(items[i].dek, 'x', CC_DEK_LEN);
		if (op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP)
		{
			items[i].wrapped_len = (uint16_t) strlen(CT("1"));
			memcpy(items[i].wrapped, CT("1"), items[i].wrapped_len);
		}
	}
	return batch;
}

static cc_kms_outcome
batch_answer(cc_kms_session *session, cc_kms_batch *batch, long status, const char *body)
{
	cc_http_reply reply = reply_of(status, body);
	cc_kms_outcome outcome = cc_kms_vault.batch_reply(session, batch, &reply, error);

	end_reply(&reply);
	return outcome;
}

static cc_kms_outcome
key_answer(cc_kms_session *session, long status, const char *body, cc_kms_key_facts *facts)
{
	cc_http_reply reply = reply_of(status, body);
	cc_kms_outcome outcome = cc_kms_vault.key_reply(session, URI, &reply, false, facts, error);

	end_reply(&reply);
	return outcome;
}

static bool
wrapped_is(const cc_kms_item *item, const char *text)
{
	return item->wrapped_len == strlen(text) && memcmp(item->wrapped, text, item->wrapped_len) == 0;
}

static bool
dek_is_x(const cc_kms_item *item)
{
	for (int i = 0; i < CC_DEK_LEN; i++)
	{
		if (item->dek[i] != 'x')
			return false;
	}
	return true;
}

static void
key_check(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_key_facts facts;
	cc_http_request request;

	CHECK(cc_kms_vault.key_request(session, URI, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "GET", "team/transit/keys/chat"));
	CHECK(has_header(&request, "X-Vault-Token: hvs.first"));
	CHECK(request.body == NULL && request.login == 1);
	cc_http_request_clear(&request);
	CHECK(cc_kms_vault.key_request(session, "vault:../x", &request, error) == CC_KMS_CONFIG);

	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "true", "false", "false"), &facts) == CC_KMS_OK);
	CHECK(facts.known && facts.derived && !facts.exportable);
	CHECK(facts.latest_version == 2 && facts.min_decryption_version == 1);
	CHECK(key_answer(session, 200, KEY("chacha20-poly1305", "true", "false", "false"), &facts) == CC_KMS_OK);
	cc_kms_vault.close(session);
}

static void
keys_that_are_refused(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_key_facts facts;

	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "false", "false", "false"), &facts) == CC_KMS_CONFIG);
	CHECK(strstr(error, "not derived") != NULL && facts.known && !facts.derived);
	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "true", "true", "false"), &facts) == CC_KMS_CONFIG);
	CHECK(strstr(error, "exportable") != NULL && facts.exportable);
	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "true", "false", "true"), &facts) == CC_KMS_CONFIG);
	CHECK(strstr(error, "plaintext backup") != NULL);
	CHECK(key_answer(session, 200, KEY("aes128-gcm96", "true", "false", "false"), &facts) == CC_KMS_CONFIG);
	CHECK(key_answer(session, 200, KEY("rsa-4096", "true", "false", "false"), &facts) == CC_KMS_CONFIG);
	CHECK(strstr(error, "type") != NULL);
	cc_kms_vault.close(session);
}

static void
underived_keys_where_allowed(void)
{
	cc_kms_config config = token_config();
	cc_kms_session *session;
	cc_kms_key_facts facts;

	values[VAULT_ALLOW_UNDERIVED].flag = true;
	session = logged_in_with(&config);
	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "false", "false", "false"), &facts) == CC_KMS_OK);
	CHECK(facts.known && !facts.derived);
	/* a key that can leave the server is still refused */
	CHECK(key_answer(session, 200, KEY("aes256-gcm96", "false", "true", "false"), &facts) == CC_KMS_CONFIG);
	cc_kms_vault.close(session);
}

static void
key_check_failures(void)
{
	static const struct
	{
		long		status;
		const char *body;
		cc_kms_outcome outcome;
	}			cases[] = {
		{404, "{\"errors\":[]}", CC_KMS_NO_KEY},
		{404, ERRORS("no handler for route"), CC_KMS_NO_KEY},
		{413, "", CC_KMS_CONFIG},
		{500, "", CC_KMS_TRANSIENT},
		{503, ERRORS("Vault is sealed"), CC_KMS_SEALED},
		{200, "", CC_KMS_BAD_REPLY},
		{200, "{}", CC_KMS_BAD_REPLY},
		{200, ENVELOPE("null"), CC_KMS_BAD_REPLY},
		{200, ENVELOPE("{\"derived\":true,\"exportable\":false}"), CC_KMS_BAD_REPLY},
		{200, ENVELOPE("{\"derived\":\"true\",\"exportable\":false,\"latest_version\":1,"
					   "\"min_decryption_version\":1}"), CC_KMS_BAD_REPLY},
		{200, ENVELOPE("{\"derived\":true,\"exportable\":false,\"latest_version\":4294967296,"
					   "\"min_decryption_version\":1}"), CC_KMS_BAD_REPLY},
		{200, ENVELOPE("{\"derived\":false,\"derived\":true,\"exportable\":false,\"latest_version\":1,"
					   "\"min_decryption_version\":1}"), CC_KMS_BAD_REPLY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_kms_session *session = logged_in();
		cc_kms_key_facts facts;

		CHECK_AT(key_answer(session, cases[i].status, cases[i].body, &facts) == cases[i].outcome, i);
		CHECK_AT(!facts.known && !facts.derived && strstr(error, URI) != NULL, i);
		cc_kms_vault.close(session);
	}
}

static void
requests(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 2);
	cc_http_request request;

	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "team/transit/decrypt/chat"));
	CHECK(has_header(&request, "X-Vault-Token: hvs.first"));
	CHECK(has_body(&request, "{\"batch_input\":["
				   "{\"context\":\"" ZERO32 "\",\"ciphertext\":\"" CT("1") "\"},"
				   "{\"context\":\"" ZERO32 "\",\"ciphertext\":\"" CT("1") "\"}]}"));
	cc_http_request_clear(&request);

	batch.op = CC_KMS_REWRAP;
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "team/transit/rewrap/chat"));
	cc_http_request_clear(&request);

	batch = new_batch(CC_KMS_WRAP, 1);
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "team/transit/encrypt/chat"));
	CHECK(has_body(&request, "{\"batch_input\":["
				   "{\"context\":\"" ZERO32 "\",\"plaintext\":\"" X32 "\",\"reference\":\"0\"}]}"));
	cc_http_request_clear(&request);

	batch = new_batch(CC_KMS_GENERATE, 1);
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "team/transit/datakey/plaintext/chat"));
	CHECK(has_body(&request, "{\"context\":\"" ZERO32 "\"}"));
	cc_http_request_clear(&request);
	cc_kms_vault.close(session);
}

/* OpenBao counts names and values, and takes 1,000. */
static void
strings_of_a_batch(void)
{
	static const cc_kms_op ops[] = {CC_KMS_UNWRAP, CC_KMS_WRAP, CC_KMS_GENERATE, CC_KMS_REWRAP};
	cc_kms_session *session = logged_in();

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
	{
		cc_kms_batch batch = new_batch(ops[i], cc_kms_batch_max(&cc_kms_vault, ops[i]));
		cc_http_request request;
		int			quotes = 0;

		CHECK_AT(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK, i);
		for (size_t at = 0; at < request.body_len; at++)
			quotes += request.body[at] == '"';
		CHECK_AT(quotes / 2 <= 1000, i);
		CHECK_AT(quotes / 2 > 750, i);
		cc_http_request_clear(&request);
	}
	cc_kms_vault.close(session);
}

static void
request_limits(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, MANY);
	cc_http_request request;

	/* the longest wrapped keys that are allowed */
	for (int i = 0; i < MANY; i++)
	{
		memset(items[i].wrapped, 'A', CC_KMS_WRAPPED_MAX);
		memcpy(items[i].wrapped, "vault:v12:", 10);
		items[i].wrapped_len = CC_KMS_WRAPPED_MAX - 2;	/* 10 and 4 times 253 */
	}
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(request.body_len > MANY * (CC_KMS_WRAPPED_MAX - 2));
	cc_http_request_clear(&request);

	batch.nitems = MANY + 1;
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_CONFIG);
	batch.nitems = 0;
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_CONFIG);
	batch.nitems = 1;
	snprintf(batch.kms_key, sizeof(batch.kms_key), "vault:transit/../x");
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_CONFIG);
	cc_kms_vault.close(session);
}

static void
unwrap(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 2);

	CHECK(batch_answer(session, &batch, 200,
					   RESULTS("{\"plaintext\":\"" X32 "\",\"reference\":\"0\"},"
							   "{\"plaintext\":\"" ZERO32 "\",\"reference\":\"1\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && dek_is_x(&items[0]));
	CHECK(items[1].outcome == CC_KMS_OK && unit_all_zero(items[1].dek, CC_DEK_LEN));
	/* as old servers answer, without references */
	batch = new_batch(CC_KMS_UNWRAP, 2);
	CHECK(batch_answer(session, &batch, 200, RESULTS("{\"plaintext\":\"" X32 "\"},"
													 "{\"plaintext\":\"" X32 "\"}")) == CC_KMS_OK);
	CHECK(dek_is_x(&items[0]) && dek_is_x(&items[1]));
	cc_kms_vault.close(session);
}

/* The status 400 of a batch is about some of its items; each item has an error of its own. */
static void
items_with_errors(void)
{
	static const char results[] = RESULTS(
		"{\"plaintext\":\"" X32 "\",\"reference\":\"0\"},"
		"{\"plaintext\":\"\",\"error\":\"cipher: message authentication failed\",\"reference\":\"1\"},"
		"{\"plaintext\":\"\",\"error\":\"ciphertext or signature version is disallowed by policy (too old)\","
		"\"reference\":\"2\"},"
		"{\"plaintext\":\"" X32 "\",\"error\":\"\",\"reference\":\"3\"},"
		"{\"plaintext\":\"" X32 "\",\"error\":null,\"reference\":\"4\"},"
		"{\"plaintext\":\"" X32 "\",\"error\":7,\"reference\":\"5\"},"
		"{\"plaintext\":\"\",\"error\":\"refusing to use soft-deleted key\",\"reference\":\"6\"}");
	static const long statuses[] = {200, 400};
	cc_kms_session *session = logged_in();
	cc_kms_batch batch;

	for (int i = 0; i < 2; i++)
	{
		batch = new_batch(CC_KMS_UNWRAP, 7);
		CHECK_AT(batch_answer(session, &batch, statuses[i], results) == CC_KMS_OK, i);
		CHECK_AT(items[0].outcome == CC_KMS_OK && dek_is_x(&items[0]) && items[0].error[0] == '\0', i);
		CHECK_AT(items[1].outcome == CC_KMS_NOT_OPENED && unit_all_zero(items[1].dek, CC_DEK_LEN), i);
		CHECK_AT(strcmp(items[1].error, "cipher: message authentication failed") == 0, i);
		CHECK_AT(items[2].outcome == CC_KMS_REJECTED && strstr(items[2].error, "too old") != NULL, i);
		CHECK_AT(items[3].outcome == CC_KMS_OK && dek_is_x(&items[3]), i);
		CHECK_AT(items[4].outcome == CC_KMS_OK && dek_is_x(&items[4]), i);
		CHECK_AT(items[5].outcome == CC_KMS_REJECTED && unit_all_zero(items[5].dek, CC_DEK_LEN), i);
		CHECK_AT(items[6].outcome == CC_KMS_NO_KEY && unit_all_zero(items[6].dek, CC_DEK_LEN), i);
	}
	batch = new_batch(CC_KMS_UNWRAP, 7);
	CHECK(batch_answer(session, &batch, 500, results) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && items[1].outcome == CC_KMS_TRANSIENT);
	cc_kms_vault.close(session);
}

/* Only a plaintext of exactly one DEK is accepted as a DEK. */
static void
wrong_plaintexts(void)
{
	static const char *const results[] = {
		"{}", "null", "7", "[]", "\"" X32 "\"",
		"{\"plaintext\":\"\"}",
		"{\"plaintext\":null}",
		"{\"plaintext\":7}",
		"{\"plaintext\":\"eHh4\"}",
		"{\"plaintext\":\"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA==\"}",	/* 31 bytes */
		"{\"plaintext\":\"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\"}",	/* 33 bytes */
		"{\"plaintext\":\"" X32 "AAAA\"}",
		"{\"plaintext\":\"" X32 "=\"}",
		"{\"plaintext\":\" " X32 "\"}",
		"{\"plaintext\":\"" X32 "\\n\"}",
		"{\"plaintext\":\"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg\"}",	/* no padding */
		"{\"plaintext\":\"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh=\"}",	/* bits over */
		"{\"plaintext\":\"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e-g=\"}",
		"{\"plaintext\":\"\xc3\xa9h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=\"}",	/* no letters of it */
		"{\"plaintext\":\"\\u00e9h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=\"}",
		"{\"plaintext\":\"" X32 "\",\"plaintext\":\"" ZERO32 "\"}",
		"{\"plaintext\":\"" X32 "\",\"reference\":\"1\"}",	/* another item's */
		"{\"plaintext\":\"" X32 "\",\"reference\":0}",
	};
	cc_kms_session *session = logged_in();
	char		body[512];

	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
	{
		cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 1);

		snprintf(body, sizeof(body), RESULTS("%s"), results[i]);
		CHECK_AT(batch_answer(session, &batch, 200, body) == CC_KMS_OK, i);
		CHECK_AT(items[0].outcome == CC_KMS_BAD_REPLY && items[0].error[0] != '\0', i);
		CHECK_AT(unit_all_zero(items[0].dek, CC_DEK_LEN), i);
	}
	cc_kms_vault.close(session);
}

static void
wrong_counts(void)
{
	static const char one[] = "{\"plaintext\":\"" X32 "\"}";
	cc_kms_session *session = logged_in();
	char		body[4096];

	for (int count = 0; count < 6; count++)
	{
		cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 3);
		cc_kms_outcome outcome;

		strcpy(body, "{\"data\":{\"batch_results\":[");
		for (int i = 0; i < count; i++)
		{
			strcat(body, i > 0 ? "," : "");
			strcat(body, one);
		}
		strcat(body, "]}}");
		outcome = batch_answer(session, &batch, 200, body);
		CHECK_AT(outcome == (count == 3 ? CC_KMS_OK : CC_KMS_BAD_REPLY), count);
		CHECK_AT(count == 3 || unit_all_zero(items[0].dek, CC_DEK_LEN), count);
	}
	cc_kms_vault.close(session);
}

/* A malformed wrapped key is never sent to the server, and does not affect the others. */
static void
wrappings_that_are_none(void)
{
	static const char *const bad[] = {"", "x", "vault:v1:", "vault:v1:AAAA", "vault:v0:" X32 X32, "vault:v:" X32 X32,
		"vault:v-1:" X32 X32, "vault:1:" X32 X32, "VAULT:v1:" X32 X32, "vault:v1:\",\"x\":\"" X32 X32,
		"vault:v12345678901:" X32 X32, CT("1") "A", CT("1") "\n", CT("01"), CT("1") "AAA", CT("1") "===="};
	cc_kms_session *session = logged_in();
	cc_http_request request;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 2);

		items[0].wrapped_len = (uint16_t) strlen(bad[i]);
		memcpy(items[0].wrapped, bad[i], items[0].wrapped_len);
		CHECK_AT(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK, i);
		CHECK_AT(has_body(&request, "{\"batch_input\":["
						  "{\"context\":\"" ZERO32 "\",\"ciphertext\":\"\"},"
						  "{\"context\":\"" ZERO32 "\",\"ciphertext\":\"" CT("1") "\"}]}"), i);
		cc_http_request_clear(&request);
		CHECK_AT(batch_answer(session, &batch, 400,
							  RESULTS("{\"plaintext\":\"\",\"error\":\"missing ciphertext to decrypt\"},"
									  "{\"plaintext\":\"" X32 "\"}")) == CC_KMS_OK, i);
		CHECK_AT(items[0].outcome == CC_KMS_REJECTED && items[1].outcome == CC_KMS_OK, i);
		CHECK_AT(strstr(items[0].error, "damaged") != NULL, i);
	}
	cc_kms_vault.close(session);
}

static void
wrap(void)
{
	static const char *const bad[] = {"\"ciphertext\":\"\"", "\"ciphertext\":\"vault:v1:AAAA\"",
		"\"ciphertext\":\"" X32 "\"", "\"ciphertext\":null", "\"x\":1"};
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_WRAP, 2);
	char		body[512];

	CHECK(batch_answer(session, &batch, 200,
					   RESULTS("{\"ciphertext\":\"" CT("1") "\",\"key_version\":1,\"reference\":\"0\"},"
							   "{\"error\":\"no\",\"reference\":\"1\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && wrapped_is(&items[0], CT("1")));
	CHECK(items[1].outcome == CC_KMS_REJECTED && items[1].wrapped_len == 0);
	CHECK(dek_is_x(&items[1]));	/* a caller's own DEK is the caller's to wipe */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		batch = new_batch(CC_KMS_WRAP, 1);
		snprintf(body, sizeof(body), RESULTS("{%s}"), bad[i]);
		CHECK_AT(batch_answer(session, &batch, 200, body) == CC_KMS_OK, i);
		CHECK_AT(items[0].outcome == CC_KMS_BAD_REPLY && items[0].wrapped_len == 0, i);
	}
	cc_kms_vault.close(session);
}

/* An item that was not re-wrapped keeps its bytes. */
static void
rewrap(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_REWRAP, 3);

	CHECK(batch_answer(session, &batch, 200,
					   RESULTS("{\"ciphertext\":\"" CT("12") "\",\"key_version\":12,\"reference\":\"0\"},"
							   "{\"error\":\"cipher: message authentication failed\",\"reference\":\"1\"},"
							   "{\"ciphertext\":\"vault:v2:short\",\"reference\":\"2\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && wrapped_is(&items[0], CT("12")));
	CHECK(items[1].outcome == CC_KMS_NOT_OPENED && wrapped_is(&items[1], CT("1")));
	CHECK(items[2].outcome == CC_KMS_BAD_REPLY && wrapped_is(&items[2], CT("1")));
	cc_kms_vault.close(session);
}

static void
generate_one(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_GENERATE, 1);

	CHECK(batch_answer(session, &batch, 200, ENVELOPE("{\"ciphertext\":\"" CT("3") "\",\"key_version\":3,"
													  "\"plaintext\":\"" X32 "\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && dek_is_x(&items[0]) && wrapped_is(&items[0], CT("3")));
	batch = new_batch(CC_KMS_GENERATE, 1);
	CHECK(batch_answer(session, &batch, 200,
					   ENVELOPE("{\"plaintext\":\"" X32 "\",\"ciphertext\":\"x\"}")) == CC_KMS_BAD_REPLY);
	CHECK(unit_all_zero(items[0].dek, CC_DEK_LEN) && items[0].wrapped_len == 0);
	CHECK(batch_answer(session, &batch, 200,
					   ENVELOPE("{\"plaintext\":\"eHh4\",\"ciphertext\":\"" CT("1") "\"}")) == CC_KMS_BAD_REPLY);
	CHECK(batch_answer(session, &batch, 400, ERRORS("encryption key not found")) == CC_KMS_NO_KEY);
	cc_kms_vault.close(session);
}

/* Many DEKs are made here; each comes back wrapped as it went out, and no two are alike. */
static void
generate_many(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_GENERATE, 2);
	cc_http_request request;
	uint8_t		made[CC_DEK_LEN];

	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "team/transit/encrypt/chat"));
	cc_http_request_clear(&request);
	CHECK(!unit_all_zero(items[0].dek, CC_DEK_LEN) && memcmp(items[0].dek, items[1].dek, CC_DEK_LEN) != 0);
	memcpy(made, items[0].dek, sizeof(made));
	CHECK(batch_answer(session, &batch, 400, RESULTS("{\"ciphertext\":\"" CT("1") "\"},"
													 "{\"error\":\"no\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK && memcmp(items[0].dek, made, sizeof(made)) == 0);
	CHECK(items[1].outcome == CC_KMS_REJECTED && unit_all_zero(items[1].dek, CC_DEK_LEN));

	/* if the whole call fails, no DEK that was not wrapped remains */
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_OK);
	cc_http_request_clear(&request);
	CHECK(batch_answer(session, &batch, 500, "") == CC_KMS_TRANSIENT);
	CHECK(unit_all_zero(items[0].dek, CC_DEK_LEN) && unit_all_zero(items[1].dek, CC_DEK_LEN));
	snprintf(batch.kms_key, sizeof(batch.kms_key), "vault:x");
	CHECK(cc_kms_vault.batch_request(session, &batch, &request, error) == CC_KMS_CONFIG);
	CHECK(unit_all_zero(items[0].dek, CC_DEK_LEN));
	cc_kms_vault.close(session);
}

static void
statuses(void)
{
	static const struct
	{
		long		status;
		const char *body;
		int			nitems;
		cc_kms_outcome outcome;
		const char *words;
	}			cases[] = {
		{400, ERRORS("context should be set either in all the request blocks or in none"), 2, CC_KMS_REJECTED,
		"context should be set"},
		{400, ERRORS("encryption key not found"), 2, CC_KMS_NO_KEY, "encryption key not found"},
		{400, ERRORS("refusing to use soft-deleted key"), 2, CC_KMS_NO_KEY, "soft-deleted"},
		{400, "", 2, CC_KMS_REJECTED, "rejected"},
		{400, ENVELOPE("{\"batch_results\":null}"), 2, CC_KMS_BAD_REPLY, "0 results for 2 items"},
		{404, ERRORS("no handler for route"), 2, CC_KMS_NO_KEY, "no handler"},
		{405, "", 2, CC_KMS_CONFIG, "Transit"},
		{407, "", 2, CC_KMS_CONFIG, "proxy"},
		{408, "", 2, CC_KMS_TRANSIENT, "408"},
		{412, "", 2, CC_KMS_TRANSIENT, "412"},
		{413, "", 2, CC_KMS_SPLIT, "too large"},
		{413, "", 1, CC_KMS_CONFIG, "too large"},
		{418, "", 2, CC_KMS_BAD_REPLY, "418"},
		{429, ERRORS("request path \\\"transit\\\": rate limit quota exceeded"), 2, CC_KMS_TRANSIENT, "quota"},
		{472, "", 2, CC_KMS_SEALED, "472"},
		{473, "", 2, CC_KMS_SEALED, "473"},
		{500, ERRORS("1 error occurred:\\n\\t* internal error\\n\\n"), 2, CC_KMS_TRANSIENT,
		": 1 error occurred: * internal error"},
		{502, "<html>bad gateway</html>", 2, CC_KMS_TRANSIENT, "the server failed"},
		{503, ERRORS("Vault is sealed"), 2, CC_KMS_SEALED, "Vault is sealed"},
		{504, "", 2, CC_KMS_TRANSIENT, "504"},
		{599, "", 2, CC_KMS_TRANSIENT, "599"},
		{100, "", 2, CC_KMS_BAD_REPLY, "100"},
		{204, "", 2, CC_KMS_BAD_REPLY, "204"},
		{301, "", 2, CC_KMS_BAD_REPLY, "redirect"},
		{307, "", 2, CC_KMS_BAD_REPLY, "redirect"},
		{-1, "", 2, CC_KMS_BAD_REPLY, "-1"},
		{1000000, "", 2, CC_KMS_BAD_REPLY, "1000000"},
		{200, "", 2, CC_KMS_BAD_REPLY, "not what was asked for"},
		{200, "garbage", 2, CC_KMS_BAD_REPLY, "not what was asked for"},
		{200, RESULTS("{\"plaintext\":\"" X32 "\"},{\"plaintext\":\"" X32 "\"}") "x", 2, CC_KMS_BAD_REPLY, ""},
		{200, "{\"data\":null}", 2, CC_KMS_BAD_REPLY, ""},
		{200, "{\"data\":{\"batch_results\":{}}}", 2, CC_KMS_BAD_REPLY, "0 results for 2 items"},
		{200, "{\"data\":{\"batch_results\":\"[]\"}}", 2, CC_KMS_BAD_REPLY, "0 results"},
		{200, "{\"batch_results\":[]}", 2, CC_KMS_BAD_REPLY, ""},
		{200, ENVELOPE("{\"plaintext\":\"" X32 "\"}"), 2, CC_KMS_BAD_REPLY, ""},
	};
	cc_kms_session *session = logged_in();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, cases[i].nitems);

		CHECK_AT(batch_answer(session, &batch, cases[i].status, cases[i].body) == cases[i].outcome, i);
		CHECK_AT(strstr(error, cases[i].words) != NULL, i);
		CHECK_AT(unit_all_zero(items[0].dek, CC_DEK_LEN), i);
	}
	cc_kms_vault.close(session);
}

/* Texts of a server end up in logs and on terminals. */
static void
server_texts_are_scrubbed(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 2);
	char		body[4000];

	CHECK(batch_answer(session, &batch, 500, ERRORS("a\\u001b[31mb\\u00e9\\r\\nc\\u007f")) == CC_KMS_TRANSIENT);
	CHECK(strstr(error, "a?[31mb?? c?") != NULL);
	CHECK(batch_answer(session, &batch, 500, "{\"errors\":[7,\"\",\"second\",\"third\"]}") == CC_KMS_TRANSIENT);
	CHECK(strstr(error, "cannot be read") != NULL);
	CHECK(batch_answer(session, &batch, 500, "{\"errors\":[null,\"\",\"second\",\"third\"]}") == CC_KMS_TRANSIENT);
	CHECK(strstr(error, "second") != NULL && strstr(error, "third") == NULL);

	memset(body, 'y', sizeof(body));
	memcpy(body, "{\"errors\":[\"", 12);
	memcpy(body + 1000, "\"]}", 4);
	CHECK(batch_answer(session, &batch, 500, body) == CC_KMS_TRANSIENT);
	CHECK(strlen(error) < CC_KMS_ERROR_MAX && strstr(error, "yyyy") != NULL);
	memset(body + 1000, 'y', 2500);
	memcpy(body + 3500, "\"]}", 4);
	CHECK(batch_answer(session, &batch, 500, body) == CC_KMS_TRANSIENT);
	CHECK(strstr(error, "cannot be read") != NULL);

	/* the text of an item is cut as well */
	CHECK(batch_answer(session, &batch, 400, RESULTS("{\"error\":\"a\\nb\\u001b\"},{\"error\":\"x\"}")) == CC_KMS_OK);
	CHECK(strcmp(items[0].error, "a b?") == 0);
	cc_kms_vault.close(session);
}

static void
no_answer(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 1);
	cc_http_reply reply = {.retry_after_ms = -1, .transport_error = "connection refused"};

	CHECK(cc_kms_vault.batch_reply(session, &batch, &reply, error) == CC_KMS_TRANSIENT);
	CHECK(strstr(error, "connection refused") != NULL && strstr(error, ADDR) != NULL);
	reply.timed_out = true;
	CHECK(cc_kms_vault.batch_reply(session, &batch, &reply, error) == CC_KMS_TIMEOUT);
	cc_kms_vault.close(session);
}

/* Logs in again at a time, which the clock of the session shows. */
static cc_kms_outcome
log_in_again(cc_kms_session *session, int64_t now_ms)
{
	if (cc_kms_vault.session_state(session, now_ms) != CC_SESSION_EXCHANGE)
		return CC_KMS_CONFIG;
	return exchange(session, 200, "{\"data\":{\"ttl\":0,\"renewable\":false}}", now_ms);
}

/* Refused once: log in again.  Refused again with the fresh login: the refusal is the answer. */
static void
refused_token(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 1);
	static const char denied[] = ERRORS("permission denied");

	CHECK(batch_answer(session, &batch, 403, denied) == CC_KMS_LOGIN_AGAIN);
	CHECK(log_in_again(session, 100) == CC_KMS_OK);
	CHECK(batch_answer(session, &batch, 403, denied) == CC_KMS_DENIED);
	CHECK(strstr(error, "permission denied") != NULL && strstr(error, "403") != NULL);
	CHECK(cc_kms_vault.session_state(session, 200) == CC_SESSION_READY);
	CHECK(batch_answer(session, &batch, 403, denied) == CC_KMS_DENIED);

	/* much later the token may have been revoked: one more login */
	CHECK(cc_kms_vault.session_state(session, 40000) == CC_SESSION_READY);
	CHECK(batch_answer(session, &batch, 403, denied) == CC_KMS_LOGIN_AGAIN);
	CHECK(log_in_again(session, 40000) == CC_KMS_OK);
	CHECK(batch_answer(session, &batch, 200, RESULTS("{\"plaintext\":\"" X32 "\"}")) == CC_KMS_OK);
	CHECK(items[0].outcome == CC_KMS_OK);
	cc_kms_vault.close(session);
}

/* Late replies to an old token say nothing about the new one. */
static void
refusals_of_an_old_login(void)
{
	cc_kms_session *session = logged_in();
	cc_kms_batch batch = new_batch(CC_KMS_UNWRAP, 1);
	cc_http_reply reply = reply_of(403, ERRORS("permission denied"));
	cc_kms_key_facts facts;

	reply.login = 1;
	CHECK(cc_kms_vault.batch_reply(session, &batch, &reply, error) == CC_KMS_LOGIN_AGAIN);
	/* another reply for the same login, before the new one */
	CHECK(cc_kms_vault.batch_reply(session, &batch, &reply, error) == CC_KMS_LOGIN_AGAIN);
	CHECK(log_in_again(session, 100) == CC_KMS_OK);
	/* and one after it: the new token stays */
	CHECK(cc_kms_vault.batch_reply(session, &batch, &reply, error) == CC_KMS_LOGIN_AGAIN);
	CHECK(cc_kms_vault.key_reply(session, URI, &reply, false, &facts, error) == CC_KMS_LOGIN_AGAIN);
	CHECK(cc_kms_vault.session_state(session, 100) == CC_SESSION_READY);
	reply.login = 2;
	CHECK(cc_kms_vault.key_reply(session, URI, &reply, false, &facts, error) == CC_KMS_DENIED);
	CHECK(strstr(error, "read on team/transit/keys/chat") != NULL);
	end_reply(&reply);
	cc_kms_vault.close(session);
}

/* A key in use is looked at again: a refusal says nothing about the login. */
static void
a_look_that_is_denied(void)
{
	cc_kms_session *session = logged_in();
	cc_http_reply reply = reply_of(403, ERRORS("permission denied"));
	cc_kms_key_facts facts;

	CHECK(cc_kms_vault.key_reply(session, URI, &reply, true, &facts, error) == CC_KMS_DENIED);
	CHECK(strstr(error, "read on team/transit/keys/chat") != NULL);
	CHECK(!facts.known);
	CHECK(cc_kms_vault.session_state(session, 100) == CC_SESSION_READY);
	CHECK(cc_kms_vault.key_reply(session, URI, &reply, false, &facts, error) == CC_KMS_LOGIN_AGAIN);
	CHECK(cc_kms_vault.session_state(session, 100) == CC_SESSION_EXCHANGE);
	end_reply(&reply);
	cc_kms_vault.close(session);
}

static bool
request_id_is(const char *body, const char *expected)
{
	cc_http_reply reply = reply_of(200, body);
	char		id[CC_KMS_REQUEST_ID_MAX] = "left over";
	bool		same;

	cc_kms_vault.request_id(&reply, id);
	same = strcmp(id, expected) == 0;
	end_reply(&reply);
	return same;
}

#define X71 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void
request_ids(void)
{
	CHECK(request_id_is("{\"request_id\":\"0a1b-2c\",\"data\":{}}", "0a1b-2c"));
	CHECK(request_id_is("{\"request_id\":\"a\\nb\\u00e9\"}", "a?b??"));
	CHECK(request_id_is("{\"request_id\":\"" X71 "\"}", X71));
	CHECK(request_id_is("{\"request_id\":\"" X71 "x\"}", ""));
	CHECK(request_id_is("{\"request_id\":7}", ""));
	CHECK(request_id_is("{\"request_id\":null}", ""));
	CHECK(request_id_is(ERRORS("permission denied"), ""));
	CHECK(request_id_is("{\"request_id\":\"a\"", ""));
	CHECK(request_id_is("", ""));
}

static uint32_t
version_of(const char *wrapped)
{
	return cc_kms_vault.wrapped_version((const uint8_t *) wrapped, strlen(wrapped));
}

static void
wrapped_versions(void)
{
	CHECK(version_of(CT("1")) == 1);
	CHECK(version_of(CT("12")) == 12);
	CHECK(version_of(CT("4294967295")) == UINT32_MAX);
	CHECK(version_of(CT("4294967296")) == 0);
	CHECK(version_of(CT("99999999999")) == 0);
	CHECK(version_of(CT("0")) == 0);
	CHECK(version_of(CT("01")) == 0);
	CHECK(version_of(CT("")) == 0);
	CHECK(version_of("vault:v1:") == 0);
	CHECK(version_of("") == 0);
	CHECK(cc_kms_vault.wrapped_version((const uint8_t *) CT("1") "\0", sizeof(CT("1"))) == 0);
}

int
main(void)
{
	make_file(token_file, "");
	RUN(key_check);
	RUN(keys_that_are_refused);
	RUN(underived_keys_where_allowed);
	RUN(key_check_failures);
	RUN(requests);
	RUN(strings_of_a_batch);
	RUN(request_limits);
	RUN(unwrap);
	RUN(items_with_errors);
	RUN(wrong_plaintexts);
	RUN(wrong_counts);
	RUN(wrappings_that_are_none);
	RUN(wrap);
	RUN(rewrap);
	RUN(wrapped_versions);
	RUN(generate_one);
	RUN(generate_many);
	RUN(statuses);
	RUN(server_texts_are_scrubbed);
	RUN(no_answer);
	RUN(refused_token);
	RUN(refusals_of_an_old_login);
	RUN(a_look_that_is_denied);
	RUN(request_ids);
	unlink(token_file);
	return unit_done();
}
