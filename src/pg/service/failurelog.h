/*
 * failurelog.h
 *		How failed requests to the KMS appear in the server's log: in one line each, and
 *		once a minute for one key URI and SQLSTATE.
 *
 * An outage of the KMS makes every statement fail that needs a key which is not cached.
 * PostgreSQL would log the error, its detail, its hint and the statement for each of them,
 * which hides everything else; and the statement may hold the text of a message.  So the
 * first failure is logged at once, in one line without the statement.  Those that follow
 * within a minute are counted, and the next line, or the KMS worker, tells how many there
 * were.  The client still receives the whole error.
 *
 * Lock contract: one LWLock of its own, held for a look at a small table.
 */
#ifndef CHATCRYPT_FAILURELOG_H
#define CHATCRYPT_FAILURELOG_H

extern void chatcrypt_failurelog_request(void);
extern void chatcrypt_failurelog_startup(void);
extern void chatcrypt_failurelog_install_hooks(void);

/*
 * To be called before the error is raised, by a function whose name begins with
 * CHATCRYPT_RAISES_FAILURES: the log is written later, and only if nobody catches the
 * error.
 */
#define CHATCRYPT_RAISES_FAILURES	"chatcrypt_kms_raise"
extern void chatcrypt_failurelog_expect(const char *kms_key, int sqlstate);

/*
 * For a procedure that has caught an error and goes on: logs the words in one line, but for a
 * failure of which the log has been told within the last minute.
 */
extern void chatcrypt_failurelog_tell_caught(const ErrorData *error, const char *words);

/* For the KMS worker: log the counts of failures whose minute is over. */
extern void chatcrypt_failurelog_tell(void);

#endif
