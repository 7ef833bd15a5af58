/*
 * chats.c
 *		create_chat() and create_chats().
 *
 * A chat's first key is made with the chat, in one transaction.  The KMS is called first, with
 * no row written and no lock held; what it was told (the deployment id above all) is checked
 * again when the rows are written.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/chats/participants.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/tenantkeys.h"
#include "pg/search/tenantpolicy.h"
#include "pg/store/owner.h"

/* Chats whose keys are in memory at once: 1 kB each, or 2 kB with one for search. */
#define BATCH 4096

/* What create_chat() and create_chats() have in common. */
typedef struct NewChats
{
	ArrayType  *ids;			/* uuid[]: the chats that do not exist yet */
	ArrayType  *participants;	/* text[]: of each chat */
	ArrayType  *member_chats;	/* uuid[] and text[]: further participants, or NULL */
	ArrayType  *member_names;
	char	   *tenant;
	char	   *mode;
	bool		if_not_exists;
	ChatcryptPolicyRequest search; /* the search policy of the tenant */
} NewChats;

/* The first keys of a batch of chats. */
typedef struct FirstDeks
{
	ChatcryptPurpose purposes[2];
	int			npurposes;
	int			nchats;
	ChatcryptNewDek *deks;		/* of all chats for the first purpose, and then for the next */
} FirstDeks;

static ChatcryptArg
uuids_arg(ArrayType *ids)
{
	return (ChatcryptArg) {UUIDARRAYOID, PointerGetDatum(ids), false};
}

static int
count_of(ArrayType *array)
{
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

static bool
is_e2ee(const NewChats *chats)
{
	return strcmp(chats->mode, "e2ee") == 0;
}

/* ---------- which ---------- */

#define EXISTING_OR_TWICE \
	"SELECT id, count(*) > 1 " \
	"FROM unnest($1) AS id " \
	"GROUP BY id " \
	"HAVING count(*) > 1 OR EXISTS (SELECT FROM chatcrypt.chat WHERE chat_id = id) " \
	"ORDER BY 2, 1 " \
	"LIMIT 1"

pg_noreturn static void refuse_duplicate(ArrayType *ids);

static void
refuse_duplicate(ArrayType *ids)
{
	ChatcryptArg arg = uuids_arg(ids);
	bool		isnull;
	char	   *id;

	if (chatcrypt_owner_execute_on_latest(EXISTING_OR_TWICE, &arg, 1) == 0)
		elog(ERROR, "could not find the chat that exists");
	id = chatcrypt_id_text(DatumGetUUIDP(chatcrypt_owner_value(&isnull))->data);
	if (DatumGetBool(chatcrypt_owner_column(0, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("chat %s is named twice", id)));
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("chat %s already exists", id),
			 errhint("With if_not_exists => true a chat that exists is left as it is.")));
}

#define MISSING \
	"SELECT coalesce(array_agg(id ORDER BY id), '{}') " \
	"FROM (SELECT DISTINCT id FROM unnest($1) AS id) AS given " \
	"WHERE NOT EXISTS (SELECT FROM chatcrypt.chat c WHERE c.chat_id = given.id)"

/* Called before the KMS is asked, which then makes no key for a chat that exists. */
static void
leave_existing_out(NewChats *chats)
{
	ChatcryptArg arg = uuids_arg(chats->ids);
	int			given = count_of(chats->ids);
	ChatcryptOwnerScope scope;
	ArrayType  *missing;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute_on_latest(MISSING, &arg, 1);
	missing = chatcrypt_owner_array(1);
	if (count_of(missing) < given && !chats->if_not_exists)
		refuse_duplicate(chats->ids);
	chatcrypt_owner_end(&scope);
	chats->ids = missing;
}

/* ---------- rows ---------- */

/* Chats are sorted by id, so that two sessions cannot wait for each other. */
#define INSERT_CHATS \
	"WITH made AS (" \
	"INSERT INTO chatcrypt.chat (chat_id, tenant, mode) " \
	"SELECT id, $2, $3 " \
	"FROM unnest($1) AS id " \
	"ORDER BY id " \
	"ON CONFLICT (chat_id) DO NOTHING " \
	"RETURNING chat_id) " \
	"SELECT coalesce(array_agg(chat_id ORDER BY chat_id), '{}') " \
	"FROM made"

/*
 * Writes the chats, and returns those that it made: all but the ones that another session made
 * while the KMS was asked.
 */
static ArrayType *
write_chats(const NewChats *chats)
{
	ChatcryptArg args[] = {
		uuids_arg(chats->ids),
		{TEXTOID, CStringGetTextDatum(chats->tenant), false},
		{TEXTOID, CStringGetTextDatum(chats->mode), false},
	};
	ArrayType  *made;

	chatcrypt_owner_execute(INSERT_CHATS, args, lengthof(args));
	made = chatcrypt_owner_array(1);
	if (count_of(made) < count_of(chats->ids) && !chats->if_not_exists)
		refuse_duplicate(chats->ids);
	return made;
}

#define INSERT_PARTICIPANTS \
	"INSERT INTO chatcrypt.participant (participant, chat_id) " \
	"SELECT name, id " \
	"FROM unnest($1) AS id " \
	"CROSS JOIN unnest($2) AS name " \
	"UNION " \
	"SELECT name, id " \
	"FROM unnest($3, $4) AS member (id, name) " \
	"WHERE id = ANY ($1)"

static void
write_participants(const NewChats *chats, ArrayType *made)
{
	ChatcryptArg args[] = {
		uuids_arg(made),
		{TEXTARRAYOID, PointerGetDatum(chats->participants), false},
		{UUIDARRAYOID, PointerGetDatum(chats->member_chats), chats->member_chats == NULL},
		{TEXTARRAYOID, PointerGetDatum(chats->member_names), chats->member_names == NULL}
	};

	if (count_of(chats->participants) > 0 || chats->member_names != NULL)
		chatcrypt_owner_execute(INSERT_PARTICIPANTS, args, lengthof(args));
}

#define INSERT_DEKS \
	"INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, encrypted_dek, " \
	"kcv) " \
	"SELECT id, $5, 1, 'active', $6, wrapped, kcv " \
	"FROM unnest($2, $3, $4) AS k (id, wrapped, kcv) " \
	"WHERE id = ANY ($1)"

/* Writes the keys of one purpose, and records them in the history. */
static void
write_first_deks(const ChatcryptOwnerScope *scope, const NewChats *chats, ArrayType *made,
				 const char *kms_key, const ChatcryptNewDek *deks, int count)
{
	const char *purpose = chatcrypt_keytypes_purpose_text(deks[0].id.purpose);
	ChatcryptArg args[] = {
		uuids_arg(made),
		chatcrypt_dekrows_chats(deks, count),
		chatcrypt_dekrows_wrapped(deks, count),
		chatcrypt_dekrows_kcvs(deks, count),
		{TEXTOID, CStringGetTextDatum(purpose), false},
		{TEXTOID, CStringGetTextDatum(kms_key), false}
	};
	ChatcryptEvent event = {.event = "create", .tenant = chats->tenant, .purpose = purpose,
							.dek_version = 1, .kms_key = kms_key};

	chatcrypt_owner_execute(INSERT_DEKS, args, lengthof(args));
	chatcrypt_event_record_chats(scope, PointerGetDatum(made), &event);
}

/* ---------- making them ---------- */

/* Chooses which keys the chats get. */
static void
choose_purposes(const NewChats *chats, FirstDeks *first)
{
	first->npurposes = 0;
	if (is_e2ee(chats))
		return;
	first->purposes[first->npurposes++] = strcmp(chats->mode, "managed") == 0 ?
		CHATCRYPT_PURPOSE_DATA : CHATCRYPT_PURPOSE_CONVERSATION;
	if (chats->search.policy.mode == CHATCRYPT_SEARCH_BLIND)
		first->purposes[first->npurposes++] = CHATCRYPT_PURPOSE_SEARCH;
}

/* Makes all keys at once: the KMS worker answers many jobs with one call. */
static void
generate_first_deks(ArrayType *ids, const ChatcryptWrapping *wrapping, FirstDeks *first)
{
	int			count;

	first->nchats = count_of(ids);
	count = first->nchats * first->npurposes;
	first->deks = palloc0(sizeof(ChatcryptNewDek) * Max(count, 1));
	for (int i = 0; i < count; i++)
		first->deks[i].id = chatcrypt_keytypes_key_id((uint8 *) ARR_DATA_PTR(ids) +
													  (Size) (i % first->nchats) * CC_ID_LEN,
													  first->purposes[i / first->nchats], 1);
	chatcrypt_newdeks_generate(wrapping, first->deks, count);
}

static void
check_mode(const char *mode)
{
	if (strcmp(mode, "managed") != 0 && strcmp(mode, "conversation_key") != 0 &&
		strcmp(mode, "e2ee") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a mode of a chat", mode),
				 errhint("The modes are managed, conversation_key and e2ee.")));
}

/*
 * Inside an owner scope: writes all rows but those of participants, and returns the chats made.
 */
static ArrayType *
write_rows(const ChatcryptOwnerScope *scope, const NewChats *chats,
		   const ChatcryptWrapping *wrapping, const FirstDeks *first)
{
	ArrayType  *made = write_chats(chats);
	ChatcryptEvent without_key = {.event = "create", .tenant = chats->tenant};

	for (int i = 0; i < first->npurposes; i++)
		write_first_deks(scope, chats, made, wrapping->kms_key, first->deks + i * first->nchats,
						 first->nchats);
	if (first->npurposes == 0)
		chatcrypt_event_record_chats(scope, PointerGetDatum(made), &without_key);
	if (chats->search.policy.mode != CHATCRYPT_SEARCH_OFF)
		chatcrypt_tenantpolicy_apply(scope, made, &chats->search);
	return made;
}

/* Makes a batch of chats, and returns those that were made. */
static ArrayType *
make_batch(const NewChats *chats)
{
	ChatcryptOwnerScope scope;
	ChatcryptWrapping wrapping;
	FirstDeks	first;
	ArrayType  *made = NULL;

	choose_purposes(chats, &first);

	/*
	 * Twice at most: a deployment gets its id once, and another session may set it while the
	 * KMS is asked.
	 */
	do
	{
		chatcrypt_tenantkey_wrapping(chats->tenant, &wrapping);
		generate_first_deks(chats->ids, &wrapping, &first);
		chatcrypt_owner_begin(&scope);
		if (chatcrypt_tenantkey_settle(chats->tenant, &wrapping))
			made = write_rows(&scope, chats, &wrapping, &first);
		chatcrypt_owner_end(&scope);
	} while (made == NULL);
	return made;
}

/*
 * Makes the chats in batches, and frees the memory of the keys after each.  The ids of the
 * chats that were made are moved to the front of ids; returns their number.  From the second
 * batch on the KMS is asked while this transaction has written rows, for which only a session
 * waits that makes the same chats.
 */
static int
make_batches(const NewChats *chats, uint8 *ids, int count)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt new chats",
												  ALLOCSET_DEFAULT_SIZES);
	NewChats	batch = *chats;
	int			nmade = 0;

	for (int start = 0; start < count; start += BATCH)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);
		ArrayType  *made;

		batch.ids = chatcrypt_id_array(ids + (Size) start * CC_ID_LEN, Min(BATCH, count - start));
		made = make_batch(&batch);
		memcpy(ids + (Size) nmade * CC_ID_LEN, ARR_DATA_PTR(made),
			   (Size) count_of(made) * CC_ID_LEN);
		nmade += count_of(made);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	return nmade;
}

/* Makes the chats, and returns how many it made. */
static int
make_chats(NewChats *chats)
{
	ChatcryptOwnerScope scope;
	uint8	   *ids;
	int			nmade;

	/* This comes before the KMS is asked for a key that could not be stored. */
	PreventCommandIfReadOnly("chatcrypt.create_chat()");
	check_mode(chats->mode);
	leave_existing_out(chats);
	if (count_of(chats->ids) > 0 && !is_e2ee(chats))
		chatcrypt_tenantpolicy_read(chats->tenant, &chats->search);
	ids = (uint8 *) ARR_DATA_PTR(chats->ids);
	nmade = make_batches(chats, ids, count_of(chats->ids));
	if (nmade == 0)
		return 0;
	chatcrypt_owner_begin(&scope);
	write_participants(chats, chatcrypt_id_array(ids, nmade));
	chatcrypt_owner_end(&scope);
	return nmade;
}

/* ---------- arguments ---------- */

/* Arguments 1 to 4: participants, tenant, mode, if_not_exists. */
static void
read_common_arguments(FunctionCallInfo fcinfo, NewChats *chats)
{
	chatcrypt_id_refuse_null(fcinfo, 1, "participants");
	chatcrypt_id_refuse_null(fcinfo, 2, "tenant");
	chatcrypt_id_refuse_null(fcinfo, 3, "mode");
	chats->participants = PG_GETARG_ARRAYTYPE_P(1);
	chatcrypt_participants_check(chats->participants);
	chats->tenant = text_to_cstring(PG_GETARG_TEXT_PP(2));
	chats->mode = text_to_cstring(PG_GETARG_TEXT_PP(3));
	chats->if_not_exists = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
}

#define LISTS_OF_NAMES \
	"SELECT jsonb_typeof($2) = 'array' AND jsonb_array_length($2) = cardinality($1) " \
	"AND NOT jsonb_path_exists($2, 'strict $[*] ? (@.type() != \"array\")') " \
	"AND NOT jsonb_path_exists($2, 'strict $[*][*] ? (@.type() != \"string\")')"

#define MEMBERS_OF_EACH \
	"SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(name), '{}') " \
	"FROM ROWS FROM (unnest($1), jsonb_array_elements($2)) AS given (id, names) " \
	"CROSS JOIN jsonb_array_elements_text(names) AS name"

/* Argument 5: participants_each, one list of names for each of the ids. */
static void
read_participants_each(FunctionCallInfo fcinfo, NewChats *chats)
{
	ChatcryptArg args[] = {uuids_arg(chats->ids), {JSONBOID, PG_GETARG_DATUM(5), false}};
	ChatcryptOwnerScope scope;
	bool		isnull;

	if (PG_ARGISNULL(5))
		return;
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute(LISTS_OF_NAMES, args, lengthof(args));
	if (!DatumGetBool(chatcrypt_owner_value(&isnull)) || isnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("participants_each must hold one list of names for each chat"),
				 errhint("For two chats: '[[\"alice\", \"bob\"], [\"carol\"]]'.")));
	chatcrypt_owner_execute(MEMBERS_OF_EACH, args, lengthof(args));
	chats->member_chats = chatcrypt_owner_array(1);
	chats->member_names = chatcrypt_owner_array(2);
	chatcrypt_owner_end(&scope);
	chatcrypt_participants_check(chats->member_names);
}

static Datum
make_one_chat(FunctionCallInfo fcinfo, const pg_uuid_t *id)
{
	NewChats	chats = {.ids = chatcrypt_id_array(id->data, 1)};

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	chatcrypt_actor_require();
	read_common_arguments(fcinfo, &chats);
	(void) make_chats(&chats);
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(chatcrypt_create_chat);

/* create_chat(chat_id any_id, participants text[], tenant text, mode text, if_not_exists boolean) */
Datum
chatcrypt_create_chat(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		return make_one_chat(fcinfo,
							 DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
	return make_one_chat(fcinfo, PG_GETARG_UUID_P(0));
}

PG_FUNCTION_INFO_V1(chatcrypt_create_chats);

/*
 * create_chats(chat_ids any_id[], participants text[], tenant text, mode text,
 * if_not_exists boolean, participants_each jsonb): how many
 */
Datum
chatcrypt_create_chats(PG_FUNCTION_ARGS)
{
	int			count;
	NewChats	chats = {.ids = chatcrypt_id_chats_argument(fcinfo, &count)};

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	chatcrypt_actor_require();
	read_common_arguments(fcinfo, &chats);
	read_participants_each(fcinfo, &chats);
	PG_RETURN_INT32(make_chats(&chats));
}
