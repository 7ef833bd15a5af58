-- How long messages are kept, and messages that are to be deleted.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_retention;
\c regression_retention
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION chatcrypt;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
SELECT chatcrypt.create_tenant('brief');
SELECT chatcrypt.create_chats(ARRAY[1, 2]::bigint[]);
SELECT chatcrypt.create_chats(ARRAY[3, 4]::bigint[], tenant => 'brief');
SET ROLE operator;
UPDATE chatcrypt.tenant SET retention = '7 days' WHERE tenant = 'brief';
UPDATE chatcrypt.chat SET retention = '1 day' WHERE chat_id IN (chatcrypt.to_uuid(2), chatcrypt.to_uuid(4));
RESET ROLE;

-- The value of the message itself, else of the chat, else of the tenant, else never; from the time
-- of the message.
SET ROLE app;
INSERT INTO chatcrypt.messages (chat_id, message_id, sender, body, created_at, expires_at)
SELECT chatcrypt.to_uuid(chat), chatcrypt.to_uuid(10 * chat + own), 'alice', 'body', timestamptz '2100-01-01',
	   CASE own WHEN 1 THEN timestamptz '2100-06-01' WHEN 2 THEN 'infinity' END
FROM generate_series(1, 4) AS chat, generate_series(0, 2) AS own;
SELECT chat_id, expires_at FROM chatcrypt.messages ORDER BY message_id;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(3), 'now') RETURNING expires_at - created_at AS keeps;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4), NULL) RETURNING expires_at - created_at AS keeps;
SELECT chatcrypt.put_message(chatcrypt.to_uuid(4), chatcrypt.to_uuid(50), 'put', created_at => '2100-01-01'),
	   chatcrypt.put_message(chatcrypt.to_uuid(4), chatcrypt.to_uuid(51), 'put', created_at => '2100-01-01', expires_at => '2100-01-05'),
	   chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(52), 'put');
SELECT expires_at FROM chatcrypt.messages WHERE message_id BETWEEN chatcrypt.to_uuid(50) AND chatcrypt.to_uuid(52) ORDER BY message_id;
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01'), chatcrypt.default_expiry(chatcrypt.to_uuid(1)), chatcrypt.default_expiry(chatcrypt.to_uuid(99));
RESET ROLE;

-- A change of either policy counts from then on, also in the same session, unless it is rolled
-- back.
UPDATE chatcrypt.tenant SET retention = '2 days' WHERE tenant = 'brief';
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
BEGIN;
UPDATE chatcrypt.chat SET retention = '3 days' WHERE chat_id = chatcrypt.to_uuid(3);
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
SAVEPOINT s;
UPDATE chatcrypt.chat SET retention = '4 days' WHERE chat_id = chatcrypt.to_uuid(3);
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
ROLLBACK TO s;
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
ROLLBACK;
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
UPDATE chatcrypt.tenant SET retention = NULL WHERE tenant = 'brief';
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(3), '2100-01-01');
BEGIN;
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(98));
SELECT chatcrypt.create_chat(98);
UPDATE chatcrypt.chat SET retention = '1 day' WHERE chat_id = chatcrypt.to_uuid(98);
SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(98), '2100-01-01');
ROLLBACK;

-- Due messages are hidden at once, and deleted by apply_retention().
UPDATE chatcrypt.messages SET expires_at = now() + interval '1 hour' WHERE chat_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET expires_at = now() WHERE message_id IN (chatcrypt.to_uuid(10), chatcrypt.to_uuid(11), chatcrypt.to_uuid(30));
INSERT INTO chatcrypt.messages (chat_id, message_id, body, created_at) SELECT chatcrypt.to_uuid(2), chatcrypt.to_uuid(200 + i), 'old', '2020-01-01' FROM generate_series(1, 25) AS i;
SELECT count(*) FROM chatcrypt.messages;
SELECT count(*) FROM chatcrypt.sealed_message;
SET ROLE operator;
CALL chatcrypt.apply_retention(max_rows => 3);
CALL chatcrypt.apply_retention(batch => 4);
CALL chatcrypt.apply_retention();
CALL chatcrypt.apply_retention(max_rows => -1);
CALL chatcrypt.apply_retention(batch => 0);
BEGIN;
CALL chatcrypt.apply_retention();
ROLLBACK;
SELECT count(*) FROM chatcrypt.sealed_message;
RESET ROLE;
SELECT count(*) FROM chatcrypt.messages;
SELECT count(*) FROM chatcrypt.sealed_message;

-- What a participant sent: in one chat, and in all.
INSERT INTO chatcrypt.messages (chat_id, sender, body) SELECT chatcrypt.to_uuid(1 + i % 4), CASE WHEN i % 3 = 0 THEN 'mallory' ELSE 'bob' END, 'x' FROM generate_series(1, 120) AS i;
SET ROLE operator;
CALL chatcrypt.delete_messages_of('mallory', chatcrypt.to_uuid(1));
CALL chatcrypt.delete_messages_of('mallory');
CALL chatcrypt.delete_messages_of('mallory');
CALL chatcrypt.delete_messages_of(NULL);
RESET ROLE;
SELECT sender, count(*) FROM chatcrypt.sealed_message GROUP BY 1 ORDER BY 1;

-- The key is destroyed with the last message that needs it.
INSERT INTO chatcrypt.messages (chat_id, body, created_at) SELECT chatcrypt.to_uuid(2), 'short-lived', now() FROM generate_series(1, 5);
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(2);
SELECT chatcrypt.rotate_chat(2);
CALL chatcrypt.purge_unused_keys();
UPDATE chatcrypt.sealed_message SET expires_at = now() WHERE chat_id = chatcrypt.to_uuid(2);
CALL chatcrypt.apply_retention();
CALL chatcrypt.purge_unused_keys();
SELECT dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2) ORDER BY 1;

-- A whole chat is deleted.
SET ROLE operator;
CALL chatcrypt.delete_chat(4);
CALL chatcrypt.delete_chat(4, confirm => 'yes');
CALL chatcrypt.delete_chat(NULL::uuid, confirm => 'irreversible');
CALL chatcrypt.delete_chat(4, confirm => 'irreversible', batch => 0);
CALL chatcrypt.delete_chat(4711, confirm => 'irreversible');
CALL chatcrypt.delete_chat(4, confirm => 'irreversible', batch => 7);
CALL chatcrypt.delete_chat(4, confirm => 'irreversible');
RESET ROLE;
SELECT (SELECT count(*) FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(4)) AS chats,
	   (SELECT count(*) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(4)) AS deks,
	   (SELECT count(*) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(4)) AS messages;
SELECT event, detail, role = 'operator' AS by_operator FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(4) ORDER BY event_id;
-- The id of the chat is free again; what the old chat sealed does not open in the new one.
SELECT chatcrypt.create_chat(4);
-- A row that a slow writer left behind.
CALL chatcrypt.delete_chat(4, confirm => 'irreversible');
INSERT INTO chatcrypt.sealed_message (message_id, chat_id) VALUES (chatcrypt.to_uuid(400), chatcrypt.to_uuid(4));
CALL chatcrypt.delete_chat(4, confirm => 'irreversible');

GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO app;
SET ROLE app;
CALL chatcrypt.apply_retention();
CALL chatcrypt.delete_chat(1, confirm => 'irreversible');
CALL chatcrypt.delete_messages_of('bob');
RESET ROLE;
\c :home
DROP DATABASE regression_retention;
DROP ROLE operator, app;
