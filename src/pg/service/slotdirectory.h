/*
 * slotdirectory.h
 *		The directory of request slots in shared memory, for the two sides of it: slots.c,
 *		which is the backends', and workerslots.c, which is the worker's.
 *
 * A slot is free, pending (filled by a backend), in flight (taken by the worker)
 * or done.  Every waiter of a slot counts; the last to leave frees it, except in
 * flight, where the worker is its owner and frees it when it is done.  A slot for
 * a refresh has no waiter and is the worker's from the start.
 *
 * The directory lies in PostgreSQL's shared memory, the items (keys and wrapped
 * keys) in a guarded mapping, each wiped when its slot is freed.
 *
 * Lock contract: one LWLock guards the directory and all items of slots that are
 * not in flight; every function of those files takes and releases it, and waits for
 * nothing under it.  Item and request of a slot in flight are read and written by the
 * worker alone, without the lock.
 */
#ifndef CHATCRYPT_SLOTDIRECTORY_H
#define CHATCRYPT_SLOTDIRECTORY_H

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "pg/service/slot.h"

#define CHATCRYPT_NO_WORKER	(-1)

typedef enum ChatcryptSlotState
{
	CHATCRYPT_SLOT_FREE = 0,
	CHATCRYPT_SLOT_PENDING,
	CHATCRYPT_SLOT_INFLIGHT,
	CHATCRYPT_SLOT_DONE
} ChatcryptSlotState;

typedef struct ChatcryptSlot
{
	ConditionVariable answered;
	ChatcryptSlotRequest request;
	ChatcryptSlotAnswer answer;
	int			waiters;
	int64		deadline_ms;
	int64		entered_ms;
	uint64		sequence;
} ChatcryptSlot;

typedef struct ChatcryptSlotDirectory
{
	ConditionVariable freed;
	int			worker_procno;	/* whose latch to set, or CHATCRYPT_NO_WORKER */
	int			worker_pid;
	TimestampTz worker_started_at;
	uint64		sequence;
	int			used;
	int			pending;
	uint64		requests;
	uint64		joined;
	uint64		refreshes;

	/* Apart from the slots, so that a search touches few cache lines. */
	uint8		state[CHATCRYPT_SLOTS]; /* ChatcryptSlotState */
	uint32		fingerprint[CHATCRYPT_SLOTS];	/* of what may be joined; 0 for the rest */
	ChatcryptSlot slots[CHATCRYPT_SLOTS];
} ChatcryptSlotDirectory;

extern ChatcryptSlotDirectory *chatcrypt_slots;
extern cc_kms_item *chatcrypt_slot_items;	/* one for each slot */
extern LWLock *chatcrypt_slots_lock;

/* Under the lock. */
extern void chatcrypt_slotdirectory_free(int index);

/* Without it, when a slot has become free. */
extern void chatcrypt_slotdirectory_tell_of_room(void);

/* What a view says of the slots and of the worker. */
typedef struct ChatcryptWorkerStatus
{
	int			pid;			/* 0 where no worker runs */
	TimestampTz started_at;
	int			slots_pending;
	int			slots_inflight;
	int			slots_done;
	int64		oldest_ms;		/* age of the oldest request that has no answer; -1 for none */
	uint64		requests;
	uint64		joined;			/* requests that found one for the same key under way */
	uint64		refreshes;
} ChatcryptWorkerStatus;

extern void chatcrypt_slotdirectory_status(ChatcryptWorkerStatus *status);

extern void chatcrypt_slotdirectory_request(void);
extern void chatcrypt_slotdirectory_startup(void);

/* For the worker; a warning where the limit forbids it. */
extern void chatcrypt_slotdirectory_lock_memory(void);

#endif
