/*
 * policyrequest.h
 *		What somebody asks for who says how a chat, or each new chat of a tenant, is searched.
 */
#ifndef CHATCRYPT_POLICYREQUEST_H
#define CHATCRYPT_POLICYREQUEST_H

#include "fmgr.h"

#include "pg/search/policy.h"

typedef struct ChatcryptPolicyRequest
{
	ChatcryptSearchPolicy policy;	/* the mode may be OFF */
	char	   *config;			/* its qualified name */
} ChatcryptPolicyRequest;

/*
 * Reads and checks the arguments that follow the first: mode, config, prefixes, trigrams,
 * bits, feed.  function is the name to be shown.
 */
extern void chatcrypt_policyrequest_parse(FunctionCallInfo fcinfo, const char *function,
										  ChatcryptPolicyRequest *request);

/* In words, for the history. */
extern char *chatcrypt_policyrequest_text(const ChatcryptPolicyRequest *request);

#endif
