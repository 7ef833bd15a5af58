-- Triggers, constraints, generated columns and row-level security: code that the server itself runs for a statement.

--: situation AFTER triggers see the old body and the new one
--: prepare
CREATE TABLE seen (n serial, what text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO seen (what) VALUES (concat_ws('|', TG_NAME, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN old.body END, CASE WHEN TG_OP <> 'DELETE' THEN new.body END)); RETURN NULL; END $$;
CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION see();
--: run
TRUNCATE seen RESTART IDENTITY;
INSERT INTO t VALUES (20, 1, 'secret 20'), (21, 1, NULL);
UPDATE t SET body = body || '!' WHERE id IN (1, 20, 21);
UPDATE t SET n = 1 WHERE id = 2;
DELETE FROM t WHERE id IN (3, 20);
INSERT INTO t VALUES (1, 1, 'secret new') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
UPDATE t SET chat_id = 2 WHERE id = 6;
TABLE seen;
--: keeps

--: situation WHEN conditions of triggers, on the body and on the whole row
--: prepare
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', TG_NAME, new.id; RETURN new; END $$;
CREATE TRIGGER a_changed AFTER UPDATE ON t FOR EACH ROW WHEN (old.body IS DISTINCT FROM new.body) EXECUTE FUNCTION tell();
CREATE TRIGGER b_row AFTER UPDATE ON t FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION tell();
CREATE TRIGGER c_before BEFORE UPDATE ON t FOR EACH ROW WHEN (new.body LIKE '%!') EXECUTE FUNCTION tell();
CREATE TRIGGER d_of AFTER UPDATE OF body ON t FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER e_insert AFTER INSERT ON t FOR EACH ROW WHEN (new.body = 'secret 30') EXECUTE FUNCTION tell();
--: run
UPDATE t SET body = body WHERE id = 1;
UPDATE t SET body = 'secret 2' WHERE id = 2;
UPDATE t SET body = body || '!' WHERE id = 3;
UPDATE t SET n = n WHERE id = 4;
UPDATE t SET n = n + 1 WHERE id = 5;
UPDATE t SET body = NULL WHERE id = 11;
UPDATE t SET body = body WHERE id = 10;
UPDATE t SET chat_id = 1 + chat_id % 3 WHERE id = 6;
INSERT INTO t VALUES (30, 1, 'secret 30'), (31, 1, 'secret 31');

--: situation several BEFORE triggers in turn change the body, the ids and other columns
--: unordered
--: prepare
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := new.body || '/' || TG_NAME; new.tag := length(new.body)::text; IF new.n = 999 THEN new.chat_id := 3; END IF; RETURN new; END $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.n := new.n + 1; RETURN new; END $$;
CREATE TRIGGER aaa BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER mmm BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER zzz BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change();
--: run
INSERT INTO t VALUES (40, 1, 'secret 40', 999) RETURNING *;
UPDATE t SET n = 5 WHERE id = 1 RETURNING *;
UPDATE t SET body = 'secret new' WHERE id = 2 RETURNING *;
INSERT INTO t VALUES (3, 1, 'secret 3 again') ON CONFLICT (id) DO UPDATE SET body = t.body || '+' || excluded.body RETURNING *;
COPY t (id, chat_id, body) FROM stdin;
41	1	secret 41
\.
SELECT * FROM t WHERE id IN (1, 2, 3, 40, 41) ORDER BY id;
SELECT id, md5(body), tag FROM t WHERE id = 10;
UPDATE t SET n = 999 WHERE id = 10 RETURNING md5(body), chat_id;

--: situation BEFORE triggers that skip a row, replace it, and read the old row
--: unordered
--: prepare
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF TG_OP = 'DELETE' THEN IF old.body LIKE '%1' THEN RETURN NULL; END IF; RETURN old; END IF;
	IF new.body = old.body THEN RETURN NULL; END IF; IF new.body = 'undo' THEN RETURN old; END IF; RETURN new; END $$;
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard();
--: run
DELETE FROM t WHERE id < 3 RETURNING id;
UPDATE t SET body = 'secret 3' WHERE id = 3 RETURNING *;
UPDATE t SET body = 'undo' WHERE id IN (4, 10) RETURNING id, left(body, 9);
UPDATE t SET body = 'secret else' WHERE id = 5 RETURNING *;
SELECT id, left(body, 12) FROM t ORDER BY id;

--: situation transition tables of statement triggers
--: prepare
CREATE FUNCTION pair() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
	FOR r IN SELECT o.id, left(o.body, 12) AS was, left(n.body, 12) AS now FROM o FULL JOIN n USING (id) ORDER BY 1 LOOP RAISE NOTICE '% % %', r.id, r.was, r.now; END LOOP; RETURN NULL; END $$;
CREATE FUNCTION news() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'new %', (SELECT string_agg(left(body, 12), ',' ORDER BY id) FROM n); RETURN NULL; END $$;
CREATE FUNCTION olds() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'old %', (SELECT string_agg(left(o.body, 12), ',' ORDER BY id) FROM o); RETURN NULL; END $$;
CREATE TRIGGER u AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pair();
CREATE TRIGGER i AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION news();
CREATE TRIGGER d AFTER DELETE ON t REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION olds();
--: run
UPDATE t SET body = body || '!' WHERE id IN (1, 2, 10);
UPDATE t SET n = 4 WHERE id = 3;
INSERT INTO t VALUES (50, 1, 'secret 50'), (51, 1, NULL);
INSERT INTO t VALUES (1, 1, 'secret up'), (52, 1, 'secret in') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
DELETE FROM t WHERE id IN (1, 9, 51);
MERGE INTO t USING (VALUES (2), (53)) AS s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET body = 'secret merged' WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, 'secret 53');
COPY t (id, chat_id, body) FROM stdin;
54	1	secret 54
55	1	secret 55
\.

--: situation deferred constraint triggers read a row later
--: prepare
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'late % % %', TG_OP, old.body, new.body; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
--: run
BEGIN;
INSERT INTO t VALUES (60, 1, 'secret 60');
UPDATE t SET body = body || '!' WHERE id = 60;
UPDATE t SET body = 'secret one' WHERE id = 1;
SELECT 'commit follows';
COMMIT;
BEGIN; UPDATE t SET body = 'secret 2 now' WHERE id = 2; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK;

--: situation a trigger writes to the same table, and so fires itself
--: unordered
--: prepare
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id < 1000 THEN INSERT INTO t VALUES (new.id + 1000, new.chat_id, new.body || ' echo'); END IF; UPDATE t SET tag = 'seen' WHERE id = new.id; RETURN NULL; END $$;
CREATE TRIGGER again AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION again();
--: run
INSERT INTO t VALUES (61, 1, 'secret 61'), (62, 2, 'secret 62') RETURNING *;
SELECT * FROM t WHERE id > 60 ORDER BY id;

--: situation tsvector_update_trigger and suppress_redundant_updates_trigger, which are written in C
--: keeps
--: prepare
ALTER TABLE t ADD COLUMN words tsvector;
CREATE TRIGGER words BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', body);
CREATE TRIGGER zz_same BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
--: run
INSERT INTO t VALUES (63, 1, 'secret words') RETURNING words;
UPDATE t SET body = 'secret others' WHERE id = 63 RETURNING words;
UPDATE t SET n = 3 WHERE id = 63 RETURNING n;

--: situation an UPDATE that changes nothing is suppressed
--: prepare
CREATE TRIGGER same BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
--: run
UPDATE t SET n = n WHERE id = 2;
UPDATE t SET n = n + 1 WHERE id = 2;
UPDATE t SET body = body WHERE id = 4;
UPDATE t SET body = 'secret 6 new' WHERE id = 6;
SELECT id, body, n FROM t WHERE id IN (2, 4, 6) ORDER BY id;

--: situation CHECK constraints over the body
--: prepare
ALTER TABLE t ADD CONSTRAINT short CHECK (length(body) <= 9000), ADD CONSTRAINT no_curse CHECK (body !~ 'curse'), ADD CONSTRAINT row_check CHECK (body IS NULL OR id > 0 AND body <> tag);
--: raises 23514 23514 23514 23514
--: run
INSERT INTO t VALUES (70, 1, 'secret 70') RETURNING body;
INSERT INTO t VALUES (71, 1, repeat('secret', 2000));
UPDATE t SET body = body || ' curse' WHERE id = 1;
UPDATE t SET tag = 'secret 2' WHERE id = 2;
UPDATE t SET body = body || ' fine' WHERE id = 3 RETURNING body;
UPDATE t SET n = 1 WHERE id = 4 RETURNING body;
ALTER TABLE t ADD CONSTRAINT later CHECK (body <> 'secret 8') NOT VALID;
UPDATE t SET body = 'secret 9' WHERE id = 8;
ALTER TABLE t VALIDATE CONSTRAINT later;
INSERT INTO t VALUES (1000, 1, 'secret 8');

--: situation NOT NULL of the body, added to a table with rows, and violated
--: raises 23502 23502 23502
--: run
ALTER TABLE t ALTER body SET NOT NULL;
DELETE FROM t WHERE body IS NULL;
ALTER TABLE t ALTER body SET NOT NULL;
INSERT INTO t VALUES (72, 1, NULL);
UPDATE t SET body = NULL WHERE id = 1;
SELECT count(*) FROM t;
ALTER TABLE t ALTER body DROP NOT NULL;

--: situation a default value of the body
--: prepare
ALTER TABLE t ALTER body SET DEFAULT 'secret default';
--: run
INSERT INTO t (id, chat_id) VALUES (73, 1) RETURNING *;
INSERT INTO t VALUES (74, 2, DEFAULT) RETURNING body;
UPDATE t SET body = DEFAULT WHERE id = 1 RETURNING body;

--: situation stored generated columns that use other columns
--: prepare
ALTER TABLE t ADD COLUMN twice integer GENERATED ALWAYS AS (n * 2) STORED, ADD COLUMN num bigint GENERATED BY DEFAULT AS IDENTITY;
--: run
INSERT INTO t (id, chat_id, body, n) VALUES (75, 1, 'secret 75', 4) RETURNING id, body, twice;
UPDATE t SET n = 9 WHERE id = 1 RETURNING id, body, twice;
UPDATE t SET body = 'secret 2 new' WHERE id = 2 RETURNING id, body, twice;

--: situation virtual generated columns over the body
--: unordered
--: since 18
--: prepare
ALTER TABLE t ADD COLUMN len integer GENERATED ALWAYS AS (length(body)) VIRTUAL, ADD COLUMN loud text GENERATED ALWAYS AS (upper(left(body, 12))) VIRTUAL;
--: run
SELECT id, len, loud FROM t ORDER BY id;
SELECT id FROM t WHERE len = 8 AND loud LIKE 'SECRET%' ORDER BY id;
UPDATE t SET body = body || '!' WHERE len = 8 AND id < 3 RETURNING id, body, len, loud;
INSERT INTO t (id, chat_id, body) VALUES (76, 1, 'secret 76') RETURNING *;
SELECT t FROM t WHERE id = 76;

--: situation row-level security: policies that read the body, and WITH CHECK
--: unordered
--: prepare
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON t FOR SELECT USING (body IS NULL OR body NOT LIKE '%3');
CREATE POLICY put ON t FOR INSERT WITH CHECK (body NOT LIKE '%forbidden%');
CREATE POLICY change ON t FOR UPDATE USING (body LIKE 'secret%' OR body IS NULL) WITH CHECK (body NOT LIKE '%forbidden%');
CREATE POLICY take ON t FOR DELETE USING (chat_id = 1 AND body <> '');
--: as postgres
--: raises 42501 42501 42501
--: run
ALTER TABLE t FORCE ROW LEVEL SECURITY; SET ROLE app;
SELECT id, left(body, 9) FROM t ORDER BY id;
INSERT INTO t VALUES (77, 1, 'secret 77') RETURNING *;
INSERT INTO t VALUES (78, 1, 'secret forbidden');
UPDATE t SET body = body || ' forbidden' WHERE id = 1;
UPDATE t SET body = body || ' fine' WHERE id IN (1, 3, 9) RETURNING *;
DELETE FROM t RETURNING id, left(body, 12);
INSERT INTO t VALUES (3, 1, 'secret x') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO t VALUES (4, 1, 'secret x') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING *;

--: situation foreign keys: cascades from chats and to reactions, and a chat whose id changes
--: unordered
--: prepare
CREATE TABLE reaction (message bigint REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, emoji text);
CREATE TABLE note (message bigint REFERENCES t ON DELETE SET NULL, says text);
--: rows
INSERT INTO reaction SELECT id, ':)' FROM t;
INSERT INTO note SELECT id, 'note ' || id FROM t WHERE id < 4;
--: raises 23503 23503
--: run
DELETE FROM t WHERE body = 'secret 3';
UPDATE t SET id = 101 WHERE id = 1;
SELECT message FROM reaction ORDER BY 1;
TABLE note ORDER BY 2;
DELETE FROM chat WHERE id = 3;
SELECT id, left(body, 9) FROM t ORDER BY id;
INSERT INTO t VALUES (79, 3, 'secret of no chat');
SELECT count(*) FROM reaction;

--: situation ON UPDATE CASCADE moves messages to another chat
--: unordered
--: run
UPDATE chat SET id = 4 WHERE id = 2;
SELECT id, chat_id, left(body, 12), md5(body) FROM t ORDER BY id;
UPDATE t SET body = body || '!' WHERE chat_id = 4 AND id < 9 RETURNING id, body;

--: situation a publication and a replica identity do not change the results of statements
--: run
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET body = body || '!' WHERE id = 1 RETURNING body;
DELETE FROM t WHERE id = 2 RETURNING body;
ALTER TABLE t REPLICA IDENTITY DEFAULT;

--: situation event triggers and grants on columns
--: as postgres
--: prepare
GRANT USAGE ON SCHEMA app TO matrix_clerk;
GRANT SELECT (id, body), UPDATE (body), INSERT (id, chat_id, body) ON t TO matrix_clerk;
--: raises 42501 42501
--: run
SET ROLE matrix_clerk;
SELECT id, left(body, 9) FROM t ORDER BY id;
SELECT n FROM t;
UPDATE t SET body = body || '!' WHERE id = 1 RETURNING id, body;
UPDATE t SET n = 1;
INSERT INTO t (id, chat_id, body) VALUES (80, 1, 'secret 80') RETURNING id, body;

--: situation a writer that is no reader inserts and deletes rows and updates other columns, with triggers and a generated column
--: as postgres
--: prepare
ALTER TABLE t ADD COLUMN twice integer GENERATED ALWAYS AS (n * 2) STORED;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.n := new.n + 1; RETURN new; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
GRANT USAGE ON SCHEMA app TO matrix_writer; GRANT ALL ON ALL TABLES IN SCHEMA app TO matrix_writer;
--: run
SET ROLE matrix_writer; SET client_min_messages = error;
INSERT INTO t (id, chat_id, body, n) VALUES (81, 1, 'secret 81', 5), (82, 2, NULL, 0) RETURNING id, n, twice;
UPDATE t SET n = n + 10 WHERE id IN (1, 2, 10, 81) RETURNING id, n, twice;
UPDATE t SET body = 'secret new' WHERE id = 3;
DELETE FROM t WHERE id = 4;
INSERT INTO t VALUES (5, 1, 'secret up') ON CONFLICT (id) DO UPDATE SET body = excluded.body, n = 0;
INSERT INTO t VALUES (6, 1, 'secret up') ON CONFLICT (id) DO UPDATE SET n = 0;
INSERT INTO t VALUES (7, 1, 'x') ON CONFLICT DO NOTHING;
COPY t (id, chat_id, body) FROM stdin;
83	3	secret 83
\.
RESET ROLE; SELECT id, left(body, 12), md5(body), n, twice FROM t ORDER BY id;

--: situation updates of other columns write no TOAST, even if triggers run
--: kinds fresh migrated
--: prepare
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.tag := 'seen ' || length(old.body); RETURN new; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
--: run
SELECT pg_relation_size(reltoastrelid) AS size FROM pg_class WHERE oid = 't'::regclass \gset
UPDATE t SET n = n + 1 WHERE id = 10;
UPDATE t SET n = n + 1 WHERE id = 10;
UPDATE t SET n = n + 1, body = body WHERE id = 10;
UPDATE t SET n = n + 1 WHERE id = 10;
UPDATE t SET n = n + 1 WHERE id = 10;
SELECT pg_relation_size(reltoastrelid) - :size AS more FROM pg_class WHERE oid = 't'::regclass;
SELECT n, tag, md5(body) FROM t WHERE id = 10;
