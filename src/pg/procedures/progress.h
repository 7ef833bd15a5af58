/*
 * progress.h
 *		The progress of work that is under way, for the view chatcrypt.progress.
 *
 * Each process that does long work has an entry in shared memory.  Nothing is written to a
 * table, so that it costs little and is visible before anything commits.  The entry is
 * removed when the work ends, when its transaction aborts, and when the process exits.
 *
 * Lock contract: one LWLock, held while an entry is copied in or out.
 */
#ifndef CHATCRYPT_PROGRESS_H
#define CHATCRYPT_PROGRESS_H

#include "core/bytes.h"

/* For total, if it is not known. */
#define CHATCRYPT_TOTAL_UNKNOWN (-1)

/*
 * Notes what this process is doing, and how far it has come.  If the name of the task is not
 * the one before, the entry starts anew.  chat_id may be NULL.  To be called once for each
 * batch, not for each row.
 */
extern void chatcrypt_progress_note(const char *task, const uint8 *chat_id, int64 done,
									int64 total);
extern void chatcrypt_progress_end(void);

/*
 * Notes which process this one waits for other than by a lock; 0 for a prepared transaction.
 * It holds until the next note.
 */
extern void chatcrypt_progress_waits_for(int pid);

extern void chatcrypt_progress_request(void);
extern void chatcrypt_progress_startup(void);

#endif
