-- How new chats of a tenant are searched: docs/search.md.

ALTER TABLE chatcrypt.tenant
	ADD COLUMN search_mode text COLLATE "C" CHECK (search_mode = ANY (ARRAY['blind', 'plain'])),
	ADD COLUMN search_config text,
	ADD COLUMN search_prefixes integer CHECK (search_prefixes BETWEEN 0 AND 16),
	ADD COLUMN search_trigrams boolean,
	ADD COLUMN search_bits integer CHECK (search_bits BETWEEN 8 AND 64),
	ADD COLUMN search_feed boolean CONSTRAINT tenant_plain_search_is_fed CHECK (search_feed OR search_mode <> 'plain'),
	ADD CONSTRAINT tenant_search_is_all_or_nothing CHECK
		(num_nulls(search_mode, search_config, search_prefixes, search_trigrams, search_bits, search_feed) IN (0, 6));
COMMENT ON COLUMN chatcrypt.tenant.search_config IS
	'The text search configuration of new chats.';
COMMENT ON COLUMN chatcrypt.tenant.search_prefixes IS
	'The shortest prefix of a word with a token of its own in new chats; 0 for none.';
COMMENT ON COLUMN chatcrypt.tenant.search_trigrams IS
	'Whether new chats have tokens of the trigrams of words.';
COMMENT ON COLUMN chatcrypt.tenant.search_bits IS 'How many bits of a token new chats keep.';
COMMENT ON COLUMN chatcrypt.tenant.search_feed IS
	'Whether messages of new chats go to the feed of an external search engine.';
COMMENT ON COLUMN chatcrypt.tenant.search_mode IS
	'How new chats can be searched: blind, plain, or NULL for not at all. set_tenant_search() '
	'writes this and the following columns.';

CREATE FUNCTION chatcrypt.set_tenant_search(tenant text, mode text,
											config regconfig DEFAULT 'pg_catalog.simple',
											prefixes integer DEFAULT 0, trigrams boolean DEFAULT false,
											bits integer DEFAULT 64,
											feed boolean DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_set_tenant_search';
COMMENT ON FUNCTION chatcrypt.set_tenant_search(text, text, regconfig, integer, boolean, integer, boolean) IS
	'Sets how new chats of a tenant can be searched, with the arguments of set_search(). Chats '
	'that exist keep what they have.';
