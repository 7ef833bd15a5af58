/*
 * test_kms_login.c
 *		Settings, logins and leases of the provider `vault`, with a clock and a
 *		server that the test provides.
 */
#include "vault_server.h"

#define LOOKUP(ttl, renewable) \
	"{\"data\":{\"id\":\"hvs.first\",\"ttl\":" ttl ",\"renewable\":" renewable "},\"auth\":null}"
#define AUTH(token, seconds, renewable) \
	"{\"data\":null,\"auth\":{\"client_token\":\"" token "\",\"lease_duration\":" seconds \
	",\"renewable\":" renewable "}}"
#define HOUR_MS INT64_C(3600000)

static char secret_file[64] = "/tmp/cc_kms_secret_XXXXXX";
static char error[CC_KMS_ERROR_MAX];

static cc_session_state
state(cc_kms_session *session, int64_t now_ms)
{
	return cc_kms_vault.session_state(session, now_ms);
}

static cc_kms_session *
open_with(const cc_kms_config *config)
{
	error[0] = '\0';
	return cc_kms_vault.open(config, error);
}

/* Does the error name the file by this setting, and not by its path? */
static bool
says(const char *error, const char *setting)
{
	return strstr(error, setting) != NULL && strstr(error, token_file) == NULL;
}

/* Is the setting refused, with these words? */
static bool
refused(const cc_kms_config *config, const char *words)
{
	cc_kms_session *session = open_with(config);
	bool		good = session == NULL && strstr(error, words) != NULL;

	cc_kms_vault.close(session);
	return good;
}

static bool
accepted(const cc_kms_config *config)
{
	cc_kms_session *session = open_with(config);
	bool		good = session != NULL;

	cc_kms_vault.close(session);
	return good;
}

static cc_kms_config
approle_config(void)
{
	cc_kms_config config = token_config();

	values[VAULT_TOKEN_FILE].text = "";
	values[VAULT_ROLE_ID_FILE].text = token_file;
	values[VAULT_SECRET_ID_FILE].text = secret_file;
	return config;
}

static cc_kms_session *
open_approle(void)
{
	cc_kms_config config = approle_config();

	write_file(token_file, "role-1\n");
	write_file(secret_file, "secret-1\n");
	return open_with(&config);
}

static cc_kms_session *
open_token(void)
{
	cc_kms_config config = token_config();

	write_file(token_file, "hvs.first\n");
	return open_with(&config);
}

static void
uris(void)
{
	static const char *const good[] = {"vault:transit/chat", "vault:team/a/transit/chat-key.1",
		"vault:t/K_1", "vault:a-b.c/d"};
	static const char *const bad[] = {"vault:", "vault:transit", "vault:transit/", "vault:/chat",
		"vault:transit//chat", "vault:transit/../sys/chat", "vault:./chat", "vault:transit/.",
		"vault:transit/ch?at", "vault:transit/ch#at", "vault:transit/ch%2fat", "vault:transit/ch at",
		"vault:transit/chat\n", "vault:transit/-chat", "vault:transit/chat-", "vault:transit/.chat",
		"vault:sys/chat", "vault:auth/token/x", "vault:identity/x", "vault:cubbyhole/x", "Vault:a/b",
		"local:main", "vault:tr\xc3\xa4nsit/chat", "vault:transit/chat/", "vault://host/a/b"};
	char		longest[CC_KMS_URI_MAX + 1];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_AT(cc_kms_vault.check_uri(good[i]) == CC_OK, i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_AT(cc_kms_vault.check_uri(bad[i]) == CC_ERR_SYNTAX, i);
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "vault:a/", 8);
	longest[CC_KMS_URI_MAX] = '\0';
	CHECK(cc_kms_vault.check_uri(longest) == CC_ERR_SYNTAX);
	longest[CC_KMS_URI_MAX - 1] = '\0';
	CHECK(cc_kms_vault.check_uri(longest) == CC_OK);
}

static void
addresses(void)
{
	static const char *const good[] = {"https://vault.example:8200", "https://10.0.0.1",
		"https://[::1]:8200/", "https://h/prefix/"};
	static const char *const bad[] = {"https://", "https:///x", "https://user@h", "https://h?x",
		"https://h#x", "https://h x", "https://h%41", "https://h\n"};
	cc_kms_config config = token_config();

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		values[VAULT_ADDR].text = good[i];
		CHECK_AT(accepted(&config), i);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		values[VAULT_ADDR].text = bad[i];
		CHECK_AT(refused(&config, "is not an address"), i);
	}
	values[VAULT_ADDR].text = "";
	CHECK(refused(&config, "vault_addr is not set"));
	values[VAULT_ADDR].text = "ftp://h";
	CHECK(refused(&config, "must begin with https://"));
	values[VAULT_ADDR].text = "http://h";
	CHECK(refused(&config, "allow_http is off"));
	config.allow_http = true;
	CHECK(accepted(&config));
}

static void
contradictory_logins(void)
{
	cc_kms_config config = token_config();

	values[VAULT_TOKEN_FILE].text = "";
	CHECK(refused(&config, "no Vault login is set"));
	values[VAULT_ROLE_ID_FILE].text = "/r";
	CHECK(refused(&config, "vault_secret_id_file"));
	values[VAULT_SECRET_ID_FILE].text = "/s";
	CHECK(accepted(&config));
	values[VAULT_KUBERNETES_ROLE].text = "app";
	CHECK(refused(&config, "two Vault logins are set"));
	values[VAULT_ROLE_ID_FILE].text = values[VAULT_SECRET_ID_FILE].text = "";
	CHECK(accepted(&config));
	values[VAULT_CERT_ROLE].text = "app";
	CHECK(refused(&config, "vault_kubernetes_role, and chatcrypt.vault_cert_role"));
	values[VAULT_KUBERNETES_ROLE].text = "";
	CHECK(accepted(&config));
	values[VAULT_CERT_MOUNT].text = "../sys";
	CHECK(refused(&config, "the mount of the Vault login"));
	values[VAULT_CERT_MOUNT].text = "";
	CHECK(refused(&config, "the mount of the Vault login"));
	values[VAULT_CERT_MOUNT].text = "team/cert";
	CHECK(accepted(&config));
	values[VAULT_NAMESPACE].text = "a/b\r\nX-Evil: 1";
	CHECK(refused(&config, "vault_namespace"));
}

static void
token_file_login(void)
{
	cc_kms_config config = token_config();
	cc_kms_session *session;
	cc_http_request request;

	values[VAULT_NAMESPACE].text = "team/app";
	write_file(token_file, "  \n");
	session = open_with(&config);
	CHECK(session != NULL);
	CHECK(state(session, 0) == CC_SESSION_EXCHANGE);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_CONFIG);
	CHECK(says(error, "vault_token_file"));
	write_file(token_file, "two words\n");
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_CONFIG);
	CHECK(strstr(error, "two") == NULL);
	CHECK(chmod(token_file, 0644) == 0);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_CONFIG);

	write_file(token_file, "hvs.first\r\n");
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	CHECK(has_url(&request, "GET", "auth/token/lookup-self"));
	CHECK(has_header(&request, "X-Vault-Token: hvs.first"));
	CHECK(has_header(&request, "X-Vault-Request: true"));
	CHECK(has_header(&request, "X-Vault-Namespace: team/app"));
	CHECK(request.body == NULL);
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, LOOKUP("3600", "true"), 0, error) == CC_KMS_OK);
	CHECK(state(session, 0) == CC_SESSION_READY);
	CHECK(cc_kms_vault.session_lease_ms(session, 1000) == HOUR_MS - 1000);
	cc_kms_vault.close(session);
}

static void
root_token_has_no_lease(void)
{
	cc_kms_session *session = open_token();

	CHECK(exchange(session, 200, LOOKUP("0", "false"), 5) == CC_KMS_OK);
	CHECK(state(session, INT64_C(1) << 50) == CC_SESSION_READY);
	CHECK(cc_kms_vault.session_lease_ms(session, 5) == -1);
	cc_kms_vault.close(session);
}

static void
approle_login(void)
{
	cc_kms_session *session;
	cc_http_request request;

	session = open_approle();
	write_file(secret_file, "se\"cr\\et");
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "auth/approle/login"));
	CHECK(has_body(&request, "{\"role_id\":\"role-1\",\"secret_id\":\"se\\\"cr\\\\et\"}"));
	CHECK(has_header(&request, "Content-Type: application/json"));
	CHECK(request.nheaders == 3);	/* no token */
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, AUTH("hvs.app", "60", "true"), 0, error) == CC_KMS_OK);
	CHECK(state(session, 0) == CC_SESSION_READY);
	CHECK(cc_kms_vault.session_lease_ms(session, 0) == 60000);
	cc_kms_vault.close(session);
}

static void
kubernetes_login(void)
{
	cc_kms_config config = token_config();
	cc_kms_session *session;
	cc_http_request request;

	values[VAULT_TOKEN_FILE].text = "";
	values[VAULT_KUBERNETES_ROLE].text = "chat\"db";
	values[VAULT_KUBERNETES_MOUNT].text = "clusters/eu";
	write_file(token_file, "eyJ.abc.def");
	CHECK(chmod(token_file, 0644) == 0);	/* as the kubelet makes it */
	session = open_with(&config);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "auth/clusters/eu/login"));
	CHECK(has_body(&request, "{\"role\":\"chat\\\"db\",\"jwt\":\"eyJ.abc.def\"}"));
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, AUTH("hvs.k8s", "60", "true"), 0, error) == CC_KMS_OK);
	cc_kms_vault.close(session);
}

static void
cert_login(void)
{
	cc_kms_config config = token_config();
	cc_kms_session *session;
	cc_http_request request;

	values[VAULT_TOKEN_FILE].text = "";
	values[VAULT_CERT_ROLE].text = "chatdb";
	session = open_with(&config);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "auth/cert/login"));
	CHECK(has_body(&request, "{\"name\":\"chatdb\"}"));
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, AUTH("hvs.cert", "60", "true"), 0, error) == CC_KMS_OK);
	CHECK(state(session, 0) == CC_SESSION_READY);
	cc_kms_vault.close(session);
}

/* The longest token that occurs still fits; a longer one is refused, not cut. */
static void
credential_lengths(void)
{
	char		text[9000];
	cc_kms_session *session = open_token();
	cc_http_request request;

	memset(text, 'x', sizeof(text));
	text[7998] = '\0';
	write_file(token_file, text);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	CHECK(strlen(request.headers[1]) == strlen("X-Vault-Token: ") + 7998);
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, LOOKUP("0", "false"), 0, error) == CC_KMS_OK);
	text[7998] = 'x';
	text[8500] = '\0';
	write_file(token_file, text);
	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_CONFIG);
	CHECK(strstr(error, "too long") != NULL && strstr(error, "xxx") == NULL);
	cc_kms_vault.close(session);
}

static void
login_failures(void)
{
	static const struct
	{
		long		status;
		const char *body;
		cc_kms_outcome outcome;
	}			cases[] = {
		{400, "{\"errors\":[\"invalid role or secret ID\"]}", CC_KMS_DENIED},
		{403, "{\"errors\":[\"permission denied\"]}", CC_KMS_DENIED},
		{404, "{\"errors\":[\"no handler for route\"]}", CC_KMS_CONFIG},
		{405, "{\"errors\":[\"unsupported operation\"]}", CC_KMS_CONFIG},
		{413, "", CC_KMS_CONFIG},
		{412, "", CC_KMS_TRANSIENT},
		{429, "", CC_KMS_TRANSIENT},
		{500, "{\"errors\":[]}", CC_KMS_TRANSIENT},
		{502, "<html>", CC_KMS_TRANSIENT},
		{503, "{\"errors\":[\"Vault is sealed\"]}", CC_KMS_SEALED},
		{307, "", CC_KMS_BAD_REPLY},
		{204, "", CC_KMS_BAD_REPLY},
		{200, "", CC_KMS_BAD_REPLY},
		{200, "<html>", CC_KMS_BAD_REPLY},
		{200, "{\"auth\":null}", CC_KMS_BAD_REPLY},
		{200, "{\"data\":{}}", CC_KMS_BAD_REPLY},
		{200, AUTH("", "60", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a b", "60", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a\\r\\nX: y", "60", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a\\n", "60", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a", "-60", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a", "1e99", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a", "\"60\"", "true"), CC_KMS_BAD_REPLY},
		{200, AUTH("a", "60", "1"), CC_KMS_BAD_REPLY},
		{200, "{\"auth\":{\"client_token\":7,\"lease_duration\":60,\"renewable\":true}}", CC_KMS_BAD_REPLY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_kms_session *session = open_approle();
		cc_http_request request;

		CHECK_AT(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK, i);
		cc_http_request_clear(&request);
		CHECK_AT(answer(session, cases[i].status, cases[i].body, 0, error) == cases[i].outcome, i);
		CHECK_AT(strstr(error, "the login at auth/approle") != NULL, i);
		CHECK_AT(state(session, 0) == CC_SESSION_EXCHANGE, i);
		CHECK_AT(cc_kms_vault.session_lease_ms(session, 0) == -1, i);
		cc_kms_vault.close(session);
	}
}

static void
no_answer(void)
{
	cc_kms_session *session = open_approle();
	cc_http_request request;
	cc_http_reply reply = {.retry_after_ms = -1, .transport_error = "certificate has expired"};

	CHECK(cc_kms_vault.session_request(session, &request, 0, error) == CC_KMS_OK);
	cc_http_request_clear(&request);
	CHECK(cc_kms_vault.session_reply(session, &reply, 0, error) == CC_KMS_TRANSIENT);
	CHECK(strstr(error, ADDR) != NULL && strstr(error, "certificate has expired") != NULL);
	reply.timed_out = true;
	CHECK(cc_kms_vault.session_reply(session, &reply, 0, error) == CC_KMS_TIMEOUT);
	cc_kms_vault.close(session);
}

/* A reply to no request changes nothing. */
static void
unasked_reply(void)
{
	cc_kms_session *session = open_approle();

	CHECK(answer(session, 200, AUTH("hvs.x", "60", "true"), 0, error) == CC_KMS_BAD_REPLY);
	CHECK(state(session, 0) == CC_SESSION_EXCHANGE);
	cc_kms_vault.close(session);
}

static void
renewal_at_two_thirds(void)
{
	bool		differs = false;
	int64_t		first = -1;

	for (int round = 0; round < 20; round++)
	{
		cc_kms_session *session = open_approle();
		int64_t		now = 1000;

		CHECK_AT(exchange(session, 200, AUTH("hvs.a", "3600", "true"), 1000) == CC_KMS_OK, round);
		while (state(session, now) == CC_SESSION_READY)
			now += 1000;
		CHECK_AT(state(session, now) == CC_SESSION_RENEW, round);
		CHECK_AT(now > 1000 + HOUR_MS / 2 && now <= 2000 + HOUR_MS / 3 * 2, round);
		differs = differs || (first >= 0 && now != first);
		first = now;
		cc_kms_vault.close(session);
	}
	CHECK(differs);				/* jitter */
}

static void
renewal(void)
{
	cc_kms_session *session = open_approle();
	cc_http_request request;
	int64_t		now = HOUR_MS / 3 * 2;

	CHECK(exchange(session, 200, AUTH("hvs.a", "3600", "true"), 0) == CC_KMS_OK);
	CHECK(cc_kms_vault.session_request(session, &request, now, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "auth/token/renew-self"));
	CHECK(has_header(&request, "X-Vault-Token: hvs.a"));
	CHECK(has_body(&request, "{}"));
	cc_http_request_clear(&request);
	/* the answer takes 10 s: the lease counts from the request */
	CHECK(answer(session, 200, AUTH("hvs.a", "3600", "true"), now + 10000, error) == CC_KMS_OK);
	CHECK(state(session, now + 10000) == CC_SESSION_READY);
	CHECK(cc_kms_vault.session_lease_ms(session, now) == HOUR_MS);
	/* past its end, batches must wait */
	CHECK(state(session, now + HOUR_MS) == CC_SESSION_EXCHANGE);
	CHECK(cc_kms_vault.session_lease_ms(session, now + HOUR_MS) == 0);
	CHECK(cc_kms_vault.session_request(session, &request, now + HOUR_MS, error) == CC_KMS_OK);
	CHECK(has_url(&request, "POST", "auth/approle/login"));
	cc_http_request_clear(&request);
	cc_kms_vault.close(session);
}

static bool
next_is(cc_kms_session *session, int64_t now_ms, const char *path)
{
	cc_http_request request;
	bool		same = cc_kms_vault.session_request(session, &request, now_ms, error) == CC_KMS_OK &&
		strcmp(request.url + strlen(ADDR "/v1/"), path) == 0;

	cc_http_request_clear(&request);
	return same;
}

/* A token that cannot be renewed any more is followed by a login, while it is still used. */
static void
end_of_renewals(void)
{
	cc_kms_session *session = open_approle();
	int64_t		now = HOUR_MS / 3 * 2;

	/* not renewable from the start */
	CHECK(exchange(session, 200, AUTH("hvs.a", "3600", "false"), 0) == CC_KMS_OK);
	CHECK(state(session, now) == CC_SESSION_RENEW);
	CHECK(next_is(session, now, "auth/approle/login"));
	CHECK(answer(session, 200, AUTH("hvs.b", "3600", "true"), now, error) == CC_KMS_OK);

	/* a renewal that gives a much shorter lease than before: the maximum is near */
	CHECK(next_is(session, now, "auth/token/renew-self"));
	CHECK(answer(session, 200, AUTH("hvs.b", "600", "true"), now, error) == CC_KMS_OK);
	CHECK(state(session, now) == CC_SESSION_READY);
	CHECK(next_is(session, now + 400000, "auth/approle/login"));
	CHECK(answer(session, 200, AUTH("hvs.c", "3600", "true"), now, error) == CC_KMS_OK);

	/* a renewal that is refused */
	CHECK(next_is(session, now, "auth/token/renew-self"));
	CHECK(answer(session, 403, "{\"errors\":[\"permission denied\"]}", now, error) == CC_KMS_OK);
	CHECK(state(session, now) == CC_SESSION_RENEW);
	CHECK(next_is(session, now, "auth/approle/login"));
	CHECK(answer(session, 403, "", now, error) == CC_KMS_DENIED);
	CHECK(state(session, now) == CC_SESSION_READY);	/* the old token has not run out */
	CHECK(state(session, now + 10000) == CC_SESSION_RENEW);
	cc_kms_vault.close(session);
}

static void
renewal_while_the_server_is_down(void)
{
	cc_kms_session *session = open_approle();
	int64_t		now = HOUR_MS / 3 * 2;
	int			tries = 0;

	CHECK(exchange(session, 200, AUTH("hvs.a", "3600", "true"), 0) == CC_KMS_OK);
	for (; state(session, now) != CC_SESSION_EXCHANGE; now += 1000)
	{
		if (state(session, now) == CC_SESSION_READY)
			continue;
		CHECK_AT(next_is(session, now, "auth/token/renew-self"), now);
		CHECK_AT(answer(session, 500, "", now, error) == CC_KMS_TRANSIENT, now);
		CHECK_AT(state(session, now) == CC_SESSION_READY, now);
		tries++;
	}
	CHECK(now == HOUR_MS);
	CHECK(tries >= 100 && tries <= 240);	/* one in 5 to 10 s, for 20 minutes */
	cc_kms_vault.close(session);
}

/* A new token in the file is taken in the background; a bad one is not. */
static void
changed_token_file(void)
{
	cc_kms_session *session = open_token();
	cc_http_request request;

	CHECK(exchange(session, 200, LOOKUP("3600", "true"), 0) == CC_KMS_OK);
	write_file(token_file, "hvs.second-token\n");
	CHECK(state(session, 10) == CC_SESSION_RENEW);
	CHECK(cc_kms_vault.session_request(session, &request, 10, error) == CC_KMS_OK);
	CHECK(has_url(&request, "GET", "auth/token/lookup-self"));
	CHECK(has_header(&request, "X-Vault-Token: hvs.second-token"));
	cc_http_request_clear(&request);
	CHECK(answer(session, 403, "{\"errors\":[\"permission denied\"]}", 10, error) == CC_KMS_DENIED);
	CHECK(says(error, "vault_token_file") && strstr(error, "hvs.") == NULL);
	CHECK(state(session, 10) == CC_SESSION_READY);

	write_file(token_file, "hvs.third\n");
	CHECK(state(session, 20000) == CC_SESSION_RENEW);
	CHECK(exchange(session, 200, LOOKUP("60", "true"), 20000) == CC_KMS_OK);
	CHECK(state(session, 20000) == CC_SESSION_READY);
	CHECK(cc_kms_vault.key_request(session, "vault:transit/chat", &request, error) == CC_KMS_OK);
	CHECK(has_header(&request, "X-Vault-Token: hvs.third"));
	CHECK(request.login == 2);
	cc_http_request_clear(&request);

	/* the file is gone: the token that was read is still used, and then the error is reported */
	CHECK(unlink(token_file) == 0);
	CHECK(state(session, 30000) == CC_SESSION_READY);
	CHECK(state(session, 80000) == CC_SESSION_EXCHANGE);
	CHECK(cc_kms_vault.session_request(session, &request, 80000, error) == CC_KMS_CONFIG);
	CHECK(says(error, "vault_token_file"));
	cc_kms_vault.close(session);
}

static void
changed_secret_id(void)
{
	cc_kms_session *session = open_approle();
	cc_http_request request;

	CHECK(exchange(session, 200, AUTH("hvs.a", "3600", "true"), 0) == CC_KMS_OK);
	write_file(secret_file, "secret-number-2\n");
	CHECK(state(session, 10) == CC_SESSION_RENEW);
	CHECK(cc_kms_vault.session_request(session, &request, 10, error) == CC_KMS_OK);
	CHECK(has_body(&request, "{\"role_id\":\"role-1\",\"secret_id\":\"secret-number-2\"}"));
	cc_http_request_clear(&request);
	CHECK(answer(session, 200, AUTH("hvs.b", "3600", "true"), 10, error) == CC_KMS_OK);
	CHECK(state(session, 10) == CC_SESSION_READY);
	cc_kms_vault.close(session);
}

static void
dropped_session(void)
{
	cc_kms_session *session = open_approle();

	CHECK(exchange(session, 200, AUTH("hvs.a", "3600", "true"), 0) == CC_KMS_OK);
	cc_kms_vault.session_drop(session);
	CHECK(state(session, 0) == CC_SESSION_EXCHANGE);
	CHECK(cc_kms_vault.session_lease_ms(session, 0) == -1);
	CHECK(next_is(session, 0, "auth/approle/login"));
	CHECK(answer(session, 200, AUTH("hvs.b", "3600", "true"), 0, error) == CC_KMS_OK);
	CHECK(state(session, 0) == CC_SESSION_READY);

	/* dropped while a renewal is under way: its reply must not give a lease to a dropped session */
	CHECK(next_is(session, 10, "auth/token/renew-self"));
	cc_kms_vault.session_drop(session);
	CHECK(answer(session, 200, AUTH("hvs.b", "3600", "true"), 10, error) == CC_KMS_OK);
	CHECK(state(session, 10) == CC_SESSION_EXCHANGE);
	cc_kms_vault.close(session);
}

static void
absurd_leases(void)
{
	cc_kms_session *session = open_approle();

	CHECK(exchange(session, 200, AUTH("hvs.a", "9007199254740992", "true"), 0) == CC_KMS_OK);
	CHECK(state(session, HOUR_MS) == CC_SESSION_READY);
	CHECK(cc_kms_vault.session_lease_ms(session, 0) > 0);
	CHECK(exchange(session, 200, AUTH("hvs.a", "1", "true"), 0) == CC_KMS_OK);
	CHECK(state(session, 999) == CC_SESSION_READY);
	CHECK(state(session, 1000) == CC_SESSION_EXCHANGE);
	cc_kms_vault.close(session);
}

int
main(void)
{
	make_file(token_file, "");
	make_file(secret_file, "");
	RUN(uris);
	RUN(addresses);
	RUN(contradictory_logins);
	RUN(token_file_login);
	RUN(root_token_has_no_lease);
	RUN(approle_login);
	RUN(kubernetes_login);
	RUN(cert_login);
	RUN(credential_lengths);
	RUN(login_failures);
	RUN(no_answer);
	RUN(unasked_reply);
	RUN(renewal_at_two_thirds);
	RUN(renewal);
	RUN(end_of_renewals);
	RUN(renewal_while_the_server_is_down);
	RUN(changed_token_file);
	RUN(changed_secret_id);
	RUN(dropped_session);
	RUN(absurd_leases);
	unlink(token_file);
	unlink(secret_file);
	return unit_done();
}
