/*
 * requests.h
 *		How a session sends requests to the KMS worker and waits for the answers.
 *
 * A fixed array of slots (slotdirectory.h) carries the requests.  A session fills
 * slots, sets the worker's latch and sleeps on the condition variable of each slot
 * under a wait event of its own.  Cancel, statement_timeout, termination and an
 * ERROR at any point release the slots; a slot that the worker is working on is
 * abandoned, and the worker frees it.  Requests to unwrap the same key share a slot,
 * and so one flight, however many sessions wait for it.
 *
 * Lock contract: one LWLock guards the slot directory.  It is held for a few memory
 * accesses, and nothing waits while holding it.
 */
#ifndef CHATCRYPT_REQUESTS_H
#define CHATCRYPT_REQUESTS_H

#include "pg/service/kmsjob.h"

/*
 * Runs all jobs, as many at a time as there are slots for, and returns when each has an
 * outcome.  The answer of the KMS, or that it did not answer in time, is in the jobs.  Raises
 * only for cancel, termination, lack of memory, or arguments that no KMS could take; then the
 * dek of every job is wiped.  A key from CC_KMS_UNWRAP is checked against id.kcv, unless the
 * job is unpinned.
 */
extern void chatcrypt_requests_run(cc_kms_op op, ChatcryptKmsJob *jobs, int njobs);

/* Requests a refresh of a cached key that may still be used, and does not wait for it. */
extern void chatcrypt_requests_refresh(const ChatcryptKmsJob *job);

/*
 * Postmaster start-up.  The items of slots, which carry keys, are in a guarded mapping, which
 * is made once and wiped at a crash restart; everything else is in PostgreSQL's shared memory.
 */
extern void chatcrypt_requests_request(void);
extern void chatcrypt_requests_startup(void);

#endif
