-- Messages whose id exists already: ON CONFLICT on the view, and put_messages().
\set VERBOSITY default
\set SHOW_CONTEXT never
\set ON_ERROR_STOP 0
\set chat '''d0d0d0d0-0000-0000-0000-000000000001'''
\set other '''d0d0d0d0-0000-0000-0000-000000000002'''
SELECT chatcrypt.create_chat(:chat::uuid, ARRAY['alice', 'bob']) IS NOT NULL AND chatcrypt.create_chat(:other::uuid, ARRAY['bob']) IS NOT NULL AS made;
CREATE VIEW here AS SELECT message_id, body FROM chatcrypt.messages WHERE chat_id IN ('d0d0d0d0-0000-0000-0000-000000000001', 'd0d0d0d0-0000-0000-0000-000000000002');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'first'), (chatcrypt.to_uuid(502), :other, 'of another chat');

-- DO NOTHING leaves existing messages, inserts the others, and counts and returns only those.
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'again'), (chatcrypt.to_uuid(503), :chat, 'new')
	ON CONFLICT DO NOTHING RETURNING message_id, body;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'again'), (chatcrypt.to_uuid(504), :chat, 'new')
	ON CONFLICT (message_id) DO NOTHING RETURNING message_id, body;
-- The same id twice in one statement is inserted once.
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(505), :chat, 'number ' || g FROM generate_series(1, 3) AS g
	ON CONFLICT DO NOTHING RETURNING body;
SELECT * FROM here ORDER BY message_id;

-- A message is not lost because another chat has its id.
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(502), :chat, 'lost') ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(502), :chat, 'lost') ON CONFLICT (message_id) DO NOTHING;

-- ON CONFLICT DO NOTHING hides no other error of an INSERT.
INSERT INTO chatcrypt.messages (message_id, chat_id, body, dek_version) VALUES (chatcrypt.to_uuid(501), :chat, 'x', 1) ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), chatcrypt.to_uuid(4711), 'x') ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, body) VALUES (chatcrypt.to_uuid(501), 'x') ON CONFLICT DO NOTHING;

-- All forms of the statement.
WITH added AS (INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x'), (chatcrypt.to_uuid(506), :chat, 'with')
	ON CONFLICT DO NOTHING RETURNING body) SELECT * FROM added;
WITH added AS (INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x'), (chatcrypt.to_uuid(507), :chat, 'not read')
	ON CONFLICT (message_id) DO NOTHING) SELECT 1 AS one;
PREPARE send (uuid, uuid, text) AS INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES ($1, $2, $3) ON CONFLICT (message_id) DO NOTHING;
SET plan_cache_mode = force_generic_plan;
EXECUTE send (chatcrypt.to_uuid(508), :chat, 'prepared');
EXECUTE send (chatcrypt.to_uuid(508), :chat, 'prepared');
EXECUTE send (chatcrypt.to_uuid(502), :chat, 'lost');
RESET plan_cache_mode;
DEALLOCATE send;
CREATE VIEW renamed AS SELECT message_id AS id, chat_id AS chat, body AS text FROM chatcrypt.messages;
INSERT INTO renamed VALUES (chatcrypt.to_uuid(501), :chat, 'x'), (chatcrypt.to_uuid(509), :chat, 'by another view') ON CONFLICT (id) DO NOTHING RETURNING text;
DROP VIEW renamed;
DO $$
DECLARE
	added bigint;
BEGIN
	FOR i IN 509..511 LOOP
		INSERT INTO chatcrypt.messages (message_id, chat_id, body)
			VALUES (chatcrypt.to_uuid(i), 'd0d0d0d0-0000-0000-0000-000000000001', 'by PL/pgSQL') ON CONFLICT DO NOTHING;
		GET DIAGNOSTICS added = ROW_COUNT;
		RAISE NOTICE '% added', added;
	END LOOP;
END $$;
SELECT * FROM here WHERE message_id > chatcrypt.to_uuid(505) ORDER BY message_id;

-- A statement without the clause next to one with it still raises.
WITH added AS (INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT DO NOTHING)
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x');

-- Statements that the trigger cannot execute are refused with a hint that says what to write.
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT (message_id) DO UPDATE SET body = excluded.body;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT (chat_id, message_id) DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT (message_id) WHERE body = 'x' DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT (body) DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT ((message_id::text)) DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(501), :chat, 'x') ON CONFLICT ON CONSTRAINT sealed_message_pkey DO NOTHING;
CREATE TABLE reaction (message_id uuid REFERENCES chatcrypt.messages (message_id));

-- put_messages() replaces bodies, or leaves them.
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(501), chatcrypt.to_uuid(502), chatcrypt.to_uuid(520)],
	ARRAY['replaced', 'lost', 'put']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(501), chatcrypt.to_uuid(502), chatcrypt.to_uuid(521)],
	ARRAY['not taken', 'lost', NULL], ARRAY['alice', 'alice', 'bob'], NULL, ARRAY[NULL, NULL, '2100-01-01Z']::timestamptz[], 'ignore');
SELECT message_id, sender, body, created_at IS NOT NULL AS dated, expires_at IS NOT NULL AS expires FROM chatcrypt.messages
	WHERE message_id IN (chatcrypt.to_uuid(501), chatcrypt.to_uuid(502), chatcrypt.to_uuid(520), chatcrypt.to_uuid(521)) ORDER BY message_id;
-- The same id twice: the last body counts, or the first.
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(522), chatcrypt.to_uuid(522)], ARRAY['one', 'two']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(523), chatcrypt.to_uuid(523)], ARRAY['one', 'two'], on_duplicate => 'ignore');
SELECT * FROM here WHERE message_id IN (chatcrypt.to_uuid(522), chatcrypt.to_uuid(523)) ORDER BY message_id;
-- Parameters without a type, as drivers send them.
PREPARE put AS SELECT * FROM chatcrypt.put_messages($1, $2, $3);
EXECUTE put ('{d0d0d0d0-0000-0000-0000-000000000001}', '{00000000-0000-8000-8000-00000000020c}', '{untyped}');
DEALLOCATE put;
SELECT * FROM chatcrypt.put_messages('{}', '{}', '{}');
-- Ids are uuids, numbers or text.
SELECT chatcrypt.create_chat(58);
SELECT * FROM chatcrypt.put_messages(ARRAY[58, 58], ARRAY[580, 581]::bigint[], ARRAY['by number', 'by number']);
SELECT * FROM chatcrypt.put_messages(ARRAY['58', '58'], ARRAY['581', '582'], ARRAY['x', 'by text'], on_duplicate => 'ignore');
SELECT chatcrypt.number_of(message_id), body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(58) ORDER BY message_id;

-- put_messages() stores all or nothing.
SELECT * FROM chatcrypt.put_messages(NULL, '{}', '{}');
SELECT * FROM chatcrypt.put_messages('{}', NULL, '{}');
SELECT * FROM chatcrypt.put_messages('{}', '{}', NULL);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(530)], ARRAY['one', 'two']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(530)], ARRAY['one'], '{}');
SELECT * FROM chatcrypt.put_messages(ARRAY[[:chat], [:chat]]::uuid[], ARRAY[chatcrypt.to_uuid(530), chatcrypt.to_uuid(531)], ARRAY['one', 'two']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(530)], ARRAY['one'], on_duplicate => 'update');
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(530)], ARRAY['one'], on_duplicate => NULL);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, NULL]::uuid[], ARRAY[chatcrypt.to_uuid(530), chatcrypt.to_uuid(531)], ARRAY['one', 'two']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(530), NULL], ARRAY['one', 'two']);
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, chatcrypt.to_uuid(4711)]::uuid[], ARRAY[chatcrypt.to_uuid(530), chatcrypt.to_uuid(531)], ARRAY['one', 'two']);
SELECT count(*) FROM here WHERE message_id IN (chatcrypt.to_uuid(530), chatcrypt.to_uuid(531));

-- Many messages, in savepoints that are rolled back or not.
BEGIN;
SAVEPOINT s;
SELECT inserted FROM chatcrypt.put_messages(array_fill(:chat::uuid, ARRAY[2000]), ARRAY(SELECT chatcrypt.to_uuid(g) FROM generate_series(10001, 12000) AS g), array_fill('many'::text, ARRAY[2000]));
ROLLBACK TO s;
SELECT inserted FROM chatcrypt.put_messages(array_fill(:chat::uuid, ARRAY[2000]), ARRAY(SELECT chatcrypt.to_uuid(g) FROM generate_series(10001, 12000) AS g), array_fill('many'::text, ARRAY[2000]));
SAVEPOINT s;
SELECT inserted, replaced FROM chatcrypt.put_messages(array_fill(:chat::uuid, ARRAY[2000]), ARRAY(SELECT chatcrypt.to_uuid(g) FROM generate_series(11001, 13000) AS g), array_fill('more'::text, ARRAY[2000]));
ROLLBACK TO s;
COMMIT;
SELECT count(*), count(DISTINCT body) FROM here WHERE message_id BETWEEN chatcrypt.to_uuid(10001) AND chatcrypt.to_uuid(13000);
DELETE FROM here WHERE message_id BETWEEN chatcrypt.to_uuid(10001) AND chatcrypt.to_uuid(13000);

-- Search knows the words of what was stored, and no others.
SELECT chatcrypt.set_search(:chat::uuid, 'blind');
CALL chatcrypt.reindex_search(:chat::uuid);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(540), :chat, 'walrus') ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(540), :chat, 'penguin') ON CONFLICT DO NOTHING;
SELECT replaced FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(541)], ARRAY['walrus']);
SELECT replaced FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(541)], ARRAY['penguin']);
SELECT ignored FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(541)], ARRAY['ostrich'], on_duplicate => 'ignore');
SELECT message_id, body FROM chatcrypt.search(:chat::uuid, 'walrus');
SELECT message_id, body FROM chatcrypt.search(:chat::uuid, 'penguin');
SELECT message_id, body FROM chatcrypt.search(:chat::uuid, 'ostrich');

-- The rights needed are those of an INSERT; an actor writes to its own chats alone, and learns
-- nothing of others.
CREATE ROLE regress_writer IN ROLE chatcrypt_writer;
CREATE ROLE regress_reader IN ROLE chatcrypt_reader;
SET SESSION AUTHORIZATION regress_reader;
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(550)], ARRAY['x']);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(550), :chat, 'x') ON CONFLICT DO NOTHING;
SET SESSION AUTHORIZATION regress_writer;
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(501), chatcrypt.to_uuid(550)], ARRAY['x', 'by the writer']);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(550), :chat, 'x'), (chatcrypt.to_uuid(551), :chat, 'x') ON CONFLICT (message_id) DO NOTHING;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT * FROM chatcrypt.put_messages(ARRAY[:chat, :chat]::uuid[], ARRAY[chatcrypt.to_uuid(550), chatcrypt.to_uuid(552)], ARRAY['x', 'by alice'], ARRAY['alice', 'alice'], on_duplicate => 'ignore');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(550), :chat, 'alice', 'x'), (chatcrypt.to_uuid(553), :chat, 'alice', 'x') ON CONFLICT DO NOTHING;
SAVEPOINT s;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(502), :other, 'alice', 'x') ON CONFLICT DO NOTHING;
ROLLBACK TO s;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(560), :other, 'alice', 'x') ON CONFLICT DO NOTHING;
ROLLBACK TO s;
SELECT * FROM chatcrypt.put_messages(ARRAY[:other]::uuid[], ARRAY[chatcrypt.to_uuid(502)], ARRAY['x'], ARRAY['alice']);
ROLLBACK TO s;
SELECT * FROM chatcrypt.put_messages(ARRAY[:other]::uuid[], ARRAY[chatcrypt.to_uuid(560)], ARRAY['x'], ARRAY['alice'], on_duplicate => 'ignore');
ROLLBACK TO s;
-- An id in a chat that the actor does not see counts as the id of another chat, for one message and
-- for many.
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(502), 'x') IS NULL AS refused;
SELECT refused FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(502)], ARRAY['x']);
ROLLBACK;
RESET SESSION AUTHORIZATION;
DROP ROLE regress_writer, regress_reader;

-- A message that has expired and is not deleted yet still has its id.
INSERT INTO chatcrypt.messages (message_id, chat_id, body, expires_at) VALUES (chatcrypt.to_uuid(570), :chat, 'expired', now() - interval '1 s');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(570), :chat, 'x') ON CONFLICT DO NOTHING;
SELECT ignored FROM chatcrypt.put_messages(ARRAY[:chat]::uuid[], ARRAY[chatcrypt.to_uuid(570)], ARRAY['x'], on_duplicate => 'ignore');
DROP VIEW here;
