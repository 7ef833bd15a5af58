/*
 * maintenancestatus.h
 *		What the maintenance of each database did last and will do next, one row for
 *		each database and task, in shared memory for chatcrypt.maintenance_status.
 *		The rows are empty when the server starts.
 *
 * It is not a table, because most rounds find nothing to do and then must not write
 * anything, and because a database to which no worker can connect has its row too.
 *
 * Lock contract: one LWLock, held for a look-up and a copy.
 */
#ifndef CHATCRYPT_MAINTENANCESTATUS_H
#define CHATCRYPT_MAINTENANCESTATUS_H

#include "datatype/timestamp.h"

#define CHATCRYPT_TASK_ERROR_MAX	512	/* with the terminator */
#define CHATCRYPT_TASK_ROWS			512	/* a new row takes the place of the one due longest ago */

/* The task that stands for the round as a whole. */
#define CHATCRYPT_ROUND				"round"

typedef struct ChatcryptTaskStatus
{
	char		database[NAMEDATALEN];	/* empty for a row that is not in use */
	char		task[NAMEDATALEN];
	int			pid;			/* of the process that runs it; 0 while none does */
	TimestampTz last_start;		/* 0 for never, as in the times below */
	TimestampTz last_success;	/* of the task as a whole */
	TimestampTz last_error_at;
	TimestampTz next_due;
	TimestampTz last_logged;	/* for failures in part */
	char		last_error[CHATCRYPT_TASK_ERROR_MAX];
	uint64		runs;
	uint64		failures;		/* runs that failed, in part or as a whole */
	uint64		partial_failures;
	uint64		items;			/* that the task has dealt with in all its runs */
	uint64		failed_items;	/* in runs that failed in part */
	int			failures_in_a_row;
} ChatcryptTaskStatus;

extern void chatcrypt_maintenancestatus_started(const char *database, const char *task);

extern void chatcrypt_maintenancestatus_succeeded(const char *database, const char *task,
												  uint64 items);

/*
 * The task finished, but some items failed.  The next try is due at the usual time.  Returns
 * true where this should be logged: the same text is logged once a minute at most.
 */
extern bool chatcrypt_maintenancestatus_failed_in_part(const char *database, const char *task,
													   uint64 items,
													   uint64 failed, const char *error);

/* The task failed as a whole.  With each failure in a row the next try is due later. */
extern void chatcrypt_maintenancestatus_failed(const char *database, const char *task,
											   const char *error);

/* Marks the tasks of processes that no longer exist as failed. */
extern void chatcrypt_maintenancestatus_bury(const char *database);

/* Copies the row; returns false, with a copy of zeroes, where there is no such row. */
extern bool chatcrypt_maintenancestatus_find(const char *database, const char *task,
											 ChatcryptTaskStatus *status);

/* False for a row that is not in use. */
extern bool chatcrypt_maintenancestatus_read(int row, ChatcryptTaskStatus *status);

extern void chatcrypt_maintenancestatus_request(void);
extern void chatcrypt_maintenancestatus_startup(void);

#endif
