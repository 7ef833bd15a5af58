-- Reading: queries that use a body.

--: situation whole rows, in the order of their ids
--: run
SELECT * FROM t ORDER BY id;
SELECT body FROM t WHERE id = 3;
TABLE t ORDER BY id DESC LIMIT 2;

--: situation conditions on the body
--: run
SELECT id FROM t WHERE body = 'secret 4';
SELECT id FROM t WHERE body LIKE 'secret %' ORDER BY id;
SELECT id FROM t WHERE body ~ '^s.*[25]$' ORDER BY id;
SELECT id FROM t WHERE body IN ('secret 1', 'secret 8', 'no such') ORDER BY id;
SELECT id FROM t WHERE body = ANY (ARRAY['secret 2', 'secret 3']) ORDER BY id;
SELECT id FROM t WHERE body IS NULL OR body = '' ORDER BY id;
SELECT id FROM t WHERE body > 'secret 5' AND body <= 'secret 8' ORDER BY id;
SELECT id FROM t WHERE (chat_id, body) = (2, 'secret 1');
SELECT id FROM t WHERE body IS DISTINCT FROM 'secret 1' ORDER BY id;

--: situation order, DISTINCT, groups, aggregates and windows over the body
--: run
SELECT id FROM t WHERE id <> 9 ORDER BY body DESC NULLS LAST, id;
SELECT DISTINCT left(body, 6) FROM t WHERE id < 9 ORDER BY 1;
SELECT DISTINCT ON (chat_id) chat_id, body FROM t ORDER BY chat_id, body DESC NULLS LAST;
SELECT body, count(*) FROM t WHERE id < 9 GROUP BY body ORDER BY body;
SELECT chat_id, min(body), max(body), count(body), count(DISTINCT body), string_agg(left(body, 9), ',' ORDER BY id), sum(length(body)) FROM t GROUP BY chat_id ORDER BY 1;
SELECT chat_id, bool_or(body LIKE '%7') FROM t GROUP BY GROUPING SETS ((chat_id), ()) ORDER BY 1;
SELECT id, lag(left(body, 9)) OVER w, first_value(left(body, 9)) OVER w, rank() OVER (ORDER BY body) FROM t WINDOW w AS (PARTITION BY chat_id ORDER BY id) ORDER BY id;
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY body) FROM t WHERE id < 9;
SELECT array_agg(left(body, 9) ORDER BY id) FROM t;

--: situation count(*), columns after the body, and a row without its body
--: run
SELECT count(*), sum(n), max(tag) FROM t;
SELECT id, n, tag FROM t WHERE chat_id = 2 ORDER BY id;
SELECT chat_id FROM t WHERE n BETWEEN 20 AND 50 ORDER BY id;
SELECT count(body), count(*) FILTER (WHERE body IS NULL) FROM t;

--: situation functions on text with the body as argument
--: run
SELECT id, length(body), octet_length(body), upper(left(body, 9)), md5(body), substr(body, 3, 4), body || '!' FROM t WHERE id IN (1, 10, 11, 12) ORDER BY id;
SELECT id, coalesce(body, 'none'), nullif(body, ''), concat_ws('/', tag, left(body, 9)), quote_nullable(left(body, 9)) FROM t ORDER BY id;
SELECT id, body::varchar(6), body::bytea, body::char(8) FROM t WHERE id < 4 ORDER BY id;
SELECT to_tsvector('simple', body) FROM t WHERE id < 3 ORDER BY id;
SELECT CASE WHEN body LIKE '%2' THEN body ELSE tag END FROM t WHERE id < 5 ORDER BY id;
SELECT greatest(body, tag), least(body, tag) FROM t WHERE id < 5 ORDER BY id;

--: situation the types of result columns, and the size of a value
--: run
SELECT pg_typeof(body), pg_typeof(t) FROM t WHERE id = 1;
SELECT * FROM t LIMIT 0 \gdesc
SELECT id, pg_column_size(body) FROM t WHERE id = 1 AND false;

--: situation JSON and records made from whole rows
--: run
SELECT row_to_json(t) FROM t WHERE id <> 10 ORDER BY id;
SELECT json_agg(t ORDER BY id) FROM t WHERE id < 4;
SELECT jsonb_build_object('b', body, 'n', n) FROM t WHERE id IN (1, 11) ORDER BY id;
SELECT t FROM t WHERE id < 4 ORDER BY id;
SELECT (t).body, (t).n FROM t WHERE id < 4 ORDER BY id;
SELECT (t.*)::text FROM t WHERE id = 11;
SELECT to_jsonb(t) -> 'body' FROM t WHERE id IN (9, 11, 12) ORDER BY id;
SELECT query_to_xml('SELECT id, body FROM t WHERE id = 2', false, false, '');

--: situation whole rows compared, ordered and grouped
--: run
SELECT a.id FROM t AS a JOIN t AS b ON a = b ORDER BY 1;
SELECT a.id FROM t AS a JOIN t AS b ON ROW(a.*) IS NOT DISTINCT FROM ROW(b.*) ORDER BY 1;
SELECT count(DISTINCT t) FROM t;
SELECT t.id FROM t ORDER BY t DESC LIMIT 2;
SELECT count(*) FROM (SELECT t FROM t GROUP BY t) AS g;
SELECT t IS NULL, t IS NOT NULL FROM t WHERE id IN (3, 11) ORDER BY id;

--: situation a whole row of NULLs from an outer join
--: run
SELECT c.id, t, (t).body, t IS NULL FROM chat AS c LEFT JOIN t ON t.chat_id = c.id AND t.id = 3 ORDER BY c.id;
SELECT c.id, t.body FROM chat AS c FULL JOIN t ON t.chat_id = c.id AND t.id > 100 ORDER BY c.id NULLS LAST, t.id LIMIT 5;

--: situation joins on the body: hash, merge and nested loop
--: run
SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT a.id, b.id FROM t AS a JOIN t AS b USING (body) ORDER BY 1, 2;
SET enable_mergejoin = on; SET enable_hashjoin = off;
SELECT a.id, b.id FROM t AS a JOIN t AS b USING (body) ORDER BY 1, 2;
SET enable_nestloop = on; SET enable_mergejoin = off;
SELECT a.id, b.id FROM t AS a JOIN t AS b ON a.body = b.body ORDER BY 1, 2;
SELECT c.topic, t.body FROM chat AS c JOIN t ON t.chat_id = c.id WHERE t.body LIKE '%4' ORDER BY 1;
SELECT v.column1, t.id FROM (VALUES ('secret 2'), ('nothing')) AS v LEFT JOIN t ON t.body = v.column1 ORDER BY 1;

--: situation memoize, and plans that sort or materialize rows
--: run
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT a.id, b.body FROM t AS a JOIN LATERAL (SELECT left(body, 9) AS body FROM t WHERE t.id = a.chat_id) AS b ON true ORDER BY 1;
SET enable_memoize = off;
SELECT a.id, b.id FROM t AS a, (SELECT * FROM t WHERE body LIKE 'secret%' OFFSET 0) AS b WHERE a.body = b.body ORDER BY 1;
SET work_mem = '64kB';
SELECT id, md5(body) FROM (SELECT t.*, g FROM t, generate_series(1, 40) AS g) AS many ORDER BY body, g, id OFFSET 470;
SELECT count(*), count(DISTINCT b) FROM (SELECT body || g AS b FROM t, generate_series(1, 2000) AS g WHERE id < 5) AS many;

--: situation CTEs, recursive ones, LATERAL, EXISTS, IN and set operations
--: run
WITH w AS MATERIALIZED (SELECT * FROM t) SELECT id, body FROM w WHERE body LIKE '%3';
WITH w AS NOT MATERIALIZED (SELECT * FROM t) SELECT id, body FROM w WHERE id = 3;
WITH RECURSIVE r AS (SELECT id, body FROM t WHERE id = 1 UNION ALL SELECT t.id, r.body || '>' || t.body FROM r JOIN t ON t.id = r.id + 1 WHERE t.id < 5) SELECT * FROM r ORDER BY id;
SELECT c.id, l.body FROM chat AS c CROSS JOIN LATERAL (SELECT body FROM t WHERE chat_id = c.id AND id < 9 ORDER BY id DESC LIMIT 1) AS l ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT FROM t AS o WHERE o.body = t.body AND o.id = t.id AND o.id < 4) ORDER BY 1;
SELECT id FROM t WHERE body NOT IN (SELECT body FROM t WHERE id BETWEEN 2 AND 8) ORDER BY 1;
SELECT body FROM t WHERE id < 3 UNION SELECT body FROM t WHERE id BETWEEN 2 AND 4 ORDER BY 1;
SELECT body FROM t WHERE id < 5 INTERSECT SELECT body FROM t WHERE id > 2 ORDER BY 1;
SELECT body FROM t WHERE id < 5 EXCEPT ALL SELECT body FROM t WHERE id > 2 ORDER BY 1;
SELECT id, (SELECT body FROM t AS o WHERE o.id = t.id + 1) FROM t WHERE id < 4 ORDER BY 1;
SELECT ARRAY(SELECT body FROM t WHERE id < 4 ORDER BY id);

--: situation system columns
--: run
SELECT tableoid::regclass, xmin <> 0 AS made, xmax = 0 AS kept, cmin::text <> '', cmax::text <> '', (ctid::text ~ '^\(\d+,\d+\)$') AS place FROM t WHERE id < 3 ORDER BY id;
SELECT t.ctid IS NOT NULL, t.*, tableoid::regclass::text FROM t WHERE id = 5;
SELECT body FROM t WHERE ctid = (SELECT ctid FROM t WHERE id = 6);
SELECT id, body FROM t WHERE ctid = ANY (ARRAY(SELECT ctid FROM t WHERE id IN (1, 2))) ORDER BY id;
SELECT count(*), count(body) FROM t WHERE ctid >= '(0,1)' AND ctid < '(1000,1)';
BEGIN;
UPDATE t SET n = 5 WHERE id = 1;
SELECT xmin::text = pg_current_xact_id()::text, body FROM t WHERE id = 1;
ROLLBACK;

--: situation TABLESAMPLE, and fetching backward
--: run
SELECT count(body) FROM t TABLESAMPLE bernoulli (100);
SELECT count(body), count(*) FROM t TABLESAMPLE system (100) REPEATABLE (1);
SELECT count(body) BETWEEN 0 AND 12 FROM t TABLESAMPLE bernoulli (50) REPEATABLE (3);
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, left(body, 9) FROM t WHERE id < 6 ORDER BY id;
FETCH LAST FROM c; FETCH BACKWARD 2 FROM c; FETCH FIRST FROM c; FETCH RELATIVE 2 FROM c; COMMIT;

--: situation a repeatable-read snapshot and a read-only transaction
--: run
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT body FROM t WHERE id = 1;
SELECT count(*) FROM t;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT body FROM t WHERE id = 2; COMMIT;

--: situation the same body read many times in one row and in one query
--: run
SELECT id, body = body, body || body = repeat(body, 2), length(body) + octet_length(body) > 0 FROM t WHERE id IN (1, 10) ORDER BY id;
SELECT md5(a.body || b.body) FROM t AS a, t AS b WHERE a.id = 10 AND b.id = 10;
SELECT md5(substring(body FROM 100 FOR 50)), md5(right(body, 10)), strpos(body, 'zz') FROM t WHERE id = 10;
