/*
 * protectchecks.c
 *		Checks whether a column can be protected: see protectchecks.h.
 *
 * The checks query the catalog by SQL, as the owner of the extension.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/protect/protectchecks.h"
#include "pg/protect/protected.h"
#include "pg/store/owner.h"

/*
 * Each query returns a reason, or NULL, for the target: $1 is the table, $2 the column to protect,
 * $3 the chat column and $4 the message column.
 */
#define TABLE_IS_WRONG \
	"SELECT CASE " \
	"WHEN c.relkind = 'p' " \
	"THEN 'It is partitioned, and partitioned tables cannot be protected yet.' " \
	"WHEN c.relkind <> 'r' THEN 'It is not a table.' " \
	"WHEN c.relpersistence = 't' THEN 'It is temporary.' " \
	"WHEN c.relpersistence = 'u' THEN 'It is unlogged.' " \
	"WHEN c.oid < 16384 OR n.nspname IN " \
	"('pg_catalog', 'information_schema', 'chatcrypt', 'chatcrypt_internal') " \
	"THEN 'It belongs to the system or to chatcrypt.' " \
	"WHEN a.amname NOT IN ('heap', 'chatcrypt') " \
	"THEN format('Its access method is %s.', a.amname) " \
	"END AS why " \
	"FROM pg_class c " \
	"JOIN pg_namespace n ON n.oid = c.relnamespace " \
	"LEFT JOIN pg_am a ON a.oid = c.relam " \
	"WHERE c.oid = $1 " \
	"UNION ALL " \
	"SELECT format('It is a partition of, or inherits from, %s.', inhparent::regclass) " \
	"FROM pg_inherits " \
	"WHERE inhrelid = $1 " \
	"UNION ALL " \
	"SELECT format('%s inherits from it.', inhrelid::regclass) " \
	"FROM pg_inherits " \
	"WHERE inhparent = $1 " \
	"UNION ALL " \
	"SELECT format('It has the rule %s.', rulename) " \
	"FROM pg_rewrite " \
	"WHERE ev_class = $1 "

#define COLUMNS_ARE_WRONG \
	"UNION ALL " \
	"SELECT CASE " \
	"WHEN a.attnum IS NULL THEN format('There is no column %I.', g.name) " \
	"WHEN a.attgenerated <> '' THEN format('Column %I is a generated column.', g.name) " \
	"WHEN g.is_id AND a.atttypid NOT IN " \
	"('uuid'::regtype, 'int8'::regtype, 'int4'::regtype, 'int2'::regtype) " \
	"THEN format('Column %I is neither a uuid nor an integer.', g.name) " \
	"WHEN g.is_id AND NOT a.attnotnull " \
	"THEN format('Column %I may be null: make it NOT NULL.', g.name) " \
	"WHEN NOT g.is_id AND a.atttypid NOT IN " \
	"('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype) " \
	"THEN format('Column %I is of type %s, and not of text, varchar, json, jsonb or bytea.', " \
	"g.name, format_type(a.atttypid, NULL)) " \
	"END " \
	"FROM (VALUES ($2, false), ($3, true), ($4, true)) AS g (name, is_id) " \
	"LEFT JOIN pg_attribute a " \
	"ON a.attrelid = $1 AND a.attname = g.name AND a.attnum > 0 AND NOT a.attisdropped " \
	"UNION ALL " \
	"SELECT 'The chat column and the message column must be two different columns.' " \
	"WHERE $3 = $4 " \
	"UNION ALL " \
	"SELECT CASE " \
	"WHEN l.label LIKE 'sealed %' AND a.attname = $2 " \
	"THEN format('Column %I is already protected.', a.attname) " \
	"WHEN l.label = 'chat' AND a.attname <> $3 " \
	"THEN format('The protected columns of the table have the chat column %I.', a.attname) " \
	"WHEN l.label = 'message' AND a.attname <> $4 " \
	"THEN format('The protected columns of the table have the message column %I.', a.attname) " \
	"END " \
	"FROM pg_seclabel l " \
	"JOIN pg_attribute a ON a.attrelid = l.objoid AND a.attnum = l.objsubid " \
	"WHERE l.objoid = $1 AND l.classoid = 'pg_class'::regclass AND l.provider = 'chatcrypt' "

/* Objects that depend on the column, and would keep its plaintext or evaluate its sealed form. */
#define DEPENDENTS_ARE_WRONG \
	"UNION ALL " \
	"SELECT CASE " \
	"WHEN i.relkind IN ('i', 'I') " \
	"THEN format('Index %s would hold plaintext of column %I.', i.oid::regclass, $2) " \
	"WHEN k.contype IN ('f', 'u', 'p', 'x') " \
	"THEN format('Column %I is part of constraint %I.', $2, k.conname) " \
	"WHEN s.oid IS NOT NULL " \
	"THEN format('Statistics %I.%I hold values of column %I.', " \
	"s.stxnamespace::regnamespace, s.stxname, $2) " \
	"WHEN g.attgenerated = 's' " \
	"THEN format('Generated column %I would hold plaintext of column %I.', g.attname, $2) " \
	"WHEN d.classid = 'pg_publication_rel'::regclass " \
	"THEN format('A publication uses column %I in a row filter or a column list.', $2) " \
	"END " \
	"FROM pg_attribute a " \
	"JOIN pg_depend d " \
	"ON d.refclassid = 'pg_class'::regclass " \
	"AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum " \
	"LEFT JOIN pg_class i " \
	"ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.oid <> $1 " \
	"LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid " \
	"LEFT JOIN pg_statistic_ext s " \
	"ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid " \
	"LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid " \
	"LEFT JOIN pg_attribute g ON g.attrelid = $1 AND g.attnum = CASE " \
	"WHEN f.oid IS NULL AND d.classid = 'pg_class'::regclass AND d.objid = $1 THEN d.objsubid " \
	"ELSE f.adnum " \
	"END " \
	"WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnum > 0"

/*
 * The reasons that a query finds, in alphabetical order.  The caller's snapshot may be older than
 * its lock on the table, so the query has a snapshot of its own.
 */
static List *
ask(const char *sql, const ChatcryptTarget *target)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	List	   *answers = NIL;
	ChatcryptArg args[] = {
		{OIDOID, ObjectIdGetDatum(target->relation), false},
		{TEXTOID, CStringGetTextDatum(target->column), false},
		{TEXTOID, CStringGetTextDatum(target->chat), false},
		{TEXTOID, CStringGetTextDatum(target->message), false}
	};

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute_on_latest(psprintf("SELECT DISTINCT why "
											   "FROM (%s) AS found (why) "
											   "WHERE why IS NOT NULL "
											   "ORDER BY why", sql),
									  args, lengthof(args));
	for (uint64 i = 0; i < SPI_processed; i++)
		answers = lappend(answers, MemoryContextStrdup(context,
													   SPI_getvalue(SPI_tuptable->vals[i],
																	SPI_tuptable->tupdesc, 1)));
	chatcrypt_owner_end(&scope);
	return answers;
}

void
chatcrypt_protectchecks_owner(Oid relation, const char *function)
{
	Relation	table;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_actor_refuse(function);
	table = relation_open(relation, AccessShareLock);
	if (!has_privs_of_role(GetUserId(), table->rd_rel->relowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(table));
	relation_close(table, AccessShareLock);
}

void
chatcrypt_protectchecks_require(const ChatcryptTarget *target)
{
	List	   *reasons = ask(TABLE_IS_WRONG COLUMNS_ARE_WRONG DEPENDENTS_ARE_WRONG, target);
	StringInfoData all;
	ListCell   *cell;

	if (reasons == NIL)
		return;
	initStringInfo(&all);
	foreach(cell, reasons)
		appendStringInfo(&all, "%s%s", all.len > 0 ? "\n" : "", (const char *) lfirst(cell));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of table \"%s\" cannot be protected", target->column,
					get_rel_name(target->relation)),
			 errdetail("%s", all.data),
			 errhint("Nothing was changed. Drop or change the objects that are named, then call chatcrypt.protect() again.")));
}

/* Conditions that do not forbid protect(), but make it protect less than a user may expect. */
#define LESS_THAN_EXPECTED \
	"SELECT format('no unique index has column %I: " \
	"two rows with the same message id can exchange their values of column %I', $4, $2) " \
	"WHERE NOT EXISTS (" \
	"SELECT FROM pg_index x " \
	"JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = $4 " \
	"WHERE x.indrelid = $1 AND x.indisunique AND a.attnum = ANY (x.indkey::int2[])) " \
	"UNION ALL " \
	"SELECT format('materialized view %s keeps plaintext of column %I', m.oid::regclass, $2) " \
	"FROM pg_attribute a " \
	"JOIN pg_depend d " \
	"ON d.refclassid = 'pg_class'::regclass " \
	"AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum " \
	"JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid " \
	"JOIN pg_class m ON m.oid = r.ev_class AND m.relkind = 'm' " \
	"WHERE a.attrelid = $1 AND a.attname = $2 AND $3 <> ''"

void
chatcrypt_protectchecks_warn(const ChatcryptTarget *target)
{
	ListCell   *cell;

	foreach(cell, ask(LESS_THAN_EXPECTED, target))
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", (const char *) lfirst(cell))));
}
