/*
 * key.c
 *		The check of a Transit key before its first use: it must bind what it wraps
 *		to the context (derived), stay inside the server, and be an AEAD of 256 bits.
 */
#include <stdio.h>
#include <string.h>

#include "kms/errtext.h"
#include "kms/vault/key.h"
#include "kms/vault/reply.h"
#include "kms/vault/request.h"
#include "kms/vault/session.h"
#include "kms/vault/uri.h"

cc_kms_outcome
vault_key_request(cc_kms_session *handle, const char *kms_key, cc_http_request *request,
				  char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	char		path[CC_KMS_URI_MAX + 16];
	vault_key	key;
	cc_writer	writer;

	memset(request, 0, sizeof(*request));
	if (!vault_uri_key(kms_key, &key))
	{
		cc_kms_say(error, "\"%s\" is not a key URI of the provider vault", kms_key);
		return CC_KMS_CONFIG;
	}
	snprintf(path, sizeof(path), "%.*s/keys/%s", key.mount_len, key.mount, key.name);
	return vault_request_begin(session, request, "GET", path, session->token, 0, &writer, error);
}

static bool
flag(cc_json data, const char *name, bool *truth)
{
	cc_json		value;

	return cc_json_member(data, name, &value) && cc_json_bool(value, truth);
}

static bool
version(cc_json data, const char *name, uint32_t *number)
{
	cc_json		value;
	uint64_t	count;

	if (!cc_json_member(data, name, &value) || !cc_json_count(value, &count) || count > UINT32_MAX)
		return false;
	*number = (uint32_t) count;
	return true;
}

/* Returns NULL for a key that may be used; otherwise why it must not be. */
static const char *
refusal(const vault_session *session, cc_json data, const cc_kms_key_facts *facts)
{
	static const char *const types[] = {"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"};
	char		type[64];
	size_t		type_len;
	cc_json		value;
	bool		known = false;
	bool		backup = false;

	if (!cc_json_member(data, "type", &value) ||
		!cc_json_string(value, type, sizeof(type), &type_len))
		type[0] = '\0';
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		known = known || strcmp(type, types[i]) == 0;

	if (!known)
		return "its type is not aes256-gcm96 or chacha20-poly1305";
	if (facts->exportable)
		return "it is exportable: anyone who may export it can unwrap without the server";
	if (flag(data, "allow_plaintext_backup", &backup) && backup)
		return "it allows plaintext backups: "
			"anyone who may back it up can unwrap without the server";
	if (!facts->derived && !session->allow_underived)
		return "it is not derived, so wrapped keys are not bound to their chats "
			"(chatcrypt.vault_allow_underived is off)";
	return NULL;
}

/* The usual cause of a 403 here is a policy without this path. */
static cc_kms_outcome
denied(vault_session *session, const cc_http_reply *reply, const char *kms_key, bool again,
	   char error[CC_KMS_ERROR_MAX])
{
	vault_key	key;
	cc_kms_outcome outcome = again ? CC_KMS_DENIED : vault_session_refused(session, reply);

	if (outcome == CC_KMS_DENIED && vault_uri_key(kms_key, &key))
		cc_kms_say(error, "the key check of %s: status %ld: the policy of the login must allow "
				   "read on %.*s/keys/%s", kms_key, reply->status, key.mount_len, key.mount,
				   key.name);
	return outcome;
}

cc_kms_outcome
vault_key_reply(cc_kms_session *handle, const char *kms_key, const cc_http_reply *reply,
				bool again, cc_kms_key_facts *facts, char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	char		what[CC_KMS_URI_MAX + 32];
	const char *wrong;
	cc_json		data;
	cc_kms_outcome outcome;

	memset(facts, 0, sizeof(*facts));
	snprintf(what, sizeof(what), "the key check of %s", kms_key);
	outcome = vault_reply_outcome(session, reply, what, error);
	if (outcome == CC_KMS_DENIED)
		return denied(session, reply, kms_key, again, error);
	if (outcome == CC_KMS_SPLIT)
		return CC_KMS_CONFIG;	/* a look at a key cannot be split */
	if (outcome != CC_KMS_OK)
		return outcome;

	if (!vault_reply_member(reply, "data", &data) ||
		!flag(data, "derived", &facts->derived) ||
		!flag(data, "exportable", &facts->exportable) ||
		!version(data, "latest_version", &facts->latest_version) ||
		!version(data, "min_decryption_version", &facts->min_decryption_version))
	{
		memset(facts, 0, sizeof(*facts));
		cc_kms_say(error, "%s: the reply does not describe a Transit key", what);
		return CC_KMS_BAD_REPLY;
	}
	facts->known = true;
	wrong = refusal(session, data, facts);
	if (wrong == NULL)
		return CC_KMS_OK;
	cc_kms_say(error, "the key %s is refused: %s", kms_key, wrong);
	return CC_KMS_CONFIG;
}
