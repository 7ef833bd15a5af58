/*
 * visiblechats.c
 *		How a query under an actor finds the messages of that actor's chats: the planner
 *		support function of may_see(), and visible_chats(), which the plans call.
 *
 * Row-level security calls may_see(chat_id) for each row.  If an index begins with the id of
 * the chat, the support function adds a condition that the index can answer:
 * chat_id = ANY (visible_chats(index)).  The condition is lossy: may_see() is still called for
 * each row that the index finds, so the condition only affects the speed of a query and never
 * its result.  For that to be true, it must not leave out a row that may_see() would show:
 *
 * - A plan may be kept and run for another actor, or for none.  visible_chats() is therefore
 *	 called by each scan and looks up the actor; without an actor it returns every chat that
 *	 the index holds.
 * - All processes of a parallel scan must have the same array, because they pass on positions
 *	 in it.  So everything here is read under the snapshot of the query, which they share.
 *	 (may_see() reads newer rows: a participant who is removed sees nothing more.  A participant
 *	 who is added may have to begin a new transaction if the current one keeps its snapshot.)
 *
 * Without an actor, visible_chats() answers only a call that the planner made.  It would show
 * any other caller the values of an index, regardless of the policies of the table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/store/store.h"

/* An estimate counts at most so many chats of the actor, because counting takes time. */
#define MOST_COUNTED 1000

/* ---------- which chats ---------- */

/* A uuid[] that grows. */
typedef struct Chats
{
	Datum	   *ids;
	int			count;
	int			room;
} Chats;

static void
add_chat(Chats *chats, Datum id)
{
	pg_uuid_t  *copy = palloc(sizeof(pg_uuid_t));

	if (chats->count == chats->room)
	{
		chats->room = chats->room == 0 ? 64 : chats->room * 2;
		chats->ids = chats->ids == NULL ? palloc(sizeof(Datum) * chats->room) :
			repalloc_huge(chats->ids, sizeof(Datum) * chats->room);
	}
	*copy = *DatumGetUUIDP(id);
	chats->ids[chats->count++] = UUIDPGetDatum(copy);
}

/* Adds the chats of the actor, but stops at so many. */
static void
add_chats_of_actor(Chats *chats, int most)
{
	Relation	participant = table_open(chatcrypt_relations_find("participant"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	bool		isnull;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(chatcrypt_actor()));
	scan = systable_beginscan(participant, chatcrypt_relations_find("participant_pkey"), true,
							  GetActiveSnapshot(), 1, &key);
	while (chats->count < most && HeapTupleIsValid(row = systable_getnext(scan)))
		add_chat(chats, heap_getattr(row, 2, RelationGetDescr(participant), &isnull));
	systable_endscan(scan);
	table_close(participant, AccessShareLock);
}

/* Adds the next value of the index after the last one that was added; false if there is none. */
static bool
add_next_value(Chats *chats, Relation table, Relation index)
{
	AttrNumber	column = index->rd_index->indkey.values[0];
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	Datum		id = (Datum) 0;
	bool		isnull = true;

	if (chats->count > 0)
		ScanKeyInit(&key, column, BTGreaterStrategyNumber, F_UUID_GT,
					chats->ids[chats->count - 1]);
	scan = systable_beginscan_ordered(table, index, GetActiveSnapshot(), chats->count > 0 ? 1 : 0,
									  &key);
	row = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(row))
		id = heap_getattr(row, column, RelationGetDescr(table), &isnull);
	if (!isnull)
		add_chat(chats, id);
	systable_endscan_ordered(scan);
	return !isnull;
}

/* Skips from one value to the next, and not from row to row, because a chat has many messages. */
static void
add_values_of_index(Chats *chats, Oid index_id)
{
	Oid			table_id = IndexGetRelation(index_id, false);
	Relation	table = table_open(table_id, AccessShareLock);
	Relation	index = index_open(index_id, AccessShareLock);

	while (add_next_value(chats, table, index))
		CHECK_FOR_INTERRUPTS();
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
}

/* Is it a call that make_condition() made?  No SQL text is parsed to a call of this form. */
static bool
is_called_by_plan(FunctionCallInfo fcinfo)
{
	Node	   *call = fcinfo->flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) &&
		((FuncExpr *) call)->funcformat == COERCE_SQL_SYNTAX;
}

PG_FUNCTION_INFO_V1(chatcrypt_visible_chats);

/* visible_chats(index regclass): the chats that a scan of the index has to look at */
Datum
chatcrypt_visible_chats(PG_FUNCTION_ARGS)
{
	Chats		chats = {0};

	if (chatcrypt_actor() != NULL)
		add_chats_of_actor(&chats, PG_INT32_MAX);
	else if (is_called_by_plan(fcinfo))
		add_values_of_index(&chats, PG_GETARG_OID(0));
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("visible_chats() returns the chats of the current actor, but there is no actor"),
				 errhint("This function is for row-level security. Use chatcrypt.my_chats() for the chats of an actor.")));
	PG_RETURN_ARRAYTYPE_P(construct_array(chats.ids, chats.count, UUIDOID, UUID_LEN, false,
										  TYPALIGN_CHAR));
}

/* ---------- an index condition ---------- */

static Node *
without_relabel(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Is this clause an equality of the column with anything? */
static bool
is_equality_of(const Node *clause, Oid equality, const Node *column)
{
	const OpExpr *comparison = (const OpExpr *) clause;
	const ScalarArrayOpExpr *any = (const ScalarArrayOpExpr *) clause;

	if (IsA(clause, ScalarArrayOpExpr))
		return any->useOr && any->opno == equality &&
			equal(without_relabel(linitial(any->args)), column);
	return IsA(clause, OpExpr) && comparison->opno == equality &&
		(equal(without_relabel(linitial(comparison->args)), column) ||
		 equal(without_relabel(lsecond(comparison->args)), column));
}

/* Does a WHERE or a join make the column equal to a constant or to another column? */
static bool
has_equal(PlannerInfo *root, const Node *column)
{
	ListCell   *class_cell;
	ListCell   *member_cell;

	foreach(class_cell, root->eq_classes)
	{
		EquivalenceClass *class = lfirst_node(EquivalenceClass, class_cell);

		if (list_length(class->ec_members) < 2)
			continue;
		foreach(member_cell, class->ec_members)
		{
			EquivalenceMember *member = lfirst_node(EquivalenceMember, member_cell);

			if (equal(without_relabel((Node *) member->em_expr), column))
				return true;
		}
	}
	return false;
}

/*
 * A query that names a chat, or joins by it, has a better condition.  Ours would only slow
 * it down, because it is evaluated again for each chat that a nested loop looks up.
 */
static bool
is_bound_otherwise(PlannerInfo *root, RelOptInfo *table, Oid equality, const Node *column)
{
	ListCell   *cell;

	foreach(cell, table->baserestrictinfo)
		if (is_equality_of((Node *) lfirst_node(RestrictInfo, cell)->clause, equality, column))
			return true;
	foreach(cell, table->joininfo)
		if (is_equality_of((Node *) lfirst_node(RestrictInfo, cell)->clause, equality, column))
			return true;
	return has_equal(root, column);
}

/* Can the values of the index be visited in ascending order? */
static bool
is_walkable(const IndexOptInfo *index)
{
	return index->relam == BTREE_AM_OID && index->indexkeys[0] > 0 && !index->reverse_sort[0] &&
		!index->nulls_first[0];
}

static Node *
make_condition(const IndexOptInfo *index, Oid equality, Node *column)
{
	Const	   *name = makeConst(REGCLASSOID, -1, InvalidOid, sizeof(Oid),
								 ObjectIdGetDatum(index->indexoid), false, true);
	FuncExpr   *chats = makeFuncExpr(chatcrypt_relations_function("chatcrypt_internal",
																  "visible_chats",
														  REGCLASSOID),
									 UUIDARRAYOID, list_make1(name), InvalidOid, InvalidOid,
									 COERCE_SQL_SYNTAX);
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	any->opno = equality;
	any->opfuncid = get_opcode(equality);
	any->useOr = true;
	any->args = list_make2(copyObject(column), chats);
	any->location = -1;
	return (Node *) any;
}

static List *
index_condition(SupportRequestIndexCondition *request)
{
	Node	   *column = without_relabel(linitial(((FuncExpr *) request->node)->args));
	Oid			equality = get_opfamily_member(request->opfamily, UUIDOID, UUIDOID,
											BTEqualStrategyNumber);

	if (chatcrypt_actor() == NULL || request->indexcol != 0 || !is_walkable(request->index) ||
		exprType(column) != UUIDOID || !OidIsValid(equality) ||
		is_bound_otherwise(request->root, request->index->rel, equality, column))
		return NIL;
	return list_make1(make_condition(request->index, equality, column));
}

/* ---------- estimates ---------- */

/* Estimates the visible fraction of the rows: all without an actor, else those of its chats. */
static Selectivity
visible_part(SupportRequestSelectivity *request)
{
	Chats		chats = {0};
	VariableStatData column;
	double		values;
	bool		is_default;

	if (chatcrypt_actor() == NULL)
		return 1.0;
	add_chats_of_actor(&chats, MOST_COUNTED);
	examine_variable(request->root, linitial(request->args), request->varRelid, &column);
	values = get_variable_numdistinct(&column, &is_default);
	ReleaseVariableStats(column);
	return Min(1.0, chats.count / Max(values, 1.0));
}

PG_FUNCTION_INFO_V1(chatcrypt_may_see_support);

Datum
chatcrypt_may_see_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestIndexCondition))
		PG_RETURN_POINTER(index_condition((SupportRequestIndexCondition *) request));
	if (IsA(request, SupportRequestSelectivity))
	{
		((SupportRequestSelectivity *) request)->selectivity =
			visible_part((SupportRequestSelectivity *) request);
		PG_RETURN_POINTER(request);
	}
	PG_RETURN_POINTER(NULL);
}
