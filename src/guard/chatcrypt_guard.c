/*
 * chatcrypt_guard.c
 *		A separate library that refuses to drop chatcrypt, and to open protected tables, where the
 *		main library is not loaded.
 *
 * src/pg/access/dropguard.c refuses to drop live data keys, but only on a server that has the main
 * library in shared_preload_libraries.  On other servers nothing would stop DROP EXTENSION, because
 * it calls no function of the extension that it drops.  An event trigger of the extension does fire
 * before the command, and this is its function.  It cannot be in the main library: loading that
 * after the start of the server ends the session, so every DROP EXTENSION in the database would.
 *
 * Only the parse tree is examined.  A trigger on ddl_command_start cannot know yet what a command
 * will drop, so DROP OWNED is refused, and so is DROP ... CASCADE of any schema or extension.
 * Event triggers do not fire for DROP DATABASE, in single-user mode, and where a superuser has
 * disabled them.
 *
 * The handler of the access method chatcrypt is here for the same reason: in the main library, it
 * would end an autovacuum worker with FATAL whenever the worker opens a protected table, so that
 * the tables after it would never be vacuumed.
 */
#include "postgres.h"

#include "commands/event_trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "guard/chatcrypt_guard.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(chatcrypt_guard_drop);
PG_FUNCTION_INFO_V1(chatcrypt_guard_table_am);

static bool
main_library_is_loaded(void)
{
	return *find_rendezvous_variable(CHATCRYPT_DROPGUARD_VARIABLE) != NULL;
}

/*
 * Without the main library the setting is a placeholder, which anybody can set to any value.  The
 * main library lets only superusers set it, so it counts here only for a superuser.
 */
static bool
loss_is_meant(void)
{
	const char *value = GetConfigOption("chatcrypt.allow_drop", true, false);
	bool		allowed;

	return superuser() && value != NULL && parse_bool(value, &allowed) && allowed;
}

/* The extension and its schema have the same name. */
static bool
names_chatcrypt(List *names)
{
	ListCell   *name;

	foreach(name, names)
	{
		if (strcmp(strVal(lfirst(name)), "chatcrypt") == 0)
			return true;
	}
	return false;
}

static bool
may_drop_chatcrypt(Node *command)
{
	DropStmt   *drop;

	if (IsA(command, DropOwnedStmt))
		return true;
	if (!IsA(command, DropStmt))
		return false;
	drop = (DropStmt *) command;
	if (drop->removeType != OBJECT_EXTENSION && drop->removeType != OBJECT_SCHEMA)
		return false;
	return drop->behavior == DROP_CASCADE || names_chatcrypt(drop->objects);
}

Datum
chatcrypt_guard_drop(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.guard_drop() was not called by an event trigger")));

	if (!main_library_is_loaded() && may_drop_chatcrypt(event->parsetree) && !loss_is_meant())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s is refused in a database of chatcrypt while its library is not loaded",
						GetCommandTagName(event->tag)),
				 errdetail("The command could take the keys in chatcrypt.dek with it, and whatever they encrypted, here or elsewhere, could never be read again."),
				 errhint("Add chatcrypt to shared_preload_libraries and restart the server; or, where that loss is meant, SET chatcrypt.allow_drop = on as a superuser.")));

	PG_RETURN_NULL();
}

/* The access method's handler, called when the relation cache builds the entry of a table. */
Datum
chatcrypt_guard_table_am(PG_FUNCTION_ARGS)
{
	void	   *routine = *find_rendezvous_variable(CHATCRYPT_TABLE_AM_VARIABLE);

	(void) fcinfo;
	if (routine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("protected tables cannot be opened while the library of chatcrypt is not loaded"),
				 errhint("Add chatcrypt to shared_preload_libraries and restart the server.")));
	PG_RETURN_POINTER(routine);
}
