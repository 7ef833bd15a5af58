/*
 * findings.h
 *		What does not open in a place, for verify_chat() and verify_all().
 *
 * Keys that are cold are asked for in batches: with a warming, those of the next rows are
 * unwrapped together before the rows are opened, by this process alone.  Without one,
 * messages are opened by check_message() inside of a plain SELECT, so that parallel
 * workers share it, and each cold key is a call of its own.
 *
 * Tables of applications are read as their owners, who may not call it: their envelopes
 * come through a cursor and are opened here.  In either case the plaintext goes nowhere.
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
	BlockNumber from;			/* all blocks where both are 0 */
	BlockNumber to;
	int64		limit;
	ChatcryptWarming *warming;	/* NULL: the keys are warm, or are few */
	int64		bytes;			/* out: of what was opened by this process */
} ChatcryptScope;

/* What does not open: chat, message, version, reason. */
#define CHATCRYPT_FINDING_COLUMNS 4

typedef struct ChatcryptFinding
{
	Datum		values[CHATCRYPT_FINDING_COLUMNS];
	bool		nulls[CHATCRYPT_FINDING_COLUMNS];
} ChatcryptFinding;

/* Said of a row without a chat's or a message's id. */
extern const char *const chatcrypt_no_id;

/* A list of findings, in the current memory context. */
extern List *chatcrypt_findings_list(ChatcryptScope *scope);

#endif
