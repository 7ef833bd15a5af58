/*
 * requests.c
 *		A session's side of a request to the KMS worker: fill slots, sleep, collect.
 *		Not here: what is in shared memory (sessionslots.c) and the calls to the KMS (worker/).
 *
 * Many jobs are sent in waves of the size that the provider takes in one call, so that
 * each wave becomes one call.  A session holds at most WINDOW slots, so that others find
 * room.  It waits for a free slot only while it holds none, and so never waits for itself.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "kms/providers.h"
#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/service/failurelog.h"
#include "pg/service/heartbeat.h"
#include "pg/service/kmsstats.h"
#include "pg/service/requests.h"
#include "pg/service/slotdirectory.h"
#include "pg/service/sessionslots.h"
#include "pg/service/waits.h"

#define WINDOW	(CHATCRYPT_SLOTS / 2)

/* The worker answers at the deadline at the latest; after this much more, it will not answer. */
#define GRACE_MS 300

typedef struct HeldSlot
{
	int			slot;
	int			job;
	int64		give_up_ms;
} HeldSlot;

typedef struct Run
{
	cc_kms_op	op;
	ChatcryptKmsJob *jobs;
	int			njobs;
	int			next;			/* the first job without a slot */
	int			wave;
	int64		started_us;		/* 0 before the first request */
	int			nheld;
	HeldSlot	held[WINDOW];	/* oldest first */
} Run;

static uint32 wait_event;

void
chatcrypt_requests_request(void)
{
	chatcrypt_slotdirectory_request();
	chatcrypt_heartbeat_request();
	chatcrypt_waits_request();
	chatcrypt_failurelog_request();
	chatcrypt_kmsstats_request();
}

void
chatcrypt_requests_startup(void)
{
	chatcrypt_slotdirectory_startup();
	chatcrypt_heartbeat_startup();
	chatcrypt_waits_startup();
	chatcrypt_failurelog_startup();
	chatcrypt_kmsstats_startup();
}

static void
check_job(cc_kms_op op, const ChatcryptKmsJob *job)
{
	if (job->kms_key == NULL || strlen(job->kms_key) >= CC_KMS_URI_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key URI is longer than %d bytes", CC_KMS_URI_MAX - 1)));
	if ((op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP) &&
		(job->wrapped == NULL || job->wrapped_len == 0 || job->wrapped_len > CC_KMS_WRAPPED_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a wrapped data key cannot have %u bytes", job->wrapped_len)));
}

static void
check_server(void)
{
	if (!IsUnderPostmaster)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a single-user server has no KMS worker"),
				 errhint("Start the server normally to use encrypted data.")));
}

/* Calls of kms_check() are not counted: they say nothing about the waits of sessions. */
static void
note_wait(const Run *run, ChatcryptWaitEnd end)
{
	if (run->started_us != 0 && !run->jobs[0].fresh)
		chatcrypt_waits_note(end, chatcrypt_clock_us() - run->started_us);
}

/* How the wait ended: the worst outcome of all jobs. */
static ChatcryptWaitEnd
end_of(const Run *run)
{
	ChatcryptWaitEnd end = CHATCRYPT_WAIT_ANSWERED;

	for (int i = 0; i < run->njobs; i++)
	{
		const ChatcryptKmsJob *job = &run->jobs[i];

		if (job->breaker_open || job->worker_silent || job->held_s > 0)
			end = CHATCRYPT_WAIT_REFUSED;
		else if (job->outcome == CC_KMS_TIMEOUT)
			return CHATCRYPT_WAIT_TIMEOUT;
		else if (job->outcome != CC_KMS_OK && end == CHATCRYPT_WAIT_ANSWERED)
			end = CHATCRYPT_WAIT_FAILED;
	}
	return end;
}

/* A callback, so that it runs at a FATAL too. */
static void
abandon(int code, Datum arg)
{
	Run		   *run = (Run *) DatumGetPointer(arg);

	(void) code;
	note_wait(run, CHATCRYPT_WAIT_CANCELED);
	while (run->nheld > 0)
		chatcrypt_sessionslot_leave(run->held[--run->nheld].slot);
	for (int i = 0; i < run->njobs; i++)
		cc_wipe(run->jobs[i].dek, CC_DEK_LEN);
}

static void
fail(ChatcryptKmsJob *job, const char *error)
{
	job->outcome = CC_KMS_TIMEOUT;
	strlcpy(job->error, error, CC_KMS_ERROR_MAX);
}

static const char *
why_no_answer(void)
{
	ChatcryptWorkerStatus status;

	chatcrypt_slotdirectory_status(&status);
	if (status.pid == 0)
		return "the chatcrypt KMS worker is not running";
	if (chatcrypt_heartbeat_is_missing())
		return psprintf("the chatcrypt KMS worker has not moved for %d s",
						(int) (chatcrypt_heartbeat_silent_ms() / 1000));
	return "no answer within chatcrypt.kms_timeout";
}

/* Refuses the remaining jobs at once if the worker hangs, instead of waiting for it. */
static void
refuse_where_silent(Run *run)
{
	const char *error;

	if (run->next == run->njobs || !chatcrypt_heartbeat_is_missing())
		return;
	error = why_no_answer();
	while (run->next < run->njobs)
	{
		run->jobs[run->next].worker_silent = true;
		fail(&run->jobs[run->next++], error);
	}
}

/* Sends waves as large as one call of the provider; only the last wave may be smaller. */
static void
fill(Run *run)
{
	int			slots[CC_KMS_BATCH_MAX];
	int64		now = chatcrypt_clock_ms();
	int64		deadline = now + chatcrypt_kms_timeout;

	refuse_where_silent(run);
	while (run->next < run->njobs)
	{
		int			wanted = Min(run->wave, run->njobs - run->next);
		int			entered;

		if (run->nheld + wanted > WINDOW)
			return;
		entered = chatcrypt_sessionslots_enter_all(run->op, &run->jobs[run->next], wanted,
												   deadline, run->nheld, slots);
		for (int i = 0; i < entered; i++)
			run->held[run->nheld++] = (HeldSlot) {
				.slot = slots[i],
				.job = run->next++,
				.give_up_ms = deadline + GRACE_MS,
			};
		if (entered < wanted)
			return;
	}
}

/* Sleeps until there is a free slot, or fails one job. */
static void
wait_for_room(Run *run)
{
	int64		give_up_ms = chatcrypt_clock_ms() + chatcrypt_kms_timeout;

	ConditionVariablePrepareToSleep(chatcrypt_sessionslots_freed());
	for (;;)
	{
		int64		left = give_up_ms - chatcrypt_clock_ms();

		fill(run);
		if (run->nheld > 0 || run->next == run->njobs)
			break;
		chatcrypt_sessionslots_nudge_worker();
		if (left <= 0)
		{
			fail(&run->jobs[run->next++], "all request slots were busy for chatcrypt.kms_timeout");
			break;
		}
		ConditionVariableTimedSleep(chatcrypt_sessionslots_freed(), Min(left, CHATCRYPT_BEAT_MS),
									chatcrypt_wait_event(&wait_event, "ChatcryptKms"));
	}
	ConditionVariableCancelSleep();
}

/* Sleeps until the oldest slot is done, or until it is time to give it up. */
static void
wait_for_answer(const HeldSlot *held)
{
	ConditionVariable *answered = chatcrypt_sessionslot_answered(held->slot);
	int64		left;

	ConditionVariablePrepareToSleep(answered);
	while (!chatcrypt_sessionslot_is_done(held->slot) &&
		   (left = held->give_up_ms - chatcrypt_clock_ms()) > 0)
	{
		ConditionVariableTimedSleep(answered, Min(left, CHATCRYPT_BEAT_MS),
									chatcrypt_wait_event(&wait_event, "ChatcryptKms"));
		chatcrypt_sessionslots_nudge_worker();
	}
	ConditionVariableCancelSleep();
}

/* Collects the slots that are done, and gives up those that are too late. */
static void
collect(Run *run)
{
	int64		now = chatcrypt_clock_ms();
	int			kept = 0;

	for (int i = 0; i < run->nheld; i++)
	{
		HeldSlot	held = run->held[i];

		if (chatcrypt_sessionslot_collect(held.slot, &run->jobs[held.job]))
			continue;
		if (now < held.give_up_ms)
		{
			run->held[kept++] = held;
			continue;
		}
		fail(&run->jobs[held.job], why_no_answer());
		chatcrypt_sessionslot_leave(held.slot);
	}
	run->nheld = kept;
}

static int
wave_of(cc_kms_op op, const ChatcryptKmsJob *job)
{
	const cc_kms_provider *provider = cc_kms_provider_for(job->kms_key);

	return provider == NULL ? 1 : cc_kms_batch_max(provider, op);
}

static void
run_all(Run *run)
{
	check_server();
	for (int i = 0; i < run->njobs; i++)
		check_job(run->op, &run->jobs[i]);
	run->wave = wave_of(run->op, &run->jobs[0]);
	run->started_us = chatcrypt_clock_us();

	while (run->next < run->njobs || run->nheld > 0)
	{
		fill(run);
		if (run->nheld == 0 && run->next < run->njobs)
			wait_for_room(run);
		if (run->nheld > 0)
			wait_for_answer(&run->held[0]);
		collect(run);
	}
}

void
chatcrypt_requests_run(cc_kms_op op, ChatcryptKmsJob *jobs, int njobs)
{
	Run		   *run;

	if (njobs <= 0)
		return;
	run = palloc_extended(sizeof(Run), MCXT_ALLOC_NO_OOM);
	if (run == NULL)
	{
		/* The jobs may hold data keys that were to be wrapped. */
		for (int i = 0; i < njobs; i++)
			cc_wipe(jobs[i].dek, CC_DEK_LEN);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	run->op = op;
	run->jobs = jobs;
	run->njobs = njobs;
	run->next = 0;
	run->started_us = 0;
	run->nheld = 0;
	for (int i = 0; i < njobs; i++)
		jobs[i].worker_silent = false;

	PG_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(run));
	{
		run_all(run);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(run));
	note_wait(run, end_of(run));
	pfree(run);
}

void
chatcrypt_requests_refresh(const ChatcryptKmsJob *job)
{
	if (!IsUnderPostmaster)
		return;
	check_job(CC_KMS_UNWRAP, job);
	chatcrypt_sessionslots_enter_refresh(job, chatcrypt_clock_ms() + chatcrypt_kms_timeout);
}
