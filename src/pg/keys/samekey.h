/*
 * samekey.h
 *		Is the key behind a key URI still the one that wrapped what is there?
 *
 * A name can come to stand for another key: a new key file on the machine that a backup
 * was restored on, a key that was deleted and made again, another namespace.  What such a
 * key wraps is lost when the right one comes back.  So before the first key that was made
 * under a URI is kept, data keys of that URI are unwrapped, and where none of them opens,
 * it is not kept.  A database without such keys has nothing to compare with.
 */
#ifndef CHATCRYPT_SAMEKEY_H
#define CHATCRYPT_SAMEKEY_H

#include "pg/service/requests.h"

/*
 * For what the KMS has just wrapped and nobody has kept: jobs that are done, with their
 * ids complete, room for nothing secret, and no lock held.  Those that another key
 * wrapped become failed ones, with another_key set.  Asks the KMS only where the worker
 * has seen something that may have changed the key since this database was last compared.
 */
extern void chatcrypt_samekey_check(ChatcryptKmsJob *jobs, int njobs);

extern void chatcrypt_samekey_request(void);
extern void chatcrypt_samekey_startup(void);

#endif
