/*
 * reply.h
 *		What a reply of Vault or OpenBao means, whatever the request was: the HTTP status,
 *		and the server's own words.
 */
#ifndef CC_VAULT_REPLY_H
#define CC_VAULT_REPLY_H

#include "kms/json.h"
#include "kms/vault/session.h"

#define VAULT_TEXT_MAX	160		/* a server's error text, with the terminator */

/*
 * What the status of a reply means, whatever the request was; for all but CC_KMS_OK
 * error says so, with the server's own words.  what names the request, such as "the key
 * check of vault:transit/chat".
 */
extern cc_kms_outcome vault_reply_outcome(const vault_session *session, const cc_http_reply *reply,
										  const char *what, char error[CC_KMS_ERROR_MAX]);

/* Reads the server's own id of the request, as in its log. */
extern void vault_reply_request_id(const cc_http_reply *reply, char id[CC_KMS_REQUEST_ID_MAX]);

/* Copies a text of the server for a person, cut to a length; "" where value is not a string. */
extern void vault_reply_text(cc_json value, char text[VAULT_TEXT_MAX]);

/* Do the server's words mean that there is no key of that name, or none that may be used? */
extern bool vault_reply_key_is_gone(const char *server);

/* False where the reply is not JSON or has no member of that name. */
extern bool vault_reply_member(const cc_http_reply *reply, const char *name, cc_json *value);

#endif
