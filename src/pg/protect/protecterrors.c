/*
 * protecterrors.c
 *		Keeps rows of protected tables out of error reports: see protecterrors.h.
 *
 * When a row violates a CHECK, NOT NULL, a policy or the bounds of a partition, PostgreSQL shows it
 * in the DETAIL of the error, and so in the server's log.  That DETAIL is removed if the table has
 * the name of a protected one, or if the error names no table and the session has used a protected
 * table.
 */
#include "postgres.h"

#include "utils/elog.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#include "pg/protect/protecterrors.h"

static emit_log_hook_type previous_emit_log;

/*
 * The names of the protected tables that the session has used; NULL while there is none.  They have
 * no schema, because the session is not told when a schema is renamed.
 */
static HTAB *tables;

void
chatcrypt_protecterrors_note(Relation relation)
{
	if (tables == NULL)
		tables = hash_create("chatcrypt protected tables", 16,
							 &(HASHCTL) {
								 .keysize = NAMEDATALEN, .entrysize = NAMEDATALEN
							 },
							 HASH_ELEM | HASH_STRINGS);
	(void) hash_search(tables, RelationGetRelationName(relation), HASH_ENTER, NULL);
}

/* Whether PostgreSQL may show a row in the DETAIL of this error. */
static bool
may_show_row(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_CHECK_VIOLATION ||
		error->sqlerrcode == ERRCODE_NOT_NULL_VIOLATION ||
		error->sqlerrcode == ERRCODE_WITH_CHECK_OPTION_VIOLATION;
}

static bool
shows_protected_row(const ErrorData *error)
{
	if (tables == NULL || error->detail == NULL || !may_show_row(error))
		return false;
	return error->table_name == NULL ||
		hash_search(tables, error->table_name, HASH_FIND, NULL) != NULL;
}

static void
emit_log(ErrorData *error)
{
	if (shows_protected_row(error))
	{
		error->detail = NULL;
		error->detail_log = NULL;
	}
	if (previous_emit_log)
		previous_emit_log(error);
}

void
chatcrypt_protecterrors_install_hooks(void)
{
	previous_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}
