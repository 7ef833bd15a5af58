/*
 * findings.h
 *		Finds what does not open in a place, for verify_chat() and verify_all().
 *
 * With a warming, cold keys are requested in batches: the keys of the next rows are
 * unwrapped together before the rows are opened, by this process alone.  Without a warming,
 * messages are opened by check_message() in a plain SELECT, so that parallel workers
 * share the work, and each cold key is a call of its own.
 *
 * Tables of applications are read as their owners, who may not call check_message(): their
 * envelopes come through a cursor and are opened here.  In either case the plaintext is not
 * passed on.
 */
#ifndef CHATCRYPT_FINDINGS_H
#define CHATCRYPT_FINDINGS_H

#include "storage/block.h"

#include "pg/keys/warm.h"
#include "pg/upkeep/registry.h"

/* Which rows of a place are looked at, and how many findings are wanted. */
typedef struct ChatcryptScope
{
	const ChatcryptPlace *place;
	const uint8 *chat_id;		/* NULL for all */
	BlockNumber from;			/* where from and to are both 0, all blocks are read */
	BlockNumber to;
	int64		limit;
	ChatcryptWarming *warming;	/* NULL where the keys are warm or few */
	int64		bytes;			/* out: the size of what this process opened */
} ChatcryptScope;

/* An envelope that does not open: chat, message, version, reason. */
#define CHATCRYPT_FINDING_COLUMNS 4

typedef struct ChatcryptFinding
{
	Datum		values[CHATCRYPT_FINDING_COLUMNS];
	bool		nulls[CHATCRYPT_FINDING_COLUMNS];
} ChatcryptFinding;

/* The reason that is given for a row without the id of a chat or a message. */
extern const char *const chatcrypt_no_id;

/* Returns a list of findings, in the current memory context. */
extern List *chatcrypt_findings_list(ChatcryptScope *scope);

#endif
