-- Re-encryption: every envelope of a chat moves to its newest key, and nothing else changes.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_reencryption;
\c regression_reencryption
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
SELECT chatcrypt.create_chats(ARRAY[4000, 4001, 4002]::bigint[]);
INSERT INTO chatcrypt.messages (chat_id, message_id, sender, body, created_at, expires_at)
SELECT chatcrypt.to_uuid(4000 + i % 2), chatcrypt.to_uuid(400000 + i), 'alice', CASE WHEN i <> 7 THEN 'body ' || i END,
	   timestamptz '2025-01-01' + i * interval '1 s', CASE WHEN i = 8 THEN timestamptz '2025-02-01' END
FROM generate_series(1, 100) AS i;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) SELECT chatcrypt.to_uuid(4000), chatcrypt.to_uuid(400200), repeat('long ', 4000);
CREATE TABLE before AS SELECT * FROM chatcrypt.sealed_message;

-- A table of an application: numbers for ids, and additional data.
CREATE SCHEMA shop AUTHORIZATION app;
GRANT USAGE ON SCHEMA shop TO operator;
SET ROLE app;
CREATE TABLE shop.notes (id integer PRIMARY KEY, chat bigint, note bytea);
INSERT INTO shop.notes SELECT i, 4000, chatcrypt.encrypt(4000, i, 'note ' || i, 'notes') FROM generate_series(1, 20) AS i;
INSERT INTO shop.notes VALUES (21, 4000, NULL), (22, NULL, '\x00');
CREATE TABLE shop.files (id uuid, chat uuid, name bytea) PARTITION BY LIST (chat);
CREATE TABLE shop.files_4000 PARTITION OF shop.files FOR VALUES IN ('00000000-0000-8000-8000-000000000fa0');
CREATE TABLE shop.files_rest PARTITION OF shop.files DEFAULT;
INSERT INTO shop.files SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(4000 + i % 2), chatcrypt.encrypt(chatcrypt.to_uuid(4000 + i % 2), chatcrypt.to_uuid(i), 'file ' || i)
FROM generate_series(1, 10) AS i;
RESET ROLE;

-- Who may register which table.
SET ROLE app;
SELECT chatcrypt.register_envelopes('shop.notes', 'note', 'chat', 'id', 'notes');
RESET ROLE;
SET ROLE operator;
SELECT chatcrypt.register_envelopes('shop.notes', 'note', 'chat', 'id', 'notes');
RESET ROLE;
SELECT chatcrypt.register_envelopes('shop.notes', 'nothing', 'chat', 'id');
SELECT chatcrypt.register_envelopes('shop.notes', 'ctid', 'chat', 'id');
SELECT chatcrypt.register_envelopes('shop.notes', 'id', 'chat', 'id');
SELECT chatcrypt.register_envelopes('shop.notes', 'note', 'note', 'id');
SELECT chatcrypt.register_envelopes('shop.notes', NULL, 'chat', 'id');
SELECT chatcrypt.register_envelopes('chatcrypt.sealed_message', 'encrypted_message', 'chat_id', 'message_id');
CREATE VIEW shop.no_table AS SELECT * FROM shop.notes;
SELECT chatcrypt.register_envelopes('shop.no_table', 'note', 'chat', 'id');
DROP VIEW shop.no_table;
CREATE TABLE shop.generated (id int, chat int, plain bytea, made bytea GENERATED ALWAYS AS (plain) STORED);
SELECT chatcrypt.register_envelopes('shop.generated', 'made', 'chat', 'id');
DROP TABLE shop.generated;
GRANT app TO operator;
SET ROLE operator;
SELECT chatcrypt.register_envelopes('shop.notes', 'note', 'chat', 'id', 'notes', '11111111-1111-1111-1111-111111111111');
SELECT chatcrypt.register_envelopes('shop.files', 'name', 'chat', 'id', registry_id => '22222222-2222-2222-2222-222222222222');
SELECT chatcrypt.register_envelopes('shop.notes', 'note', 'chat', 'id');
SELECT registry_id, relation, envelope_column, chat_column, message_column, aad FROM chatcrypt.envelope_column ORDER BY 1;

-- No envelope is outdated yet.
CALL chatcrypt.reencrypt_chat(4000);
SELECT chatcrypt.rotate_chat(4000);
CALL chatcrypt.reencrypt_chat(4000, batch => 0);
CALL chatcrypt.reencrypt_chat(NULL::uuid);
CALL chatcrypt.reencrypt_chat(4711);
BEGIN;
CALL chatcrypt.reencrypt_chat(4000);
ROLLBACK;
CALL chatcrypt.reencrypt_chat(4000, batch => 7);
CALL chatcrypt.reencrypt_chat(4000);
RESET ROLE;

-- All envelopes of one chat, and of no other; each row is unchanged but for its envelope.
SELECT chat_id, dek_version, count(*), count(encrypted_message) AS sealed FROM chatcrypt.sealed_message
WHERE chat_id IN (chatcrypt.to_uuid(4000), chatcrypt.to_uuid(4001)) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS rows, count(*) FILTER (WHERE chatcrypt.decrypt(m.chat_id, m.message_id, m.encrypted_message, chatcrypt.row_aad(m.created_at, m.sender))
		= chatcrypt.decrypt(b.chat_id, b.message_id, b.encrypted_message, chatcrypt.row_aad(b.created_at, b.sender))) AS same_bodies,
	   count(*) FILTER (WHERE m.encrypted_message = b.encrypted_message) AS same_bytes,
	   count(*) FILTER (WHERE (m.sender, m.created_at, m.expires_at) IS NOT DISTINCT FROM (b.sender, b.created_at, b.expires_at)) AS same_rest
FROM chatcrypt.sealed_message AS m JOIN before AS b USING (message_id);
SELECT chatcrypt.dek_version(note), count(*), min(chatcrypt.decrypt(chat, id, note, 'notes')) FROM shop.notes WHERE chat = 4000 GROUP BY 1 ORDER BY 1;
SELECT tableoid::regclass, chatcrypt.dek_version(name), count(*), min(chatcrypt.decrypt(chat, id, name)) FROM shop.files GROUP BY 1, 2 ORDER BY 1, 2;
SELECT u.unreadable, d.dek_version, d.state FROM chatcrypt.upkeep AS u JOIN chatcrypt.dek AS d ON d.dek_id = u.reencrypted_to;

-- An envelope that does not open is counted, left unchanged, and stops nothing.
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 39, get_byte(encrypted_message, 39) # 1) WHERE message_id = chatcrypt.to_uuid(400001);
UPDATE shop.notes SET note = overlay(note PLACING '\x07' FROM 1 FOR 1) WHERE id = 3;
SELECT chatcrypt.rotate_chat(4000), chatcrypt.rotate_chat(4001);
CALL chatcrypt.reencrypt_chat(4000);
CALL chatcrypt.reencrypt_chat(4001);
SELECT dek_version, count(*) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(4000) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM chatcrypt.sealed_message AS m JOIN before AS b USING (message_id)
WHERE chatcrypt.try_decrypt(m.chat_id, m.message_id, m.encrypted_message, chatcrypt.row_aad(m.created_at, m.sender)) IS DISTINCT FROM chatcrypt.decrypt(b.chat_id, b.message_id, b.encrypted_message, chatcrypt.row_aad(b.created_at, b.sender));
UPDATE shop.notes SET note = overlay(note PLACING '\x01' FROM 1 FOR 1) WHERE id = 3;
CALL chatcrypt.reencrypt_chat(4000);

-- A trigger of the table sees the change, as its owner; so does a trigger of the table of messages.
CREATE TABLE seen (by text, id text);
GRANT INSERT ON seen TO app;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user, coalesce(to_jsonb(new) ->> 'id', to_jsonb(new) ->> 'message_id')); RETURN new; END $$;
CREATE TRIGGER see BEFORE UPDATE ON shop.notes FOR EACH ROW WHEN (new.id < 3) EXECUTE FUNCTION see();
CREATE TRIGGER see AFTER UPDATE ON chatcrypt.sealed_message FOR EACH ROW WHEN (new.message_id = '00000000-0000-8000-8000-000000061a84') EXECUTE FUNCTION see();
SELECT chatcrypt.rotate_chat(4000);
CALL chatcrypt.reencrypt_chat(4000);
SELECT CASE by WHEN session_user THEN 'superuser' ELSE by END AS by, id FROM seen ORDER BY id;
DROP TRIGGER see ON chatcrypt.sealed_message;
DROP TRIGGER see ON shop.notes;

-- A trigger cannot leave anything behind in the session of the caller.
CREATE FUNCTION shop.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE trap (); RETURN new; END $$;
CREATE TRIGGER trap BEFORE UPDATE ON shop.notes FOR EACH ROW EXECUTE FUNCTION shop.trap();
SELECT chatcrypt.rotate_chat(4000);
CALL chatcrypt.reencrypt_chat(4000);
DROP TRIGGER trap ON shop.notes;
-- Row-level security hides no row either.
ALTER TABLE shop.notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON shop.notes USING (id < 3);
CALL chatcrypt.reencrypt_chat(4000);
ALTER TABLE shop.notes DISABLE ROW LEVEL SECURITY;

-- What is due: by policy, or by argument; a chat that fails does not stop the others.
CALL chatcrypt.reencrypt_due();
UPDATE chatcrypt.tenant SET reencrypt_after = '30 days';
CALL chatcrypt.reencrypt_due();
SELECT chatcrypt.rotate_chat(4001), chatcrypt.rotate_chat(4002);
UPDATE chatcrypt.chat SET reencrypt_after = '0' WHERE chat_id = chatcrypt.to_uuid(4001);
CALL chatcrypt.reencrypt_due();
CALL chatcrypt.reencrypt_due('1 hour');
UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(4002);
CREATE TRIGGER trap BEFORE UPDATE ON shop.notes FOR EACH ROW EXECUTE FUNCTION shop.trap();
SELECT chatcrypt.rotate_chat(4000), chatcrypt.rotate_chat(4001);
CALL chatcrypt.reencrypt_due('0');
DROP TRIGGER trap ON shop.notes;
CALL chatcrypt.reencrypt_due('0', max_chats => 0);
CALL chatcrypt.reencrypt_due('0', max_chats => -1);
CALL chatcrypt.reencrypt_due('0', batch => NULL);
CALL chatcrypt.reencrypt_due('0');
CALL chatcrypt.reencrypt_due('0');
CALL chatcrypt.reencrypt_chat(4002);
UPDATE chatcrypt.tenant SET reencrypt_after = NULL;

-- A chat that changed its mode: the key is another one, although its number is lower.
UPDATE chatcrypt.chat SET mode = 'conversation_key' WHERE chat_id = chatcrypt.to_uuid(4001);
SELECT chatcrypt.import_dek(4001, decode(repeat('ab', 32), 'hex'), 1, 'conversation');
CALL chatcrypt.reencrypt_chat(4001);
SELECT dek_version, get_byte(encrypted_message, 0) AS suite, count(*) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(4001) GROUP BY 1, 2 ORDER BY 1, 2;
SET chatcrypt.on_decrypt_error = 'null';
SELECT count(body) FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(4001) AND body LIKE 'body %';
RESET chatcrypt.on_decrypt_error;

-- A registered column that does not exist any more raises an error.
ALTER TABLE shop.notes RENAME COLUMN note TO remark;
SELECT chatcrypt.rotate_chat(4000);
CALL chatcrypt.reencrypt_chat(4000);
SELECT chatcrypt.unregister_envelopes('11111111-1111-1111-1111-111111111111'), chatcrypt.unregister_envelopes('11111111-1111-1111-1111-111111111111');
CALL chatcrypt.reencrypt_chat(4000);
DROP TABLE shop.files;
CALL chatcrypt.reencrypt_chat(4000);
SELECT chatcrypt.unregister_envelopes('22222222-2222-2222-2222-222222222222');

-- Envelopes that are kept elsewhere: only administrators may re-encrypt them, and nothing of them
-- is shown.
SELECT chatcrypt.encrypt(4000, 1, 'kept elsewhere', 'aad') AS envelope \gset
SELECT chatcrypt.rotate_chat(4000) AS newest \gset
SET ROLE operator;
SELECT chatcrypt.dek_version(chatcrypt.reencrypt_envelope(4000, 1, :'envelope', 'aad')) = :newest AS newest;
SELECT chatcrypt.reencrypt_envelope(4000, 1, :'envelope', 'aad') AS resealed \gset
SELECT chatcrypt.reencrypt_envelope(4000, 2, :'envelope', 'aad');
SELECT chatcrypt.reencrypt_envelope(4000, 1, :'envelope');
SELECT chatcrypt.reencrypt_envelope(4000, 1, 'nonsense');
SELECT chatcrypt.reencrypt_envelope(NULL, 1, :'envelope', 'aad');
SELECT chatcrypt.reencrypt_envelope(4000, NULL, :'envelope', 'aad');
SELECT chatcrypt.reencrypt_envelope(4000, 1, NULL) IS NULL AS nothing_for_nothing;
SELECT chatcrypt.try_reencrypt_envelope(4000, 2, :'envelope', 'aad') IS NULL AND chatcrypt.try_reencrypt_envelope(4000, 1, :'envelope') IS NULL
	AND chatcrypt.try_reencrypt_envelope(4000, 1, 'nonsense') IS NULL AS null_for_what_does_not_open;
SELECT chatcrypt.dek_version(chatcrypt.try_reencrypt_envelope(4000, 1, :'envelope', 'aad')) = :newest AS newest;
RESET ROLE;
SELECT chatcrypt.decrypt(4000, 1, :'resealed', 'aad');
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO app;
SET ROLE app;
SELECT chatcrypt.reencrypt_envelope(4000, 1, :'envelope', 'aad');
CALL chatcrypt.reencrypt_chat(4000);
CALL chatcrypt.reencrypt_due('0');
RESET ROLE;
\c :home
DROP DATABASE regression_reencryption;
DROP ROLE operator, app;
