-- ON CONFLICT and MERGE.

--: situation ON CONFLICT DO NOTHING, with a target and without
--: run
INSERT INTO t VALUES (1, 1, 'secret again'), (40, 1, 'secret 40') ON CONFLICT DO NOTHING RETURNING id, body;
INSERT INTO t VALUES (1, 1, 'secret again'), (41, 1, 'secret 41') ON CONFLICT (id) DO NOTHING RETURNING id, body;
INSERT INTO t VALUES (2, 1, 'secret again') ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING;
INSERT INTO t VALUES (42, 1, 'secret 42'), (42, 1, 'secret 42 twice') ON CONFLICT DO NOTHING RETURNING body;
SELECT id, left(body, 20) FROM t ORDER BY id;

--: situation ON CONFLICT DO UPDATE takes the row's body, the new one, and both
--: unordered
--: run
INSERT INTO t VALUES (1, 2, 'secret new') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *;
INSERT INTO t VALUES (2, 2, 'secret new') ON CONFLICT (id) DO UPDATE SET body = t.body || ', ' || excluded.body RETURNING *;
INSERT INTO t VALUES (3, 3, 'secret new') ON CONFLICT (id) DO UPDATE SET chat_id = excluded.chat_id RETURNING *;
INSERT INTO t VALUES (4, 1, 'secret new') ON CONFLICT (id) DO UPDATE SET n = t.n + 1 RETURNING *;
INSERT INTO t VALUES (5, 1, NULL) ON CONFLICT (id) DO UPDATE SET body = coalesce(excluded.body, t.body || ' kept'), chat_id = excluded.chat_id RETURNING *;
INSERT INTO t VALUES (6, 1, 'secret new') ON CONFLICT (id) DO UPDATE SET id = 606, body = excluded.body RETURNING *;
INSERT INTO t VALUES (7, 1, 'secret new') ON CONFLICT (id) DO UPDATE SET (body, n) = (SELECT excluded.body || t.body, 5) RETURNING *;
INSERT INTO t VALUES (8, 1, 'secret new') ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET body = EXCLUDED.body WHERE false RETURNING *;
INSERT INTO t SELECT id, chat_id, body || ' by query' FROM t WHERE id IN (1, 2) ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *;
SELECT id, chat_id, left(body, 30), n FROM t ORDER BY id;

--: situation ON CONFLICT DO UPDATE only where the body differs
--: unordered
--: run
INSERT INTO t VALUES (1, 2, 'secret 1'), (2, 3, 'secret 2 differs') ON CONFLICT (id) DO UPDATE SET body = excluded.body, n = t.n + 1 WHERE t.body IS DISTINCT FROM excluded.body RETURNING *;
INSERT INTO t VALUES (1, 2, 'secret 1'), (2, 3, 'secret 3') ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE t.body LIKE '%differs' RETURNING *;
SELECT id, body, n FROM t WHERE id < 3 ORDER BY id;

--: situation ON CONFLICT shows by xmax which rows were inserted
--: run
INSERT INTO t VALUES (1, 2, 'secret new'), (45, 1, 'secret 45') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING id, body, (xmax = 0) AS inserted;
INSERT INTO t VALUES (46, 1, 'secret 46') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING (xmax = 0) AS inserted, t.*, t;

--: situation ON CONFLICT with the first message of a chat
--: run
INSERT INTO chat VALUES (801, 'topic 801'), (802, 'topic 802');
BEGIN;
INSERT INTO t VALUES (50, 801, 'secret 50'), (50, 802, 'secret 50 twice') ON CONFLICT DO NOTHING RETURNING id, body;
INSERT INTO t VALUES (51, 802, 'secret 51') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *;
SELECT count(*) FROM pg_locks WHERE locktype = 'spectoken' AND pid = pg_backend_pid();
COMMIT;
SELECT id, chat_id, body FROM t WHERE id > 49 ORDER BY id;

--: situation ON CONFLICT with other unique indexes: on expressions, partial, and on two columns
--: prepare
CREATE UNIQUE INDEX t_by_tag ON t (chat_id, lower(tag)) WHERE n > 200;
CREATE UNIQUE INDEX t_by_n ON t (n);
--: run
INSERT INTO t VALUES (60, 1, 'secret 60', 300, 'Tag') ON CONFLICT (chat_id, lower(tag)) WHERE n > 200 DO UPDATE SET body = excluded.body RETURNING *;
INSERT INTO t VALUES (61, 1, 'secret 61', 301, 'TAG') ON CONFLICT (chat_id, lower(tag)) WHERE n > 200 DO UPDATE SET body = t.body || excluded.body RETURNING *;
INSERT INTO t VALUES (62, 1, 'secret 62', 10, 'x') ON CONFLICT (n) DO UPDATE SET body = excluded.body RETURNING *;
INSERT INTO t VALUES (63, 1, 'secret 63', 20, 'x') ON CONFLICT DO NOTHING RETURNING *;

--: situation ON CONFLICT affects the same row twice
--: raises 21000 23505
--: run
INSERT INTO t VALUES (1, 1, 'secret one'), (1, 1, 'secret two') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO t VALUES (1, 1, 'secret'), (47, 1, 'secret 47') ON CONFLICT (id) DO UPDATE SET id = 2, body = excluded.body;
SELECT id, body FROM t WHERE id IN (1, 2, 47) ORDER BY id;

--: situation ON CONFLICT with long bodies on either side
--: run
INSERT INTO t VALUES (10, 2, long('new')) ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING md5(body);
INSERT INTO t VALUES (10, 2, 'secret and short') ON CONFLICT (id) DO UPDATE SET n = t.n + 1 RETURNING md5(body), n;
INSERT INTO t VALUES (1, 2, long('long')) ON CONFLICT (id) DO UPDATE SET body = t.body || excluded.body RETURNING md5(body), length(body);
INSERT INTO t VALUES (10, 3, 'secret') ON CONFLICT (id) DO UPDATE SET chat_id = excluded.chat_id RETURNING md5(body), chat_id;
SELECT id, md5(body) FROM t WHERE id IN (1, 10) ORDER BY id;

--: situation ON CONFLICT through a view, and in plpgsql
--: prepare
CREATE VIEW v AS SELECT id, chat_id, body AS text FROM t WHERE chat_id < 3;
CREATE FUNCTION put(i bigint, c bigint, b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r t; BEGIN
	INSERT INTO t AS target (id, chat_id, body) VALUES (i, c, b) ON CONFLICT (id) DO UPDATE SET body = target.body || excluded.body RETURNING * INTO r;
	RETURN r.body; END $$;
--: run
INSERT INTO v VALUES (1, 1, 'secret by view') ON CONFLICT (id) DO UPDATE SET text = v.text || excluded.text RETURNING *;
INSERT INTO v VALUES (48, 1, 'secret by view') ON CONFLICT (id) DO NOTHING RETURNING *;
SELECT put(1, 1, '!'), put(49, 1, 'secret 49'), put(49, 1, '!');

--: situation MERGE: all its actions, in one statement
--: run
MERGE INTO t USING (VALUES (1, 'secret new'), (2, NULL), (3, 'secret to go'), (70, 'secret 70'), (71, NULL)) AS s(id, body) ON t.id = s.id
WHEN MATCHED AND s.body IS NULL THEN UPDATE SET body = t.body || ' merged'
WHEN MATCHED AND s.body LIKE '%go' THEN DELETE
WHEN MATCHED AND t.body <> s.body THEN UPDATE SET body = s.body, n = t.n + 1
WHEN NOT MATCHED AND s.body IS NULL THEN DO NOTHING
WHEN NOT MATCHED THEN INSERT (id, chat_id, body) VALUES (s.id, 1, s.body);
SELECT id, left(body, 30), n FROM t ORDER BY id;

--: situation MERGE on the body, from the table itself, and with another chat
--: run
MERGE INTO t USING t AS s ON t.body = s.body AND s.id < 4 WHEN MATCHED THEN UPDATE SET body = s.body || '=' || t.body;
MERGE INTO t USING t AS s ON t.id = s.id + 100 WHEN NOT MATCHED AND s.id < 4 THEN INSERT VALUES (s.id + 100, s.chat_id, s.body, s.n, 'merged');
MERGE INTO t USING chat AS c ON t.chat_id = c.id AND t.id = 5 WHEN MATCHED THEN UPDATE SET chat_id = 1 + t.chat_id % 3;
SELECT id, chat_id, left(body, 30), tag FROM t ORDER BY id;

--: situation MERGE that affects a row twice, or violates a constraint
--: raises 21000 23505
--: run
MERGE INTO t USING (VALUES (1), (1)) AS s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET body = 'secret twice';
MERGE INTO t USING (VALUES (1)) AS s(id) ON t.id = s.id + 1000 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, 'secret');
SELECT body FROM t WHERE id = 1;

--: situation MERGE RETURNING, NOT MATCHED BY SOURCE, and on a view
--: since 17
--: prepare
CREATE VIEW v AS SELECT id, chat_id, body AS text FROM t WHERE chat_id < 3;
--: run
WITH m AS (MERGE INTO t USING (VALUES (1, 'secret new'), (2, 'secret gone'), (70, 'secret 70')) AS s(id, body) ON t.id = s.id
	WHEN MATCHED AND s.body LIKE '%gone' THEN DELETE WHEN MATCHED THEN UPDATE SET body = s.body || t.body
	WHEN NOT MATCHED THEN INSERT (id, chat_id, body) VALUES (s.id, 1, s.body)
	RETURNING merge_action(), t.*, s.body AS given) SELECT * FROM m ORDER BY id;
MERGE INTO t USING (VALUES (3)) AS s(id) ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND t.id > 9 THEN UPDATE SET body = 'secret without source' WHEN MATCHED THEN DO NOTHING;
MERGE INTO v USING (VALUES (4, 'secret by view'), (6, 'secret by view'), (72, 'secret 72')) AS s(id, text) ON v.id = s.id
	WHEN MATCHED THEN UPDATE SET text = v.text || s.text WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, s.text) RETURNING merge_action(), v;
SELECT id, left(body, 40) FROM t ORDER BY id;

--: situation MERGE RETURNING old and new
--: since 18
--: run
WITH m AS (MERGE INTO t USING (VALUES (1, 'secret new'), (2, 'secret gone'), (70, 'secret 70')) AS s(id, body) ON t.id = s.id
	WHEN MATCHED AND s.body LIKE '%gone' THEN DELETE WHEN MATCHED THEN UPDATE SET body = s.body
	WHEN NOT MATCHED THEN INSERT (id, chat_id, body) VALUES (s.id, 1, s.body)
	RETURNING merge_action(), old.body AS was, new.body AS now, old, new) SELECT * FROM m ORDER BY was, now;
