/*
 * protect.c
 *		protect() and unprotect(), which change the catalog under one brief lock.
 *
 * After protect() commits, every value that is written is sealed.  Existing rows stay as they are
 * until protect_rows() seals them (protectrows.c); queries return correct values all the time.
 * unprotect() does the same in reverse.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/base/ids.h"
#include "pg/history/events.h"
#include "pg/protect/protectchecks.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectrows.h"
#include "pg/protect/protectlabels.h"
#include "pg/protect/protectswitch.h"
#include "pg/store/owner.h"

static char *
name_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	chatcrypt_id_refuse_null(fcinfo, n, what);
	return pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

static void
record(const ChatcryptOwnerScope *scope, const char *event, Oid relation, const char *column)
{
	chatcrypt_event_record(scope, &(ChatcryptEvent) {
		.event = event,
		.detail = psprintf("column %s of %s", quote_identifier(column),
						   quote_qualified_identifier(
							   get_namespace_name(get_rel_namespace(relation)),
							   get_rel_name(relation)))
	});
}

/* Re-encryption, purging and verification find the column's envelopes by this registration. */
static void
register_column(const ChatcryptTarget *target, const pg_uuid_t *registry_id)
{
	ChatcryptOwnerScope scope;
	uint8		aad[CHATCRYPT_COLUMN_AAD_LEN];
	ChatcryptArg args[6];

	memcpy(aad, CHATCRYPT_COLUMN_AAD_PREFIX, 4);
	memcpy(aad + 4, registry_id->data, CC_ID_LEN);
	args[0] = (ChatcryptArg) {UUIDOID, UUIDPGetDatum(registry_id), false};
	args[1] = (ChatcryptArg) {OIDOID, ObjectIdGetDatum(target->relation), false};
	args[2] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(target->column), false};
	args[3] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(target->chat), false};
	args[4] = (ChatcryptArg) {TEXTOID, CStringGetTextDatum(target->message), false};
	args[5] = chatcrypt_owner_bytes_arg(aad, sizeof(aad));
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.envelope_column "
							"(registry_id, relation, envelope_column, chat_column, message_column, "
							"aad) "
							"VALUES ($1, $2::regclass, $3, $4, $5, $6)", args, lengthof(args));
	record(&scope, "protect", target->relation, target->column);
	chatcrypt_owner_end(&scope);
}

PG_FUNCTION_INFO_V1(chatcrypt_protect);

/* protect("table" regclass, "column" name, chat name, message name): the registration's id */
Datum
chatcrypt_protect(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *registry_id =
		DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
	ChatcryptTarget target;

	chatcrypt_id_refuse_null(fcinfo, 0, "the table");
	target.relation = PG_GETARG_OID(0);
	target.column = name_argument(fcinfo, 1, "the column");
	target.chat = name_argument(fcinfo, 2, "the column of the chat");
	target.message = name_argument(fcinfo, 3, "the column of the message");

	PreventCommandIfReadOnly("chatcrypt.protect()");
	chatcrypt_protectlabels_require_allowed();
	chatcrypt_protectchecks_owner(target.relation, "chatcrypt.protect()");
	chatcrypt_protectchecks_require(&target);
	chatcrypt_protectswitch_lock(target.relation, AccessExclusiveLock);
	/* Check again, because the table may have changed before it was locked. */
	chatcrypt_protectchecks_owner(target.relation, "chatcrypt.protect()");
	chatcrypt_protectchecks_require(&target);
	chatcrypt_protectchecks_warn(&target);
	register_column(&target, registry_id);
	chatcrypt_protectswitch_protect(target.relation,
									get_attnum(target.relation, target.column),
									get_attnum(target.relation, target.chat),
									get_attnum(target.relation, target.message), registry_id);
	PG_RETURN_UUID_P(registry_id);
}

static const ChatcryptColumn *
find_column(const ChatcryptProtected *table, Oid relation, const char *name)
{
	const ChatcryptColumn *column = table == NULL ? NULL :
		chatcrypt_protected_column(table, get_attnum(relation, name));

	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of table \"%s\" is not protected", name,
						get_rel_name(relation))));
	return column;
}

PG_FUNCTION_INFO_V1(chatcrypt_unprotect);

/* unprotect("table" regclass, "column" name) */
Datum
chatcrypt_unprotect(PG_FUNCTION_ARGS)
{
	Oid			relation;
	char	   *name;
	const ChatcryptColumn *column;
	ChatcryptOwnerScope scope;

	chatcrypt_id_refuse_null(fcinfo, 0, "the table");
	relation = PG_GETARG_OID(0);
	name = name_argument(fcinfo, 1, "the column");

	PreventCommandIfReadOnly("chatcrypt.unprotect()");
	chatcrypt_rights_require(CHATCRYPT_MAY_READ);
	chatcrypt_protectchecks_owner(relation, "chatcrypt.unprotect()");
	(void) find_column(chatcrypt_protected_by_oid(relation), relation, name);
	chatcrypt_protectswitch_lock(relation, AccessExclusiveLock);
	chatcrypt_protectchecks_owner(relation, "chatcrypt.unprotect()");
	column = find_column(chatcrypt_protected_by_oid(relation), relation, name);
	if (column->label.state != CHATCRYPT_COLUMN_OPENING)
	{
		chatcrypt_protectswitch_state(relation, column, CHATCRYPT_COLUMN_OPENING);
		chatcrypt_owner_begin(&scope);
		record(&scope, "unprotect", relation, name);
		chatcrypt_owner_end(&scope);
	}
	PG_RETURN_VOID();
}
