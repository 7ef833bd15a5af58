/*
 * protectguard.c
 *		Refuses changes of the catalog that would store plaintext: see protectguard.h.
 *
 * The hook examines what was just written to the catalog, and not commands: an index, for example,
 * is created by CREATE INDEX, by a constraint, by LIKE and for a partition.  The hook is called for
 * all of them before the index is built, and before CREATE INDEX CONCURRENTLY commits anything.
 * New rows of the catalog are read with SnapshotSelf, because the command has not ended yet.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectguard.h"

static object_access_hook_type previous_object_access;

/* The last (sub)transaction that dropped a protected table. */
static FullTransactionId dropped_in;

/* ---------- reading what the command has written ---------- */

/* A copy of the row that an index finds by an OID, or by an OID and a number; NULL for none. */
static HeapTuple
read_new(Oid catalog, Oid index, AttrNumber key_column, Oid value, AttrNumber number_column,
		 AttrNumber number, TupleDesc *desc)
{
	Relation	relation = table_open(catalog, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], key_column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	ScanKeyInit(&keys[1], number_column != 0 ? number_column : key_column, BTEqualStrategyNumber,
				F_INT2EQ, Int16GetDatum(number));
	scan = systable_beginscan(relation, index, true, SnapshotSelf, number_column != 0 ? 2 : 1,
							  keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	*desc = CreateTupleDescCopy(RelationGetDescr(relation));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return tuple;
}

static HeapTuple
read_new_attribute(Oid relation, AttrNumber number)
{
	TupleDesc	desc;

	return read_new(AttributeRelationId, AttributeRelidNumIndexId, Anum_pg_attribute_attrelid,
					relation, Anum_pg_attribute_attnum, number, &desc);
}

/* Adds the columns that an expression in the catalog uses, numbered as by pull_varattnos(). */
static Bitmapset *
columns_of(HeapTuple tuple, TupleDesc desc, AttrNumber expression, Bitmapset *columns)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, expression, desc, &isnull);

	if (!isnull)
		pull_varattnos((Node *) stringToNode(TextDatumGetCString(value)), 1, &columns);
	return columns;
}

static bool
uses(const Bitmapset *columns, AttrNumber column)
{
	return bms_is_member(column - FirstLowInvalidHeapAttributeNumber, columns) ||
		bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
}

static const char *
column_name(Oid relation, AttrNumber number)
{
	return get_attname(relation, number, false);
}

/* ---------- objects that would hold plaintext ---------- */

static void
check_index(Oid index)
{
	TupleDesc	desc;
	HeapTuple	tuple = read_new(IndexRelationId, IndexRelidIndexId, Anum_pg_index_indexrelid,
								 index, 0, 0, &desc);
	Form_pg_index row;
	ChatcryptProtected *table;
	Bitmapset  *columns = NULL;

	if (!HeapTupleIsValid(tuple))
		return;
	row = (Form_pg_index) GETSTRUCT(tuple);
	table = chatcrypt_protected_by_oid(row->indrelid);
	if (table == NULL)
		return;
	for (int i = 0; i < row->indnatts; i++)
		if (row->indkey.values[i] != 0)
			columns = bms_add_member(columns, row->indkey.values[i] -
									 FirstLowInvalidHeapAttributeNumber);
	columns = columns_of(tuple, desc, Anum_pg_index_indexprs, columns);
	columns = columns_of(tuple, desc, Anum_pg_index_indpred, columns);
	for (int i = 0; i < table->ncolumns; i++)
		if (uses(columns, table->columns[i].number))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("an index would hold plaintext of protected column \"%s\" of table \"%s\"",
							column_name(row->indrelid, table->columns[i].number),
							get_rel_name(row->indrelid)),
					 errhint("Remove the protection with chatcrypt.unprotect() first.")));
}

static void
check_default(Oid relation, AttrNumber number)
{
	TupleDesc	desc;
	HeapTuple	tuple = read_new(AttrDefaultRelationId, AttrDefaultIndexId, Anum_pg_attrdef_adrelid,
								 relation, Anum_pg_attrdef_adnum, number, &desc);
	ChatcryptProtected *table;
	HeapTuple	attribute;
	Bitmapset  *columns;

	if (!HeapTupleIsValid(tuple))
		return;
	table = chatcrypt_protected_by_oid(relation);
	attribute = table == NULL ? NULL : read_new_attribute(relation, number);
	if (!HeapTupleIsValid(attribute) ||
		((Form_pg_attribute) GETSTRUCT(attribute))->attgenerated != ATTRIBUTE_GENERATED_STORED)
		return;
	columns = columns_of(tuple, desc, Anum_pg_attrdef_adbin, NULL);
	for (int i = 0; i < table->ncolumns; i++)
		if (uses(columns, table->columns[i].number))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("generated column \"%s\" would hold plaintext of protected column \"%s\"",
							NameStr(((Form_pg_attribute) GETSTRUCT(attribute))->attname),
							column_name(relation, table->columns[i].number)),
					 errhint("Compute the value in a query or a view instead.")));
}

/* A foreign key compares with an unprotected column; the other kinds are refused by their index. */
static void
check_constraint(Oid constraint)
{
	TupleDesc	desc;
	HeapTuple	tuple = read_new(ConstraintRelationId, ConstraintOidIndexId,
								 Anum_pg_constraint_oid, constraint, 0, 0, &desc);
	Form_pg_constraint row;
	ChatcryptProtected *table;
	ArrayType  *key;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	row = (Form_pg_constraint) GETSTRUCT(tuple);
	if (row->contype != CONSTRAINT_FOREIGN ||
		(table = chatcrypt_protected_by_oid(row->conrelid)) == NULL)
		return;
	key = DatumGetArrayTypeP(heap_getattr(tuple, Anum_pg_constraint_conkey, desc, &isnull));
	for (int i = 0; i < ARR_DIMS(key)[0]; i++)
		if (chatcrypt_protected_column(table, ((int16 *) ARR_DATA_PTR(key))[i]) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of table \"%s\" is protected and cannot be part of a foreign key",
							column_name(row->conrelid, ((int16 *) ARR_DATA_PTR(key))[i]),
							get_rel_name(row->conrelid))));
}

/* The new table of a rewriting ALTER TABLE: with another access method it would get plaintext. */
static void
check_rewrite(Form_pg_class row)
{
	ChatcryptProtected *old = chatcrypt_protected_by_oid(row->relrewrite);

	if (old != NULL && old->ncolumns > 0 && row->relam != chatcrypt_protected_am(true))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot change the access method of protected table \"%s\"",
						get_rel_name(row->relrewrite)),
				 errhint("Remove the protection with chatcrypt.unprotect() first.")));
}

static void
check_new_relation(Oid relation)
{
	TupleDesc	desc;
	HeapTuple	tuple = read_new(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, relation,
								 0, 0, &desc);
	Form_pg_class row;

	if (!HeapTupleIsValid(tuple))
		return;
	row = (Form_pg_class) GETSTRUCT(tuple);
	if (row->relkind == RELKIND_INDEX)
		check_index(relation);
	else if (OidIsValid(row->relrewrite))
		check_rewrite(row);
}

/* Whether it is of the access method, and has labels unless a developer allows tables without. */
static bool
is_guarded(Oid relation)
{
	ChatcryptProtected *table;

	if (!chatcrypt_protected_is_ours(relation))
		return false;
	table = chatcrypt_protected_by_oid(relation);
	return !chatcrypt_allow_unlabelled || table == NULL || table->ncolumns > 0;
}

/*
 * Rows of a child table would be stored in plaintext, and rows read through a parent would lack the
 * ids that are needed to open them.
 */
static void
check_inheritance(Oid child, Oid parent)
{
	Oid			ours = is_guarded(child) ? child : is_guarded(parent) ? parent : InvalidOid;

	if (OidIsValid(ours))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("protected table \"%s\" cannot take part in inheritance or partitioning",
						get_rel_name(ours)),
				 errhint("Remove the protection with chatcrypt.unprotect() first.")));
}

/* ---------- columns and tables that are needed to open values ---------- */

static bool
is_integer(Oid type)
{
	return type == INT8OID || type == INT4OID || type == INT2OID;
}

static void
refuse_change(Oid relation, AttrNumber number, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("column \"%s\" of table \"%s\" %s", column_name(relation, number),
					get_rel_name(relation), why),
			 errhint("Remove the protection with chatcrypt.unprotect() first.")));
}

static void
check_changed_attribute(Oid relation, AttrNumber number)
{
	ChatcryptProtected *table = chatcrypt_protected_by_oid(relation);
	HeapTuple	after = table == NULL ? NULL : read_new_attribute(relation, number);
	HeapTuple	before = HeapTupleIsValid(after) ?
		SearchSysCacheCopy2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(number)) : NULL;
	Form_pg_attribute was;
	Form_pg_attribute is;

	if (!HeapTupleIsValid(before))
		return;
	was = (Form_pg_attribute) GETSTRUCT(before);
	is = (Form_pg_attribute) GETSTRUCT(after);
	if (chatcrypt_protected_column(table, number) != NULL &&
		(was->atttypid != is->atttypid || was->atttypmod != is->atttypmod))
		refuse_change(relation, number, "is protected, and its type cannot be changed");
	if ((number == table->chat || number == table->message) && was->atttypid != is->atttypid &&
		!(is_integer(was->atttypid) && is_integer(is->atttypid)))
		refuse_change(relation, number,
					  "is needed to open protected values, and its type cannot be changed");
}

static void
check_dropped_column(Oid relation, AttrNumber number)
{
	ChatcryptProtected *table = chatcrypt_protected_by_oid(relation);

	if (table == NULL || table->ncolumns == 0)
		return;
	if (number == table->chat || number == table->message)
		refuse_change(relation, number, "is needed to open protected values");
	/* Without protected columns, the table would keep its access method and accept no rows. */
	if (table->ncolumns == 1 && number == table->columns[0].number)
		refuse_change(relation, number, "is the last protected column and cannot be dropped");
}

/*
 * Tables depend on their access method, so that dropping the extension would drop them too.  They
 * are dropped before the access method, so noting them here shows later that there were some.
 */
static void
note_dropped_table(Oid relation)
{
	if (chatcrypt_protected_is_ours(relation))
		dropped_in = GetCurrentFullTransactionId();
}

static void
check_dropped_access_method(Oid am)
{
	if (am == chatcrypt_protected_am(true) &&
		FullTransactionIdEquals(dropped_in, GetCurrentFullTransactionId()))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop the access method chatcrypt: protected tables would be dropped with their rows"),
				 errhint("Remove the protection with chatcrypt.unprotect(), or drop the tables first in a separate transaction.")));
}

/* ---------- the hook ---------- */

static void
check_created(Oid class_id, Oid object_id, int sub_id)
{
	if (class_id == RelationRelationId && sub_id == 0)
		check_new_relation(object_id);
	else if (class_id == AttrDefaultRelationId)
		check_default(object_id, sub_id);
	else if (class_id == ConstraintRelationId)
		check_constraint(object_id);
}

static void
check_altered(Oid class_id, Oid object_id, int sub_id, const ObjectAccessPostAlter *alter)
{
	if (class_id == RelationRelationId && sub_id > 0)
		check_changed_attribute(object_id, sub_id);
	else if (class_id == InheritsRelationId && alter != NULL)
		check_inheritance(object_id, alter->auxiliary_id);
}

static void
check_dropped(Oid class_id, Oid object_id, int sub_id)
{
	if (class_id == RelationRelationId && sub_id > 0)
		check_dropped_column(object_id, sub_id);
	else if (class_id == RelationRelationId)
		note_dropped_table(object_id);
	else if (class_id == AccessMethodRelationId)
		check_dropped_access_method(object_id);
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (!OidIsValid(MyDatabaseId))
		return;
	if (access == OAT_POST_CREATE)
		check_created(class_id, object_id, sub_id);
	else if (access == OAT_POST_ALTER)
		check_altered(class_id, object_id, sub_id, arg);
	else if (access == OAT_DROP)
		check_dropped(class_id, object_id, sub_id);
}

void
chatcrypt_protectguard_install_hooks(void)
{
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
}
