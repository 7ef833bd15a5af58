/*
 * chatkeys.c
 *		Changes to the keys of a chat that exists: rotation and import.
 *		Not here: destroying them (shred.c).
 *
 * The KMS is asked before anything is locked.  Then the chat's row is locked, so that one
 * transaction at a time changes the chat's keys, and what was assumed is checked again.
 * Sessions that write messages do not wait for this lock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/tenantkeys.h"
#include "pg/store/owner.h"

#define IMPORT_VERSION_MAX	1000000000
#define TRIES				10

/* The newest version that a chat ever had for a purpose; 0 for none. */
uint32
chatcrypt_chatkeys_newest_version(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose)
{
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{TEXTOID, CStringGetTextDatum(chatcrypt_keytypes_purpose_text(purpose)), false}
	};
	bool		isnull;
	Datum		version;

	chatcrypt_owner_execute("SELECT max(dek_version) "
							"FROM chatcrypt.dek "
							"WHERE chat_id = $1 AND purpose = $2",
							args, lengthof(args));
	version = chatcrypt_owner_value(&isnull);
	return isnull ? 0 : (uint32) DatumGetInt32(version);
}

void
chatcrypt_chatkeys_lock(const uint8 chat_id[CC_ID_LEN])
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.chat "
								"WHERE chat_id = $1 "
								"FOR NO KEY UPDATE",
								&arg, 1) == 0)
		chatcrypt_no_such_chat(chat_id);
}

/* The purpose of the key that seals a chat's messages. */
static ChatcryptPurpose
sealing_purpose(const uint8 *chat_id)
{
	ChatcryptMode mode;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (mode == CHATCRYPT_MODE_E2EE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chat %s is end-to-end encrypted and has no key here",
						chatcrypt_id_text(chat_id))));
	return mode == CHATCRYPT_MODE_MANAGED ? CHATCRYPT_PURPOSE_DATA : CHATCRYPT_PURPOSE_CONVERSATION;
}

static void
record(const ChatcryptOwnerScope *scope, const char *what, const ChatcryptNewDek *dek,
	   const char *kms_key, const char *detail)
{
	ChatcryptEvent event = {
		.event = what,
		.chat_id = dek->id.chat_id,
		.purpose = chatcrypt_keytypes_purpose_text(dek->id.purpose),
		.dek_version = dek->id.version,
		.kms_key = kms_key,
		.detail = detail
	};

	chatcrypt_event_record(scope, &event);
}

static bool
has_active_key(const uint8 *chat_id, ChatcryptPurpose purpose)
{
	ChatcryptDekRow row;

	return chatcrypt_store_dek(chat_id, purpose, 0, &row);
}

bool
chatcrypt_chatkeys_can_seal(const uint8 chat_id[CC_ID_LEN])
{
	return has_active_key(chat_id, sealing_purpose(chat_id));
}

pg_noreturn static void refuse_new_life(const uint8 *chat_id);

static void
refuse_new_life(const uint8 *chat_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("chat %s has no active key and cannot be given a new one",
					chatcrypt_id_text(chat_id)),
			 errdetail("Its keys were destroyed."),
			 errhint("To use the chat again, give it a key with chatcrypt.import_dek().")));
}

bool
chatcrypt_chatkeys_take_over(const ChatcryptOwnerScope *scope, const ChatcryptNewDek *dek,
							 const char *kms_key, const char *why)
{
	if (chatcrypt_chatkeys_newest_version(dek->id.chat_id,
										  dek->id.purpose) != dek->id.version - 1 ||
		!has_active_key(dek->id.chat_id, dek->id.purpose))
		return false;
	chatcrypt_dekrows_write(dek, (char *const *) &kms_key, 1);
	record(scope, "rotate", dek, kms_key, why);
	return true;
}

/* The new version, or 0 where another session changed the chat's keys while the KMS was asked. */
static uint32
try_rotate(const uint8 *chat_id, ChatcryptPurpose purpose)
{
	ChatcryptWrapping wrapping;
	ChatcryptOwnerScope scope;
	ChatcryptNewDek dek = {0};
	uint32		newest;
	bool		settled;

	if (!has_active_key(chat_id, purpose))
		refuse_new_life(chat_id);
	chatcrypt_owner_begin(&scope);
	newest = chatcrypt_chatkeys_newest_version(chat_id, purpose);
	chatcrypt_owner_end(&scope);
	if (newest >= PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("chat %s has used all of its key versions", chatcrypt_id_text(chat_id))));

	chatcrypt_tenantkey_wrapping_of_chat(chat_id, &wrapping);
	dek.id = chatcrypt_keytypes_key_id(chat_id, purpose, newest + 1);
	chatcrypt_newdeks_generate(&wrapping, &dek, 1);

	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(chat_id);
	settled = chatcrypt_chatkeys_take_over(&scope, &dek, wrapping.kms_key, NULL);
	chatcrypt_owner_end(&scope);
	return settled ? newest + 1 : 0;
}

uint32
chatcrypt_chatkeys_rotate_purpose(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose)
{
	/* This comes before the KMS is asked for a key that could not be stored. */
	PreventCommandIfReadOnly("making a key of a chat");
	for (int try = 0; try < TRIES; try++)
	{
		uint32		version = try_rotate(chat_id, purpose);

		if (version != 0)
			return version;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not rotate chat %s: other sessions keep rotating it",
					chatcrypt_id_text(chat_id))));
}

uint32
chatcrypt_chatkeys_rotate(const uint8 chat_id[CC_ID_LEN])
{
	ChatcryptPurpose purpose = sealing_purpose(chat_id);

	/*
	 * The key of the chat's files is rotated along with that of its messages, because
	 * reencrypt_due() looks at the latter alone.
	 */
	if (purpose != CHATCRYPT_PURPOSE_DATA && has_active_key(chat_id, CHATCRYPT_PURPOSE_DATA))
		(void) chatcrypt_chatkeys_rotate_purpose(chat_id, CHATCRYPT_PURPOSE_DATA);
	return chatcrypt_chatkeys_rotate_purpose(chat_id, purpose);
}

bool
chatcrypt_chatkeys_ensure(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose)
{
	ChatcryptNewDek dek = {0};
	ChatcryptWrapping wrapping;
	ChatcryptOwnerScope scope;
	uint32		newest;
	bool		is_ours;

	if (has_active_key(chat_id, purpose))
		return false;
	if (!chatcrypt_chatkeys_can_seal(chat_id))
		refuse_new_life(chat_id);
	PreventCommandIfReadOnly("making a key of a chat");
	chatcrypt_owner_begin(&scope);
	newest = chatcrypt_chatkeys_newest_version(chat_id, purpose);
	chatcrypt_owner_end(&scope);
	chatcrypt_tenantkey_wrapping_of_chat(chat_id, &wrapping);
	dek.id = chatcrypt_keytypes_key_id(chat_id, purpose, newest + 1);
	chatcrypt_newdeks_generate(&wrapping, &dek, 1);

	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(chat_id);
	is_ours = chatcrypt_chatkeys_newest_version(chat_id, purpose) == newest &&
		chatcrypt_chatkeys_can_seal(chat_id);
	if (is_ours)
	{
		chatcrypt_dekrows_write(&dek, &wrapping.kms_key, 1);
		record(&scope, "create", &dek, wrapping.kms_key, NULL);
	}
	chatcrypt_owner_end(&scope);
	return is_ours;
}

PG_FUNCTION_INFO_V1(chatcrypt_rotate_chat);

/* rotate_chat(chat any_id): the new version. */
Datum
chatcrypt_rotate_chat(PG_FUNCTION_ARGS)
{
	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PG_RETURN_INT32((int32) chatcrypt_chatkeys_rotate(PG_GETARG_UUID_P(0)->data));
}

static void
refuse_import(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

static ChatcryptPurpose
purpose_for_import(const uint8 *chat_id, const char *text)
{
	ChatcryptPurpose purpose;

	if (!chatcrypt_keytypes_parse_purpose(text, &purpose))
		refuse_import("the purpose of a key must be data, search or conversation");
	if (sealing_purpose(chat_id) == CHATCRYPT_PURPOSE_DATA &&
		purpose == CHATCRYPT_PURPOSE_CONVERSATION)
		refuse_import("only a chat of mode conversation_key has keys of purpose conversation");
	return purpose;
}

uint32
chatcrypt_chatkeys_import_version(int32 version)
{
	if (version < 1 || version > IMPORT_VERSION_MAX)
		refuse_import("the version of an imported key must be between 1 and 1000000000");
	return (uint32) version;
}

static void
import(const uint8 *chat_id, const uint8 *key, uint32 version, ChatcryptPurpose purpose)
{
	ChatcryptNewDek dek = {.id = chatcrypt_keytypes_key_id(chat_id, purpose, version)};
	ChatcryptWrapping wrapping;
	ChatcryptOwnerScope scope;

	chatcrypt_tenantkey_wrapping_of_chat(chat_id, &wrapping);
	chatcrypt_newdeks_wrap_one(&wrapping, key, &dek);
	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(chat_id);
	chatcrypt_dekrows_write(&dek, &wrapping.kms_key, 1);
	record(&scope, "import", &dek, wrapping.kms_key, NULL);
	chatcrypt_owner_end(&scope);
}

/* Arguments as SQL has them: chat, dek, version, purpose. */
static void
import_arguments(FunctionCallInfo fcinfo, const uint8 *chat_id)
{
	bytea	   *key = PG_GETARG_BYTEA_PP(1);
	ChatcryptPurpose purpose;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.import_dek()");
	purpose = purpose_for_import(chat_id, text_to_cstring(PG_GETARG_TEXT_PP(3)));
	if (VARSIZE_ANY_EXHDR(key) != CC_DEK_LEN)
		refuse_import("a data key must be 32 bytes long");
	import(chat_id, (const uint8 *) VARDATA_ANY(key),
		   chatcrypt_chatkeys_import_version(PG_GETARG_INT32(2)), purpose);
}

PG_FUNCTION_INFO_V1(chatcrypt_import_dek);

/* import_dek(chat any_id, dek bytea, version integer, purpose text) */
Datum
chatcrypt_import_dek(PG_FUNCTION_ARGS)
{
	import_arguments(fcinfo, PG_GETARG_UUID_P(0)->data);
	PG_RETURN_VOID();
}
