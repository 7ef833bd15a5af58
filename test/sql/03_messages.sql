-- The view messages: writing, reading, and pitfalls.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_chat('cccccccc-0000-0000-0000-000000000001'::uuid, ARRAY['alice', 'bob']);
SELECT chatcrypt.create_chat('cccccccc-0000-0000-0000-000000000002'::uuid, ARRAY['bob']);
\set chat '''cccccccc-0000-0000-0000-000000000001'''
\set other '''cccccccc-0000-0000-0000-000000000002'''

INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (:chat, 'alice', 'first')
	RETURNING message_id IS NOT NULL AS has_id, chat_id, sender, body, dek_version, created_at = now() AS now, expires_at;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES
	(chatcrypt.to_uuid(1), :chat, 'alice', 'one'), (chatcrypt.to_uuid(2), :chat, 'bob', ''), (chatcrypt.to_uuid(3), :chat, 'bob', NULL);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(g), :other, 'body ' || g FROM generate_series(10, 12) AS g;
COPY chatcrypt.messages (message_id, chat_id, sender, body) FROM stdin;
00000000-0000-8000-8000-000000000004	cccccccc-0000-0000-0000-000000000001	carol	copied
00000000-0000-8000-8000-000000000005	cccccccc-0000-0000-0000-000000000001	\N	\N
\.
SELECT sender, body, body IS NULL AS isnull, dek_version FROM chatcrypt.messages WHERE message_id < chatcrypt.to_uuid(10) ORDER BY message_id;
SELECT body FROM chatcrypt.messages WHERE chat_id = :other ORDER BY message_id;

-- The table holds ciphertext only, out of reach of compression.
SELECT count(*) AS plaintexts FROM chatcrypt.sealed_message WHERE encode(encrypted_message, 'escape') ~ 'body|copied|first|one';
SELECT attstorage FROM pg_attribute WHERE attrelid = 'chatcrypt.sealed_message'::regclass AND attname = 'encrypted_message';

-- Only the server sets what it generates.
INSERT INTO chatcrypt.messages (chat_id, body, dek_version) VALUES (:chat, 'x', 1);
UPDATE chatcrypt.messages SET dek_version = 2 WHERE message_id = chatcrypt.to_uuid(1);
INSERT INTO chatcrypt.messages (body) VALUES ('no chat');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4711), 'no such chat');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), :chat, 'an id that is taken');
UPDATE chatcrypt.messages SET chat_id = NULL WHERE message_id = chatcrypt.to_uuid(1);

-- An edited body gets a new salt, and so does one of another sender; an unchanged message keeps its
-- bytes.
SELECT encrypted_message AS before FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(1) \gset
UPDATE chatcrypt.messages SET expires_at = 'infinity' WHERE message_id = chatcrypt.to_uuid(1) RETURNING expires_at, body;
SELECT encrypted_message = :'before' AS same_bytes FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET body = 'one', sender = 'alice' WHERE message_id = chatcrypt.to_uuid(1);
SELECT encrypted_message = :'before' AS same_body_same_bytes FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(1) RETURNING sender, body;
SELECT encrypted_message = :'before' AS other_sender_same_bytes FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET body = body || ' more' WHERE message_id = chatcrypt.to_uuid(1) RETURNING body;
SELECT encrypted_message = :'before' AS same_bytes, body FROM chatcrypt.sealed_message JOIN chatcrypt.messages USING (message_id) WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET body = NULL WHERE message_id = chatcrypt.to_uuid(1) RETURNING body IS NULL AS gone;
UPDATE chatcrypt.messages SET body = 'back' WHERE message_id = chatcrypt.to_uuid(1) RETURNING body;

-- A message that is moved to another chat is sealed anew.
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(6) WHERE message_id = chatcrypt.to_uuid(4);
UPDATE chatcrypt.messages SET chat_id = :other WHERE message_id = chatcrypt.to_uuid(6);
SELECT chat_id, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(6);

-- After a rotation, old and new messages read alike; an edited one is sealed with the new key.
SELECT chatcrypt.rotate_chat(:chat::uuid);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(7), :chat, 'by the new key');
UPDATE chatcrypt.messages SET body = 'edited' WHERE message_id = chatcrypt.to_uuid(2);
SELECT message_id, body, dek_version FROM chatcrypt.messages WHERE chat_id = :chat AND sender IS DISTINCT FROM 'alice' ORDER BY 1;

-- A message that does not open.
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 45, get_byte(encrypted_message, 45) # 1) WHERE message_id = chatcrypt.to_uuid(7);
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7);
SELECT sender IS NULL AS readable_without_body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7);
SET chatcrypt.on_decrypt_error = 'null';
SELECT body IS NULL AS shown_as_null FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7);
SELECT encrypted_message AS damaged FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7) \gset
UPDATE chatcrypt.messages SET expires_at = 'infinity', body = body WHERE message_id = chatcrypt.to_uuid(7);
SELECT encrypted_message = :'damaged' AS kept FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7);
UPDATE chatcrypt.messages SET sender = 'touched' WHERE message_id = chatcrypt.to_uuid(7);
RESET chatcrypt.on_decrypt_error;
UPDATE chatcrypt.messages SET expires_at = '2200-01-01 00:00:00+00' WHERE message_id = chatcrypt.to_uuid(7) RETURNING expires_at AT TIME ZONE 'UTC' AS expires_at;
UPDATE chatcrypt.messages SET sender = 'touched again' WHERE message_id = chatcrypt.to_uuid(7) RETURNING sender;
UPDATE chatcrypt.messages SET sender = body WHERE message_id = chatcrypt.to_uuid(7);
SELECT encrypted_message = :'damaged' AS kept FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7);
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7);
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(8) WHERE message_id = chatcrypt.to_uuid(7);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7) RETURNING message_id;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(6) RETURNING body;

-- A subquery inside an UPDATE of the view still raises an error: only the old row is lenient.
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 45, get_byte(encrypted_message, 45) # 1) WHERE message_id = chatcrypt.to_uuid(10);
DO $$
BEGIN
	UPDATE chatcrypt.messages SET expires_at = 'infinity' WHERE message_id = chatcrypt.to_uuid(10);
	RAISE NOTICE 'updated';
	PERFORM body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(10);
	RAISE NOTICE 'not reached';
END $$;

-- A body that cannot be read does not replace the one in the table either.
UPDATE chatcrypt.messages SET body = (SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(10)) WHERE message_id = chatcrypt.to_uuid(12);
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(12);
UPDATE chatcrypt.messages SET body = body || '!' WHERE message_id IN (chatcrypt.to_uuid(10), chatcrypt.to_uuid(12));
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(12);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(10);

-- The same row twice in one UPDATE is changed once, as in a table.
UPDATE chatcrypt.messages m SET body = s.b FROM (VALUES ('left'), ('right')) AS s (b) WHERE m.message_id = chatcrypt.to_uuid(11);
SELECT body IN ('left', 'right') AS changed FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(11);

-- An UPDATE is planned to lock its rows, and to look at them again where another session changed them.
EXPLAIN (COSTS OFF) UPDATE chatcrypt.messages SET expires_at = now() WHERE message_id = chatcrypt.to_uuid(1);

-- Upserts.
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(50), 'put');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(50), 'put again');
SELECT chatcrypt.put_message(:other, chatcrypt.to_uuid(50), 'from another chat');
SELECT chat_id, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(50);

-- Expired messages are hidden by the view.
INSERT INTO chatcrypt.messages (message_id, chat_id, body, expires_at) VALUES
	(chatcrypt.to_uuid(60), :chat, 'expired', now() - interval '1 s'), (chatcrypt.to_uuid(61), :chat, 'not yet', now() + interval '1 h');
SELECT body FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(60), chatcrypt.to_uuid(61));

-- The trigger function can only be called as a trigger.
SELECT chatcrypt_internal.write_message();
CREATE TABLE plain (id int);
CREATE TRIGGER t BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.write_message();
INSERT INTO plain VALUES (1);
DROP TABLE plain;

-- Bulk inserts, savepoints that are rolled back, and errors in the middle.
BEGIN;
INSERT INTO chatcrypt.messages (chat_id, body) SELECT :other::uuid, 'bulk ' || g FROM generate_series(1, 1000) AS g;
SAVEPOINT s;
INSERT INTO chatcrypt.messages (chat_id, body) SELECT :other::uuid, 'bulk ' || g FROM generate_series(1, 1000) AS g;
ROLLBACK TO s;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(1000 - g / 500), :other::uuid, 'bulk' FROM generate_series(1, 600) AS g;
ROLLBACK TO s;
SELECT count(*), count(DISTINCT body) FROM chatcrypt.messages WHERE body LIKE 'bulk%';
COMMIT;
SELECT count(*) FROM chatcrypt.messages WHERE body LIKE 'bulk%';
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			INSERT INTO chatcrypt.messages (message_id, chat_id, body)
				SELECT chatcrypt.to_uuid(2000 + g), 'cccccccc-0000-0000-0000-000000000002', 'loop' FROM generate_series(1, 10) AS g;
		EXCEPTION WHEN unique_violation THEN
			RAISE NOTICE 'taken';
		END;
	END LOOP;
END $$;
SELECT count(*) FROM chatcrypt.messages WHERE body = 'loop';

-- An error in the query of a function ends the transaction before the memory of that query is
-- freed.
DO $$ BEGIN INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4711), 'x'); END $$;
DO $$ BEGIN INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(2001), 'cccccccc-0000-0000-0000-000000000002', 'loop' FROM generate_series(1, 10); END $$;
DO $$
BEGIN
	BEGIN
		INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4711), 'x');
	EXCEPTION WHEN undefined_object THEN
		INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4711), 'x');
	END;
END $$;

-- The owner may change the table: other columns, policies and triggers make the writes go through
-- SQL, and they still work.
ALTER TABLE chatcrypt.sealed_message ADD COLUMN extra text DEFAULT 'default';
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(70), :chat, 'with a default');
SELECT extra FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(70);
ALTER TABLE chatcrypt.sealed_message DROP COLUMN extra;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(71), :chat, 'with a dropped column');
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(71);

-- A number whose uuid is computed while the query runs finds the chat by its index.
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
PREPARE by_number (bigint) AS SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($1);
EXPLAIN (COSTS OFF) EXECUTE by_number (42);
DEALLOCATE by_number;

-- A page of a chat is read in the order of the index: only the messages shown are decrypted.
EXPLAIN (COSTS OFF) SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(42) ORDER BY created_at DESC LIMIT 50;
-- Where rows must be sorted, they are decrypted after that.
RESET enable_seqscan;
EXPLAIN (COSTS OFF, VERBOSE) SELECT body FROM chatcrypt.messages ORDER BY sender LIMIT 50;

-- A leaky function is called for no message that the actor may not see.
CREATE FUNCTION leak(body text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
	$$ BEGIN RAISE NOTICE 'leaked'; RETURN true; END $$;
CREATE ROLE regress_leak IN ROLE chatcrypt_reader;
GRANT EXECUTE ON FUNCTION leak TO regress_leak;
SET SESSION AUTHORIZATION regress_leak;
BEGIN;
SELECT chatcrypt.act_as('nobody');
SELECT count(*) FROM chatcrypt.messages WHERE leak(body);
SELECT count(*) FROM chatcrypt.messages WHERE leak(sender);
COMMIT;
RESET SESSION AUTHORIZATION;
DROP FUNCTION leak;
DROP ROLE regress_leak;
