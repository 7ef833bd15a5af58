/*
 * sealedview.c
 *		Which sessions are shown the sealed form of protected values: see sealedview.h.
 *
 * pg_dump and pg_restore are recognized by settings that they change in their own sessions in every
 * version and mode, and that applications do not set: pg_dump turns synchronize_seqscans off, and
 * the scripts that it writes turn check_function_bodies off.  Only a value set in the session
 * counts, not one from postgresql.conf, a role or a database.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "replication/logicalworker.h"
#include "replication/walsender.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/protect/sealedview.h"

static bool
session_has_set(const char *name, struct config_generic **known)
{
	if (*known == NULL)
		*known = chatcrypt_find_setting(name);
	return *known != NULL && (*known)->source == PGC_S_SESSION;
}

static bool
is_pg_dump(void)
{
	static struct config_generic *known = NULL;

	return !synchronize_seqscans && session_has_set("synchronize_seqscans", &known);
}

bool
chatcrypt_sealedview_applies(void)
{
	if (!chatcrypt_rights_has(CHATCRYPT_MAY_READ) || chatcrypt_show == CHATCRYPT_SHOW_SEALED)
		return true;
	return chatcrypt_show == CHATCRYPT_SHOW_AUTO &&
		(am_walsender || is_pg_dump() || IsLogicalWorker());
}

bool
chatcrypt_sealedview_restores(void)
{
	static struct config_generic *known = NULL;

	return chatcrypt_restore || IsLogicalWorker() ||
		(!check_function_bodies && session_has_set("check_function_bodies", &known));
}
