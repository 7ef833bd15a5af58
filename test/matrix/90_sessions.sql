-- Two sessions use the same row: one of them waits, or finds the row changed by the other.

--: situation an UPDATE waits and goes on from what the other wrote
--: in one
BEGIN; UPDATE t SET body = body || ' one' WHERE id = 1 RETURNING body
--: start two
UPDATE t SET body = body || ' two' WHERE id = 1 RETURNING body
--: in one
COMMIT
--: outcome two
--: in one
SELECT body FROM t WHERE id = 1

--: situation an UPDATE waits, and its condition on the body is no longer true
--: in one
BEGIN; UPDATE t SET body = 'secret else' WHERE id = 1 RETURNING body
--: start two
UPDATE t SET n = 99 WHERE id IN (1, 2) AND body LIKE 'secret _' RETURNING id, body
--: in one
COMMIT
--: outcome two
--: in one
SELECT id, body, n FROM t WHERE id < 3 ORDER BY id

--: situation an UPDATE waits for an UPDATE of another column, and evaluates its join again
--: in one
BEGIN; UPDATE t SET n = 1 WHERE id = 2; UPDATE t SET body = body || ' one' WHERE id = 3
--: start two
UPDATE t SET body = t.body || '+' || o.body FROM t AS o WHERE o.id = t.id + 1 AND t.id IN (2, 3) RETURNING t.id, t.body, t.n
--: in one
COMMIT
--: outcome two
--: in one
SELECT id, body FROM t WHERE id < 5 ORDER BY id

--: situation a DELETE waits for an UPDATE of the body, and checks its condition again
--: in one
BEGIN; UPDATE t SET body = 'secret kept' WHERE id = 1; UPDATE t SET n = 5 WHERE id = 2
--: start two
DELETE FROM t WHERE body IN ('secret 1', 'secret 2') RETURNING id, body, n
--: in one
COMMIT
--: outcome two
--: in one
SELECT id, left(body, 12) FROM t ORDER BY id

--: situation SELECT FOR UPDATE waits, and shows the new values, also of joined tables and whole rows
--: in one
BEGIN; UPDATE t SET body = 'secret newest', n = 3 WHERE id = 1
--: start two
SELECT t.id, t.body, t.n, c.topic, o.body, t FROM t JOIN chat AS c ON c.id = t.chat_id JOIN t AS o ON o.id = 2 WHERE t.id = 1 FOR UPDATE OF t
--: in one
COMMIT
--: outcome two

--: situation SELECT FOR UPDATE in a subquery or a CTE waits, and is joined
--: in one
BEGIN; UPDATE t SET body = body || ' one' WHERE id IN (1, 2)
--: start two
WITH locked AS (SELECT * FROM t WHERE id < 3 ORDER BY id FOR UPDATE) UPDATE t SET body = locked.body || ' two' FROM locked WHERE locked.id = t.id RETURNING t.id, t.body, locked.body
--: in one
COMMIT
--: outcome two

--: situation SKIP LOCKED skips a row, and NOWAIT fails at once
--: in one
BEGIN; UPDATE t SET body = 'secret locked' WHERE id = 1
--: in two
SELECT id, body FROM t WHERE id < 4 ORDER BY id FOR UPDATE SKIP LOCKED
--: in two
SELECT id, body FROM t WHERE id = 1 FOR UPDATE NOWAIT
--: in two
SELECT id, body FROM t WHERE id = 1
--: raises 55P03
--: in one
ROLLBACK

--: situation two sessions take jobs from a queue
--: in one
BEGIN; DELETE FROM t WHERE id = (SELECT id FROM t WHERE body LIKE 'secret%' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, body
--: in two
BEGIN; DELETE FROM t WHERE id = (SELECT id FROM t WHERE body LIKE 'secret%' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, body
--: in one
COMMIT
--: in two
COMMIT
--: in one
SELECT id FROM t ORDER BY id

--: situation two upserts of a new row
--: in one
BEGIN; INSERT INTO t VALUES (50, 1, 'secret one') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING body, xmax = 0
--: start two
INSERT INTO t VALUES (50, 1, ', secret two') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING body, xmax = 0
--: in one
COMMIT
--: outcome two

--: situation an upsert waits for an insert that is rolled back, and another waits for a delete
--: in one
BEGIN; INSERT INTO t VALUES (51, 1, 'secret undone'); DELETE FROM t WHERE id = 1
--: start two
INSERT INTO t VALUES (51, 1, 'secret two') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING body
--: in one
ROLLBACK
--: outcome two
--: in one
BEGIN; DELETE FROM t WHERE id = 1
--: start two
INSERT INTO t VALUES (1, 2, 'secret reborn') ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING body
--: in one
COMMIT
--: outcome two

--: situation an upsert waits for an update, and its condition is checked on the new body
--: in one
BEGIN; UPDATE t SET body = 'secret same' WHERE id = 1
--: start two
INSERT INTO t VALUES (1, 2, 'secret same') ON CONFLICT (id) DO UPDATE SET body = excluded.body, n = -1 WHERE t.body IS DISTINCT FROM excluded.body RETURNING body
--: in one
COMMIT
--: outcome two
--: in one
SELECT body, n FROM t WHERE id = 1

--: situation DO NOTHING waits for an insert
--: in one
BEGIN; INSERT INTO t VALUES (52, 1, 'secret first')
--: start two
INSERT INTO t VALUES (52, 1, 'secret second') ON CONFLICT DO NOTHING RETURNING body
--: in one
COMMIT
--: outcome two
--: in two
SELECT body FROM t WHERE id = 52

--: situation a unique violation after a wait
--: raises 23505
--: in one
BEGIN; INSERT INTO t VALUES (53, 1, 'secret first')
--: start two
INSERT INTO t VALUES (53, 1, 'secret second')
--: in one
COMMIT
--: outcome two

--: situation MERGE waits for an UPDATE of the body, and chooses its action again
--: in one
BEGIN; UPDATE t SET body = 'secret to go' WHERE id = 1; UPDATE t SET body = body || '!' WHERE id = 2
--: start two
MERGE INTO t USING (VALUES (1), (2)) AS s(id) ON t.id = s.id WHEN MATCHED AND t.body LIKE '%go' THEN DELETE WHEN MATCHED THEN UPDATE SET body = t.body || ' merged'
--: in one
COMMIT
--: outcome two
--: in one
SELECT id, body FROM t WHERE id < 4 ORDER BY id

--: situation a row is moved to another chat or deleted while another session waits for it
--: in one
BEGIN; UPDATE t SET chat_id = 3 WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET id = 303 WHERE id = 3
--: start two
UPDATE t SET body = body || ' two' WHERE id < 5 RETURNING id, chat_id, body
--: in one
COMMIT
--: outcome two
--: in one
SELECT id, chat_id, left(body, 12) FROM t ORDER BY id

--: situation EvalPlanQual with a view, a subquery on the same table, and an expression of the body
--: prepare
CREATE VIEW v AS SELECT id, upper(body) AS loud, body FROM t;
--: in one
BEGIN; UPDATE t SET body = body || ' one' WHERE id = 1
--: start two
UPDATE v SET body = v.loud || (SELECT max(o.body) FROM t AS o WHERE o.id = 2) WHERE id = 1 AND loud LIKE 'SECRET%' RETURNING body, loud
--: in one
COMMIT
--: outcome two

--: situation EvalPlanQual with BEFORE triggers that read both rows
--: prepare
CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.tag := old.body || '>' || new.body; RETURN new; END $$;
CREATE TRIGGER trace BEFORE UPDATE ON t FOR EACH ROW WHEN (old.body IS DISTINCT FROM new.body) EXECUTE FUNCTION trace();
--: keeps
--: in one
BEGIN; UPDATE t SET body = body || ' one' WHERE id = 1
--: start two
UPDATE t SET body = body || ' two' WHERE id = 1 RETURNING body, tag
--: in one
COMMIT
--: outcome two

--: situation EvalPlanQual with long bodies, old and new
--: in one
BEGIN; UPDATE t SET body = long('one') WHERE id = 1; UPDATE t SET n = 7 WHERE id = 10
--: start two
UPDATE t SET body = body || '!' WHERE id IN (1, 10) RETURNING id, md5(body), length(body), n
--: in one
COMMIT
--: outcome two

--: situation REPEATABLE READ and SERIALIZABLE fail as on any table
--: raises 40001 40001
--: in one
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT body FROM t WHERE id = 1
--: in two
UPDATE t SET body = 'secret two' WHERE id = 1 RETURNING body
--: in one
SELECT body FROM t WHERE id = 1
--: in one
UPDATE t SET body = body || ' one' WHERE id = 1
--: in one
ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t WHERE body LIKE 'secret%'
--: in two
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t WHERE body LIKE 'secret%'
--: in two
INSERT INTO t VALUES (54, 1, 'secret 54'); COMMIT
--: in one
INSERT INTO t VALUES (55, 1, 'secret 55'); COMMIT
--: in one
ROLLBACK; SELECT id FROM t WHERE id > 50

--: situation an old snapshot sees the old bodies, also after a VACUUM
--: in one
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t
--: in two
UPDATE t SET body = body || ' new'; DELETE FROM t WHERE id = 5
--: in two
VACUUM t
--: in one
SELECT id, left(body, 15), md5(body) FROM t ORDER BY id
--: in one
COMMIT
--: in one
SELECT id, left(body, 15), md5(body) FROM t ORDER BY id

--: situation a deadlock cancels one of two transactions, and the other goes on
--: raises 40P01
--: in one
SET deadlock_timeout = '10s'
--: as postgres
--: in one
BEGIN; UPDATE app.t SET body = 'secret one' WHERE id = 1
--: in two
SET deadlock_timeout = '200ms'
--: in two
BEGIN; UPDATE app.t SET body = 'secret two' WHERE id = 2
--: start one
UPDATE app.t SET body = 'secret one' WHERE id = 2
--: in two
UPDATE app.t SET body = 'secret two' WHERE id = 1
--: in two
ROLLBACK
--: outcome one
--: in one
COMMIT
--: in one
SELECT body FROM app.t WHERE id < 3 ORDER BY id
