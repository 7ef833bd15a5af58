/*
 * indexcondition.h
 *		What the index can tell of a query: an SQL condition over the column tokens that is
 *		true for every message that matches, and for few others.  hits.c opens all of
 *		these messages and leaves out the others.
 */
#ifndef CHATCRYPT_INDEXCONDITION_H
#define CHATCRYPT_INDEXCONDITION_H

#include "lib/stringinfo.h"

#include "pg/search/query.h"
#include "pg/search/terms.h"

typedef struct ChatcryptIndexCondition
{
	char	   *sql;			/* NULL if the index cannot tell anything */
	bool		indexed;		/* can the index find the messages, and not only exclude some? */
	List	   *arguments;		/* of ArrayType, bigint[]: the parameters from $first on */
} ChatcryptIndexCondition;

/* first is the number of the first parameter of the condition. */
extern void chatcrypt_indexcondition_make(const ChatcryptQuery *query,
										  const uint8 chat_id[CC_ID_LEN],
										  const ChatcryptSearchPolicy *policy, int first,
										  ChatcryptIndexCondition *condition);

/*
 * Adds the terms that every message has that the query matches, unless the message is marked as
 * one of too many words.  Adds no term for a part of the query that does not determine one.
 * Raises an error for a query with "or" or "not", which one list of terms cannot express.
 */
extern void chatcrypt_indexcondition_terms(const ChatcryptQuery *query, ChatcryptTerms *terms);

#endif
