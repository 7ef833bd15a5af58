-- Functions, views, cursors, and rows as values.

--: situation SQL functions, inlined and not
--: prepare
CREATE FUNCTION of_chat(bigint) RETURNS SETOF t STABLE LANGUAGE sql AS 'SELECT * FROM t WHERE chat_id = $1';
CREATE FUNCTION of_chat_new(c bigint) RETURNS SETOF t STABLE LANGUAGE sql BEGIN ATOMIC SELECT * FROM t WHERE chat_id = c;
END;
CREATE FUNCTION bodies(bigint) RETURNS TABLE (i bigint, b text) STABLE LANGUAGE sql AS 'SELECT id, body FROM t WHERE chat_id = $1';
CREATE FUNCTION one(bigint) RETURNS text LANGUAGE sql AS 'SELECT body FROM t WHERE id = $1';
CREATE FUNCTION strict_one(bigint) RETURNS t STRICT LANGUAGE sql AS 'SELECT * FROM t WHERE id = $1';
CREATE FUNCTION shout(t) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper($1.body)';
CREATE FUNCTION change(bigint, text) RETURNS SETOF t LANGUAGE sql AS 'UPDATE t SET body = $2 WHERE id = $1 RETURNING *';
--: run
SELECT id, left(body, 9) FROM of_chat(1) ORDER BY id;
SELECT id, left(body, 9) FROM of_chat_new(2) ORDER BY id;
SELECT i, left(b, 9) FROM bodies(3) ORDER BY i;
SELECT one(2), strict_one(3), (strict_one(4)).body;
SELECT shout(t), t.shout FROM t WHERE id = 5;
SELECT * FROM change(6, 'secret six');
SELECT o.body FROM t CROSS JOIN LATERAL of_chat(t.chat_id) AS o WHERE t.id = 1 AND o.id = 3;
SELECT body FROM ROWS FROM (of_chat(1), generate_series(1, 2)) AS r WHERE id IN (3, 6) ORDER BY 1;

--: situation plpgsql: rows, records, loops, cursors and RETURN QUERY
--: prepare
CREATE FUNCTION walk() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE r record; w t%ROWTYPE; b t.body%TYPE; c CURSOR FOR SELECT * FROM t WHERE id < 4 ORDER BY id; BEGIN
	FOR r IN SELECT * FROM t WHERE id < 4 ORDER BY id LOOP RETURN NEXT 'loop ' || r.body; END LOOP;
	FOR i IN 1..8 LOOP SELECT body INTO b FROM t WHERE id = i; RETURN NEXT b; END LOOP;
	SELECT * INTO w FROM t WHERE id = 5; w.body := w.body || ' changed'; RETURN NEXT w.body; w.id := 505; INSERT INTO t SELECT w.*;
	FOR x IN c LOOP UPDATE t SET body = x.body || '*' WHERE CURRENT OF c; END LOOP;
	OPEN c; FETCH c INTO r; RETURN NEXT r.body; CLOSE c;
	RETURN QUERY SELECT body FROM t WHERE id = 505;
	RETURN QUERY EXECUTE 'SELECT body FROM t WHERE id = $1' USING 2;
	w := ROW(506, 1, 'secret 506', 1, NULL); INSERT INTO t VALUES (w.*); RETURN NEXT w::text;
	DELETE FROM t WHERE id = 506 RETURNING * INTO w; RETURN NEXT w.body;
	GET DIAGNOSTICS b = ROW_COUNT; RETURN NEXT b; END $$;
CREATE FUNCTION rows() RETURNS SETOF t LANGUAGE plpgsql AS $$ DECLARE r t; BEGIN FOR r IN SELECT * FROM t WHERE id < 4 ORDER BY id LOOP r.n := -1; RETURN NEXT r; END LOOP; END $$;
--: run
SELECT walk(); SELECT * FROM rows(); SELECT body FROM t WHERE id < 4 ORDER BY id;
DO $$ DECLARE a t[]; BEGIN a := ARRAY(SELECT t FROM t WHERE id < 3 ORDER BY id); RAISE NOTICE '% %', a[1].body, array_length(a, 1); END $$;

--: situation procedures that commit in a loop, with a cursor over the table
--: prepare
CREATE PROCEDURE step() LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
	FOR r IN SELECT * FROM t WHERE id < 5 ORDER BY id LOOP UPDATE t SET body = r.body || ' stepped' WHERE id = r.id; IF r.id = 4 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$;
--: run
CALL step(); SELECT id, body FROM t WHERE id < 6 ORDER BY id;

--: situation a SECURITY DEFINER function reads for a role without rights on the table
--: as postgres
--: prepare
CREATE FUNCTION read_one(bigint) RETURNS text SECURITY DEFINER SET search_path = app LANGUAGE sql AS 'SELECT body FROM t WHERE id = $1';
CREATE FUNCTION write_one(bigint, text) RETURNS text SECURITY DEFINER SET search_path = app LANGUAGE plpgsql AS $$ DECLARE r text; BEGIN UPDATE t SET body = $2 WHERE id = $1 RETURNING body INTO r; RETURN r; END $$;
CREATE VIEW owned AS SELECT id, body FROM t;
ALTER FUNCTION read_one OWNER TO app; ALTER FUNCTION write_one OWNER TO app;
GRANT USAGE ON SCHEMA app TO matrix_guest;
--: raises 42501
--: run
SET ROLE matrix_guest;
SELECT read_one(1), write_one(2, 'secret by owner'), read_one(2);
SELECT body FROM t;

--: situation views: created before, with some columns, with a security barrier, with a check option
--: unordered
--: prepare
CREATE VIEW plain_view AS SELECT id, chat_id, body, length(body) AS len FROM t WHERE body LIKE 'secret%';
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, body FROM t WHERE chat_id = 1;
CREATE VIEW invoker WITH (security_invoker) AS SELECT id, body FROM t WHERE chat_id = 1;
CREATE VIEW checked AS SELECT id, chat_id, body FROM t WHERE body <> 'forbidden' WITH CHECK OPTION;
CREATE VIEW nested AS SELECT id, body || '' AS b FROM plain_view;
--: raises 44000
--: run
SELECT * FROM plain_view ORDER BY id;
SELECT id, left(body, 9) FROM barrier WHERE body ~ '3' ORDER BY id;
SELECT id, left(body, 9) FROM invoker ORDER BY id; SELECT * FROM nested ORDER BY id;
UPDATE plain_view SET body = body || ' by view' WHERE id = 1 RETURNING *;
INSERT INTO checked VALUES (90, 1, 'secret 90') RETURNING *;
UPDATE checked SET body = 'forbidden' WHERE id = 90;
DELETE FROM barrier WHERE body = 'secret 3' RETURNING *;
UPDATE barrier SET id = 91 WHERE id = 6 RETURNING *;
SELECT plain_view FROM plain_view WHERE id = 2;

--: situation rules and INSTEAD OF triggers of a view
--: prepare
CREATE VIEW w AS SELECT id, chat_id, body FROM t;
CREATE FUNCTION w() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t (id, chat_id, body) VALUES (new.id, new.chat_id, new.body || ' instead'); RETURN new; END $$;
CREATE TRIGGER w INSTEAD OF INSERT ON w FOR EACH ROW EXECUTE FUNCTION w();
CREATE VIEW r AS SELECT id, body FROM t;
CREATE RULE r AS ON UPDATE TO r DO INSTEAD UPDATE t SET body = new.body || old.body WHERE id = old.id RETURNING id, body;
--: run
INSERT INTO w VALUES (92, 1, 'secret 92') RETURNING *; SELECT body FROM t WHERE id = 92;
UPDATE r SET body = 'secret rule ' WHERE id = 1 RETURNING *;

--: situation cursors: scrollable, WITH HOLD, binary, MOVE, and WHERE CURRENT OF
--: run
BEGIN;
DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, left(body, 9) FROM t WHERE id < 6 ORDER BY id;
DECLARE bin BINARY CURSOR FOR SELECT left(body, 3) FROM t WHERE id = 1;
DECLARE now CURSOR FOR SELECT * FROM t WHERE id < 4 FOR UPDATE;
FETCH 2 FROM held; MOVE 1 FROM now; FETCH 1 FROM now;
UPDATE t SET body = body || ' current' WHERE CURRENT OF now;
FETCH 1 FROM now;
DELETE FROM t WHERE CURRENT OF now;
COMMIT;
FETCH ALL FROM held;
FETCH BACKWARD ALL FROM held;
CLOSE held;
SELECT id, body FROM t WHERE id < 5 ORDER BY id;

--: situation a cursor does not see changes made after it was opened
--: run
BEGIN; DECLARE c INSENSITIVE CURSOR FOR SELECT id, body FROM t WHERE id < 5 ORDER BY id;
FETCH 1 FROM c; UPDATE t SET body = 'secret later'; FETCH ALL FROM c; ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT body FROM t WHERE id < 3 ORDER BY id;
DELETE FROM t;
FETCH ALL FROM c;
ROLLBACK;

--: situation SELECT FOR UPDATE, FOR SHARE, of some tables, NOWAIT and SKIP LOCKED
--: unordered
--: run
BEGIN;
SELECT * FROM t WHERE id = 1 FOR UPDATE;
SELECT body FROM t WHERE id = 2 FOR NO KEY UPDATE NOWAIT;
SELECT body FROM t WHERE id = 3 FOR SHARE;
SELECT t, c.topic FROM t JOIN chat AS c ON c.id = t.chat_id WHERE t.id = 4 FOR KEY SHARE OF t SKIP LOCKED;
SELECT id, body FROM t WHERE body LIKE 'secret%' ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED;
UPDATE t SET body = body || ' locked' WHERE id IN (SELECT id FROM t WHERE chat_id = 2 ORDER BY id LIMIT 2 FOR UPDATE) RETURNING id, body;
SELECT xmax <> 0, body FROM t WHERE id = 1;
COMMIT;

--: situation tables made from the table: CREATE TABLE AS, SELECT INTO, LIKE, temporary tables, materialized views
--: keeps
--: prepare
CREATE MATERIALIZED VIEW m AS SELECT chat_id, count(*) FROM t GROUP BY 1;
--: run
CREATE TABLE copy AS SELECT * FROM t; SELECT md5(string_agg(body, ',' ORDER BY id)) FROM copy;
SELECT id, body INTO TEMPORARY less FROM t WHERE id < 4; TABLE less;
CREATE TEMPORARY TABLE moved (LIKE t); INSERT INTO moved SELECT * FROM t WHERE id = 2; TABLE moved;
INSERT INTO t SELECT id + 50, chat_id, body FROM moved RETURNING *;
REFRESH MATERIALIZED VIEW m; SELECT * FROM m ORDER BY 1;
CREATE UNIQUE INDEX ON m (chat_id);
REFRESH MATERIALIZED VIEW CONCURRENTLY m;
SELECT count(*) FROM m;

--: situation rows of the table's type as values, in arrays and columns, and expanded again
--: unordered
--: keeps
--: prepare
CREATE TABLE archive (at int, message t);
--: run
INSERT INTO archive SELECT 1, t FROM t WHERE id < 4;
SELECT (message).body, (message).n FROM archive ORDER BY 1;
INSERT INTO t SELECT (message).id + 100, (message).chat_id, (message).body || ' back' FROM archive RETURNING body;
SELECT (jsonb_populate_record(t, '{"body": "secret json"}')).* FROM t WHERE id = 1;
SELECT (json_populate_record(NULL::t, row_to_json(t))).body FROM t WHERE id = 2;
SELECT u.body FROM unnest(ARRAY(SELECT t FROM t WHERE id < 3)) AS u ORDER BY 1;
INSERT INTO t SELECT (jsonb_populate_record(NULL::t, to_jsonb(t) || '{"id": 200}')).* FROM t WHERE id = 3 RETURNING *;
UPDATE t SET body = r.body FROM json_to_recordset('[{"id": 1, "body": "secret set"}]') AS r(id bigint, body text) WHERE r.id = t.id RETURNING t.body;
SELECT ROW(t.*, 1), ROW(body, n) FROM t WHERE id = 2;
SELECT (SELECT t FROM t WHERE id = 4) = (SELECT t FROM t WHERE id = 4);

--: situation EXPLAIN ANALYZE runs a statement, and its output shows no body
--: run
SET enable_seqscan = off; SET enable_bitmapscan = off;
BEGIN;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE t SET body = body || '!' WHERE id = 1;
SELECT body FROM t WHERE id = 1;
ROLLBACK;
EXPLAIN (VERBOSE, COSTS OFF) SELECT body, t FROM t WHERE body = 'x';

--: situation a foreign table of the same server reads and writes the table
--: as postgres
--: prepare
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
DROP SERVER IF EXISTS self CASCADE;
DO $$ BEGIN EXECUTE format('CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()); END $$;
CREATE USER MAPPING FOR postgres SERVER self OPTIONS (user 'postgres');
CREATE FOREIGN TABLE app.f (id bigint, chat_id bigint, body text, n integer, tag text) SERVER self OPTIONS (schema_name 'app', table_name 't');
--: run
SELECT id, left(body, 9) FROM app.f WHERE id < 12 ORDER BY id;
SELECT id FROM app.f WHERE body = 'secret 3';
INSERT INTO app.f VALUES (77, 1, 'secret 77', 1, NULL) RETURNING *;
UPDATE app.f SET body = body || '!' WHERE id IN (1, 77) RETURNING id, body;
DELETE FROM app.f WHERE body = 'secret 2' RETURNING *;
SELECT id, left(body, 9) FROM app.t ORDER BY id;
