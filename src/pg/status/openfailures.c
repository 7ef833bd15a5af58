/*
 * openfailures.c
 *		What the views of sql/79_state.sql read from shared memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/timestamp.h"

#include "pg/access/access.h"
#include "pg/keys/failedopens.h"

PG_FUNCTION_INFO_V1(chatcrypt_read_failed_opens);

/* read_failed_opens(OUT damaged, no_key, destroyed, kms bigint, last_at timestamptz) */
Datum
chatcrypt_read_failed_opens(PG_FUNCTION_ARGS)
{
	ChatcryptFailedOpens counts;
	TupleDesc	columns;
	Datum		values[CHATCRYPT_FAILED_OPEN_REASONS + 1];
	bool		nulls[CHATCRYPT_FAILED_OPEN_REASONS + 1] = {false};

	chatcrypt_rights_require(CHATCRYPT_MAY_AUDIT);
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE ||
		columns->natts != lengthof(values))
		elog(ERROR, "read_failed_opens() does not return what it should");
	chatcrypt_failedopens_read(&counts);
	for (int reason = 0; reason < CHATCRYPT_FAILED_OPEN_REASONS; reason++)
		values[reason] = Int64GetDatum(counts.counts[reason]);
	values[CHATCRYPT_FAILED_OPEN_REASONS] = TimestampTzGetDatum(counts.last_at);
	nulls[CHATCRYPT_FAILED_OPEN_REASONS] = counts.last_at == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
