/*
 * warm.c
 *		Unwraps many data keys into the shared cache: see warm.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/cache/keycache.h"
#include "pg/keys/keylookup.h"
#include "pg/keys/warm.h"
#include "pg/keys/wrapping.h"
#include "pg/procedures/progress.h"
#include "pg/service/kmserrors.h"
#include "pg/store/store.h"

#define AT_ONCE		1024		/* four full calls of the largest batch */
#define COLUMNS		6

/* ---------- the KMS ---------- */

static void
note_not_warmed(ChatcryptWarming *warming, const ChatcryptKmsJob *job)
{
	warming->failed++;
	if (warming->not_warmed != NULL)
		warming->not_warmed(warming->arg, job);
}

/*
 * True where the key service of the job failed before: the job then has the same error, without
 * another wait.
 */
static bool
is_out(ChatcryptWarming *warming, const ChatcryptKmsJob *job)
{
	const ChatcryptKmsJob *outage = chatcrypt_work_outage_of(&warming->outages, job->kms_key);
	ChatcryptKmsJob failed = *job;

	if (outage == NULL)
		return false;
	failed.outcome = outage->outcome;
	strlcpy(failed.error, outage->error, sizeof(failed.error));
	note_not_warmed(warming, &failed);
	return true;
}

/* Moves the jobs that can be run to the front, and returns their number. */
static int
leave_out_outages(ChatcryptWarming *warming, ChatcryptKmsJob *jobs, int njobs)
{
	int			kept = 0;

	for (int i = 0; i < njobs; i++)
		if (!is_out(warming, &jobs[i]))
			jobs[kept++] = jobs[i];
	return kept;
}

/* The KMS worker puts the keys into the shared cache; this process does not need them. */
static void
run_jobs(ChatcryptWarming *warming, ChatcryptKmsJob *jobs, int njobs)
{
	njobs = leave_out_outages(warming, jobs, njobs);
	chatcrypt_requests_run(CC_KMS_UNWRAP, jobs, njobs);
	for (int i = 0; i < njobs; i++)
		cc_wipe(jobs[i].dek, CC_DEK_LEN);
	for (int i = 0; i < njobs; i++)
	{
		if (jobs[i].outcome == CC_KMS_OK)
		{
			warming->warmed++;
			continue;
		}
		chatcrypt_work_note_failure(&warming->outages, CC_KMS_UNWRAP, &jobs[i]);
		note_not_warmed(warming, &jobs[i]);
	}
}

/* ---------- some keys ---------- */

static bool
is_cold(const ChatcryptKeyId *id)
{
	bool		stale;

	return !chatcrypt_keycache_touch(id, false, &stale);
}

/* Reads the row of the i-th wanted key; false where no row has a key that could be unwrapped. */
typedef bool (*RowOf) (const void *wanted, int i, ChatcryptDekRow *row);

static void
warm_some(ChatcryptWarming *warming, RowOf row_of, const void *wanted, int first, int count)
{
	ChatcryptKmsJob *jobs = palloc(sizeof(ChatcryptKmsJob) * count);
	ChatcryptDekRow *rows = palloc(sizeof(ChatcryptDekRow) * count);
	int			njobs = 0;

	for (int i = first; i < first + count; i++)
	{
		if (!row_of(wanted, i, &rows[njobs]) || rows[njobs].state == CHATCRYPT_DEK_DESTROYED ||
			!is_cold(&rows[njobs].id))
			continue;
		chatcrypt_keylookup_job(&rows[njobs], &jobs[njobs]);
		njobs++;
	}
	if (njobs > 0)
		run_jobs(warming, jobs, njobs);
}

/* Works in batches, with memory for one batch at a time. */
static void
warm_each(ChatcryptWarming *warming, RowOf row_of, const void *wanted, int count)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt warm",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);

	for (int first = 0; first < count; first += AT_ONCE)
	{
		CHECK_FOR_INTERRUPTS();
		warm_some(warming, row_of, wanted, first, Min(AT_ONCE, count - first));
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

static bool
row_of_chat(const void *wanted, int i, ChatcryptDekRow *row)
{
	const uint8 *chat_id = (const uint8 *) wanted + (Size) i * CC_ID_LEN;
	ChatcryptMode mode;

	chatcrypt_access_require_for_key_use(chat_id);
	return chatcrypt_store_chat_mode(chat_id, &mode) && mode != CHATCRYPT_MODE_E2EE &&
		chatcrypt_store_dek(chat_id, mode == CHATCRYPT_MODE_MANAGED ? CHATCRYPT_PURPOSE_DATA :
							CHATCRYPT_PURPOSE_CONVERSATION, 0, row);
}

void
chatcrypt_warm_chats(ChatcryptWarming *warming, const uint8 *chat_ids, int nchats)
{
	warm_each(warming, row_of_chat, chat_ids, nchats);
}

static bool
row_of_name(const void *wanted, int i, ChatcryptDekRow *row)
{
	const ChatcryptNamedKey *key = (const ChatcryptNamedKey *) wanted + i;

	chatcrypt_access_require_for_key_use(key->chat_id);
	return chatcrypt_store_dek(key->chat_id, key->purpose, key->version, row);
}

static int
compare_names(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(ChatcryptNamedKey));
}

void
chatcrypt_warm_named(ChatcryptWarming *warming, ChatcryptNamedKey *keys, int nkeys)
{
	int			kept = 0;

	qsort(keys, nkeys, sizeof(ChatcryptNamedKey), compare_names);
	for (int i = 0; i < nkeys; i++)
		if (kept == 0 || compare_names(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	warm_each(warming, row_of_name, keys, kept);
}

/* ---------- all keys ---------- */

/* Warms the next page of keys, moves the cursor past it, and returns how many keys it had. */
static int
warm_page(ChatcryptWarming *warming, int64 *cursor)
{
	const ChatcryptWhichKeys all = {{TEXTOID, (Datum) 0, true}, {UUIDOID, (Datum) 0, true},
									{TEXTOID, (Datum) 0, true}};
	ChatcryptPage page;
	int			count;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_wrapping_begin(&page);
	*cursor = chatcrypt_wrapping_read(&page, &all, *cursor, CHATCRYPT_WRAPPING_PAGE);
	PopActiveSnapshot();
	count = page.count;
	for (int i = count - 1; i >= 0; i--)
		if (page.jobs[i].id.purpose == CHATCRYPT_PURPOSE_SEARCH || !is_cold(&page.jobs[i].id))
			chatcrypt_wrapping_leave_out(&page, i);
	chatcrypt_wrapping_point_to_old(&page);
	run_jobs(warming, page.jobs, page.count);
	chatcrypt_work_commit();
	return count;
}

static int64
count_all(void)
{
	const ChatcryptWhichKeys all = {{TEXTOID, (Datum) 0, true}, {UUIDOID, (Datum) 0, true},
									{TEXTOID, (Datum) 0, true}};
	int64		count;

	PushActiveSnapshot(GetTransactionSnapshot());
	count = chatcrypt_wrapping_count_keys(&all);
	PopActiveSnapshot();
	return count;
}

bool
chatcrypt_warm_all(ChatcryptWarming *warming, int64 most_failures)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext page;
	int64		total = count_all();
	int64		done = 0;
	int64		cursor = PG_INT64_MIN;
	int			count = 1;

	if (total > chatcrypt_cache_size)
		return false;
	page = AllocSetContextCreate(outer, "chatcrypt page of keys", ALLOCSET_DEFAULT_SIZES);
	while (count > 0 && warming->failed < most_failures)
	{
		chatcrypt_progress_note("warm keys", NULL, done, total);
		MemoryContextReset(page);
		MemoryContextSwitchTo(page);
		count = warm_page(warming, &cursor);
		done += count;
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(page);
	return true;
}

/* ---------- the function ---------- */

static void
put_not_warmed(void *arg, const ChatcryptKmsJob *job)
{
	ReturnSetInfo *result = arg;
	bool		nulls[COLUMNS] = {false};

	tuplestore_putvalues(result->setResult, result->setDesc, (Datum[]) {
		Int32GetDatum(0),
		UUIDPGetDatum((const pg_uuid_t *) job->id.chat_id),
		CStringGetTextDatum(chatcrypt_keytypes_purpose_text(job->id.purpose)),
		Int32GetDatum((int32) job->id.version),
		CStringGetTextDatum(chatcrypt_kmserror_reason(job, "key service unavailable")),
		CStringGetTextDatum(chatcrypt_kmserror_detail(job))
	}, nulls);
}

static void
put_warmed(ReturnSetInfo *result, int64 warmed)
{
	Datum		values[COLUMNS] = {Int32GetDatum((int32) warmed)};
	bool		nulls[COLUMNS] = {false, true, true, true, true, true};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(chatcrypt_warm_keys);

/* warm_keys(chats any_id[]): how many were unwrapped, and a row for each that was not. */
Datum
chatcrypt_warm_keys(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ChatcryptWarming warming = {
		.outages.context = CurrentMemoryContext,
		.not_warmed = put_not_warmed,
		.arg = result
	};
	int			count;
	ArrayType  *chats = chatcrypt_id_chats_argument(fcinfo, &count);

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	InitMaterializedSRF(fcinfo, 0);
	chatcrypt_warm_chats(&warming, (const uint8 *) ARR_DATA_PTR(chats), count);
	put_warmed(result, warming.warmed);
	return (Datum) 0;
}
