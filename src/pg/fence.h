/*
 * fence.h
 *		Waiting until every transaction of this database that runs at a moment has
 *		ended, prepared ones included, without holding up any of them.
 *
 * A fence is its session's own and outlives transactions: who has no patience left
 * may come back to it.
 */
#ifndef CHATCRYPT_FENCE_H
#define CHATCRYPT_FENCE_H

#include "datatype/timestamp.h"

/*
 * Commits an invalidation of chatcrypt.dek, and then notes who runs.  A change of
 * that table is visible a moment before its own invalidation is sent; after this one
 * has been, no session believes what it remembered of a row that was seen as changed.
 */
extern void chatcrypt_fence_raise(void);
extern bool chatcrypt_fence_is_up(void);

/* Waits in a procedure that commits, outside of any snapshot; false where they take longer. */
extern bool chatcrypt_fence_wait(TimestampTz until);

/* How many were running still when it was last asked. */
extern int	chatcrypt_fence_waits_for(void);

extern void chatcrypt_fence_lower(void);

#endif
