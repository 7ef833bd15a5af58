-- Verification: it lists the envelopes that do not open, and why; and no others.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_verification;
\c regression_verification
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[]);
SELECT chatcrypt.create_chat(4, mode => 'conversation_key');
CREATE TABLE notes (id int, chat int, note bytea);
INSERT INTO notes SELECT i, 1 + i % 2, chatcrypt.encrypt(1 + i % 2, i, 'note', 'notes') FROM generate_series(1, 6) AS i;
SELECT chatcrypt.register_envelopes('notes', 'note', 'chat', 'id', 'notes') IS NOT NULL AS registered;
INSERT INTO chatcrypt.messages (chat_id, message_id, body)
SELECT chatcrypt.to_uuid(1 + i % 4), chatcrypt.to_uuid(100 + i), CASE WHEN i = 12 THEN NULL WHEN i = 13 THEN '' ELSE 'body ' || i END FROM generate_series(1, 40) AS i;
SELECT chatcrypt.rotate_chat(1);
INSERT INTO chatcrypt.messages (chat_id, message_id, body, expires_at) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(200), 'expired, and still here', now());

-- Every envelope opens.
SET ROLE auditor;
SELECT * FROM chatcrypt.verify_chat(1);
CALL chatcrypt.verify_all();
CALL chatcrypt.verify_all(max_rate => 100);
RESET ROLE;

-- One row for each kind of damage.
PREPARE damage(bigint, int) AS UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, $2, get_byte(encrypted_message, $2) # 1) WHERE message_id = chatcrypt.to_uuid($1);
EXECUTE damage(104, 10);	-- salt
EXECUTE damage(108, 20);	-- commitment
EXECUTE damage(116, 36);	-- ciphertext
EXECUTE damage(103, 36);	-- the same under a conversation key
EXECUTE damage(107, 20);
UPDATE chatcrypt.sealed_message SET encrypted_message = overlay(encrypted_message PLACING '\x00000009' FROM 2), dek_version = 9 WHERE message_id = chatcrypt.to_uuid(120);
UPDATE chatcrypt.sealed_message SET encrypted_message = (SELECT encrypted_message FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(101)) WHERE message_id = chatcrypt.to_uuid(105);
ALTER TABLE chatcrypt.sealed_message DISABLE TRIGGER require_new_envelope;
UPDATE chatcrypt.sealed_message SET chat_id = chatcrypt.to_uuid(77) WHERE message_id = chatcrypt.to_uuid(109);
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER require_new_envelope;
UPDATE notes SET note = '\x07' || substr(note, 2) WHERE id = 1;
UPDATE notes SET note = '\x01' WHERE id = 2;
UPDATE notes SET note = '\x0100000000' || substr(note, 6) WHERE id = 3;
UPDATE notes SET note = chatcrypt.encrypt(1, 4, 'other additional data', 'other') WHERE id = 4;
UPDATE notes SET id = NULL WHERE id = 5;
INSERT INTO notes VALUES (NULL, NULL, NULL);
UPDATE chatcrypt.dek SET kcv = decode(repeat('ff', 32), 'hex') WHERE chat_id = chatcrypt.to_uuid(2);
SELECT chatcrypt.shred_chat(3, confirm => 'irreversible');
SET ROLE auditor;
SELECT relation, message_id, dek_version, reason FROM chatcrypt.verify_chat(1) ORDER BY 1, 2, 3;
SELECT relation, message_id, dek_version, reason FROM chatcrypt.verify_chat(chatcrypt.to_uuid(4)) ORDER BY 1, 2;
SELECT relation, dek_version, reason, count(*) FROM chatcrypt.verify_chat(2) GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT relation, dek_version, reason, count(*) FROM chatcrypt.verify_chat(3) GROUP BY 1, 2, 3;
SELECT relation, dek_version, reason, count(*) FROM chatcrypt.verify_chat(77) GROUP BY 1, 2, 3;
SELECT count(*) FROM chatcrypt.verify_chat(3, max_findings => 4);
SELECT count(*) FROM chatcrypt.verify_chat(NULL::uuid);
RESET ROLE;

-- The whole database, by either way; the second call leaves nothing of the first.
SET ROLE operator;
CALL chatcrypt.verify_all();
SELECT relation, chat_id, split_part(reason, ':', 1) AS reason, count(*) FROM chatcrypt.verification_finding GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
CALL chatcrypt.verify_all(max_rate => 1000);
SELECT count(*), count(DISTINCT (relation, message_id, dek_version)) FROM chatcrypt.verification_finding;
CALL chatcrypt.verify_all(max_findings => 2);
SELECT relation, count(*) FROM chatcrypt.verification_finding GROUP BY 1 ORDER BY 1;
CALL chatcrypt.verify_all(max_rate => 0);
BEGIN;
CALL chatcrypt.verify_all();
ROLLBACK;
RESET ROLE;

-- By hand, with parallel workers: parallel safety, and who may ask.
GRANT SELECT ON chatcrypt.sealed_message TO auditor;
SET ROLE auditor;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM chatcrypt.sealed_message WHERE chatcrypt.check_message(chat_id, message_id, created_at, sender, encrypted_message) IS NOT NULL;
SELECT count(*) FROM chatcrypt.sealed_message WHERE chatcrypt.check_message(chat_id, message_id, created_at, sender, encrypted_message) IS NOT NULL;
SELECT count(*) FROM chatcrypt.sealed_message WHERE chatcrypt.check_envelope(chat_id, message_id, encrypted_message, chatcrypt.row_aad(created_at, sender)) IS NOT NULL AND chat_id <> chatcrypt.to_uuid(4);
RESET ROLE;
SELECT chatcrypt.check_envelope(1, 6, chatcrypt.encrypt(1, 6, 'x')), chatcrypt.check_envelope(1, 6, NULL), chatcrypt.check_envelope(NULL, 1::bigint, '\x00');
SELECT chatcrypt.check_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(6), now(), NULL, chatcrypt.encrypt(1, 6, 'x', chatcrypt.row_aad(now(), NULL))) AS right,
	   chatcrypt.check_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(6), now(), '', chatcrypt.encrypt(1, 6, 'x', chatcrypt.row_aad(now(), NULL))) AS another_sender,
	   chatcrypt.check_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(6), 'infinity', NULL, chatcrypt.encrypt(1, 6, 'x')) AS no_such_time,
	   chatcrypt.check_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(6), now(), NULL, NULL) AS no_envelope, chatcrypt.check_message(NULL, chatcrypt.to_uuid(6), now(), NULL, '\x00') AS no_chat;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO app;
SET ROLE app;
SELECT chatcrypt.check_envelope(1, 6, '\x00');
SELECT * FROM chatcrypt.verify_chat(1);
CALL chatcrypt.verify_all();
SELECT * FROM chatcrypt.verification_finding;
RESET ROLE;
\c :home
DROP DATABASE regression_verification;
DROP ROLE auditor, operator, app;
