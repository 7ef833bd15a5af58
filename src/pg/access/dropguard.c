/*
 * dropguard.c
 *		Refuses to drop the table of data keys while it holds a key that is not
 *		destroyed, unless chatcrypt.allow_drop allows the loss.
 *
 * Without their wrapped keys all messages are lost, even those in other tables and
 * other databases.  The hook checks the table and not the extension, because the members
 * of an extension are dropped before the extension itself: by then the keys would be gone.
 * Every command that drops the table (DROP EXTENSION, DROP SCHEMA ... CASCADE, DROP OWNED)
 * comes here.  DROP DATABASE is not refused, because a session cannot read the tables of
 * another database.  On a server that has not loaded this library, src/guard does the same.
 *
 * The keys of a table or database that is dropped leave the key cache when that commits.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "guard/chatcrypt_guard.h"
#include "pg/access/dropguard.h"
#include "pg/base/settings.h"
#include "pg/cache/eviction.h"

static object_access_hook_type previous_object_access;

static bool
is_our_table_of_keys(Oid relation)
{
	char	   *name = get_rel_name(relation);
	Oid			extension;

	if (name == NULL || strcmp(name, "dek") != 0 || get_rel_relkind(relation) != RELKIND_RELATION)
		return false;
	extension = get_extension_oid("chatcrypt", true);
	return OidIsValid(extension) && getExtensionOfObject(RelationRelationId, relation) == extension;
}

/* Reads the whole table, because its indexes may have been dropped already. */
static bool
holds_live_key(Oid relation)
{
	Relation	dek = table_open(relation, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyEntryInitialize(&key, 0, get_attnum(relation, "state"), InvalidStrategy, InvalidOid,
						   C_COLLATION_OID, F_TEXTNE, CStringGetTextDatum("destroyed"));
	scan = systable_beginscan(dek, InvalidOid, false, GetCatalogSnapshot(relation), 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(dek, NoLock);
	return found;
}

static void
refuse_to_lose_keys(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop chatcrypt while it holds data keys"),
			 errdetail("Whatever the keys in chatcrypt.dek encrypted, here or elsewhere, could never be read again."),
			 errhint("Shred the chats first, or, where that loss is meant, SET chatcrypt.allow_drop = on.")));
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP || sub_id != 0)
		return;
	if (class_id == DatabaseRelationId)
		chatcrypt_eviction_note_database(object_id);
	if (class_id == RelationRelationId && is_our_table_of_keys(object_id))
	{
		if (!chatcrypt_allow_drop && holds_live_key(object_id))
			refuse_to_lose_keys();
		chatcrypt_eviction_note_database(MyDatabaseId);
	}
}

void
chatcrypt_dropguard_install_hooks(void)
{
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
	*find_rendezvous_variable(CHATCRYPT_DROPGUARD_VARIABLE) = (void *) object_access;
}
