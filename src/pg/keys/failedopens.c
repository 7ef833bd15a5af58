/*
 * failedopens.c
 *		Messages and files that did not open: see failedopens.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "pg/keys/failedopens.h"

#define DATABASES	256			/* failures in further databases are not counted */

typedef struct Row
{
	pg_atomic_uint32 database;	/* 0 for a free row */
	pg_atomic_uint64 last_at;
	pg_atomic_uint64 counts[CHATCRYPT_FAILED_OPEN_REASONS];
} Row;

static Row *rows;

void
chatcrypt_failedopens_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Row) * DATABASES));
}

void
chatcrypt_failedopens_startup(void)
{
	bool		found;

	rows = ShmemInitStruct("chatcrypt failed opens", sizeof(Row) * DATABASES, &found);
	if (found)
		return;
	for (int i = 0; i < DATABASES; i++)
	{
		pg_atomic_init_u32(&rows[i].database, InvalidOid);
		pg_atomic_init_u64(&rows[i].last_at, 0);
		for (int reason = 0; reason < CHATCRYPT_FAILED_OPEN_REASONS; reason++)
			pg_atomic_init_u64(&rows[i].counts[reason], 0);
	}
}

/*
 * The row of this database; NULL where it has none.  If claim, a database without a row takes a
 * free one, and NULL means that none is left.
 */
static Row *
row_of_database(bool claim)
{
	for (int i = 0; i < DATABASES; i++)
	{
		uint32		database = pg_atomic_read_u32(&rows[i].database);

		if (database == InvalidOid &&
			(!claim || pg_atomic_compare_exchange_u32(&rows[i].database, &database,
													  MyDatabaseId)))
			return claim ? &rows[i] : NULL;
		if (database == MyDatabaseId)
			return &rows[i];
	}
	return NULL;
}

void
chatcrypt_failedopens_note(ChatcryptFailedOpen reason)
{
	Row		   *row = row_of_database(true);

	if (row == NULL)
		return;
	pg_atomic_fetch_add_u64(&row->counts[reason], 1);
	pg_atomic_write_u64(&row->last_at, (uint64) GetCurrentTimestamp());
}

void
chatcrypt_failedopens_note_bytes(cc_status status)
{
	switch (status)
	{
		case CC_ERR_AUTH:
		case CC_ERR_TRUNCATED:
		case CC_ERR_TRAILING:
		case CC_ERR_SUITE:
		case CC_ERR_VERSION:
			chatcrypt_failedopens_note(CHATCRYPT_FAILED_OPEN_DAMAGED);
			break;
		default:
			break;
	}
}

void
chatcrypt_failedopens_read(ChatcryptFailedOpens *counts)
{
	Row		   *row = row_of_database(false);

	memset(counts, 0, sizeof(*counts));
	if (row == NULL)
		return;
	for (int reason = 0; reason < CHATCRYPT_FAILED_OPEN_REASONS; reason++)
		counts->counts[reason] = pg_atomic_read_u64(&row->counts[reason]);
	counts->last_at = (TimestampTz) pg_atomic_read_u64(&row->last_at);
}
