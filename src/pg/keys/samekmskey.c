/*
 * samekmskey.c
 *		Compares the KMS key behind a URI with what it wrapped before: see samekmskey.h.
 *
 * The new data key is unwrapped together with an existing one, in one call: if both open, one
 * and the same KMS key wrapped both, whatever happened to files and settings in between.
 *
 * The verdict is "another key" only where the KMS has the key and says of each of up to three
 * data keys that it does not open, because one row may be damaged.  A KMS that denies access,
 * cannot be reached, or has disabled an old version says nothing about which key it has.
 *
 * Lock contract: what was compared is remembered in shared memory, for all sessions, under
 * one LWLock that is held for a few memory accesses.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "core/kdf.h"
#include "kms/providers.h"
#include "pg/access/access.h"
#include "pg/base/keytypes.h"
#include "pg/keys/samekmskey.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

#define SAMPLES		3
#define COMPARED	256			/* after a collision the older one costs another call */

typedef enum Verdict
{
	NOTHING_SAID,
	THE_SAME,
	ANOTHER
} Verdict;

/*
 * The digest of a database and its deployment id (another one after it was dropped and
 * restored), a key URI, and what the worker says of the key behind the URI.  No secret.
 */
typedef struct Compared
{
	uint8		digest[CC_SHA256_LEN];
} Compared;

static Compared *compared;
static LWLock *lock;

void
chatcrypt_samekmskey_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Compared) * COMPARED));
	RequestNamedLWLockTranche("ChatcryptSameKey", 1);
}

void
chatcrypt_samekmskey_startup(void)
{
	bool		found;

	compared = ShmemInitStruct("chatcrypt keys compared", sizeof(Compared) * COMPARED, &found);
	lock = &GetNamedLWLockTranche("ChatcryptSameKey")->lock;
	if (!found)
		memset(compared, 0, sizeof(Compared) * COMPARED);
}

/* ---------- what was compared ---------- */

static Compared
compared_of(const ChatcryptKmsJob *job)
{
	struct
	{
		uint64		wrapped_by;
		Oid			database;
		uint8		deployment_id[CC_ID_LEN];
		char		kms_key[CC_KMS_URI_MAX];
	}			all;
	Compared	key;

	memset(&all, 0, sizeof(all));	/* padding included: it is digested too */
	all.wrapped_by = job->wrapped_by;
	all.database = MyDatabaseId;
	(void) chatcrypt_store_deployment_id(all.deployment_id);
	strlcpy(all.kms_key, job->kms_key, sizeof(all.kms_key));
	cc_sha256(&all, sizeof(all), key.digest);
	return key;
}

static Compared *
place_of(const Compared *key)
{
	uint32		hash;

	memcpy(&hash, key->digest, sizeof(hash));
	return &compared[hash % COMPARED];
}

static bool
was_compared(const Compared *key)
{
	bool		was;

	LWLockAcquire(lock, LW_SHARED);
	was = memcmp(place_of(key), key, sizeof(*key)) == 0;
	LWLockRelease(lock);
	return was;
}

static void
remember(const Compared *key)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	*place_of(key) = *key;
	LWLockRelease(lock);
}

/* ---------- comparing ---------- */

/* Columns: chat_id, purpose, dek_version, kcv, encrypted_dek. */
static void
read_sample(uint64 row, MemoryContext context, ChatcryptKmsJob *job)
{
	ChatcryptPurpose purpose = CHATCRYPT_PURPOSE_DATA;
	bool		isnull;
	bytea	   *wrapped = DatumGetByteaPP(chatcrypt_owner_column(row, 5, &isnull));
	uint8	   *copy = MemoryContextAlloc(context, VARSIZE_ANY_EXHDR(wrapped));

	/* the table's constraints allow no other purpose */
	(void) chatcrypt_keytypes_parse_purpose(TextDatumGetCString(chatcrypt_owner_column(row, 2,
																					   &isnull)),
											&purpose);
	job->id = chatcrypt_keytypes_key_id(DatumGetUUIDP(chatcrypt_owner_column(row, 1,
																			 &isnull))->data,
										purpose,
										(uint32) DatumGetInt32(chatcrypt_owner_column(row, 3,
																					  &isnull)));
	memcpy(job->id.kcv, VARDATA_ANY(DatumGetByteaPP(chatcrypt_owner_column(row, 4, &isnull))),
		   CC_KCV_LEN);
	memcpy(copy, VARDATA_ANY(wrapped), VARSIZE_ANY_EXHDR(wrapped));
	job->wrapped = copy;
	job->wrapped_len = (uint16) VARSIZE_ANY_EXHDR(wrapped);
	job->check_only = true;
	chatcrypt_store_context(&job->id, job->context);
}

/* Reads the newest data keys under a KMS key, and returns their number. */
static int
read_samples(const char *kms_key, ChatcryptKmsJob samples[SAMPLES])
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg args[] = {
		{TEXTOID, CStringGetTextDatum(kms_key), false},
		{INT8OID, Int64GetDatum(SAMPLES), false}
	};
	ChatcryptOwnerScope scope;
	int			count;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	count = (int)
		chatcrypt_owner_execute("SELECT chat_id, purpose, dek_version, kcv, encrypted_dek "
								"FROM chatcrypt.dek "
								"WHERE kms_key = $1 AND state <> 'destroyed' "
								"ORDER BY dek_id DESC "
								"LIMIT $2", args, lengthof(args));
	for (int i = 0; i < count; i++)
	{
		memset(&samples[i], 0, sizeof(samples[i]));
		samples[i].kms_key = kms_key;
		read_sample(i, context, &samples[i]);
	}
	chatcrypt_owner_end(&scope);
	return count;
}

static uint32
version_of(const ChatcryptKmsJob *job)
{
	return cc_kms_provider_for(job->kms_key)->wrapped_version(job->wrapped, job->wrapped_len);
}

/*
 * Leaves only the samples that the given version wrapped, if there are any: one version of a
 * key may be the right one and another not, so samples of other versions say nothing then.
 * Returns the number of samples.
 */
static int
keep_of_version(uint32 version, ChatcryptKmsJob *samples, int count)
{
	int			kept = 0;

	for (int i = 0; i < count; i++)
		if (version_of(&samples[i]) == version)
			samples[kept++] = samples[i];
	return kept > 0 ? kept : count;
}

/*
 * Whether the answer says that the KMS key is not the right one, rather than something about
 * this request.  A missing file of a version says so too; a KMS on the network may miss a key
 * only for a time.
 */
static bool
does_not_open(const ChatcryptKmsJob *job)
{
	return job->wrong_key || job->outcome == CC_KMS_NOT_OPENED ||
		(job->outcome == CC_KMS_NO_KEY && cc_kms_provider_for(job->kms_key)->perform != NULL);
}

static Verdict
verdict_on(const ChatcryptKmsJob *samples, int count)
{
	Verdict		verdict = ANOTHER;

	for (int i = 0; i < count; i++)
	{
		if (samples[i].outcome == CC_KMS_OK)
			return THE_SAME;
		if (!does_not_open(&samples[i]))
			verdict = NOTHING_SAID;
	}
	return verdict;
}

/* jobs[0] is the new data key, the others are samples; mostly the first sample is enough. */
static Verdict
compare(ChatcryptKmsJob *jobs, int nsamples)
{
	Verdict		verdict;

	chatcrypt_requests_run(CC_KMS_UNWRAP, jobs, 2);
	if (does_not_open(&jobs[0]))
		return ANOTHER;			/* the KMS key changed just now */
	if (jobs[0].outcome != CC_KMS_OK)
		return NOTHING_SAID;
	verdict = verdict_on(&jobs[1], 1);
	if (verdict != ANOTHER || nsamples == 1)
		return verdict;
	chatcrypt_requests_run(CC_KMS_UNWRAP, &jobs[2], nsamples - 1);
	return verdict_on(&jobs[1], nsamples);
}

static Verdict
compare_with_samples(const ChatcryptKmsJob *made)
{
	ChatcryptKmsJob jobs[1 + SAMPLES];
	bool		no_snapshot = !ActiveSnapshotSet();
	int			nsamples;

	if (no_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	nsamples = read_samples(made->kms_key, &jobs[1]);
	if (no_snapshot)
		PopActiveSnapshot();
	if (nsamples == 0)
		return NOTHING_SAID;
	jobs[0] = (ChatcryptKmsJob) {
		.id = made->id,
		.kms_key = made->kms_key,
		.wrapped = made->wrapped_out,
		.wrapped_len = made->wrapped_out_len,
		.check_only = true
	};
	memcpy(jobs[0].context, made->context, CC_CONTEXT_LEN);
	return compare(jobs, keep_of_version(version_of(&jobs[0]), &jobs[1], nsamples));
}

/* ---------- what was made ---------- */

typedef struct Judged
{
	const ChatcryptKmsJob *job;
	Verdict		verdict;
} Judged;

static Verdict
judge(const ChatcryptKmsJob *job)
{
	Compared	key = compared_of(job);
	Verdict		verdict;

	if (was_compared(&key))
		return THE_SAME;
	verdict = compare_with_samples(job);
	if (verdict == THE_SAME)
		remember(&key);
	return verdict;
}

/* The verdict on a job; each KMS key among the jobs is judged once. */
static Verdict
verdict_of(List **judged, const ChatcryptKmsJob *job)
{
	ListCell   *cell;
	Judged	   *new;

	foreach(cell, *judged)
	{
		Judged	   *other = lfirst(cell);

		if (other->job->wrapped_by == job->wrapped_by &&
			strcmp(other->job->kms_key, job->kms_key) == 0)
			return other->verdict;
	}
	new = palloc(sizeof(*new));
	*new = (Judged) {job, judge(job)};
	*judged = lappend(*judged, new);
	return new->verdict;
}

void
chatcrypt_samekmskey_check(ChatcryptKmsJob *jobs, int njobs)
{
	List	   *judged = NIL;

	for (int i = 0; i < njobs; i++)
	{
		if (jobs[i].outcome != CC_KMS_OK || verdict_of(&judged, &jobs[i]) != ANOTHER)
			continue;
		jobs[i].outcome = CC_KMS_NOT_OPENED;
		jobs[i].another_key = true;
	}
	list_free_deep(judged);
}

PG_FUNCTION_INFO_V1(chatcrypt_kms_key_opens);

/* doctor_kms_key_opens(kms_key text): NULL where nothing can be said. */
Datum
chatcrypt_kms_key_opens(PG_FUNCTION_ARGS)
{
	ChatcryptKmsJob samples[SAMPLES];
	Verdict		verdict = NOTHING_SAID;
	int			count;

	chatcrypt_rights_require(CHATCRYPT_MAY_AUDIT);
	count = read_samples(text_to_cstring(PG_GETARG_TEXT_PP(0)), samples);
	if (count > 0)
	{
		chatcrypt_requests_run(CC_KMS_UNWRAP, samples, count);
		verdict = verdict_on(samples, count);
	}
	if (verdict == NOTHING_SAID)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(verdict == THE_SAME);
}
