/*
 * batch.c
 *		Transit calls: datakey, encrypt, decrypt and rewrap, each item under its own
 *		context.
 *
 * A single new DEK is made by the server (datakey).  Several at once are made here, from
 * the system's random bytes, and wrapped in one call (encrypt), because Transit makes only
 * one data key per call.
 *
 * The reply to a batch with failed items has status 400 or 200, depending on operation
 * and release.  Either way each item has its own result, and only that result counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/random.h"
#include "kms/errtext.h"
#include "kms/vault/batch.h"
#include "kms/vault/reply.h"
#include "kms/vault/request.h"
#include "kms/vault/session.h"
#include "kms/vault/uri.h"

#define BASE64_SIZE(len)	(CC_BASE64_TEXT_LEN(len) + 1)

/* {"context":"...","ciphertext":"...","reference":"127"}, with room to spare */
#define ITEM_SIZE(payload)	(BASE64_SIZE(CC_CONTEXT_LEN) + 64 + (payload))
#define BATCH_SIZE			64	/* bytes around the items */

#define CIPHERTEXT_PREFIX	"vault:v"
#define CIPHERTEXT_MIN		80	/* base64 of nonce, DEK and tag */

/* Does the reply hold a single result, and not a list of results? */
static bool
is_datakey(const cc_kms_batch *batch)
{
	return batch->op == CC_KMS_GENERATE && batch->nitems == 1;
}

static const char *
verb_of(const cc_kms_batch *batch)
{
	switch (batch->op)
	{
		case CC_KMS_UNWRAP:
			return "decrypt";
		case CC_KMS_WRAP:
			return "encrypt";
		case CC_KMS_GENERATE:
			return is_datakey(batch) ? "datakey/plaintext" : "encrypt";
		case CC_KMS_REWRAP:
			return "rewrap";
	}
	return "";
}

/*
 * A wrapped DEK is "vault:v" version ":" base64, with a minimum length.  It is stored as it
 * comes: only the server knows what is in it.
 */
static bool
is_ciphertext(const char *text, size_t len)
{
	size_t		at = strlen(CIPHERTEXT_PREFIX);
	size_t		digits;
	size_t		chars;

	if (len > CC_KMS_WRAPPED_MAX || strncmp(text, CIPHERTEXT_PREFIX, at) != 0)
		return false;
	digits = strspn(text + at, "0123456789");
	if (digits == 0 || digits > 10 || text[at] == '0' || text[at + digits] != ':')
		return false;
	text += at + digits + 1;
	chars = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/");
	len = chars + strspn(text + chars, "=");
	return text[len] == '\0' && len - chars <= 2 && len % 4 == 0 && len >= CIPHERTEXT_MIN;
}

/* Copies wrapped bytes as text; false where they cannot be a DEK wrapped by Transit. */
static bool
ciphertext_of(const uint8_t *wrapped, size_t len, char text[CC_KMS_WRAPPED_MAX + 1])
{
	if (len > CC_KMS_WRAPPED_MAX || memchr(wrapped, '\0', len) != NULL)
		return false;
	memcpy(text, wrapped, len);
	text[len] = '\0';
	return is_ciphertext(text, len);
}

uint32_t
vault_batch_wrapped_version(const uint8_t *wrapped, size_t len)
{
	char		text[CC_KMS_WRAPPED_MAX + 1];
	unsigned long long version;

	if (!ciphertext_of(wrapped, len, text))
		return 0;
	version = strtoull(text + strlen(CIPHERTEXT_PREFIX), NULL, 10);
	return version <= UINT32_MAX ? (uint32_t) version : 0;
}

static void
put_context(cc_writer *w, const cc_kms_item *item)
{
	cc_json_put(w, "{\"context\":");
	cc_json_put_base64(w, item->context, CC_CONTEXT_LEN);
}

/*
 * An item to be wrapped is sent with a number that comes back with its result: if a key got
 * the wrapped bytes of another, it would be noticed only when the key is needed, which is too
 * late.  Items that come wrapped are sent without a number, so that more of them fit into a
 * request: a result that belongs to another item fails the check of the key check value.
 */
static void
put_reference(cc_writer *w, int number)
{
	char		reference[16];

	snprintf(reference, sizeof(reference), "%d", number);
	cc_json_put(w, ",\"reference\":");
	cc_json_put_string(w, reference);
}

/*
 * Wrapped bytes that cannot be a ciphertext are sent as an empty one, which the server
 * answers with an error for that item alone; vault_batch_reply() gives it a better text.
 */
static void
put_item(cc_writer *w, cc_kms_op op, const cc_kms_item *item, int number)
{
	char		text[CC_KMS_WRAPPED_MAX + 1];

	put_context(w, item);
	if (op == CC_KMS_WRAP || op == CC_KMS_GENERATE)
	{
		cc_json_put(w, ",\"plaintext\":");
		cc_json_put_base64(w, item->dek, CC_DEK_LEN);
		put_reference(w, number);
	}
	else
	{
		cc_json_put(w, ",\"ciphertext\":");
		cc_json_put_string(w, ciphertext_of(item->wrapped, item->wrapped_len, text) ? text : "");
	}
	cc_json_put(w, "}");
}

static void
put_batch(cc_writer *w, const cc_kms_batch *batch)
{
	if (is_datakey(batch))
	{
		put_context(w, batch->items[0]);
		cc_json_put(w, "}");
		return;
	}
	cc_json_put(w, "{\"batch_input\":[");
	for (int i = 0; i < batch->nitems; i++)
	{
		if (i > 0)
			cc_json_put(w, ",");
		put_item(w, batch->op, batch->items[i], i);
	}
	cc_json_put(w, "]}");
}

static size_t
body_size(const cc_kms_batch *batch)
{
	size_t		size = BATCH_SIZE;

	for (int i = 0; i < batch->nitems; i++)
	{
		size_t		payload = batch->items[i]->wrapped_len;

		if (batch->op == CC_KMS_WRAP || batch->op == CC_KMS_GENERATE)
			payload = BASE64_SIZE(CC_DEK_LEN);
		size += ITEM_SIZE(payload);
	}
	return size;
}

static bool
make_deks(const cc_kms_batch *batch)
{
	bool		ok = true;

	for (int i = 0; i < batch->nitems; i++)
		ok = ok && cc_random_bytes(batch->items[i]->dek, CC_DEK_LEN) == CC_OK;
	/* a machine that is cloned while the worker is idle must not make the same keys twice */
	cc_random_forget();
	return ok;
}

/* Where a batch fails, the DEKs that were made for it are wiped. */
static void
forget_deks(const cc_kms_batch *batch)
{
	if (batch->op != CC_KMS_GENERATE && batch->op != CC_KMS_UNWRAP)
		return;
	for (int i = 0; i < batch->nitems; i++)
		cc_wipe(batch->items[i]->dek, CC_DEK_LEN);
}

cc_kms_outcome
vault_batch_request(cc_kms_session *handle, const cc_kms_batch *batch, cc_http_request *request,
					char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	char		path[CC_KMS_URI_MAX + 32];
	vault_key	key;
	cc_writer	writer;
	size_t		size;
	cc_kms_outcome outcome;

	memset(request, 0, sizeof(*request));
	if (!vault_uri_key(batch->kms_key, &key))
	{
		cc_kms_say(error, "\"%s\" is not a key URI of the provider vault", batch->kms_key);
		return CC_KMS_CONFIG;
	}
	if (batch->nitems < 1 || batch->nitems > CC_KMS_BATCH_MAX)
	{
		cc_kms_say(error, "a batch has 1 to %d items, not %d", CC_KMS_BATCH_MAX, batch->nitems);
		return CC_KMS_CONFIG;
	}
	if (batch->op == CC_KMS_GENERATE && !is_datakey(batch) && !make_deks(batch))
	{
		forget_deks(batch);
		cc_kms_say(error, "no random bytes are available");
		return CC_KMS_TRANSIENT;
	}
	size = body_size(batch);
	snprintf(path, sizeof(path), "%.*s/%s/%s", key.mount_len, key.mount, verb_of(batch), key.name);
	outcome = vault_request_begin(session, request, "POST", path, session->token, size, &writer,
								  error);
	if (outcome == CC_KMS_OK)
	{
		put_batch(&writer, batch);
		outcome = vault_request_end(request, size, &writer, error);
	}
	if (outcome != CC_KMS_OK)
		forget_deks(batch);
	return outcome;
}

/* Reads exactly one DEK, or fails; the caller wipes dek. */
static bool
take_dek(cc_json result, uint8_t dek[CC_DEK_LEN])
{
	char		text[BASE64_SIZE(CC_DEK_LEN)];	/* secret */
	size_t		text_len;
	size_t		dek_len = 0;
	cc_json		value;
	bool		ok;

	ok = cc_json_member(result, "plaintext", &value) &&
		cc_json_string(value, text, sizeof(text), &text_len) &&
		cc_base64_decode(text, text_len, dek, CC_DEK_LEN, &dek_len) == CC_OK &&
		dek_len == CC_DEK_LEN;
	cc_wipe(text, sizeof(text));
	return ok;
}

/* Replaces the item's wrapped bytes, but only by wrapped bytes of the right form. */
static bool
take_wrapped(cc_json result, cc_kms_item *item)
{
	char		text[CC_KMS_WRAPPED_MAX + 1];
	size_t		len;
	cc_json		value;

	if (!cc_json_member(result, "ciphertext", &value) ||
		!cc_json_string(value, text, sizeof(text), &len) || !is_ciphertext(text, len))
		return false;
	memcpy(item->wrapped, text, len);
	item->wrapped_len = (uint16_t) len;
	return true;
}

/* Where the server repeats the item's reference, as all but old releases do, it must match. */
static bool
is_answer_to(cc_json result, int number)
{
	char		reference[16];
	char		expected[16];
	size_t		len;
	cc_json		value;

	if (!cc_json_member(result, "reference", &value))
		return true;
	snprintf(expected, sizeof(expected), "%d", number);
	return cc_json_string(value, reference, sizeof(reference), &len) &&
		(len == 0 || strcmp(reference, expected) == 0);
}

/* Takes what the operation asked for from one result. */
static bool
take_result(cc_kms_op op, cc_json result, cc_kms_item *item)
{
	switch (op)
	{
		case CC_KMS_UNWRAP:
			return take_dek(result, item->dek);
		case CC_KMS_WRAP:
		case CC_KMS_REWRAP:
			return take_wrapped(result, item);
		case CC_KMS_GENERATE:
			return false;		/* its callers read it as a wrap or as a data key */
	}
	return false;
}

/* Does the item have an error of its own?  A missing, null or empty one means a result. */
static bool
item_error(cc_json result, char text[VAULT_TEXT_MAX])
{
	cc_json		value;

	text[0] = '\0';
	if (!cc_json_member(result, "error", &value))
		return false;
	vault_reply_text(value, text);
	return text[0] != '\0';
}

/*
 * The first text is that of Go's AEADs for a wrong tag, and the second that of Transit for a
 * key with fewer versions than the one that wrapped.  Either way the key that wrapped is not
 * the one that is there.
 */
static cc_kms_outcome
outcome_of_error(const char *server, long status)
{
	if (status >= 500)
		return CC_KMS_TRANSIENT;
	if (strstr(server, "message authentication failed") != NULL ||
		strstr(server, "version is too new") != NULL)
		return CC_KMS_NOT_OPENED;
	return vault_reply_key_is_gone(server) ? CC_KMS_NO_KEY : CC_KMS_REJECTED;
}

/*
 * status is that of the whole reply.  From 500 on the server itself failed at one of the items,
 * and does not say at which.
 */
static void
read_item(const cc_kms_batch *batch, cc_json result, int number, long status)
{
	cc_kms_item *item = batch->items[number];
	cc_kms_op	op = batch->op == CC_KMS_GENERATE ? CC_KMS_WRAP : batch->op;
	bool		unwrapping = op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP;
	char		server[VAULT_TEXT_MAX];
	char		wrapped[CC_KMS_WRAPPED_MAX + 1];

	item->outcome = CC_KMS_OK;
	item->error[0] = '\0';
	if (unwrapping && !ciphertext_of(item->wrapped, item->wrapped_len, wrapped))
		cc_kms_item_fail(item, CC_KMS_REJECTED,
						 "the wrapped key is not one of Vault or OpenBao, or is damaged");
	else if (item_error(result, server))
		cc_kms_item_fail(item, outcome_of_error(server, status), server);
	else if (!is_answer_to(result, number) || !take_result(op, result, item))
		cc_kms_item_fail(item, CC_KMS_BAD_REPLY, "the reply does not hold what was asked for");

	if (item->outcome != CC_KMS_OK && (op == CC_KMS_UNWRAP || batch->op == CC_KMS_GENERATE))
		cc_wipe(item->dek, CC_DEK_LEN);
}

/* Reads the results.  There must be as many as items, or the whole reply is useless. */
static cc_kms_outcome
read_results(const cc_kms_batch *batch, cc_json results, long status, char error[CC_KMS_ERROR_MAX])
{
	cc_json_walk walk = cc_json_elements(results);
	cc_json		result;
	int			count = 0;

	while (cc_json_next(&walk, &result))
		count++;
	if (count != batch->nitems)
	{
		cc_kms_say(error, "the reply has %d results for %d items", count, batch->nitems);
		return CC_KMS_BAD_REPLY;
	}
	walk = cc_json_elements(results);
	for (int i = 0; cc_json_next(&walk, &result); i++)
		read_item(batch, result, i, status);
	return CC_KMS_OK;
}

static cc_kms_outcome
read_datakey(const cc_kms_batch *batch, cc_json data, char error[CC_KMS_ERROR_MAX])
{
	cc_kms_item *item = batch->items[0];

	item->error[0] = '\0';
	item->outcome = CC_KMS_OK;
	if (take_dek(data, item->dek) && take_wrapped(data, item))
		return CC_KMS_OK;
	cc_wipe(item->dek, CC_DEK_LEN);
	cc_kms_say(error, "the reply does not hold a data key of 32 bytes");
	return CC_KMS_BAD_REPLY;
}

/* Handles a reply that holds for all items and is not a list of results. */
static cc_kms_outcome
whole_batch(vault_session *session, const cc_kms_batch *batch, const cc_http_reply *reply,
			char error[CC_KMS_ERROR_MAX])
{
	char		what[CC_KMS_URI_MAX + 32];
	cc_kms_outcome outcome;

	snprintf(what, sizeof(what), "%s with %s", verb_of(batch), batch->kms_key);
	outcome = vault_reply_outcome(session, reply, what, error);
	if (outcome == CC_KMS_OK)
	{
		cc_kms_say(error, "%s: the reply is not what was asked for", what);
		return CC_KMS_BAD_REPLY;
	}
	if (outcome == CC_KMS_DENIED)
		return vault_session_refused(session, reply);
	if (outcome == CC_KMS_SPLIT && batch->nitems == 1)
		return CC_KMS_CONFIG;	/* one item is as small as it gets */
	return outcome;
}

cc_kms_outcome
vault_batch_reply(cc_kms_session *handle, cc_kms_batch *batch, const cc_http_reply *reply,
				  char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	bool		per_item = reply->status == 200 || reply->status == 400 || reply->status == 500;
	cc_json		data;
	cc_json		results;
	cc_kms_outcome outcome;

	error[0] = '\0';
	if (is_datakey(batch) && reply->status == 200 && vault_reply_member(reply, "data", &data))
		outcome = read_datakey(batch, data, error);
	else if (!is_datakey(batch) && per_item && vault_reply_member(reply, "data", &data) &&
			 cc_json_member(data, "batch_results", &results))
		outcome = read_results(batch, results, reply->status, error);
	else
		outcome = whole_batch(session, batch, reply, error);
	if (outcome != CC_KMS_OK)
		forget_deks(batch);
	return outcome;
}
