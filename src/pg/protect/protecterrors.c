/*
 * protecterrors.c
 *		Keeps rows of protected tables out of error reports: see protecterrors.h.
 *
 * When a row violates a CHECK, NOT NULL, a policy or the bounds of a partition, PostgreSQL shows it
 * in the DETAIL of the error, and so in the server's log.  That DETAIL is removed if the table is
 * protected, or if the error names no table and the session has used a protected table.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/elog.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/protect/protecterrors.h"

typedef struct TableName
{
	char		schema[NAMEDATALEN];
	char		name[NAMEDATALEN];
} TableName;

static emit_log_hook_type previous_emit_log;
static HTAB *tables;			/* of TableName; NULL until the session uses a protected table */

static void
set_name(TableName *name, const char *schema, const char *table)
{
	memset(name, 0, sizeof(*name));
	strlcpy(name->schema, schema, NAMEDATALEN);
	strlcpy(name->name, table, NAMEDATALEN);
}

void
chatcrypt_protecterrors_note(Relation relation)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(relation));
	TableName	name;

	if (tables == NULL)
		tables = hash_create("chatcrypt protected tables", 16,
							 &(HASHCTL) {
								 .keysize = sizeof(TableName), .entrysize = sizeof(TableName)
							 },
							 HASH_ELEM | HASH_BLOBS);
	set_name(&name, schema != NULL ? schema : "", RelationGetRelationName(relation));
	(void) hash_search(tables, &name, HASH_ENTER, NULL);
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
	TableName	name;

	if (tables == NULL || error->detail == NULL || !may_show_row(error))
		return false;
	if (error->schema_name == NULL || error->table_name == NULL)
		return true;
	set_name(&name, error->schema_name, error->table_name);
	return hash_search(tables, &name, HASH_FIND, NULL) != NULL;
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
