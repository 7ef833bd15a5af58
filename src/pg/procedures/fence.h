/*
 * fence.h
 *		Waiting until every transaction of this database that runs at a moment has
 *		ended, prepared ones included, without holding up any of them.
 *
 * A fence is its session's own and outlives transactions: a call that waits no longer
 * leaves it for the next one.
 */
#ifndef CHATCRYPT_FENCE_H
#define CHATCRYPT_FENCE_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/snapshot.h"

/*
 * Commits an invalidation of chatcrypt.dek and chatcrypt.search_policy, and then notes
 * who runs.  A change of such a table is visible a moment before its own invalidation is
 * sent; after this one has been, no session believes what it remembered of a row that
 * was seen as changed.
 */
extern void chatcrypt_fence_raise(void);
extern bool chatcrypt_fence_is_up(void);

/* Waits in a procedure that commits, outside of any snapshot; false where they take longer. */
extern bool chatcrypt_fence_wait(TimestampTz until);

/*
 * A second fence, for a session whose first one nobody holds up any more: takes a
 * snapshot, notes who runs, and waits for those with the snapshot held, so that no
 * row which somebody sees after it leaves its table.  Also for whoever uses a
 * snapshot that may be older: it can be handed on (pg_export_snapshot).
 *
 * True with the snapshot held, in a transaction at READ COMMITTED that holds nothing
 * else: the caller lets go of it with chatcrypt_fence_release().  False where they
 * take longer than is good for VACUUM, or where another session does the same; then
 * they are noted as running, to be waited for without a snapshot.  The next try is
 * given twice the time, but never past the deadline.
 */
extern bool chatcrypt_fence_hold(TimestampTz until, Snapshot *since);
extern void chatcrypt_fence_release(Snapshot since);

/* How many were running still when it was last asked. */
extern int	chatcrypt_fence_waits_for(void);

extern void chatcrypt_fence_lower(void);

/* For an argument that says how long to wait: NULL for as long as it takes. */
extern TimestampTz chatcrypt_fence_deadline(FunctionCallInfo fcinfo, int n);

#endif
