/*
 * fence.c
 *		Waiting for older transactions: see fence.h.
 *
 * Virtual transaction ids, as CREATE INDEX CONCURRENTLY waits for them: a transaction
 * that has written nothing yet has no other.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/compat.h"
#include "pg/fence.h"
#include "pg/progress.h"
#include "pg/store.h"
#include "pg/work.h"

#define SHORTEST_NAP	5		/* ms */
#define LONGEST_NAP		500

static bool up;
static VirtualTransactionId *running;	/* in memory of its own */
static int	nrunning;

void
chatcrypt_fence_lower(void)
{
	if (running != NULL)
		pfree(running);
	running = NULL;
	nrunning = 0;
	up = false;
}

/* Lazy vacuums store no envelope, and are not waited for. */
void
chatcrypt_fence_raise(void)
{
	VirtualTransactionId *others;

	chatcrypt_fence_lower();
	CacheInvalidateRelcacheByRelid(chatcrypt_store_relation("dek"));
	chatcrypt_work_commit();
	others = GetCurrentVirtualXIDs(InvalidTransactionId, false, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &nrunning);
	running = MemoryContextAlloc(TopMemoryContext, sizeof(VirtualTransactionId) * (nrunning + 1));
	memcpy(running, others, sizeof(VirtualTransactionId) * nrunning);
	up = true;
}

bool
chatcrypt_fence_is_up(void)
{
	return up;
}

int
chatcrypt_fence_waits_for(void)
{
	return nrunning;
}

static int
count_running(void)
{
	int			left = 0;

	for (int i = 0; i < nrunning; i++)
		if (!VirtualXactLock(running[i], false))
			running[left++] = running[i];
	nrunning = left;
	return left;
}

bool
chatcrypt_fence_wait(TimestampTz until)
{
	static uint32 wait_event;
	long		nap = SHORTEST_NAP;

	while (count_running() > 0)
	{
		chatcrypt_progress_note("wait for older transactions", NULL, 0, nrunning);
		if (GetCurrentTimestamp() >= until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap,
						 chatcrypt_wait_event(&wait_event, "ChatcryptFence"));
		ResetLatch(MyLatch);
		nap = Min(nap * 2, LONGEST_NAP);
		chatcrypt_work_commit();	/* nor does this transaction grow old */
	}
	return true;
}
