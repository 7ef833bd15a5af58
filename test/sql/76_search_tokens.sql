-- Tokens of a query, in the form in which the feed writes those of messages.
\set VERBOSITY terse
\set home :DBNAME
CREATE DATABASE regression_tokens;
\c regression_tokens
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE app LOGIN IN ROLE chatcrypt_reader;
CREATE ROLE penman LOGIN IN ROLE chatcrypt_writer;
SELECT chatcrypt.create_chats(ARRAY[7601, 7602, 7603]::bigint[], participants => '{alice}');
SELECT chatcrypt.set_search(7601, 'blind', prefixes => 3, trigrams => true, feed => true),
	   chatcrypt.set_search(7602, 'blind', config => 'english', bits => 12, feed => true);
CALL chatcrypt.reindex_search(7601, 1000, false, '30 s', NULL, NULL, NULL);
CALL chatcrypt.reindex_search(7602, 1000, false, '30 s', NULL, NULL, NULL);
INSERT INTO chatcrypt.messages (chat_id, message_id, body)
SELECT chatcrypt.to_uuid(chat), chatcrypt.to_uuid(n), body
FROM (VALUES (7601, 1, 'The old lighthouse'), (7601, 2, 'An older light house'), (7601, 3, 'Überraschung'),
			 (7602, 4, 'The old lighthouse'), (7602, 5, 'Meetings')) AS m (chat, n, body);

-- Which documents of an external index have all tokens of a query.
CREATE TABLE outside AS
SELECT line ->> 'chat_id' AS chat, line ->> 'message_id' AS message, line -> 'tokens' AS tokens
FROM (SELECT string_to_table(rtrim(chatcrypt.drain_search_feed(), E'\n'), E'\n')::jsonb AS line) AS lines WHERE line ? 'tokens';
CREATE FUNCTION found(chat bigint, query text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(right(message, 1), ' ' ORDER BY message) FROM outside
	WHERE outside.chat = chatcrypt.to_uuid($1)::text AND tokens ?& chatcrypt.search_tokens($1, query) $$;
SELECT query, found(7601, query), cardinality(chatcrypt.search_tokens(7601, query)) AS tokens
FROM unnest(ARRAY['old', 'OLD lighthouse', '"old lighthouse"', '"lighthouse old"', 'lig*', 'light house', 'li*', '*ghtho*', 'old*', 'überraschung',
	'older old*', 'nothere', 'old old "old"', '', '""', 'light-house']) AS query;
SELECT query, found(7602, query), cardinality(chatcrypt.search_tokens(7602, query)) AS tokens
FROM unnest(ARRAY['the', 'meeting', 'meet the', 'lighthouses', 'light*']) AS query;
SELECT chatcrypt.search_tokens(7601, 'old') && chatcrypt.search_tokens(7602, 'old') AS shared,
	   bool_and(token ~ '^[0-9a-f]{16}$') AS form, count(*) FROM unnest(chatcrypt.search_tokens(7601, 'old light*')) AS token;
SELECT chatcrypt.search_tokens(chatcrypt.to_uuid(7601), 'old') = chatcrypt.search_tokens(7601, 'old') AS same,
	   chatcrypt.search_tokens(7601, NULL) IS NULL AS none;

-- Queries that one list of tokens cannot express, and callers without the right to read.
SELECT chatcrypt.search_tokens(7601, 'old or new');
SELECT chatcrypt.search_tokens(7601, 'old -new');
SELECT chatcrypt.search_tokens(7601, string_agg('w' || n, ' ')) FROM generate_series(1, 65) AS n;
SELECT chatcrypt.search_tokens(7603, 'old');
SELECT chatcrypt.search_tokens(7699, 'old');
SELECT chatcrypt.set_search(7603, 'plain');
SELECT chatcrypt.search_tokens(7603, 'old');
SET ROLE penman;
SELECT chatcrypt.search_tokens(7601, 'old');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.search_tokens(chatcrypt.any_id, text) TO chatcrypt_writer;
SET ROLE penman;
SELECT chatcrypt.search_tokens(chatcrypt.to_uuid(7601), 'old');
SET ROLE app;
SELECT cardinality(chatcrypt.search_tokens(7601, 'old'));
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT cardinality(chatcrypt.search_tokens(7601, 'old'));
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('mallory');
SELECT chatcrypt.search_tokens(7601, 'old');
ROLLBACK;
BEGIN READ ONLY;
SELECT cardinality(chatcrypt.search_tokens(7601, 'old'));
ROLLBACK;
RESET ROLE;

-- Another key makes other tokens, and there are none after a shred.
SELECT chatcrypt.search_tokens(7601, 'old') AS before \gset
CALL chatcrypt.reindex_search(7601, 1000, true, '30 s', NULL, NULL, NULL);
SELECT chatcrypt.search_tokens(7601, 'old') && :'before'::text[] AS shared;
SELECT count(*) FROM chatcrypt.search_token WHERE ARRAY(SELECT lpad(to_hex(t), 16, '0') FROM unnest(tokens) AS t) @> chatcrypt.search_tokens(7601, 'old');
SELECT chatcrypt.shred_chat(7601, 'irreversible') > 0 AS shredded;
SELECT chatcrypt.search_tokens(7601, 'old');
\c :home
DROP DATABASE regression_tokens;
DROP ROLE app, penman;
