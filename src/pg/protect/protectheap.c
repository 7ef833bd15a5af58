/*
 * protectheap.c
 *		Has the heap process whole protected tables: see protectheap.h.
 *
 * During such a call the relation's table access method is the heap's.  If the relation's cache
 * entry is rebuilt during the call, that would restore ours, and the heap would refuse to go on; so
 * an invalidation callback sets the heap's again.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "pg/compat.h"
#include "pg/protect/protectheap.h"

#define AT_ONCE 2

/* The relations that have the heap's access method now; NULL for none. */
typedef struct AsHeap
{
	Relation	relations[AT_ONCE];
} AsHeap;

static AsHeap current;

static const TableAmRoutine *heap;
static const TableAmRoutine *ours;

static void
keep_as_heap(Datum arg, Oid relation)
{
	(void) arg;
	for (int i = 0; i < AT_ONCE; i++)
	{
		Relation	table = current.relations[i];

		if (table != NULL && (!OidIsValid(relation) || relation == RelationGetRelid(table)))
			table->rd_tableam = heap;
	}
}

static void
set_routine(const AsHeap *what, const TableAmRoutine *routine)
{
	for (int i = 0; i < AT_ONCE; i++)
		if (what->relations[i] != NULL)
			what->relations[i]->rd_tableam = routine;
}

/* Returns the relations of an outer call, for end() to restore. */
static AsHeap
begin(Relation first, Relation second)
{
	static bool watching = false;
	AsHeap		outer = current;

	if (!watching)
		CacheRegisterRelcacheCallback(keep_as_heap, (Datum) 0);
	watching = true;
	current = (AsHeap) {{first, second}};
	set_routine(&current, heap);
	return outer;
}

static void
end(AsHeap outer)
{
	set_routine(&current, ours);
	current = outer;
}

static double
index_build_range_scan(Relation table, Relation index, struct IndexInfo *info, bool allow_sync,
					   bool anyvisible, bool progress, BlockNumber start, BlockNumber count,
					   IndexBuildCallback callback, void *state, TableScanDesc scan)
{
	AsHeap		outer = begin(table, NULL);
	double		rows = 0;

	PG_TRY();
	{
		rows = heap->index_build_range_scan(table, index, info, allow_sync,
																anyvisible, progress, start, count,
																callback, state, scan);
	}
	PG_FINALLY();
	{
		end(outer);
	}
	PG_END_TRY();
	return rows;
}

static void
index_validate_scan(Relation table, Relation index, struct IndexInfo *info, Snapshot snapshot,
					struct ValidateIndexState *state)
{
	AsHeap		outer = begin(table, NULL);

	PG_TRY();
	{
		heap->index_validate_scan(table, index, info, snapshot, state);
	}
	PG_FINALLY();
	{
		end(outer);
	}
	PG_END_TRY();
}

static void
relation_copy_for_cluster(CHATCRYPT_COPY_FOR_CLUSTER_PARAMETERS)
{
	AsHeap		outer = begin(old_table, new_table);

	PG_TRY();
	{
		heap->relation_copy_for_cluster(CHATCRYPT_COPY_FOR_CLUSTER_ARGUMENTS);
	}
	PG_FINALLY();
	{
		end(outer);
	}
	PG_END_TRY();
}

void
chatcrypt_protectheap_replace(TableAmRoutine *routine)
{
	heap = GetHeapamTableAmRoutine();
	ours = routine;
	routine->index_build_range_scan = index_build_range_scan;
	routine->index_validate_scan = index_validate_scan;
	routine->relation_copy_for_cluster = relation_copy_for_cluster;
}
