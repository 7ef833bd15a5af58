-- What the views show of messages whose keys were destroyed on purpose, and of damaged ones.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SHOW chatcrypt.on_decrypt_error;
SELECT count(chatcrypt.create_chat(n)) FROM generate_series(9701, 9703) AS n;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'body of ' || n FROM generate_series(9701, 9703) AS n;
CREATE VIEW all_three AS SELECT chatcrypt.number_of(message_id) AS id, body FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(9701), chatcrypt.to_uuid(9702), chatcrypt.to_uuid(9703));
SELECT encrypted_message AS kept FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(9703) \gset

-- A chat that was shredded does not prevent reading others; functions still raise an error.
SELECT chatcrypt.shred_chat(9702, 'irreversible');
SELECT * FROM all_three ORDER BY id;
SELECT chatcrypt.wire_message(9702, 9702) -> 'content' AS content;
SET chatcrypt.on_decrypt_error = 'raise';
SELECT * FROM all_three ORDER BY id;
SET chatcrypt.on_decrypt_error = 'null';
SELECT * FROM all_three ORDER BY id;
RESET chatcrypt.on_decrypt_error;
SELECT chatcrypt.decrypt(9702, 9702, encrypted_message) FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(9702);
SELECT count(*) FROM chatcrypt.verify_chat(9702) WHERE reason LIKE 'key destroyed%';

-- Such a row keeps its bytes when it is saved as it was read.
SELECT encrypted_message AS shredded FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(9702) \gset
UPDATE chatcrypt.messages SET body = NULL, expires_at = now() + interval '1 h' WHERE message_id = chatcrypt.to_uuid(9702) RETURNING body IS NULL AS "null";
SELECT encrypted_message = :'shredded' AS kept FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(9702);

-- Damage raises an error: other bytes, the envelope of another message, a version that the chat
-- never had.
BEGIN;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 45, get_byte(encrypted_message, 45) # 1) WHERE message_id = chatcrypt.to_uuid(9701);
SAVEPOINT s;
SELECT * FROM all_three WHERE id = 9701;
ROLLBACK TO s;
UPDATE chatcrypt.sealed_message SET encrypted_message = :'kept' WHERE message_id = chatcrypt.to_uuid(9701);
SAVEPOINT s;
SELECT * FROM all_three WHERE id = 9701;
ROLLBACK TO s;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 4, 9), dek_version = 9 WHERE message_id = chatcrypt.to_uuid(9701);
SAVEPOINT s;
SELECT * FROM all_three WHERE id = 9701;
ROLLBACK TO s;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(:'shredded'::bytea, 4, 9), dek_version = 9 WHERE message_id = chatcrypt.to_uuid(9702);
SAVEPOINT s;
SELECT * FROM all_three WHERE id = 9702;
ROLLBACK;

-- A key that was purged while the chat is in use was named by no envelope: an envelope that names
-- it is damage.
SELECT chatcrypt.rotate_chat(9703);
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(9703);
CREATE TABLE saved AS SELECT * FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(9703);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(9703);
CALL chatcrypt.purge_chat_keys(9703);
INSERT INTO chatcrypt.sealed_message SELECT * FROM saved;
SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(9703) ORDER BY dek_version;
SELECT * FROM all_three WHERE id = 9703;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(9703);
DROP TABLE saved;
DROP VIEW all_three;
