-- Search in encrypted messages: docs/search.md.

-- Each change of a policy makes a new generation.  No number is used twice, so that tokens of an
-- older policy are never taken for those of the current one.
CREATE SEQUENCE chatcrypt.search_generation;

-- A chat without a row has no search.  The configuration is stored by its name, because its OID
-- changes with pg_upgrade.
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
	'The chats whose messages can be searched, and how. set_search() writes it; a chat without a '
	'row cannot be searched.';
COMMENT ON COLUMN chatcrypt.search_policy.chat_id IS 'The chat.';
COMMENT ON COLUMN chatcrypt.search_policy.trigrams IS
	'Whether the trigrams of words have tokens.';
COMMENT ON COLUMN chatcrypt.search_policy.updated_at IS 'When the policy was set.';
COMMENT ON COLUMN chatcrypt.search_policy.mode IS
	'blind: keyed tokens in this database. plain: the text goes to an external search engine.';
COMMENT ON COLUMN chatcrypt.search_policy.config IS
	'The text search configuration that splits messages into words.';
COMMENT ON COLUMN chatcrypt.search_policy.prefixes IS
	'The shortest prefix of a word with a token of its own; 0 for none.';
COMMENT ON COLUMN chatcrypt.search_policy.bits IS
	'How many bits of a token are kept. Fewer bits tell less, and find more messages that have to '
	'be decrypted and compared.';
COMMENT ON COLUMN chatcrypt.search_policy.feed IS
	'Whether messages go to the feed of an external search engine.';
COMMENT ON COLUMN chatcrypt.search_policy.generation IS
	'A number that changes when the index must be made anew.';
COMMENT ON COLUMN chatcrypt.search_policy.complete IS
	'False for a blind policy until reindex_search() has gone through the messages from before '
	'it, and those of transactions that did not know of it.';

COMMENT ON COLUMN chatcrypt.search_policy.began_empty IS
	'Whether the chat had no message when the policy was set. Until it is complete, search() '
	'checks that each message that it sees has its tokens.';

SELECT pg_extension_config_dump('chatcrypt.search_policy', '');
SELECT pg_extension_config_dump('chatcrypt.search_generation', '');

-- Sessions remember policies, and also that a chat has none: src/pg/search/policy.c.
CREATE TRIGGER invalidate BEFORE INSERT OR UPDATE OR DELETE ON chatcrypt.search_policy
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.search_policy
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.invalidate();
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
	'Sets how the messages of a chat can be searched: mode is off, blind (keyed tokens in this '
	'database) or plain (text in an external search engine). config is the text search '
	'configuration that splits messages into words. prefixes is the length of the shortest '
	'beginning of a word that has a token of its own, up to 16 characters, or 0 for none. '
	'trigrams says whether each three characters in a row have a token. bits is how many bits '
	'of a token are kept, 8 to 64: fewer tell less, and find more messages that have to be '
	'decrypted and compared. feed says whether messages go to the feed of an external search '
	'engine; NULL stands for true with plain, and false with blind. Returns true if the chat '
	'can be searched at once, and false if reindex_search() must first go through its messages.';

-- One row for each message of a blind chat, with the tokens that stand for its words.  They are in
-- one array with a GIN index, because twenty rows in a B-tree for each message would cost more than
-- everything else that is done for the message.
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
	'Keyed tokens of the words of messages, which only search() reads.';
COMMENT ON COLUMN chatcrypt.search_token.message_id IS 'The message.';
COMMENT ON COLUMN chatcrypt.search_token.chat_id IS 'Its chat.';
COMMENT ON COLUMN chatcrypt.search_token.created_at IS 'When it was sent.';
COMMENT ON COLUMN chatcrypt.search_token.generation IS
	'The generation of the policy that made the tokens.';
COMMENT ON COLUMN chatcrypt.search_token.tokens IS
	'The tokens in order, each combined by XOR with a public hash of the chat.';
SELECT pg_extension_config_dump('chatcrypt.search_token', '');

-- The tokens of a message are deleted with it, whatever statement deletes the message.
CREATE FUNCTION chatcrypt_internal.message_removed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_message_removed';
COMMENT ON FUNCTION chatcrypt_internal.message_removed() IS
	'Trigger: removes the tokens of deleted messages, and notes the deletions in the search feed.';

CREATE TRIGGER message_removed AFTER DELETE ON chatcrypt.sealed_message
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.message_removed();
CREATE TRIGGER messages_truncated AFTER TRUNCATE ON chatcrypt.sealed_message
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.message_removed();
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER message_removed;
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER messages_truncated;

CREATE FUNCTION chatcrypt.search(chat_ids chatcrypt.any_id[], query text, max_messages integer DEFAULT 50,
								 before timestamptz DEFAULT NULL, before_id chatcrypt.any_id DEFAULT NULL)
	RETURNS TABLE (chat_id uuid, message_id uuid, sender text, body text, created_at timestamptz)
	LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 50
	AS 'MODULE_PATHNAME', 'chatcrypt_search';
COMMENT ON FUNCTION chatcrypt.search(chatcrypt.any_id[], text, integer, timestamptz, chatcrypt.any_id) IS
	'Finds messages of several chats whose search mode is blind, newest first. A query has words, '
	'"phrases", or, -not, begin* and *part*; before and before_id continue after the last message '
	'of the page before.';

CREATE FUNCTION chatcrypt.search(chat_id chatcrypt.any_id, query text, max_messages integer DEFAULT 50,
								 before timestamptz DEFAULT NULL, before_id chatcrypt.any_id DEFAULT NULL)
	RETURNS TABLE (chat_id uuid, message_id uuid, sender text, body text, created_at timestamptz)
	LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 50 AS 'MODULE_PATHNAME', 'chatcrypt_search_chat';
COMMENT ON FUNCTION chatcrypt.search(chatcrypt.any_id, text, integer, timestamptz, chatcrypt.any_id) IS
	'Finds messages of one chat whose search mode is blind, newest first, by a query as that of '
	'several chats.';

CREATE FUNCTION chatcrypt.search_tokens(chat_id chatcrypt.any_id, query text)
	RETURNS text[] LANGUAGE c STRICT STABLE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_search_tokens';
COMMENT ON FUNCTION chatcrypt.search_tokens(chatcrypt.any_id, text) IS
	'Returns the tokens that every message with the words of the query has, in the form in which '
	'drain_search_feed() writes them. Look for them in an external index.';

-- PL/pgSQL needs a variable for each argument that a procedure returns, even for one with a default.
-- There are therefore two procedures: one that returns nothing, and one that is called with all
-- arguments.
CREATE PROCEDURE chatcrypt.reindex_search(
	chat_id chatcrypt.any_id, batch integer DEFAULT 1000, new_key boolean DEFAULT false,
	max_wait interval DEFAULT '30 seconds')
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reindex_search';
COMMENT ON PROCEDURE chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval) IS
	'Indexes the messages of a chat for search, in transactions of batch messages each, with a '
	'new search key if new_key is true. A notice says how many messages were indexed and how '
	'many do not open; a warning says that older transactions were still running after '
	'max_wait, and that the call must be repeated.';

CREATE PROCEDURE chatcrypt.reindex_search(
	chat_id chatcrypt.any_id, batch integer, new_key boolean, max_wait interval,
	INOUT indexed bigint, INOUT unreadable bigint, INOUT waiting_for bigint)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reindex_search';
COMMENT ON PROCEDURE chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval, bigint, bigint, bigint) IS
	'Indexes the messages of a chat for search, and returns how many messages were indexed, how '
	'many do not open, and how many older transactions were still running after max_wait.';
