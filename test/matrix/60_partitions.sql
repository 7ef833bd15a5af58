-- Partitioned tables and inheritance.

--: situation partitions by range: rows are routed, moved, updated and found
--: refused It is partitioned
--: unordered
--: empty
--: protect p(body chat_id id)
--: prepare
CREATE TABLE p (id bigint, chat_id bigint NOT NULL, body text, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE p2 (day date NOT NULL, body text, id bigint NOT NULL, chat_id bigint NOT NULL);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE p3 PARTITION OF p DEFAULT;
--: rows
INSERT INTO p SELECT i, 1 + i % 3, 'secret ' || i, date '2026-01-01' + (i * 9)::int FROM generate_series(1, 10) AS i;
--: later
UPDATE p SET body = body || '' WHERE id % 2 = 0;
--: run
SELECT tableoid::regclass, * FROM p ORDER BY id; SELECT id, body FROM p2 ORDER BY id;
INSERT INTO p VALUES (20, 1, 'secret 20', '2026-01-05'), (21, 2, 'secret 21', '2026-02-05'), (22, 3, 'secret 22', '2030-01-01') RETURNING tableoid::regclass, *, p;
UPDATE p SET day = '2026-02-10' WHERE id = 1 RETURNING tableoid::regclass, *;
UPDATE p SET day = '2026-01-10', body = body || ' moved' WHERE id = 21 RETURNING tableoid::regclass, *;
UPDATE p SET body = body || '!' WHERE day < '2026-02-01' RETURNING id, body;
INSERT INTO p VALUES (2, 1, 'secret up', '2026-01-19') ON CONFLICT (id, day) DO UPDATE SET body = p.body || excluded.body RETURNING *;
DELETE FROM p WHERE body LIKE '%2' RETURNING id, body;
SELECT p FROM p WHERE id = 5;
SELECT count(*), count(body) FROM p;
MERGE INTO p USING (VALUES (5, 'secret merged'), (30, 'secret 30')) AS s(id, body) ON p.id = s.id WHEN MATCHED THEN UPDATE SET body = s.body, day = '2026-02-20' WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, s.body, '2026-01-20');
COPY p FROM stdin;
40	1	secret 40	2026-01-02
41	1	secret 41	2026-02-02
\.
SELECT tableoid::regclass, * FROM p ORDER BY id;

--: situation partition-wise aggregates and joins, pruning, and ordered append
--: refused It is partitioned
--: unordered
--: empty
--: protect p(body chat_id id)
--: prepare
CREATE TABLE p (id bigint, chat_id bigint NOT NULL, body text, PRIMARY KEY (id, chat_id)) PARTITION BY LIST (chat_id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
--: rows
INSERT INTO p SELECT i, 1 + i % 3, 'secret ' || i FROM generate_series(1, 12) AS i;
--: later
UPDATE p SET body = body || '' WHERE id % 2 = 0;
--: run
SET enable_partitionwise_aggregate = on; SET enable_partitionwise_join = on;
SELECT chat_id, min(body), max(body) FROM p GROUP BY chat_id ORDER BY 1;
SELECT a.id, b.body FROM p AS a JOIN p AS b USING (chat_id, id) ORDER BY 1;
SELECT id, body FROM p ORDER BY id LIMIT 4; SELECT body FROM p WHERE chat_id = 2 ORDER BY 1;
UPDATE p SET chat_id = 1 + chat_id % 3 WHERE id < 4 RETURNING tableoid::regclass, *;
UPDATE p SET chat_id = 3, id = 99, body = 'secret 99' WHERE id = 5 RETURNING *;
SELECT tableoid::regclass, * FROM p ORDER BY id;

--: situation partitions of partitions, by hash, with triggers on the root
--: refused It is partitioned
--: unordered
--: empty
--: protect p(body chat_id id)
--: prepare
CREATE TABLE p (id bigint, chat_id bigint NOT NULL, body text, PRIMARY KEY (id, chat_id)) PARTITION BY LIST (chat_id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 2) PARTITION BY HASH (id);
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
CREATE TABLE p10 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p11 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % % %', TG_TABLE_NAME, TG_OP, old.body, new.body; RETURN coalesce(new, old); END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION tell();
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := new.body || '*'; RETURN new; END $$;
CREATE TRIGGER mark BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION mark();
--: rows
INSERT INTO p SELECT i, 1 + i % 3, 'secret ' || i FROM generate_series(1, 9) AS i;
--: run
INSERT INTO p VALUES (20, 1, 'secret 20'), (21, 3, 'secret 21');
UPDATE p SET body = body || '!' WHERE id IN (1, 2);
UPDATE p SET chat_id = 3 WHERE id = 3;
DELETE FROM p WHERE id IN (4, 5);
SELECT tableoid::regclass, * FROM p ORDER BY id;

--: situation a partition that is created later gets rows, and is detached and attached again
--: refused It is partitioned
--: unordered
--: empty
--: protect p(body chat_id id)
--: prepare
CREATE TABLE p (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100);
--: rows
INSERT INTO p SELECT i, 1 + i % 3, 'secret ' || i FROM generate_series(1, 5) AS i;
--: run
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
INSERT INTO p VALUES (100, 1, 'secret 100') RETURNING *;
SELECT * FROM p2;
ALTER TABLE p DETACH PARTITION p2;
SELECT * FROM p2;
UPDATE p2 SET body = body || '!' RETURNING *;
INSERT INTO p2 VALUES (101, 2, 'secret 101');
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200);
SELECT * FROM p ORDER BY id;
CREATE TABLE p3 PARTITION OF p DEFAULT;
INSERT INTO p VALUES (500, 1, 'secret 500');
SELECT tableoid::regclass, body FROM p WHERE id = 500;
DROP TABLE p3;

--: situation a row violates a partition's constraint
--: refused It is partitioned
--: empty
--: protect p(body chat_id id)
--: prepare
CREATE TABLE p (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100);
--: rows
INSERT INTO p VALUES (1, 1, 'secret 1');
--: raises 23514 23514 23514
--: run
INSERT INTO p VALUES (100, 1, 'secret 100');
UPDATE p SET id = 100 WHERE id = 1;
INSERT INTO p1 VALUES (100, 1, 'secret 100');
TABLE p;
