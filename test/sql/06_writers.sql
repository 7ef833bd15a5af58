-- Rows of the view messages are written past the executor where possible: the result must be the
-- same.
\set VERBOSITY terse
SELECT chatcrypt.create_chat('dddddddd-0000-0000-0000-000000000006'::uuid, ARRAY['alice']);
\set chat '''dddddddd-0000-0000-0000-000000000006'''

-- A statement that fails inside a function: what it had open is closed before the transaction ends.
CREATE FUNCTION fails_at(n bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF n = 3 THEN
		RAISE EXCEPTION 'the third fails';
	END IF;
	RETURN 'body ' || n;
END $$;
CREATE FUNCTION inserts() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO chatcrypt.messages (chat_id, body)
		SELECT 'dddddddd-0000-0000-0000-000000000006', fails_at(g) FROM generate_series(1, 5) AS g;
END $$;
SELECT inserts();
SELECT inserts();
BEGIN;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'before');
SAVEPOINT s;
SELECT inserts();
ROLLBACK TO s;
DO $$
BEGIN
	PERFORM inserts();
EXCEPTION WHEN raise_exception THEN
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES ('dddddddd-0000-0000-0000-000000000006', 'instead');
END $$;
SELECT inserts();
ROLLBACK TO s;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'after');
COMMIT;
SELECT body FROM chatcrypt.messages WHERE chat_id = :chat ORDER BY body;

-- A role that no policy applies to writes nothing, through the view or not.
CREATE ROLE regress_in IN ROLE chatcrypt_writer;
CREATE ROLE regress_out IN ROLE chatcrypt_writer;
ALTER POLICY participants ON chatcrypt.sealed_message TO regress_in;
SET ROLE regress_in;
INSERT INTO chatcrypt.messages (chat_id, sender) VALUES (:chat, 'in');
SET ROLE regress_out;
INSERT INTO chatcrypt.messages (chat_id, sender) VALUES (:chat, 'out');
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender) VALUES (chatcrypt.new_message_id(), :chat, 'out');
RESET ROLE;
ALTER POLICY participants ON chatcrypt.sealed_message TO PUBLIC;
SET ROLE regress_out;
INSERT INTO chatcrypt.messages (chat_id, sender) VALUES (:chat, 'everybody');
RESET ROLE;
SELECT sender FROM chatcrypt.messages WHERE chat_id = :chat AND sender IS NOT NULL ORDER BY sender COLLATE "C";

-- An index that is not a B-tree.
CREATE INDEX by_day ON chatcrypt.sealed_message USING brin (created_at);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT :chat, 'brin ' || g FROM generate_series(1, 3) AS g;
SELECT count(*) FROM chatcrypt.messages WHERE chat_id = :chat AND body LIKE 'brin %';
DROP INDEX chatcrypt.by_day;

-- The trigger on other views: one with an additional column, one with columns of other types.
CREATE VIEW wider AS SELECT m.*, 'more' AS more FROM chatcrypt.messages AS m;
CREATE TRIGGER write_message INSTEAD OF INSERT ON wider FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.write_message();
INSERT INTO wider (chat_id, more) VALUES (:chat, 'even more');
CREATE VIEW other AS SELECT message_id, 1::bigint AS chat_id, sender, 2::bigint AS body, dek_version, created_at, expires_at FROM chatcrypt.messages;
CREATE TRIGGER write_message INSTEAD OF INSERT ON other FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.write_message();
INSERT INTO other (chat_id, body) VALUES (1, 2);
DROP VIEW wider, other;

-- Where the policy is for some roles alone, no other role inserts anything.
CREATE ROLE outsider; GRANT chatcrypt_writer TO outsider;
ALTER POLICY participants ON chatcrypt.sealed_message TO pg_monitor;
SET ROLE outsider;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (:chat, 'refused');
RESET ROLE;
ALTER POLICY participants ON chatcrypt.sealed_message TO PUBLIC;
DROP ROLE outsider;

-- A trigger on the table that keeps rows out keeps them out of the view too.
CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE WHEN new.sender = 'mallory' THEN NULL ELSE new END;
END $$;
CREATE TRIGGER keep_out BEFORE INSERT ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION keep_out();
INSERT INTO chatcrypt.messages (chat_id, sender, body)
	SELECT :chat, CASE n % 2 WHEN 0 THEN 'mallory' ELSE 'trent' END, 'kept ' || n FROM generate_series(1, 10) AS n;
SELECT sender, count(*) FROM chatcrypt.messages WHERE chat_id = :chat AND body LIKE 'kept %' GROUP BY sender;
DROP TRIGGER keep_out ON chatcrypt.sealed_message;
DROP FUNCTION keep_out();

-- Other views of this name, in databases without the extension.
SELECT current_database() AS here \gset
CREATE DATABASE regress_elsewhere;
\c regress_elsewhere
CREATE TABLE note (id int, body text);
INSERT INTO note VALUES (1, 'old');
CREATE VIEW messages AS SELECT id, body FROM note;
CREATE FUNCTION write_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE note SET body = new.body WHERE id = old.id;
	RETURN new;
END $$;
CREATE TRIGGER write_note INSTEAD OF UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION write_note();
UPDATE messages SET body = 'new';
SELECT body FROM messages;
\c :here
DROP DATABASE regress_elsewhere;

DROP FUNCTION inserts(), fails_at(bigint);
DELETE FROM chatcrypt.messages WHERE chat_id = :chat;
DROP ROLE regress_in, regress_out;
