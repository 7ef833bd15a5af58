-- The feed of an external search engine.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_feed;
\c regression_feed
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION chatcrypt;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
CREATE ROLE indexer; GRANT chatcrypt_feeder TO indexer;

-- drained() gives the lines of a batch without its number, which it keeps for ack().
CREATE FUNCTION drained(most integer DEFAULT 1000, lease interval DEFAULT '1 hour') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	lines text;
BEGIN
	-- A chat that has begun to be fed waits for older transactions, of autovacuum too.
	LOOP
		lines := chatcrypt.drain_search_feed(most, lease);
		EXIT WHEN lines IS NOT NULL OR NOT EXISTS (SELECT FROM chatcrypt.search_feed WHERE message_id IS NULL);
		PERFORM pg_sleep(0.1);
	END LOOP;
	PERFORM set_config('feed.batch', coalesce(substring(lines FROM '"version":(\d+),"version_type":"external"'), ''), false);
	IF lines !~ '\n$' THEN
		RAISE EXCEPTION 'no newline at the end';
	END IF;
	RETURN QUERY SELECT regexp_replace(line, '"version":' || current_setting('feed.batch') || ',', '"version":N,')
		FROM string_to_table(rtrim(lines, E'\n'), E'\n') AS line;
END
$$;
CREATE FUNCTION batch() RETURNS bigint LANGUAGE sql AS $$ SELECT nullif(current_setting('feed.batch'), '')::bigint $$;
CREATE VIEW feed AS SELECT chat_id, message_id, batch IS NOT NULL AS leased, failures, problem FROM chatcrypt.search_feed ORDER BY position;

SELECT chatcrypt.create_tenant('acme');
SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[]);
SELECT chatcrypt.create_chat(4, tenant => 'acme'), chatcrypt.create_chat(5, tenant => 'acme');

-- Nothing is noted of a chat that is not fed; all of its messages are handed out once it is.
SET ROLE app;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body, created_at)
SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(1), 'alice', 'before ' || i, '2026-01-02 03:04:05.678901' FROM generate_series(1, 3) AS i;
RESET ROLE;
SELECT count(*) FROM chatcrypt.search_feed;
SELECT drained();
SET ROLE operator;
SELECT chatcrypt.set_search(1, 'plain');
SELECT mode, waiting, leased, failing, chats, oldest IS NOT NULL AS has_oldest FROM chatcrypt.search_feed_status ORDER BY mode;
RESET ROLE;
SELECT drained();
SELECT * FROM feed;

-- Messages of a batch are in no other one, and are done when the batch is acknowledged.
SELECT drained();
SELECT waiting, leased, failing, chats FROM chatcrypt.search_feed_status WHERE mode = 'plain';
SELECT max(batch) AS batch FROM chatcrypt.search_feed \gset
SELECT chatcrypt.ack_search_feed(:batch - 1), chatcrypt.ack_search_feed(NULL), chatcrypt.ack_search_feed(:batch), chatcrypt.ack_search_feed(:batch);
SELECT * FROM feed;

-- Every change of a message is noted, and the message is handed out once, as it is at that time.
SET ROLE app;
UPDATE chatcrypt.messages SET body = 'changed' WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET body = 'changed again' WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(2);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(3);
SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(4), 'put', NULL, '2026-01-03'), chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(5), NULL, NULL, '2026-01-03');
BEGIN;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'rolled back');
ROLLBACK;
BEGIN;
SAVEPOINT s;
DELETE FROM chatcrypt.messages;
ROLLBACK TO s;
COMMIT;
RESET ROLE;
SELECT count(*) FROM feed;
SELECT drained();
SELECT * FROM feed;
-- A message that changes while it is leased is handed out again when the lease has ended or was acknowledged.
UPDATE chatcrypt.messages SET body = 'changed while leased' WHERE message_id = chatcrypt.to_uuid(1);
SELECT batch() AS batch \gset
SELECT drained();
SELECT chatcrypt.ack_search_feed(:batch);
SELECT drained();
SELECT chatcrypt.nack_search_feed(batch()), chatcrypt.nack_search_feed(batch());
SELECT drained(lease => '1 microsecond');
SELECT drained(lease => '1 microsecond');
SELECT chatcrypt.ack_search_feed(batch());

-- A message is moved to another id, to a chat that is not fed, and back.
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(40) WHERE message_id = chatcrypt.to_uuid(4);
SELECT drained();
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(2) WHERE message_id = chatcrypt.to_uuid(40);
SELECT chatcrypt.ack_search_feed(batch());
SELECT drained();
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(1) WHERE message_id = chatcrypt.to_uuid(40);
SELECT chatcrypt.ack_search_feed(batch());
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());

-- A message that has expired, cannot be opened or is not text becomes a deletion.
UPDATE chatcrypt.messages SET expires_at = now() WHERE message_id = chatcrypt.to_uuid(1);
SELECT drained();
CALL chatcrypt.apply_retention();
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 30, get_byte(encrypted_message, 30) # 1), sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(2);
UPDATE chatcrypt.sealed_message SET encrypted_message = chatcrypt.encrypt(1, 40, '\xff00'::bytea) WHERE message_id = chatcrypt.to_uuid(40);
SELECT chatcrypt.ack_search_feed(batch());
SELECT chatcrypt.resend_search_feed(1), chatcrypt.resend_search_feed(2), chatcrypt.resend_search_feed(99);
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());

-- A message that the index did not take is handed out again later; one that it has already counts as taken.
DELETE FROM chatcrypt.sealed_message;
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(1), 'm' || i, '2026-02-03' FROM generate_series(1, 6) AS i;
SELECT count(*) FROM drained();
SELECT chatcrypt.ack_search_feed(batch());
UPDATE chatcrypt.messages SET body = body || '!';
DELETE FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(5), chatcrypt.to_uuid(6));
SELECT count(*) FROM drained();
SELECT chatcrypt.ack_search_feed(batch(), '{"took": 1}');
SELECT chatcrypt.ack_search_feed(batch(), '{"errors": true}');
SELECT chatcrypt.ack_search_feed(batch(), 'null');
SELECT chatcrypt.ack_search_feed(batch(), format('{"errors": true, "items": [{"index": {"_id": %s, "status": 201}}, {"index": {"_id": %s, "status": 409}}, '
	'{"index": {"_id": %s, "status": 429}}, {"index": {"_id": %s, "status": "body of a message"}}, {"index": {"_id": "no uuid", "status": 200}}, {"delete": {"_id": %s, "status": 404}}, {"delete": {"_id": %s, "status": 503}}]}',
	VARIADIC array(SELECT to_json(chatcrypt.to_uuid(i))::text FROM unnest(ARRAY[1, 2, 3, 4, 5, 6]) AS i))::jsonb);
SELECT * FROM feed;
SELECT waiting, leased, failing, problem FROM chatcrypt.search_feed_status WHERE mode = 'plain';
SELECT drained();
SELECT due_at - now() BETWEEN '0' AND '10 seconds' AS soon FROM chatcrypt.search_feed;
UPDATE chatcrypt.search_feed SET due_at = now();
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch(), '{"errors": false}');
SELECT count(*) FROM feed;

-- A batch is limited in messages and in bytes, and can have every character of Unicode.
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(2), 'n' || i, '2026-01-01' FROM generate_series(101, 107) AS i;
SELECT chatcrypt.set_search(2, 'plain');
SELECT count(*) FROM drained(3);
SELECT count(*) FROM drained(3);
SELECT count(*) FROM drained(3);
SELECT count(*) FROM drained(3);
SELECT sum(chatcrypt.ack_search_feed(batch)) FROM (SELECT DISTINCT batch FROM chatcrypt.search_feed) AS b;
CREATE TABLE planes AS SELECT plane, string_agg(chr(plane * 65536 + i), '' ORDER BY i) AS body
	FROM generate_series(0, 16) AS plane, generate_series(0, 65535) AS i WHERE plane * 65536 + i <> 0 AND plane * 65536 + i NOT BETWEEN 55296 AND 57343 GROUP BY plane;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) SELECT chatcrypt.to_uuid(1000 + plane), chatcrypt.to_uuid(2), left(body, 300), body FROM planes;
CREATE TABLE documents (document jsonb);
INSERT INTO documents SELECT line::jsonb FROM drained() AS line WHERE line LIKE '{"message_id"%';
SELECT count(*) BETWEEN 10 AND 16 AS full FROM documents;
INSERT INTO documents SELECT line::jsonb FROM drained() AS line WHERE line LIKE '{"message_id"%';
SELECT count(*) AS same FROM documents, planes WHERE document ->> 'message_id' = chatcrypt.to_uuid(1000 + plane)::text AND document ->> 'text' = body AND document ->> 'sender' = left(body, 300);
SELECT sum(chatcrypt.ack_search_feed(batch)) FROM (SELECT DISTINCT batch FROM chatcrypt.search_feed) AS b;
-- A text that is too long for search engines, times that have no date, and one message that is larger than a batch.
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) VALUES (chatcrypt.to_uuid(2001), chatcrypt.to_uuid(2), repeat('x', 4 * 1024 * 1024 + 1), '10000-01-01'),
	(chatcrypt.to_uuid(2002), chatcrypt.to_uuid(2), repeat(U&'\20AC', 1398101), '4713-01-01 BC');
SELECT left(regexp_replace(line, '(\\u20ac)+', '\1'), 300) FROM drained() AS line;
SELECT left(regexp_replace(line, '(\\u20ac)+', '\1'), 300), octet_length(line) > 8 * 1024 * 1024 AS large FROM drained() AS line;
SELECT sum(chatcrypt.ack_search_feed(batch)) FROM (SELECT DISTINCT batch FROM chatcrypt.search_feed) AS b;
SELECT regexp_replace(chatcrypt.drain_search_feed(index => E'a "strange" na\u00efve\nindex'), ':\d+,', ':N,') FROM (SELECT chatcrypt.put_message(chatcrypt.to_uuid(2), chatcrypt.to_uuid(101), 'x') OFFSET 0) AS p;
DELETE FROM chatcrypt.search_feed;

-- A chat with a conversation key is fed like any other.
SELECT chatcrypt.create_chat(6, mode => 'conversation_key');
SELECT chatcrypt.set_search(6, 'plain');
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) VALUES (chatcrypt.to_uuid(600), chatcrypt.to_uuid(6), 'with a conversation key', '2026-01-01');
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());

-- When the feed is turned off all messages of the chat become deletions, and the chat is forgotten; when it is turned on they come back.
SELECT chatcrypt.set_search(6, 'off');
SELECT waiting, chats FROM chatcrypt.search_feed_status WHERE mode = 'off';
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());
SELECT count(*) FROM chatcrypt.search_feed_chat WHERE chat_id = chatcrypt.to_uuid(6);
UPDATE chatcrypt.messages SET body = 'nobody is told' WHERE chat_id = chatcrypt.to_uuid(6);
SELECT count(*) FROM feed;
SELECT chatcrypt.set_search(6, 'plain');
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());
-- The feed is turned off, and a message is deleted before the deletions were handed out.
SELECT chatcrypt.set_search(6, 'off');
DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(6);
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());

-- A blind chat is fed tokens and no text.  reindex_search() hands out again the messages whose tokens it replaces.
SELECT chatcrypt.create_chat(7);
SELECT chatcrypt.set_search(7, 'blind', feed => true);
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body, created_at) VALUES
	(chatcrypt.to_uuid(700), chatcrypt.to_uuid(7), 'alice', 'lunch at noon at noon', '2026-01-01'), (chatcrypt.to_uuid(701), chatcrypt.to_uuid(7), 'alice', '...', '2026-01-01'), (chatcrypt.to_uuid(702), chatcrypt.to_uuid(7), 'alice', NULL, '2026-01-01');
SELECT mode, waiting FROM chatcrypt.search_feed_status WHERE waiting > 0;
SELECT regexp_replace(line, '"[0-9a-f]{16}"', '"T"', 'g') FROM drained() AS line;
SELECT chatcrypt.nack_search_feed(batch());
SELECT line::jsonb -> 'tokens' = (SELECT to_jsonb(array(SELECT lpad(to_hex(t), 16, '0') FROM unnest(tokens) AS t)) FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(700)) AS same
FROM drained() AS line WHERE line LIKE '{"message_id":"' || chatcrypt.to_uuid(700) || '%';
SELECT chatcrypt.ack_search_feed(batch());
SELECT chatcrypt.set_search(7, 'blind', bits => 16, feed => true);
SELECT regexp_replace(line, '"[0-9a-f]{16}"', '"T"', 'g') FROM drained() AS line WHERE line LIKE '%tokens%';
SELECT chatcrypt.ack_search_feed(batch());
CALL chatcrypt.reindex_search(7, 1000, false, '30 s', NULL, NULL, NULL);
SELECT regexp_replace(line, '"[0-9a-f]{16}"', '"T"', 'g') FROM drained() AS line WHERE line LIKE '%tokens%';
SELECT chatcrypt.ack_search_feed(batch());
-- Feeding tokens needs no key of a message, but a message whose key was destroyed becomes a deletion.
SELECT chatcrypt.set_search(7, 'plain');
SELECT line::jsonb -> 'text' AS text, line::jsonb ? 'tokens' AS tokens FROM drained() AS line WHERE line LIKE '%sender%';
SELECT chatcrypt.ack_search_feed(batch());
SELECT chatcrypt.set_search(7, 'blind', feed => true);
CALL chatcrypt.reindex_search(7, 1000, false, '30 s', NULL, NULL, NULL);
UPDATE chatcrypt.dek SET state = 'destroyed', encrypted_dek = NULL, kcv = NULL, valid_to = now() WHERE chat_id = chatcrypt.to_uuid(7) AND purpose = 'data';
SELECT regexp_replace(line, '"[0-9a-f]{16}"', '"T"', 'g') FROM drained() AS line;
SELECT chatcrypt.ack_search_feed(batch());
-- A blind chat that is no longer fed is deleted from the index.
SELECT chatcrypt.set_search(7, 'blind', feed => false);
SELECT drained();
SELECT chatcrypt.ack_search_feed(batch());
SELECT count(*) FROM chatcrypt.search_feed_chat WHERE chat_id = chatcrypt.to_uuid(7);

-- Shredded chats and tenants, and messages that are written to them afterwards.
SELECT chatcrypt.set_search(3, 'plain'), chatcrypt.set_search(4, 'plain');
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) SELECT chatcrypt.to_uuid(100 * chat), chatcrypt.to_uuid(chat), 'secret', '2026-01-01' FROM generate_series(3, 5) AS chat;
SELECT count(*) FROM drained();
SELECT chatcrypt.ack_search_feed(batch());
SELECT chatcrypt.shred_chat(3, 'irreversible');
SELECT drained();
SELECT chatcrypt.import_dek(3, decode(repeat('ab', 32), 'hex'), 2);
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) VALUES (chatcrypt.to_uuid(301), chatcrypt.to_uuid(3), 'new life', '2026-01-01');
SELECT drained();
SELECT chatcrypt.set_search(3, 'plain');
SELECT drained();
SELECT chatcrypt.shred_tenant('acme', 'irreversible');
SELECT drained();
CALL chatcrypt.delete_chat(3, 'irreversible');
SELECT drained();
SELECT sum(chatcrypt.ack_search_feed(batch)) FROM (SELECT DISTINCT batch FROM chatcrypt.search_feed) AS b;
SELECT drained();
SELECT count(*) FROM chatcrypt.search_feed_chat WHERE chat_id = chatcrypt.to_uuid(3);

-- Only feeders may drain, and only administrators may send all messages again.
SET ROLE indexer;
INSERT INTO documents SELECT NULL;
SELECT chatcrypt.resend_search_feed();
SELECT body FROM chatcrypt.messages;
SELECT count(*) >= 0 AS shown FROM chatcrypt.search_feed_status;
SELECT chatcrypt.drain_search_feed() IS NULL AS nothing;
SELECT chatcrypt.ack_search_feed(1), chatcrypt.nack_search_feed(1);
DELETE FROM chatcrypt.search_feed;
SET ROLE operator;
SELECT chatcrypt.resend_search_feed();
SELECT chatcrypt.resend_search_feed(NULL);
SELECT chatcrypt.drain_search_feed();
RESET ROLE;
GRANT USAGE ON SCHEMA chatcrypt TO app;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO app;
SET ROLE app;
SELECT chatcrypt.drain_search_feed();
SELECT chatcrypt.ack_search_feed(1);
SELECT chatcrypt.nack_search_feed(1);
SELECT chatcrypt.resend_search_feed();
SELECT * FROM chatcrypt.search_feed;
RESET ROLE;

-- Arguments and transactions that are refused.
SELECT chatcrypt.drain_search_feed(0);
SELECT chatcrypt.drain_search_feed(10001);
SELECT chatcrypt.drain_search_feed(NULL);
SELECT chatcrypt.drain_search_feed(lease => NULL);
SELECT chatcrypt.drain_search_feed(lease => '0');
SELECT chatcrypt.drain_search_feed(lease => '-1 hour');
SELECT chatcrypt.drain_search_feed(index => '');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT chatcrypt.drain_search_feed();
ROLLBACK;
BEGIN READ ONLY;
SELECT chatcrypt.drain_search_feed();
ROLLBACK;
BEGIN READ ONLY;
SELECT chatcrypt.ack_search_feed(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT chatcrypt.resend_search_feed();
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.drain_search_feed();
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.ack_search_feed(1);
ROLLBACK;

-- A sender that is too long for an index does not keep other messages from it.
SELECT chatcrypt.create_chat(7590) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7590, 'plain');
INSERT INTO chatcrypt.messages (chat_id, sender, body) SELECT chatcrypt.to_uuid(7590), repeat('s', n), 'signed' FROM unnest(ARRAY[5, 40000]) AS n;
SELECT max(length(line)) < 1000 AS short, count(*) FILTER (WHERE line LIKE '%"sender":null,%') AS without, count(*)
FROM string_to_table(chatcrypt.drain_search_feed(), E'\n') AS line WHERE line LIKE '%"signed"%';
DELETE FROM chatcrypt.search_feed;

-- No number of a batch is used twice, and none is less than the time in milliseconds.
SELECT setval('chatcrypt.search_feed_batch', 1);
SELECT chatcrypt.resend_search_feed() > 0 AS again;
SELECT count(*) > 0 AS any FROM drained();
SELECT batch() BETWEEN extract(epoch FROM now()) * 1000 - 1000 AND extract(epoch FROM now()) * 1000 + 1000 AS is_time FROM (SELECT 1) AS s;
SELECT setval('chatcrypt.search_feed_batch', 2000000000000);
UPDATE chatcrypt.search_feed SET due_at = now();
SELECT count(*) > 0 AS any FROM drained();
SELECT batch();
\c :home
DROP DATABASE regression_feed;
DROP ROLE operator, app, indexer;
