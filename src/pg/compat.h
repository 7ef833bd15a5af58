/*
 * compat.h
 *		Hides the differences between PostgreSQL 15 to 19: nothing outside this file tests
 *		the version of PostgreSQL.
 */
#ifndef CHATCRYPT_COMPAT_H
#define CHATCRYPT_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#if PG_VERSION_NUM < 170000
#include "storage/sinvaladt.h"
#endif
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

/* Stands before the rest of a declaration, as in PostgreSQL 18. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

/* VARDATA() and related macros came with postgres.h before 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM >= 180000
#define CHATCRYPT_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define chatcrypt_call_executor_run(previous) \
	((previous) ? (previous) (queryDesc, direction, count) : standard_ExecutorRun(queryDesc, direction, count))
#else
#define CHATCRYPT_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once
#define chatcrypt_call_executor_run(previous) \
	((previous) ? (previous) (queryDesc, direction, count, execute_once) : \
	 standard_ExecutorRun(queryDesc, direction, count, execute_once))
#endif

/* From 19 on the planner also takes the state of EXPLAIN, which it may fill. */
#if PG_VERSION_NUM >= 190000
#define CHATCRYPT_PLANNER_PARAMETERS \
	Query *parse, const char *query_string, int cursor_options, ParamListInfo params, ExplainState *explain
#define chatcrypt_call_planner(previous) \
	((previous) ? (previous) (parse, query_string, cursor_options, params, explain) : \
	 standard_planner(parse, query_string, cursor_options, params, explain))
#else
#define CHATCRYPT_PLANNER_PARAMETERS \
	Query *parse, const char *query_string, int cursor_options, ParamListInfo params
#define chatcrypt_call_planner(previous) \
	((previous) ? (previous) (parse, query_string, cursor_options, params) : \
	 standard_planner(parse, query_string, cursor_options, params))
#endif

/* Where a MERGE has its ON condition; NULL before 17, which keeps it in the join tree. */
static inline Node **
chatcrypt_merge_condition(Query *query)
{
#if PG_VERSION_NUM >= 170000
	return &query->mergeJoinCondition;
#else
	(void) query;
	return NULL;
#endif
}

/* Runs a portal to its end, as a client's statement. */
#if PG_VERSION_NUM >= 180000
#define chatcrypt_run_portal(portal, receiver) \
	PortalRun(portal, FETCH_ALL, true, receiver, receiver, NULL)
#else
#define chatcrypt_run_portal(portal, receiver) \
	PortalRun(portal, FETCH_ALL, true, true, receiver, receiver, NULL)
#endif

/*
 * Which indexes need new entries after an UPDATE: all or none before 16, and from 16 on
 * possibly the summarizing indexes alone.
 */
#if PG_VERSION_NUM >= 190000
typedef TU_UpdateIndexes ChatcryptUpdateIndexes;
#define chatcrypt_updates_indexes(indexes) ((indexes) != TU_None)
#define chatcrypt_insert_index_entries(result, slot, estate, indexes) \
	((void) ExecInsertIndexTuples(result, estate, \
								  EIIT_IS_UPDATE | ((indexes) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
								  slot, NIL, NULL))
#elif PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes ChatcryptUpdateIndexes;
#define chatcrypt_updates_indexes(indexes) ((indexes) != TU_None)
#define chatcrypt_insert_index_entries(result, slot, estate, indexes) \
	((void) ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, (indexes) == TU_Summarizing))
#else
typedef bool ChatcryptUpdateIndexes;
#define chatcrypt_updates_indexes(indexes) (indexes)
#define chatcrypt_insert_index_entries(result, slot, estate, indexes) \
	((void) ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL))
#endif

static inline TM_Result
chatcrypt_tuple_update(Relation table, ItemPointer at, TupleTableSlot *slot, Snapshot snapshot,
					   bool wait, TM_FailureData *failure, LockTupleMode *lockmode,
					   ChatcryptUpdateIndexes *indexes)
{
	return table_tuple_update(table, at, slot, GetCurrentCommandId(true),
#if PG_VERSION_NUM >= 190000
							  0,
#endif
							  snapshot, InvalidSnapshot, wait, failure, lockmode, indexes);
}

static inline TM_Result
chatcrypt_tuple_delete(Relation table, ItemPointer at, Snapshot snapshot, bool wait,
					   TM_FailureData *failure)
{
#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(table, at, GetCurrentCommandId(true), 0, snapshot, InvalidSnapshot,
							  wait, failure);
#else
	return table_tuple_delete(table, at, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
							  wait, failure, false);
#endif
}

static inline TableScanDesc
chatcrypt_table_beginscan(Relation table, Snapshot snapshot)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan(table, snapshot, 0, NULL, SO_NONE);
#else
	return table_beginscan(table, snapshot, 0, NULL);
#endif
}

static inline TableScanDesc
chatcrypt_table_beginscan_tidrange(Relation table, Snapshot snapshot, ItemPointer first,
								   ItemPointer last)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_tidrange(table, snapshot, first, last, SO_NONE);
#else
	return table_beginscan_tidrange(table, snapshot, first, last);
#endif
}

/*
 * Makes a plan no longer require the right to write to a relation; it requires the right to
 * read instead, because an entry that requires nothing is not provided for.  The list of
 * permissions is copied; the plan belongs to the caller.
 */
static inline void
chatcrypt_ask_no_right_to_write(PlannedStmt *plan, Oid relation)
{
#if PG_VERSION_NUM >= 160000
	typedef RTEPermissionInfo Asked;
	List	   *all = plan->permInfos = copyObject(plan->permInfos);
#else
	typedef RangeTblEntry Asked;
	List	   *all = plan->rtable = copyObject(plan->rtable);
#endif
	ListCell   *cell;

	foreach(cell, all)
	{
		Asked	   *asked = (Asked *) lfirst(cell);

		if (asked->relid == relation && (asked->requiredPerms & (ACL_INSERT | ACL_UPDATE)) != 0)
			asked->requiredPerms =
				(asked->requiredPerms & ~(AclMode) (ACL_INSERT | ACL_UPDATE)) | ACL_SELECT;
	}
}

static inline IndexScanDesc
chatcrypt_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, nkeys, 0);
#endif
}

/* From 19 on one struct holds the jsonb value being built and the current position in it. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState ChatcryptJsonb;
#define chatcrypt_push_json(jsonb, token, value) pushJsonbValue(jsonb, token, value)
#else
typedef struct ChatcryptJsonb
{
	JsonbValue *result;
	JsonbParseState *place;
} ChatcryptJsonb;
#define chatcrypt_push_json(jsonb, token, value) \
	((jsonb)->result = pushJsonbValue(&(jsonb)->place, token, value))
#endif

/* The server's record of a setting; NULL where there is none. */
static inline struct config_generic *
chatcrypt_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **all = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
#endif
}

/* What the operations of a slot are given beyond those of 15. */
#if PG_VERSION_NUM >= 180000
#define CHATCRYPT_SLOTS_KNOW_TRANSACTIONS
#define CHATCRYPT_EXTRA_PARAMETER	, Size extra
#define CHATCRYPT_EXTRA				, extra
#else
#define CHATCRYPT_EXTRA_PARAMETER
#define CHATCRYPT_EXTRA
#endif

#if PG_VERSION_NUM >= 180000
#define CHATCRYPT_BITMAP_NEXT_TUPLE_PARAMETERS \
	TableScanDesc scan, TupleTableSlot *slot, bool *recheck, uint64 *lossy_pages, uint64 *exact_pages
#define CHATCRYPT_BITMAP_NEXT_TUPLE_ARGUMENTS \
	scan, slot, recheck, lossy_pages, exact_pages
#else
#define CHATCRYPT_BITMAP_NEXT_TUPLE_PARAMETERS \
	TableScanDesc scan, struct TBMIterateResult *found_on_page, TupleTableSlot *slot
#define CHATCRYPT_BITMAP_NEXT_TUPLE_ARGUMENTS \
	scan, found_on_page, slot
#endif

#if PG_VERSION_NUM >= 170000
#define CHATCRYPT_ANALYZE_NEXT_BLOCK_PARAMETERS	TableScanDesc scan, ReadStream *stream
#define CHATCRYPT_ANALYZE_NEXT_BLOCK_ARGUMENTS	scan, stream
#else
#define CHATCRYPT_ANALYZE_NEXT_BLOCK_PARAMETERS \
	TableScanDesc scan, BlockNumber block, BufferAccessStrategy strategy
#define CHATCRYPT_ANALYZE_NEXT_BLOCK_ARGUMENTS	scan, block, strategy
#endif

#if PG_VERSION_NUM >= 190000
typedef uint32 ChatcryptInsertOptions;
#define CHATCRYPT_ANALYZE_NEXT_TUPLE_PARAMETERS \
	TableScanDesc scan, double *live, double *dead, TupleTableSlot *slot
#define CHATCRYPT_ANALYZE_NEXT_TUPLE_ARGUMENTS	scan, live, dead, slot
#define CHATCRYPT_UPDATE_PARAMETERS \
	Relation relation, ItemPointer at, TupleTableSlot *slot, CommandId cid, uint32 options, \
	Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *failure, \
	LockTupleMode *lockmode, ChatcryptUpdateIndexes *indexes
#define CHATCRYPT_UPDATE_ARGUMENTS(relation, slot) \
	relation, at, slot, cid, options, snapshot, crosscheck, wait, failure, lockmode, indexes
#define CHATCRYPT_COPY_FOR_CLUSTER_PARAMETERS \
	Relation old_table, Relation new_table, Relation old_index, bool use_sort, TransactionId oldest, \
	Snapshot snapshot, TransactionId *freeze, MultiXactId *multi, double *tuples, double *vacuumed, \
	double *recent
#define CHATCRYPT_COPY_FOR_CLUSTER_ARGUMENTS \
	old_table, new_table, old_index, use_sort, oldest, snapshot, freeze, multi, tuples, vacuumed, recent
#else
typedef int ChatcryptInsertOptions;
#define CHATCRYPT_ANALYZE_NEXT_TUPLE_PARAMETERS \
	TableScanDesc scan, TransactionId oldest, double *live, double *dead, TupleTableSlot *slot
#define CHATCRYPT_ANALYZE_NEXT_TUPLE_ARGUMENTS	scan, oldest, live, dead, slot
#define CHATCRYPT_UPDATE_PARAMETERS \
	Relation relation, ItemPointer at, TupleTableSlot *slot, CommandId cid, \
	Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *failure, \
	LockTupleMode *lockmode, ChatcryptUpdateIndexes *indexes
#define CHATCRYPT_UPDATE_ARGUMENTS(relation, slot) \
	relation, at, slot, cid, snapshot, crosscheck, wait, failure, lockmode, indexes
#define CHATCRYPT_COPY_FOR_CLUSTER_PARAMETERS \
	Relation old_table, Relation new_table, Relation old_index, bool use_sort, TransactionId oldest, \
	TransactionId *freeze, MultiXactId *multi, double *tuples, double *vacuumed, double *recent
#define CHATCRYPT_COPY_FOR_CLUSTER_ARGUMENTS \
	old_table, new_table, old_index, use_sort, oldest, freeze, multi, tuples, vacuumed, recent
#endif

/* Until 16, old_snapshot_threshold may let rows be removed that a snapshot still sees. */
static inline bool
chatcrypt_snapshots_keep_rows(void)
{
#if PG_VERSION_NUM < 170000
	return old_snapshot_threshold < 0;
#else
	return true;
#endif
}

static inline int
chatcrypt_my_procno(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* The pid of the process that runs a transaction; 0 if the transaction is prepared or has ended. */
static inline int
chatcrypt_pid_of(VirtualTransactionId transaction)
{
#if PG_VERSION_NUM >= 170000
	PGPROC	   *process = ProcNumberGetProc(transaction.procNumber);

	return process != NULL && process->vxid.lxid == transaction.localTransactionId ? process->pid : 0;
#else
	PGPROC	   *process = transaction.backendId == InvalidBackendId ? NULL :
		BackendIdGetProc(transaction.backendId);

	return process != NULL && process->lxid == transaction.localTransactionId ? process->pid : 0;
#endif
}

static inline WaitEventSet *
chatcrypt_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/* From 17 on wait events of extensions have names of their own; before, all are "Extension". */
static inline uint32
chatcrypt_wait_event(uint32 *known, const char *name)
{
	if (*known == 0)
	{
#if PG_VERSION_NUM >= 170000
		*known = WaitEventExtensionNew(name);
#else
		(void) name;
		*known = PG_WAIT_EXTENSION;
#endif
	}
	return *known;
}

#endif
