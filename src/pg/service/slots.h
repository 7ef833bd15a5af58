/*
 * slots.h
 *		The sessions' side of the request slots: jobs are entered, and answers collected.
 *		States and locks are in slotdirectory.h; the worker's side is in workerslots.h.
 */
#ifndef CHATCRYPT_SLOTS_H
#define CHATCRYPT_SLOTS_H

#include "storage/condition_variable.h"

#include "pg/service/slot.h"

/*
 * Enters as many of the jobs as there is room for, and returns their number; it never waits.
 * held is the number of slots that the caller holds already.
 */
extern int	chatcrypt_slots_enter_all(cc_kms_op op, const ChatcryptKmsJob *jobs, int njobs,
									  int64 deadline_ms, int held, int *slots);
extern void chatcrypt_slots_enter_refresh(const ChatcryptKmsJob *job, int64 deadline_ms);
extern bool chatcrypt_slot_is_done(int slot);
extern ConditionVariable *chatcrypt_slot_answered(int slot);
extern ConditionVariable *chatcrypt_slots_freed(void);

/* Sets the latch of a worker that has been silent for longer than it should be. */
extern void chatcrypt_slots_nudge_worker(void);

/* Copies the answer out and leaves the slot.  Returns false, and stays, if there is none yet. */
extern bool chatcrypt_slot_collect(int slot, ChatcryptKmsJob *job);
extern void chatcrypt_slot_leave(int slot);

#endif
