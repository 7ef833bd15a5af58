/*
 * rowwriter.h
 *		Inserts rows into chatcrypt.sealed_message the way the executor does, but without
 *		planning and starting a statement for each row.  This makes bulk writes through the view
 *		affordable.
 *
 * A writer lives as long as the query whose trigger opened it.  Where the table is not what
 * this file knows how to write (a policy or trigger that a user added, a partition, an added
 * column) there is no writer, and the caller uses SQL.
 */
#ifndef CHATCRYPT_ROWWRITER_H
#define CHATCRYPT_ROWWRITER_H

#include "utils/relcache.h"

typedef struct ChatcryptRowWriter ChatcryptRowWriter;

/* Opens a writer in the memory of the query; NULL where SQL must be used. */
extern ChatcryptRowWriter *chatcrypt_rowwriter_open(MemoryContext query_context);

/* Values in the order of the table's columns.  Checks row-level security. */
extern void chatcrypt_rowwriter_insert(ChatcryptRowWriter *writer, const Datum *values,
									   const bool *nulls);

#endif
