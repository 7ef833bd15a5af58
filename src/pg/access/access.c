/*
 * access.c
 *		Who may do what: see access.h.
 *
 * The current actor and the client's transport live in two settings that only
 * this file can change.  A setting, because parallel workers inherit settings and
 * neither C variables nor MyProcPort; guarded by a check hook, because anybody
 * could SET it otherwise.  GUC_ACTION_LOCAL gives the actor the life of its
 * transaction or savepoint, so that nothing leaks through a transaction pooler.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/settings.h"
#include "pg/base/store.h"
#include "pg/chats/chatmemory.h"

#define ACTOR_SETTING		"chatcrypt.actor"
#define TRANSPORT_SETTING	"chatcrypt.client_transport"

static const char *const role_names[CHATCRYPT_RIGHTS] = {
	[CHATCRYPT_MAY_WRITE] = "chatcrypt_writer",
	[CHATCRYPT_MAY_READ] = "chatcrypt_reader",
	[CHATCRYPT_MAY_ADMINISTER] = "chatcrypt_admin",
	[CHATCRYPT_MAY_AUDIT] = "chatcrypt_auditor",
	[CHATCRYPT_MAY_HOLD_KEYS] = "chatcrypt_keyholder",
	[CHATCRYPT_MAY_FEED] = "chatcrypt_feeder"
};

static char *actor;
static char *client_transport;
static bool setting_from_here;

/* What is known of the rights of one user, until a role or a membership changes. */
static Oid	known_user = InvalidOid;
static bool known[CHATCRYPT_RIGHTS];
static bool allowed[CHATCRYPT_RIGHTS];

static bool read_membership(const uint8 *chat_id, void *value);

/* Whether the actor is a participant, by chat. */
static ChatcryptMemory memberships = {
	.tables = {"chat"}, .value_size = sizeof(bool), .read = read_membership
};

static ClientAuthentication_hook_type previous_authentication_hook;

static void
forget_rights(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	known_user = InvalidOid;
}

static void
watch_roles_once(void)
{
	static bool watching = false;

	if (watching)
		return;
	CacheRegisterSyscacheCallback(AUTHOID, forget_rights, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_rights, (Datum) 0);
	watching = true;
}

static bool
user_has(ChatcryptRight right)
{
	Oid			user = GetUserId();
	Oid			role;

	if (user == known_user && known[right])
		return allowed[right];

	watch_roles_once();
	role = get_role_oid(role_names[right], true);
	if (user != known_user)
		memset(known, 0, sizeof(known));
	known_user = user;
	known[right] = true;
	allowed[right] = superuser_arg(user) || (OidIsValid(role) && has_privs_of_role(user, role));
	return allowed[right];
}

void
chatcrypt_require(ChatcryptRight right)
{
	if (user_has(right))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied: \"%s\" is not a member of role %s",
					GetUserNameFromId(GetUserId(), false), role_names[right]),
			 errhint("An administrator can GRANT %s to it.", role_names[right])));
}

void
chatcrypt_require_steward(void)
{
	if (!user_has(CHATCRYPT_MAY_AUDIT))
		chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
}

void
chatcrypt_require_for_plaintext(ChatcryptRight right)
{
	chatcrypt_require(right);
	if (chatcrypt_require_tls && strcmp(client_transport, "plain") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("messages are not encrypted or decrypted over an unencrypted connection"),
				 errdetail("chatcrypt.require_tls is on, and this client came over TCP without TLS."),
				 errhint("Connect with sslmode=require or stricter.")));
}

/* That there is no such chat is not remembered: making one tells nobody. */
static bool
read_membership(const uint8 *chat_id, void *value)
{
	bool		exists;

	*(bool *) value = chatcrypt_store_is_participant(chat_id, actor, &exists);
	return exists;
}

bool
chatcrypt_actor_may_see(const uint8 chat_id[CC_ID_LEN])
{
	const bool *participant;

	if (actor[0] == '\0')
		return true;
	participant = chatcrypt_remember(&memberships, chat_id);
	return participant != NULL && *participant;
}

void
chatcrypt_require_participant(const uint8 chat_id[CC_ID_LEN])
{
	if (chatcrypt_actor_may_see(chat_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the current actor is not a participant of this chat")));
}

void
chatcrypt_require_for_key(const uint8 chat_id[CC_ID_LEN])
{
	bool		for_participant = chatcrypt_actor() != NULL && !user_has(CHATCRYPT_MAY_HOLD_KEYS);

	chatcrypt_require_for_plaintext(for_participant ? CHATCRYPT_MAY_READ : CHATCRYPT_MAY_HOLD_KEYS);
	chatcrypt_require_participant(chat_id);
}

const char *
chatcrypt_actor(void)
{
	return actor[0] == '\0' ? NULL : actor;
}

void
chatcrypt_refuse_actor(const char *function)
{
	if (actor[0] == '\0')
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s goes over the chats of all participants, and this transaction acts for one",
					function),
			 errhint("Call it in a transaction without chatcrypt.act_as().")));
}

static bool
check_ours_alone(char **newval, void **extra, GucSource source)
{
	(void) newval;
	(void) extra;
	if (setting_from_here || InitializingParallelWorker || source == PGC_S_DEFAULT)
		return true;
	GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
	GUC_check_errmsg("this setting cannot be set");
	GUC_check_errhint("Use chatcrypt.act_as() to set the current actor.");
	return false;
}

static void
forget_memberships(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	chatcrypt_forget(&memberships);	/* they were another actor's */
}

void
chatcrypt_access_define_settings(void)
{
	const int	flags = GUC_NO_RESET_ALL | GUC_DISALLOW_IN_FILE | GUC_NOT_IN_SAMPLE;

	DefineCustomStringVariable(ACTOR_SETTING,
							   "Participant on whose behalf this transaction runs. Set by "
							   "chatcrypt.act_as() alone.",
							   NULL, &actor, "", PGC_SUSET, flags,
							   check_ours_alone, forget_memberships, NULL);
	DefineCustomStringVariable(TRANSPORT_SETTING,
							   "How the client is connected: local, "
							   "tls or plain. Set by the server alone.",
							   NULL, &client_transport, "local", PGC_SUSET, flags,
							   check_ours_alone, NULL, NULL);
}

static void
set_from_here(const char *name, const char *value, GucSource source, GucAction action)
{
	PG_TRY();
	{
		setting_from_here = true;
		(void) set_config_option(name, value, PGC_SUSET, source, action, true, ERROR, false);
	}
	PG_FINALLY();
	{
		setting_from_here = false;
	}
	PG_END_TRY();
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
		set_from_here(TRANSPORT_SETTING, transport_of(port), PGC_S_OVERRIDE, GUC_ACTION_SET);
}

void
chatcrypt_access_install_hooks(void)
{
	previous_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = note_transport;
}

PG_FUNCTION_INFO_V1(chatcrypt_act_as);

/* act_as(actor text): until the end of the transaction, or of the savepoint. */
Datum
chatcrypt_act_as(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!user_has(CHATCRYPT_MAY_WRITE))
		chatcrypt_require(CHATCRYPT_MAY_READ);
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the actor's name must not be empty"),
				 errhint("The actor of a transaction ends with the transaction.")));
	if (!IsTransactionBlock())
		ereport(WARNING,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("chatcrypt.act_as() lasts until the end of this statement"),
				 errhint("Call it inside BEGIN … COMMIT, before the statements that it is for.")));
	set_from_here(ACTOR_SETTING, name, PGC_S_SESSION, GUC_ACTION_LOCAL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(chatcrypt_current_actor);

Datum
chatcrypt_current_actor(PG_FUNCTION_ARGS)
{
	if (chatcrypt_actor() == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(actor));
}

PG_FUNCTION_INFO_V1(chatcrypt_may_see);

/* may_see(chat any_id): what the row-level security of messages asks. */
Datum
chatcrypt_may_see(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(chatcrypt_actor_may_see(PG_GETARG_UUID_P(0)->data));
}
