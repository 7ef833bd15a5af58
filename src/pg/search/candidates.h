/*
 * candidates.h
 *		The messages of one chat that may match a query, batch by batch, newest first.
 *
 * The index decides which messages are candidates.  It leaves out no message that matches, but
 * may name others: hits.c opens each candidate and compares it with the query.
 */
#ifndef CHATCRYPT_CANDIDATES_H
#define CHATCRYPT_CANDIDATES_H

#include "pg/search/hits.h"
#include "pg/search/indexcondition.h"

typedef struct ChatcryptCandidates
{
	const uint8 *chat_id;
	ChatcryptIndexCondition condition;
	char	   *statement;
	ChatcryptPlace after;		/* the next batch has older messages only */
	bool		at_end;			/* no candidate is left after this batch */

	/* The current batch. */
	Datum	   *ids;
	ChatcryptPlace *places;
	int			count;
} ChatcryptCandidates;

/* Candidates that are older than this place.  chat_id must stay valid. */
extern void chatcrypt_candidates_begin(ChatcryptCandidates *candidates,
									   const uint8 chat_id[CC_ID_LEN],
									   const ChatcryptSearchPolicy *policy,
									   const ChatcryptQuery *query, const ChatcryptPlace *before);

/* Reads the next batch, of at most count candidates, into the current memory context. */
extern void chatcrypt_candidates_next(ChatcryptCandidates *candidates, int count);

#endif
