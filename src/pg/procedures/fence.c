/*
 * fence.c
 *		Waits for older transactions: see fence.h.
 *
 * It waits for virtual transaction ids, as CREATE INDEX CONCURRENTLY does, because a
 * transaction that has written nothing yet has no other id.
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/compat.h"
#include "pg/procedures/fence.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/store/store.h"

#define SHORTEST_NAP	5		/* ms */
#define LONGEST_NAP		500
#define FIRST_HOLD		250		/* ms */
#define LONGEST_HOLD	3600000

/* Only one session of a database may hold a snapshot, because two would wait for each other. */
#define LOCK_CLASS		3		/* advisory locks of applications have 1 or 2 */
#define LOCK_KEY		0x66656e63	/* "fenc" */

static bool up;
static VirtualTransactionId *running;	/* allocated in TopMemoryContext */
static int	nrunning;
static int	hold_time;			/* ms that the next hold may take */

static void
forget_running(void)
{
	if (running != NULL)
		pfree(running);
	running = NULL;
	nrunning = 0;
}

static void
remember_running(const VirtualTransactionId *others, int count)
{
	forget_running();
	running = MemoryContextAlloc(TopMemoryContext, sizeof(VirtualTransactionId) * (count + 1));
	memcpy(running, others, sizeof(VirtualTransactionId) * count);
	nrunning = count;
}

/*
 * Notes all other transactions of this database, or only those with a snapshot whose xmin is
 * not after the given transaction.  Lazy vacuums are left out, because they store no envelope.
 */
static void
note_running(TransactionId snapshots_up_to)
{
	int			count;
	VirtualTransactionId *others = GetCurrentVirtualXIDs(snapshots_up_to,
														 TransactionIdIsValid(snapshots_up_to),
														 false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM,
														 &count);

	remember_running(others, count);
	pfree(others);
}

void
chatcrypt_fence_lower(void)
{
	forget_running();
	up = false;
}

void
chatcrypt_fence_raise(void)
{
	CacheInvalidateRelcacheByRelid(chatcrypt_relations_find("dek"));
	CacheInvalidateRelcacheByRelid(chatcrypt_relations_find("search_policy"));
	chatcrypt_work_commit();
	note_running(InvalidTransactionId);
	hold_time = FIRST_HOLD;
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

/* Naps, and returns how long to nap the next time. */
static long
take_nap(long nap)
{
	static uint32 wait_event;

	chatcrypt_progress_note("wait for older transactions", NULL, 0, nrunning);
	chatcrypt_progress_waits_for(chatcrypt_pid_of(running[0]));
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap,
					 chatcrypt_wait_event(&wait_event, "ChatcryptFence"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return Min(nap * 2, LONGEST_NAP);
}

bool
chatcrypt_fence_wait(TimestampTz until)
{
	long		nap = SHORTEST_NAP;

	while (count_running() > 0)
	{
		if (GetCurrentTimestamp() >= until)
			return false;
		nap = take_nap(nap);
		chatcrypt_work_commit();	/* so that this transaction does not grow old either */
	}
	return true;
}

/*
 * Takes the lock for the rest of the transaction.  If another session has it, that session's
 * transaction is noted as running.
 */
static bool
lock_hold(void)
{
	VirtualTransactionId *holders;
	LOCKTAG		tag;
	int			count;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_KEY, 0, LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	holders = GetLockConflicts(&tag, ExclusiveLock, &count);
	remember_running(holders, count);
	return false;
}

/*
 * True if all transactions that were running when the snapshot was taken have ended, and none
 * uses an older snapshot.  A snapshot of a transaction that began since has an xmin no lower
 * than our xmax, because every transaction that ours sees as running has ended.  (A transaction
 * in another database may still run and keep such an xmin lower; then we wait.)
 */
static bool
nobody_is_left(Snapshot since)
{
	TransactionId last_before = since->xmax;

	if (count_running() > 0)
		return false;
	TransactionIdRetreat(last_before);
	note_running(last_before);
	return nrunning == 0;
}

static bool
hold_until(TimestampTz end, Snapshot since)
{
	long		nap = SHORTEST_NAP;

	note_running(InvalidTransactionId);
	while (!nobody_is_left(since))
	{
		if (GetCurrentTimestamp() >= end)
			return false;
		nap = take_nap(nap);
	}
	return true;
}

bool
chatcrypt_fence_hold(TimestampTz until, Snapshot *since)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline = Max(until, TimestampTzPlusMilliseconds(now, FIRST_HOLD));

	Assert(up && nrunning == 0);
	chatcrypt_work_commit();
	(void) set_config_option("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	if (!lock_hold())
	{
		chatcrypt_work_commit();
		return false;
	}
	*since = RegisterSnapshot(GetTransactionSnapshot());
	if (hold_until(Min(deadline, TimestampTzPlusMilliseconds(now, hold_time)), *since))
		return true;
	hold_time = Min(hold_time * 2, LONGEST_HOLD);
	chatcrypt_fence_release(*since);
	return false;
}

void
chatcrypt_fence_release(Snapshot since)
{
	UnregisterSnapshot(since);
	chatcrypt_work_commit();
}

TimestampTz
chatcrypt_fence_deadline(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   PG_GETARG_DATUM(n)));
}
