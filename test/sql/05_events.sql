-- The history of keys: written with the change that it records, never changed, and only for
-- auditors.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
SELECT chatcrypt.create_chat(7000, ARRAY['alice', 'bob']);
SELECT chatcrypt.create_chat(7001, mode => 'e2ee');
SELECT chatcrypt.create_chats(ARRAY[7002, 7003]::bigint[]);
SET ROLE operator;
SELECT chatcrypt.rotate_chat(7000);
SELECT chatcrypt.import_dek(7000, decode(repeat('ab', 32), 'hex'), 9);
UPDATE chatcrypt.chat SET rotate_after = '30 days', external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(7000);
UPDATE chatcrypt.chat SET rotate_after = '30 days' WHERE chat_id = chatcrypt.to_uuid(7000);
SELECT chatcrypt.shred_chat(7000, confirm => 'irreversible');
SELECT count(*) FROM chatcrypt.key_event;
RESET ROLE;
SELECT chatcrypt.add_participant(7001, 'carol'), chatcrypt.add_participant(7001, 'carol');
BEGIN;
SELECT chatcrypt.act_as('carol');
SELECT chatcrypt.remove_participant(7001, 'carol');
COMMIT;

-- A change that is rolled back leaves no event.
BEGIN;
SELECT chatcrypt.rotate_chat(7002);
ROLLBACK;

SET ROLE auditor;
SELECT event, chat_id, tenant, purpose, dek_version, kms_key, detail, role = 'operator' AS by_operator, actor
FROM chatcrypt.key_event WHERE chat_id BETWEEN chatcrypt.to_uuid(7000) AND chatcrypt.to_uuid(7003) ORDER BY event_id;
SELECT count(*) AS same_transaction FROM chatcrypt.key_event
WHERE chat_id IN (chatcrypt.to_uuid(7002), chatcrypt.to_uuid(7003)) GROUP BY transaction_id;
DELETE FROM chatcrypt.key_event;
RESET ROLE;
UPDATE chatcrypt.key_event SET detail = 'nothing happened';
DELETE FROM chatcrypt.key_event;
TRUNCATE chatcrypt.key_event;
INSERT INTO chatcrypt.key_event (event) VALUES ('nothing');
DROP OWNED BY auditor, operator;
DROP ROLE auditor, operator;
