/*
 * bench_sql.c
 *		What bench/sql holds chatcrypt.decrypt() against: a function of the same
 *		arguments that only copies one of them.  A module of the benchmark's own,
 *		loaded by path and installed nowhere.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_copy);

/* copy(chat, message, value): what it costs PostgreSQL to call any function for a row. */
Datum
bench_copy(PG_FUNCTION_ARGS)
{
	struct varlena *value;
	struct varlena *copy;
	Size		len;

	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	value = PG_GETARG_VARLENA_PP(2);
	len = VARSIZE_ANY_EXHDR(value);
	copy = palloc(VARHDRSZ + len);
	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), VARDATA_ANY(value), len);
	PG_RETURN_POINTER(copy);
}
