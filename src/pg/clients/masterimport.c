/*
 * masterimport.c
 *		import_conversation_keys(): imports the keys of many conversations, which another system
 *		derived from one master key.
 *
 *	key = HKDF-SHA256(salt, input key material = master key, info, 32)
 *
 * The conversation's uuid stands in salt or info in place of {uuid}.  Keys are derived into
 * memory that is wiped, and the KMS wraps them in batches with nothing locked.  Then the chats
 * are locked, and get their keys as import_dek() gives them (chatkeys.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "core/kdf.h"
#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/keys/dekrows.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/tenantkeys.h"

#define PLACEHOLDER			"{uuid}"
#define PLACEHOLDER_LEN		(sizeof(PLACEHOLDER) - 1)
#define UUID_TEXT_LEN		36
#define TEMPLATE_MAX		128
#define FILLED_MAX			(TEMPLATE_MAX + UUID_TEXT_LEN)
#define MASTER_KEY_MIN		16
#define MASTER_KEY_MAX		1024

/* Salt or info, in two pieces: before and after the uuid. */
typedef struct Template
{
	const uint8 *before;
	Size		before_len;
	bool		has_uuid;
	const uint8 *after;
	Size		after_len;
} Template;

/* Writes a uuid into a template, and returns the number of bytes. */
typedef Size (*UuidWriter) (const uint8 id[CC_ID_LEN], uint8 *out);

typedef struct Rule
{
	const uint8 *master_key;
	Size		master_key_len;
	Template	salt;
	Template	info;
	UuidWriter	write_uuid;
} Rule;

/* The chats in the order of their ids, each once; all arrays have count elements. */
typedef struct Chats
{
	int			count;
	ChatcryptNewDek *deks;
	char	  **kms_keys;
} Chats;

/* ---------- the rule ---------- */

static Size
write_binary(const uint8 id[CC_ID_LEN], uint8 *out)
{
	memcpy(out, id, CC_ID_LEN);
	return CC_ID_LEN;
}

static Size
write_hex(const uint8 id[CC_ID_LEN], uint8 *out)
{
	cc_hex_encode(id, CC_ID_LEN, (char *) out);
	return 2 * CC_ID_LEN;
}

/* 8-4-4-4-12 digits. */
static Size
write_text(const uint8 id[CC_ID_LEN], uint8 *out)
{
	static const uint8 bytes[] = {4, 2, 2, 2, 6};
	uint8	   *to = out;

	for (int group = 0; group < (int) lengthof(bytes); group++)
	{
		if (group > 0)
			*to++ = '-';
		cc_hex_encode(id, bytes[group], (char *) to);
		id += bytes[group];
		to += 2 * bytes[group];
	}
	return to - out;
}

static Size
fill(const Template *template, const uint8 *chat_id, UuidWriter write_uuid, uint8 out[FILLED_MAX])
{
	uint8	   *to = out;

	memcpy(to, template->before, template->before_len);
	to += template->before_len;
	if (template->has_uuid)
		to += write_uuid(chat_id, to);
	memcpy(to, template->after, template->after_len);
	return to + template->after_len - out;
}

/* Derives the key of a chat: the callback of newdeks.h. */
static cc_status
derive(const ChatcryptKeyId *id, const void *arg, uint8 dek[CC_DEK_LEN])
{
	const Rule *rule = arg;
	uint8		salt[FILLED_MAX];
	uint8		info[FILLED_MAX];
	Size		info_len = fill(&rule->info, id->chat_id, rule->write_uuid, info);
	uint8		prk[CC_SHA256_LEN];
	cc_hmac_key expand;
	cc_status	status;

	cc_hkdf_extract(salt, fill(&rule->salt, id->chat_id, rule->write_uuid, salt),
					rule->master_key, rule->master_key_len, prk);
	cc_hmac_key_init(&expand, prk, sizeof(prk));
	status = cc_hkdf_expand(&expand, info, info_len, dek, CC_DEK_LEN);
	cc_wipe(prk, sizeof(prk));
	cc_wipe(&expand, sizeof(expand));
	return status;
}

/* ---------- arguments ---------- */

static void
refuse(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", why)));
}

static Template
template_argument(FunctionCallInfo fcinfo, int n)
{
	bytea	   *argument = PG_GETARG_BYTEA_PP(n);
	Template	template = {.before = (uint8 *) VARDATA_ANY(argument),
							.before_len = VARSIZE_ANY_EXHDR(argument)};
	const uint8 *end = template.before + template.before_len;
	const uint8 *found = memmem(template.before, template.before_len, PLACEHOLDER, PLACEHOLDER_LEN);

	template.after = end;
	if (found != NULL)
	{
		template.has_uuid = true;
		template.before_len = found - template.before;
		template.after = found + PLACEHOLDER_LEN;
		template.after_len = end - template.after;
	}
	if (memmem(template.after, template.after_len, PLACEHOLDER, PLACEHOLDER_LEN) != NULL)
		refuse("{uuid} must not occur more than once in salt or in info");
	if (template.before_len + template.after_len > TEMPLATE_MAX)
		refuse("salt and info can have at most 128 bytes each, without the uuid");
	return template;
}

static UuidWriter
encoding_argument(FunctionCallInfo fcinfo, int n)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (strcmp(name, "text") == 0)
		return write_text;
	if (strcmp(name, "hex") == 0)
		return write_hex;
	if (strcmp(name, "binary") != 0)
		refuse("the encoding of a uuid must be text, hex or binary");
	return write_binary;
}

/* Arguments 1 to 4: master key, salt, info, the uuid's encoding. */
static Rule
rule_argument(FunctionCallInfo fcinfo)
{
	bytea	   *master_key = PG_GETARG_BYTEA_PP(1);
	Rule		rule = {
		.master_key = (uint8 *) VARDATA_ANY(master_key),
		.master_key_len = VARSIZE_ANY_EXHDR(master_key),
		.salt = template_argument(fcinfo, 2),
		.info = template_argument(fcinfo, 3),
		.write_uuid = encoding_argument(fcinfo, 4)
	};

	if (rule.master_key_len < MASTER_KEY_MIN || rule.master_key_len > MASTER_KEY_MAX)
		refuse("a master key must have 16 to 1024 bytes");
	if (!rule.salt.has_uuid && !rule.info.has_uuid)
		refuse("neither salt nor info contains {uuid}, so all chats would get the same key");
	return rule;
}

/* ---------- chats ---------- */

/* Columns: id, mode (NULL where there is no such chat), the KMS key of its tenant. */
static void
read_chat(uint64 row, uint32 version, MemoryContext context, Chats *chats)
{
	bool		isnull;
	const uint8 *chat_id = DatumGetUUIDP(chatcrypt_owner_column(row, 1, &isnull))->data;
	Datum		mode;
	Datum		kms_key;

	if (isnull)
		refuse("the id of a chat must not be null");
	mode = chatcrypt_owner_column(row, 2, &isnull);
	if (isnull)
		chatcrypt_no_such_chat(chat_id);
	if (strcmp(TextDatumGetCString(mode), "conversation_key") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chat %s is not of mode conversation_key", chatcrypt_id_text(chat_id))));
	kms_key = chatcrypt_owner_column(row, 3, &isnull);
	chats->deks[row] =
		(ChatcryptNewDek) {.id = chatcrypt_keytypes_key_id(chat_id, CHATCRYPT_PURPOSE_CONVERSATION,
														   version)};
	chats->kms_keys[row] = MemoryContextStrdup(context,
											   isnull ? chatcrypt_default_kms_key :
											   TextDatumGetCString(kms_key));
}

static Chats
find_chats(Datum ids, uint32 version)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {UUIDARRAYOID, ids, false};
	ChatcryptOwnerScope scope;
	Chats		chats;

	chatcrypt_owner_begin(&scope);
	chats.count = (int)
		chatcrypt_owner_execute("SELECT given.id, c.mode, t.kms_key "
								"FROM (SELECT DISTINCT unnest($1) AS id) AS given "
								"LEFT JOIN chatcrypt.chat c ON c.chat_id = given.id "
								"LEFT JOIN chatcrypt.tenant t USING (tenant) "
								"ORDER BY given.id", &arg, 1);
	chats.deks = MemoryContextAlloc(context, sizeof(ChatcryptNewDek) * Max(chats.count, 1));
	chats.kms_keys = MemoryContextAlloc(context, sizeof(char *) * Max(chats.count, 1));
	for (int i = 0; i < chats.count; i++)
		read_chat(i, version, context, &chats);
	chatcrypt_owner_end(&scope);
	return chats;
}

/* Locks the chats in the order of their ids, so that two sessions cannot wait for each other. */
static void
lock_chats(const ChatcryptArg *ids, int count)
{
	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.chat "
								"WHERE chat_id = ANY ($1) "
								"ORDER BY chat_id "
								"FOR NO KEY UPDATE",
								ids, 1) != (uint64) count)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a chat was deleted while its key was wrapped")));
}

/* Records the import in the history, from the rows that were written. */
static void
record(const ChatcryptOwnerScope *scope, const ChatcryptArg *ids, const ChatcryptKeyId *one)
{
	ChatcryptArg args[] = {
		*ids,
		{TEXTOID, CStringGetTextDatum(chatcrypt_keytypes_purpose_text(one->purpose)), false},
		{INT4OID, Int32GetDatum((int32) one->version), false},
		chatcrypt_owner_caller(scope)
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.key_event (event, chat_id, purpose, "
							"dek_version, kms_key, role) "
							"SELECT 'import', chat_id, purpose, dek_version, kms_key, $4 "
							"FROM chatcrypt.dek "
							"WHERE chat_id = ANY ($1) AND purpose = $2 AND dek_version = $3 "
							"ORDER BY dek_id",
							args, lengthof(args));
}

static void
install(const Chats *chats)
{
	ChatcryptArg ids = chatcrypt_dekrows_chats(chats->deks, chats->count);
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	lock_chats(&ids, chats->count);
	chatcrypt_dekrows_write(chats->deks, chats->kms_keys, chats->count);
	record(&scope, &ids, &chats->deks[0].id);
	chatcrypt_owner_end(&scope);
}

PG_FUNCTION_INFO_V1(chatcrypt_import_conversation_keys);

/*
 * import_conversation_keys(chat_ids uuid[], master_key bytea, salt bytea, info bytea,
 * uuid_encoding text, version integer): the number of chats
 */
Datum
chatcrypt_import_conversation_keys(PG_FUNCTION_ARGS)
{
	uint8		deployment_id[CC_ID_LEN];
	Rule		rule;
	Chats		chats;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.import_conversation_keys()");
	rule = rule_argument(fcinfo);
	chats = find_chats(PG_GETARG_DATUM(0), chatcrypt_chatkeys_import_version(PG_GETARG_INT32(5)));
	if (chats.count > 0)
	{
		if (!chatcrypt_store_deployment_id(deployment_id))
			chatcrypt_store_deployment_lost();
		chatcrypt_newdeks_wrap(deployment_id, chats.kms_keys, derive, &rule, chats.deks,
							   chats.count);
		install(&chats);
	}
	PG_RETURN_INT32(chats.count);
}
