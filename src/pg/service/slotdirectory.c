/*
 * slotdirectory.c
 *		The directory of request slots: see slotdirectory.h for states and locks.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pg/base/clock.h"
#include "pg/cache/guarded.h"
#include "pg/service/slotdirectory.h"

#define ITEMS_SIZE	(CHATCRYPT_SLOTS * sizeof(cc_kms_item))

ChatcryptSlotDirectory *chatcrypt_slots;
cc_kms_item *chatcrypt_slot_items;	/* guarded, inherited from the postmaster */
LWLock	   *chatcrypt_slots_lock;

void
chatcrypt_slotdirectory_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(ChatcryptSlotDirectory)));
	RequestNamedLWLockTranche("ChatcryptRequests", 1);
}

/* Runs again after a crash; then it wipes the mapping, and all slots are free. */
void
chatcrypt_slotdirectory_startup(void)
{
	bool		found;

	chatcrypt_slots = ShmemInitStruct("chatcrypt requests", sizeof(ChatcryptSlotDirectory), &found);
	chatcrypt_slots_lock = &GetNamedLWLockTranche("ChatcryptRequests")->lock;
	if (found)
		return;
	if (chatcrypt_slot_items != NULL)
		cc_wipe(chatcrypt_slot_items, ITEMS_SIZE);
	else
		chatcrypt_slot_items = chatcrypt_guarded_shared(ITEMS_SIZE);
	memset(chatcrypt_slots, 0, sizeof(ChatcryptSlotDirectory));
	chatcrypt_slots->worker_procno = CHATCRYPT_NO_WORKER;
	ConditionVariableInit(&chatcrypt_slots->freed);
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
		ConditionVariableInit(&chatcrypt_slots->slots[i].answered);
}

void
chatcrypt_slotdirectory_lock_memory(void)
{
	if (mlock(chatcrypt_slot_items, ITEMS_SIZE) != 0)
		ereport(WARNING,
				(errmsg("could not lock the request slots in memory: %m"),
				 errhint("Raise the memory lock limit of the server by %zu kB, or make sure that its swap is encrypted.",
						 ITEMS_SIZE / 1024)));
}

void
chatcrypt_slotdirectory_free(int index)
{
	if (chatcrypt_slots->state[index] == CHATCRYPT_SLOT_PENDING)
		chatcrypt_slots->pending--;
	chatcrypt_slots->state[index] = CHATCRYPT_SLOT_FREE;
	chatcrypt_slots->fingerprint[index] = 0;
	chatcrypt_slots->used--;
	cc_wipe(&chatcrypt_slot_items[index], sizeof(chatcrypt_slot_items[index]));
}

/*
 * Wakes all sessions that wait for room, and not one of them: that one may need more slots
 * than are free, need none any more, or be canceled, and then the others would sleep on
 * although a slot is free.
 */
void
chatcrypt_slotdirectory_tell_of_room(void)
{
	ConditionVariableBroadcast(&chatcrypt_slots->freed);
}

/* The caller holds the lock. */
static void
note_age(ChatcryptWorkerStatus *status, int slot, int64 now_ms)
{
	int64		age_ms = now_ms - chatcrypt_slots->slots[slot].entered_ms;

	if (chatcrypt_slots->state[slot] == CHATCRYPT_SLOT_PENDING ||
		chatcrypt_slots->state[slot] == CHATCRYPT_SLOT_INFLIGHT)
		status->oldest_ms = Max(status->oldest_ms, age_ms);
}

void
chatcrypt_slotdirectory_status(ChatcryptWorkerStatus *status)
{
	int64		now_ms = chatcrypt_clock_ms();

	memset(status, 0, sizeof(*status));
	status->oldest_ms = -1;
	LWLockAcquire(chatcrypt_slots_lock, LW_SHARED);
	status->pid = chatcrypt_slots->worker_procno == CHATCRYPT_NO_WORKER ? 0 :
		chatcrypt_slots->worker_pid;
	status->started_at = chatcrypt_slots->worker_started_at;
	status->requests = chatcrypt_slots->requests;
	status->joined = chatcrypt_slots->joined;
	status->refreshes = chatcrypt_slots->refreshes;
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		status->slots_pending += chatcrypt_slots->state[i] == CHATCRYPT_SLOT_PENDING;
		status->slots_inflight += chatcrypt_slots->state[i] == CHATCRYPT_SLOT_INFLIGHT;
		status->slots_done += chatcrypt_slots->state[i] == CHATCRYPT_SLOT_DONE;
		note_age(status, i, now_ms);
	}
	LWLockRelease(chatcrypt_slots_lock);
}
