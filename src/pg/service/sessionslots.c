/*
 * sessionslots.c
 *		The sessions' side of the request slots: see sessionslots.h.
 *		Not here: the waiting for answers (requests.c).
 */
#include "postgres.h"

#include "storage/latch.h"
#include "storage/proc.h"

#include "pg/base/clock.h"
#include "pg/cache/keycache.h"
#include "pg/service/heartbeat.h"
#include "pg/service/slotdirectory.h"
#include "pg/service/sessionslots.h"

static void
wake_worker(int procno)
{
	chatcrypt_heartbeat_expect();
	if (procno != CHATCRYPT_NO_WORKER)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

/* ---------- under the lock ---------- */

/* Only plain unwraps share a slot: two sessions that wrap or generate need two results. */
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
 * The key's id alone is not enough: a session that verifies a new wrapping must not get the
 * answer for an old one.
 */
static bool
asks_the_same(int slot, const ChatcryptKmsJob *job)
{
	const ChatcryptSlotRequest *request = &chatcrypt_slots->slots[slot].request;
	const cc_kms_item *item = &chatcrypt_slot_items[slot];

	return memcmp(&request->id, &job->id, sizeof(job->id)) == 0 &&
		item->wrapped_len == job->wrapped_len &&
		memcmp(item->context, job->context, CC_CONTEXT_LEN) == 0 &&
		strcmp(request->kms_key, job->kms_key) == 0;
}

/*
 * An item in flight belongs to the worker, and a re-wrap replaces its wrapped key.  It may be
 * read here, because an unwrap, the only operation that is ever joined, leaves it as it is.
 */
static bool
wrapped_the_same(int slot, const ChatcryptKmsJob *job)
{
	return memcmp(chatcrypt_slot_items[slot].wrapped, job->wrapped, job->wrapped_len) == 0;
}

static int
find_same(uint32 fingerprint, const ChatcryptKmsJob *job)
{
	if (fingerprint == 0)
		return CHATCRYPT_NO_SLOT;
	for (int i = 0; i < CHATCRYPT_SLOTS; i++)
	{
		if (chatcrypt_slots->fingerprint[i] == fingerprint &&
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
	uint8	   *state = memchr(chatcrypt_slots->state, CHATCRYPT_SLOT_FREE, CHATCRYPT_SLOTS);
	int			index;
	ChatcryptSlot *slot;

	if (state == NULL)
		return CHATCRYPT_NO_SLOT;
	index = (int) (state - chatcrypt_slots->state);
	slot = &chatcrypt_slots->slots[index];
	memset(&slot->request, 0, sizeof(slot->request));
	slot->request.op = op;
	slot->request.fresh = job->fresh;
	slot->request.uncached = job->uncached || job->check_only || job->unpinned;
	slot->request.check_only = job->check_only;
	slot->request.unpinned = job->unpinned;
	slot->request.epoch = job->epoch != 0 ? job->epoch : chatcrypt_keycache_epoch();
	slot->request.id = job->id;
	strlcpy(slot->request.kms_key, job->kms_key, CC_KMS_URI_MAX);
	fill_item(&chatcrypt_slot_items[index], op, job);
	slot->waiters = 0;
	slot->deadline_ms = 0;
	slot->entered_ms = chatcrypt_clock_ms();
	slot->sequence = ++chatcrypt_slots->sequence;
	chatcrypt_slots->fingerprint[index] = fingerprint;
	chatcrypt_slots->state[index] = CHATCRYPT_SLOT_PENDING;
	chatcrypt_slots->pending++;
	chatcrypt_slots->used++;
	return index;
}

static int
enter(cc_kms_op op, const ChatcryptKmsJob *job, int64 deadline_ms, bool refresh)
{
	uint32		fingerprint = fingerprint_of(op, job);
	int			index = find_same(fingerprint, job);
	ChatcryptSlot *slot;

	if (index != CHATCRYPT_NO_SLOT)
		chatcrypt_slots->joined++;
	else
	{
		index = fill_free_slot(op, job, fingerprint);
		if (index == CHATCRYPT_NO_SLOT)
			return index;
		chatcrypt_slots->slots[index].request.refresh = refresh;
	}
	slot = &chatcrypt_slots->slots[index];
	if (!refresh)
		slot->waiters++;
	slot->deadline_ms = Max(slot->deadline_ms, deadline_ms);
	return index;
}

/* Returns true if this freed the slot. */
static bool
leave(int index)
{
	ChatcryptSlot *slot = &chatcrypt_slots->slots[index];

	Assert(slot->waiters > 0);
	slot->waiters--;
	if (slot->waiters > 0 || slot->request.refresh ||
		chatcrypt_slots->state[index] == CHATCRYPT_SLOT_INFLIGHT)
		return false;
	chatcrypt_slotdirectory_free(index);
	return true;
}

static void
copy_answer(int index, ChatcryptKmsJob *job)
{
	const ChatcryptSlotAnswer *answer = &chatcrypt_slots->slots[index].answer;
	const ChatcryptSlotRequest *request = &chatcrypt_slots->slots[index].request;
	const cc_kms_item *item = &chatcrypt_slot_items[index];
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

/* ---------- sessions ---------- */

/* May a session that holds so many slots have another?  The caller holds the lock. */
static bool
has_room_for(int held)
{
	return held == 0 || chatcrypt_slots->used < CHATCRYPT_SLOTS - CHATCRYPT_RESERVED_SLOTS;
}

/* All are entered under one lock, so that the worker sees them as one batch. */
int
chatcrypt_sessionslots_enter_all(cc_kms_op op, const ChatcryptKmsJob *jobs, int njobs,
								 int64 deadline_ms, int held, int *slots)
{
	int			entered = 0;
	int			procno;

	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	while (entered < njobs && has_room_for(held + entered))
	{
		slots[entered] = enter(op, &jobs[entered], deadline_ms, false);
		if (slots[entered] == CHATCRYPT_NO_SLOT)
			break;
		entered++;
	}
	chatcrypt_slots->requests += entered;
	procno = chatcrypt_slots->worker_procno;
	LWLockRelease(chatcrypt_slots_lock);
	if (entered > 0)
		wake_worker(procno);
	return entered;
}

/* A refresh that finds no room is dropped: the next session that uses the key asks again. */
void
chatcrypt_sessionslots_enter_refresh(const ChatcryptKmsJob *job, int64 deadline_ms)
{
	int			procno;

	if (chatcrypt_heartbeat_is_missing())
		return;
	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	if (has_room_for(1) && enter(CC_KMS_UNWRAP, job, deadline_ms, true) != CHATCRYPT_NO_SLOT)
		chatcrypt_slots->refreshes++;
	procno = chatcrypt_slots->worker_procno;
	LWLockRelease(chatcrypt_slots_lock);
	wake_worker(procno);
}

void
chatcrypt_sessionslots_nudge_worker(void)
{
	int			procno;

	if (chatcrypt_heartbeat_silent_ms() < 2 * CHATCRYPT_BEAT_MS)
		return;
	LWLockAcquire(chatcrypt_slots_lock, LW_SHARED);
	procno = chatcrypt_slots->worker_procno;
	LWLockRelease(chatcrypt_slots_lock);
	wake_worker(procno);
}

bool
chatcrypt_sessionslot_is_done(int slot)
{
	bool		done;

	LWLockAcquire(chatcrypt_slots_lock, LW_SHARED);
	done = chatcrypt_slots->state[slot] == CHATCRYPT_SLOT_DONE;
	LWLockRelease(chatcrypt_slots_lock);
	return done;
}

ConditionVariable *
chatcrypt_sessionslot_answered(int slot)
{
	return &chatcrypt_slots->slots[slot].answered;
}

ConditionVariable *
chatcrypt_sessionslots_freed(void)
{
	return &chatcrypt_slots->freed;
}

bool
chatcrypt_sessionslot_collect(int slot, ChatcryptKmsJob *job)
{
	bool		done;
	bool		freed = false;

	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	done = chatcrypt_slots->state[slot] == CHATCRYPT_SLOT_DONE;
	if (done)
	{
		copy_answer(slot, job);
		freed = leave(slot);
	}
	LWLockRelease(chatcrypt_slots_lock);
	if (freed)
		chatcrypt_slotdirectory_tell_of_room();
	return done;
}

void
chatcrypt_sessionslot_leave(int slot)
{
	bool		freed;

	LWLockAcquire(chatcrypt_slots_lock, LW_EXCLUSIVE);
	freed = leave(slot);
	LWLockRelease(chatcrypt_slots_lock);
	if (freed)
		chatcrypt_slotdirectory_tell_of_room();
}
