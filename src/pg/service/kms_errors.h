/*
 * kms_errors.h
 *		What a failed request to the KMS looks like to a person.
 */
#ifndef CHATCRYPT_KMS_ERRORS_H
#define CHATCRYPT_KMS_ERRORS_H

#include "pg/compat.h"
#include "pg/service/requests.h"

/* Raises what the job's outcome means, with its own SQLSTATE, detail and hint. */
pg_noreturn extern void chatcrypt_kms_raise(cc_kms_op op, const ChatcryptKmsJob *job);

/* The same where it is not about one chat's key, but about the KMS's. */
pg_noreturn extern void chatcrypt_kms_raise_key(const ChatcryptKmsJob *job);

/*
 * Why a job to unwrap failed, as a short word and in full.  unavailable is the word for a
 * key service that failed, and not for this key alone.
 */
extern const char *chatcrypt_kms_error_reason(const ChatcryptKmsJob *job, const char *unavailable);
extern const char *chatcrypt_kms_error_detail(const ChatcryptKmsJob *job);

#endif
