/*
 * registry.c
 *		Where envelopes are kept: see registry.h.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "core/id.h"
#include "pg/access/access.h"
#include "pg/attachments/attachmentseal.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"
#include "pg/upkeep/ownrows.h"
#include "pg/upkeep/protectedplace.h"
#include "pg/upkeep/registry.h"

/* A row of chatcrypt.envelope_column. */
typedef struct Registration
{
	pg_uuid_t	registry_id;
	Oid			relation;
	char	   *envelope;
	char	   *chat;
	char	   *message;
	const ChatcryptAad *aad;
} Registration;

static char *
name_of(HeapTuple tuple, int column)
{
	return SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);
}

static Registration *
copy_registration(HeapTuple tuple)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	Registration *copy = palloc0(sizeof(Registration));
	bool		isnull;
	Datum		aad;

	copy->registry_id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 1, &isnull));
	copy->relation = DatumGetObjectId(SPI_getbinval(tuple, desc, 2, &isnull));
	copy->envelope = name_of(tuple, 3);
	copy->chat = name_of(tuple, 4);
	copy->message = name_of(tuple, 5);
	aad = SPI_getbinval(tuple, desc, 6, &isnull);
	if (!isnull)
		copy->aad = chatcrypt_seal_aad(palloc(sizeof(ChatcryptAad)), DatumGetByteaPCopy(aad));
	return copy;
}

/* Labels too: those of a restored table may have come without its registration. */
#define ALL_REGISTRATIONS \
	"WITH labelled AS (SELECT split_part(label, ' ', 2)::uuid AS registry_id, objoid, objsubid " \
	"FROM pg_seclabel WHERE provider = 'chatcrypt' AND classoid = 'pg_class'::regclass " \
	"AND label LIKE 'sealed %') " \
	"SELECT registry_id, relation::oid, envelope_column, chat_column, message_column, aad " \
	"FROM chatcrypt.envelope_column UNION ALL " \
	"SELECT registry_id, objoid, attname, attname, attname, '\\x636f6c00'::bytea || uuid_send(registry_id) " \
	"FROM labelled JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid " \
	"WHERE NOT EXISTS (SELECT FROM chatcrypt.envelope_column AS e " \
	"WHERE e.registry_id = labelled.registry_id AND e.relation::oid = objoid) ORDER BY 2, 3"

static List *
read_registrations(void)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	List	   *registrations = NIL;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute(ALL_REGISTRATIONS, NULL, 0);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		registrations = lappend(registrations, copy_registration(SPI_tuptable->vals[i]));
	chatcrypt_owner_end(&scope);
	return registrations;
}

pg_noreturn static void unusable(const Registration *registration, const char *why);

static void
unusable(const Registration *registration, const char *why)
{
	char	   *name = get_rel_name(registration->relation);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the envelopes of column \"%s\" of %s cannot be found: %s",
					registration->envelope,
					name ? name : "a table that was dropped", why),
			 errhint("Register what took its place with chatcrypt.register_envelopes(), then call chatcrypt.unregister_envelopes('%s').",
					 chatcrypt_id_text(registration->registry_id.data))));
}

/* The quoted name of a stored column, which must have one of the types. */
static char *
column_of(const Registration *registration, Relation table, const char *name, Oid *type, bool is_id)
{
	AttrNumber	number = get_attnum(RelationGetRelid(table), name);
	Form_pg_attribute column;

	if (number == InvalidAttrNumber)
		unusable(registration, psprintf("there is no column \"%s\"", name));
	if (number < 0)
		unusable(registration, psprintf("column \"%s\" is the system's", name));
	column = TupleDescAttr(RelationGetDescr(table), number - 1);
	if (column->attgenerated != '\0')
		unusable(registration, psprintf("column \"%s\" is a generated one", name));
	*type = column->atttypid;
	if (is_id ? *type != UUIDOID && *type != INT8OID && *type != INT4OID && *type != INT2OID :
		*type != BYTEAOID)
		unusable(registration, psprintf(is_id ? "column \"%s\" is neither a uuid nor an integer" :
										"column \"%s\" is not a bytea", name));
	return pstrdup(quote_identifier(name));
}

static char *
qualified_name(Relation table)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
									  RelationGetRelationName(table));
}

static void
fill_registered(ChatcryptPlace *place, const Registration *registration, Relation table)
{
	Oid			envelope_type;

	place->kind = CHATCRYPT_PLACE_REGISTERED;
	place->column = place->envelope =
		column_of(registration, table, registration->envelope, &envelope_type, false);
	place->envelope_of_t = psprintf("t.%s", place->envelope);
	place->written = "r.envelope";
	place->chat = column_of(registration, table, registration->chat, &place->chat_type, true);
	place->message = column_of(registration, table, registration->message, &place->message_type,
							   true);
	place->aad = registration->aad;
}

static ChatcryptPlace *
place_of_table(const Registration *registration, Relation table)
{
	ChatcryptPlace *place = palloc0(sizeof(ChatcryptPlace));

	place->registry_id = registration->registry_id;
	place->relation = RelationGetRelid(table);
	place->owner = table->rd_rel->relowner;
	place->table = qualified_name(table);
	if (!chatcrypt_protectedplace_fill(place, table, &registration->registry_id))
		fill_registered(place, registration, table);
	return place;
}

/* A protected column was dropped, or its table: then there is nothing that could be overlooked. */
static bool
is_gone_with_its_values(const Registration *registration)
{
	if (!chatcrypt_protectedplace_is_aad(&registration->registry_id, registration->aad))
		return false;
	if (get_rel_name(registration->relation) == NULL)
		return true;
	return !chatcrypt_protectedplace_has_label(registration->relation, &registration->registry_id) &&
		get_attnum(registration->relation, registration->envelope) == InvalidAttrNumber;
}

/* Lists the tables that hold rows: a table, its partitions, and others that inherit from it. */
static List *
places_of_registration(const Registration *registration, LOCKMODE lockmode)
{
	List	   *places = NIL;
	ListCell   *cell;

	LockRelationOid(registration->relation, lockmode);
	if (is_gone_with_its_values(registration))
		return NIL;
	if (get_rel_name(registration->relation) == NULL)
		unusable(registration, "the table is gone");
	foreach(cell, find_all_inheritors(registration->relation, lockmode, NULL))
	{
		Relation	table = table_open(lfirst_oid(cell), NoLock);

		if (table->rd_rel->relkind == RELKIND_RELATION)
			places = lappend(places, place_of_table(registration, table));
		else if (table->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
			unusable(registration,
					 psprintf("%s is not a table of this database",
							  RelationGetRelationName(table)));
		table_close(table, NoLock);
	}
	return places;
}

/* Our own tables, in the order of their kinds. */
static const struct
{
	const char *name;
	char	   *table;
	char	   *envelope;
	char	   *message;
}			own_tables[] = {
	[CHATCRYPT_PLACE_MESSAGES] = {"sealed_message", "chatcrypt.sealed_message", "encrypted_message",
								  "message_id"},
	[CHATCRYPT_PLACE_FILES] = {"sealed_attachment", "chatcrypt.sealed_attachment",
							   "encrypted_metadata",
							   "file_id"},
	[CHATCRYPT_PLACE_PARTS] = {"sealed_attachment_part", "chatcrypt.sealed_attachment_part",
							   "sealed", "file_id"}
};

/* Refuses these: the view would show their rows, but no other function would know of them. */
static void
refuse_heirs(const ChatcryptPlace *place)
{
	if (find_inheritance_children(place->relation, NoLock) == NIL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("tables inherit from %s", place->table),
			 errhint("Detach each with ALTER TABLE … NO INHERIT %s, and register it with chatcrypt.register_envelopes().", place->table)));
}

static ChatcryptPlace *
place_of_ours(ChatcryptPlaceKind kind, LOCKMODE lockmode)
{
	ChatcryptPlace *place = palloc0(sizeof(ChatcryptPlace));

	place->kind = kind;
	place->relation = chatcrypt_relations_find(own_tables[kind].name);
	LockRelationOid(place->relation, lockmode);
	place->owner = chatcrypt_relations_owner();
	place->table = own_tables[kind].table;
	place->column = place->envelope = own_tables[kind].envelope;
	place->envelope_of_t = psprintf("t.%s", place->envelope);
	place->written = "r.envelope";
	place->chat = "chat_id";
	place->message = own_tables[kind].message;
	place->chat_type = place->message_type = UUIDOID;
	place->aad = kind == CHATCRYPT_PLACE_FILES ? chatcrypt_attachmentseal_filemeta_aad() : NULL;
	refuse_heirs(place);
	return place;
}

List *
chatcrypt_registry_places(LOCKMODE lockmode)
{
	List	   *places = NIL;
	ListCell   *cell;

	for (int kind = 0; kind < (int) lengthof(own_tables); kind++)
		places = lappend(places, place_of_ours(kind, lockmode));
	foreach(cell, read_registrations())
		places = list_concat(places, places_of_registration(lfirst(cell), lockmode));
	foreach(cell, places)
		chatcrypt_ownrows_require(lfirst(cell), false);
	return places;
}

static ChatcryptPlace *
find_place(const ChatcryptPlace *known, LOCKMODE lockmode)
{
	ListCell   *cell;
	ListCell   *inner;

	if (known->kind < CHATCRYPT_PLACE_REGISTERED &&
		known->relation == chatcrypt_relations_find(own_tables[known->kind].name))
		return place_of_ours(known->kind, lockmode);
	foreach(cell, read_registrations())
	{
		Registration *registration = lfirst(cell);

		if (memcmp(&registration->registry_id, &known->registry_id, sizeof(pg_uuid_t)) != 0)
			continue;
		foreach(inner, places_of_registration(registration, lockmode))
			if (((ChatcryptPlace *) lfirst(inner))->relation == known->relation)
				return lfirst(inner);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no envelopes are registered in the table with OID %u", known->relation)));
}

ChatcryptPlace *
chatcrypt_registry_place(const ChatcryptPlace *known, LOCKMODE lockmode)
{
	ChatcryptPlace *place = find_place(known, lockmode);

	chatcrypt_ownrows_require(place, lockmode >= RowExclusiveLock);
	return place;
}

bool
chatcrypt_registry_chat_value(const ChatcryptPlace *place, const uint8 chat_id[CC_ID_LEN],
							  Datum *value)
{
	uint64		space;
	int64		number;

	if (place->chat_type == UUIDOID)
	{
		*value = PointerGetDatum(chat_id);
		return true;
	}
	if (!cc_id_to_int64(chat_id, &space, &number) || space != 0)
		return false;
	*value = Int64GetDatum(number);
	return true;
}

Oid
chatcrypt_registry_id_type(Oid column_type)
{
	return column_type == UUIDOID ? UUIDOID : INT8OID;
}

void
chatcrypt_registry_id(Oid column_type, Datum value, uint8 id[CC_ID_LEN])
{
	if (column_type == UUIDOID)
		memcpy(id, DatumGetUUIDP(value)->data, CC_ID_LEN);
	else
		chatcrypt_id_of_bigint(DatumGetInt64(value), id);
}

/*
 * Re-encryption writes to the table as its owner: the role that registers the table must be
 * able to become its owner.
 */
static void
require_owner(Oid relation)
{
	Relation	table = relation_open(relation, AccessShareLock);
	Oid			owner = table->rd_rel->relowner;

	if (RelationGetNamespace(table) ==
		get_rel_namespace(chatcrypt_relations_find("sealed_message")))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the tables of chatcrypt need no registration")));
	relation_close(table, NoLock);
	if (!has_privs_of_role(GetUserId(), owner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relation));
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

/*
 * If the envelopes of two columns are sealed for the same ids and additional data, they could
 * be exchanged within a row, and nothing would notice.  For columns that are registered
 * concurrently, a unique index of chatcrypt.envelope_column prevents this.
 */
static void
refuse_what_can_be_exchanged(const Registration *registration, ChatcryptArg aad)
{
	ChatcryptArg args[] = {
		{OIDOID, ObjectIdGetDatum(registration->relation), false},
		{TEXTOID, CStringGetTextDatum(registration->envelope), false},
		{TEXTOID, CStringGetTextDatum(registration->chat), false},
		{TEXTOID, CStringGetTextDatum(registration->message), false},
		aad
	};

	if (chatcrypt_owner_execute("SELECT envelope_column "
								"FROM chatcrypt.envelope_column "
								"WHERE relation = $1::regclass AND envelope_column <> $2 "
								"AND chat_column = $3 AND message_column = $4 "
								"AND coalesce(aad, '') = coalesce($5, '')",
								args, lengthof(args)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("envelopes of columns \"%s\" and \"%s\" could be exchanged",
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
						registration->envelope),
				 errdetail("Both have the same chat and message ids, and the same additional data."),
				 errhint("Seal the envelopes of each column with additional data of its own, such as the column's name, and name it as aad.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_register_envelopes);

/*
 * register_envelopes(relation, envelope_column, chat_column, message_column, aad,
 * registry_id): the id
 */
Datum
chatcrypt_register_envelopes(PG_FUNCTION_ARGS)
{
	Registration registration = {0};
	ChatcryptOwnerScope scope;
	ListCell   *cell;
	ChatcryptArg args[] = {
		{UUIDOID, PG_GETARG_DATUM(5), false},
		{OIDOID, PG_GETARG_DATUM(0), false},
		{NAMEOID, PG_GETARG_DATUM(1), false},
		{NAMEOID, PG_GETARG_DATUM(2), false},
		{NAMEOID, PG_GETARG_DATUM(3), false},
		{BYTEAOID, PG_GETARG_DATUM(4), PG_ARGISNULL(4)}
	};

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i) && i != 4)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the table, its columns and the id of a registration must not be null")));
	require_owner(PG_GETARG_OID(0));
	registration.relation = PG_GETARG_OID(0);
	registration.envelope = name_argument(fcinfo, 1);
	registration.chat = name_argument(fcinfo, 2);
	registration.message = name_argument(fcinfo, 3);
	foreach(cell, places_of_registration(&registration, AccessShareLock))
		chatcrypt_ownrows_require(lfirst(cell), true);

	chatcrypt_owner_begin(&scope);
	refuse_what_can_be_exchanged(&registration, args[5]);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.envelope_column (registry_id, relation, "
							"envelope_column, chat_column, message_column, aad) "
							"VALUES ($1, $2::regclass, $3, $4, $5, $6)", args, lengthof(args));
	chatcrypt_owner_end(&scope);
	PG_RETURN_DATUM(PG_GETARG_DATUM(5));
}

PG_FUNCTION_INFO_V1(chatcrypt_unregister_envelopes);

/* unregister_envelopes(registry_id uuid): whether there was such a registration */
Datum
chatcrypt_unregister_envelopes(PG_FUNCTION_ARGS)
{
	ChatcryptArg arg = {UUIDOID, PG_GETARG_DATUM(0), false};
	ChatcryptOwnerScope scope;
	uint64		removed;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_owner_begin(&scope);
	removed =
		chatcrypt_owner_execute("DELETE FROM chatcrypt.envelope_column "
								"WHERE registry_id = $1",
								&arg, 1);
	chatcrypt_owner_end(&scope);
	PG_RETURN_BOOL(removed > 0);
}
