-- Search policies of chats, and search().
\set VERBOSITY terse
\set home :DBNAME
CREATE DATABASE regression_search;
\c regression_search
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION chatcrypt;
SELECT chatcrypt.create_chat(7000, mode => 'e2ee') IS NOT NULL AS made,
	   chatcrypt.create_chat(7001) IS NOT NULL AS made;

-- set_search() refuses bad arguments, and callers without the right.
SELECT chatcrypt.set_search(7099, 'blind');
SELECT chatcrypt.set_search(7000, 'blind');
SELECT chatcrypt.set_search(7000, 'plain');
SELECT chatcrypt.set_search(7001, 'loud');
SELECT chatcrypt.set_search(7001, NULL);
SELECT chatcrypt.set_search(7001, 'blind', bits => 7);
SELECT chatcrypt.set_search(7001, 'blind', prefixes => 17);
SELECT chatcrypt.set_search(7001, 'blind', config => 0);
SELECT chatcrypt.set_search(7001, 'plain', feed => false);
SET ROLE chatcrypt_reader;
SELECT chatcrypt.set_search(7001, 'blind');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.set_search(chatcrypt.any_id, text, regconfig, integer, boolean, integer, boolean) TO chatcrypt_reader;
SET ROLE chatcrypt_reader;
SELECT chatcrypt.set_search(7001, 'blind');
SELECT FROM chatcrypt.search_policy;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION chatcrypt.set_search(chatcrypt.any_id, text, regconfig, integer, boolean, integer, boolean) FROM chatcrypt_reader;
SELECT count(*) FROM chatcrypt.search_policy;

-- A chat without messages can be searched at once, and its index is complete if the same transaction made the chat.
SELECT chatcrypt.set_search(7001, 'blind') AS complete;
BEGIN;
SELECT chatcrypt.create_chat(7002) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40) AS complete;
COMMIT;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40) AS still_complete;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40, feed => true) AS complete;
SELECT chatcrypt.set_search(7002, 'plain') AS complete;
SELECT chat_id = chatcrypt.to_uuid(7001) AS first, mode, config, prefixes, trigrams, bits, feed, complete
FROM chatcrypt.search_policy ORDER BY chat_id;
SELECT purpose, dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(7001) ORDER BY purpose;
SELECT detail FROM chatcrypt.key_event WHERE event = 'policy' AND chat_id = chatcrypt.to_uuid(7002) ORDER BY event_id;

-- No generation is used twice, whatever happens between two policies.
SELECT generation AS before FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7001) \gset
SELECT chatcrypt.set_search(7001, 'off'), chatcrypt.set_search(7002, 'off');
SELECT chatcrypt.set_search(7001, 'blind') AS complete;
SELECT generation > :before AS is_another FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7001);
SELECT chatcrypt.set_search(7001, 'off');
SELECT count(*) FROM chatcrypt.search_policy;

-- Searching: words in any order, phrases, or, not, beginnings and parts of words.
SELECT chatcrypt.create_chats(ARRAY[7011, 7012, 7013]::bigint[], participants => '{alice}');
SELECT chatcrypt.set_search(7011, 'blind') AS complete;
CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', NULL, NULL, NULL);
INSERT INTO chatcrypt.messages (chat_id, message_id, sender, body, created_at)
SELECT chatcrypt.to_uuid(7011), chatcrypt.to_uuid(n), 'alice', body, timestamptz '2030-01-01' + n * interval '1 minute'
FROM (VALUES (1, 'The quick brown fox jumps over the lazy dog'), (2, 'A quick-witted brown dog'), (3, 'Brown, then quick'),
			 (4, 'Café Überraschung: 12 Zoë''s'), (5, ''), (6, NULL), (7, 'quick'), (8, 'quicksilver')) AS m (n, body);
SELECT * FROM chatcrypt.search(7011, 'quick brown');
CREATE FUNCTION found(query text, chat bigint DEFAULT 7011) RETURNS text LANGUAGE sql AS
	'SELECT string_agg(right(message_id::text, 2), '' '') FROM chatcrypt.search(chat, query)';
SELECT query, found(query) FROM unnest(ARRAY['quick', 'QUICK Brown', '"quick brown"', '"brown then"', 'brown -dog', '-quick', '-quick -fox',
	'fox or witted', 'lazy quick or überraschung', '-"quick brown" dog', 'quick*', 'qui*', '*icksil*', '*uick*', '-qui*', 'quick-witted', 'wit*', '12',
	'zoë''s', 'fox nothere', 'nothere', '', '   ', '"', '""', '-', '- fox', 'or', 'or or fox', '"fox', '*', '**', '*fox', 'fo?', 'fox:*', 'a&b | !c']) AS query;

-- With tokens for prefixes and trigrams, and with few bits, queries find the same messages.
SELECT query, found(query) AS before INTO TEMP before FROM unnest(ARRAY['quick', '"quick brown"', 'brown -dog', '-quick', 'quick*', 'qui*', 'qu*',
	'quicksilver*', '*icksil*', '*ui*', '-qui*', '-*uick*', 'quick-witted', 'über*', '*rasch*', 'fox or *dog*']) AS query;
SELECT chatcrypt.set_search(7011, 'blind', prefixes => 3, trigrams => true) AS complete;
CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', NULL, NULL, NULL);
SELECT count(*) AS asked, count(*) FILTER (WHERE found(query) IS NOT DISTINCT FROM before) AS same FROM before;
SELECT chatcrypt.set_search(7011, 'blind', bits => 8) AS complete;
CALL chatcrypt.reindex_search(7011, 3, false, '30 s', NULL, NULL, NULL);
-- PL/pgSQL can call reindex_search() without variables for its results, and with them.
SELECT generation AS before FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7011) \gset
DO $$ BEGIN CALL chatcrypt.reindex_search(chat_id => 7011); END $$;
SELECT generation > :before AS made_anew, complete FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7011);
DO $$
DECLARE
	indexed bigint;
	unreadable bigint;
	waiting_for bigint;
BEGIN
	CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', indexed, unreadable, waiting_for);
	RAISE WARNING '% indexed, % unreadable, % waited for', indexed, unreadable, waiting_for;
END
$$;
SET client_min_messages = notice;
CALL chatcrypt.reindex_search(7011, batch => 5);
SET client_min_messages = warning;
SELECT count(*) AS asked, count(*) FILTER (WHERE found(query) IS NOT DISTINCT FROM before) AS same FROM before;
SELECT max(cardinality(tokens)) <= 9 AS few,
	   bool_and((t # (SELECT min(u) FROM chatcrypt.search_token x, unnest(x.tokens) AS u)) & ((1::bigint << 56) - 1) = 0) AS cut
FROM chatcrypt.search_token, unnest(tokens) AS t GROUP BY message_id ORDER BY 1 LIMIT 1;

-- A configuration of a language has stems and stop words.
SELECT chatcrypt.set_search(7011, 'blind', config => 'english') AS complete;
CALL chatcrypt.reindex_search(7011, 1000, true, '30 s', NULL, NULL, NULL);
SELECT query, found(query) FROM unnest(ARRAY['jumping', 'the', 'the fox', '-the', '"over the lazy"', '"over a lazy"', '"over lazy"', 'dogs -quick']) AS query;
SELECT dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(7011) AND purpose = 'search' ORDER BY dek_version;
CREATE SCHEMA own;
CREATE TEXT SEARCH CONFIGURATION own."of chats" (COPY = simple);
SELECT chatcrypt.set_search(7011, 'blind', config => 'own."of chats"') AS complete;
SELECT config FROM chatcrypt.search_policy;
CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', NULL, NULL, NULL);
SELECT found('jumps');
DROP TEXT SEARCH CONFIGURATION own."of chats";
SELECT found('jumps');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(7011), 'not stored');
SELECT chatcrypt.set_search(7011, 'blind') AS complete;
SELECT found('jumps');
CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', NULL, NULL, NULL);

-- Tokens change with their message, and are deleted with it.
UPDATE chatcrypt.messages SET body = 'A cat' WHERE message_id = chatcrypt.to_uuid(1);
SELECT found('fox'), found('cat');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET created_at = '2031-01-01' WHERE message_id = chatcrypt.to_uuid(1);
SELECT found('cat or brown');
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(21) WHERE message_id = chatcrypt.to_uuid(1);
SELECT found('cat');
SELECT chatcrypt.put_message(chatcrypt.to_uuid(7011), chatcrypt.to_uuid(21), 'a mouse'), chatcrypt.put_message(chatcrypt.to_uuid(7011), chatcrypt.to_uuid(22), 'two mice');
SELECT found('cat'), found('mouse or mice');
UPDATE chatcrypt.messages SET body = NULL WHERE message_id = chatcrypt.to_uuid(22);
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(7012) WHERE message_id = chatcrypt.to_uuid(21);
SELECT found('mouse or mice'), count(*) FILTER (WHERE message_id IN (chatcrypt.to_uuid(21), chatcrypt.to_uuid(22))) AS tokens FROM chatcrypt.search_token;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(2);
DELETE FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(3);
BEGIN;
DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(7011);
SELECT count(*) AS tokens FROM chatcrypt.search_token;
ROLLBACK;
BEGIN;
TRUNCATE chatcrypt.sealed_message;
SELECT count(*) AS tokens FROM chatcrypt.search_token;
ROLLBACK;
BEGIN;
SAVEPOINT one;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(7011), chatcrypt.to_uuid(23), 'gone again');
ROLLBACK TO one;
SELECT found('gone');
COMMIT;
SELECT found('brown'), found('quick'), count(*) = (SELECT count(*) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(7011) AND encrypted_message IS NOT NULL) AS all
FROM chatcrypt.search_token;

-- A message of very many words takes little room in the index, and is found all the same.
SELECT chatcrypt.put_message(chatcrypt.to_uuid(7011), chatcrypt.to_uuid(30), string_agg('w' || n, ' ')) FROM generate_series(1, 12000) AS n;
SELECT chatcrypt.put_message(chatcrypt.to_uuid(7011), chatcrypt.to_uuid(31), repeat('same words again ', 40000) || 'needle');
SELECT right(message_id::text, 2) AS message, cardinality(tokens) FROM chatcrypt.search_token WHERE message_id IN (chatcrypt.to_uuid(30), chatcrypt.to_uuid(31)) ORDER BY 1;
SELECT found('w11999'), found('w1 w12000'), found('w12001'), found('"w11998 w11999"'), found('needle'), found('"again needle"');
DELETE FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(30), chatcrypt.to_uuid(31));

-- Expired messages are not shown, even before they are deleted.
UPDATE chatcrypt.messages SET expires_at = '2020-01-01' WHERE message_id = chatcrypt.to_uuid(8);
SELECT found('quick*');

-- Pages over several chats have the newest messages first, and each message once.
SELECT chatcrypt.set_search(7012, 'blind'), chatcrypt.set_search(7013, 'blind', config => 'english', bits => 16, prefixes => 1);
CALL chatcrypt.reindex_search(7012, 1000, false, '30 s', NULL, NULL, NULL);
CALL chatcrypt.reindex_search(chatcrypt.to_uuid(7013), 1000, false, '30 s', NULL, NULL, NULL);
INSERT INTO chatcrypt.messages (chat_id, message_id, body, created_at)
SELECT chatcrypt.to_uuid(7012 + n % 2), chatcrypt.to_uuid(100 + n), 'page of ' || CASE WHEN n % 3 = 0 THEN 'threes' ELSE 'others' END, timestamptz '2030-06-01' + (n / 4) * interval '1 second'
FROM generate_series(1, 40) AS n;
WITH RECURSIVE pages AS (
	SELECT 1 AS page, array_agg(message_id) AS ids, min(created_at) AS last_time, (array_agg(message_id))[count(*)] AS last_id
	FROM chatcrypt.search(ARRAY[7012, 7013]::bigint[], 'page threes', 5)
	UNION ALL
	SELECT page + 1, n.ids, n.last_time, n.last_id FROM pages, LATERAL (
		SELECT array_agg(message_id) AS ids, min(created_at) AS last_time, (array_agg(message_id))[count(*)] AS last_id
		FROM chatcrypt.search(ARRAY[7012, 7013]::bigint[], 'page threes', 5, pages.last_time, pages.last_id)) AS n
	WHERE pages.ids IS NOT NULL)
SELECT page, cardinality(ids), array(SELECT right(id::text, 2) FROM unnest(ids) AS id) FROM pages;
SELECT count(*), count(DISTINCT message_id) FROM chatcrypt.search(ARRAY[chatcrypt.to_uuid(7012), chatcrypt.to_uuid(7013)], 'page');
SELECT count(*) FROM chatcrypt.search('{}'::uuid[], 'page');

-- doctor() reports chats that wait for reindex_search().
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding = 'search_incomplete';
SELECT chatcrypt.set_search(7013, 'blind') AS complete;
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding = 'search_incomplete';
CALL chatcrypt.reindex_search(7013, 1000, false, '30 s', NULL, NULL, NULL);

-- A chat without messages can be searched at once, but not if a message without tokens is found in it.
SELECT chatcrypt.create_chat(7021) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7021, 'blind') AS ready;
SELECT began_empty, complete FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7021);
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(7021), chatcrypt.to_uuid(7211), 'The first word'), (chatcrypt.to_uuid(7021), chatcrypt.to_uuid(7212), NULL);
SELECT found('word', 7021);
SELECT chatcrypt.set_search(7021, 'blind', feed => true) AS ready;
SELECT chatcrypt.set_search(7021, 'blind') AS ready;
SELECT finding FROM chatcrypt.doctor() WHERE finding LIKE 'search\_%';
UPDATE chatcrypt.search_policy SET updated_at = now() - interval '25 hours' WHERE chat_id = chatcrypt.to_uuid(7021);
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding LIKE 'search\_%';
BEGIN;
DELETE FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(7211);
SAVEPOINT one;
SELECT found('word', 7021);
ROLLBACK TO one;
SELECT chatcrypt.set_search(7021, 'blind') AS ready;
ROLLBACK;
SELECT generation AS before FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7021) \gset
CALL chatcrypt.reindex_search(7021, 1000, false, '30 s', NULL, NULL, NULL);
SELECT generation = :before AS as_before, complete FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(7021);
SELECT finding FROM chatcrypt.doctor() WHERE finding LIKE 'search\_%';
SELECT found('word', 7021);
SELECT chatcrypt.set_search(7021, 'blind', bits => 48) AS ready;
SELECT found('word', 7021);
SELECT chatcrypt.set_search(7021, 'off');
DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(7021);

-- A message that cannot be opened is left out, or raises an error.
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 50, get_byte(encrypted_message, 50) # 1) WHERE message_id = chatcrypt.to_uuid(7);
SELECT found('quick');
SET chatcrypt.on_decrypt_error = 'null';
SELECT found('quick');
RESET chatcrypt.on_decrypt_error;
CALL chatcrypt.reindex_search(7011, 1000, false, '30 s', NULL, NULL, NULL);

-- search() refuses chats without an index, bad arguments, and callers without the right.
SELECT * FROM chatcrypt.search(7001, 'quick');
SELECT * FROM chatcrypt.search(7099, 'quick');
SELECT * FROM chatcrypt.search(ARRAY[7012, 7000]::bigint[], 'quick');
SELECT * FROM chatcrypt.search(NULL::bigint[], 'quick');
SELECT * FROM chatcrypt.search(ARRAY[NULL]::uuid[], 'quick');
SELECT * FROM chatcrypt.search(7012, NULL);
SELECT * FROM chatcrypt.search(7012, 'page', 0);
SELECT * FROM chatcrypt.search(7012, 'page', 1001);
SELECT * FROM chatcrypt.search(7012, repeat('many ', 65));
SELECT * FROM chatcrypt.search(7012, repeat('long', 600));
SELECT chatcrypt.set_search(7001, 'plain');
SELECT * FROM chatcrypt.search(7001, 'quick');
SET ROLE chatcrypt_writer;
SELECT * FROM chatcrypt.search(7012, 'page');
SELECT * FROM chatcrypt.search_token;
SET ROLE chatcrypt_admin;
SELECT * FROM chatcrypt.search_token;
SELECT * FROM chatcrypt.search(7012, 'page');
SET ROLE chatcrypt_reader;
SELECT count(*) FROM chatcrypt.search(7012, 'page');
SELECT * FROM chatcrypt.search_token;
CALL chatcrypt.reindex_search(7012, 1000, false, '30 s', NULL, NULL, NULL);
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT count(*) FROM chatcrypt.search(7012, 'page');
COMMIT;
BEGIN;
SELECT chatcrypt.act_as('mallory');
SELECT count(*) FROM chatcrypt.search(7012, 'page');
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('mallory');
SELECT count(*) FROM chatcrypt.search(7099, 'page');
ROLLBACK;
RESET ROLE;
-- Row-level security of the application applies as in any SELECT.
CREATE POLICY not_the_first ON chatcrypt.sealed_message AS RESTRICTIVE USING (message_id <> chatcrypt.to_uuid(103));
SET ROLE chatcrypt_reader;
SELECT count(*) FROM chatcrypt.search(ARRAY[7012, 7013]::bigint[], 'threes');
RESET ROLE;
DROP POLICY not_the_first ON chatcrypt.sealed_message;
SELECT count(*) FROM chatcrypt.search(ARRAY[7012, 7013]::bigint[], 'threes');

CALL chatcrypt.reindex_search(7099, 1000, false, '30 s', NULL, NULL, NULL);
CALL chatcrypt.reindex_search(7001, 1000, false, '30 s', NULL, NULL, NULL);
CALL chatcrypt.reindex_search(NULL::uuid);
CALL chatcrypt.reindex_search(7012, 0, false, '30 s', NULL, NULL, NULL);
BEGIN;
CALL chatcrypt.reindex_search(7012, 1000, false, '30 s', NULL, NULL, NULL);
ROLLBACK;

-- No token is left of a chat whose search is off, or that was shredded or deleted.
SELECT chatcrypt.set_search(7011, 'off');
SELECT count(*) AS tokens FROM chatcrypt.search_token WHERE chat_id = chatcrypt.to_uuid(7011);
SELECT found('brown');
SELECT chatcrypt.shred_chat(7012, confirm => 'irreversible');
SELECT count(*) AS tokens FROM chatcrypt.search_token WHERE chat_id = chatcrypt.to_uuid(7012);
SELECT found('page', 7012);
SELECT chatcrypt.set_search(7012, 'blind');
CALL chatcrypt.delete_chat(7013, confirm => 'irreversible');
SELECT count(*) AS tokens FROM chatcrypt.search_token;
SELECT chatcrypt.create_tenant('gone');
SELECT chatcrypt.create_chat(7014, tenant => 'gone') IS NOT NULL AS made;
SELECT chatcrypt.set_search(7014, 'blind');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(7014), 'short lived');
SELECT count(*) AS tokens FROM chatcrypt.search_token;
SELECT chatcrypt.shred_tenant('gone', confirm => 'irreversible') > 0 AS shredded;
SELECT count(*) AS tokens FROM chatcrypt.search_token;
SELECT count(*) AS policies FROM chatcrypt.search_policy;

-- A chat whose clients may hold its key is searched like any other.
BEGIN;
SELECT chatcrypt.create_chat(7015, mode => 'conversation_key') IS NOT NULL AS made;
SELECT chatcrypt.set_search(7015, 'blind') AS complete;
COMMIT;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(7015), chatcrypt.to_uuid(50), 'with a conversation key');
SELECT found('conversation', 7015);

-- Random queries find what PostgreSQL's own search finds in the bodies, with tokens of any kind.
BEGIN;
SELECT chatcrypt.create_chat(7016) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7016, 'blind') AS complete;
COMMIT;
SELECT setseed(0.4);
CREATE FUNCTION word() RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT (ARRAY['ant', 'ants', 'bee', 'beetle', 'Cat', 'do-it', 'x7', 'über', 'e@x.org', '3.14'])[1 + floor(10 * random())] $$;
INSERT INTO chatcrypt.messages (chat_id, message_id, body)
SELECT chatcrypt.to_uuid(7016), chatcrypt.to_uuid(7000 + n), (SELECT string_agg(word(), ' ') FROM generate_series(1, 1 + n % 5)) FROM generate_series(1, 150) AS n;
CREATE FUNCTION item() RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT (ARRAY['', '', '', '-'])[1 + floor(4 * random())] || CASE WHEN random() < 0.3 THEN format('"%s %s"', word(), word()) ELSE word() END
		|| (ARRAY['', '', '', ' or'])[1 + floor(4 * random())] $$;
CREATE TABLE asked AS SELECT (SELECT string_agg(item(), ' ') FROM generate_series(1, 1 + n % 4)) AS query FROM generate_series(1, 200) AS n;
CREATE FUNCTION mismatches() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM asked WHERE array(SELECT message_id FROM chatcrypt.search(7016, query, 1000) ORDER BY 1) IS DISTINCT FROM
		array(SELECT message_id FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(7016)
			  AND to_tsvector('simple', body) @@ websearch_to_tsquery('simple', query) ORDER BY 1) $$;
SELECT mismatches(), count(*) FILTER (WHERE (SELECT count(*) FROM chatcrypt.search(7016, query, 1000)) BETWEEN 1 AND 149) > 100 AS telling FROM asked;
SELECT chatcrypt.set_search(7016, 'blind', bits => 8, prefixes => 1, trigrams => true) AS complete;
CALL chatcrypt.reindex_search(7016, 1000, false, '30 s', NULL, NULL, NULL);
SELECT mismatches();

-- Known answers: tokens are those of the format (test/vectors/blind.json), each XORed with the hash of the chat.
SELECT chatcrypt.create_chat('da142181-5468-0f87-6103-4ef5ad9e0cad'::uuid) IS NOT NULL AS made;
SELECT chatcrypt.import_dek('da142181-5468-0f87-6103-4ef5ad9e0cad'::uuid, '\x930de0ab3afa18e87ef318404ea54e29e7f9a98f02979cd793687bf013c5022a', 3, 'search');
SELECT chatcrypt.set_search('da142181-5468-0f87-6103-4ef5ad9e0cad'::uuid, 'blind', prefixes => 5) AS complete;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES ('da142181-5468-0f87-6103-4ef5ad9e0cad', chatcrypt.to_uuid(60), 'Hello, hello!');
SELECT array(SELECT lpad(to_hex(t # x'a553db164ff6313f'::bigint), 16, '0') FROM unnest(tokens) AS t ORDER BY 1 DESC) AS word_and_prefix
FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(60);

-- A temporary configuration is refused, because other sessions could not write to the chat once it is gone.
CREATE TEXT SEARCH CONFIGURATION pg_temp.passing (COPY = simple);
SELECT chatcrypt.set_search(7011, 'blind', config => 'pg_temp.passing');

-- A chat that is named several times is searched once.
SELECT chatcrypt.create_chat(7090) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7090, 'blind') AS complete;
CALL chatcrypt.reindex_search(7090, 1000, false, '30 s', NULL, NULL, NULL);
INSERT INTO chatcrypt.messages (chat_id, message_id, body)
SELECT chatcrypt.to_uuid(7090), chatcrypt.to_uuid(9000 + n), 'large ' || repeat(md5(n::text) || ' ', 1000) FROM generate_series(1, 10) AS n;
SELECT count(*), count(DISTINCT message_id) FROM chatcrypt.search(ARRAY[7090, 7090, 7090]::bigint[], 'large');
SELECT count(*), count(DISTINCT message_id) FROM chatcrypt.search(ARRAY[chatcrypt.to_uuid(7090), chatcrypt.to_uuid(7090)], 'large', 7);
SELECT count(*) FROM chatcrypt.search(array_fill(7090::bigint, ARRAY[10001]), 'large');
SELECT count(*) FROM chatcrypt.search(ARRAY[7090, NULL]::bigint[], 'large');
SELECT count(*) FROM chatcrypt.search(NULL::bigint, 'large');
SELECT count(*) FROM chatcrypt.search(7090, NULL);
SELECT count(*) FROM chatcrypt.search('{}'::bigint[], 'large');

-- Messages that were found are written to no file.
SET work_mem = '64kB';
SELECT pg_stat_force_next_flush();
SELECT temp_files AS before FROM pg_stat_database WHERE datname = current_database() \gset
SELECT count(*) FROM chatcrypt.search(7090, 'large');
SELECT count(*) FROM chatcrypt.search(7090, (SELECT 'large'));
SELECT count(*) FROM chatcrypt.search(chatcrypt.to_uuid(7090), (SELECT 'large'));
SELECT count(*) FROM chatcrypt.search(ARRAY[7090]::bigint[], (SELECT 'large'));
SELECT count(*) FROM chatcrypt.search(ARRAY[chatcrypt.to_uuid(7090)], 'large');
SELECT pg_stat_force_next_flush();
SELECT temp_files - :before AS files FROM pg_stat_database WHERE datname = current_database();
RESET work_mem;

-- The length of a query and the number of its words are limited.
SELECT count(*) FROM chatcrypt.search(7090, repeat('"" ', 6000));
SELECT count(*) FROM chatcrypt.search(7090, repeat('"" ', 65));
SELECT count(*) FROM chatcrypt.search(7090, repeat('"" ', 63) || 'large');

-- Only the beginning of a very long message is searched.
SELECT chatcrypt.put_message(chatcrypt.to_uuid(7090), chatcrypt.to_uuid(9100), 'begins ' || repeat('ä ', 1400000) || 'ends');
SELECT found('begins', 7090), found('begins -ends', 7090), found('ends', 7090);
\c :home
DROP DATABASE regression_search;
