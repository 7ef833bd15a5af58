/*
 * uri.h
 *		Key URIs of the provider `vault`: vault:MOUNT/KEY.  A mount may have slashes; the
 *		last part is the key.
 */
#ifndef CC_VAULT_URI_H
#define CC_VAULT_URI_H

#include "core/bytes.h"

/* What the parts of a path begin and end with; between these, - and . as well. */
#define VAULT_WORD_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* The mount and the key in a URI that has been checked. */
typedef struct vault_key
{
	const char *mount;
	int			mount_len;
	const char *name;
} vault_key;

/* False where the URI is not one of ours. */
extern bool vault_uri_key(const char *kms_key, vault_key *key);

/* The check_uri of the provider. */
extern cc_status vault_uri_check(const char *kms_key);

/* Is this a path of a mount or a key, such as "team/transit"? */
extern bool vault_uri_is_path(const char *path);

#endif
