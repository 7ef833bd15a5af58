/*
 * sessionslots.h
 *		The sessions' side of the request slots: jobs are entered, and answers collected.
 *		States and locks are in slotdirectory.h; the worker's side is in workerslots.h.
 */
#ifndef CHATCRYPT_SESSIONSLOTS_H
#define CHATCRYPT_SESSIONSLOTS_H

#include "storage/condition_variable.h"

#include "pg/service/slot.h"

/*
 * Enters as many of the jobs as there is room for, and returns their number; it never waits.
 * held is the number of slots that the caller holds already.
 */
extern int	chatcrypt_sessionslots_enter_all(cc_kms_op op, const ChatcryptKmsJob *jobs, int njobs,
											 int64 deadline_ms, int held, int *slots);
extern void chatcrypt_sessionslots_enter_refresh(const ChatcryptKmsJob *job, int64 deadline_ms);
extern bool chatcrypt_sessionslot_is_done(int slot);
extern ConditionVariable *chatcrypt_sessionslot_answered(int slot);
extern ConditionVariable *chatcrypt_sessionslots_freed(void);

/* Sets the latch of a worker that has been silent for longer than it should be. */
extern void chatcrypt_sessionslots_nudge_worker(void);

/* Copies the answer out and leaves the slot.  Returns false, and stays, if there is none yet. */
extern bool chatcrypt_sessionslot_collect(int slot, ChatcryptKmsJob *job);
extern void chatcrypt_sessionslot_leave(int slot);

#endif
