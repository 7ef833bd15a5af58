-- Rotation by policy: which chats are due, what happens to them, and to no others.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_tenant('turns'), chatcrypt.create_tenant('rests');
SELECT chatcrypt.create_chats(ARRAY[9000, 9001, 9002, 9003]::bigint[], tenant => 'turns');
SELECT chatcrypt.create_chat(9004, tenant => 'turns', mode => 'e2ee');
SELECT chatcrypt.create_chat(9005, tenant => 'turns', mode => 'conversation_key');
SELECT chatcrypt.create_chat(9010, tenant => 'rests');
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(n * 10 + i), chatcrypt.to_uuid(n), 'body ' || n FROM unnest(ARRAY[9000, 9001, 9002, 9010]) AS n, generate_series(1, 3) AS i;
CREATE VIEW keys AS SELECT chat_id, purpose, dek_version, state, valid_from = lag(valid_to) OVER (PARTITION BY chat_id, purpose ORDER BY dek_version) AS without_gap
	FROM chatcrypt.dek WHERE chat_id BETWEEN chatcrypt.to_uuid(9000) AND chatcrypt.to_uuid(9010);
CREATE ROLE operator; GRANT chatcrypt_admin TO operator; GRANT SELECT ON keys TO operator;
CREATE ROLE stranger; GRANT chatcrypt_writer, chatcrypt_reader TO stranger;
SET ROLE operator;

-- Without a policy no chat is due.
SELECT chat_id, reason, messages FROM chatcrypt.due_for_rotation();
CALL chatcrypt.rotate_due();

-- By the number of messages: the policy of the chat goes before that of its tenant, an argument
-- before both.
UPDATE chatcrypt.tenant SET rotate_messages = 3 WHERE tenant = 'turns';
UPDATE chatcrypt.chat SET rotate_messages = 4 WHERE chat_id = chatcrypt.to_uuid(9002);
SELECT chat_id, tenant, dek_version, reason, messages FROM chatcrypt.due_for_rotation();
SELECT chat_id, tenant, dek_version, reason, messages FROM chatcrypt.due_for_rotation(max_chats => 1);
SELECT chat_id, tenant, messages FROM chatcrypt.due_for_rotation(max_messages => 2) WHERE tenant IN ('turns', 'rests');
CALL chatcrypt.rotate_due(max_chats => 0);
CALL chatcrypt.rotate_due(max_chats => 1);
SELECT chat_id, reason, messages FROM chatcrypt.due_for_rotation();
CALL chatcrypt.rotate_due();
CALL chatcrypt.rotate_due();
SELECT * FROM keys ORDER BY 1, 2, 3;
RESET ROLE;
SELECT chat_id, body, dek_version FROM chatcrypt.messages WHERE chat_id IN (chatcrypt.to_uuid(9000), chatcrypt.to_uuid(9002)) ORDER BY message_id;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(9000), 'new') RETURNING dek_version;
SELECT event, chat_id, dek_version, detail, role FROM chatcrypt.key_event WHERE event = 'rotate' AND detail IS NOT NULL ORDER BY event_id;

-- By age.
UPDATE chatcrypt.tenant SET rotate_messages = NULL, rotate_after = '90 days' WHERE tenant = 'turns';
UPDATE chatcrypt.chat SET rotate_after = '1 year', rotate_messages = NULL WHERE chat_id = chatcrypt.to_uuid(9002);
UPDATE chatcrypt.dek SET valid_from = now() - interval '100 days' WHERE chat_id IN (chatcrypt.to_uuid(9002), chatcrypt.to_uuid(9003), chatcrypt.to_uuid(9005), chatcrypt.to_uuid(9010));
SET ROLE operator;
SELECT chat_id, dek_version, reason, messages, valid_from < now() - interval '99 days' AS old FROM chatcrypt.due_for_rotation();
SELECT chat_id FROM chatcrypt.due_for_rotation(max_age => '99 days');
CALL chatcrypt.rotate_due();
SELECT * FROM keys WHERE dek_version > 1 OR state <> 'active' ORDER BY 1, 2, 3;
-- An age of zero: every chat is rotated once, and the call ends.
CALL chatcrypt.rotate_due(max_age => '0', max_chats => 2);
SELECT count(*) AS due FROM chatcrypt.due_for_rotation(max_age => '0') \gset
CALL chatcrypt.rotate_due(max_age => '0') \gset
SELECT :rotated = :due AS all_of_them, :failed AS failed, :due = count(*) AS and_as_many_again FROM chatcrypt.due_for_rotation(max_age => '0');

-- What is refused.
CALL chatcrypt.rotate_due(max_messages => 0);
CALL chatcrypt.rotate_due(max_chats => -1);
SELECT chatcrypt.due_for_rotation(max_messages => -1);
BEGIN;
CALL chatcrypt.rotate_due();
ROLLBACK;
DO $$ DECLARE r bigint; f bigint; BEGIN CALL chatcrypt.rotate_due(rotated => r, failed => f); EXCEPTION WHEN active_sql_transaction THEN RAISE NOTICE '%', sqlerrm; END $$;
DO $$ DECLARE r bigint; f bigint; BEGIN CALL chatcrypt.rotate_due(rotated => r, failed => f); RAISE NOTICE '% rotated, % failed', r, f; END $$;
SET default_transaction_read_only = on;
CALL chatcrypt.rotate_due();
RESET default_transaction_read_only;
SET ROLE stranger;
CALL chatcrypt.rotate_due();
SELECT chatcrypt.due_for_rotation();
RESET ROLE;
GRANT EXECUTE ON PROCEDURE chatcrypt.rotate_due(interval, bigint, bigint, bigint, bigint) TO stranger;
GRANT EXECUTE ON FUNCTION chatcrypt.due_for_rotation(interval, bigint, bigint) TO stranger;
SET ROLE stranger;
CALL chatcrypt.rotate_due();
SELECT chatcrypt.due_for_rotation();
RESET ROLE;

-- One bad chat stops no other: a KMS key that does not exist is waited for once.
SELECT chatcrypt.create_tenant('lost', 'local:main');
SELECT chatcrypt.create_chats(ARRAY[9020, 9021]::bigint[], tenant => 'lost');
SELECT chatcrypt.create_chat(9022, tenant => 'turns');
UPDATE chatcrypt.tenant SET kms_key = 'local:nosuchkey' WHERE tenant = 'lost';
UPDATE chatcrypt.dek SET valid_from = now() - interval '100 days' WHERE chat_id BETWEEN chatcrypt.to_uuid(9020) AND chatcrypt.to_uuid(9022);
CALL chatcrypt.rotate_due(max_age => '90 days');
SELECT chat_id, dek_version FROM chatcrypt.dek WHERE chat_id BETWEEN chatcrypt.to_uuid(9020) AND chatcrypt.to_uuid(9022) AND state = 'active' ORDER BY 1;
UPDATE chatcrypt.tenant SET kms_key = 'local:main' WHERE tenant = 'lost';
CALL chatcrypt.rotate_due(max_age => '90 days');

-- A shredded chat stays shredded, whoever rotates; it can still lose its participants.
SELECT chatcrypt.create_chat(9030, ARRAY['a', 'b', 'c'], tenant => 'turns'), chatcrypt.create_chat(9031, tenant => 'turns', mode => 'conversation_key');
UPDATE chatcrypt.chat SET rotate_on_removal = true WHERE chat_id = chatcrypt.to_uuid(9030);
BEGIN;
SELECT chatcrypt.shred_chat(9030, confirm => 'irreversible');
SELECT chatcrypt.rotate_chat(9030);
ROLLBACK;
SELECT chatcrypt.rotate_chat(9030), chatcrypt.remove_participant(9030, 'a');
SELECT chatcrypt.shred_chat(n, confirm => 'irreversible') FROM generate_series(9030, 9031) AS n;
\set VERBOSITY default
SELECT chatcrypt.rotate_chat(9030);
\set VERBOSITY terse
SELECT chatcrypt.rotate_chat(9031);
SELECT chatcrypt.remove_participant(9030, 'b'), chatcrypt.remove_participant(9030, 'b');
SELECT participants FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(9030);
SELECT count(*) AS due FROM chatcrypt.due_for_rotation(max_age => '0') WHERE chat_id IN (chatcrypt.to_uuid(9030), chatcrypt.to_uuid(9031));
SELECT DISTINCT state FROM chatcrypt.dek WHERE chat_id IN (chatcrypt.to_uuid(9030), chatcrypt.to_uuid(9031));
-- Only an imported key makes a shredded chat usable again.
SELECT chatcrypt.import_dek(9030, decode(repeat('ab', 32), 'hex'), 100);
SELECT chatcrypt.rotate_chat(9030);
DROP VIEW keys;
DROP OWNED BY operator, stranger;
DROP ROLE operator, stranger;
