-- Search in encrypted messages: docs/search.md.

-- Each change makes a new generation, and no number is used twice: what was indexed by
-- another policy is never taken for what this one says.
CREATE SEQUENCE chatcrypt.search_generation;

-- No row: off.  The configuration goes by its name, because pg_upgrade does not carry its oid.
CREATE TABLE chatcrypt.search_policy (
	chat_id uuid CONSTRAINT search_policy_pkey PRIMARY KEY REFERENCES chatcrypt.chat ON DELETE CASCADE,
	mode text COLLATE "C" NOT NULL CHECK (mode = ANY (ARRAY['blind', 'plain'])),
	config text NOT NULL,
	prefixes integer NOT NULL CHECK (prefixes BETWEEN 0 AND 16),
	trigrams boolean NOT NULL,
	bits integer NOT NULL CHECK (bits BETWEEN 8 AND 64),
	feed boolean NOT NULL CHECK (feed OR mode <> 'plain'),
	generation bigint NOT NULL DEFAULT nextval('chatcrypt.search_generation'),
	complete boolean NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT now(),
	began_empty boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE chatcrypt.search_policy IS
	'Chats whose messages can be searched, and how. set_search() writes it; a chat without a row '
	'has no search.';
COMMENT ON COLUMN chatcrypt.search_policy.mode IS
	'blind: keyed tokens here. plain: the text goes to the feed of an external search engine.';
COMMENT ON COLUMN chatcrypt.search_policy.config IS
	'The text search configuration that makes words of a message.';
COMMENT ON COLUMN chatcrypt.search_policy.prefixes IS
	'The shortest beginning of a word that has a token of its own; 0 for none.';
COMMENT ON COLUMN chatcrypt.search_policy.bits IS
	'How many bits of a token are kept: fewer tell less, and find more that must be looked at.';
COMMENT ON COLUMN chatcrypt.search_policy.feed IS
	'Whether messages go to the feed of an external search engine.';
COMMENT ON COLUMN chatcrypt.search_policy.generation IS
	'Changes with everything that needs the index made anew.';
COMMENT ON COLUMN chatcrypt.search_policy.complete IS
	'False, where it is blind, until reindex_search() has gone over the messages from before the '
	'policy, and those of transactions that did not know of it.';

COMMENT ON COLUMN chatcrypt.search_policy.began_empty IS
	'True where the chat had no message when the policy was set. Until it is complete, search() '
	'looks whether each message that it sees has its tokens.';

SELECT pg_extension_config_dump('chatcrypt.search_policy', '');
SELECT pg_extension_config_dump('chatcrypt.search_generation', '');

-- Sessions remember also that a chat has none: src/pg/search/policy.c.
CREATE TRIGGER invalidate BEFORE INSERT OR UPDATE OR DELETE ON chatcrypt.search_policy
	FOR EACH ROW EXECUTE FUNCTION chatcrypt.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.search_policy
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt.invalidate();
ALTER TABLE chatcrypt.search_policy ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.search_policy ENABLE ALWAYS TRIGGER invalidate_all;

CREATE FUNCTION chatcrypt.set_search(chat_id chatcrypt.any_id, mode text,
									 config regconfig DEFAULT 'pg_catalog.simple',
									 prefixes integer DEFAULT 0, trigrams boolean DEFAULT false,
									 bits integer DEFAULT 64,
									 feed boolean DEFAULT NULL)
	RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_set_search';
COMMENT ON FUNCTION chatcrypt.set_search(chatcrypt.any_id, text, regconfig, integer, boolean, integer, boolean) IS
	'Says how a chat is searched: off, blind or plain. True where it can be searched at once, as '
	'a chat without messages can; false where reindex_search() must go over its messages first.';

-- One row for each message of a blind chat: what stands for its words.  An inverted index of
-- PostgreSQL's own, because twenty rows in a B-tree for each message cost more than all the rest.
CREATE TABLE chatcrypt.search_token (
	message_id uuid CONSTRAINT search_token_pkey PRIMARY KEY,
	chat_id uuid NOT NULL,
	created_at timestamptz NOT NULL,
	generation bigint NOT NULL,
	tokens bigint[] NOT NULL
) USING heap;
ALTER TABLE chatcrypt.search_token ALTER COLUMN tokens SET STORAGE EXTERNAL;
CREATE INDEX search_token_by_token ON chatcrypt.search_token USING gin (tokens) WITH (gin_pending_list_limit = 256);
COMMENT ON TABLE chatcrypt.search_token IS
	'What stands for the words of messages: keyed tokens. Read by search() alone.';
COMMENT ON COLUMN chatcrypt.search_token.generation IS 'Of the policy that made the tokens.';
COMMENT ON COLUMN chatcrypt.search_token.tokens IS
	'Sorted, each XORed with a public hash of the chat.';
SELECT pg_extension_config_dump('chatcrypt.search_token', '');

-- What search keeps of a message goes with it, whoever deletes it and how.
CREATE FUNCTION chatcrypt.message_removed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_message_removed';
COMMENT ON FUNCTION chatcrypt.message_removed() IS
	'Trigger: takes deleted messages out of what search keeps of them.';

CREATE TRIGGER message_removed AFTER DELETE ON chatcrypt.message
	FOR EACH ROW EXECUTE FUNCTION chatcrypt.message_removed();
CREATE TRIGGER messages_truncated AFTER TRUNCATE ON chatcrypt.message
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt.message_removed();
ALTER TABLE chatcrypt.message ENABLE ALWAYS TRIGGER message_removed;
ALTER TABLE chatcrypt.message ENABLE ALWAYS TRIGGER messages_truncated;

CREATE FUNCTION chatcrypt.search(chat_ids chatcrypt.any_id[], query text, max_messages integer DEFAULT 50,
								 before timestamptz DEFAULT NULL, before_id chatcrypt.any_id DEFAULT NULL)
	RETURNS TABLE (chat_id uuid, message_id uuid, sender text, body text, created_at timestamptz)
	LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 50
	AS 'MODULE_PATHNAME', 'chatcrypt_search';
COMMENT ON FUNCTION chatcrypt.search(chatcrypt.any_id[], text, integer, timestamptz, chatcrypt.any_id) IS
	'Finds messages of chats whose search is blind, newest first, a page at a time: words, '
	'"phrases", or, -not, begin*, *part*. What comes after a page is before its last message.';

CREATE FUNCTION chatcrypt.search(chat_id chatcrypt.any_id, query text, max_messages integer DEFAULT 50,
								 before timestamptz DEFAULT NULL, before_id chatcrypt.any_id DEFAULT NULL)
	RETURNS TABLE (chat_id uuid, message_id uuid, sender text, body text, created_at timestamptz)
	LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 50 AS 'MODULE_PATHNAME', 'chatcrypt_search_chat';
COMMENT ON FUNCTION chatcrypt.search(chatcrypt.any_id, text, integer, timestamptz, chatcrypt.any_id) IS
	'Finds messages of chats whose search is blind, newest first, a page at a time: words, '
	'"phrases", or, -not, begin*, *part*. What comes after a page is before its last message.';

CREATE FUNCTION chatcrypt.search_tokens(chat_id chatcrypt.any_id, query text)
	RETURNS text[] LANGUAGE c STRICT STABLE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_search_tokens';
COMMENT ON FUNCTION chatcrypt.search_tokens(chatcrypt.any_id, text) IS
	'The tokens that every message has that holds the words of the query, as drain_search_feed() '
	'writes them: to look for in an index outside.';

-- PL/pgSQL wants a variable for each argument that a procedure gives back, those with a default
-- included.  So there are two: one that gives nothing back, and one to which all arguments are given.
CREATE PROCEDURE chatcrypt.reindex_search(
	chat_id chatcrypt.any_id, batch integer DEFAULT 1000, new_key boolean DEFAULT false,
	patience interval DEFAULT '30 seconds')
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reindex_search';
COMMENT ON PROCEDURE chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval) IS
	'Goes over the messages of a chat for its search, each batch in a transaction of its own, '
	'under a new search key where that is asked for. A notice says how many, and how many do not '
	'open; a warning says that it had no patience to wait for older transactions: then call it '
	'again.';

CREATE PROCEDURE chatcrypt.reindex_search(
	chat_id chatcrypt.any_id, batch integer, new_key boolean, patience interval,
	INOUT indexed bigint, INOUT unreadable bigint, INOUT waiting_for bigint)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reindex_search';
COMMENT ON PROCEDURE chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval, bigint, bigint, bigint) IS
	'The same, and gives back how many messages it indexed, how many do not open, and for how many '
	'older transactions it had no patience to wait.';
