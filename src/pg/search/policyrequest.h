/*
 * policyrequest.h
 *		The arguments of set_search() and set_tenant_search(): the policy that the caller
 *		requests for a chat, or for each new chat of a tenant.
 */
#ifndef CHATCRYPT_POLICYREQUEST_H
#define CHATCRYPT_POLICYREQUEST_H

#include "fmgr.h"

#include "pg/search/policy.h"

typedef struct ChatcryptPolicyRequest
{
	ChatcryptSearchPolicy policy;	/* the mode may be OFF */
	char	   *config;			/* qualified name of the text search configuration */
} ChatcryptPolicyRequest;

/*
 * Reads and checks the arguments after the first one: mode, config, prefixes, trigrams, bits,
 * feed.  function is the name that an error shows.
 */
extern void chatcrypt_policyrequest_parse(FunctionCallInfo fcinfo, const char *function,
										  ChatcryptPolicyRequest *request);

/* A description of the request for the history of keys. */
extern char *chatcrypt_policyrequest_text(const ChatcryptPolicyRequest *request);

#endif
