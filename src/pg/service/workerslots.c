/*
 * workerslots.c
 *		The worker's side of the request slots: see workerslots.h.
 *		Not here: what the worker does with a request (worker/arrivals.c).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "pg/compat.h"
#include "pg/service/heartbeat.h"
#include "pg/service/slotdirectory.h"
#include "pg/service/workerslots.h"

/*
 * Makes the slots that an earlier worker had taken pending again, because every operation may
 * be repeated.  Slots without a waiter are freed.  The caller holds the lock.
 */
static void
take_back(void)
{
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		if (chatcrypt_slots->state[i] != CHATCRYPT_SLOT_INFLIGHT)
			continue;
		chatcrypt_slots->state[i] = CHATCRYPT_SLOT_PENDING;
		chatcrypt_slots->pending++;
		if (chatcrypt_slots->slots[i].waiters == 0)
			chatcrypt_slotdirectory_free(i);
	}
}

void
chatcrypt_workerslots_attach(void)
{
	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	take_back();
	chatcrypt_slots->worker_procno = chatcrypt_my_procno();
	chatcrypt_slots->worker_pid = MyProcPid;
	chatcrypt_slots->worker_started_at = GetCurrentTimestamp();
	LWLockRelease(chatcrypt_slots_lock);
	chatcrypt_heartbeat_beat();
	chatcrypt_slotdirectory_tell_of_room();
}

/*
 * The slots that the worker had taken stay in flight until its process is gone, which is the
 * case when the next worker attaches: a thread that the watchdog gave up may still write to
 * them.  The next worker starts within a second; until then the waiters are bounded by their
 * own timeouts.
 */
void
chatcrypt_workerslots_detach(void)
{
	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	chatcrypt_slots->worker_procno = CHATCRYPT_NO_WORKER;
	LWLockRelease(chatcrypt_slots_lock);
}

static int
older_first(const void *a, const void *b)
{
	uint64		left = chatcrypt_slots->slots[*(const int *) a].sequence;
	uint64		right = chatcrypt_slots->slots[*(const int *) b].sequence;

	return left < right ? -1 : left > right;
}

int
chatcrypt_workerslots_take(int slots[CHATCRYPT_SLOTS])
{
	int			n = 0;

	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	if (chatcrypt_slots->pending > 0)
	{
		for (int i = 0; i < CHATCRYPT_SLOTS; i++)
		{
			if (chatcrypt_slots->state[i] != CHATCRYPT_SLOT_PENDING)
				continue;
			chatcrypt_slots->state[i] = CHATCRYPT_SLOT_INFLIGHT;
			slots[n++] = i;
		}
		chatcrypt_slots->pending = 0;
	}
	LWLockRelease(chatcrypt_slots_lock);
	qsort(slots, n, sizeof(int), older_first);
	return n;
}

const ChatcryptSlotRequest *
chatcrypt_workerslots_request(int slot)
{
	return &chatcrypt_slots->slots[slot].request;
}

cc_kms_item *
chatcrypt_workerslots_item(int slot)
{
	return &chatcrypt_slot_items[slot];
}

bool
chatcrypt_workerslots_wanted(int slot, int64 *deadline_ms)
{
	bool		wanted;

	LWLockAcquire(chatcrypt_slots_lock, LW_SHARED);
	wanted = chatcrypt_slots->slots[slot].waiters > 0 || chatcrypt_slots->slots[slot].request.refresh;
	*deadline_ms = chatcrypt_slots->slots[slot].deadline_ms;
	LWLockRelease(chatcrypt_slots_lock);
	return wanted;
}

void
chatcrypt_workerslots_finish(int slot, const ChatcryptSlotAnswer *answer)
{
	bool		waited_for;

	chatcrypt_heartbeat_beat();
	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	Assert(chatcrypt_slots->state[slot] == CHATCRYPT_SLOT_INFLIGHT);
	waited_for = chatcrypt_slots->slots[slot].waiters > 0;
	chatcrypt_slots->slots[slot].answer = *answer;
	chatcrypt_slots->slots[slot].request.refresh = false;
	chatcrypt_slots->fingerprint[slot] = 0;
	chatcrypt_slots->state[slot] = CHATCRYPT_SLOT_DONE;
	if (!waited_for)
		chatcrypt_slotdirectory_free(slot);
	LWLockRelease(chatcrypt_slots_lock);

	/* The slot may have a new request by now: an unnecessary wake-up does no harm. */
	ConditionVariableBroadcast(waited_for ? &chatcrypt_slots->slots[slot].answered :
							   &chatcrypt_slots->freed);
}
