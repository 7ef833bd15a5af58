-- Writing: INSERT, UPDATE, DELETE, and what they return.

--: situation INSERT of one row, of many, and of the result of a query
--: run
INSERT INTO t (id, chat_id, body) VALUES (20, 1, 'secret twenty');
INSERT INTO t VALUES (21, 2, 'secret 21', 1, 'x'), (22, 3, NULL, 2, 'y'), (23, 1, '', 3, 'z');
INSERT INTO t (id, chat_id, body, n) SELECT id + 100, chat_id, body, n + 1 FROM t WHERE id < 11;
INSERT INTO t (body, chat_id, id) VALUES ('secret order', 2, 24);
SELECT id, left(body, 20), length(body), n FROM t WHERE id >= 20 ORDER BY id;
SELECT count(*), count(DISTINCT md5(body)) FROM t;

--: situation RETURNING of columns, expressions and whole rows
--: unordered
--: run
INSERT INTO t VALUES (30, 1, 'secret 30', 7, 'r') RETURNING *;
INSERT INTO t VALUES (31, 1, 'secret 31', 7, 'r'), (32, 2, NULL, 8, 's') RETURNING t;
INSERT INTO t VALUES (33, 1, 'secret 33') RETURNING id, body || '!', row_to_json(t), length(body), tableoid::regclass, xmax = 0, ctid IS NOT NULL, xmin::text = pg_current_xact_id()::text;
UPDATE t SET body = body || ' and more' WHERE id IN (30, 32) RETURNING id, body, n, xmax = 0;
UPDATE t SET n = n + 1 WHERE id = 33 RETURNING *, t;
DELETE FROM t WHERE id IN (30, 31) RETURNING body, t;
DELETE FROM t USING chat WHERE chat.id = t.chat_id AND t.id = 33 RETURNING t.body, chat.topic, t;

--: situation UPDATE of the body from itself, from other columns, and from a subquery
--: run
UPDATE t SET body = upper(body) WHERE id = 1;
UPDATE t SET body = body || ', again' WHERE id < 5;
UPDATE t SET body = s.body || ' of ' || t.id FROM t AS s WHERE s.id = t.id + 1 AND t.id BETWEEN 5 AND 6;
UPDATE t SET (body, n) = (SELECT 'secret of ' || topic, 77 FROM chat WHERE chat.id = t.chat_id) WHERE id = 7;
UPDATE t SET body = NULL WHERE id = 8;
UPDATE t SET body = 'secret again' WHERE body IS NULL;
UPDATE t SET body = DEFAULT WHERE id = 12;
SELECT id, left(body, 30), n FROM t ORDER BY id;

--: situation UPDATE of only other columns, by index scan, sequential scan and TID
--: run
UPDATE t SET n = n + 1;
UPDATE t SET tag = left(body, 9) WHERE id IN (2, 3);
UPDATE t SET tag = 'by place' WHERE ctid = (SELECT ctid FROM t WHERE id = 4);
UPDATE t SET n = DEFAULT WHERE body LIKE 'secret 5';
SELECT id, left(body, 20), n, tag FROM t ORDER BY id;
--: keeps

--: situation UPDATE of a row whose body is stored in the TOAST table
--: run
UPDATE t SET n = n + 1 WHERE id = 10;
UPDATE t SET body = body || 'x' WHERE id = 10 RETURNING md5(body), length(body);
UPDATE t SET body = long('other') WHERE id IN (1, 2, 10);
UPDATE t SET n = n + 1 WHERE id IN (1, 2, 10);
SELECT id, md5(body), length(body), n FROM t WHERE id IN (1, 2, 10) ORDER BY id;
UPDATE t SET body = 'secret and short' WHERE id IN (1, 10);
SELECT id, left(body, 20), length(body) FROM t WHERE id IN (1, 2, 10) ORDER BY id;

--: situation the chat of a message changes, and its id, and both with the body
--: unordered
--: run
UPDATE t SET chat_id = 1 + chat_id % 3 WHERE id < 5 RETURNING id, chat_id, body;
UPDATE t SET id = id + 1000 WHERE id > 7 RETURNING id, left(body, 20), length(body);
UPDATE t SET id = 500, chat_id = 2, body = body || ' moved' WHERE id = 2 RETURNING *;
UPDATE t SET id = 501, chat_id = 3, body = 'secret and new' WHERE id = 500 RETURNING *;
SELECT id, chat_id, left(body, 20), length(body) FROM t ORDER BY id;

--: situation bodies that are exchanged between rows
--: unordered
--: run
UPDATE t AS a SET body = b.body FROM t AS b WHERE (a.id, b.id) IN ((1, 2), (2, 1)) RETURNING a.id, a.body;
UPDATE t SET id = CASE id WHEN 3 THEN 403 ELSE 404 END WHERE id IN (3, 4) RETURNING id, body;
INSERT INTO t (id, chat_id, body) SELECT 600 + id, chat_id, body FROM t WHERE id = 10 RETURNING md5(body);
SELECT id, left(body, 20) FROM t ORDER BY id;

--: situation DELETE by a condition on the body, and of all rows
--: unordered
--: run
DELETE FROM t WHERE body = 'secret 3';
DELETE FROM t WHERE body LIKE 'secret %' AND id > 6 RETURNING id, body;
DELETE FROM t USING t AS o WHERE t.body = o.body AND o.id = 1 RETURNING t.id;
SELECT id FROM t ORDER BY id;
DELETE FROM t;
SELECT count(*) FROM t;
INSERT INTO t VALUES (1, 1, 'secret after all');
TABLE t;

--: situation TRUNCATE, also with CASCADE, and rolled back
--: prepare
CREATE TABLE reaction (message bigint REFERENCES t, emoji text);
--: rows
INSERT INTO reaction VALUES (1, ':)');
--: run
BEGIN;
TRUNCATE t CASCADE;
SELECT count(*) FROM t;
INSERT INTO t VALUES (1, 1, 'secret for now');
TABLE t;
ROLLBACK;
SELECT body FROM t WHERE id = 1;
TRUNCATE t, reaction;
INSERT INTO t VALUES (1, 1, 'secret after that');
TABLE t;

--: situation data-modifying CTEs
--: unordered
--: run
WITH gone AS (DELETE FROM t WHERE id < 4 RETURNING *) SELECT id, body FROM gone ORDER BY id;
WITH made AS (INSERT INTO t SELECT id + 200, chat_id, body || ' copied' FROM t WHERE id = 4 RETURNING id, body) SELECT * FROM made;
WITH moved AS (DELETE FROM t WHERE id = 5 RETURNING *) INSERT INTO t SELECT id + 300, 1 + chat_id % 3, body, n, tag FROM moved RETURNING *;
WITH up AS (UPDATE t SET body = body || '+' WHERE id IN (6, 7) RETURNING id, body) SELECT up.body AS new, t.body AS old FROM up JOIN t USING (id) ORDER BY 1;
SELECT id, left(body, 20) FROM t ORDER BY id;

--: situation a statement that fails changes nothing
--: raises 23505 23502 23503 22P02 22012
--: run
INSERT INTO t VALUES (70, 1, 'secret new'), (1, 1, 'secret double');
INSERT INTO t VALUES (71, NULL, 'secret without a chat');
INSERT INTO t VALUES (72, 99, 'secret of no chat');
INSERT INTO t VALUES ('x', 1, 'secret');
UPDATE t SET body = body || 1 / (id - 5) WHERE id < 9;
SELECT id, left(body, 20) FROM t ORDER BY id;

--: situation savepoints and exceptions
--: unordered
--: run
BEGIN;
INSERT INTO t VALUES (80, 1, 'secret kept');
SAVEPOINT s;
UPDATE t SET body = 'secret lost' WHERE id IN (1, 80);
SELECT id, body FROM t WHERE id IN (1, 80) ORDER BY id;
ROLLBACK TO s;
SELECT id, body FROM t WHERE id IN (1, 80) ORDER BY id;
UPDATE t SET body = body || ' then' WHERE id = 80;
RELEASE s;
SAVEPOINT s; DELETE FROM t WHERE id = 2; ROLLBACK TO s;
COMMIT;
DO $$ BEGIN INSERT INTO t VALUES (81, 1, 'secret 81'); INSERT INTO t VALUES (1, 1, 'secret twice');
EXCEPTION WHEN unique_violation THEN INSERT INTO t VALUES (82, 1, 'secret instead'); END $$;
SELECT id, left(body, 20) FROM t ORDER BY id;

--: situation a transaction that is rolled back, and a chain of transactions
--: run
BEGIN;
UPDATE t SET body = 'secret not to be';
INSERT INTO t VALUES (90, 1, 'secret neither');
SELECT count(*) FROM t WHERE body LIKE '%be';
ROLLBACK;
BEGIN;
UPDATE t SET body = 'secret one' WHERE id = 1;
COMMIT AND CHAIN;
UPDATE t SET body = 'secret two' WHERE id = 2;
ROLLBACK;
SELECT id, body FROM t WHERE id < 4 ORDER BY id;

--: situation the same row changed many times in one transaction
--: run
BEGIN;
UPDATE t SET body = 'secret 1.1' WHERE id = 1;
UPDATE t SET n = 1 WHERE id = 1;
UPDATE t SET body = body || '.2' WHERE id = 1;
UPDATE t SET chat_id = 3 WHERE id = 1;
UPDATE t SET body = NULL WHERE id = 1;
UPDATE t SET body = 'secret at last' WHERE id = 1;
SELECT * FROM t WHERE id = 1;
DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 2, 'secret reborn') RETURNING *;
COMMIT;
SELECT * FROM t WHERE id = 1;

--: situation two-phase commit
--: run
BEGIN;
INSERT INTO t VALUES (95, 1, 'secret prepared');
UPDATE t SET body = 'secret by two' WHERE id = 1;
PREPARE TRANSACTION 'matrix';
SELECT id, body FROM t WHERE id IN (1, 95) ORDER BY id;
COMMIT PREPARED 'matrix';
SELECT id, body FROM t WHERE id IN (1, 95) ORDER BY id;
BEGIN; DELETE FROM t WHERE id = 95; PREPARE TRANSACTION 'matrix'; ROLLBACK PREPARED 'matrix';
SELECT count(*) FROM t WHERE id = 95;

--: situation prepared statements, with custom and generic plans
--: run
SET plan_cache_mode = force_generic_plan;
PREPARE put(bigint, bigint, text) AS INSERT INTO t (id, chat_id, body) VALUES ($1, $2, $3) RETURNING *;
PREPARE get(bigint) AS SELECT body FROM t WHERE id = $1;
PREPARE change(bigint, text) AS UPDATE t SET body = body || $2 WHERE id = $1 RETURNING body;
PREPARE find(text) AS SELECT id FROM t WHERE body = $1 ORDER BY 1;
EXECUTE put(60, 1, 'secret 60');
EXECUTE put(61, 2, NULL);
EXECUTE get(60);
EXECUTE change(60, '!');
EXECUTE change(61, '!');
EXECUTE find('secret 60!');
SET plan_cache_mode = force_custom_plan;
EXECUTE put(62, 1, 'secret 62');
EXECUTE get(62);
EXECUTE change(62, '?');
EXECUTE find('secret 62?');

--: situation large objects of one statement: many rows at once
--: run
INSERT INTO t (id, chat_id, body) SELECT 1000 + i, 1 + i % 3, 'secret number ' || i FROM generate_series(1, 3000) AS i;
SELECT count(*), count(DISTINCT body), min(body), max(body) FROM t WHERE id > 1000;
UPDATE t SET body = body || '!' WHERE id > 1000 AND id % 3 = 0;
SELECT chat_id, count(*) FILTER (WHERE body LIKE '%!'), md5(string_agg(body, ',' ORDER BY id)) FROM t WHERE id > 1000 GROUP BY 1 ORDER BY 1;
DELETE FROM t WHERE id > 1000 AND body LIKE '%1';
SELECT count(*), sum(length(body)) FROM t WHERE id > 1000;

--: situation RETURNING old and new
--: since 18
--: run
UPDATE t SET body = body || ' new' WHERE id < 3 RETURNING old.body, new.body, old.*, new;
INSERT INTO t VALUES (50, 1, 'secret 50') RETURNING old.body, new.body;
DELETE FROM t WHERE id = 50 RETURNING old, new, old.body, new.body;
INSERT INTO t VALUES (1, 1, 'secret newest') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING old.body, new.body, old IS NULL;
UPDATE t SET chat_id = 3 WHERE id = 1 RETURNING WITH (OLD AS was, NEW AS now) was.chat_id, was.body, now.chat_id, now.body, body;
UPDATE t SET n = 3 WHERE id = 10 RETURNING md5(old.body), md5(new.body), old.n, new.n;

--: situation COPY in, in every format, with defaults and in another order
--: run
COPY t FROM stdin;
100	1	secret 100	1	a
101	2	\N	2	b
102	3		3	\N
\.
COPY t (body, id, chat_id) FROM stdin WITH (FORMAT csv, HEADER);
body,id,chat_id
"secret, ""quoted""",103,1
,104,2
"",105,3
\.
COPY t (id, chat_id, body) FROM stdin WHERE body <> 'secret 106';
106	1	secret 106
107	1	secret 107
\.
SELECT * FROM t WHERE id >= 100 ORDER BY id;

--: situation COPY out, of the table and of a query, in every format
--: run
COPY (SELECT * FROM t WHERE id < 10 ORDER BY id) TO stdout;
COPY (SELECT id, body FROM t WHERE id IN (1, 11, 12) ORDER BY id) TO stdout WITH (FORMAT csv, HEADER, FORCE_QUOTE *);
DELETE FROM t WHERE id <> 3;
COPY t TO stdout;
COPY t (body) TO stdout WITH (FORMAT csv);
COPY (UPDATE t SET body = body || '!' RETURNING body) TO stdout;

--: situation COPY through files, text and binary, and back
--: as postgres
--: run
CREATE TEMPORARY TABLE there (LIKE t);
COPY (SELECT * FROM t ORDER BY id) TO PROGRAM 'cat > matrix.copy' WITH (FORMAT binary);
DELETE FROM t;
COPY t FROM PROGRAM 'cat matrix.copy' WITH (FORMAT binary);
COPY t TO PROGRAM 'cat > matrix.copy' WITH (FORMAT csv, NULL '~');
COPY there FROM PROGRAM 'cat matrix.copy' WITH (FORMAT csv, NULL '~');
SELECT count(*) FROM t JOIN there USING (id) WHERE t.body IS NOT DISTINCT FROM there.body;
SELECT id, left(body, 20), length(body) FROM t ORDER BY id;

--: situation COPY in of thousands of rows, some of them long, and a COPY that fails
--: raises 23505
--: as postgres
--: run
COPY (SELECT 5000 + i, 1 + i % 3, CASE WHEN i % 500 = 0 THEN long(i::text) ELSE 'secret copied ' || i END, i, NULL FROM generate_series(1, 3000) AS i) TO PROGRAM 'cat > matrix.copy';
COPY t FROM PROGRAM 'cat matrix.copy';
SELECT count(*), md5(string_agg(body, ',' ORDER BY id)) FROM t WHERE id > 5000;
COPY t FROM PROGRAM 'cat matrix.copy';
SELECT count(*) FROM t;
