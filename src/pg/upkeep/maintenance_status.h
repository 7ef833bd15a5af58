/*
 * maintenance_status.h
 *		What the maintenance of each database did last and will do next, one row for
 *		each database and task, in shared memory for chatcrypt.maintenance_status.
 *		It begins anew when the server starts.
 *
 * Not a table: most rounds find nothing to do, and must not write anything then; and
 * a database that cannot be connected to has its row too.
 *
 * Lock contract: one LWLock, held for a look-up and a copy.
 */
#ifndef CHATCRYPT_MAINTENANCE_STATUS_H
#define CHATCRYPT_MAINTENANCE_STATUS_H

#include "datatype/timestamp.h"

#define CHATCRYPT_TASK_ERROR_MAX	512	/* with the terminator */
#define CHATCRYPT_TASK_ROWS			512	/* the one that was due longest ago makes room for a new one */

/* The task of which the others are parts. */
#define CHATCRYPT_ROUND				"round"

typedef struct ChatcryptTaskStatus
{
	char		database[NAMEDATALEN];	/* empty for a row that is not in use */
	char		task[NAMEDATALEN];
	int			pid;			/* of the process that does it; 0 while nobody does */
	TimestampTz last_start;		/* 0 for never, as below */
	TimestampTz last_success;	/* of all of the task */
	TimestampTz last_error_at;
	TimestampTz next_due;
	TimestampTz last_logged;	/* of failures in part */
	char		last_error[CHATCRYPT_TASK_ERROR_MAX];
	uint64		runs;
	uint64		failures;		/* runs that failed, also those in part */
	uint64		partial_failures;
	uint64		items;			/* that the task has dealt with, in all runs */
	uint64		failed_items;	/* in runs that failed in part */
	int			failures_in_a_row;
} ChatcryptTaskStatus;

extern void chatcrypt_maintenance_status_started(const char *database, const char *task);

extern void chatcrypt_maintenance_status_succeeded(const char *database, const char *task,
												   uint64 items);

/*
 * It came to its end, and some items failed.  The next try is due at the usual time.  True
 * where that should be logged: the same words are not more than once a minute.
 */
extern bool chatcrypt_maintenance_status_failed_in_part(const char *database, const char *task,
														uint64 items,
														uint64 failed, const char *error);

/* The next try is due later and later. */
extern void chatcrypt_maintenance_status_failed(const char *database, const char *task,
												const char *error);

/* Tasks of processes that are no more have failed. */
extern void chatcrypt_maintenance_status_bury(const char *database);

/* A copy of the row; false where there is none, and then the copy is all zeroes. */
extern bool chatcrypt_maintenance_status_find(const char *database, const char *task,
											  ChatcryptTaskStatus *status);

/* False for a row that is not in use. */
extern bool chatcrypt_maintenance_status_read(int row, ChatcryptTaskStatus *status);

extern void chatcrypt_maintenance_status_request(void);
extern void chatcrypt_maintenance_status_startup(void);

#endif
