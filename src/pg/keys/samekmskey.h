/*
 * samekmskey.h
 *		Checks that the KMS key behind a key URI is still the one that wrapped the existing data
 *		keys.
 *
 * A URI can come to stand for another key: a new key file on the machine that a backup was
 * restored on, a key that was deleted and made again, another namespace.  What such a key wraps
 * is lost when the right one comes back.  So before the first data key that was made under a
 * URI is kept, existing data keys of that URI are unwrapped; if none of them opens, the new one
 * is not kept.  A database without data keys of that URI has nothing to compare with.
 */
#ifndef CHATCRYPT_SAMEKMSKEY_H
#define CHATCRYPT_SAMEKMSKEY_H

#include "pg/service/requests.h"

/*
 * Checks what the KMS has just wrapped, before it is kept.  The jobs are done, their ids are
 * complete, their keys are wiped, and no lock is held.  A job whose data key was wrapped by
 * another KMS key becomes a failed one, with another_key set.  Asks the KMS only where the
 * worker has seen something that may have changed the KMS key since this database was last
 * compared.
 */
extern void chatcrypt_samekmskey_check(ChatcryptKmsJob *jobs, int njobs);

extern void chatcrypt_samekmskey_request(void);
extern void chatcrypt_samekmskey_startup(void);

#endif
