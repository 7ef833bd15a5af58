/*
 * uri.c
 *		Key URIs of the provider `vault`; see uri.h.
 */
#include <string.h>

#include "kms/provider.h"
#include "kms/vault/uri.h"

#define SCHEME "vault:"

static bool
is_word_char(char c)
{
	return c != '\0' && strchr(VAULT_WORD_CHARS, c) != NULL;
}

/*
 * A path has parts between slashes, each as Transit names its keys: letters, digits and _,
 * and between these - and . as well.  No part is empty, ".", ".." or percent-encoded, so
 * no path can be made to point elsewhere.
 */
bool
vault_uri_is_path(const char *path)
{
	for (;;)
	{
		size_t		len = strspn(path, VAULT_WORD_CHARS "-.");

		if (len == 0 || !is_word_char(path[0]) || !is_word_char(path[len - 1]))
			return false;
		path += len;
		if (*path == '\0')
			return true;
		if (*path++ != '/')
			return false;
	}
}

/* A key URI comes from a row of a table, and must not reach the server's own paths. */
static bool
is_reserved(const char *path)
{
	static const char *const reserved[] = {"sys/", "auth/", "identity/", "cubbyhole/"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
	{
		if (strncmp(path, reserved[i], strlen(reserved[i])) == 0)
			return true;
	}
	return false;
}

bool
vault_uri_key(const char *kms_key, vault_key *key)
{
	size_t		scheme_len = strlen(SCHEME);
	const char *path = kms_key + scheme_len;
	const char *slash;

	if (strncmp(kms_key, SCHEME, scheme_len) != 0 || strlen(kms_key) >= CC_KMS_URI_MAX)
		return false;
	slash = strrchr(path, '/');
	if (slash == NULL || !vault_uri_is_path(path) || is_reserved(path))
		return false;
	*key = (vault_key) {path, (int) (slash - path), slash + 1};
	return true;
}

cc_status
vault_uri_check(const char *kms_key)
{
	vault_key	key;

	return vault_uri_key(kms_key, &key) ? CC_OK : CC_ERR_SYNTAX;
}
