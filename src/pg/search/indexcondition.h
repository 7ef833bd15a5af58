/*
 * indexcondition.h
 *		What the index can say of a query: an SQL condition over the column tokens, true
 *		for every message that matches and for few others.  Those are sorted out when they
 *		have been opened.
 */
#ifndef CHATCRYPT_INDEXCONDITION_H
#define CHATCRYPT_INDEXCONDITION_H

#include "lib/stringinfo.h"

#include "pg/search/query.h"
#include "pg/search/terms.h"

typedef struct ChatcryptIndexCondition
{
	char	   *sql;			/* NULL where the index says nothing */
	bool		indexed;		/* does it name what must be there?  Else it only leaves some out */
	List	   *arguments;		/* of ArrayType, bigint[]: $first and so on */
} ChatcryptIndexCondition;

/* first: the number of its first parameter. */
extern void chatcrypt_indexcondition_make(const ChatcryptQuery *query,
										  const uint8 chat_id[CC_ID_LEN],
										  const ChatcryptSearchPolicy *policy, int first,
										  ChatcryptIndexCondition *condition);

/*
 * Adds the terms that each message has that the query matches, and is not marked as one of
 * too many words; none of what no term tells for certain that it is there.  Raises for what
 * negates or has alternatives: one list cannot say that.
 */
extern void chatcrypt_indexcondition_terms(const ChatcryptQuery *query, ChatcryptTerms *terms);

#endif
