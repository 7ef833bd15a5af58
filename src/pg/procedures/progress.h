/*
 * progress.h
 *		What is being done right now, for the view chatcrypt.progress.
 *
 * One entry for each process that does something long, in shared memory: nothing is
 * written to a table, so that it costs little and is seen before anything commits.
 * It goes with the end of the work, with its transaction where that fails, and with
 * the process.
 *
 * Lock contract: one LWLock, held for a copy in or out.
 */
#ifndef CHATCRYPT_PROGRESS_H
#define CHATCRYPT_PROGRESS_H

#include "core/bytes.h"

/* For total: nobody knows yet. */
#define CHATCRYPT_TOTAL_UNKNOWN (-1)

/*
 * Says what this process does, and how far it is.  Another task than the one before
 * starts anew.  chat_id may be NULL.  To be called once a batch, not once a row.
 */
extern void chatcrypt_progress_note(const char *task, const uint8 *chat_id, int64 done,
									int64 total);
extern void chatcrypt_progress_end(void);

/*
 * Says which process this one waits for by other means than a lock; 0 for a prepared
 * transaction.  Until the next note.
 */
extern void chatcrypt_progress_waits_for(int pid);

extern void chatcrypt_progress_request(void);
extern void chatcrypt_progress_startup(void);

#endif
