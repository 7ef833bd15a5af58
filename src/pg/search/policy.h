/*
 * policy.h
 *		How a chat is searched: the row of the chat in chatcrypt.search_policy, as a session
 *		remembers it.
 */
#ifndef CHATCRYPT_POLICY_H
#define CHATCRYPT_POLICY_H

#include "core/bytes.h"

typedef enum ChatcryptSearchMode
{
	CHATCRYPT_SEARCH_OFF,
	CHATCRYPT_SEARCH_BLIND,
	CHATCRYPT_SEARCH_PLAIN
} ChatcryptSearchMode;

typedef struct ChatcryptSearchPolicy
{
	ChatcryptSearchMode mode;	/* never OFF in a policy that chatcrypt_policy_find() returns */
	Oid			config;			/* InvalidOid if the text search configuration does not exist */
	int			prefixes;		/* length of the shortest prefix that has a token; 0 for none */
	bool		trigrams;
	int			bits;			/* of a token */
	bool		feed;
	int64		generation;
	bool		complete;		/* does the index have the messages from before the policy? */
	bool		began_empty;	/* did the chat have no message when the policy was set? */
} ChatcryptSearchPolicy;

/* NULL if search is off, or if there is no such chat.  Valid until the next call. */
extern const ChatcryptSearchPolicy *chatcrypt_policy_find(const uint8 chat_id[CC_ID_LEN]);

/* The same, but raises an error unless the mode is blind. */
extern const ChatcryptSearchPolicy *chatcrypt_policy_require_blind(const uint8 chat_id[CC_ID_LEN]);

/*
 * The text search configuration of this qualified name, without a check whether the current user
 * may use its schema; InvalidOid if there is none.
 */
extern Oid	chatcrypt_policy_config(text *qualified_name);

/* The name of a mode in SQL and in the table. */
extern const char *chatcrypt_policy_mode_text(ChatcryptSearchMode mode);

#endif
