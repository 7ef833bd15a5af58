/*
 * policy.h
 *		How a chat is searched: its row of chatcrypt.search_policy, as sessions remember it.
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
	ChatcryptSearchMode mode;	/* never OFF in what is handed out */
	Oid			config;			/* InvalidOid where the text search configuration is gone */
	int			prefixes;		/* length of the shortest prefix with a token; 0 for none */
	bool		trigrams;
	int			bits;			/* of a token */
	bool		feed;
	int64		generation;
	bool		complete;		/* does it hold for the messages from before it? */
	bool		began_empty;	/* were none to be seen when it was set? */
} ChatcryptSearchPolicy;

/* NULL where search is off, or where there is no such chat.  Valid until the next call. */
extern const ChatcryptSearchPolicy *chatcrypt_policy_find(const uint8 chat_id[CC_ID_LEN]);

/* The same for what needs tokens here: raises where there are none. */
extern const ChatcryptSearchPolicy *chatcrypt_policy_require_blind(const uint8 chat_id[CC_ID_LEN]);

/*
 * The text search configuration of that qualified name, found without asking whether the
 * current user may use its schema; InvalidOid where there is none.
 */
extern Oid	chatcrypt_policy_config(text *qualified_name);

/* The word for a mode, as the table and SQL have it. */
extern const char *chatcrypt_policy_mode_text(ChatcryptSearchMode mode);

#endif
