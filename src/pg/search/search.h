/*
 * search.h
 *		Finds messages of blind chats: what search() does once its chats are known.
 */
#ifndef CHATCRYPT_SEARCH_H
#define CHATCRYPT_SEARCH_H

#include "fmgr.h"
#include "utils/uuid.h"

/*
 * Gives the rows of search(), whose arguments from the second on are read here.  The
 * caller has checked rights and NULLs; the chats are put in order, each once.
 */
extern void chatcrypt_search_chats(FunctionCallInfo fcinfo, pg_uuid_t *ids, int count);

#endif
