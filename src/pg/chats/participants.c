/*
 * participants.c
 *		add_participant(), remove_participant() and set_participants().
 *
 * One statement writes all rows of a call with their events, and its plan is kept.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/chats/participants.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/chatkeys.h"
#include "pg/store/owner.h"
#include "pg/store/statement.h"

/* The longest name, in bytes: an index must hold it.  sql/20_tables.sql has the same number. */
#define LONGEST_NAME 1000

void
chatcrypt_participants_check(ArrayType *names)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		Size		len = nulls[i] ? 0 : VARSIZE_ANY_EXHDR(DatumGetPointer(values[i]));

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the name of a participant must not be null")));
		if (len == 0 || len > LONGEST_NAME)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the name of a participant must have 1 to %d bytes, and this one has %zu",
							LONGEST_NAME, len)));
	}
}

/*
 * Raises an error unless the caller may write, the chat exists, and the actor, if there is one,
 * takes part in the chat.
 */
static void
check_caller(const uint8 *chat_id)
{
	ChatcryptMode mode;

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	chatcrypt_access_require_participant(chat_id);
}

/*
 * Inside an owner scope: $1 chat, $2 names, $3 verb, $4 role.  Returns the number of rows
 * changed.
 */
static uint64
change_participants(const ChatcryptOwnerScope *scope, SPIPlanPtr *plan, const char *sql,
					const uint8 *chat_id, ArrayType *names, const char *verb)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{TEXTARRAYOID, PointerGetDatum(names), false},
		{TEXTOID, CStringGetTextDatum(verb), false},
		chatcrypt_owner_caller(scope)
	};

	return chatcrypt_statement_run(plan, sql, args, lengthof(args), false);
}

/* The verb, and then the name as JSON, so that no name can pass for anything else. */
#define RECORD_CHANGED \
	"INSERT INTO chatcrypt.key_event (event, chat_id, detail, role) " \
	"SELECT 'participant', $1, $3 || ' ' || to_json(participant), $4 " \
	"FROM changed " \
	"ORDER BY participant"

/* Names are sorted, so that two sessions cannot wait for each other. */
#define ADD_ALL \
	"WITH changed AS (" \
	"INSERT INTO chatcrypt.participant (participant, chat_id) " \
	"SELECT DISTINCT name COLLATE \"C\", $1 " \
	"FROM unnest($2) AS name " \
	"ORDER BY 1 " \
	"ON CONFLICT DO NOTHING " \
	"RETURNING participant) " \
	RECORD_CHANGED

#define REMOVE_ALL \
	"WITH changed AS (" \
	"DELETE FROM chatcrypt.participant " \
	"WHERE chat_id = $1 AND participant = ANY ($2) " \
	"RETURNING participant) " \
	RECORD_CHANGED

static uint64
add_all(const uint8 *chat_id, ArrayType *names)
{
	static SPIPlanPtr plan;
	ChatcryptOwnerScope scope;
	uint64		added;

	chatcrypt_owner_begin(&scope);
	added = change_participants(&scope, &plan, ADD_ALL, chat_id, names, "added");
	chatcrypt_owner_end(&scope);
	return added;
}

static bool
rotates_on_removal(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptOwnerScope scope;
	bool		isnull;
	bool		rotates;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT coalesce(c.rotate_on_removal, t.rotate_on_removal) "
							"AND c.mode <> 'e2ee' "
							"FROM chatcrypt.chat c "
							"JOIN chatcrypt.tenant t USING (tenant) "
							"WHERE c.chat_id = $1", &arg, 1);
	rotates = DatumGetBool(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
	return !isnull && rotates;
}

static void
require_may_remove(const uint8 *chat_id, ArrayType *names)
{
	Datum	   *each;
	int			count;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &each, NULL, &count);
	for (int i = 0; i < count; i++)
		chatcrypt_moderation_require_may_remove(chat_id, DatumGetTextPP(each[i]));
}

/*
 * Rotates first: the KMS is asked before the removal locks a row.  A chat that was shredded has
 * nothing to rotate, and still loses its participants.
 */
static uint64
remove_all(const uint8 *chat_id, ArrayType *names)
{
	static SPIPlanPtr plan;
	ChatcryptOwnerScope scope;
	uint64		removed;

	require_may_remove(chat_id, names);
	if (rotates_on_removal(chat_id) && chatcrypt_chatkeys_can_seal(chat_id))
		chatcrypt_chatkeys_rotate(chat_id);
	chatcrypt_owner_begin(&scope);
	removed = change_participants(&scope, &plan, REMOVE_ALL, chat_id, names, "removed");
	chatcrypt_owner_end(&scope);
	return removed;
}

/* ---------- one ---------- */

static ArrayType *
one_name(Datum name)
{
	ArrayType  *names = construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT);

	chatcrypt_participants_check(names);
	return names;
}

static Datum
add_one(const uint8 *chat_id, Datum participant)
{
	ArrayType  *names = one_name(participant);

	check_caller(chat_id);
	PG_RETURN_BOOL(add_all(chat_id, names) > 0);
}

static Datum
remove_one(const uint8 *chat_id, Datum participant)
{
	ArrayType  *names = one_name(participant);
	bool		exists;

	check_caller(chat_id);
	if (!chatcrypt_store_is_participant(chat_id, TextDatumGetCString(participant), &exists))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(remove_all(chat_id, names) > 0);
}

/* ---------- all ---------- */

#define TO_BE_REMOVED \
	"SELECT coalesce(array_agg(participant), '{}') " \
	"FROM chatcrypt.participant " \
	"WHERE chat_id = $1 AND participant <> ALL ($2)"

static ArrayType *
all_but(const uint8 *chat_id, ArrayType *names)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{TEXTARRAYOID, PointerGetDatum(names), false}
	};
	ChatcryptOwnerScope scope;
	ArrayType  *others;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute_on_latest(TO_BE_REMOVED, args, lengthof(args));
	others = chatcrypt_owner_array(1);
	chatcrypt_owner_end(&scope);
	return others;
}

static Datum
set_all(FunctionCallInfo fcinfo, const uint8 *chat_id)
{
	ArrayType  *names;
	ArrayType  *others;
	uint64		changed = 0;

	chatcrypt_id_refuse_null(fcinfo, 1, "participants");
	names = PG_GETARG_ARRAYTYPE_P(1);
	chatcrypt_participants_check(names);
	check_caller(chat_id);
	others = all_but(chat_id, names);
	if (ArrayGetNItems(ARR_NDIM(others), ARR_DIMS(others)) > 0)
		changed = remove_all(chat_id, others);
	changed += add_all(chat_id, names);
	PG_RETURN_INT32((int32) changed);
}

/* ---------- arguments ---------- */

static Datum
name_argument(FunctionCallInfo fcinfo)
{
	chatcrypt_id_refuse_null(fcinfo, 1, "the name of a participant");
	return PG_GETARG_DATUM(1);
}

PG_FUNCTION_INFO_V1(chatcrypt_add_participant);

Datum
chatcrypt_add_participant(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return add_one(id.data, name_argument(fcinfo));
}

PG_FUNCTION_INFO_V1(chatcrypt_remove_participant);

Datum
chatcrypt_remove_participant(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return remove_one(id.data, name_argument(fcinfo));
}

PG_FUNCTION_INFO_V1(chatcrypt_set_participants);

/* set_participants(chat_id any_id, participants text[]): how many were added or removed */
Datum
chatcrypt_set_participants(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id = chatcrypt_id_chat_argument(fcinfo);

	return set_all(fcinfo, id.data);
}
