/*
 * protectverify.c
 *		The function verify_protected(), which lists values of protected columns that are not sealed
 *		or do not open.
 *
 * For each such value it returns the chat, the message and the reason, but never the value.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/messages/diagnosis.h"
#include "pg/procedures/work.h"
#include "pg/protect/lazyvalue.h"
#include "pg/protect/protected.h"
#include "pg/store/owner.h"

enum
{
	FINDING_RELATION,
	FINDING_COLUMN,
	FINDING_CHAT_ID,
	FINDING_MESSAGE_ID,
	FINDING_REASON,
	FINDING_COLUMNS
};

typedef struct Verification
{
	Relation	relation;
	ChatcryptProtected *table;
	TupleTableSlot *slot;
	ReturnSetInfo *result;
	int64		left;			/* how many findings may still be returned */
} Verification;

static const char *
what_is_wrong(ChatcryptLazy *lazy)
{
	const ChatcryptSeat *seat = chatcrypt_lazyvalue_seat(lazy);
	ChatcryptAad aad = {.bytes = seat->aad, .len = sizeof(seat->aad)};
	struct varlena *stored = pg_detoast_datum_packed(unconstify(struct varlena *, lazy->stored));
	bytea	   *envelope = chatcrypt_sealedform_envelope(seat->form, stored);
	char	   *wrong = envelope == NULL ? NULL :
		chatcrypt_diagnosis_of_envelope(seat->chat_id, seat->message_id, envelope, &aad);

	if (envelope == NULL)
		return "not sealed";
	return wrong;
}

static void
add_finding(Verification *verification, const ChatcryptColumn *column, const ChatcryptSeat *seat,
			const char *reason)
{
	Datum		values[FINDING_COLUMNS];
	bool		nulls[FINDING_COLUMNS] = {false};
	NameData	name;

	namestrcpy(&name, get_attname(RelationGetRelid(verification->relation), column->number, false));
	values[FINDING_RELATION] = ObjectIdGetDatum(RelationGetRelid(verification->relation));
	values[FINDING_COLUMN] = NameGetDatum(&name);
	values[FINDING_CHAT_ID] = PointerGetDatum(seat->chat_id);
	values[FINDING_MESSAGE_ID] = PointerGetDatum(seat->message_id);
	values[FINDING_REASON] = CStringGetTextDatum(reason);
	tuplestore_putvalues(verification->result->setResult, verification->result->setDesc, values,
						 nulls);
	verification->left--;
}

static void
verify_row(Verification *verification)
{
	for (int i = 0; i < verification->table->ncolumns && verification->left > 0; i++)
	{
		const ChatcryptColumn *column = &verification->table->columns[i];
		bool		isnull;
		Datum		value = slot_getattr(verification->slot, column->number, &isnull);
		ChatcryptLazy *lazy = isnull ? NULL : chatcrypt_lazyvalue_of(value);
		const char *wrong = lazy == NULL ? NULL : what_is_wrong(lazy);

		if (wrong != NULL)
			add_finding(verification, column, chatcrypt_lazyvalue_seat(lazy), wrong);
	}
}

static void
verify_rows(Verification *verification)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt verify",
												  ALLOCSET_DEFAULT_SIZES);
	TableScanDesc scan = chatcrypt_table_beginscan(verification->relation, GetActiveSnapshot());

	while (verification->left > 0 &&
		   table_scan_getnextslot(scan, ForwardScanDirection, verification->slot))
	{
		MemoryContext outer = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		verify_row(verification);
		MemoryContextSwitchTo(outer);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	MemoryContextDelete(context);
}

/* In the owner's scope values are shown sealed, so a value that does not open is not NULL. */
static void
verify_table(Verification *verification, Oid relation)
{
	ChatcryptOwnerScope scope;

	verification->table = chatcrypt_protected_by_oid(relation);
	if (verification->table == NULL || !verification->table->usable)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not protected", get_rel_name(relation))));
	verification->relation = table_open(relation, AccessShareLock);
	verification->slot = table_slot_create(verification->relation, NULL);
	chatcrypt_owner_begin_as(&scope, verification->relation->rd_rel->relowner);
	verify_rows(verification);
	chatcrypt_owner_end(&scope);
	ExecDropSingleTupleTableSlot(verification->slot);
	table_close(verification->relation, NoLock);
}

static List *
all_tables(void)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	List	   *tables = NIL;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT DISTINCT objoid "
							"FROM pg_seclabel "
							"JOIN pg_class ON pg_class.oid = objoid "
							"WHERE provider = 'chatcrypt' AND classoid = 'pg_class'::regclass "
							"AND relkind = 'r' AND label LIKE 'sealed %' "
							"ORDER BY objoid", NULL, 0);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		tables = lappend_oid(tables, DatumGetObjectId(chatcrypt_owner_column(i, 1, &isnull)));
	chatcrypt_owner_end(&scope);
	return tables;
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_protected);

/* verify_protected("table" regclass, max_findings bigint): a NULL table means all */
Datum
chatcrypt_verify_protected(PG_FUNCTION_ARGS)
{
	Verification verification = {.left = chatcrypt_work_limit_argument(fcinfo, 1, "max_findings")};
	List	   *tables;
	ListCell   *cell;

	chatcrypt_rights_require_steward();
	chatcrypt_actor_refuse("chatcrypt.verify_protected()");
	InitMaterializedSRF(fcinfo, 0);
	verification.result = (ReturnSetInfo *) fcinfo->resultinfo;
	tables = PG_ARGISNULL(0) ? all_tables() : list_make1_oid(PG_GETARG_OID(0));
	foreach(cell, tables)
		verify_table(&verification, lfirst_oid(cell));
	return (Datum) 0;
}
