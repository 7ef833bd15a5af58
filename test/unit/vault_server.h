/*
 * vault_server.h
 *		For tests of the provider `vault`: settings, replies with a status and a
 *		body in exactly sized memory, and what a request holds.
 */
#ifndef CC_UNIT_VAULT_SERVER_H
#define CC_UNIT_VAULT_SERVER_H

#include "harness.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kms/providers.h"
#include "kms/vault/settings.h"

#define ADDR "https://vault.example:8200"

static char token_file[64] = "/tmp/cc_kms_token_XXXXXX";

static inline void
write_file(const char *path, const char *text)
{
	FILE	   *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, 0600) != 0)
	{
		printf("Bail out! could not write %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

/* Makes a file with a new name; main() unlinks it. */
static inline void
make_file(char *template, const char *text)
{
	int			fd = mkstemp(template);

	if (fd < 0)
		exit(1);
	close(fd);
	write_file(template, text);
}

/* What the sessions are opened with. */
static cc_kms_value values[VAULT_SETTINGS];

/* The default values, an address, and the login with a token; the caller may change them. */
static inline cc_kms_config
token_config(void)
{
	memset(values, 0, sizeof(values));
	for (int i = 0; i < VAULT_SETTINGS; i++)
	{
		if (vault_settings[i].kind == CC_KMS_SETTING_TEXT)
			values[i].text = vault_settings[i].initial;
	}
	values[VAULT_ADDR].text = ADDR;
	values[VAULT_TOKEN_FILE].text = token_file;
	values[VAULT_KUBERNETES_TOKEN_FILE].text = token_file;
	return (cc_kms_config) {.values = values, .data_directory = ""};
}

/* A reply whose body has exactly its length; end_reply() frees it. */
static inline cc_http_reply
reply_of(long status, const char *body)
{
	size_t		len = strlen(body);

	return (cc_http_reply) {
		.status = status, .retry_after_ms = -1, .body = unit_copy(body, len), .body_len = len,
	};
}

static inline void
end_reply(cc_http_reply *reply)
{
	free((void *) reply->body);
	memset(reply, 0, sizeof(*reply));
}

static inline bool
has_header(const cc_http_request *request, const char *line)
{
	for (int i = 0; i < request->nheaders; i++)
	{
		if (strcmp(request->headers[i], line) == 0)
			return true;
	}
	return false;
}

static inline bool
has_body(const cc_http_request *request, const char *text)
{
	return request->body != NULL && request->body_len == strlen(text) &&
		memcmp(request->body, text, request->body_len) == 0;
}

static inline bool
has_url(const cc_http_request *request, const char *method, const char *path)
{
	size_t		addr_len = strlen(ADDR "/v1/");

	return strcmp(request->method, method) == 0 &&
		strncmp(request->url, ADDR "/v1/", addr_len) == 0 &&
		strcmp(request->url + addr_len, path) == 0;
}

/* Answers the exchange that the session has asked for. */
static inline cc_kms_outcome
answer(cc_kms_session *session, long status, const char *body, int64_t now_ms,
	   char error[CC_KMS_ERROR_MAX])
{
	cc_http_reply reply = reply_of(status, body);
	cc_kms_outcome outcome = cc_kms_vault.session_reply(session, &reply, now_ms, error);

	end_reply(&reply);
	return outcome;
}

/* Makes the request, and answers it at once. */
static inline cc_kms_outcome
exchange(cc_kms_session *session, long status, const char *body, int64_t now_ms)
{
	char		error[CC_KMS_ERROR_MAX];
	cc_http_request request;
	cc_kms_outcome outcome = cc_kms_vault.session_request(session, &request, now_ms, error);

	cc_http_request_clear(&request);
	if (outcome != CC_KMS_OK)
		return outcome;
	return answer(session, status, body, now_ms, error);
}

#endif
