/*
 * statement.c
 *		A statement that is planned once and kept for the session: see statement.h.
 */
#include "postgres.h"

#include "pg/store/statement.h"

#define MOST_ARGS 16

/*
 * A generic plan from the first call on: custom plans would each hold a copy of their
 * arguments.
 */
void
chatcrypt_statement_prepare(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args, int nargs)
{
	Oid			types[MOST_ARGS];
	SPIPlanPtr	prepared;

	if (*plan != NULL)
		return;
	for (int i = 0; i < nargs; i++)
		types[i] = args[i].type;
	prepared = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (prepared == NULL || SPI_keepplan(prepared) != 0)
		elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
	*plan = prepared;
}

uint64
chatcrypt_statement_run(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args, int nargs,
						bool read_only)
{
	Datum		values[MOST_ARGS];
	char		nulls[MOST_ARGS];

	Assert(nargs <= MOST_ARGS);
	chatcrypt_statement_prepare(plan, sql, args, nargs);
	for (int i = 0; i < nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	if (SPI_execute_plan(*plan, values, nulls, read_only, 0) < 0)
		elog(ERROR, "could not execute a statement: %s", SPI_result_code_string(SPI_result));
	return SPI_processed;
}
