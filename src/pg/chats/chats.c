/*
 * chats.c
 *		create_chat and create_chats.
 *
 * A chat's first key is made with the chat, in one transaction: the KMS is called
 * first, with no row written and no lock held, and what it was told (the
 * deployment id above all) is checked again when the rows are written.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/base/owner.h"
#include "pg/compat.h"
#include "pg/events/events.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/tenants.h"

/* What create_chat and create_chats have in common. */
typedef struct NewChats
{
	Datum		ids;			/* uuid[] */
	const uint8 *id_bytes;		/* the same, one after the other */
	int			count;
	Datum		participants;	/* text[] */
	char	   *tenant;
	char	   *mode;
} NewChats;

static void
write_chats(const NewChats *chats)
{
	ChatcryptArg args[] = {
		{UUIDARRAYOID, chats->ids, false},
		{TEXTOID, CStringGetTextDatum(chats->tenant), false},
		{TEXTARRAYOID, chats->participants, false},
		{TEXTOID, CStringGetTextDatum(chats->mode), false},
	};

	/* In the order of their ids, so that two sessions cannot wait for each other. */
	chatcrypt_owner_execute("INSERT INTO chatcrypt.chat (chat_id, tenant, participants, mode) "
							"SELECT id, $2, $3, $4 FROM unnest($1) AS id ORDER BY id",
							args, lengthof(args));
}

static void
write_first_deks(const NewChats *chats, ChatcryptPurpose purpose, const char *kms_key,
				 const ChatcryptNewDek *deks)
{
	ChatcryptArg args[] = {
		{UUIDARRAYOID, chats->ids, false},
		chatcrypt_dek_wrapped(deks, chats->count),
		chatcrypt_dek_kcvs(deks, chats->count),
		{TEXTOID, CStringGetTextDatum(chatcrypt_purpose_text(purpose)), false},
		{TEXTOID, CStringGetTextDatum(kms_key), false}
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, "
							"kms_key, encrypted_dek, kcv) "
							"SELECT id, $4, 1, 'active', $5, wrapped, kcv "
							"FROM unnest($1, $2, $3) AS k (id, wrapped, kcv)",
							args, lengthof(args));
}

static ChatcryptNewDek *
generate_first_deks(const NewChats *chats, ChatcryptPurpose purpose,
					const ChatcryptWrapping *wrapping)
{
	ChatcryptNewDek *deks = palloc0(sizeof(ChatcryptNewDek) * chats->count);

	for (int i = 0; i < chats->count; i++)
		deks[i].id = chatcrypt_key_id(chats->id_bytes + (Size) i * CC_ID_LEN, purpose, 1);
	chatcrypt_generate_deks(wrapping, deks, chats->count);
	return deks;
}

static void
make_chats(const NewChats *chats)
{
	bool		with_key = strcmp(chats->mode, "e2ee") != 0;
	ChatcryptPurpose purpose = strcmp(chats->mode, "managed") == 0 ?
		CHATCRYPT_PURPOSE_DATA : CHATCRYPT_PURPOSE_CONVERSATION;
	ChatcryptOwnerScope scope;
	ChatcryptWrapping wrapping;
	ChatcryptNewDek *deks = NULL;
	bool		settled;

	/* Before the KMS is asked for a key that could not be stored. */
	PreventCommandIfReadOnly("chatcrypt.create_chat()");
	if (strcmp(chats->mode, "managed") != 0 && strcmp(chats->mode, "conversation_key") != 0 &&
		with_key)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a mode of a chat", chats->mode),
				 errhint("The modes are managed, conversation_key and e2ee.")));

	/*
	 * Twice at most: a deployment gets its id once, and another session may do it while
	 * we ask the KMS.
	 */
	do
	{
		chatcrypt_tenant_wrapping(chats->tenant, &wrapping);
		if (with_key)
			deks = generate_first_deks(chats, purpose, &wrapping);
		chatcrypt_owner_begin(&scope);
		settled = chatcrypt_tenant_settle(chats->tenant, &wrapping);
		if (settled)
			write_chats(chats);
		if (settled && with_key)
			write_first_deks(chats, purpose, wrapping.kms_key, deks);
		if (settled)
			chatcrypt_event_record_chats(&scope, chats->ids, chats->tenant,
										 with_key ? chatcrypt_purpose_text(purpose) : NULL,
										 with_key ? wrapping.kms_key : NULL);
		chatcrypt_owner_end(&scope);
	} while (!settled);
}

/* Arguments 1 to 3: participants, tenant, mode. */
static void
read_common_arguments(FunctionCallInfo fcinfo, NewChats *chats)
{
	chatcrypt_refuse_null(fcinfo, 1, "participants");
	chatcrypt_refuse_null(fcinfo, 2, "tenant");
	chatcrypt_refuse_null(fcinfo, 3, "mode");
	chats->participants = PG_GETARG_DATUM(1);
	chats->tenant = text_to_cstring(PG_GETARG_TEXT_PP(2));
	chats->mode = text_to_cstring(PG_GETARG_TEXT_PP(3));
}

static Datum
make_one_chat(FunctionCallInfo fcinfo, const pg_uuid_t *id)
{
	NewChats	chats = {.id_bytes = id->data, .count = 1};
	Datum		element = UUIDPGetDatum(id);

	chatcrypt_require(CHATCRYPT_MAY_WRITE);
	chatcrypt_require_actor();
	read_common_arguments(fcinfo, &chats);
	chats.ids =
		PointerGetDatum(construct_array(&element, 1, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	make_chats(&chats);
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(chatcrypt_create_chat);

/* create_chat(chat_id any_id, participants text[], tenant text, mode text) */
Datum
chatcrypt_create_chat(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		return make_one_chat(fcinfo,
							 DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
	return make_one_chat(fcinfo, PG_GETARG_UUID_P(0));
}

PG_FUNCTION_INFO_V1(chatcrypt_create_chats);

/* create_chats(chat_ids any_id[], participants text[], tenant text, mode text): how many */
Datum
chatcrypt_create_chats(PG_FUNCTION_ARGS)
{
	int			count;
	ArrayType  *ids = chatcrypt_chats_argument(fcinfo, &count);
	NewChats	chats = {.ids = PointerGetDatum(ids), .id_bytes = (uint8 *) ARR_DATA_PTR(ids),
						 .count = count};

	chatcrypt_require(CHATCRYPT_MAY_WRITE);
	chatcrypt_require_actor();
	read_common_arguments(fcinfo, &chats);
	if (count > 0)
		make_chats(&chats);
	PG_RETURN_INT32(count);
}
