/*
 * slotdirectory.h
 *		The directory of request slots in shared memory, for its two sides: sessionslots.c for
 *		the sessions, and workerslots.c for the KMS worker.
 *
 * A slot is free, pending (filled by a session), in flight (taken by the worker) or
 * done.  A slot counts its waiters, and the last waiter that leaves frees it; but a
 * slot in flight belongs to the worker, which frees it when it is done if no waiter is
 * left.  A slot for a refresh has no waiter and belongs to the worker from the start.
 *
 * The directory is in PostgreSQL's shared memory.  The items (data keys and wrapped
 * keys) are in a guarded mapping, and each is wiped when its slot is freed.
 *
 * Lock contract: one LWLock guards the directory and all items of slots that are not
 * in flight.  Every function of those files takes and releases it, and does not wait
 * while holding it.  Only the worker reads and writes the item of a slot in flight,
 * without the lock; sessions only compare the parts of it that an unwrap leaves as they
 * are.
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
	int			worker_procno;	/* for its latch, or CHATCRYPT_NO_WORKER */
	int			worker_pid;
	TimestampTz worker_started_at;
	uint64		sequence;
	int			used;
	int			pending;
	uint64		requests;
	uint64		joined;
	uint64		refreshes;

	/* Kept apart from the slots, so that a search touches few cache lines. */
	uint8		state[CHATCRYPT_SLOTS]; /* ChatcryptSlotState */
	uint32		fingerprint[CHATCRYPT_SLOTS];	/* of a request that may be joined; or 0 */
	ChatcryptSlot slots[CHATCRYPT_SLOTS];
} ChatcryptSlotDirectory;

extern ChatcryptSlotDirectory *chatcrypt_slots;
extern cc_kms_item *chatcrypt_slot_items;	/* one for each slot */
extern LWLock *chatcrypt_slots_lock;

/* Frees a slot.  The caller holds the lock. */
extern void chatcrypt_slotdirectory_free(int index);

/* Wakes sessions that wait for a free slot.  To be called without the lock. */
extern void chatcrypt_slotdirectory_tell_of_room(void);

/* What a view shows of the slots and of the worker. */
typedef struct ChatcryptWorkerStatus
{
	int			pid;			/* 0 if no worker runs */
	TimestampTz started_at;
	int			slots_pending;
	int			slots_inflight;
	int			slots_done;
	int64		oldest_ms;		/* age of the oldest unanswered request, in ms; -1 for none */
	uint64		requests;
	uint64		joined;			/* requests that joined one for the same key */
	uint64		refreshes;
} ChatcryptWorkerStatus;

extern void chatcrypt_slotdirectory_status(ChatcryptWorkerStatus *status);

extern void chatcrypt_slotdirectory_request(void);
extern void chatcrypt_slotdirectory_startup(void);

/* For the worker: locks the items in memory; a warning if the memory limit forbids it. */
extern void chatcrypt_slotdirectory_lock_memory(void);

#endif
