-- Plans and maintenance of tables: every way to reach a row, and every way to rewrite a table.

--: situation bitmap, index and index-only scans
--: unordered
--: run
SET enable_seqscan = off; SET enable_indexscan = off;
SELECT id, left(body, 9) FROM t WHERE chat_id = 2 ORDER BY id;
SELECT count(body) FROM t WHERE chat_id = 1 OR id = 3;
SELECT id FROM t WHERE chat_id = 2 AND body LIKE '%4';
SET enable_indexscan = on; SET enable_bitmapscan = off;
SELECT body FROM t WHERE id = 4;
SELECT id, left(body, 9) FROM t WHERE chat_id = 3 ORDER BY id DESC;
SELECT chat_id, id FROM t WHERE chat_id = 1 ORDER BY id;
SELECT body FROM t WHERE id IN (1, 5) ORDER BY id;
UPDATE t SET body = body || '!' WHERE id = 4 RETURNING body;
DELETE FROM t WHERE chat_id = 3 AND id = 5 RETURNING body;

--: situation a lossy bitmap over many pages
--: rows
INSERT INTO t SELECT i, 1 + i % 3, 'secret ' || i, i, NULL FROM generate_series(101, 9000) AS i;
ANALYZE t;
--: run
SET enable_seqscan = off;
SET enable_indexscan = off;
SET work_mem = '64kB';
SELECT count(body), md5(string_agg(body, ',' ORDER BY id)) FROM t WHERE chat_id = 2 AND body LIKE '%7%';
SELECT count(*) FROM t WHERE chat_id IN (1, 3) AND length(body) = 11;

--: situation parallel plans: sequential and index scans, joins, aggregates and Gather
--: rows
INSERT INTO t SELECT i, 1 + i % 3, 'secret ' || i, i, NULL FROM generate_series(101, 3000) AS i;
ANALYZE t;
--: run
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET min_parallel_index_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT count(body), min(body), max(body) FROM t WHERE id < 9 OR id > 100;
SELECT id, left(body, 12) FROM t WHERE body LIKE '%99' ORDER BY id;
SELECT chat_id, md5(string_agg(body, ',' ORDER BY id)) FROM t GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM t AS a JOIN t AS b ON a.body = b.body;
SET enable_hashjoin = off;
SELECT count(*) FROM t AS a JOIN t AS b ON a.body = b.body;
SET enable_seqscan = off;
SELECT count(body) FROM t WHERE id BETWEEN 50 AND 2000;
SELECT t FROM t WHERE id < 4 AND length(body) > 3 ORDER BY id;
CREATE TABLE made AS SELECT id, body FROM t; SELECT count(*) FROM made;
--: keeps

--: situation parallel plans, forced for all statements
--: unordered
--: run
SELECT set_config(name, CASE WHEN name = 'debug_parallel_query' THEN 'regress' ELSE 'regress' END, false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT id, left(body, 9), n FROM t ORDER BY id;
SELECT t FROM t WHERE id = 2;
SELECT id FROM t WHERE body = 'secret 5';
SELECT count(DISTINCT body) FROM t;
SELECT md5(body) FROM t WHERE id = 10;
INSERT INTO t VALUES (20, 1, 'secret 20') RETURNING *;
UPDATE t SET body = body || '!' WHERE body LIKE '%7' RETURNING *;

--: situation JIT compilation, forced for all statements
--: run
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
SELECT id, left(body, 9), n, tag FROM t ORDER BY id;
SELECT sum(n), count(body), max(tag) FROM t;
SELECT id FROM t WHERE body LIKE 'secret%' AND n > 20 ORDER BY id;
SELECT a.id, b.body FROM t AS a JOIN t AS b ON a.body = b.body WHERE a.id < 4 ORDER BY 1;
SELECT t FROM t WHERE id = 3;
INSERT INTO t VALUES (20, 1, 'secret 20') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING *;
INSERT INTO t VALUES (20, 1, '!') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING *, xmax = 0;
UPDATE t SET body = upper(body) WHERE id < 3 RETURNING *;

--: situation VACUUM, also with FREEZE, with FULL and after deletes, and ANALYZE
--: run
DELETE FROM t WHERE id = 3;
UPDATE t SET body = body || '!' WHERE id < 5;
VACUUM t;
SELECT id, left(body, 12) FROM t ORDER BY id;
VACUUM (FREEZE, ANALYZE) t;
SELECT id, left(body, 12) FROM t ORDER BY id;
VACUUM FULL t;
SELECT id, left(body, 12), md5(body) FROM t ORDER BY id;
ANALYZE t (n, tag);
UPDATE t SET body = body || '?' WHERE id = 1 RETURNING body;
SELECT reltuples FROM pg_class WHERE oid = 't'::regclass;

--: situation statistics of other columns
--: run
ANALYZE t;
SELECT attname, null_frac FROM pg_stats WHERE schemaname = 'app' AND tablename = 't' AND attname <> 'body' ORDER BY 1;

--: situation CLUSTER, REINDEX, and indexes of every kind on other columns
--: run
CREATE INDEX t_tag ON t (tag);
CREATE INDEX t_brin ON t USING brin (n);
CREATE INDEX t_hash ON t USING hash (tag);
CREATE INDEX t_expression ON t ((n * 2));
CREATE INDEX t_partial ON t (n) WHERE chat_id = 1;
CREATE INDEX t_include ON t (n) INCLUDE (tag);
CREATE INDEX CONCURRENTLY t_conc ON t (n DESC);
CREATE UNIQUE INDEX CONCURRENTLY t_unique ON t (n, id);
CLUSTER t USING t_tag;
SELECT id, left(body, 9) FROM t ORDER BY id;
REINDEX TABLE t;
REINDEX INDEX CONCURRENTLY t_conc;
REINDEX TABLE CONCURRENTLY t;
SET enable_seqscan = off;
SELECT id, left(body, 9) FROM t WHERE tag = 'tag 1' ORDER BY id;
SELECT body FROM t WHERE n * 2 = 40;
SELECT id, left(body, 9) FROM t WHERE n = 30 AND chat_id = 1;
SELECT left(body, 9) FROM t WHERE n BETWEEN 20 AND 40 ORDER BY id;
INSERT INTO t VALUES (20, 1, 'secret 20', 20, 'tag 1') RETURNING *;
UPDATE t SET n = 21 WHERE id = 20 RETURNING body;
SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 't'::regclass ORDER BY indexrelid::regclass::text;

--: situation ALTER TABLE that rewrites all rows
--: run
ALTER TABLE t ALTER n TYPE bigint;
SELECT id, left(body, 9), n FROM t ORDER BY id;
ALTER TABLE t ADD COLUMN r double precision NOT NULL DEFAULT random();
SELECT count(*), count(body), md5(max(body)) FROM t WHERE r >= 0;
ALTER TABLE t ALTER tag TYPE varchar(30), ADD COLUMN s serial;
SELECT id, left(body, 9), tag FROM t ORDER BY id;
ALTER TABLE t ADD COLUMN g bigint GENERATED ALWAYS AS (n + 1) STORED;
UPDATE t SET body = body || '!' WHERE id = 1 RETURNING body, g;
INSERT INTO t (id, chat_id, body) VALUES (20, 1, 'secret 20') RETURNING body, g;

--: situation ALTER TABLE that rewrites no row: columns, names, defaults, and a schema
--: run
ALTER TABLE t ADD COLUMN extra text DEFAULT 'fast';
ALTER TABLE t DROP COLUMN n;
SELECT * FROM t WHERE id < 4 ORDER BY id;
ALTER TABLE t ADD COLUMN n int;
UPDATE t SET body = body || '!' WHERE id = 1 RETURNING *;
ALTER TABLE t RENAME TO messages;
ALTER TABLE messages RENAME body TO text;
ALTER TABLE messages RENAME chat_id TO chat;
INSERT INTO messages (id, chat, text) VALUES (20, 1, 'secret 20') RETURNING *;
SELECT id, left(text, 9) FROM messages ORDER BY id;
ALTER TABLE messages RENAME TO t;
ALTER TABLE t RENAME text TO body;
ALTER TABLE t RENAME chat TO chat_id;
SELECT body FROM t WHERE id = 20;

--: situation storage parameters, a tablespace, and ALTER TABLE while a cursor is open
--: raises 55006
--: run
ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = off);
ALTER TABLE t SET TABLESPACE pg_default;
VACUUM FULL t;
SELECT id, left(body, 9), md5(body) FROM t ORDER BY id;
BEGIN;
LOCK TABLE t;
DECLARE c CURSOR FOR SELECT * FROM t;
FETCH 1 FROM c \gset row_
ALTER TABLE t ADD COLUMN z int;
ROLLBACK;
ALTER TABLE t ADD COLUMN z int;
SELECT count(*) FROM t WHERE z IS NULL;

--: situation dropped columns before the body, and rows from before and after the drop
--: unordered
--: prepare
ALTER TABLE t ADD COLUMN late int DEFAULT 5;
CREATE TABLE d (gone int, id bigint PRIMARY KEY, gone2 text, chat_id bigint NOT NULL, body text, after int);
ALTER TABLE d DROP COLUMN gone;
--: protect t(body chat_id id) d(body chat_id id)
--: rows
INSERT INTO d SELECT i, 'x', 1, 'secret ' || i, i FROM generate_series(1, 4) AS i;
--: run
ALTER TABLE d DROP COLUMN gone2;
INSERT INTO d VALUES (5, 2, 'secret 5', 5) RETURNING *;
SELECT * FROM d ORDER BY id;
UPDATE d SET body = body || '!' RETURNING id, body;
SELECT d FROM d ORDER BY id;
SELECT id, late FROM t WHERE id < 3 ORDER BY id;

--: situation a table without a key, and one whose key is deferred
--: unordered
--: empty
--: protect h(body chat_id id)
--: prepare
CREATE TABLE h (id bigint NOT NULL, chat_id bigint NOT NULL, body text, CONSTRAINT h_key UNIQUE (id) DEFERRABLE INITIALLY DEFERRED);
--: rows
INSERT INTO h SELECT i, 1, 'secret ' || i FROM generate_series(1, 5) AS i;
--: run
BEGIN;
UPDATE h SET id = id + 1 RETURNING id, body;
INSERT INTO h VALUES (3, 1, 'secret double');
DELETE FROM h WHERE body = 'secret double';
COMMIT;
SELECT * FROM h ORDER BY id;
UPDATE h SET id = 100 + id WHERE body = 'secret 3' RETURNING *;

--: situation extended statistics on other columns, and the estimates of a query
--: run
CREATE STATISTICS st ON chat_id, tag FROM t;
ANALYZE t;
SELECT count(*) FROM t WHERE chat_id = 1 AND tag = 'tag 1';
SELECT count(*) FROM t WHERE body = 'secret 1' AND tag = 'tag 1';

--: situation COMMENT, SECURITY BARRIER, temporary triggers off, and session_replication_role
--: as postgres
--: prepare
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', new.body; RETURN new; END $$;
CREATE TRIGGER tell BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tell();
--: run
COMMENT ON COLUMN t.body IS 'what is said';
UPDATE t SET body = body || '!' WHERE id = 1;
ALTER TABLE t DISABLE TRIGGER tell;
UPDATE t SET body = body || '!' WHERE id = 1;
ALTER TABLE t ENABLE TRIGGER tell;
SET session_replication_role = replica;
UPDATE t SET body = body || '!' WHERE id = 1 RETURNING body;
