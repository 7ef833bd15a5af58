/*
 * failurelog.h
 *		How failed requests to the KMS appear in the server's log: in one line each, and
 *		at most once a minute for each key URI and SQLSTATE.
 *
 * During an outage of the KMS, every statement that needs a key which is not cached fails.
 * For each of them PostgreSQL would log the error, its detail, its hint and the statement,
 * which would bury everything else; and the statement may contain the text of a message.  So
 * the first failure is logged at once, in one line without the statement.  Those that follow
 * within a minute are counted, and the next line, or the KMS worker, reports the count.  The
 * client still receives the whole error.
 *
 * Lock contract: one LWLock, held while a small table is searched.
 */
#ifndef CHATCRYPT_FAILURELOG_H
#define CHATCRYPT_FAILURELOG_H

extern void chatcrypt_failurelog_request(void);
extern void chatcrypt_failurelog_startup(void);
extern void chatcrypt_failurelog_install_hooks(void);

/*
 * To be called before the error is raised, by a function whose name begins with
 * CHATCRYPT_RAISES_FAILURES, by which the log hook recognizes the error.  The line is logged
 * later, and only if the error is not caught.
 */
#define CHATCRYPT_RAISES_FAILURES	"chatcrypt_kmserror_raise"
extern void chatcrypt_failurelog_expect(const char *kms_key, int sqlstate);

/*
 * For a procedure that has caught an error and continues: logs the words in one line, unless
 * the same failure was logged within the last minute.
 */
extern void chatcrypt_failurelog_tell_caught(const ErrorData *error, const char *words);

/* For the KMS worker: logs the counts of failures whose minute is over. */
extern void chatcrypt_failurelog_tell(void);

#endif
