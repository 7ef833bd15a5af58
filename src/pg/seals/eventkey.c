/*
 * eventkey.c
 *		The key that seals the history of keys: see eventkey.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/access/access.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/tenantkeys.h"
#include "pg/seals/eventkey.h"
#include "pg/service/kmserrors.h"
#include "pg/service/requests.h"
#include "pg/store/owner.h"

#define KEY_VERSION	1			/* moving the key to another KMS key does not change it */
#define TRIES		3

/* The key belongs to no chat. */
static ChatcryptKeyId
key_id(void)
{
	static const uint8 no_chat[CC_ID_LEN];

	return chatcrypt_keytypes_key_id(no_chat, CHATCRYPT_PURPOSE_EVENTS, KEY_VERSION);
}

/* A value of the first row of the last statement, copied out of SPI's memory. */
static bytea *
bytes_of_result(MemoryContext context, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column,
									  &isnull);
	MemoryContext previous = MemoryContextSwitchTo(context);
	bytea	   *bytes = DatumGetByteaPCopy(value);

	MemoryContextSwitchTo(previous);
	return bytes;
}

bool
chatcrypt_eventkey_read(ChatcryptEventKey *key)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	bool		isnull;
	bool		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT kms_key, encrypted_key, kcv "
									"FROM chatcrypt.event_chain",
									NULL, 0) > 0;
	if (found)
	{
		key->id = key_id();
		key->kms_key = MemoryContextStrdup(context,
										   TextDatumGetCString(chatcrypt_owner_value(&isnull)));
		key->wrapped = bytes_of_result(context, 2);
		memcpy(key->id.kcv, VARDATA(bytes_of_result(context, 3)),
			   CC_KCV_LEN);	/* CHECKed to be that long */
	}
	chatcrypt_owner_end(&scope);
	return found;
}

/* The deployment's id, and the KMS key that the server's settings name. */
static void
wrapping_of_server(ChatcryptWrapping *wrapping)
{
	chatcrypt_tenantkey_wrapping("default", wrapping);
	wrapping->kms_key = pstrdup(chatcrypt_default_kms_key);
	chatcrypt_tenantkey_check_uri(wrapping->kms_key);
}

void
chatcrypt_eventkey_make(void)
{
	ChatcryptNewDek key = {.id = key_id()};
	ChatcryptWrapping wrapping;
	ChatcryptOwnerScope scope;
	ChatcryptArg args[3];

	wrapping_of_server(&wrapping);
	chatcrypt_newdeks_generate(&wrapping, &key, 1);
	args[0] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(wrapping.kms_key), false};
	args[1] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(key.wrapped), false};
	args[2] = chatcrypt_owner_bytes_arg(key.id.kcv, CC_KCV_LEN);

	chatcrypt_owner_begin(&scope);
	if (!chatcrypt_tenantkey_settle("default", &wrapping))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not make the key of the event chain: another session was making the first chat"),
				 errhint("Try again.")));
	chatcrypt_owner_execute("INSERT INTO chatcrypt.event_chain (kms_key, encrypted_key, kcv) "
							"VALUES ($1, $2, $3) "
							"ON CONFLICT DO NOTHING", args, lengthof(args));
	chatcrypt_owner_end(&scope);
}

static void
unwrap(const ChatcryptEventKey *key)
{
	ChatcryptKmsJob job = {
		.id = key->id,
		.kms_key = key->kms_key,
		.wrapped = (const uint8 *) VARDATA(key->wrapped),
		.wrapped_len = (uint16) Min(VARSIZE(key->wrapped) - VARHDRSZ, PG_UINT16_MAX)
	};

	chatcrypt_store_context(&key->id, job.context);
	chatcrypt_requests_run(CC_KMS_UNWRAP, &job, 1);
	if (job.outcome == CC_KMS_OK && !job.wrong_key)
		chatcrypt_keycache_put(&key->id, job.dek);
	cc_wipe(job.dek, CC_DEK_LEN);
	if (job.outcome != CC_KMS_OK || job.wrong_key)
		chatcrypt_kmserror_raise(CC_KMS_UNWRAP, &job);
}

/* False where the key is not cached.  Nothing here raises while a copy of the key exists. */
static bool
try_mac(const ChatcryptKeyId *id, const void *data, Size len, uint8 mac[CC_SHA256_LEN])
{
	uint8		secret[CC_DEK_LEN];
	cc_hmac_key key;
	bool		cached = chatcrypt_keycache_get(id, secret) != CHATCRYPT_CACHE_MISS;

	if (cached)
	{
		cc_hmac_key_init(&key, secret, sizeof(secret));
		cc_hmac(&key, data, len, mac);
		cc_wipe(&key, sizeof(key));
	}
	cc_wipe(secret, sizeof(secret));
	return cached;
}

void
chatcrypt_eventkey_warm(const ChatcryptEventKey *key)
{
	uint8		nothing[CC_SHA256_LEN];

	if (!try_mac(&key->id, "", 0, nothing))
		unwrap(key);
	cc_wipe(nothing, sizeof(nothing));
}

void
chatcrypt_eventkey_mac(const ChatcryptEventKey *key, const void *data, Size len,
					   uint8 mac[CC_SHA256_LEN])
{
	/* The caller has warmed the key, so a miss is rare; the KMS is then asked again. */
	for (int try = 0; try < TRIES; try++)
	{
		if (try_mac(&key->id, data, len, mac))
			return;
		unwrap(key);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("the key of the event chain does not stay in the key cache"),
			 errhint("Raise chatcrypt.cache_size.")));
}

void
chatcrypt_eventkey_lock(const ChatcryptEventKey *key)
{
	ChatcryptArg arg = {BYTEAOID, PointerGetDatum(key->wrapped), false};

	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.event_chain "
								"WHERE encrypted_key = $1 "
								"FOR UPDATE", &arg, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the key of the event chain was moved in the meantime"),
				 errhint("Try again.")));
}

/* Wraps the key with the KMS key that wrapping names.  The caller has warmed the key. */
static void
wrap_again(const ChatcryptEventKey *key, const ChatcryptWrapping *wrapping, ChatcryptNewDek *moved)
{
	uint8		secret[CC_DEK_LEN];

	*moved = (ChatcryptNewDek) {.id = key->id};
	PG_TRY();
	{
		if (chatcrypt_keycache_get(&key->id, secret) == CHATCRYPT_CACHE_MISS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the key of the event chain left the key cache"),
					 errhint("Try again.")));
		chatcrypt_newdeks_wrap_one(wrapping, secret, moved);
	}
	PG_CATCH();
	{
		cc_wipe(secret, sizeof(secret));
		PG_RE_THROW();
	}
	PG_END_TRY();
	cc_wipe(secret, sizeof(secret));
}

/* Raises unless the KMS unwraps what it has just wrapped to the same key. */
static void
check_wrapped(const ChatcryptNewDek *moved, const char *kms_key)
{
	ChatcryptKmsJob job = {
		.id = moved->id,
		.kms_key = kms_key,
		.wrapped = (const uint8 *) VARDATA(moved->wrapped),
		.wrapped_len = (uint16) (VARSIZE(moved->wrapped) - VARHDRSZ),
		.fresh = true,
		.check_only = true
	};

	chatcrypt_store_context(&moved->id, job.context);
	chatcrypt_requests_run(CC_KMS_UNWRAP, &job, 1);
	if (job.outcome != CC_KMS_OK || job.wrong_key)
		chatcrypt_kmserror_raise(CC_KMS_UNWRAP, &job);
}

PG_FUNCTION_INFO_V1(chatcrypt_move_event_key);

/* move_event_key(): false where there is no key yet. */
Datum
chatcrypt_move_event_key(PG_FUNCTION_ARGS)
{
	ChatcryptEventKey key;
	ChatcryptNewDek moved;
	ChatcryptWrapping wrapping;
	ChatcryptOwnerScope scope;
	ChatcryptEvent event = {.event = "move",
							.purpose = chatcrypt_keytypes_purpose_text(CHATCRYPT_PURPOSE_EVENTS)};
	ChatcryptArg args[2];

	(void) fcinfo;
	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.move_event_key()");
	if (!chatcrypt_eventkey_read(&key))
		PG_RETURN_BOOL(false);
	wrapping_of_server(&wrapping);
	chatcrypt_eventkey_warm(&key);
	wrap_again(&key, &wrapping, &moved);
	check_wrapped(&moved, wrapping.kms_key);

	event.kms_key = wrapping.kms_key;
	event.detail = psprintf("%s -> %s", key.kms_key, wrapping.kms_key);
	args[0] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(wrapping.kms_key), false};
	args[1] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(moved.wrapped), false};
	chatcrypt_owner_begin(&scope);
	chatcrypt_eventkey_lock(&key);
	chatcrypt_owner_execute("UPDATE chatcrypt.event_chain "
							"SET kms_key = $1, encrypted_key = $2",
							args, lengthof(args));
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	PG_RETURN_BOOL(true);
}
