/*
 * directinsert.h
 *		Inserts rows into chatcrypt.sealed_message the way the executor does, but without
 *		planning and starting a statement for each row.  This makes bulk writes through the view
 *		affordable.
 *
 * A direct insert lives as long as the query whose trigger opened it.  Where the table is not
 * what this file knows how to write (a policy or trigger that a user added, a partition, an added
 * column) there is no direct insert, and the caller uses SQL.
 */
#ifndef CHATCRYPT_DIRECTINSERT_H
#define CHATCRYPT_DIRECTINSERT_H

#include "utils/relcache.h"

typedef struct ChatcryptDirectInsert ChatcryptDirectInsert;

/* Opens a direct insert in the memory of the query; NULL where SQL must be used. */
extern ChatcryptDirectInsert *chatcrypt_directinsert_open(MemoryContext query_context);

/* Values in the order of the table's columns.  Checks row-level security. */
extern void chatcrypt_directinsert_row(ChatcryptDirectInsert *insert, const Datum *values,
									   const bool *nulls);

#endif
