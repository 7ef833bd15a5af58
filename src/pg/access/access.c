/*
 * access.c
 *		Access checks: see access.h.
 *
 * The client's transport is in a setting that only this file changes.  Not here: the actor
 * (actor.c) and roles (rights.c).
 */
#include "postgres.h"

#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/memberships.h"
#include "pg/access/ownsettings.h"
#include "pg/base/settings.h"

#define TRANSPORT_SETTING	"chatcrypt.client_transport"

static char *client_transport;
static bool acts_for_nobody;		/* this process called chatcrypt_access_act_for_nobody() */

static ClientAuthentication_hook_type previous_authentication_hook;

void
chatcrypt_access_require_for_plaintext(ChatcryptRight right)
{
	chatcrypt_rights_require(right);
	chatcrypt_access_require_client();
}

void
chatcrypt_access_require_client(void)
{
	if (chatcrypt_require_tls && strcmp(client_transport, "plain") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("messages are not encrypted or decrypted over an unencrypted connection"),
				 errdetail("chatcrypt.require_tls is on, and this client is connected over TCP without TLS."),
				 errhint("Connect with sslmode=require or stricter.")));
	chatcrypt_actor_require();
}

bool
chatcrypt_access_actor_may_see(const uint8 chat_id[CC_ID_LEN])
{
	if (chatcrypt_actor() == NULL)
		return !chatcrypt_actor_is_lacking();
	return chatcrypt_memberships_has(chat_id, chatcrypt_actor());
}

void
chatcrypt_access_require_participant(const uint8 chat_id[CC_ID_LEN])
{
	chatcrypt_actor_require();
	if (chatcrypt_access_actor_may_see(chat_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the current actor is not a participant of this chat"),
			 errhint("Create the chat with the actor among its participants, or have one of them "
					 "call chatcrypt.add_participant().")));
}

void
chatcrypt_access_act_for_nobody(void)
{
	acts_for_nobody = true;
}

void
chatcrypt_access_require_for_key_use(const uint8 chat_id[CC_ID_LEN])
{
	if (!acts_for_nobody)
		chatcrypt_access_require_participant(chat_id);
}

void
chatcrypt_access_require_for_key(const uint8 chat_id[CC_ID_LEN])
{
	bool		for_participant = chatcrypt_actor() != NULL &&
		!chatcrypt_rights_has(CHATCRYPT_MAY_HOLD_KEYS);

	chatcrypt_actor_require();
	chatcrypt_access_require_for_plaintext(for_participant ? CHATCRYPT_MAY_READ :
										   CHATCRYPT_MAY_HOLD_KEYS);
	chatcrypt_access_require_participant(chat_id);
}

void
chatcrypt_access_define_settings(void)
{
	chatcrypt_ownsettings_define_string(TRANSPORT_SETTING,
										"How the client is connected: local, "
										"tls or plain. Set by the server alone.",
										&client_transport, "local", NULL);
}

static const char *
transport_of(const Port *port)
{
	if (port->raddr.addr.ss_family == AF_UNIX)
		return "local";
	if (port->ssl_in_use)
		return "tls";
#ifdef ENABLE_GSS
	if (port->gss && be_gssapi_get_enc((Port *) port))
		return "tls";
#endif
	return "plain";
}

static void
note_transport(Port *port, int status)
{
	if (previous_authentication_hook)
		previous_authentication_hook(port, status);
	if (status == STATUS_OK)
		chatcrypt_ownsettings_set(TRANSPORT_SETTING, transport_of(port), PGC_S_OVERRIDE,
								  GUC_ACTION_SET);
}

void
chatcrypt_access_install_hooks(void)
{
	previous_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = note_transport;
}

PG_FUNCTION_INFO_V1(chatcrypt_may_see);

/* may_see(chat any_id): called by the row-level security of messages. */
Datum
chatcrypt_may_see(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(chatcrypt_access_actor_may_see(PG_GETARG_UUID_P(0)->data));
}
