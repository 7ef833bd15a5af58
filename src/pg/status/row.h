/*
 * row.h
 *		Rows of the status views, built column by column.
 */
#ifndef CHATCRYPT_ROW_H
#define CHATCRYPT_ROW_H

#include <math.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Columns of one row, filled from left to right. */
typedef struct Row
{
	Datum		values[40];
	bool		nulls[40];
	int			n;
} Row;

static inline void
put(Row *row, Datum value, bool known)
{
	row->values[row->n] = value;
	row->nulls[row->n] = !known;
	row->n++;
}

static inline void
put_text(Row *row, const char *text)
{
	put(row, text[0] != '\0' ? CStringGetTextDatum(text) : (Datum) 0, text[0] != '\0');
}

static inline void
put_ms(Row *row, double ms)
{
	put(row, Float8GetDatum(rint(ms * 1000) / 1000), ms >= 0);
}

static inline void
put_time(Row *row, TimestampTz time)
{
	put(row, TimestampTzGetDatum(time), time != 0);
}

static inline void
put_ms_interval(Row *row, int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	put(row, IntervalPGetDatum(interval), ms >= 0);
}

/* Returns the only row of a function that returns one row. */
static inline Datum
form_row(FunctionCallInfo fcinfo, Row *row)
{
	TupleDesc	columns;

	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), row->values, row->nulls));
}

static inline void
store_row(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

#endif
