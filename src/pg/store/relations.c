/*
 * relations.c
 *		Finds the extension's own tables, indexes and functions: see relations.h.
 *
 * The names of those needed for each message are looked up once, and again when one of them
 * changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/store/generation.h"
#include "pg/store/relations.h"

static ChatcryptRelations relations;
static bool relations_known;
static ChatcryptGeneration deks;	/* of chatcrypt.dek */

static void
note_relcache_change(Datum arg, Oid relation)
{
	(void) arg;
	if (relation == InvalidOid || relation == relations.dek || relation == relations.chat ||
		relation == relations.dek_by_version || relation == relations.dek_active ||
		relation == relations.chat_pkey || relation == relations.participant ||
		relation == relations.participant_pkey || relation == relations.deployment)
		relations_known = false;
}

static void
watch_once(void)
{
	if (likely(deks.now != 0))
		return;
	CacheRegisterRelcacheCallback(note_relcache_change, (Datum) 0);
	chatcrypt_generation_watch(&deks);
}

static Oid
find_relation(Oid schema, const char *name)
{
	Oid			relation = get_relname_relid(name, schema);

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation chatcrypt.%s does not exist", name),
				 errhint("Run CREATE EXTENSION chatcrypt in this database.")));
	return relation;
}

const ChatcryptRelations *
chatcrypt_relations(void)
{
	Oid			schema;

	watch_once();
	if (relations_known)
		return &relations;
	schema = get_namespace_oid("chatcrypt", false);
	relations.dek = deks.relations[0] = find_relation(schema, "dek");
	relations.dek_by_version = find_relation(schema, "dek_by_version");
	relations.dek_active = find_relation(schema, "dek_active");
	relations.chat = find_relation(schema, "chat");
	relations.chat_pkey = find_relation(schema, "chat_pkey");
	relations.participant = find_relation(schema, "participant");
	relations.participant_pkey = find_relation(schema, "participant_pkey");
	relations.deployment = find_relation(schema, "deployment");
	relations_known = true;
	return &relations;
}

/*
 * If the lock had to wait for DROP EXTENSION, the relation is gone.  Its name is then looked
 * up again, which finds a new relation or raises.
 */
Relation
chatcrypt_relations_open(const Oid *known)
{
	Relation	relation = try_table_open(*known, AccessShareLock);

	if (relation != NULL)
	{
		/*
		 * Taking the lock accepted invalidation messages: REINDEX CONCURRENTLY may have
		 * replaced indexes of the relation, and cannot do so while the lock is held.
		 */
		(void) chatcrypt_relations();
		return relation;
	}
	relations_known = false;
	(void) chatcrypt_relations();
	return table_open(*known, AccessShareLock);
}

uint64
chatcrypt_relations_dek_generation(void)
{
	watch_once();
	return deks.now;
}

Oid
chatcrypt_relations_find(const char *name)
{
	return find_relation(get_namespace_oid("chatcrypt", false), name);
}

bool
chatcrypt_relations_is_named(Oid relation, const char *name)
{
	char	   *its_name = get_rel_name(relation);

	return its_name != NULL && strcmp(its_name, name) == 0 &&
		get_rel_namespace(relation) == get_namespace_oid("chatcrypt", true);
}

Oid
chatcrypt_relations_function(const char *schema, const char *name, Oid argument)
{
	List	   *names = list_make2(makeString(pstrdup(schema)), makeString(pstrdup(name)));

	return LookupFuncName(names, 1, &argument, false);
}

/* The function of the policy on chatcrypt.sealed_message. */
Oid
chatcrypt_relations_may_see(void)
{
	List	   *name = list_make2(makeString("chatcrypt"), makeString("may_see"));

	return LookupFuncName(name, -1, NULL, false);
}

/*
 * The trigger function of chatcrypt.sealed_message that refuses to change what a row's
 * envelope is bound to without a new envelope.
 */
Oid
chatcrypt_relations_require_new_envelope(void)
{
	List	   *name = list_make2(makeString("chatcrypt_internal"),
								  makeString("require_new_envelope"));

	return LookupFuncName(name, 0, NULL, false);
}

Oid
chatcrypt_relations_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(chatcrypt_relations()->dek));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation chatcrypt.dek");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}
