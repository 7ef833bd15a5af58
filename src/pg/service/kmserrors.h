/*
 * kmserrors.h
 *		Turns failed requests to the KMS into errors and texts that a person can act on.
 */
#ifndef CHATCRYPT_KMSERRORS_H
#define CHATCRYPT_KMSERRORS_H

#include "pg/compat.h"
#include "pg/service/requests.h"

/* Raises the error for the job's outcome, with its SQLSTATE, detail and hint. */
pg_noreturn extern void chatcrypt_kmserror_raise(cc_kms_op op, const ChatcryptKmsJob *job);

/* The same for a failure that concerns the KMS key as a whole, and not one data key. */
pg_noreturn extern void chatcrypt_kmserror_raise_key(const ChatcryptKmsJob *job);

/*
 * Why a job to unwrap failed: in a word or two, and in full.  unavailable is the word to
 * return if the key service as a whole failed, and not this data key alone.
 */
extern const char *chatcrypt_kmserror_reason(const ChatcryptKmsJob *job, const char *unavailable);
extern const char *chatcrypt_kmserror_detail(const ChatcryptKmsJob *job);

#endif
