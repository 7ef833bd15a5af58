/*
 * protectchecks.c
 *		What keeps a column from being protected: see protectchecks.h.
 *
 * The catalog is asked by SQL, as the owner of the extension.
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

/* $1 the table, $2 the column, $3 that of the chat, $4 that of the message */
#define TABLE_IS_WRONG \
	"SELECT CASE WHEN c.relkind = 'p' THEN 'It is partitioned: protect its partitions.' " \
	"WHEN c.relkind <> 'r' THEN 'It is no table.' " \
	"WHEN c.relpersistence = 't' THEN 'It is temporary.' " \
	"WHEN c.relpersistence = 'u' THEN 'It is unlogged.' " \
	"WHEN c.oid < 16384 OR n.nspname IN ('pg_catalog', 'information_schema', 'chatcrypt', 'chatcrypt_internal') " \
	"THEN 'It belongs to the system or to chatcrypt.' " \
	"WHEN a.amname NOT IN ('heap', 'chatcrypt') " \
	"THEN format('Its access method is %s.', a.amname) END AS why " \
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace " \
	"LEFT JOIN pg_am a ON a.oid = c.relam WHERE c.oid = $1 " \
	"UNION ALL SELECT format('It is a partition of, or inherits from, %s.', inhparent::regclass) " \
	"FROM pg_inherits WHERE inhrelid = $1 " \
	"UNION ALL SELECT format('%s inherits from it.', inhrelid::regclass) " \
	"FROM pg_inherits WHERE inhparent = $1 " \
	"UNION ALL SELECT format('It has the rule %s.', rulename) FROM pg_rewrite WHERE ev_class = $1 "

#define COLUMNS_ARE_WRONG \
	"UNION ALL SELECT CASE WHEN a.attnum IS NULL THEN format('There is no column %I.', g.name) " \
	"WHEN a.attgenerated <> '' THEN format('Column %I is a generated one.', g.name) " \
	"WHEN g.is_id AND a.atttypid NOT IN ('uuid'::regtype, 'int8'::regtype, 'int4'::regtype, 'int2'::regtype) " \
	"THEN format('Column %I is neither a uuid nor an integer.', g.name) " \
	"WHEN g.is_id AND NOT a.attnotnull THEN format('Column %I may be null: make it NOT NULL.', g.name) " \
	"WHEN NOT g.is_id AND a.atttypid NOT IN ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype) " \
	"THEN format('Column %I is of type %s, and not of text, varchar, json, jsonb or bytea.', g.name, format_type(a.atttypid, NULL)) END " \
	"FROM (VALUES ($2, false), ($3, true), ($4, true)) AS g (name, is_id) " \
	"LEFT JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = g.name AND a.attnum > 0 AND NOT a.attisdropped " \
	"UNION ALL SELECT 'The ids are in one column: that of the chat, and that of the message, are two.' WHERE $3 = $4 " \
	"UNION ALL SELECT CASE WHEN l.label LIKE 'sealed %' AND a.attname = $2 THEN format('Column %I is protected already.', a.attname) " \
	"WHEN l.label = 'chat' AND a.attname <> $3 THEN format('The chat of its other columns is in column %I.', a.attname) " \
	"WHEN l.label = 'message' AND a.attname <> $4 THEN format('The message of its other columns is in column %I.', a.attname) END " \
	"FROM pg_seclabel l JOIN pg_attribute a ON a.attrelid = l.objoid AND a.attnum = l.objsubid " \
	"WHERE l.objoid = $1 AND l.classoid = 'pg_class'::regclass AND l.provider = 'chatcrypt' "

/* What depends on the column, and keeps values of it or decides by them where they are sealed. */
#define DEPENDENTS_ARE_WRONG \
	"UNION ALL SELECT CASE WHEN i.relkind IN ('i', 'I') " \
	"THEN format('Index %s would hold what column %I protects.', i.oid::regclass, $2) " \
	"WHEN k.contype IN ('f', 'u', 'p', 'x') " \
	"THEN format('Column %I is part of constraint %I.', $2, k.conname) " \
	"WHEN s.oid IS NOT NULL THEN format('Statistics %I.%I hold values of column %I.', s.stxnamespace::regnamespace, s.stxname, $2) " \
	"WHEN g.attgenerated = 's' THEN format('Generated column %I would keep what column %I protects.', g.attname, $2) " \
	"WHEN d.classid = 'pg_publication_rel'::regclass THEN format('A publication chooses rows by column %I.', $2) END " \
	"FROM pg_attribute a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum " \
	"LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.oid <> $1 " \
	"LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid " \
	"LEFT JOIN pg_statistic_ext s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid " \
	"LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid " \
	"LEFT JOIN pg_attribute g ON g.attrelid = $1 AND g.attnum = CASE WHEN f.oid IS NULL AND d.classid = 'pg_class'::regclass AND d.objid = $1 THEN d.objsubid ELSE f.adnum END " \
	"WHERE a.attrelid = $1 AND a.attname = $2 AND a.attnum > 0"

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
	chatcrypt_owner_execute(psprintf("SELECT DISTINCT why FROM (%s) AS found (why) "
									 "WHERE why IS NOT NULL ORDER BY why", sql),
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
			 errhint("Nothing was changed. Drop or change what is named, then call chatcrypt.protect() again.")));
}

#define LESS_THAN_EXPECTED \
	"SELECT format('no unique index has column %I: two rows of one id can exchange what column %I holds', $4, $2) " \
	"WHERE NOT EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = $1 AND a.attname = $4 " \
	"WHERE x.indrelid = $1 AND x.indisunique AND a.attnum = ANY (x.indkey::int2[])) " \
	"UNION ALL SELECT format('materialized view %s keeps what column %I holds in plain form', m.oid::regclass, $2) " \
	"FROM pg_attribute a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum " \
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
