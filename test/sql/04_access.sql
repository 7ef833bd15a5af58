-- Rights of roles, and actors.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE app_writer; GRANT chatcrypt_writer TO app_writer;
CREATE ROLE app_reader; GRANT chatcrypt_reader TO app_reader;
CREATE ROLE app_admin; GRANT chatcrypt_admin TO app_admin;
CREATE ROLE app_auditor; GRANT chatcrypt_auditor TO app_auditor;
CREATE ROLE app_both; GRANT chatcrypt_writer, chatcrypt_reader TO app_both;
CREATE ROLE nobody_special;
SELECT chatcrypt.create_chat('dddddddd-0000-0000-0000-000000000001'::uuid, ARRAY['alice', 'bob']);
SELECT chatcrypt.create_chat('dddddddd-0000-0000-0000-000000000002'::uuid, ARRAY['bob']);
\set chat '''dddddddd-0000-0000-0000-000000000001'''
\set other '''dddddddd-0000-0000-0000-000000000002'''

-- PUBLIC has no rights.
SELECT count(*) AS public_functions FROM pg_proc WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND has_function_privilege('nobody_special', oid, 'EXECUTE');
SELECT count(*) AS public_tables FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace AND relkind IN ('r', 'v', 'S')
	AND (CASE WHEN relkind = 'S' THEN has_sequence_privilege('nobody_special', oid, 'USAGE') ELSE has_any_column_privilege('nobody_special', oid, 'SELECT, INSERT, UPDATE') END);
SELECT count(*) AS wrapped_keys_shown FROM unnest(ARRAY['chatcrypt_writer', 'chatcrypt_reader', 'chatcrypt_admin', 'chatcrypt_auditor']) AS r
	WHERE has_column_privilege(r, 'chatcrypt.dek', 'encrypted_dek', 'SELECT');

-- A writer writes and cannot read back, not even its own messages.
SET ROLE app_writer;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(5001), :chat, 'alice', 'write only');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'id and time may be seen') RETURNING message_id IS NOT NULL AS id, created_at = now() AS at;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'the body may not') RETURNING body;
SELECT body FROM chatcrypt.messages;
SELECT count(*) > 0 AS ciphertext_at_most FROM chatcrypt.sealed_message WHERE encrypted_message IS NOT NULL;
SELECT sender FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5001);
SELECT chatcrypt.decrypt(:chat::uuid, chatcrypt.to_uuid(5001), '\x01');
SELECT chatcrypt_internal.message_body(:chat::uuid, chatcrypt.to_uuid(5001), now(), 'alice', '\x01');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(5002), 'put by a writer');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(5002), 'put by a writer again');
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5002);
SELECT chatcrypt.rotate_chat(:chat::uuid);
SELECT chatcrypt.shred_chat(:chat::uuid, 'irreversible');
SELECT encrypted_dek FROM chatcrypt.dek;
SELECT chatcrypt.create_chat('dddddddd-0000-0000-0000-000000000003'::uuid);

-- A reader reads messages.
SET ROLE app_reader;
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5001);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'x');
UPDATE chatcrypt.messages SET body = 'x' WHERE message_id = chatcrypt.to_uuid(5001);
DELETE FROM chatcrypt.messages;
SELECT chatcrypt.encrypt(:chat::uuid, 1, 'x');
SELECT chatcrypt.create_chat(5003);
SELECT count(*) FROM chatcrypt.chat;

-- Admins and auditors manage and see keys, and read no message.
SET ROLE app_admin;
SELECT chatcrypt.rotate_chat(:chat::uuid);
SELECT body FROM chatcrypt.messages;
SELECT count(*) > 0 AS deks FROM (SELECT dek_id, state FROM chatcrypt.dek) AS d;
SELECT encrypted_dek FROM chatcrypt.dek;
UPDATE chatcrypt.dek SET state = 'active';
SET ROLE app_auditor;
SELECT count(*) > 0 AS deks FROM (SELECT dek_id, state FROM chatcrypt.dek) AS d;
SELECT chatcrypt.rotate_chat(:chat::uuid);
SELECT body FROM chatcrypt.messages;
SET ROLE nobody_special;
SELECT chatcrypt.dek_version('\x00');
SELECT body FROM chatcrypt.messages;
RESET ROLE;

-- The checks in C hold where EXECUTE was granted by mistake.
GRANT USAGE ON SCHEMA chatcrypt TO nobody_special;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO nobody_special;
GRANT ALL ON ALL TABLES IN SCHEMA chatcrypt TO nobody_special;
SET ROLE nobody_special;
SELECT chatcrypt.encrypt(:chat::uuid, 1, 'x');
SELECT chatcrypt.decrypt(:chat::uuid, 1, '\x01');
SELECT chatcrypt.decrypt_bytea(:chat::uuid, 1, '\x01');
SELECT chatcrypt.try_decrypt(:chat::uuid, 1, '\x01');
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5001);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'x');
SELECT chatcrypt.create_chat(5004);
SELECT chatcrypt.create_chats(ARRAY[5004]::bigint[]);
SELECT chatcrypt.create_tenant('t');
SELECT (chatcrypt.warm_keys(ARRAY[5004]::bigint[])).warmed;
SELECT chatcrypt.rotate_chat(:chat::uuid);
SELECT chatcrypt.import_dek(:chat::uuid, '\x00', 9);
SELECT chatcrypt.shred_chat(:chat::uuid, 'irreversible');
SELECT chatcrypt.add_participant(:chat::uuid, 'eve');
SELECT chatcrypt.remove_participant(:chat::uuid, 'bob');
SELECT chatcrypt.act_as('bob');
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA chatcrypt FROM nobody_special;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal FROM nobody_special;
REVOKE ALL ON SCHEMA chatcrypt FROM nobody_special;

-- A right that is revoked is gone at once.
SET ROLE app_reader;
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5001);
RESET ROLE;
REVOKE chatcrypt_reader FROM app_reader;
SET ROLE app_reader;
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5001);
RESET ROLE;
GRANT chatcrypt_reader TO app_reader;

-- Actors.
SET ROLE app_both;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(5010), :other, 'bob', 'for bob alone');
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.current_actor() IS NULL AS gone_with_the_statement;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.current_actor();
SELECT DISTINCT chat_id FROM chatcrypt.messages WHERE chat_id IN (:chat, :other);
SELECT count(*) AS of_others FROM chatcrypt.messages WHERE chat_id = :other;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5010);
SAVEPOINT s;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:other, 'intruder');
ROLLBACK TO s;
SELECT chatcrypt.encrypt(:other::uuid, 1, 'x');
ROLLBACK TO s;
SELECT chatcrypt.decrypt(:other::uuid, 1, '\x0100000001'::bytea || decode(repeat('00', 44), 'hex'));
ROLLBACK TO s;
SELECT chatcrypt.add_participant(:other::uuid, 'alice');
ROLLBACK TO s;
SELECT chatcrypt.put_message(:other, chatcrypt.to_uuid(5010), 'intruder');
ROLLBACK TO s;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(5011), :chat, 'by alice');
SELECT chatcrypt.act_as('bob');
ROLLBACK TO s;
SELECT chatcrypt.current_actor();
COMMIT;
SELECT chatcrypt.current_actor() IS NULL AS gone_with_the_transaction;

-- Only act_as() sets the actor.
SET chatcrypt.actor = 'bob';
BEGIN;
SELECT chatcrypt.act_as('alice');
SAVEPOINT s;
SET LOCAL chatcrypt.actor = 'bob';
ROLLBACK TO s;
RESET chatcrypt.actor;
ROLLBACK TO s;
SELECT set_config('chatcrypt.actor', 'bob', true);
ROLLBACK TO s;
RESET ALL;
SELECT chatcrypt.current_actor();
SELECT chatcrypt.act_as('');
ROLLBACK TO s;
SELECT chatcrypt.act_as(NULL);
ROLLBACK;
SET chatcrypt.require_actor = on;
RESET ROLE;

-- An actor that a rollback drops is missing, and not forgotten.
SET ROLE app_both;
BEGIN;
SAVEPOINT s;
SELECT chatcrypt.act_as('alice');
ROLLBACK TO s;
SELECT chatcrypt.current_actor(), chatcrypt.may_see(:chat), count(*) FROM chatcrypt.messages;
SELECT chatcrypt.encrypt(:chat::uuid, 1, 'x');
ROLLBACK;
RESET ROLE;
-- Where an actor is required, it is missing from the beginning, for superusers as well.
SET chatcrypt.require_actor = on;
SELECT chatcrypt.may_see(:chat);
\set VERBOSITY default
SELECT chatcrypt.encrypt(:chat::uuid, 1, 'x');
\set VERBOSITY terse
SELECT chatcrypt.create_chat(5012);
SELECT chatcrypt.drain_search_feed();
RESET chatcrypt.require_actor;
SET chatcrypt.actor = 'bob';
SET chatcrypt.actor_is_due = on;
SET chatcrypt.client_transport = 'tls';
ALTER ROLE app_both SET chatcrypt.actor = 'bob';

-- The actor reaches parallel workers.
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
BEGIN;
SET LOCAL ROLE app_both;
SELECT chatcrypt.act_as('alice');
SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(*) AS of_others FROM chatcrypt.messages WHERE chat_id = :other;
SELECT count(*) > 0 AS own FROM chatcrypt.messages WHERE chat_id = :chat;
ROLLBACK;

-- Participants.
SELECT chatcrypt.add_participant(:other::uuid, 'alice'), chatcrypt.add_participant(:other::uuid, 'alice');
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.may_see(:other);
SELECT chatcrypt.remove_participant(:other::uuid, 'alice');
SELECT chatcrypt.may_see(:other);
COMMIT;
SELECT chatcrypt.remove_participant(:other::uuid, 'alice');
SELECT chatcrypt.add_participant(4711, 'alice');
SELECT chatcrypt.create_chat(5020, ARRAY['a', 'b']);
UPDATE chatcrypt.chat SET rotate_on_removal = true WHERE chat_id = chatcrypt.to_uuid(5020);
SELECT chatcrypt.remove_participant(5020, 'b');
SELECT max(dek_version) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(5020);
SELECT chatcrypt.add_participant(5020, 'c');

-- Messages of other senders: t/931_moderation.pl has the attacks.
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(5021), chatcrypt.to_uuid(5020), 'a', 'by a');
SET ROLE app_both;
BEGIN;
SELECT chatcrypt.act_as('c');
SELECT chatcrypt.may_change(5020, 'a') AS of_another, chatcrypt.may_change(5020, 'c') AS own, chatcrypt.may_change(5020, NULL) AS of_nobody,
	chatcrypt.may_change(:chat, 'c') AS elsewhere, chatcrypt.may_change(NULL, 'c') IS NULL AS unknown;
SAVEPOINT s;
\set VERBOSITY default
UPDATE chatcrypt.messages SET body = 'by c' WHERE message_id = chatcrypt.to_uuid(5021);
ROLLBACK TO s;
INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(5020), 'a', 'by c');
ROLLBACK TO s;
SELECT chatcrypt.remove_participant(5020, 'a');
\set VERBOSITY terse
ROLLBACK TO s;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5021) RETURNING sender;
INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (chatcrypt.to_uuid(5020), 'by c', '2020-01-01') RETURNING sender, created_at = now() AS now;
COMMIT;
UPDATE chatcrypt.sealed_message SET sender = 'c';
UPDATE chatcrypt.chat SET moderation = 'participants';
RESET ROLE;
UPDATE chatcrypt.chat SET moderation = 'anybody' WHERE chat_id = chatcrypt.to_uuid(5020);
UPDATE chatcrypt.chat SET moderation = 'participants' WHERE chat_id = chatcrypt.to_uuid(5020);
SET ROLE app_both;
BEGIN;
SELECT chatcrypt.act_as('c');
SELECT chatcrypt.may_change(5020, 'a') AS of_another, chatcrypt.may_change(5020, NULL) AS of_nobody;
UPDATE chatcrypt.messages SET body = 'by c' WHERE message_id = chatcrypt.to_uuid(5021) RETURNING sender, body;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(5021) RETURNING sender;
ROLLBACK;
RESET ROLE;

-- Operators, functions and schemas of other roles are not used.
CREATE SCHEMA evil;
CREATE FUNCTION evil.eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.eq);
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.dek_version(bytea) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
SET search_path = evil, pg_catalog;
SELECT chatcrypt.create_chat(5030);
SELECT chatcrypt.rotate_chat(5030);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(5031), chatcrypt.to_uuid(5030), 'unmoved');
UPDATE chatcrypt.messages SET body = 'still unmoved' WHERE message_id OPERATOR(pg_catalog.=) chatcrypt.to_uuid(5031);
SELECT chatcrypt.put_message(chatcrypt.to_uuid(5030), chatcrypt.to_uuid(5031), 'put');
SELECT body FROM chatcrypt.messages WHERE message_id OPERATOR(pg_catalog.=) chatcrypt.to_uuid(5031);
SELECT chatcrypt.add_participant(5030, 'x'), chatcrypt.remove_participant(5030, 'x');
SELECT chatcrypt.shred_chat(5030, 'irreversible');
RESET search_path;
DROP SCHEMA evil CASCADE;

-- A policy of the owner applies to bulk writes too.
CREATE POLICY quiet ON chatcrypt.sealed_message AS RESTRICTIVE FOR INSERT WITH CHECK (sender IS DISTINCT FROM 'mallory');
SET ROLE app_both;
INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (:chat, 'alice', 'fine');
INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (:chat, 'mallory', 'refused');
RESET ROLE;
DROP POLICY quiet ON chatcrypt.sealed_message;

-- Only functions that need no key are immutable or leakproof; every function has a comment.
SELECT proname FROM pg_proc WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND proleakproof ORDER BY 1;
SELECT proname FROM pg_proc WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND provolatile = 'i'
	AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'i') ORDER BY 1;
SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND obj_description(oid, 'pg_proc') IS NULL
	AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'i');
SELECT oid::regclass FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL;

DROP OWNED BY app_writer, app_reader, app_admin, app_auditor, app_both, nobody_special;
DROP ROLE app_writer, app_reader, app_admin, app_auditor, app_both, nobody_special;
