/*
 * numberplan.c
 *		Plans conditions on the number of an id as conditions on the id: see numberplan.h.
 *
 * The view messages shows number_of(chat_id) beside chat_id, and the index is on the
 * uuid.  A uuid has a number exactly where it is to_uuid() of that number, so
 *
 *		number_of(uuid) = number			uuid = to_uuid(number)
 *		number_of(uuid) = ANY (numbers)		uuid = ANY (to_uuid() of each)
 *
 * are true for the same rows.  They are not false for the same rows: for a uuid without a
 * number the first is NULL, and the second false.  So one replaces the other only where it
 * matters only whether the condition is true: in WHERE and ON, also that of a MERGE, below AND
 * and OR.
 *
 * In a query of the view the number is a column of a subquery, which is looked through; in a
 * DELETE the rewriter has put the expression itself in the place of the column.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/messages/numberplan.h"
#include "pg/store/store.h"

static Node *id_behind(const Query *query, Node *number);

/*
 * Tells the function by its code, not by its name alone: in a database without the extension
 * any user may have a schema "chatcrypt" with functions of these names and of other types.
 */
static bool
is_number_of(const FuncExpr *call)
{
	char	   *name;
	FmgrInfo	function;

	if (call->funcid < FirstNormalObjectId || call->funcresulttype != INT8OID ||
		list_length(call->args) != 1 || exprType(linitial(call->args)) != UUIDOID)
		return false;
	name = get_func_name(call->funcid);
	if (name == NULL || strcmp(name, "number_of") != 0 ||
		get_func_namespace(call->funcid) != get_namespace_oid("chatcrypt", true))
		return false;
	fmgr_info(call->funcid, &function);
	return function.fn_addr == chatcrypt_number_of;
}

/*
 * The column of the same subquery that has the id of this column's number; NULL where there is
 * none.  Grouping sets can make one column NULL in rows where another column made from it is
 * not.
 */
static Node *
column_behind(const Query *query, const Var *number)
{
	const RangeTblEntry *entry = rt_fetch(number->varno, query->rtable);
	const TargetEntry *shown;
	ListCell   *cell;
	Node	   *id;
	Var		   *column;

	if (entry->rtekind != RTE_SUBQUERY || entry->subquery->setOperations != NULL ||
		entry->subquery->groupingSets != NIL)
		return NULL;
	shown = get_tle_by_resno(entry->subquery->targetList, number->varattno);
	id = shown != NULL ? id_behind(entry->subquery, (Node *) shown->expr) : NULL;
	if (id == NULL || !IsA(id, Var))
		return NULL;
	foreach(cell, entry->subquery->targetList)
	{
		shown = lfirst_node(TargetEntry, cell);
		if (shown->resjunk || !equal(shown->expr, id))
			continue;
		column = copyObject((Var *) number);
		column->varattno = column->varattnosyn = shown->resno;
		column->vartype = UUIDOID;
		return (Node *) column;
	}
	return NULL;
}

/* The uuid whose number this expression is, as an expression of the query; NULL for none. */
static Node *
id_behind(const Query *query, Node *number)
{
	if (IsA(number, FuncExpr) && is_number_of((FuncExpr *) number))
		return linitial(((FuncExpr *) number)->args);
	if (IsA(number, Var) && ((Var *) number)->vartype == INT8OID &&
		((Var *) number)->varlevelsup == 0 && ((Var *) number)->varattno > 0)
		return column_behind(query, (Var *) number);
	return NULL;
}

static bool
compares_integers(Oid operator)
{
	return get_op_opfamily_strategy(operator, INTEGER_BTREE_FAM_OID) == BTEqualStrategyNumber;
}

static Expr *
call(Oid function, Oid result, Node *argument, CoercionForm form)
{
	return (Expr *) makeFuncExpr(function, result, list_make1(argument), InvalidOid, InvalidOid,
								 form);
}

/* to_uuid(number), of an expression of any integer type. */
static Expr *
id_of(Node *number)
{
	Oid			type = exprType(number);

	if (type == INT4OID || type == INT2OID)
		number = (Node *) call(type == INT4OID ? F_INT8_INT4 : F_INT8_INT2, INT8OID, number,
							   COERCE_IMPLICIT_CAST);
	return call(chatcrypt_relations_function("chatcrypt", "to_uuid", INT8OID), UUIDOID, number,
				COERCE_EXPLICIT_CALL);
}

/* Casts an array as the parser does: element by element. */
static Expr *
ids_of(Node *numbers)
{
	Oid			type = get_element_type(exprType(numbers));
	CaseTestExpr *element = makeNode(CaseTestExpr);
	ArrayCoerceExpr *ids = makeNode(ArrayCoerceExpr);

	element->typeId = type;
	element->typeMod = -1;
	ids->arg = (Expr *) numbers;
	ids->elemexpr = id_of((Node *) element);
	ids->resulttype = get_array_type(UUIDOID);
	ids->resulttypmod = -1;
	ids->coerceformat = COERCE_EXPLICIT_CAST;
	ids->location = -1;
	return (Expr *) ids;
}

static Oid
uuid_equals(void)
{
	return lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR)->eq_opr;
}

static Node *
compare_id(const Query *query, OpExpr *condition)
{
	Node	   *left;
	Node	   *right;
	Node	   *id;

	if (list_length(condition->args) != 2)
		return (Node *) condition;
	left = linitial(condition->args);
	right = lsecond(condition->args);
	id = id_behind(query, left);
	if (id == NULL)
	{
		id = id_behind(query, right);
		right = left;
	}
	if (id == NULL || !compares_integers(condition->opno))
		return (Node *) condition;
	return (Node *) make_opclause(uuid_equals(), BOOLOID, false, (Expr *) id, id_of(right),
								  InvalidOid, InvalidOid);
}

static Node *
look_up_id(const Query *query, ScalarArrayOpExpr *condition)
{
	Node	   *id = condition->useOr ? id_behind(query, linitial(condition->args)) : NULL;

	if (id == NULL || !compares_integers(condition->opno))
		return (Node *) condition;
	condition->args = list_make2(id, ids_of(lsecond(condition->args)));
	condition->opno = uuid_equals();
	condition->opfuncid = InvalidOid;
	set_sa_opfuncid(condition);
	return (Node *) condition;
}

static Node *
plan_condition(const Query *query, Node *condition)
{
	ListCell   *cell;

	if (condition == NULL)
		return NULL;
	if (IsA(condition, OpExpr))
		return compare_id(query, (OpExpr *) condition);
	if (IsA(condition, ScalarArrayOpExpr))
		return look_up_id(query, (ScalarArrayOpExpr *) condition);
	if (IsA(condition, BoolExpr) && ((BoolExpr *) condition)->boolop != NOT_EXPR)
		foreach(cell, ((BoolExpr *) condition)->args)
			lfirst(cell) = plan_condition(query, lfirst(cell));
	return condition;
}

static void
plan_jointree(const Query *query, Node *node)
{
	ListCell   *cell;

	check_stack_depth();
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;

		foreach(cell, from->fromlist)
			plan_jointree(query, lfirst(cell));
		from->quals = plan_condition(query, from->quals);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		plan_jointree(query, join->larg);
		plan_jointree(query, join->rarg);
		join->quals = plan_condition(query, join->quals);
	}
}

/* Rewrites queries within expressions. */
static bool
visit(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, visit, context);
	chatcrypt_numberplan_rewrite((Query *) node);
	return false;
}

void
chatcrypt_numberplan_rewrite(Query *query)
{
	Node	  **merge_condition = chatcrypt_merge_condition(query);
	ListCell   *cell;

	if (query->jointree != NULL)
		plan_jointree(query, (Node *) query->jointree);
	if (merge_condition != NULL)
		*merge_condition = plan_condition(query, *merge_condition);
	foreach(cell, query->rtable)
		if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_SUBQUERY)
			chatcrypt_numberplan_rewrite(lfirst_node(RangeTblEntry, cell)->subquery);
	foreach(cell, query->cteList)
		chatcrypt_numberplan_rewrite(castNode(Query, lfirst_node(CommonTableExpr, cell)->ctequery));
	if (query->hasSubLinks)
		(void) query_tree_walker(query, visit, NULL,
								 QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES);
}
