-- Tables of applications that hold envelopes: code of their owners runs, and runs as those owners.
\set VERBOSITY terse
SELECT chatcrypt.create_chat(25001);
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(25001);
CREATE ROLE regress_shop IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE SCHEMA shop AUTHORIZATION regress_shop;
SET ROLE regress_shop;
CREATE TABLE shop.note (id bigint PRIMARY KEY, chat bigint, envelope bytea);
-- The planner folds a call with constants in the predicate of an index: the function runs for a
-- mere SELECT.
CREATE FUNCTION shop.spy(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF current_user <> 'regress_shop' THEN
		RAISE WARNING '%: code of the table''s owner runs as somebody else', $1;
	END IF;
	RETURN true;
END $$;
CREATE INDEX ON shop.note (chat) WHERE shop.spy('predicate');
CREATE FUNCTION shop.spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.spy('trigger');
	RETURN new;
END $$;
CREATE TRIGGER spy BEFORE UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.spy();
INSERT INTO shop.note SELECT g, 25001, chatcrypt.encrypt(25001, g, 'note ' || g) FROM generate_series(1, 3) AS g;
-- Indexes are read anew in a new session.
\c -
SELECT chatcrypt.register_envelopes('shop.note', 'envelope', 'chat', 'id') IS NOT NULL AS registered;
-- A role that may manage keys can do so without owning any table.
CREATE ROLE regress_keeper IN ROLE chatcrypt_admin;
SET ROLE regress_keeper;
SELECT chatcrypt.rotate_chat(25001);
CALL chatcrypt.purge_chat_keys(chatcrypt.to_uuid(25001));
CALL chatcrypt.reencrypt_chat(chatcrypt.to_uuid(25001));
CALL chatcrypt.purge_chat_keys(chatcrypt.to_uuid(25001));
RESET ROLE;
\c -
SELECT * FROM chatcrypt.verify_chat(25001);
\c -
CALL chatcrypt.verify_all(max_findings => 0);
DROP ROLE regress_keeper;
SET ROLE regress_shop;
SELECT id, chatcrypt.decrypt(25001, id, envelope), chatcrypt.dek_version(envelope) FROM shop.note ORDER BY id;
RESET ROLE;
SELECT chatcrypt.unregister_envelopes(registry_id) FROM chatcrypt.envelope_column WHERE relation = 'shop.note'::regclass;
DROP OWNED BY regress_shop;
DROP ROLE regress_shop;
