/*
 * protected.c
 *		The description of a table of the access method chatcrypt: see protected.h.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_seclabel.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/string.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/protect/protected.h"
#include "pg/protect/protecterrors.h"

#define SEALED_WORD "sealed "

/* ---------- labels as text ---------- */

static bool
parse_uuid(const char *text, pg_uuid_t *uuid)
{
	char		canonical[37];

	if (strnlen(text, 36) < 36 || (text[36] != '\0' && text[36] != ' '))
		return false;
	strlcpy(canonical, text, sizeof(canonical));
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? canonical[i] != '-' :
			strchr("0123456789abcdef", canonical[i]) == NULL)
			return false;
	chatcrypt_id_parse(canonical, uuid->data);
	return true;
}

static bool
parse_word(char **at, ChatcryptColumnLabel *parsed)
{
	char	   *word = strsep(at, " ");
	char	   *value;
	char	   *end;

	if (strcmp(word, "mixed") == 0 && parsed->state == CHATCRYPT_COLUMN_SEALED)
		parsed->state = CHATCRYPT_COLUMN_MIXED;
	else if (strcmp(word, "opening") == 0 && parsed->state == CHATCRYPT_COLUMN_SEALED)
		parsed->state = CHATCRYPT_COLUMN_OPENING;
	else if (strcmp(word, "length") == 0 && parsed->length == 0)
	{
		value = *at != NULL ? strsep(at, " ") : "";
		parsed->length = strtoint(value, &end, 10);
		return *value != '\0' && *end == '\0' && parsed->length > 0;
	}
	else if (strcmp(word, "storage") == 0 && parsed->storage == 0)
	{
		value = *at != NULL ? strsep(at, " ") : "";
		parsed->storage = value[0];
		return strlen(value) == 1 && strchr("pemx", value[0]) != NULL;
	}
	else
		return false;
	return true;
}

bool
chatcrypt_protected_parse(const char *label, ChatcryptColumnLabel *parsed)
{
	const Size	prefix = strlen(SEALED_WORD);
	char	   *at;

	memset(parsed, 0, sizeof(*parsed));
	if (strncmp(label, SEALED_WORD, prefix) != 0 ||
		!parse_uuid(label + prefix, &parsed->registry_id))
		return false;
	at = label[prefix + 36] == '\0' ? NULL : pstrdup(label + prefix + 37);
	while (at != NULL)
		if (!parse_word(&at, parsed))
			return false;
	return true;
}

char *
chatcrypt_protected_format(const ChatcryptColumnLabel *label)
{
	static const char *const states[] = {
		[CHATCRYPT_COLUMN_SEALED] = "", [CHATCRYPT_COLUMN_MIXED] = " mixed",
		[CHATCRYPT_COLUMN_OPENING] = " opening"
	};
	char	   *length = label->length > 0 ? psprintf(" length %d", label->length) : "";
	char	   *storage = label->storage != 0 ? psprintf(" storage %c", label->storage) : "";

	return psprintf(SEALED_WORD "%s%s%s%s", chatcrypt_id_uuid_text(label->registry_id.data),
					states[label->state], length, storage);
}

/* ---------- ids ---------- */

bool
chatcrypt_protected_is_id_type(Oid type)
{
	return type == UUIDOID || type == INT8OID || type == INT4OID || type == INT2OID;
}

void
chatcrypt_protected_id(Datum value, Oid type, uint8 id[CC_ID_LEN])
{
	switch (type)
	{
		case UUIDOID:
			memcpy(id, DatumGetUUIDP(value)->data, CC_ID_LEN);
			break;
		case INT8OID:
			chatcrypt_id_of_bigint(DatumGetInt64(value), id);
			break;
		case INT4OID:
			chatcrypt_id_of_bigint(DatumGetInt32(value), id);
			break;
		case INT2OID:
			chatcrypt_id_of_bigint(DatumGetInt16(value), id);
			break;
		default:
			elog(ERROR, "a column of type %u holds no ids", type);
	}
}

/* ---------- descriptions ---------- */

static void
add_column(ChatcryptProtected *table, Form_pg_attribute attribute,
		   const ChatcryptColumnLabel *label)
{
	ChatcryptColumn *column = &table->columns[table->ncolumns];

	if (!chatcrypt_sealedform_of_type(attribute->atttypid, &column->form))
		return;
	column->number = attribute->attnum;
	column->label = *label;
	memcpy(column->aad, CHATCRYPT_COLUMN_AAD_PREFIX, 4);
	memcpy(column->aad + 4, label->registry_id.data, CC_ID_LEN);
	table->ncolumns++;
}

static void
add_label(ChatcryptProtected *table, Form_pg_attribute attribute, const char *label)
{
	ChatcryptColumnLabel parsed;

	if (attribute->attisdropped)
		return;
	if (strcmp(label, "chat") == 0)
	{
		table->chat = attribute->attnum;
		table->chat_type = attribute->atttypid;
	}
	else if (strcmp(label, "message") == 0)
	{
		table->message = attribute->attnum;
		table->message_type = attribute->atttypid;
	}
	else if (chatcrypt_protected_parse(label, &parsed))
		add_column(table, attribute, &parsed);
}

/* Adds the labels of all columns by one scan of the catalog, in the order of the columns. */
static void
add_labels(ChatcryptProtected *table, Oid labelled, TupleDesc desc)
{
	Relation	catalog = table_open(SecLabelRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_seclabel_objoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(labelled));
	ScanKeyInit(&keys[1], Anum_pg_seclabel_classoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	scan = systable_beginscan(catalog, SecLabelObjectIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		FormData_pg_seclabel *row = (FormData_pg_seclabel *) GETSTRUCT(tuple);
		bool		isnull;
		Datum		provider = heap_getattr(tuple, Anum_pg_seclabel_provider,
											RelationGetDescr(catalog), &isnull);
		Datum		label = heap_getattr(tuple, Anum_pg_seclabel_label,
										 RelationGetDescr(catalog), &isnull);

		if (row->objsubid > 0 && row->objsubid <= desc->natts &&
			strcmp(TextDatumGetCString(provider), CHATCRYPT_PROTECTED_PROVIDER) == 0)
			add_label(table, TupleDescAttr(desc, row->objsubid - 1), TextDatumGetCString(label));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

static ChatcryptProtected *
read_labels(Oid labelled, TupleDesc desc)
{
	static uint64 last_edition = 0;
	ChatcryptProtected *table = palloc0(offsetof(ChatcryptProtected, columns) +
										sizeof(ChatcryptColumn) * desc->natts);

	add_labels(table, labelled, desc);
	table->edition = ++last_edition;
	table->usable = table->ncolumns > 0 && table->chat != InvalidAttrNumber &&
		table->message != InvalidAttrNumber && chatcrypt_protected_is_id_type(table->chat_type) &&
		chatcrypt_protected_is_id_type(table->message_type);
	return table;
}

/* The new table of a rewriting ALTER TABLE has no labels: those of the old table apply to it. */
static Oid
labelled_relation(Relation relation)
{
	return OidIsValid(relation->rd_rel->relrewrite) ? relation->rd_rel->relrewrite :
		RelationGetRelid(relation);
}

const ChatcryptProtected *
chatcrypt_protected_read(Relation relation)
{
	ChatcryptProtected *read;
	Size		size;
	void	   *kept;

	chatcrypt_protecterrors_note(relation);
	read = read_labels(labelled_relation(relation), RelationGetDescr(relation));
	size = chatcrypt_protected_size(read);
	kept = MemoryContextAlloc(CacheMemoryContext, size);
	memcpy(kept, read, size);
	pfree(read);
	if (relation->rd_amcache != NULL)
		pfree(relation->rd_amcache);
	relation->rd_amcache = kept;
	return kept;
}

const ChatcryptColumn *
chatcrypt_protected_column(const ChatcryptProtected *table, AttrNumber number)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].number == number)
			return &table->columns[i];
	return NULL;
}

Oid
chatcrypt_protected_am(bool missing_ok)
{
	return get_am_oid(CHATCRYPT_PROTECTED_AM, missing_ok);
}

bool
chatcrypt_protected_is_ours(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			am;

	if (!HeapTupleIsValid(tuple))
		return false;
	am = ((Form_pg_class) GETSTRUCT(tuple))->relam;
	ReleaseSysCache(tuple);
	return OidIsValid(am) && am == chatcrypt_protected_am(true);
}

ChatcryptProtected *
chatcrypt_protected_by_oid(Oid relation)
{
	Relation	open;
	const ChatcryptProtected *table;
	ChatcryptProtected *copy;

	if (!chatcrypt_protected_is_ours(relation))
		return NULL;
	open = table_open(relation, AccessShareLock);
	table = chatcrypt_protected(open);
	copy = palloc(chatcrypt_protected_size(table));
	memcpy(copy, table, chatcrypt_protected_size(table));
	table_close(open, AccessShareLock);
	return copy;
}
