/*
 * protectlabels.c
 *		Security labels of the provider chatcrypt: see protectlabels.h.
 *
 * protect() and unprotect() set labels without this hook.  The hook checks the command SECURITY
 * LABEL, which a restore needs: it is allowed on an empty table of our access method, for a column
 * that has no label yet.  It never changes or removes a label, because the column would then be
 * shown sealed, and new values would be stored in plaintext.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/seclabel.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/base/settings.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectlabels.h"
#include "pg/store/owner.h"

static ObjectAddress
address_of(Oid relation, AttrNumber column)
{
	return (ObjectAddress) {
		.classId = RelationRelationId, .objectId = relation, .objectSubId = column
	};
}

void
chatcrypt_protectlabels_set(Oid relation, AttrNumber column, const char *label)
{
	ObjectAddress address = address_of(relation, column);

	SetSecurityLabel(&address, CHATCRYPT_PROTECTED_PROVIDER, label);
	CacheInvalidateRelcacheByRelid(relation);
}

char *
chatcrypt_protectlabels_get(Oid relation, AttrNumber column)
{
	ObjectAddress address = address_of(relation, column);

	return GetSecurityLabel(&address, CHATCRYPT_PROTECTED_PROVIDER);
}

static void
refuse(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s", what),
			 errhint("%s", hint)));
}

void
chatcrypt_protectlabels_require_allowed(void)
{
	if (!chatcrypt_allow_protect)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("protected tables are not finished, and are off"),
				 errdetail("They have known defects, by which values can be lost or be stored as plaintext."),
				 errhint("To try them with data that may be lost, have a superuser set chatcrypt.allow_protect.")));
}

/* A registration belongs to one table, so that its envelopes do not open in another table. */
static void
require_own_registration(Oid relation, const pg_uuid_t *registry_id)
{
	ChatcryptOwnerScope scope;
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(registry_id), false},
		{OIDOID, ObjectIdGetDatum(relation), false}
	};
	uint64		others;

	chatcrypt_owner_begin(&scope);
	others = chatcrypt_owner_execute("SELECT 1 "
									 "FROM chatcrypt.envelope_column "
									 "WHERE registry_id = $1 AND relation::oid <> $2",
									 args, lengthof(args));
	chatcrypt_owner_end(&scope);
	if (others > 0)
		refuse("the registration in the label belongs to another table",
			   "Use chatcrypt.protect(), which makes a new registration.");
}

static void
check_sealed(Relation table, AttrNumber column, const char *label)
{
	Oid			type = TupleDescAttr(RelationGetDescr(table), column - 1)->atttypid;
	ChatcryptColumnLabel parsed;
	ChatcryptForm form;

	if (!chatcrypt_protected_parse(label, &parsed) || parsed.state == CHATCRYPT_COLUMN_OPENING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid chatcrypt label"),
				 errdetail("A label is \"chat\", \"message\", or \"sealed\" and the uuid of a registration."),
				 errhint("Use chatcrypt.protect(), which sets the labels.")));
	if (!chatcrypt_sealedform_of_type(type, &form))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a column of type %s cannot be protected", format_type_be(type))));
	/* pg_upgrade creates our own tables in any order: envelope_column may not exist yet. */
	if (!IsBinaryUpgrade)
		require_own_registration(RelationGetRelid(table), &parsed.registry_id);
}

static void
check_label(Relation table, AttrNumber column, const char *label)
{
	Oid			type = TupleDescAttr(RelationGetDescr(table), column - 1)->atttypid;

	if (strcmp(label, "chat") != 0 && strcmp(label, "message") != 0)
		check_sealed(table, column, label);
	else if (!chatcrypt_protected_is_id_type(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a column of type %s cannot hold ids of chats or messages",
						format_type_be(type))));
}

static void
check_relabel(const ObjectAddress *object, const char *label)
{
	Relation	table;

	chatcrypt_protectlabels_require_allowed();
	if (object->classId != RelationRelationId || object->objectSubId <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("chatcrypt labels can be set only on columns of tables")));
	if (label == NULL || chatcrypt_protectlabels_get(object->objectId, object->objectSubId) != NULL)
		refuse("a label of a protected table cannot be changed", "Use chatcrypt.unprotect().");
	if (!chatcrypt_protected_is_ours(object->objectId))
		refuse("chatcrypt labels can be set only on tables of the access method chatcrypt",
			   "Use chatcrypt.protect().");
	table = table_open(object->objectId, NoLock);
	if (RelationGetNumberOfBlocks(table) > 0)
		refuse("chatcrypt labels can be set only while the table is empty",
			   "Restore the labels before the rows.");
	check_label(table, object->objectSubId, label);
	table_close(table, NoLock);
	CacheInvalidateRelcacheByRelid(object->objectId);
}

void
chatcrypt_protectlabels_install(void)
{
	register_label_provider(CHATCRYPT_PROTECTED_PROVIDER, check_relabel);
}
