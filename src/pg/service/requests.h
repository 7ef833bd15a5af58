/*
 * requests.h
 *		How a backend asks the KMS worker for something and waits for the answer.
 *
 * A fixed array of slots (slotdirectory.h) carries requests; a backend fills
 * slots, sets the worker's latch and sleeps on each slot's condition variable
 * under a wait event of its own.  Cancel, statement_timeout, termination and an
 * ERROR at any point release the slots (a slot that the worker is working on is
 * abandoned, and freed by the worker).  Requests to unwrap one and the same key
 * share a slot: one flight however many ask.
 *
 * Lock contract: one LWLock guards the slot directory, held for a few memory
 * accesses; nothing is waited for under it.
 */
#ifndef CHATCRYPT_REQUESTS_H
#define CHATCRYPT_REQUESTS_H

#include "pg/service/kmsjob.h"

/*
 * Runs all jobs, in as many flights as fit, and returns when each has an outcome.
 * Raises only for cancel, termination, or arguments that no KMS could take, and
 * then every job's dek is wiped; what a KMS answers, or that none did in time, is
 * in the jobs.  What CC_KMS_UNWRAP brings is checked against id.kcv, unless the job is
 * unpinned.
 */
extern void chatcrypt_requests_run(cc_kms_op op, ChatcryptKmsJob *jobs, int njobs);

/* Asks for a refresh of a key that is still good, and does not wait. */
extern void chatcrypt_requests_refresh(const ChatcryptKmsJob *job);

/*
 * Postmaster start-up.  What carries keys goes into chatcrypt_guarded_shared(), made
 * once and wiped where it exists already (a crash restart), the rest into shared memory.
 */
extern void chatcrypt_requests_request(void);
extern void chatcrypt_requests_startup(void);

#endif
