/*
 * wrapping.c
 *		Unwraps, re-wraps and checks data keys page by page: see wrapping.h.
 *
 * Rows are locked when they are written, not before, and without waiting: a row that another
 * transaction is changing, or has changed since it was read, is left as it is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "core/kdf.h"
#include "kms/providers.h"
#include "pg/cache/guarded.h"
#include "pg/cache/keycache.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/samekmskey.h"
#include "pg/keys/wrapping.h"

void
chatcrypt_wrapping_begin(ChatcryptPage *page)
{
	static ChatcryptKmsJob *jobs;

	if (jobs == NULL)
		jobs = chatcrypt_guarded_private(CHATCRYPT_WRAPPING_PAGE * sizeof(ChatcryptKmsJob));
	if (jobs == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the memory for keys")));
	page->jobs = jobs;
	page->rows = palloc(CHATCRYPT_WRAPPING_PAGE * sizeof(ChatcryptWrapped));
	page->count = 0;
	page->failures = palloc(CHATCRYPT_WRAPPING_PAGE * sizeof(ChatcryptFailure));
	page->nfailures = 0;
}

/* ---------- reading ---------- */

/* Copies bytes to a context that outlives the statement. */
static bytea *
copy_bytes(Datum value, MemoryContext context)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	Size		len = VARSIZE_ANY_EXHDR(bytes);
	bytea	   *copy = MemoryContextAlloc(context, VARHDRSZ + len);

	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), VARDATA_ANY(bytes), len);
	return copy;
}

static ChatcryptKeyId
read_id(uint64 row)
{
	ChatcryptPurpose purpose = CHATCRYPT_PURPOSE_DATA;
	ChatcryptKeyId id;
	bool		isnull;

	/* the table's constraints allow no other purpose */
	(void) chatcrypt_keytypes_parse_purpose(TextDatumGetCString(chatcrypt_owner_column(row, 3,
																					   &isnull)),
											&purpose);
	id = chatcrypt_keytypes_key_id(DatumGetUUIDP(chatcrypt_owner_column(row, 2, &isnull))->data,
								   purpose,
								   (uint32) DatumGetInt32(chatcrypt_owner_column(row, 4, &isnull)));
	memcpy(id.kcv, VARDATA_ANY(DatumGetByteaPP(chatcrypt_owner_column(row, 7, &isnull))),
		   CC_KCV_LEN);
	return id;
}

/* Columns: dek_id, chat_id, purpose, dek_version, kms_key, encrypted_dek, kcv. */
static void
read_row(ChatcryptPage *page, uint64 row, MemoryContext context)
{
	ChatcryptWrapped *wrapped = &page->rows[page->count];
	ChatcryptKmsJob *job = &page->jobs[page->count];
	bool		isnull;
	Datum		kms_key;

	memset(wrapped, 0, sizeof(*wrapped));
	memset(job, 0, sizeof(*job));
	wrapped->dek_id = DatumGetInt64(chatcrypt_owner_column(row, 1, &isnull));
	kms_key = chatcrypt_owner_column(row, 5, &isnull);
	wrapped->kms_key = MemoryContextStrdup(context, TextDatumGetCString(kms_key));
	wrapped->old = copy_bytes(chatcrypt_owner_column(row, 6, &isnull), context);
	job->id = read_id(row);
	job->kms_key = wrapped->kms_key;
	chatcrypt_store_context(&job->id, job->context);
	page->count++;
}

/* Arguments 1 to 3 are those of ChatcryptWhichKeys. */
#define WHICH_KEYS \
	"FROM chatcrypt.dek d " \
	"WHERE d.state <> 'destroyed' " \
	"AND ($1 IS NULL OR d.chat_id IN (SELECT c.chat_id " \
	"FROM chatcrypt.chat c " \
	"WHERE c.tenant = $1)) " \
	"AND ($2 IS NULL OR d.chat_id = $2) AND ($3 IS NULL OR d.kms_key = $3) "

int64
chatcrypt_wrapping_read(ChatcryptPage *page, const ChatcryptWhichKeys *which, int64 after,
						int64 limit)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg args[] = {
		which->tenant,
		which->chat_id,
		which->kms_key,
		{INT8OID, Int64GetDatum(after), false},
		{INT8OID, Int64GetDatum(Min(limit, CHATCRYPT_WRAPPING_PAGE)), false}
	};
	ChatcryptOwnerScope scope;
	uint64		epoch = chatcrypt_keycache_epoch();
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT d.dek_id, d.chat_id, d.purpose, d.dek_version, "
									"d.kms_key, d.encrypted_dek, d.kcv "
									WHICH_KEYS "AND d.dek_id > $4 ORDER BY d.dek_id LIMIT $5", args,
									lengthof(args));
	for (uint64 row = 0; row < found; row++)
	{
		read_row(page, row, context);
		page->jobs[page->count - 1].epoch = epoch;
	}
	chatcrypt_owner_end(&scope);
	return found > 0 ? page->rows[page->count - 1].dek_id : after;
}

/* A bigint that a statement computes from the keys. */
static int64
number_of_keys(const char *statement, const ChatcryptWhichKeys *which, bool *isnull)
{
	ChatcryptArg args[] = {which->tenant, which->chat_id, which->kms_key};
	ChatcryptOwnerScope scope;
	int64		number;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute(statement, args, lengthof(args));
	number = DatumGetInt64(chatcrypt_owner_value(isnull));
	chatcrypt_owner_end(&scope);
	return number;
}

int64
chatcrypt_wrapping_count_keys(const ChatcryptWhichKeys *which)
{
	bool		isnull;

	return number_of_keys("SELECT count(*) " WHICH_KEYS, which, &isnull);
}

int64
chatcrypt_wrapping_some_dek_id(const ChatcryptWhichKeys *which)
{
	bool		isnull;
	int64		dek_id = number_of_keys("SELECT min(d.dek_id) + (random() * (max(d.dek_id) - "
										"min(d.dek_id)))::bigint " WHICH_KEYS, which, &isnull);

	return isnull ? PG_INT64_MIN : dek_id;
}

void
chatcrypt_wrapping_leave_out(ChatcryptPage *page, int i)
{
	int			last = --page->count;

	page->rows[i] = page->rows[last];
	page->jobs[i] = page->jobs[last];
	cc_wipe(page->jobs[last].dek, CC_DEK_LEN);
}

/* ---------- the KMS ---------- */

void
chatcrypt_wrapping_point_to_old(ChatcryptPage *page)
{
	for (int i = 0; i < page->count; i++)
	{
		Size		len = VARSIZE(page->rows[i].old) - VARHDRSZ;

		page->jobs[i].wrapped = (const uint8 *) VARDATA(page->rows[i].old);
		page->jobs[i].wrapped_len = (uint16) Min(len,
												 CC_KMS_WRAPPED_MAX + 1);	/* a constraint forbids longer ones */
	}
}

static void
make_room_for_new(ChatcryptPage *page)
{
	uint8	   *room = palloc((Size) Max(page->count, 1) * CC_KMS_WRAPPED_MAX);

	for (int i = 0; i < page->count; i++)
		page->jobs[i].wrapped_out = room + (Size) i * CC_KMS_WRAPPED_MAX;
}

static void
set_failures_aside(ChatcryptPage *page, cc_kms_op op)
{
	for (int i = 0; i < page->count;)
	{
		if (page->jobs[i].outcome == CC_KMS_OK)
		{
			i++;
			continue;
		}
		cc_wipe(page->jobs[i].dek, CC_DEK_LEN);
		page->failures[page->nfailures++] = (ChatcryptFailure) {op, page->jobs[i],
																page->rows[i].dek_id};
		chatcrypt_wrapping_leave_out(page, i);
	}
}

/* Nothing in here may raise once the KMS has answered: there may be keys in the page. */
void
chatcrypt_wrapping_run(ChatcryptPage *page, cc_kms_op op)
{
	chatcrypt_requests_run(op, page->jobs, page->count);
	set_failures_aside(page, op);
}

void
chatcrypt_wrapping_unwrap(ChatcryptPage *page)
{
	make_room_for_new(page);	/* now: nothing may raise between unwrap and wrap */
	chatcrypt_wrapping_point_to_old(page);
	for (int i = 0; i < page->count; i++)
		page->jobs[i].uncached = true;
	chatcrypt_wrapping_run(page, CC_KMS_UNWRAP);
}

/* Where it raises, chatcrypt_requests_run() has wiped the keys. */
void
chatcrypt_wrapping_wrap(ChatcryptPage *page, const char *kms_key)
{
	for (int i = 0; i < page->count; i++)
		page->jobs[i].kms_key = kms_key;
	chatcrypt_wrapping_run(page, CC_KMS_WRAP);
	for (int i = 0; i < page->count; i++)
		cc_wipe(page->jobs[i].dek, CC_DEK_LEN);
	chatcrypt_samekmskey_check(page->jobs, page->count);
	set_failures_aside(page, CC_KMS_WRAP);
}

void
chatcrypt_wrapping_rewrap(ChatcryptPage *page)
{
	make_room_for_new(page);
	chatcrypt_wrapping_point_to_old(page);
	chatcrypt_wrapping_run(page, CC_KMS_REWRAP);
}

void
chatcrypt_wrapping_check(ChatcryptPage *page)
{
	chatcrypt_wrapping_point_to_old(page);
	for (int i = 0; i < page->count; i++)
	{
		ChatcryptKmsJob *job = &page->jobs[i];

		if (job->wrapped_out != NULL)
		{
			job->wrapped = job->wrapped_out;
			job->wrapped_len = job->wrapped_out_len;
		}
		job->fresh = true;
		job->check_only = true;
	}
	chatcrypt_wrapping_run(page, CC_KMS_UNWRAP);
}

uint32
chatcrypt_wrapping_version(const char *kms_key, const bytea *wrapped)
{
	const cc_kms_provider *provider = cc_kms_provider_for(kms_key);

	return provider == NULL ? 0 : provider->wrapped_version((const uint8 *) VARDATA_ANY(wrapped),
															VARSIZE_ANY_EXHDR(wrapped));
}

/*
 * Runs the job of the throw-away key, and wipes the key.  After a wrap, also checks that the
 * right KMS key wrapped it.
 */
static bool
run_trial(cc_kms_op op, ChatcryptKmsJob *job, ChatcryptOutages *outages)
{
	chatcrypt_requests_run(op, job, 1);
	cc_wipe(job->dek, CC_DEK_LEN);
	if (op == CC_KMS_WRAP)
		chatcrypt_samekmskey_check(job, 1);
	if (job->outcome != CC_KMS_OK)
		chatcrypt_work_note_outage(outages, job);
	return job->outcome == CC_KMS_OK;
}

bool
chatcrypt_wrapping_try_kms_key(const char *kms_key, ChatcryptOutages *outages, uint32 *version)
{
	static const uint8 no_chat[CC_ID_LEN];
	uint8		wrapped[CC_KMS_WRAPPED_MAX];
	ChatcryptKmsJob job = {.kms_key = kms_key, .wrapped_out = wrapped, .fresh = true};

	job.id = chatcrypt_keytypes_key_id(no_chat, CHATCRYPT_PURPOSE_DATA, 1);
	if (!pg_strong_random(job.dek, CC_DEK_LEN) ||
		cc_dek_kcv(job.dek, no_chat, 1, job.id.kcv) != CC_OK)
	{
		cc_wipe(job.dek, CC_DEK_LEN);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a key to try the KMS key with")));
	}
	if (!run_trial(CC_KMS_WRAP, &job, outages))
		return false;
	job.wrapped = wrapped;
	job.wrapped_len = job.wrapped_out_len;
	job.check_only = true;
	if (!run_trial(CC_KMS_UNWRAP, &job, outages))
		return false;
	*version = cc_kms_provider_for(kms_key)->wrapped_version(wrapped, job.wrapped_len);
	return true;
}

/* ---------- writing ---------- */

static Datum
array_of(Datum *values, int count, Oid type)
{
	bool		by_value = type == INT8OID && FLOAT8PASSBYVAL;

	return PointerGetDatum(construct_array(values, count, type, type == INT8OID ? 8 : -1, by_value,
										   type == INT8OID ? TYPALIGN_DOUBLE : TYPALIGN_INT));
}

static Datum
new_wrapping_of(const ChatcryptKmsJob *job)
{
	bytea	   *wrapping = palloc(VARHDRSZ + job->wrapped_out_len);

	SET_VARSIZE(wrapping, VARHDRSZ + job->wrapped_out_len);
	memcpy(VARDATA(wrapping), job->wrapped_out, job->wrapped_out_len);
	return PointerGetDatum(wrapping);
}

/* Arguments 2 to 6 of the statement below. */
static void
columns_of(const ChatcryptPage *page, ChatcryptArg args[5])
{
	Datum	   *values = palloc(sizeof(Datum) * 5 * page->count);
	Datum	   *column[5];

	for (int i = 0; i < 5; i++)
		column[i] = values + i * page->count;
	for (int i = 0; i < page->count; i++)
	{
		column[0][i] = Int64GetDatum(page->rows[i].dek_id);
		column[1][i] = PointerGetDatum(page->rows[i].old);
		column[2][i] = new_wrapping_of(&page->jobs[i]);
		column[3][i] = CStringGetTextDatum(page->jobs[i].kms_key);
		column[4][i] = CStringGetTextDatum(page->rows[i].detail);
	}
	args[0] = (ChatcryptArg) {INT8ARRAYOID, array_of(column[0], page->count, INT8OID), false};
	args[1] = (ChatcryptArg) {BYTEAARRAYOID, array_of(column[1], page->count, BYTEAOID), false};
	args[2] = (ChatcryptArg) {BYTEAARRAYOID, array_of(column[2], page->count, BYTEAOID), false};
	args[3] = (ChatcryptArg) {TEXTARRAYOID, array_of(column[3], page->count, TEXTOID), false};
	args[4] = (ChatcryptArg) {TEXTARRAYOID, array_of(column[4], page->count, TEXTOID), false};
}

/*
 * Locks the keys of the page that no other transaction is changing; returns their ids as
 * bigint[].
 */
static ChatcryptArg
lock_free_rows(const ChatcryptArg *dek_ids)
{
	bool		isnull;
	Datum		locked;

	chatcrypt_owner_execute("SELECT array_agg(dek_id) "
							"FROM (SELECT dek_id "
							"FROM chatcrypt.dek "
							"WHERE dek_id = ANY ($1) "
							"ORDER BY dek_id "
							"FOR NO KEY UPDATE SKIP LOCKED) AS free", dek_ids, 1);
	locked = chatcrypt_owner_value(&isnull);
	return (ChatcryptArg) {INT8ARRAYOID, locked, isnull};
}

/*
 * Writes only where the row still has the wrapping that was read: a key that was destroyed
 * meanwhile stays destroyed.
 */
void
chatcrypt_wrapping_write(ChatcryptPage *page, const char *event)
{
	ChatcryptArg args[8];
	ChatcryptOwnerScope scope;

	if (page->count == 0)
		return;
	columns_of(page, &args[1]);
	args[6] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(event), false};
	chatcrypt_owner_begin(&scope);
	args[0] = lock_free_rows(&args[1]);
	args[7] = chatcrypt_owner_caller(&scope);
	page->count = (int)
		chatcrypt_owner_execute("WITH done AS (UPDATE chatcrypt.dek d "
								"SET encrypted_dek = w.new, kms_key = w.kms_key "
								"FROM unnest($2, $3, $4, $5, $6) "
								"AS w (dek_id, old, new, kms_key, detail) "
								"WHERE d.dek_id = w.dek_id AND d.dek_id = ANY ($1) "
								"AND d.encrypted_dek = w.old "
								"RETURNING d.dek_id, d.chat_id, d.purpose, d.dek_version, "
								"d.kms_key, w.detail) "
								"INSERT INTO chatcrypt.key_event (event, chat_id, purpose, "
								"dek_version, kms_key, detail, role) "
								"SELECT $7, chat_id, purpose, dek_version, kms_key, detail, $8 "
								"FROM done "
								"ORDER BY dek_id",
								args, lengthof(args));
	chatcrypt_owner_end(&scope);
}
