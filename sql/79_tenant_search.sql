-- How new chats of a tenant are searched: docs/search.md.

CREATE FUNCTION chatcrypt.set_tenant_search(tenant text, mode text,
											config regconfig DEFAULT 'pg_catalog.simple',
											prefixes integer DEFAULT 0, trigrams boolean DEFAULT false,
											bits integer DEFAULT 64,
											feed boolean DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_set_tenant_search';
COMMENT ON FUNCTION chatcrypt.set_tenant_search(text, text, regconfig, integer, boolean, integer, boolean) IS
	'Sets how new chats of a tenant can be searched. mode, config, prefixes, trigrams, bits and '
	'feed mean what they mean in set_search(), which explains each. Chats that exist keep what '
	'they have.';
