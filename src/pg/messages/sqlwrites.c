/*
 * sqlwrites.c
 *		The statements that store a row of chatcrypt.sealed_message: see sqlwrites.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "pg/messages/binding.h"
#include "pg/messages/sqlwrites.h"
#include "pg/messages/tablerights.h"

typedef ChatcryptMessageRow Row;

/* What each statement that stores an envelope returns: run_statement() compares it. */
#define RETURNING_BOUND " RETURNING message_id, chat_id, sender, created_at"

/* Checks that the one row that such a statement returned is what the envelope was sealed for. */
static void
require_bound_as_sealed(const Row *sealed)
{
	static const int columns[] = {MESSAGE_ID, MESSAGE_CHAT_ID, MESSAGE_SENDER, MESSAGE_CREATED_AT};
	Row			stored;

	for (int i = 0; i < (int) lengthof(columns); i++)
		stored.values[columns[i]] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												  i + 1, &stored.nulls[columns[i]]);
	chatcrypt_binding_require_as_sealed(sealed->values, sealed->nulls, stored.values, stored.nulls);
}

/*
 * Runs one of this file's statements as the current user; the plan is kept.  sealed is
 * the row whose envelope the statement stores, or NULL.
 */
static uint64
run_statement(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types, const Datum *values,
			  const bool *isnull, const Row *sealed)
{
	ChatcryptArg args[MESSAGE_COLUMNS + 1];
	uint64		processed;

	for (int i = 0; i < nargs; i++)
		args[i] = (ChatcryptArg) {types[i], values[i], isnull[i]};
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	processed = chatcrypt_tablerights_run(plan, sql, args, nargs);
	if (sealed != NULL && processed > 0)
		require_bound_as_sealed(sealed);
	SPI_finish();
	return processed;
}

static const Oid column_types[MESSAGE_COLUMNS + 1] = {
	UUIDOID, UUIDOID, TEXTOID, BYTEAOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID
};

#define INSERT_MESSAGE \
	"INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender, encrypted_message, dek_version, " \
	"created_at, expires_at) " \
	"VALUES ($1, $2, $3, $4, $5, $6, $7)"

bool
chatcrypt_sqlwrite_insert(const Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan, INSERT_MESSAGE RETURNING_BOUND, MESSAGE_COLUMNS, column_types,
						 row->values, row->nulls, row) > 0;
}

bool
chatcrypt_sqlwrite_insert_unless_there(const Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan,
						 INSERT_MESSAGE " ON CONFLICT (message_id) DO NOTHING" RETURNING_BOUND,
						 MESSAGE_COLUMNS, column_types, row->values, row->nulls, row) > 0;
}

bool
chatcrypt_sqlwrite_update(const Row *row, Datum old_id)
{
	static SPIPlanPtr plan;
	Datum		values[MESSAGE_COLUMNS + 1];
	bool		nulls[MESSAGE_COLUMNS + 1] = {false};

	memcpy(values, row->values, sizeof(row->values));
	memcpy(nulls, row->nulls, sizeof(row->nulls));
	values[MESSAGE_COLUMNS] = old_id;
	return run_statement(&plan,
						 "UPDATE chatcrypt.sealed_message "
						 "SET message_id = $1, chat_id = $2, sender = $3, encrypted_message = $4, "
						 "dek_version = $5, created_at = $6, expires_at = $7 "
						 "WHERE message_id OPERATOR(pg_catalog.=) $8" RETURNING_BOUND,
						 MESSAGE_COLUMNS + 1, column_types, values, nulls, row) > 0;
}

bool
chatcrypt_sqlwrite_update_without_body(const Row *row)
{
	static const Oid types[] = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	static SPIPlanPtr plan;
	Datum		values[] = {
		row->values[MESSAGE_ID], row->values[MESSAGE_SENDER],
		row->values[MESSAGE_CREATED_AT], row->values[MESSAGE_EXPIRES_AT]
	};
	bool		nulls[] = {
		false, row->nulls[MESSAGE_SENDER],
		row->nulls[MESSAGE_CREATED_AT], row->nulls[MESSAGE_EXPIRES_AT]
	};

	return run_statement(&plan,
						 "UPDATE chatcrypt.sealed_message "
						 "SET sender = $2, created_at = $3, expires_at = $4 "
						 "WHERE message_id OPERATOR(pg_catalog.=) $1",
						 lengthof(values), types, values, nulls, NULL) > 0;
}

bool
chatcrypt_sqlwrite_upsert(const Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan,
						 "INSERT INTO chatcrypt.sealed_message AS m (message_id, chat_id, sender, "
						 "encrypted_message, dek_version, created_at, expires_at) "
						 "VALUES ($1, $2, $3, $4, $5, $6, $7) "
						 "ON CONFLICT (message_id) DO UPDATE "
						 "SET encrypted_message = excluded.encrypted_message, "
						 "dek_version = excluded.dek_version "
						 "WHERE m.chat_id OPERATOR(pg_catalog.=) excluded.chat_id "
						 "AND m.created_at OPERATOR(pg_catalog.=) $6 "
						 "AND (m.sender OPERATOR(pg_catalog.=) $3 "
						 "OR (m.sender IS NULL AND $3 IS NULL))"
						 RETURNING_BOUND,
						 MESSAGE_COLUMNS, column_types, row->values, row->nulls, row) > 0;
}
