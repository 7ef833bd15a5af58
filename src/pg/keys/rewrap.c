/*
 * rewrap.c
 *		rewrap() and move_kms_key(): put data keys under a new version of their KMS key, or
 *		under another KMS key.
 *
 * Both walk the table by dek_id, a page at a time, and commit after each page.  A call that was
 * interrupted can be repeated: keys that are done are recognized (by the version in the
 * wrapping; by the URI of the KMS key) and passed over.  A new wrapping takes the place of the
 * old one only after the KMS has unwrapped it to the right key: see wrapping.h.  The data keys
 * themselves stay as they are, and so do caches, sessions and messages.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/settings.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/tenantkeys.h"
#include "pg/keys/wrapping.h"
#include "pg/procedures/progress.h"

/* The version that a KMS key wraps with now, as it was when this run first met the key. */
typedef struct Newest
{
	const char *kms_key;
	uint32		version;
} Newest;

typedef struct Run
{
	ChatcryptWhichKeys which;
	const char *move_to;		/* NULL: re-wrap */
	MemoryContext context;		/* for what outlives a page */
	ChatcryptOutages outages;
	List	   *newest;
	int64		cursor;
	int64		limit;
	int64		left;			/* what is left of the limit */
	int64		done;
	int64		failed;
	int64		busy;			/* failed because another transaction was changing them */
	int64		looked_at;		/* for the progress */
	int64		total;
} Run;

/* ---------- what is to be done ---------- */

static bool
newest_version(Run *run, const char *kms_key, uint32 *version)
{
	ListCell   *cell;
	MemoryContext previous;
	Newest	   *found;

	foreach(cell, run->newest)
	{
		found = lfirst(cell);
		if (strcmp(found->kms_key, kms_key) == 0)
		{
			*version = found->version;
			return true;
		}
	}
	if (chatcrypt_work_is_out(&run->outages, kms_key) ||
		!chatcrypt_wrapping_try_kms_key(kms_key, &run->outages, version))
		return false;
	previous = MemoryContextSwitchTo(run->context);
	found = palloc(sizeof(Newest));
	*found = (Newest) {pstrdup(kms_key), *version};
	run->newest = lappend(run->newest, found);
	MemoryContextSwitchTo(previous);
	return true;
}

/*
 * Whether the row's wrapping is, or may be, older than the newest version of its KMS key.  It
 * may be where a version is not known.
 */
static bool
wants_rewrap(Run *run, ChatcryptWrapped *row)
{
	uint32		newest;
	uint32		version = chatcrypt_wrapping_version(row->kms_key, row->old);

	if (!newest_version(run, row->kms_key, &newest))
	{
		run->failed++;
		return false;
	}
	if (version != 0 && newest != 0 && version >= newest)
		return false;
	row->detail = version == 0 || newest == 0 ? "" :
		psprintf("from version %u to %u", version, newest);
	return true;
}

static bool
wants_move(Run *run, ChatcryptWrapped *row)
{
	if (chatcrypt_work_is_out(&run->outages, row->kms_key) ||
		chatcrypt_work_is_out(&run->outages, run->move_to))
	{
		run->failed++;
		return false;
	}
	row->detail = psprintf("from %s", row->kms_key);
	return true;
}

/* Leaves out the keys that are done already, and those beyond the limit. */
static void
choose(Run *run, ChatcryptPage *page)
{
	for (int i = 0; i < page->count; i++)
	{
		ChatcryptWrapped *row = &page->rows[i];

		if (run->left > 0 && (run->move_to != NULL ? wants_move(run, row) : wants_rewrap(run, row)))
			run->left--;
		else
			row->detail = NULL;
	}
	for (int i = page->count - 1; i >= 0; i--)
		if (page->rows[i].detail == NULL)
			chatcrypt_wrapping_leave_out(page, i);
}

/* ---------- a page ---------- */

static void
read_page(Run *run, ChatcryptPage *page)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_wrapping_begin(page);
	run->cursor = chatcrypt_wrapping_read(page, &run->which, run->cursor, CHATCRYPT_WRAPPING_PAGE);
	PopActiveSnapshot();
}

static void
ask_kms(Run *run, ChatcryptPage *page)
{
	if (run->move_to == NULL)
		chatcrypt_wrapping_rewrap(page);
	else
	{
		chatcrypt_wrapping_unwrap(page);
		chatcrypt_wrapping_wrap(page, run->move_to);
	}
	chatcrypt_wrapping_check(page);
}

typedef struct Write
{
	ChatcryptPage *page;
	const char *event;
} Write;

static void
write_page(void *arg)
{
	Write	   *write = arg;

	chatcrypt_wrapping_write(write->page, write->event);
}

/*
 * A key that another transaction has locked, or has changed since it was read, is left alone:
 * the next call looks at it again.
 */
static void
write_checked(Run *run, ChatcryptPage *page)
{
	Write		write = {page, run->move_to == NULL ? "rewrap" : "move"};
	int			checked = page->count;
	int			written = chatcrypt_work_try(write_page, &write) ? page->count : 0;

	run->done += written;
	run->failed += checked - written;
	run->busy += checked - written;
}

/* Under a limit, the progress counts only the keys that the limit allows. */
static void
note_progress(const Run *run)
{
	int64		of_limit = run->limit - run->left;

	chatcrypt_progress_note(run->move_to != NULL ? "move keys" : "re-wrap keys", NULL,
							run->limit < run->total ? of_limit : run->looked_at,
							Min(run->total, run->limit));
}

/* False where that was the last page. */
static bool
do_page(Run *run)
{
	ChatcryptPage page;
	bool		last;

	read_page(run, &page);
	last = page.count < CHATCRYPT_WRAPPING_PAGE;
	run->looked_at += page.count;
	choose(run, &page);
	ask_kms(run, &page);
	write_checked(run, &page);
	run->failed += page.nfailures;
	for (int i = 0; i < page.nfailures; i++)
		chatcrypt_work_note_failure(&run->outages, page.failures[i].op, &page.failures[i].job);
	chatcrypt_work_commit();
	note_progress(run);
	return !last && run->left > 0;
}

/* Counts the keys to look at, for the progress. */
static void
count_keys(Run *run)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	run->total = chatcrypt_wrapping_count_keys(&run->which);
	PopActiveSnapshot();
	note_progress(run);
}

static void
report(Run *run)
{
	chatcrypt_work_report_failures(&run->outages);
	if (run->busy > 0)
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg(INT64_FORMAT " keys were being changed by other transactions and are left as they are",
						run->busy),
				 errhint("Call the procedure again.")));
}

static void
do_all(Run *run)
{
	MemoryContext page = AllocSetContextCreate(run->context, "chatcrypt page of keys",
											   ALLOCSET_DEFAULT_SIZES);

	run->cursor = PG_INT64_MIN;
	count_keys(run);
	do
	{
		MemoryContextReset(page);
		MemoryContextSwitchTo(page);
	} while (do_page(run));
	MemoryContextSwitchTo(run->context);
	report(run);
	chatcrypt_progress_end();
}

/* ---------- the procedures ---------- */

static void
start(FunctionCallInfo fcinfo, Run *run, int max_keys, const char *name)
{
	run->limit = chatcrypt_work_limit_argument(fcinfo, max_keys, "max_keys");
	run->left = run->limit;
	chatcrypt_work_begin(fcinfo, name);
	run->context = CurrentMemoryContext;
	run->outages.context = CurrentMemoryContext;
}

static void
check_tenant(const ChatcryptArg *tenant)
{
	ChatcryptOwnerScope scope;
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT FROM chatcrypt.tenant "
									"WHERE tenant = $1", tenant, 1);
	chatcrypt_owner_end(&scope);
	if (found == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tenant \"%s\" does not exist", TextDatumGetCString(tenant->value))));
}

static void
which_to_rewrap(FunctionCallInfo fcinfo, ChatcryptWhichKeys *which)
{
	ChatcryptMode mode;

	which->tenant = (ChatcryptArg) {TEXTOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)};
	which->chat_id = (ChatcryptArg) {UUIDOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)};
	which->kms_key = (ChatcryptArg) {TEXTOID, PG_GETARG_DATUM(2), PG_ARGISNULL(2)};
	if (!PG_ARGISNULL(0))
		check_tenant(&which->tenant);
	if (!PG_ARGISNULL(1) && !chatcrypt_store_chat_mode(PG_GETARG_UUID_P(1)->data, &mode))
		chatcrypt_no_such_chat(PG_GETARG_UUID_P(1)->data);
	if (!PG_ARGISNULL(2))
		chatcrypt_tenantkey_check_uri(text_to_cstring(PG_GETARG_TEXT_PP(2)));
}

PG_FUNCTION_INFO_V1(chatcrypt_rewrap);

/*
 * rewrap(tenant text, chat_id any_id, kms_key text, max_keys bigint, INOUT rewrapped bigint,
 * INOUT failed bigint)
 */
Datum
chatcrypt_rewrap(PG_FUNCTION_ARGS)
{
	Run			run = {0};

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	which_to_rewrap(fcinfo, &run.which);
	start(fcinfo, &run, 3, "chatcrypt.rewrap()");
	do_all(&run);
	return chatcrypt_work_end(fcinfo, (int64[]) {run.done, run.failed}, 2);
}

/* A step: from now on the tenants' new keys are wrapped by the new KMS key. */
static void
switch_tenants(void *arg)
{
	ChatcryptArg *uris = arg;
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("UPDATE chatcrypt.tenant "
							"SET kms_key = $2, updated_at = now() "
							"WHERE kms_key = $1", uris, 2);
	chatcrypt_owner_end(&scope);
}

/* Warns of data keys and of a default that still have the old URI. */
static void
report_rest(const ChatcryptArg *from, const char *from_kms_key, const char *to_kms_key)
{
	ChatcryptOwnerScope scope;
	bool		isnull;
	int64		rest;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT count(*) "
							"FROM chatcrypt.dek "
							"WHERE kms_key = $1 AND state <> 'destroyed'", from, 1);
	rest = DatumGetInt64(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
	if (rest > 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%lld data keys are still wrapped by \"%s\"", (long long) rest,
						from_kms_key),
				 errhint("Call chatcrypt.move_kms_key() again; keep that key until none is left.")));
	if (strcmp(chatcrypt_default_kms_key, from_kms_key) == 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is still the key of tenants that name none", from_kms_key),
				 errhint("Set chatcrypt.default_kms_key to %s on every server, reload, and call chatcrypt.move_kms_key() again.",
						 to_kms_key)));
}

static void
move_all(Run *run, ChatcryptArg uris[2], const char *from_kms_key)
{
	uint32		version;

	/* first, so that no new data key comes under the old KMS key while the others leave it */
	if (!chatcrypt_wrapping_try_kms_key(run->move_to, &run->outages, &version))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no key was moved, because \"%s\" cannot be used", run->move_to)));
	if (!chatcrypt_work_try(switch_tenants, uris))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no key was moved, because the tenants of \"%s\" could not be switched",
						from_kms_key)));
	chatcrypt_work_commit();
	do_all(run);
	report_rest(uris, from_kms_key, run->move_to);
}

PG_FUNCTION_INFO_V1(chatcrypt_move_kms_key);

/* move_kms_key(from_kms_key text, to_kms_key text, max_keys bigint, INOUT moved bigint, INOUT failed bigint) */
Datum
chatcrypt_move_kms_key(PG_FUNCTION_ARGS)
{
	Run			run = {0};
	ChatcryptArg uris[2];
	char	   *from_kms_key;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the key URIs must not be null")));
	from_kms_key = text_to_cstring(PG_GETARG_TEXT_PP(0));
	run.move_to = text_to_cstring(PG_GETARG_TEXT_PP(1));
	chatcrypt_tenantkey_check_uri(from_kms_key);
	chatcrypt_tenantkey_check_uri(run.move_to);
	if (strcmp(from_kms_key, run.move_to) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" cannot be moved to itself", from_kms_key),
				 errhint("Use chatcrypt.rewrap() for a new version of the same key.")));
	uris[0] = (ChatcryptArg) {TEXTOID, PG_GETARG_DATUM(0), false};
	uris[1] = (ChatcryptArg) {TEXTOID, PG_GETARG_DATUM(1), false};
	run.which.tenant = (ChatcryptArg) {TEXTOID, (Datum) 0, true};
	run.which.chat_id = (ChatcryptArg) {UUIDOID, (Datum) 0, true};
	run.which.kms_key = uris[0];
	start(fcinfo, &run, 2, "chatcrypt.move_kms_key()");
	move_all(&run, uris, from_kms_key);
	return chatcrypt_work_end(fcinfo, (int64[]) {run.done, run.failed}, 2);
}
