-- A column of an application's own table, encrypted in place.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE TABLE note (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, made_at int DEFAULT 1, CHECK (body !~ 'secret'));
INSERT INTO note SELECT g, 5700 + g % 2, 'note ' || g FROM generate_series(1, 6) AS g;

-- It is not finished, and a superuser has to allow it.
SELECT chatcrypt.protect('note', 'body', 'chat_id', 'id');
SECURITY LABEL FOR chatcrypt ON COLUMN note.chat_id IS 'chat';
SET chatcrypt.allow_protect = on;

-- After protect(), new values are sealed; existing values are still read correctly.
SELECT chatcrypt.protect('note', 'body', 'chat_id', 'id') IS NOT NULL AS protected;
SELECT relation, column_name, chat_column, message_column, state FROM chatcrypt.protected;
INSERT INTO note VALUES (7, 5702, 'new chat') RETURNING *, xmin <> 0 AS written, xmax;
UPDATE note SET body = body || '!' WHERE id = 1 RETURNING body;
SELECT id, body FROM note ORDER BY id;
SELECT message_id, reason FROM chatcrypt.verify_protected('note') ORDER BY 1;

-- protect_rows() seals the existing rows; a second call finds none to seal.
CALL chatcrypt.protect_rows('note', batch => 2);
CALL chatcrypt.protect_rows('note');
SELECT column_name, state FROM chatcrypt.protected;
SELECT * FROM chatcrypt.verify_protected('note');
SELECT * FROM chatcrypt.verify_protected();
SELECT id, body FROM note ORDER BY id;

-- Stored values are sealed, and an UPDATE of another column leaves the same bytes.
SET chatcrypt.show = sealed;
SELECT count(*) FILTER (WHERE body LIKE 'cc1:%') AS sealed, count(*) FROM note;
SELECT body AS before FROM note WHERE id = 2 \gset
UPDATE note SET made_at = 2 WHERE id = 2;
SELECT body = :'before' AS same_bytes FROM note WHERE id = 2;
RESET chatcrypt.show;

-- Other statements work as on any table.
INSERT INTO note VALUES (1, 5701, 'again') ON CONFLICT (id) DO UPDATE SET body = excluded.body || ', ' || note.body RETURNING *, xmax = 0 AS inserted;
BEGIN;
INSERT INTO note VALUES (17, 5717, 'first of its chat') ON CONFLICT (id) DO NOTHING RETURNING body;
SELECT count(*) AS locks FROM pg_locks WHERE locktype = 'spectoken' AND pid = pg_backend_pid();
ROLLBACK;
SELECT n FROM note AS n WHERE body LIKE 'note%' ORDER BY body DESC LIMIT 2;
SELECT row_to_json(n) FROM note AS n WHERE id = 3;
DELETE FROM note WHERE id = 6 RETURNING *;
COPY note TO stdout;
COPY note (id, chat_id, body) FROM stdin;
8	5700	copied
9	5700	\N
\.
\set VERBOSITY default
COPY note (id, chat_id, body) FROM stdin;
8	5700	secret that is not shown
\.
\set VERBOSITY terse
SELECT id, body, body IS NULL AS isnull FROM note WHERE id > 7 ORDER BY id;
BEGIN;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT body FROM note ORDER BY id;
FETCH 2 FROM c;
COMMIT;
FETCH BACKWARD 1 FROM c;
CLOSE c;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.body := upper(NEW.body); RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE UPDATE ON note FOR EACH ROW WHEN (OLD.body IS DISTINCT FROM NEW.body) EXECUTE FUNCTION shout();
UPDATE note SET body = 'changed' WHERE id = 4 RETURNING body;
UPDATE note SET made_at = 3 WHERE id = 5 RETURNING body;

-- When the ids of a row change, its value is sealed anew.
UPDATE note SET id = 40, chat_id = 5701 WHERE id = 4 RETURNING *;
SELECT * FROM note WHERE id = 40;

-- A value that looks like an envelope, but does not open here, is text.
INSERT INTO note VALUES (10, 5700, 'cc1:AAAA');
INSERT INTO note VALUES (11, 5700, NULL);
SELECT id, body FROM note WHERE id IN (10, 11) ORDER BY id;

-- An error does not show the row.
\set VERBOSITY default
INSERT INTO note VALUES (12, 5700, repeat('secret ', 10));
INSERT INTO note VALUES (12, NULL, 'secret');
-- It does not show it either after the table's schema was renamed.
CREATE SCHEMA drawer;
CREATE TABLE drawer.slip (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text CHECK (body !~ 'secret'));
SELECT chatcrypt.protect('drawer.slip', 'body', 'chat_id', 'id') IS NOT NULL AS protected;
INSERT INTO drawer.slip VALUES (1, 5700, 'kept');
ALTER SCHEMA drawer RENAME TO cupboard;
INSERT INTO cupboard.slip VALUES (2, 5700, 'secret');
\set VERBOSITY terse

-- Commands that rewrite the table keep its values sealed.
VACUUM FULL note;
ALTER TABLE note ADD COLUMN at float DEFAULT random();
CLUSTER note USING note_pkey;
ANALYZE note;
SELECT count(*) AS shown FROM pg_statistic WHERE starelid = 'note'::regclass AND (stavalues1::text ~ 'note|CHANGED' OR stavalues2::text ~ 'note|CHANGED');
SELECT id, body FROM note WHERE id IN (2, 40) ORDER BY id;

DROP TRIGGER shout ON note;

-- A role that is no reader sees the sealed form; a role that is no writer cannot write new values.
CREATE ROLE note_clerk;
CREATE ROLE note_author;
GRANT chatcrypt_writer TO note_author;
GRANT ALL ON note TO note_clerk, note_author;
SET ROLE note_author;
SELECT body LIKE 'cc1:%' AS sealed FROM note WHERE id = 2;
UPDATE note SET made_at = 4 WHERE id = 2;
INSERT INTO note (id, chat_id, body) VALUES (13, 5700, 'by the author');
UPDATE note SET id = 14 WHERE id = 2;
UPDATE note SET body = body || 'x' WHERE id = 2;
UPDATE note AS n SET body = o.body FROM note AS o WHERE n.id = 3 AND o.id = 2;
SET ROLE note_clerk;
INSERT INTO note (id, chat_id, body) VALUES (15, 5700, 'by the clerk');
UPDATE note SET made_at = 5 WHERE id = 13;
RESET ROLE;
SELECT id, body, made_at FROM note WHERE id IN (2, 3, 13) ORDER BY id;

-- An actor sees only its own chats.
SELECT chatcrypt.create_chat(5709, ARRAY['nora']);
INSERT INTO note (id, chat_id, body) VALUES (16, 5709, 'for nora');
BEGIN;
SELECT chatcrypt.act_as('nora');
SELECT body FROM note WHERE chat_id = 5709;
SELECT body FROM note WHERE chat_id = 5700 AND id = 8;
ROLLBACK;

-- Commands that would store plaintext, or lose the ids, are refused.
CREATE INDEX ON note (body);
CREATE INDEX CONCURRENTLY ON note (body);
CREATE INDEX ON note (id, lower(body));
CREATE INDEX ON note (id) WHERE body = 'x';
ALTER TABLE note ADD UNIQUE (body);
ALTER TABLE note ADD EXCLUDE (body WITH =);
SELECT count(*) AS indexes FROM pg_index WHERE indrelid = 'note'::regclass;
ALTER TABLE note ADD COLUMN copy text GENERATED ALWAYS AS (upper(body)) STORED;
CREATE TABLE word (word text PRIMARY KEY);
ALTER TABLE note ADD FOREIGN KEY (body) REFERENCES word;
ALTER TABLE note DROP COLUMN chat_id;
ALTER TABLE note DROP COLUMN body;
ALTER TABLE note ALTER COLUMN chat_id TYPE text;
ALTER TABLE note SET ACCESS METHOD heap;
CREATE TABLE heir () INHERITS (note);
SECURITY LABEL FOR chatcrypt ON COLUMN note.body IS NULL;
SECURITY LABEL FOR chatcrypt ON COLUMN note.made_at IS 'chat';
CREATE TABLE plain (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text);
SECURITY LABEL FOR chatcrypt ON COLUMN plain.id IS 'message';
SET chatcrypt.allow_drop = on;
\set VERBOSITY sqlstate
DROP EXTENSION chatcrypt CASCADE;
\set VERBOSITY terse
RESET chatcrypt.allow_drop;
-- A table of this access method without labels accepts no rows.
CREATE TABLE copy (LIKE note) USING chatcrypt;
INSERT INTO copy SELECT * FROM note;
DROP TABLE copy, word, plain;
-- An id column may change to another integer type, because the ids stay the same.
ALTER TABLE note ALTER COLUMN id TYPE int;
SELECT id, body FROM note WHERE id = 40;

-- All obstacles are reported at once, and nothing is changed.
CREATE TABLE busy (id bigint PRIMARY KEY, chat numeric, body text UNIQUE, up text GENERATED ALWAYS AS (upper(body)) STORED);
CREATE STATISTICS busy_stat ON id, body FROM busy;
\set VERBOSITY default
SELECT chatcrypt.protect('busy', 'body', 'chat', 'id');
SELECT chatcrypt.protect('note', 'body', 'chat_id', 'id');
SELECT chatcrypt.protect('note', 'nothing', 'nowhere', 'id');
SELECT chatcrypt.protect('chatcrypt.messages', 'body', 'chat_id', 'message_id');
SELECT chatcrypt.unprotect('busy', 'body');
CALL chatcrypt.protect_rows('busy');
CALL chatcrypt.protect_rows('note', batch => 0);
CALL chatcrypt.protect_rows('note', rows_per_second => 0);
SELECT chatcrypt.verify_protected('busy');
SELECT chatcrypt.protect(NULL, 'body', 'chat_id', 'id');
\set VERBOSITY terse
SET ROLE note_author;
SELECT chatcrypt.protect('busy', 'body', 'chat', 'id');
RESET ROLE;
DROP TABLE busy;

-- Other types, uuids, several columns, and the limit of varchar(n).
CREATE TABLE thing (id uuid PRIMARY KEY, chat uuid NOT NULL, j json, b jsonb, y bytea, v varchar(5), t text);
SELECT count(chatcrypt.protect('thing', c, 'chat', 'id')) FROM unnest('{j,b,y,v,t}'::name[]) AS c;
SELECT column_name, state FROM chatcrypt.protected WHERE relation = 'thing'::regclass ORDER BY 1;
ALTER TABLE thing ALTER COLUMN v TYPE varchar(20);
INSERT INTO thing VALUES ('57000000-0000-0000-0000-000000000001', '57000000-0000-0000-0000-00000000000c', '{"a" : 1}', '{"a": [1, 2]}', '\x00ff', '12345', 'x');
INSERT INTO thing VALUES ('57000000-0000-0000-0000-000000000002', '57000000-0000-0000-0000-00000000000c', NULL, NULL, '', '', '');
INSERT INTO thing (id, chat, v) VALUES ('57000000-0000-0000-0000-000000000003', '57000000-0000-0000-0000-00000000000c', '123456');
INSERT INTO thing (id, chat, v) VALUES ('57000000-0000-0000-0000-000000000003', '57000000-0000-0000-0000-00000000000c', '12345   ') RETURNING '[' || v || ']' AS v;
SELECT j, j->'a' AS a, b, b->'a' AS ba, y, v, length(v) AS length, t FROM thing ORDER BY id;
UPDATE thing SET t = j::text, b = b || '{"z": 1}' WHERE id = '57000000-0000-0000-0000-000000000001' RETURNING t, b;
SET chatcrypt.show = sealed;
SELECT j::text LIKE '"cc1:%"' AS j, b::text LIKE '"cc1:%"' AS b, y::text LIKE '\\x6363313a01%' AS y, v LIKE 'cc1:%' AS v FROM thing ORDER BY id;
-- A value sealed for one column does not open in another: there it is text, or is refused in
-- a session that is shown the sealed form.
SELECT v AS armour FROM thing WHERE id = '57000000-0000-0000-0000-000000000001' \gset
UPDATE thing SET t = :'armour' WHERE id = '57000000-0000-0000-0000-000000000001';
UPDATE thing SET b = '"cc1:x"' WHERE id = '57000000-0000-0000-0000-000000000001';
RESET chatcrypt.show;
UPDATE thing SET t = :'armour' WHERE id = '57000000-0000-0000-0000-000000000001';
SELECT t = :'armour' AS is_text FROM thing WHERE id = '57000000-0000-0000-0000-000000000001';

-- A table that needed no TOAST table gets one, because sealed values are longer.
CREATE TABLE brief (id int PRIMARY KEY, chat int NOT NULL, word varchar(10));
SELECT reltoastrelid <> 0 AS has_toast FROM pg_class WHERE oid = 'brief'::regclass;
SELECT chatcrypt.protect('brief', 'word', 'chat', 'id') IS NOT NULL AS protected;
SELECT reltoastrelid <> 0 AS has_toast FROM pg_class WHERE oid = 'brief'::regclass;
DROP TABLE brief;

-- Upkeep includes protected columns, also after a column is renamed.
ALTER TABLE thing RENAME COLUMN t TO words;
SELECT chatcrypt.rotate_chat('57000000-0000-0000-0000-00000000000c');
CALL chatcrypt.reencrypt_chat('57000000-0000-0000-0000-00000000000c');
SELECT reason FROM chatcrypt.verify_chat('57000000-0000-0000-0000-00000000000c');
UPDATE chatcrypt.chats SET external_envelopes = false WHERE chat_id = '57000000-0000-0000-0000-00000000000c';
CALL chatcrypt.purge_chat_keys('57000000-0000-0000-0000-00000000000c');
SELECT j, b, y, v FROM thing ORDER BY id;

-- A purge opens no value: this one was sealed under a key that another one of its version replaced.
CREATE TABLE stale (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text);
SELECT chatcrypt.protect('stale', 'body', 'chat_id', 'id') IS NOT NULL AS protected;
SELECT chatcrypt.create_chat(5790);
BEGIN;
SELECT chatcrypt.rotate_chat(5790);
INSERT INTO stale VALUES (1, 5790, 'sealed');
SET LOCAL chatcrypt.show = sealed;
SELECT body AS armour FROM stale \gset
ROLLBACK;
SET chatcrypt.restore = on;
INSERT INTO stale VALUES (1, 5790, :'armour');
RESET chatcrypt.restore;
SELECT chatcrypt.rotate_chat(5790);
UPDATE chatcrypt.chats SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(5790);
SET chatcrypt.on_decrypt_error = 'null';
SELECT unopened_damaged AS before FROM chatcrypt.health \gset
CALL chatcrypt.purge_chat_keys(5790);
SELECT unopened_damaged - :before AS opened FROM chatcrypt.health;
SELECT id, body FROM stale;
SELECT unopened_damaged - :before AS opened FROM chatcrypt.health;
RESET chatcrypt.on_decrypt_error;
SELECT dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(5790) ORDER BY dek_version;
DROP TABLE stale;

-- The values of a shredded chat are shown as NULL, and an UPDATE of other columns keeps them stored.
SELECT chatcrypt.shred_chat(5701, confirm => 'irreversible');
SELECT id, body FROM note WHERE chat_id = 5701 ORDER BY id;
UPDATE note SET made_at = 9 WHERE id = 40;
SET chatcrypt.show = sealed;
SELECT body LIKE 'cc1:%' AS kept FROM note WHERE id = 40;
RESET chatcrypt.show;
SET chatcrypt.on_decrypt_error = raise;
SELECT body FROM note WHERE id = 40;
RESET chatcrypt.on_decrypt_error;
SELECT message_id, reason FROM chatcrypt.verify_protected('note') ORDER BY 1;

-- Removing the protection.
SELECT chatcrypt.unprotect('note', 'body');
INSERT INTO note VALUES (20, 5700, 'plain again');
SELECT state FROM chatcrypt.protected WHERE relation = 'note'::regclass;
CALL chatcrypt.protect_rows('note');
DELETE FROM note WHERE chat_id = 5701;
CALL chatcrypt.protect_rows('note');
SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE pg_class.oid = 'note'::regclass;
SELECT count(*) AS labels FROM pg_seclabel WHERE objoid = 'note'::regclass;
SELECT id, body FROM note ORDER BY id;
SELECT event, detail FROM chatcrypt.key_event WHERE event IN ('protect', 'unprotect') ORDER BY event_id;
-- Dropping a protected column drops its values, and so does dropping its table.  The last one stays.
ALTER TABLE thing DROP COLUMN y;
ALTER TABLE thing DROP COLUMN j, DROP COLUMN b, DROP COLUMN v, DROP COLUMN words;
SELECT count(*) AS failures FROM chatcrypt.verify_chat(5700);
DROP TABLE note, thing;
SELECT count(*) AS failures FROM chatcrypt.verify_chat(5700);
-- The extension can be dropped after the protected tables, in a transaction of its own.
DROP SCHEMA cupboard CASCADE;
SET client_min_messages = warning;
BEGIN;
SET LOCAL chatcrypt.allow_drop = on;
DROP EXTENSION chatcrypt CASCADE;
ROLLBACK;
RESET client_min_messages;
DROP FUNCTION shout;
DROP ROLE note_clerk, note_author;

-- While a column is mixed or opening, the sealed values of a shredded chat stay as they are stored.
CREATE TABLE half (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, n int DEFAULT 1);
INSERT INTO half VALUES (1, 5720, 'plain at first');
SELECT chatcrypt.protect('half', 'body', 'chat_id', 'id') IS NOT NULL AS protected;
INSERT INTO half VALUES (2, 5721, 'sealed at once');
SELECT chatcrypt.shred_chat(5721, confirm => 'irreversible');
SET chatcrypt.show = sealed;
SELECT body AS before FROM half WHERE id = 2 \gset
UPDATE half SET n = 2 WHERE id = 2;
RESET chatcrypt.show;
SET chatcrypt.on_decrypt_error = raise;
UPDATE half SET n = 3 WHERE id = 2 RETURNING n;
SELECT body FROM half WHERE id = 2;
RESET chatcrypt.on_decrypt_error;
CALL chatcrypt.protect_rows('half');
SELECT state FROM chatcrypt.protected WHERE relation = 'half'::regclass;
SELECT id, body FROM half ORDER BY id;
SELECT chatcrypt.unprotect('half', 'body');
SET chatcrypt.show = sealed;
SELECT body = :'before' AS same_bytes FROM half WHERE id = 2;
RESET chatcrypt.show;
SET chatcrypt.on_decrypt_error = raise;
UPDATE half SET n = 4 WHERE id = 2 RETURNING n;
SELECT body FROM half WHERE id = 2;
RESET chatcrypt.on_decrypt_error;
CALL chatcrypt.protect_rows('half');
SELECT id, body FROM half ORDER BY id;
DROP TABLE half;
