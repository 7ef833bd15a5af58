/*
 * ids.c
 *		The ids of chats, messages and files, as SQL has them: the type any_id, and the
 *		uuids that stand for numbers.
 *
 * An any_id is the 16 bytes of a uuid.  Casts bring numbers and text to it, so a
 * function that takes one gets a uuid, whatever the caller's id is.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "core/id.h"
#include "pg/base/ids.h"

#define DIGITS_OF_BIGINT	19

void
chatcrypt_id_of_bigint(int64 number, uint8 id[CC_ID_LEN])
{
	if (cc_id_from_int64(0, number, id) != CC_OK)
		elog(ERROR, "could not make an id of a bigint");
}

char *
chatcrypt_id_uuid_text(const uint8 id[CC_ID_LEN])
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(id)));
}

/* The number that an id stands for in this id space; false if it stands for none there. */
static bool
number_in_space(const uint8 *id, uint64 space, int64 *number)
{
	uint64		its_space;

	return cc_id_to_int64(id, &its_space, number) && its_space == space;
}

bool
chatcrypt_id_number(const uint8 id[CC_ID_LEN], int64 *number)
{
	return number_in_space(id, 0, number);
}

char *
chatcrypt_id_text(const uint8 id[CC_ID_LEN])
{
	int64		number;

	return chatcrypt_id_number(id, &number) ? psprintf("%lld", (long long) number) :
		chatcrypt_id_uuid_text(id);
}

/* ---------- text ---------- */

static bool
parse_number(const char *text, uint8 id[CC_ID_LEN])
{
	size_t		digits = strspn(text + (*text == '-'), "0123456789");
	int64		number;

	if (digits == 0 || digits > DIGITS_OF_BIGINT || text[(*text == '-') + digits] != '\0')
		return false;
	errno = 0;
	number = strtoll(text, NULL, 10);
	if (errno != 0)
		return false;
	chatcrypt_id_of_bigint(number, id);
	return true;
}

/*
 * Reads a uuid in any form that the type uuid accepts.  uuid_in() is not used, because its
 * error shows its input, which may be a message.
 */
static bool
parse_uuid(const char *text, uint8 id[CC_ID_LEN])
{
	bool		braces = *text == '{';
	const char *at = text + braces;

	for (int i = 0; i < CC_ID_LEN; i++)
	{
		char		byte[3] = {0};

		if (!isxdigit((unsigned char) at[0]) || !isxdigit((unsigned char) at[1]))
			return false;
		memcpy(byte, at, 2);
		id[i] = (uint8) strtoul(byte, NULL, 16);
		at += 2;
		if (*at == '-' && i % 2 == 1 && i < CC_ID_LEN - 1)
			at++;
	}
	return strcmp(at, braces ? "}" : "") == 0;
}

void
chatcrypt_id_parse(const char *text, uint8 id[CC_ID_LEN])
{
	if (!parse_number(text, id) && !parse_uuid(text, id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid id of a chat, message or file"),
				 errdetail("An id is a uuid, or a whole number that a bigint holds. What was given is not shown, because it may be a message."),
				 errhint("Check the order of the arguments.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_any_id_in);

Datum
chatcrypt_any_id_in(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	chatcrypt_id_parse(PG_GETARG_CSTRING(0), id->data);
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(chatcrypt_any_id_out);

Datum
chatcrypt_any_id_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(chatcrypt_id_text(PG_GETARG_UUID_P(0)->data));
}

/* ---------- numbers ---------- */

static Datum
number_id(int64 number)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	chatcrypt_id_of_bigint(number, id->data);
	return UUIDPGetDatum(id);
}

PG_FUNCTION_INFO_V1(chatcrypt_to_uuid);

/* to_uuid(number bigint): the uuid that stands for a bigint id.  LEAKPROOF: it takes any number. */
Datum
chatcrypt_to_uuid(PG_FUNCTION_ARGS)
{
	return number_id(PG_GETARG_INT64(0));
}

PG_FUNCTION_INFO_V1(chatcrypt_any_id_integer);

Datum
chatcrypt_any_id_integer(PG_FUNCTION_ARGS)
{
	return number_id(PG_GETARG_INT32(0));
}

PG_FUNCTION_INFO_V1(chatcrypt_any_id_smallint);

Datum
chatcrypt_any_id_smallint(PG_FUNCTION_ARGS)
{
	return number_id(PG_GETARG_INT16(0));
}

static uint64
space_argument(FunctionCallInfo fcinfo)
{
	int64		space = PG_GETARG_INT64(1);

	if (space < 0 || (uint64) space > CC_ID_SPACE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("an id space is a number from 0 to %lld", (long long) CC_ID_SPACE_MAX)));
	return (uint64) space;
}

PG_FUNCTION_INFO_V1(chatcrypt_to_uuid_in_space);

/* to_uuid(number bigint, space bigint): the same in another id space. */
Datum
chatcrypt_to_uuid_in_space(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (cc_id_from_int64(space_argument(fcinfo), PG_GETARG_INT64(0), id->data) != CC_OK)
		elog(ERROR, "could not make an id of a bigint");
	PG_RETURN_UUID_P(id);
}

static Datum
number_of(FunctionCallInfo fcinfo, uint64 space)
{
	int64		number;

	if (!number_in_space(PG_GETARG_UUID_P(0)->data, space, &number))
		PG_RETURN_NULL();
	PG_RETURN_INT64(number);
}

PG_FUNCTION_INFO_V1(chatcrypt_number_of);

/* number_of(id uuid): what to_uuid(number) was given.  LEAKPROOF: it takes any uuid. */
Datum
chatcrypt_number_of(PG_FUNCTION_ARGS)
{
	return number_of(fcinfo, 0);
}

PG_FUNCTION_INFO_V1(chatcrypt_number_in_space);

/* number_of(id uuid, space bigint): what to_uuid(number, space) was given. */
Datum
chatcrypt_number_in_space(PG_FUNCTION_ARGS)
{
	return number_of(fcinfo, space_argument(fcinfo));
}

/* ---------- arguments ---------- */

void
chatcrypt_id_refuse_null(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

pg_uuid_t
chatcrypt_id_chat_argument(FunctionCallInfo fcinfo)
{
	chatcrypt_id_refuse_null(fcinfo, 0, "the id of the chat");
	return *PG_GETARG_UUID_P(0);
}

ArrayType *
chatcrypt_id_chats_argument(FunctionCallInfo fcinfo, int *count)
{
	ArrayType  *ids;

	chatcrypt_id_refuse_null(fcinfo, 0, "the ids of the chats");
	ids = PG_GETARG_ARRAYTYPE_P_COPY(0);
	if (array_contains_nulls(ids))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the id of a chat must not be null")));
	/* An any_id has the bytes of a uuid, and a uuid needs no alignment and no padding. */
	ARR_ELEMTYPE(ids) = UUIDOID;
	*count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	return ids;
}

/* Uuids need no alignment and no padding, so the data of the array is the ids themselves. */
ArrayType *
chatcrypt_id_array(const uint8 *ids, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));
	ArrayType  *array;

	for (int i = 0; i < count; i++)
		elements[i] = PointerGetDatum(ids + (Size) i * CC_ID_LEN);
	array = construct_array(elements, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	pfree(elements);
	return array;
}
