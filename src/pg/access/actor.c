/*
 * actor.c
 *		The actor, on whose behalf a transaction runs: see actor.h.
 *
 * A transaction that has named an actor stays restricted after the name is dropped:
 *
 * - A rollback to before act_as(), by ROLLBACK TO SAVEPOINT or by an EXCEPTION block of
 *	 PL/pgSQL, restores the setting but not first_actor.
 * - A COMMIT or ROLLBACK in a procedure begins a new transaction in the middle of a
 *	 statement.  That transaction may name any actor, but must name one: an_actor_is_due
 *	 lasts until the client's statement ends.
 * - Parallel workers have neither variable, but they inherit settings, so the leader updates
 *	 DUE_SETTING whenever a query is run.  The start of the query would be too early: a
 *	 portal may be opened before act_as(), and run after the actor was dropped.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "pg/access/actingroles.h"
#include "pg/access/actor.h"
#include "pg/access/memberships.h"
#include "pg/access/ownsettings.h"
#include "pg/access/rights.h"
#include "pg/base/settings.h"
#include "pg/compat.h"

#define ACTOR_SETTING	"chatcrypt.actor"
#define DUE_SETTING		"chatcrypt.actor_is_due"

static char *actor;
static bool due_for_workers;

static char *first_actor;		/* of this transaction, in its memory context; NULL for none */
static bool an_actor_is_due;	/* an earlier transaction of this statement had one */

static ExecutorRun_hook_type previous_executor_run;

const char *
chatcrypt_actor(void)
{
	return actor[0] == '\0' ? NULL : actor;
}

bool
chatcrypt_actor_is(const text *name)
{
	Size		len = strlen(actor);

	return len > 0 && VARSIZE_ANY_EXHDR(name) == len && memcmp(VARDATA_ANY(name), actor, len) == 0;
}

/* Has this transaction, or the one before a COMMIT in the same procedure, named an actor? */
static bool
is_due(void)
{
	return IsParallelWorker() ? due_for_workers : first_actor != NULL || an_actor_is_due;
}

bool
chatcrypt_actor_is_lacking(void)
{
	return actor[0] == '\0' && (chatcrypt_actor_is_required || is_due());
}

void
chatcrypt_actor_require(void)
{
	if (likely(!chatcrypt_actor_is_lacking()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("this transaction has no actor"),
			 is_due() ?
			 errdetail("The actor that was named has been dropped by a rollback, or by the end of a transaction in a procedure.") :
			 errdetail("chatcrypt.require_actor is on."),
			 errhint("Call chatcrypt.act_as() first, in the same transaction.")));
}

void
chatcrypt_actor_refuse(const char *function)
{
	if (actor[0] == '\0' && !chatcrypt_actor_is_lacking())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s works on the chats of all participants, but this transaction acts for one",
					function),
			 errhint("Call it in a transaction without chatcrypt.act_as(), and in a session without chatcrypt.require_actor.")));
}

/* ---------- how long it lasts ---------- */

/*
 * A transaction that ends while a portal is active was ended by a procedure, which continues
 * in a new transaction.
 */
static void
note_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	an_actor_is_due = ActivePortal != NULL && (first_actor != NULL || an_actor_is_due);
	first_actor = NULL;			/* freed with the memory context of the transaction */
}

static void
remember(const char *name)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(note_end, NULL);
	watching = true;
	if (first_actor == NULL)
		first_actor = MemoryContextStrdup(TopTransactionContext, name);
}

/*
 * Updates DUE_SETTING before the parallel workers of the query are started.  A query inside a
 * parallel one starts none.
 */
static void
run_query(CHATCRYPT_EXECUTOR_RUN_PARAMETERS)
{
	if (unlikely(is_due() != due_for_workers) && !IsInParallelMode())
		chatcrypt_ownsettings_set(DUE_SETTING, is_due() ? "on" : "off", PGC_S_SESSION,
								  GUC_ACTION_LOCAL);
	chatcrypt_call_executor_run(previous_executor_run);
}

static void
note_change(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	chatcrypt_memberships_forget();	/* they were those of another actor */
}

void
chatcrypt_actor_define_settings(void)
{
	chatcrypt_ownsettings_define_string(ACTOR_SETTING,
										"Participant on whose behalf this transaction runs. Set by "
										"chatcrypt.act_as() alone.",
										&actor, "", note_change);
	chatcrypt_ownsettings_define_bool(DUE_SETTING,
									  "Tells parallel workers that the transaction has named an actor. "
									  "Set by the server alone.",
									  &due_for_workers);
}

void
chatcrypt_actor_install_hooks(void)
{
	previous_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = run_query;
}

/* ---------- functions ---------- */

#define NAMELESS_HINT "Give the name of a participant, as create_chat() and add_participant() take it."

static void
refuse_name(int code, const char *message, const char *hint)
{
	ereport(ERROR, (errcode(code), errmsg("%s", message), errhint("%s", hint)));
}

/*
 * Code of the owner of a table may run in the middle of maintenance.  An actor that it names
 * would last until the end of a transaction that belongs to another user.
 */
static void
refuse_restricted_operation(void)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot name an actor within a security-restricted operation")));
}

PG_FUNCTION_INFO_V1(chatcrypt_act_as);

/* act_as(actor text): names the actor until the end of the transaction or the savepoint. */
Datum
chatcrypt_act_as(PG_FUNCTION_ARGS)
{
	char	   *name;

	chatcrypt_rights_require_reader_or_writer();
	refuse_restricted_operation();
	if (PG_ARGISNULL(0))
		refuse_name(ERRCODE_NULL_VALUE_NOT_ALLOWED, "the actor's name must not be null",
					NAMELESS_HINT);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (name[0] == '\0')
		refuse_name(ERRCODE_INVALID_PARAMETER_VALUE, "the actor's name must not be empty",
					NAMELESS_HINT);
	if (first_actor != NULL && strcmp(first_actor, name) != 0)
		refuse_name(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"this transaction acts for somebody else",
					"End this transaction, and name the other actor in the next one.");
	if (!IsTransactionBlock())
		ereport(WARNING,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("chatcrypt.act_as() lasts until the end of this statement"),
				 errhint("Call it inside BEGIN … COMMIT, before the statements that it is for.")));
	chatcrypt_actingroles_note();
	remember(name);
	chatcrypt_ownsettings_set(ACTOR_SETTING, name, PGC_S_SESSION, GUC_ACTION_LOCAL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(chatcrypt_current_actor);

Datum
chatcrypt_current_actor(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (actor[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(actor));
}
