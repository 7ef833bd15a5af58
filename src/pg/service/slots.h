/*
 * slots.h
 *		The request slots that backends and the KMS worker share.  requests.c is the
 *		backends' side of it, worker/arrivals.c the worker's.
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
 * not in flight; every function here takes and releases it, and waits for nothing
 * under it.  Item and request of a slot in flight are read and written by the
 * worker alone, without the lock.
 */
#ifndef CHATCRYPT_SLOTS_H
#define CHATCRYPT_SLOTS_H

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"

#include "pg/service/kmsjob.h"

#define CHATCRYPT_SLOTS		1024

/* Left to sessions that hold none, so that one that warms thousands of keys keeps none out. */
#define CHATCRYPT_RESERVED_SLOTS	128

/* What is asked.  Does not change while the slot is not free. */
typedef struct ChatcryptSlotRequest
{
	cc_kms_op	op;
	bool		refresh;		/* nobody waits for it */
	bool		fresh;			/* ask the KMS, whatever is remembered of it */
	bool		uncached;		/* an unwrapped key does not go into the key cache */
	bool		check_only;		/* nor to the session that asked */
	bool		unpinned;		/* id.kcv is not set: the key is not compared with it, nor cached */
	uint64		epoch;			/* into the key cache only while this is its epoch */
	ChatcryptKeyId id;
	char		kms_key[CC_KMS_URI_MAX];
} ChatcryptSlotRequest;

typedef struct ChatcryptSlotAnswer
{
	cc_kms_outcome outcome;
	bool		wrong_key;
	bool		breaker_open;
	int			held_s;			/* the KMS will be asked again after so many seconds; 0 for no hold */
	uint64		wrapped_by;
} ChatcryptSlotAnswer;

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

extern void chatcrypt_slots_request(void);
extern void chatcrypt_slots_startup(void);

/*
 * Backends.  enter_all() enters as many of the jobs as there is room for, and says how
 * many; it never waits.  held is how many slots the caller has already.
 */
#define CHATCRYPT_NO_SLOT	(-1)

extern int	chatcrypt_slots_enter_all(cc_kms_op op, const ChatcryptKmsJob *jobs, int njobs,
									  int64 deadline_ms, int held, int *slots);
extern void chatcrypt_slots_enter_refresh(const ChatcryptKmsJob *job, int64 deadline_ms);
extern bool chatcrypt_slot_is_done(int slot);
extern ConditionVariable *chatcrypt_slot_answered(int slot);
extern ConditionVariable *chatcrypt_slots_freed(void);

/* Wakes a worker that should have moved by itself. */
extern void chatcrypt_slots_nudge_worker(void);

/* Copies the answer out and leaves; false, and still entered, where there is none yet. */
extern bool chatcrypt_slot_collect(int slot, ChatcryptKmsJob *job);
extern void chatcrypt_slot_leave(int slot);
extern void chatcrypt_slots_status(ChatcryptWorkerStatus *status);

/* The worker.  take() hands over what is pending, oldest first. */
extern void chatcrypt_slots_attach_worker(void);
extern void chatcrypt_slots_detach_worker(void);
extern void chatcrypt_slots_lock_memory(void);	/* a warning where the limit forbids it */
extern int	chatcrypt_slots_take(int slots[CHATCRYPT_SLOTS]);
extern const ChatcryptSlotRequest *chatcrypt_slot_request(int slot);
extern cc_kms_item *chatcrypt_slot_item(int slot);

/* False where nobody wants the answer any more; deadline_ms moves when others join. */
extern bool chatcrypt_slot_wanted(int slot, int64 *deadline_ms);
extern void chatcrypt_slot_finish(int slot, const ChatcryptSlotAnswer *answer);

#endif
