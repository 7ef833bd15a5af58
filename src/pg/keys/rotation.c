/*
 * rotation.c
 *		rotate_due() and due_for_rotation(): new data keys for chats whose key is old enough, or
 *		has sealed enough messages.
 *
 * The procedure walks the active keys in the order in which they were made.  For a page of
 * chats the KMS is asked in one go, with nothing locked; then each chat gets its key in a
 * transaction of its own, which locks the chat's row for a few statements.  Sessions that write
 * messages do not wait for that lock.  A chat that another transaction is changing is left for
 * the next call.
 *
 * The messages that count are those created since the key became the active one.  Counting them
 * costs an index scan that stops at the number that makes the key due.  Messages that were
 * re-encrypted with the key do not count, because rotation and re-encryption would otherwise
 * set each other off without end.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/keys/chatkeys.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/service/kmserrors.h"

#define PAGE 256

/*
 * $1 and $2 take the place of the age and the number of messages in the policies; dek_id is
 * above $3 and up to $4; $5 is the limit.
 */
#define DUE \
	"SELECT d.dek_id, c.chat_id, c.tenant, t.kms_key, d.purpose, d.dek_version, d.valid_from, " \
	"sealed.messages, " \
	"CASE WHEN d.valid_from <= now() - policy.age THEN 'age' ELSE 'messages' END AS reason " \
	"FROM chatcrypt.dek d " \
	"JOIN chatcrypt.chat c USING (chat_id) " \
	"JOIN chatcrypt.tenant t USING (tenant) " \
	"CROSS JOIN LATERAL (SELECT coalesce($1, c.rotate_after, t.rotate_after), " \
	"coalesce($2, c.rotate_messages, t.rotate_messages)) AS policy (age, messages) " \
	"CROSS JOIN LATERAL (SELECT count(*) " \
	"FROM (SELECT FROM chatcrypt.sealed_message m " \
	"WHERE policy.messages IS NOT NULL AND m.chat_id = c.chat_id " \
	"AND m.created_at >= d.valid_from " \
	"LIMIT policy.messages) AS counted) AS sealed (messages) " \
	"WHERE d.state = 'active' " \
	"AND d.purpose = " \
	"CASE c.mode WHEN 'managed' THEN 'data' WHEN 'conversation_key' THEN 'conversation' END " \
	"AND (d.valid_from <= now() - policy.age OR sealed.messages >= policy.messages) " \
	"AND d.dek_id > $3 AND d.dek_id <= $4 " \
	"ORDER BY d.dek_id " \
	"LIMIT $5"

/* The arguments that both functions take first. */
typedef struct DueArguments
{
	ChatcryptArg age;
	ChatcryptArg messages;
	int64		max_chats;
} DueArguments;

/* One chat on its way to a new key. */
typedef struct Rotation
{
	ChatcryptNewDek dek;
	const ChatcryptKmsJob *job;
	char	   *kms_key;
	char	   *reason;
	bool		goes_along;		/* rotated with a key that is due; not counted */
	bool		done;
} Rotation;

/* One run of the procedure. */
typedef struct Run
{
	DueArguments due;
	int64		cursor;
	int64		last;
	int64		left;			/* what is left of the limit */
	ChatcryptOutages outages;
	int64		rotated;
	int64		failed;
	int64		done;			/* chats gone through, for the progress */
	int64		total;
} Run;

static void
read_arguments(FunctionCallInfo fcinfo, DueArguments *due)
{
	due->age = (ChatcryptArg) {INTERVALOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)};
	due->messages = (ChatcryptArg) {INT8OID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)};
	due->max_chats = chatcrypt_work_limit_argument(fcinfo, 2, "max_chats");
	if (!PG_ARGISNULL(1) && PG_GETARG_INT64(1) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be positive")));
}

PG_FUNCTION_INFO_V1(chatcrypt_due_for_rotation);

/* due_for_rotation(max_age interval, max_messages bigint, max_chats bigint) */
Datum
chatcrypt_due_for_rotation(PG_FUNCTION_ARGS)
{
	DueArguments due;
	ChatcryptArg args[5];

	chatcrypt_rights_require_steward();
	read_arguments(fcinfo, &due);
	args[0] = due.age;
	args[1] = due.messages;
	args[2] = (ChatcryptArg) {INT8OID, Int64GetDatum(PG_INT64_MIN), false};
	args[3] = (ChatcryptArg) {INT8OID, Int64GetDatum(PG_INT64_MAX), false};
	args[4] = (ChatcryptArg) {INT8OID, Int64GetDatum(due.max_chats), false};
	chatcrypt_owner_return_rows(fcinfo,
								"SELECT chat_id, tenant, dek_version, reason, valid_from, messages "
								"FROM (" DUE ") AS due",
								args, lengthof(args));
	return (Datum) 0;
}

/* ---------- a page ---------- */

/*
 * Copies a row of the page's statement to the context: chat, purpose, newest version, KMS key,
 * reason, whether it goes along.
 */
static void
read_rotation(uint64 row, MemoryContext context, Rotation *rotation)
{
	ChatcryptPurpose purpose;
	bool		isnull;
	Datum		chat_id;
	int32		version;
	Datum		kms_key;
	Datum		reason;

	if (!chatcrypt_keytypes_parse_purpose(TextDatumGetCString(chatcrypt_owner_column(row, 3,
																					 &isnull)),
										  &purpose))
		elog(ERROR, "a key has no purpose");
	memset(rotation, 0, sizeof(*rotation));
	chat_id = chatcrypt_owner_column(row, 2, &isnull);
	version = DatumGetInt32(chatcrypt_owner_column(row, 4, &isnull));
	rotation->dek.id = chatcrypt_keytypes_key_id(DatumGetUUIDP(chat_id)->data, purpose,
												 (uint32) version + 1);
	kms_key = chatcrypt_owner_column(row, 5, &isnull);
	rotation->kms_key = MemoryContextStrdup(context,
											isnull ? chatcrypt_default_kms_key :
											TextDatumGetCString(kms_key));
	reason = chatcrypt_owner_column(row, 6, &isnull);
	rotation->reason = MemoryContextStrdup(context, TextDatumGetCString(reason));
	rotation->goes_along = DatumGetBool(chatcrypt_owner_column(row, 7, &isnull));
}

/*
 * Reads the next chats that are due, and moves the cursor past them.  In a chat of mode
 * conversation_key the key of the files is rotated along with that of the messages, and before
 * it: reencrypt_due() looks at the latter, and must find the former replaced.
 */
static int
next_page(Run *run, Rotation *page)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg args[] = {
		run->due.age,
		run->due.messages,
		{INT8OID, Int64GetDatum(run->cursor), false},
		{INT8OID, Int64GetDatum(run->last), false},
		{INT8OID, Int64GetDatum(Min(run->left, PAGE)), false}
	};
	ChatcryptOwnerScope scope;
	int			count;

	chatcrypt_owner_begin(&scope);
	count = (int) chatcrypt_owner_execute("SELECT due.dek_id, due.chat_id, a.purpose, "
										  "(SELECT max(d.dek_version) "
										  "FROM chatcrypt.dek d "
										  "WHERE d.chat_id = a.chat_id AND d.purpose = a.purpose), "
										  "due.kms_key, due.reason, a.purpose <> due.purpose "
										  "FROM (" DUE ") AS due "
										  "JOIN chatcrypt.dek a ON a.chat_id = due.chat_id "
										  "AND a.state = 'active' "
										  "AND (a.purpose = due.purpose OR a.purpose = 'data') "
										  "ORDER BY due.dek_id, a.purpose = 'conversation'", args,
										  lengthof(args));
	for (int i = 0; i < count; i++)
	{
		bool		isnull;

		read_rotation(i, context, &page[i]);
		run->left -= !page[i].goes_along;
		run->cursor = DatumGetInt64(chatcrypt_owner_column(i, 1, &isnull));
	}
	chatcrypt_owner_end(&scope);
	return count;
}

/*
 * Has the KMS make the keys of all chats whose key service is not out of order.  Moves those
 * chats to the front, and returns their number.
 */
static int
make_keys(Run *run, Rotation *page, int count)
{
	ChatcryptNewDek *deks = palloc(sizeof(ChatcryptNewDek) * Max(count, 1));
	char	  **kms_keys = palloc(sizeof(char *) * Max(count, 1));
	uint8		deployment_id[CC_ID_LEN];
	ChatcryptKmsJob *jobs;
	int			kept = 0;

	for (int i = 0; i < count; i++)
		if (!chatcrypt_work_is_out(&run->outages, page[i].kms_key))
			page[kept++] = page[i];
	run->failed += count - kept;
	run->done += count - kept;
	if (kept == 0 || !chatcrypt_store_deployment_id(deployment_id))
		return 0;
	for (int i = 0; i < kept; i++)
	{
		deks[i] = page[i].dek;
		kms_keys[i] = page[i].kms_key;
	}
	jobs = chatcrypt_newdeks_try_generate(deployment_id, kms_keys, deks, kept);
	for (int i = 0; i < kept; i++)
	{
		page[i].dek = deks[i];
		page[i].job = &jobs[i];
	}
	return kept;
}

/* Raises an error, without waiting, where another transaction has locked the chat. */
static void
lock_free_chat(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.chat "
								"WHERE chat_id = $1 "
								"FOR NO KEY UPDATE SKIP LOCKED", &arg, 1) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("chat %s is being changed by another transaction and keeps its key",
					chatcrypt_id_text(chat_id))));
}

/* A step: gives one chat its new key, unless another session was quicker or shredded the chat. */
static void
install(void *arg)
{
	Rotation   *rotation = arg;
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	lock_free_chat(rotation->dek.id.chat_id);
	rotation->done = chatcrypt_chatkeys_take_over(&scope, &rotation->dek, rotation->kms_key,
												  psprintf("due by %s", rotation->reason));
	chatcrypt_owner_end(&scope);
}

static void
rotate_one(Run *run, Rotation *rotation)
{
	if (rotation->dek.wrapped == NULL)
	{
		chatcrypt_work_note_failure(&run->outages, CC_KMS_GENERATE, rotation->job);
		run->failed++;
	}
	else if (!chatcrypt_work_try(install, rotation))
		run->failed++;
	else
		run->rotated += rotation->done && !rotation->goes_along;
	chatcrypt_work_commit();
	run->done += !rotation->goes_along;
	chatcrypt_progress_note("rotate keys", rotation->dek.id.chat_id, run->done, run->total);
}

/* The number of chats that are due after the cursor, within the limit. */
static int64
count_due(const Run *run)
{
	ChatcryptArg args[] = {
		run->due.age,
		run->due.messages,
		{INT8OID, Int64GetDatum(run->cursor), false},
		{INT8OID, Int64GetDatum(run->last), false},
		{INT8OID, Int64GetDatum(run->left), false}
	};
	ChatcryptOwnerScope scope;
	bool		isnull;
	int64		count;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT count(*) FROM (" DUE ") AS due", args, lengthof(args));
	count = DatumGetInt64(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
	return count;
}

static void
note_total(Run *run, const Rotation *page, int count)
{
	int64		due = 0;

	for (int i = 0; i < count; i++)
		due += !page[i].goes_along;
	run->total = due < PAGE ? due : due + count_due(run);
}

/* False where there was no more to do. */
static bool
rotate_page(Run *run)
{
	Rotation   *page = palloc(sizeof(Rotation) * 2 * PAGE);
	int			due;
	int			count;

	PushActiveSnapshot(GetTransactionSnapshot());
	due = next_page(run, page);
	if (run->total == CHATCRYPT_TOTAL_UNKNOWN)
		note_total(run, page, due);
	PopActiveSnapshot();
	count = make_keys(run, page, due);
	for (int i = 0; i < count; i++)
		rotate_one(run, &page[i]);
	return due > 0 && run->left > 0;
}

/* ---------- the procedure ---------- */

/*
 * The newest key.  Keys that are made later are not looked at, or a run with an age of 0 would
 * never end.
 */
static int64
newest_dek_id(void)
{
	ChatcryptOwnerScope scope;
	bool		isnull;
	int64		newest;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT max(dek_id) FROM chatcrypt.dek", NULL, 0);
	newest = DatumGetInt64(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
	return isnull ? PG_INT64_MIN : newest;
}

PG_FUNCTION_INFO_V1(chatcrypt_rotate_due);

/*
 * rotate_due(max_age interval, max_messages bigint, max_chats bigint, INOUT rotated bigint,
 * INOUT failed bigint)
 */
Datum
chatcrypt_rotate_due(PG_FUNCTION_ARGS)
{
	Run			run = {.cursor = PG_INT64_MIN, .total = CHATCRYPT_TOTAL_UNKNOWN};
	MemoryContext work;
	MemoryContext page;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	read_arguments(fcinfo, &run.due);
	run.left = run.due.max_chats;
	run.last = newest_dek_id();
	chatcrypt_work_begin(fcinfo, "chatcrypt.rotate_due()");
	work = CurrentMemoryContext;
	run.outages.context = work;
	page = AllocSetContextCreate(work, "chatcrypt rotation page", ALLOCSET_DEFAULT_SIZES);
	do
	{
		MemoryContextReset(page);
		MemoryContextSwitchTo(page);
	} while (rotate_page(&run));
	MemoryContextSwitchTo(work);
	chatcrypt_work_report_failures(&run.outages);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.rotated, run.failed}, 2);
}
