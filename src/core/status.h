/*
 * status.h
 *		What the functions of core and kms return.  They never throw, never log, and
 *		never put a secret into an error: a status is all that they report.
 *
 * One file of the PostgreSQL glue (pg/base/errors.c) maps these to SQLSTATEs.
 */
#ifndef CC_STATUS_H
#define CC_STATUS_H

#define CC_MUST_CHECK __attribute__((warn_unused_result))

typedef enum cc_status
{
	CC_OK = 0,
	CC_ERR_TRUNCATED,			/* shorter than its format allows */
	CC_ERR_TRAILING,			/* longer than its format allows */
	CC_ERR_SUITE,				/* unknown first byte */
	CC_ERR_VERSION,				/* the key version is 0, or not that of the key */
	CC_ERR_TOO_LARGE,			/* over a limit of the format */
	CC_ERR_SYNTAX,				/* text that does not parse (URI, JSON, hex) */
	CC_ERR_ARGUMENT,			/* the caller broke the contract */
	CC_ERR_AUTH,				/* wrong key, damaged bytes or wrong aad: it never says which */
	CC_ERR_RANDOM,				/* the system gave no random bytes */
	CC_ERR_NO_MEMORY,
	CC_ERR_CRYPTO,				/* the library failed; this says nothing about the data */
	CC_ERR_NO_KEY,				/* no such key, or no such version of it */
	CC_ERR_FILE					/* a file is missing, or is refused for its owner, mode or place */
} cc_status;

/* A few words for a person: a static string in lower case, without a full stop. */
extern const char *cc_status_text(cc_status status);

#endif
