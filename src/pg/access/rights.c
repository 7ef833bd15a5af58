/*
 * rights.c
 *		What the current user may do as a member of chatcrypt's roles: see rights.h.
 *
 * The answers for one user are remembered until a role or a membership changes, because they
 * are needed for each message.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "pg/access/rights.h"

static const char *const role_names[CHATCRYPT_RIGHTS] = {
	[CHATCRYPT_MAY_WRITE] = "chatcrypt_writer",
	[CHATCRYPT_MAY_READ] = "chatcrypt_reader",
	[CHATCRYPT_MAY_ADMINISTER] = "chatcrypt_admin",
	[CHATCRYPT_MAY_AUDIT] = "chatcrypt_auditor",
	[CHATCRYPT_MAY_HOLD_KEYS] = "chatcrypt_keyholder",
	[CHATCRYPT_MAY_FEED] = "chatcrypt_feeder"
};

/* The remembered rights of one user; known[] says which have been looked up. */
static Oid	known_user = InvalidOid;
static bool known[CHATCRYPT_RIGHTS];
static bool allowed[CHATCRYPT_RIGHTS];

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

bool
chatcrypt_rights_has(ChatcryptRight right)
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
chatcrypt_rights_require(ChatcryptRight right)
{
	if (chatcrypt_rights_has(right))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied: \"%s\" is not a member of role %s",
					GetUserNameFromId(GetUserId(), false), role_names[right]),
			 errhint("An administrator can GRANT %s to it.", role_names[right])));
}

void
chatcrypt_rights_require_reader_or_writer(void)
{
	if (!chatcrypt_rights_has(CHATCRYPT_MAY_WRITE))
		chatcrypt_rights_require(CHATCRYPT_MAY_READ);
}

void
chatcrypt_rights_require_steward(void)
{
	if (!chatcrypt_rights_has(CHATCRYPT_MAY_AUDIT))
		chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
}
