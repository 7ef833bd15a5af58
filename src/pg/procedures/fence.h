/*
 * fence.h
 *		Waits until every transaction of this database that was running at a certain
 *		moment has ended, including prepared ones, without holding up any of them.
 *
 * A fence belongs to its session and outlives transactions: a call that stops waiting
 * leaves the fence for the next one.
 */
#ifndef CHATCRYPT_FENCE_H
#define CHATCRYPT_FENCE_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/snapshot.h"

/*
 * Commits an invalidation of chatcrypt.dek and chatcrypt.search_policy, and then notes the
 * running transactions.  A change of such a table is visible a moment before its own
 * invalidation is sent.  Once this invalidation has been sent, no session uses what it
 * remembered of a row whose change was visible here.
 */
extern void chatcrypt_fence_raise(void);
extern bool chatcrypt_fence_is_up(void);

/*
 * Waits for the noted transactions, in a procedure that commits and holds no snapshot.
 * Returns false if they take longer.
 */
extern bool chatcrypt_fence_wait(TimestampTz until);

/*
 * A second fence, to be called once all transactions that the first one noted have ended.
 * Takes a snapshot, notes the running transactions, and waits for them while holding the
 * snapshot, so that no row that is visible to it or to a later one leaves its table.  Also
 * waits for transactions that use an older snapshot, which may have been exported to them
 * (pg_export_snapshot).
 *
 * Returns true with the snapshot held, in a transaction at READ COMMITTED that holds nothing
 * else; the caller releases it with chatcrypt_fence_release().  Returns false if the others
 * take longer than is good for VACUUM, or if another session is doing the same; then they are
 * noted as running, so that chatcrypt_fence_wait() can wait for them without a snapshot.  The
 * next try gets twice the time, but never past the deadline.
 */
extern bool chatcrypt_fence_hold(TimestampTz until, Snapshot *since);
extern void chatcrypt_fence_release(Snapshot since);

/* How many of the noted transactions were still running when that was last checked. */
extern int	chatcrypt_fence_waits_for(void);

extern void chatcrypt_fence_lower(void);

/* The deadline for an argument that says how long to wait; NULL means without a limit. */
extern TimestampTz chatcrypt_fence_deadline(FunctionCallInfo fcinfo, int n);

#endif
