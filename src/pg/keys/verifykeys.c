/*
 * verifykeys.c
 *		verify_keys(): checks that every data key still unwraps to what it was.
 *
 * Each wrapped key is sent to its KMS, whatever caches and earlier failures say, and what comes
 * back is compared with the row's key check value in the KMS worker: no key is given to this
 * process, and the key cache stays as it is.  A key that could not be sent to its KMS is listed
 * too, since it was not verified.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/history/events.h"
#include "pg/keys/wrapping.h"
#include "pg/procedures/progress.h"
#include "pg/service/kmserrors.h"
#include "pg/store/store.h"

#define COLUMNS 6

static const char *const not_checked = "not checked";

typedef struct Verification
{
	ReturnSetInfo *result;
	ChatcryptWhichKeys which;
	ChatcryptOutages outages;
	int64		left;			/* what is left of the limit */
	int64		total;			/* for the progress */
	int64		done;
	bool		records;		/* failures go into the history: not on a standby */
} Verification;

static void
record(const ChatcryptKmsJob *job)
{
	ChatcryptEvent event = {
		.event = "unwrap_failed",
		.chat_id = job->id.chat_id,
		.purpose = chatcrypt_keytypes_purpose_text(job->id.purpose),
		.dek_version = job->id.version,
		.kms_key = job->kms_key,
		.detail = psprintf("%s: %s", chatcrypt_kmserror_reason(job, not_checked),
						   chatcrypt_kmserror_detail(job))
	};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
}

static void
report(Verification *verification, const ChatcryptKmsJob *job)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	values[0] = CStringGetTextDatum(job->kms_key);
	values[1] = UUIDPGetDatum((const pg_uuid_t *) job->id.chat_id);
	values[2] = CStringGetTextDatum(chatcrypt_keytypes_purpose_text(job->id.purpose));
	values[3] = Int32GetDatum((int32) job->id.version);
	values[4] = CStringGetTextDatum(chatcrypt_kmserror_reason(job, not_checked));
	values[5] = CStringGetTextDatum(chatcrypt_kmserror_detail(job));
	tuplestore_putvalues(verification->result->setResult, verification->result->setDesc, values,
						 nulls);
	if (verification->records && (job->wrong_key || cc_kms_outcome_is_of_item(job->outcome)))
		record(job);
}

/* ---------- a page ---------- */

/*
 * Keys of a key service that failed before are reported with the same error, without another
 * wait.
 */
static void
pass_over_outages(Verification *verification, ChatcryptPage *page)
{
	for (int i = page->count - 1; i >= 0; i--)
	{
		const ChatcryptKmsJob *outage = chatcrypt_work_outage_of(&verification->outages,
															 page->jobs[i].kms_key);
		ChatcryptKmsJob failed = page->jobs[i];

		if (outage == NULL)
			continue;
		failed.outcome = outage->outcome;
		strlcpy(failed.error, outage->error, sizeof(failed.error));
		report(verification, &failed);
		chatcrypt_wrapping_leave_out(page, i);
	}
}

static void
note_progress(const Verification *verification)
{
	chatcrypt_progress_note("verify keys", NULL, verification->done, verification->total);
}

/* Verifies the next page of the keys up to a dek_id; false where there are no more. */
static bool
verify_page(Verification *verification, int64 *after, int64 up_to)
{
	ChatcryptPage page;
	bool		more;

	if (verification->left == 0)
		return false;
	chatcrypt_wrapping_begin(&page);
	*after = chatcrypt_wrapping_read(&page, &verification->which, *after, verification->left);
	more = page.count > 0 && *after < up_to;
	for (int i = page.count - 1; i >= 0; i--)
		if (page.rows[i].dek_id > up_to)
			chatcrypt_wrapping_leave_out(&page, i);
	verification->left -= page.count;
	verification->done += page.count;
	pass_over_outages(verification, &page);
	chatcrypt_wrapping_check(&page);
	for (int i = 0; i < page.nfailures; i++)
	{
		chatcrypt_work_note_failure(&verification->outages, page.failures[i].op,
									&page.failures[i].job);
		report(verification, &page.failures[i].job);
	}
	note_progress(verification);
	return more;
}

static void
verify_range(Verification *verification, int64 after, int64 up_to)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext page = AllocSetContextCreate(outer, "chatcrypt page of keys",
											   ALLOCSET_DEFAULT_SIZES);

	do
	{
		MemoryContextReset(page);
		MemoryContextSwitchTo(page);
		CHECK_FOR_INTERRUPTS();
	} while (verify_page(verification, &after, up_to));
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(page);
}

/* Verifies all keys or, under a limit, a sample that begins at a random key each time. */
static void
verify_all_ranges(Verification *verification, bool all)
{
	const int64 start = all ? PG_INT64_MIN : chatcrypt_wrapping_some_dek_id(&verification->which);

	PG_TRY();
	{
		verify_range(verification, start, PG_INT64_MAX);
		verify_range(verification, PG_INT64_MIN, start);
	}
	PG_FINALLY();
	{
		chatcrypt_progress_end();	/* the transaction may go on after an error */
	}
	PG_END_TRY();
}

/* ---------- the function ---------- */

PG_FUNCTION_INFO_V1(chatcrypt_verify_keys);

/*
 * verify_keys(tenant text, kms_key text, max_keys bigint): a row for each key that is not what
 * it was
 */
Datum
chatcrypt_verify_keys(PG_FUNCTION_ARGS)
{
	Verification verification = {
		.result = (ReturnSetInfo *) fcinfo->resultinfo,
		.which = {
			.tenant = {TEXTOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
			.chat_id = {UUIDOID, (Datum) 0, true},
			.kms_key = {TEXTOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}
		},
		.outages.context = CurrentMemoryContext,
		.records = !XactReadOnly
	};

	chatcrypt_rights_require_steward();
	verification.left = chatcrypt_work_limit_argument(fcinfo, 2, "max_keys");
	InitMaterializedSRF(fcinfo, 0);
	verification.total = Min(chatcrypt_wrapping_count_keys(&verification.which), verification.left);
	note_progress(&verification);
	verify_all_ranges(&verification, PG_ARGISNULL(2));
	return (Datum) 0;
}
