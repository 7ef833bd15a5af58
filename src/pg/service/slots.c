/*
 * slots.c
 *		The directory of request slots: who waits for what, and who owns which slot.
 *		Not here: the waiting (requests.c) and the asking (worker/arrivals.c).
 *		For states and locks see slots.h.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "pg/base/clock.h"
#include "pg/cache/guarded.h"
#include "pg/cache/keycache.h"
#include "pg/compat.h"
#include "pg/service/heartbeat.h"
#include "pg/service/slots.h"

#define NO_WORKER	(-1)
#define ITEMS_SIZE	(CHATCRYPT_SLOTS * sizeof(cc_kms_item))

typedef enum SlotState
{
	SLOT_FREE = 0,
	SLOT_PENDING,
	SLOT_INFLIGHT,
	SLOT_DONE
} SlotState;

typedef struct Slot
{
	ConditionVariable answered;
	ChatcryptSlotRequest request;
	ChatcryptSlotAnswer answer;
	int			waiters;
	int64		deadline_ms;
	int64		entered_ms;
	uint64		sequence;
} Slot;

typedef struct Directory
{
	ConditionVariable freed;
	int			worker_procno;	/* whose latch to set, or NO_WORKER */
	int			worker_pid;
	TimestampTz worker_started_at;
	uint64		sequence;
	int			used;
	int			pending;
	uint64		requests;
	uint64		joined;
	uint64		refreshes;

	/* Apart from the slots, so that a search touches few cache lines. */
	uint8		state[CHATCRYPT_SLOTS];
	uint32		fingerprint[CHATCRYPT_SLOTS];	/* of what may be joined; 0 for the rest */
	Slot		slots[CHATCRYPT_SLOTS];
} Directory;

static Directory *directory;
static cc_kms_item *items;		/* one for each slot: guarded, inherited from the postmaster */
static LWLock *lock;

void
chatcrypt_slots_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Directory)));
	RequestNamedLWLockTranche("ChatcryptRequests", 1);
}

/* Runs again after a crash, with the mapping wiped: everything starts from nothing. */
void
chatcrypt_slots_startup(void)
{
	bool		found;

	directory = ShmemInitStruct("chatcrypt requests", sizeof(Directory), &found);
	lock = &GetNamedLWLockTranche("ChatcryptRequests")->lock;
	if (found)
		return;
	if (items != NULL)
		cc_wipe(items, ITEMS_SIZE);
	else
		items = chatcrypt_guarded_shared(ITEMS_SIZE);
	memset(directory, 0, sizeof(Directory));
	directory->worker_procno = NO_WORKER;
	ConditionVariableInit(&directory->freed);
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
		ConditionVariableInit(&directory->slots[i].answered);
}

void
chatcrypt_slots_lock_memory(void)
{
	if (mlock(items, ITEMS_SIZE) != 0)
		ereport(WARNING,
				(errmsg("could not lock the request slots in memory: %m"),
				 errhint("Raise the memory lock limit of the server by %zu kB, or make sure that its swap is encrypted.",
						 ITEMS_SIZE / 1024)));
}

static void
wake_worker(int procno)
{
	chatcrypt_heartbeat_expect();
	if (procno != NO_WORKER)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

/* ---------- under the lock ---------- */

/* Only plain unwraps are shared: two sessions that wrap or generate want two results. */
static uint32
fingerprint_of(cc_kms_op op, const ChatcryptKmsJob *job)
{
	uint32		fingerprint = 2166136261u;

	if (op != CC_KMS_UNWRAP || job->fresh || job->uncached || job->check_only ||
		job->unpinned)
		return 0;
	for (int i = 0; i < CC_ID_LEN; i++)
		fingerprint = (fingerprint ^ job->id.chat_id[i]) * 16777619u;
	fingerprint = (fingerprint ^ job->id.version) * 16777619u;
	return fingerprint == 0 ? 1 : fingerprint;
}

/*
 * The key's id is not enough: a session that verifies a new wrapping must not be given
 * the answer to an old one.
 */
static bool
asks_the_same(int slot, const ChatcryptKmsJob *job)
{
	const ChatcryptSlotRequest *request = &directory->slots[slot].request;
	const cc_kms_item *item = &items[slot];

	return memcmp(&request->id, &job->id, sizeof(job->id)) == 0 &&
		item->wrapped_len == job->wrapped_len &&
		memcmp(item->context, job->context, CC_CONTEXT_LEN) == 0 &&
		strcmp(request->kms_key, job->kms_key) == 0;
}

/*
 * In flight an item is the worker's, and a re-wrap would replace its wrapping;
 * an unwrap, the only operation that is ever joined, leaves it as it is.
 */
static bool
wrapped_the_same(int slot, const ChatcryptKmsJob *job)
{
	return memcmp(items[slot].wrapped, job->wrapped, job->wrapped_len) == 0;
}

static int
find_same(uint32 fingerprint, const ChatcryptKmsJob *job)
{
	if (fingerprint == 0)
		return CHATCRYPT_NO_SLOT;
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		if (directory->fingerprint[i] == fingerprint &&
			asks_the_same(i, job) && wrapped_the_same(i, job))
			return i;
	}
	return CHATCRYPT_NO_SLOT;
}

static void
fill_item(cc_kms_item *item, cc_kms_op op, const ChatcryptKmsJob *job)
{
	memcpy(item->context, job->context, CC_CONTEXT_LEN);
	if (op == CC_KMS_WRAP)
		memcpy(item->dek, job->dek, CC_DEK_LEN);
	if (op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP)
	{
		memcpy(item->wrapped, job->wrapped, job->wrapped_len);
		item->wrapped_len = job->wrapped_len;
	}
}

static int
fill_free_slot(cc_kms_op op, const ChatcryptKmsJob *job, uint32 fingerprint)
{
	uint8	   *state = memchr(directory->state, SLOT_FREE, CHATCRYPT_SLOTS);
	int			index;
	Slot	   *slot;

	if (state == NULL)
		return CHATCRYPT_NO_SLOT;
	index = (int) (state - directory->state);
	slot = &directory->slots[index];
	memset(&slot->request, 0, sizeof(slot->request));
	slot->request.op = op;
	slot->request.fresh = job->fresh;
	slot->request.uncached = job->uncached || job->check_only || job->unpinned;
	slot->request.check_only = job->check_only;
	slot->request.unpinned = job->unpinned;
	slot->request.epoch = job->epoch != 0 ? job->epoch : chatcrypt_keycache_epoch();
	slot->request.id = job->id;
	strlcpy(slot->request.kms_key, job->kms_key, CC_KMS_URI_MAX);
	fill_item(&items[index], op, job);
	slot->waiters = 0;
	slot->deadline_ms = 0;
	slot->entered_ms = chatcrypt_clock_ms();
	slot->sequence = ++directory->sequence;
	directory->fingerprint[index] = fingerprint;
	directory->state[index] = SLOT_PENDING;
	directory->pending++;
	directory->used++;
	return index;
}

static int
enter(cc_kms_op op, const ChatcryptKmsJob *job, int64 deadline_ms, bool refresh)
{
	uint32		fingerprint = fingerprint_of(op, job);
	int			index = find_same(fingerprint, job);

	if (index != CHATCRYPT_NO_SLOT)
		directory->joined++;
	else
	{
		index = fill_free_slot(op, job, fingerprint);
		if (index == CHATCRYPT_NO_SLOT)
			return index;
		directory->slots[index].request.refresh = refresh;
	}
	if (!refresh)
		directory->slots[index].waiters++;
	directory->slots[index].deadline_ms = Max(directory->slots[index].deadline_ms, deadline_ms);
	return index;
}

static void
free_slot(int index)
{
	if (directory->state[index] == SLOT_PENDING)
		directory->pending--;
	directory->state[index] = SLOT_FREE;
	directory->fingerprint[index] = 0;
	directory->used--;
	cc_wipe(&items[index], sizeof(items[index]));
}

/* True where the slot became free. */
static bool
leave(int index)
{
	Slot	   *slot = &directory->slots[index];

	Assert(slot->waiters > 0);
	slot->waiters--;
	if (slot->waiters > 0 || slot->request.refresh ||
		directory->state[index] == SLOT_INFLIGHT)
		return false;
	free_slot(index);
	return true;
}

static void
copy_answer(int index, ChatcryptKmsJob *job)
{
	const ChatcryptSlotAnswer *answer = &directory->slots[index].answer;
	const ChatcryptSlotRequest *request = &directory->slots[index].request;
	const cc_kms_item *item = &items[index];
	cc_kms_op	op = request->op;

	job->outcome = answer->outcome;
	job->wrong_key = answer->wrong_key;
	job->breaker_open = answer->breaker_open;
	job->held_s = answer->held_s;
	job->wrapped_by = answer->wrapped_by;
	strlcpy(job->error, item->error, CC_KMS_ERROR_MAX);
	if (answer->outcome != CC_KMS_OK)
		return;
	if (op == CC_KMS_GENERATE || (op == CC_KMS_UNWRAP && !request->check_only))
		memcpy(job->dek, item->dek, CC_DEK_LEN);
	if (op != CC_KMS_UNWRAP)
	{
		memcpy(job->wrapped_out, item->wrapped, item->wrapped_len);
		job->wrapped_out_len = item->wrapped_len;
	}
}

/* ---------- backends ---------- */

/* Under the lock: may a session that holds so many slots have another? */
static bool
has_room_for(int held)
{
	return held == 0 || directory->used < CHATCRYPT_SLOTS - CHATCRYPT_RESERVED_SLOTS;
}

/* All in one go, so that the worker sees them as one batch. */
int
chatcrypt_slots_enter_all(cc_kms_op op, const ChatcryptKmsJob *jobs, int njobs,
						  int64 deadline_ms, int held, int *slots)
{
	int			entered = 0;
	int			procno;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	while (entered < njobs && has_room_for(held + entered))
	{
		slots[entered] = enter(op, &jobs[entered], deadline_ms, false);
		if (slots[entered] == CHATCRYPT_NO_SLOT)
			break;
		entered++;
	}
	directory->requests += entered;
	procno = directory->worker_procno;
	LWLockRelease(lock);
	if (entered > 0)
		wake_worker(procno);
	return entered;
}

/* A refresh that finds no room is not made: the next user of the key asks again. */
void
chatcrypt_slots_enter_refresh(const ChatcryptKmsJob *job, int64 deadline_ms)
{
	int			procno;

	if (chatcrypt_heartbeat_is_missing())
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (has_room_for(1) && enter(CC_KMS_UNWRAP, job, deadline_ms, true) != CHATCRYPT_NO_SLOT)
		directory->refreshes++;
	procno = directory->worker_procno;
	LWLockRelease(lock);
	wake_worker(procno);
}

void
chatcrypt_slots_nudge_worker(void)
{
	int			procno;

	if (chatcrypt_heartbeat_silent_ms() < 2 * CHATCRYPT_BEAT_MS)
		return;
	LWLockAcquire(lock, LW_SHARED);
	procno = directory->worker_procno;
	LWLockRelease(lock);
	wake_worker(procno);
}

bool
chatcrypt_slot_is_done(int slot)
{
	bool		done;

	LWLockAcquire(lock, LW_SHARED);
	done = directory->state[slot] == SLOT_DONE;
	LWLockRelease(lock);
	return done;
}

ConditionVariable *
chatcrypt_slot_answered(int slot)
{
	return &directory->slots[slot].answered;
}

ConditionVariable *
chatcrypt_slots_freed(void)
{
	return &directory->freed;
}

/*
 * To all sessions that wait for room, not to one of them: that one may need more slots
 * than there are, or none any more, or be canceled, and then the others would sleep on
 * beside a free slot.
 */
static void
tell_of_room(void)
{
	ConditionVariableBroadcast(&directory->freed);
}

bool
chatcrypt_slot_collect(int slot, ChatcryptKmsJob *job)
{
	bool		done;
	bool		freed = false;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	done = directory->state[slot] == SLOT_DONE;
	if (done)
	{
		copy_answer(slot, job);
		freed = leave(slot);
	}
	LWLockRelease(lock);
	if (freed)
		tell_of_room();
	return done;
}

void
chatcrypt_slot_leave(int slot)
{
	bool		freed;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	freed = leave(slot);
	LWLockRelease(lock);
	if (freed)
		tell_of_room();
}

/* Under the lock. */
static void
note_age(ChatcryptWorkerStatus *status, int slot, int64 now_ms)
{
	int64		age_ms = now_ms - directory->slots[slot].entered_ms;

	if (directory->state[slot] == SLOT_PENDING || directory->state[slot] == SLOT_INFLIGHT)
		status->oldest_ms = Max(status->oldest_ms, age_ms);
}

void
chatcrypt_slots_status(ChatcryptWorkerStatus *status)
{
	int64		now_ms = chatcrypt_clock_ms();

	memset(status, 0, sizeof(*status));
	status->oldest_ms = -1;
	LWLockAcquire(lock, LW_SHARED);
	status->pid = directory->worker_procno == NO_WORKER ? 0 : directory->worker_pid;
	status->started_at = directory->worker_started_at;
	status->requests = directory->requests;
	status->joined = directory->joined;
	status->refreshes = directory->refreshes;
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		status->slots_pending += directory->state[i] == SLOT_PENDING;
		status->slots_inflight += directory->state[i] == SLOT_INFLIGHT;
		status->slots_done += directory->state[i] == SLOT_DONE;
		note_age(status, i, now_ms);
	}
	LWLockRelease(lock);
}

/* ---------- the worker ---------- */

/*
 * Under the lock.  What an earlier worker had taken is pending again: every operation may
 * be asked twice.  Slots that nobody waits for are freed.
 */
static void
take_back(void)
{
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		if (directory->state[i] != SLOT_INFLIGHT)
			continue;
		directory->state[i] = SLOT_PENDING;
		directory->pending++;
		if (directory->slots[i].waiters == 0)
			free_slot(i);
	}
}

void
chatcrypt_slots_attach_worker(void)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	take_back();
	directory->worker_procno = chatcrypt_my_procno();
	directory->worker_pid = MyProcPid;
	directory->worker_started_at = GetCurrentTimestamp();
	LWLockRelease(lock);
	chatcrypt_heartbeat_beat();
	tell_of_room();
}

/*
 * What the worker had taken stays its own until its process is gone, which it is when the
 * next one attaches: a thread of it that the watchdog gave up may still write there.  The
 * next worker is there within a second; until then waiters are bounded by their own
 * timeouts.
 */
void
chatcrypt_slots_detach_worker(void)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	directory->worker_procno = NO_WORKER;
	LWLockRelease(lock);
}

static int
older_first(const void *a, const void *b)
{
	uint64		left = directory->slots[*(const int *) a].sequence;
	uint64		right = directory->slots[*(const int *) b].sequence;

	return left < right ? -1 : left > right;
}

int
chatcrypt_slots_take(int slots[CHATCRYPT_SLOTS])
{
	int			n = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (directory->pending > 0)
	{
		for (int i = 0; i < CHATCRYPT_SLOTS; i++)
		{
			if (directory->state[i] != SLOT_PENDING)
				continue;
			directory->state[i] = SLOT_INFLIGHT;
			slots[n++] = i;
		}
		directory->pending = 0;
	}
	LWLockRelease(lock);
	qsort(slots, n, sizeof(int), older_first);
	return n;
}

const ChatcryptSlotRequest *
chatcrypt_slot_request(int slot)
{
	return &directory->slots[slot].request;
}

cc_kms_item *
chatcrypt_slot_item(int slot)
{
	return &items[slot];
}

bool
chatcrypt_slot_wanted(int slot, int64 *deadline_ms)
{
	bool		wanted;

	LWLockAcquire(lock, LW_SHARED);
	wanted = directory->slots[slot].waiters > 0 || directory->slots[slot].request.refresh;
	*deadline_ms = directory->slots[slot].deadline_ms;
	LWLockRelease(lock);
	return wanted;
}

void
chatcrypt_slot_finish(int slot, const ChatcryptSlotAnswer *answer)
{
	bool		waited_for;

	chatcrypt_heartbeat_beat();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	Assert(directory->state[slot] == SLOT_INFLIGHT);
	waited_for = directory->slots[slot].waiters > 0;
	directory->slots[slot].answer = *answer;
	directory->slots[slot].request.refresh = false;
	directory->fingerprint[slot] = 0;
	directory->state[slot] = SLOT_DONE;
	if (!waited_for)
		free_slot(slot);
	LWLockRelease(lock);

	/* By now the slot may be another's: a wake-up too many does no harm. */
	ConditionVariableBroadcast(waited_for ? &directory->slots[slot].answered : &directory->freed);
}
