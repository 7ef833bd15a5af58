/*
 * maintenancelog.h
 *		What a round of maintenance says in the server's log: one line that names each
 *		task that did anything, and a line for each task that failed in part, with the
 *		reason.
 *
 * A round that finds nothing to do says nothing, because there is one every minute.  A task
 * that fails as a whole is an ERROR, which PostgreSQL logs itself.
 */
#ifndef CHATCRYPT_MAINTENANCELOG_H
#define CHATCRYPT_MAINTENANCELOG_H

/* The line of the round is written when this process ends, however it ends. */
extern void chatcrypt_maintenancelog_begin(const char *database);

/* Adds the task to the line of the round, unless it dealt with nothing. */
extern void chatcrypt_maintenancelog_note(const char *task, uint64 items);

/* Writes a separate line now.  What the task did nevertheless is in this line alone. */
extern void chatcrypt_maintenancelog_failure(const char *task, uint64 items, const char *wrong);

#endif
