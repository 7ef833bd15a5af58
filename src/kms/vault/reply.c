/*
 * reply.c
 *		What an HTTP status of Vault or OpenBao means to us, and the server's own
 *		words about it.
 *
 * Of an error reply only the strings of its `errors` are shown: they describe the
 * request without repeating it, and they are scrubbed and cut to a length.
 */
#include <string.h>

#include "kms/errtext.h"
#include "kms/vault/reply.h"

bool
vault_reply_member(const cc_http_reply *reply, const char *name, cc_json *value)
{
	cc_json		root;

	return reply->body_len <= CC_HTTP_REPLY_MAX &&
		cc_json_parse(reply->body, reply->body_len, &root) == CC_OK &&
		cc_json_member(root, name, value);
}

/* Replaces runs of white space by one blank, since servers indent their lists. */
static void
squeeze(char *text)
{
	char	   *to = text;
	bool		blank = true;

	for (const char *from = text; *from != '\0'; from++)
	{
		bool		space = *from == ' ' || *from == '\n' || *from == '\t' || *from == '\r';

		if (!space)
			*to++ = *from;
		else if (!blank)
			*to++ = ' ';
		blank = space;
	}
	if (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
}

void
vault_reply_text(cc_json value, char text[VAULT_TEXT_MAX])
{
	char		whole[2048];
	size_t		len;

	text[0] = '\0';
	if (cc_json_type_of(value) == CC_JSON_NULL)
		return;
	if (!cc_json_string(value, whole, sizeof(whole), &len))
		strcpy(whole, "the server's error text cannot be read");
	squeeze(whole);
	whole[VAULT_TEXT_MAX - 1] = '\0';
	memcpy(text, whole, strlen(whole) + 1);
}

/* Finds the first of the server's error texts that is not empty; "" where there is none. */
static void
first_error(const cc_http_reply *reply, char text[VAULT_TEXT_MAX])
{
	cc_json		errors;
	cc_json		element;
	cc_json_walk walk;

	text[0] = '\0';
	if (!vault_reply_member(reply, "errors", &errors))
		return;
	walk = cc_json_elements(errors);
	while (text[0] == '\0' && cc_json_next(&walk, &element))
		vault_reply_text(element, text);
}

/* What a status means by itself, as an outcome and in words. */
static cc_kms_outcome
status_outcome(long status, const char **words)
{
	if (status >= 300 && status < 400)
	{
		/* a standby that does not forward; perhaps there is no active node at the moment */
		*words = "the server wants to redirect the request, which is not followed; "
			"chatcrypt.vault_addr must name a node that answers or forwards";
		return CC_KMS_BAD_REPLY;
	}
	switch (status)
	{
		case 400:
			*words = "the server rejected the request";
			return CC_KMS_REJECTED;
		case 401:
		case 403:
			*words = "the server denied access";
			return CC_KMS_DENIED;
		case 404:
			*words = "the server knows no such key, mount or namespace";
			return CC_KMS_NO_KEY;
		case 405:
			*words = "the server has no such operation there; is the mount a Transit engine?";
			return CC_KMS_CONFIG;
		case 407:
			*words = "the proxy wants a login";
			return CC_KMS_CONFIG;
		case 413:
			*words = "the request was too large for the server";
			return CC_KMS_SPLIT;
		case 408:
		case 412:
		case 425:
		case 429:
			*words = "the server is too busy";
			return CC_KMS_TRANSIENT;
		case 472:
		case 473:
		case 503:
			*words = "the server is sealed, standing by or out of service";
			return CC_KMS_SEALED;
		default:
			break;
	}
	if (status >= 500 && status < 600)
	{
		*words = "the server failed";
		return CC_KMS_TRANSIENT;
	}
	*words = "the server sent a status that means nothing here";
	return CC_KMS_BAD_REPLY;
}

/* The outcome of a request that no server answered. */
static cc_kms_outcome
no_answer(const vault_session *session, const cc_http_reply *reply, const char *what,
		  char error[CC_KMS_ERROR_MAX])
{
	const char *why = reply->transport_error != NULL ? reply->transport_error : "no answer";

	if (reply->timed_out)
	{
		cc_kms_say(error, "%s: %s did not answer in time", what, session->addr);
		return CC_KMS_TIMEOUT;
	}
	cc_kms_say(error, "%s: %s could not be reached: %s", what, session->addr, why);
	return CC_KMS_TRANSIENT;
}

/* Transit answers 400, not 404, for a missing key; OpenBao can also soft-delete a key. */
bool
vault_reply_key_is_gone(const char *server)
{
	return strcmp(server, "encryption key not found") == 0 ||
		strstr(server, "soft-deleted key") != NULL;
}

cc_kms_outcome
vault_reply_outcome(const vault_session *session, const cc_http_reply *reply, const char *what,
					char error[CC_KMS_ERROR_MAX])
{
	char		server[VAULT_TEXT_MAX];
	const char *words;
	cc_kms_outcome outcome;

	if (reply->status == 0)
		return no_answer(session, reply, what, error);
	if (reply->status == 200)
		return CC_KMS_OK;

	outcome = status_outcome(reply->status, &words);
	first_error(reply, server);
	if (reply->status == 400 && vault_reply_key_is_gone(server))
		outcome = CC_KMS_NO_KEY;
	if (server[0] != '\0')
		cc_kms_say(error, "%s: status %ld: %s", what, reply->status, server);
	else
		cc_kms_say(error, "%s: status %ld: %s", what, reply->status, words);
	return outcome;
}

void
vault_reply_request_id(const cc_http_reply *reply, char id[CC_KMS_REQUEST_ID_MAX])
{
	cc_json		value;
	size_t		len;

	id[0] = '\0';
	if (!vault_reply_member(reply, "request_id", &value) ||
		!cc_json_string(value, id, CC_KMS_REQUEST_ID_MAX, &len))
	{
		id[0] = '\0';
		return;
	}
	for (char *c = id; *c != '\0'; c++)
	{
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	}
}
