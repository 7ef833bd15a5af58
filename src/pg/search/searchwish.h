/*
 * searchwish.h
 *		What somebody asks for who says how a chat, or each new chat of a tenant, is searched.
 */
#ifndef CHATCRYPT_SEARCHWISH_H
#define CHATCRYPT_SEARCHWISH_H

#include "fmgr.h"

#include "pg/search/searchpolicy.h"

typedef struct ChatcryptSearchWish
{
	ChatcryptSearchPolicy policy;	/* the mode may be OFF */
	char	   *config;			/* its qualified name */
} ChatcryptSearchWish;

/*
 * Reads and checks the arguments that follow the first: mode, config, prefixes, trigrams,
 * bits, feed.  function is the name to be shown.
 */
extern void chatcrypt_search_wish_parse(FunctionCallInfo fcinfo, const char *function,
										ChatcryptSearchWish *wish);

/* In words, for the history. */
extern char *chatcrypt_search_wish_text(const ChatcryptSearchWish *wish);

#endif
