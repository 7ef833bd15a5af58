-- Purging: replaced keys that no envelope names are destroyed, and no others.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_purge;
\c regression_purge
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[]);
PREPARE keys(bigint) AS SELECT purpose, dek_version, state, encrypted_dek IS NULL AND kcv IS NULL AS gone
FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid($1) ORDER BY purpose, dek_version;

-- Versions 1 to 6; 1 named by a message, 2 by one that has expired, 3 by a row of another table,
-- 4 by the part of an attachment in it, 5 by nothing, 6 is the active one.
CREATE TABLE kept (chat int, id bigint, envelope bytea);
SELECT chatcrypt.register_envelopes('kept', 'envelope', 'chat', 'id', registry_id => '11111111-1111-1111-1111-111111111111');
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'one');
SELECT chatcrypt.encrypt(1, 9, 'stored nowhere') AS envelope \gset
SELECT chatcrypt.rotate_chat(1);
INSERT INTO chatcrypt.messages (chat_id, message_id, body, expires_at) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(2), 'two', now());
SELECT chatcrypt.rotate_chat(1);
INSERT INTO kept VALUES (1, 1, chatcrypt.encrypt(1, 1, 'three'));
SELECT chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(1);
INSERT INTO kept VALUES (1, 2, '\x0200000004' || decode(repeat('00', 100), 'hex')), (1, 3, NULL), (1, 4, '\x01'), (NULL, 5, '\x0100000005'), (2, 6, '\x0100000005');
SELECT chatcrypt.import_dek(1, decode(repeat('ab', 32), 'hex'), 1, 'search'), chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 2, 'search');

-- Envelopes may be kept elsewhere: no key is destroyed.
SET ROLE operator;
CALL chatcrypt.purge_chat_keys(1);
CALL chatcrypt.purge_unused_keys();
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(1);
BEGIN;
CALL chatcrypt.purge_chat_keys(1);
ROLLBACK;
CALL chatcrypt.purge_chat_keys(NULL::bigint);
CALL chatcrypt.purge_chat_keys(4711);
CALL chatcrypt.purge_unused_keys(max_chats => -1);
CALL chatcrypt.purge_unused_keys(max_chats => 0);
CALL chatcrypt.purge_chat_keys(1);
RESET ROLE;
EXECUTE keys(1);
SELECT chatcrypt.decrypt(1, 1, envelope) FROM kept WHERE id = 1;
SELECT chatcrypt.decrypt(1, 9, :'envelope');
SELECT event, purpose, dek_version, kms_key, role = 'operator' AS by_operator FROM chatcrypt.key_event WHERE event = 'purge';

-- The last envelope that named a key is deleted, and the key is destroyed.
CALL chatcrypt.purge_unused_keys();
DELETE FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(2);
CALL chatcrypt.purge_unused_keys();
EXECUTE keys(1);
DELETE FROM kept WHERE id = 2;
CALL chatcrypt.purge_chat_keys(1);
CALL chatcrypt.reencrypt_chat(1);
CALL chatcrypt.purge_unused_keys();
EXECUTE keys(1);
SELECT chatcrypt.decrypt(1, 9, :'envelope');
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(1);
SELECT chatcrypt.decrypt(1, 1, envelope) FROM kept WHERE id = 1;
CALL chatcrypt.purge_unused_keys();

-- A row that does not open keeps the key that it names, until it is decided what becomes of it.
UPDATE kept SET envelope = set_byte(envelope, 39, get_byte(envelope, 39) # 1) WHERE id = 1;
SELECT chatcrypt.rotate_chat(1);
CALL chatcrypt.reencrypt_chat(1);
CALL chatcrypt.purge_chat_keys(1);

-- Where not everything can be searched, no key is destroyed.
ALTER TABLE kept RENAME chat TO room;
DELETE FROM kept WHERE id = 1;
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(2);
SELECT chatcrypt.rotate_chat(2);
CALL chatcrypt.purge_chat_keys(1);
CALL chatcrypt.purge_unused_keys(max_chats => 1);
CALL chatcrypt.purge_unused_keys(max_chats => 1);
SELECT count(DISTINCT looked_for_unused_at) AS looked_at FROM chatcrypt.upkeep WHERE looked_for_unused_at IS NOT NULL;
SELECT chatcrypt.unregister_envelopes('11111111-1111-1111-1111-111111111111');
CALL chatcrypt.purge_unused_keys(max_chats => 1);
EXECUTE keys(1);
EXECUTE keys(2);
CALL chatcrypt.purge_unused_keys(max_chats => 1);
EXECUTE keys(2);

-- A key of another purpose, and a chat that is shredded.
SELECT chatcrypt.create_chat(4, mode => 'conversation_key');
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id IN (chatcrypt.to_uuid(3), chatcrypt.to_uuid(4));
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(4), chatcrypt.to_uuid(40), 'forty');
SELECT chatcrypt.rotate_chat(4), chatcrypt.rotate_chat(4);
SELECT chatcrypt.shred_chat(3, confirm => 'irreversible');
CALL chatcrypt.purge_unused_keys();
EXECUTE keys(4);
CALL chatcrypt.reencrypt_chat(4);
CALL chatcrypt.purge_unused_keys();
EXECUTE keys(4);
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(4);

GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO app;
SET ROLE app;
CALL chatcrypt.purge_chat_keys(1);
CALL chatcrypt.purge_unused_keys();
RESET ROLE;
\c :home
DROP DATABASE regression_purge;
DROP ROLE operator, app;
