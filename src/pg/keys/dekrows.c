/*
 * dekrows.c
 *		Rows of chatcrypt.dek: see dekrows.h.
 *		Not here: KMS calls and the check of rights (chatkeys.c, masterimport.c); the first keys of
 *		a chat (chats.c).
 *
 * Each statement handles all rows at once: a changed row makes the server drop what it has
 * cached about the table, and each further statement would have to load that again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/compat.h"
#include "pg/keys/dekrows.h"

/* ---------- columns ---------- */

static ChatcryptArg
array_arg(Oid type, Oid element, Datum *values, int count)
{
	bool		is_uuid = element == UUIDOID;
	ArrayType  *array = construct_array(values, count, element, is_uuid ? UUID_LEN : -1, false,
										is_uuid ? TYPALIGN_CHAR : TYPALIGN_INT);

	return (ChatcryptArg) {type, PointerGetDatum(array), false};
}

ChatcryptArg
chatcrypt_dekrows_chats(const ChatcryptNewDek *deks, int count)
{
	Datum	   *values = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		values[i] = PointerGetDatum(deks[i].id.chat_id);
	return array_arg(UUIDARRAYOID, UUIDOID, values, count);
}

ChatcryptArg
chatcrypt_dekrows_wrapped(const ChatcryptNewDek *deks, int count)
{
	Datum	   *values = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		values[i] = PointerGetDatum(deks[i].wrapped);
	return array_arg(BYTEAARRAYOID, BYTEAOID, values, count);
}

ChatcryptArg
chatcrypt_dekrows_kcvs(const ChatcryptNewDek *deks, int count)
{
	Datum	   *values = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		values[i] = chatcrypt_owner_bytes_arg(deks[i].id.kcv, CC_KCV_LEN).value;
	return array_arg(BYTEAARRAYOID, BYTEAOID, values, count);
}

static ChatcryptArg
text_array(char *const *texts, int count)
{
	Datum	   *values = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		values[i] = CStringGetTextDatum(texts[i]);
	return array_arg(TEXTARRAYOID, TEXTOID, values, count);
}

/* ---------- rows ---------- */

/* The chats of $1 whose newest key of purpose $2 is older than version $3, as uuid[]. */
static ChatcryptArg
those_that_take_over(const ChatcryptArg *args)
{
	bool		isnull;
	Datum		ids;

	chatcrypt_owner_execute("SELECT array_agg(id) "
							"FROM unnest($1) AS id "
							"WHERE NOT EXISTS (SELECT FROM chatcrypt.dek d "
							"WHERE d.chat_id = id AND d.purpose = $2 AND d.dek_version >= $3)",
							args, 3);
	ids = chatcrypt_owner_value(&isnull);
	return (ChatcryptArg) {UUIDARRAYOID,
						   isnull ? PointerGetDatum(construct_empty_array(UUIDOID)) : ids, false};
}

/* Tells clients of the new key once this transaction has committed. */
static void
announce(ChatcryptArg chats, ChatcryptArg version)
{
	ChatcryptArg args[] = {chats, version};

	chatcrypt_owner_execute("SELECT pg_notify('chatcrypt_key_rotated', "
							"json_build_object('chat_id', id, 'key_version', $2)::text) "
							"FROM unnest($1) AS id", args, lengthof(args));
}

void
chatcrypt_dekrows_write(const ChatcryptNewDek *deks, char *const *kms_keys, int count)
{
	ChatcryptPurpose purpose = deks[0].id.purpose;
	ChatcryptArg args[] = {
		chatcrypt_dekrows_chats(deks, count),
		{TEXTOID, CStringGetTextDatum(chatcrypt_keytypes_purpose_text(purpose)), false},
		{INT4OID, Int32GetDatum((int32) deks[0].id.version), false},
		text_array(kms_keys, count),
		chatcrypt_dekrows_wrapped(deks, count),
		chatcrypt_dekrows_kcvs(deks, count),
		{0}
	};
	ChatcryptArg old_ones[2];

	/*
	 * Also for a key that never seals: a transaction that shreds under an older snapshot must
	 * not pass over it.
	 */
	chatcrypt_owner_execute("UPDATE chatcrypt.chat "
							"SET updated_at = now() "
							"WHERE chat_id = ANY ($1)",
							args, 1);
	args[6] = those_that_take_over(args);
	old_ones[0] = args[6];
	old_ones[1] = args[1];
	chatcrypt_owner_execute("UPDATE chatcrypt.dek "
							"SET state = 'decrypt_only', "
							"valid_to = greatest(valid_from, clock_timestamp()) "
							"WHERE chat_id = ANY ($1) AND purpose = $2 AND state = 'active'",
							old_ones, lengthof(old_ones));

	/* The old key's end and the new one's beginning are the same moment. */
	chatcrypt_owner_execute("INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, "
							"kms_key, encrypted_dek, kcv, valid_from, valid_to) "
							"SELECT k.id, $2, $3, "
							"CASE WHEN active.id IS NULL THEN 'decrypt_only' ELSE 'active' END, "
							"k.kms_key, k.wrapped, k.kcv, "
							"CASE WHEN active.id IS NULL THEN now() "
							"ELSE coalesce((SELECT max(d.valid_to) "
							"FROM chatcrypt.dek d "
							"WHERE d.chat_id = k.id AND d.purpose = $2 "
							"AND d.state <> 'destroyed'), clock_timestamp()) END, "
							"CASE WHEN active.id IS NULL THEN now() END "
							"FROM unnest($1, $4, $5, $6) AS k (id, kms_key, wrapped, kcv) "
							"LEFT JOIN unnest($7) AS active (id) USING (id)",
							args, lengthof(args));
	if (purpose == CHATCRYPT_PURPOSE_CONVERSATION)
		announce(args[6], args[2]);
}

uint64
chatcrypt_dekrows_destroy(const char *condition, const ChatcryptArg *args, int nargs)
{
	return chatcrypt_owner_execute(psprintf("UPDATE chatcrypt.dek AS d "
											"SET state = 'destroyed', "
											"encrypted_dek = NULL, "
											"kcv = NULL, "
											"valid_to = coalesce(d.valid_to, "
											"greatest(d.valid_from, clock_timestamp())) "
											"WHERE d.state <> 'destroyed' AND (%s)", condition),
								   args, nargs);
}
