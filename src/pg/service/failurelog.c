/*
 * failurelog.c
 *		The hook on the server's log, and the table of failures that were logged within
 *		the last minute: see failurelog.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "kms/retrypolicy.h"
#include "kms/provider.h"
#include "pg/base/clock.h"
#include "pg/service/failurelog.h"

#define PLACES			64
#define REST			PLACES	/* one more place, shared by failures that find no other */

/* Two failures with the same values are logged as one. */
typedef struct Failure
{
	char		kms_key[CC_KMS_URI_MAX];
	int			sqlstate;		/* 0 for no failure */
} Failure;

typedef struct Place
{
	Failure		failure;
	int64		logged_ms;
	uint64		more;			/* failures since then that were not logged */
} Place;

static Place *places;
static LWLock *lock;

static Failure raised;			/* the last one of this process */
static const char one_line[] = "%s: %s%s";
static emit_log_hook_type previous_emit_log_hook;

void
chatcrypt_failurelog_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Place) * (PLACES + 1)));
	RequestNamedLWLockTranche("ChatcryptFailureLog", 1);
}

void
chatcrypt_failurelog_startup(void)
{
	bool		found;

	places = ShmemInitStruct("chatcrypt failure log", sizeof(Place) * (PLACES + 1), &found);
	lock = &GetNamedLWLockTranche("ChatcryptFailureLog")->lock;
	if (!found)
		memset(places, 0, sizeof(Place) * (PLACES + 1));
}

/* ---------- the table ---------- */

static bool
is_quiet(const Place *place, int64 now_ms)
{
	return place->failure.sqlstate != 0 && now_ms - place->logged_ms < CC_LOG_AGAIN_MS;
}

static bool
is_same(const Failure *one, const Failure *other)
{
	return one->sqlstate == other->sqlstate && strcmp(one->kms_key, other->kms_key) == 0;
}

/* A place is free for another failure once its minute is over and its count was logged. */
static Place *
place_for(const Failure *failure, int64 now_ms)
{
	Place	   *place = &places[REST];

	for (int i = 0; i < PLACES; i++)
	{
		if (is_same(&places[i].failure, failure))
			return &places[i];
		if (place == &places[REST] && places[i].more == 0 && !is_quiet(&places[i], now_ms))
			place = &places[i];
	}
	return place;
}

/*
 * Counts a failure.  Returns true if it is to be logged; *more is then the number of failures
 * that were not logged since the last one that was.
 */
static bool
note(const Failure *failure, uint64 *more)
{
	int64		now_ms = chatcrypt_clock_ms();
	Place	   *place;
	bool		is_due;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	place = place_for(failure, now_ms);
	is_due = !is_quiet(place, now_ms);
	if (is_due)
	{
		*more = place->more;
		*place = (Place) {.failure = *failure, .logged_ms = now_ms};
	}
	else
		place->more++;
	LWLockRelease(lock);
	return is_due;
}

/* Copies a place whose minute is over and whose count is not logged yet; false for others. */
static bool
take_due(int i, Place *taken)
{
	int64		now_ms = chatcrypt_clock_ms();

	LWLockAcquire(lock, LW_EXCLUSIVE);
	*taken = places[i];
	if (taken->more > 0 && !is_quiet(taken, now_ms))
	{
		places[i].more = 0;
		places[i].logged_ms = now_ms;
	}
	else
		taken->more = 0;
	LWLockRelease(lock);
	return taken->more > 0;
}

void
chatcrypt_failurelog_tell(void)
{
	Place		place;

	for (int i = 0; i <= PLACES; i++)
	{
		const char *others = i == REST ? " and others" : "";

		if (take_due(i, &place))
			ereport(LOG,
					(errcode(place.failure.sqlstate),
					 errmsg("requests with \"%s\"%s failed " UINT64_FORMAT " more times (SQLSTATE %s%s)",
							place.failure.kms_key, others, place.more,
							unpack_sql_state(place.failure.sqlstate), others)));
	}
}

/* ---------- the hook ---------- */

void
chatcrypt_failurelog_expect(const char *kms_key, int sqlstate)
{
	strlcpy(raised.kms_key, kms_key, CC_KMS_URI_MAX);
	raised.sqlstate = sqlstate;
}

static bool
is_failure(const ErrorData *error)
{
	return error->elevel == ERROR && error->funcname != NULL &&
		strncmp(error->funcname, CHATCRYPT_RAISES_FAILURES, strlen(CHATCRYPT_RAISES_FAILURES)) == 0;
}

/*
 * The leader of a parallel query raises an error of its worker again, which the worker has
 * logged already.  Only such a copy of an error has no message_id.
 */
static bool
is_of_parallel_worker(const ErrorData *error)
{
	return error->message_id == NULL;
}

static const char *
count_of(uint64 more)
{
	return more == 0 ? "" : psprintf(" (" UINT64_FORMAT " more were not logged)", more);
}

/*
 * The hook may keep an entry out of the log, but must not change it, because the client
 * receives the same entry afterwards.  So the line is an entry of its own.  It is reported as
 * LOG_SERVER_ONLY, so that ereport() returns and sends it to no client, and edit_log(), which
 * is called for it too, turns it into an ERROR.  Interrupts are held off, because ereport()
 * would process them in the middle of another report.
 */
static void
write_line(const ErrorData *error, uint64 more)
{
	HOLD_INTERRUPTS();
	ereport(LOG_SERVER_ONLY,
			(errcode(error->sqlerrcode),
			 errmsg_internal(one_line, error->message, error->detail, count_of(more)),
			 errhidestmt(true),
			 errhidecontext(true)));
	RESUME_INTERRUPTS();
}

static void
log_in_one_line(const ErrorData *error)
{
	uint64		more = 0;

	/* An error that was caught and is raised again after a later one is logged uncounted. */
	if (raised.sqlstate != error->sqlerrcode || note(&raised, &more))
		write_line(error, more);
}

void
chatcrypt_failurelog_tell_caught(const ErrorData *error, const char *words)
{
	uint64		more = 0;

	if (is_failure(error) && raised.sqlstate == error->sqlerrcode && !note(&raised, &more))
		return;
	ereport(LOG_SERVER_ONLY,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s%s", words, count_of(more)),
			 errhidestmt(true),
			 errhidecontext(true)));
}

static void
edit_log(ErrorData *error)
{
	if (previous_emit_log_hook)
		previous_emit_log_hook(error);
	if (error->message_id == one_line)
		error->elevel = ERROR;
	else if (error->output_to_server && is_failure(error))
	{
		if (!is_of_parallel_worker(error))
			log_in_one_line(error);
		error->output_to_server = false;
	}
}

void
chatcrypt_failurelog_install_hooks(void)
{
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = edit_log;
}
