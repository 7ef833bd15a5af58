-- Bodies and ids of other types, and several bodies in a row.

--: situation ids that are uuids
--: unordered
--: empty
--: protect u(body chat_id id)
--: prepare
CREATE TABLE u (id uuid PRIMARY KEY, chat_id uuid NOT NULL, body text, n int);
--: rows
INSERT INTO u SELECT ('00000000-0000-4000-8000-00000000000' || i)::uuid, ('00000000-0000-8000-8000-00000000000' || 1 + i % 3)::uuid, 'secret ' || i, i FROM generate_series(1, 6) AS i;
--: later
UPDATE u SET body = body || '' WHERE n % 2 = 0;
--: run
SELECT * FROM u ORDER BY id;
UPDATE u SET body = body || '!' WHERE n < 3 RETURNING *;
INSERT INTO u VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-8000-8000-000000000002', 'secret new', 7) ON CONFLICT (id) DO UPDATE SET body = u.body || excluded.body, chat_id = excluded.chat_id RETURNING *;
UPDATE u SET id = '00000000-0000-4000-8000-0000000000ff' WHERE n = 4 RETURNING *;
DELETE FROM u WHERE body = 'secret 5' RETURNING u;
SELECT u FROM u ORDER BY id;

--: situation varchar(n): its limit, trailing spaces, and casts
--: empty
--: protect v(body chat_id id)
--: prepare
CREATE TABLE v (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body varchar(12) DEFAULT 'secret', n int);
--: rows
INSERT INTO v SELECT i, 1, 'secret ' || i, i FROM generate_series(1, 4) AS i;
--: later
UPDATE v SET body = body || '' WHERE id % 2 = 0;
--: raises 22001 22001 22001
--: run
SELECT * FROM v ORDER BY id;
INSERT INTO v VALUES (5, 1, 'secret 12345'), (6, 1, 'secret 12345   ') RETURNING id, '[' || body || ']';
INSERT INTO v VALUES (7, 1, 'secret 123456');
UPDATE v SET body = body || ' and more' WHERE id = 1;
UPDATE v SET body = 'sécrets é é' WHERE id = 2 RETURNING body, length(body);
INSERT INTO v VALUES (8, 1, ('secret 123456 and more')::varchar(12)) RETURNING body;
INSERT INTO v (id, chat_id) VALUES (9, 1) RETURNING body;
COPY v (id, chat_id, body) FROM stdin;
10	1	secret that is too long
\.
SELECT id, body FROM v ORDER BY id;

--: situation varchar without a limit, and the same values as text
--: unordered
--: empty
--: protect v(body chat_id id)
--: prepare
CREATE TABLE v (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body varchar);
--: rows
INSERT INTO v SELECT i, 1, 'secret ' || i FROM generate_series(1, 4) AS i;
--: run
SELECT * FROM v ORDER BY id;
SELECT id FROM v WHERE body = 'secret 2';
SELECT pg_typeof(body) FROM v WHERE id = 1;
UPDATE v SET body = body || '!' RETURNING *;

--: situation char(n): padded with spaces, and compared without them
--: refused is of type character, and not of
--: empty
--: protect v(body chat_id id)
--: prepare
CREATE TABLE v (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body char(12));
--: rows
INSERT INTO v SELECT i, 1, 'secret ' || i FROM generate_series(1, 4) AS i;
--: raises 22001
--: run
SELECT id, '[' || body || ']', octet_length(body), length(body) FROM v ORDER BY id;
SELECT id FROM v WHERE body = 'secret 2';
INSERT INTO v VALUES (5, 1, 'secret') RETURNING id, body, octet_length(body);
UPDATE v SET body = 'secret that is too long';
UPDATE v SET body = 'new secret' WHERE id = 1 RETURNING *, octet_length(body);

--: situation jsonb: operators, paths, subscripts and partial updates
--: probe convert_to(body ->> 'text', 'UTF8')
--: unordered
--: empty
--: protect j(body chat_id id)
--: prepare
CREATE TABLE j (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body jsonb, n int);
--: rows
INSERT INTO j SELECT i, 1 + i % 3, jsonb_build_object('text', 'secret ' || i, 'n', i, 'list', jsonb_build_array(i, NULL)), i FROM generate_series(1, 5) AS i;
INSERT INTO j VALUES (6, 1, NULL), (7, 1, '"secret string"'), (8, 1, 'null'), (9, 1, '[]'), (10, 1, jsonb_build_object('long', long('j')));
--: later
UPDATE j SET body = body || '{"later": 1}' WHERE id IN (2, 4);
--: raises 22P02
--: run
SELECT id, left(body::text, 60) FROM j ORDER BY id;
SELECT id FROM j WHERE body @> '{"n": 3}';
SELECT body ->> 'text', body #> '{list,0}' FROM j WHERE body ? 'text' ORDER BY id;
SELECT id FROM j WHERE body @@ '$.n > 3' ORDER BY id;
SELECT jsonb_typeof(body) FROM j ORDER BY id;
UPDATE j SET body['text'] = '"secret part"' WHERE id = 1 RETURNING body;
UPDATE j SET body = jsonb_set(body, '{n}', '99') - 'list' WHERE id = 2 RETURNING *;
INSERT INTO j VALUES (20, 1, '{"b": 1, "a": "secret"}') RETURNING body, body -> 'a';
INSERT INTO j VALUES (21, 1, '{bad');
SELECT e.value FROM j, jsonb_array_elements(body -> 'list') AS e WHERE id = 3;
INSERT INTO j VALUES (20, 1, '{"c": 2}') ON CONFLICT (id) DO UPDATE SET body = j.body || excluded.body RETURNING *;
SELECT body, count(*) FROM j WHERE id > 6 AND id < 10 GROUP BY body ORDER BY body;
SELECT row_to_json(j) FROM j WHERE id = 3;
SELECT md5(body::text) FROM j WHERE id = 10;
UPDATE j SET n = 1 WHERE id = 10;

--: situation json keeps its spaces and the order of its keys
--: empty
--: protect j(body chat_id id)
--: prepare
CREATE TABLE j (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body json);
--: rows
INSERT INTO j VALUES (1, 1, '{ "text" :  "secret 1", "text": 2}'), (2, 1, NULL), (3, 1, ' "secret string" '), (4, 1, '[1,  2]');
--: run
SELECT * FROM j ORDER BY id;
SELECT body -> 'text' FROM j WHERE id = 1;
UPDATE j SET body = '{"b":  "secret", "a": 1}' WHERE id = 2 RETURNING *;
INSERT INTO j VALUES (5, 1, row_to_json(ROW('secret', 1))) RETURNING body ->> 'f1';
SELECT json_agg(body ORDER BY id) FROM j;

--: situation bytea: empty, with zero bytes, and long
--: probe body
--: unordered
--: empty
--: protect b(body chat_id id)
--: prepare
CREATE TABLE b (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body bytea, n int);
--: rows
INSERT INTO b VALUES (1, 1, '\x00ff00'), (2, 1, ''), (3, 1, NULL), (4, 1, convert_to('secret bytes', 'UTF8')), (5, 1, decode(long('b'), 'hex')), (6, 1, '\x0100000001');
--: later
UPDATE b SET body = body || '\x'::bytea WHERE id % 2 = 0;
--: run
SELECT id, left(body::text, 40), length(body), md5(body) FROM b ORDER BY id;
SELECT id FROM b WHERE body = '\x00ff00';
UPDATE b SET body = body || '\x01' WHERE id < 3 RETURNING *;
UPDATE b SET body = set_byte(body, 0, 65) WHERE id = 4 RETURNING convert_from(body, 'UTF8');
UPDATE b SET n = 1 WHERE id = 5 RETURNING md5(body);
SELECT id, get_byte(body, 1), substr(body, 2, 3) FROM b WHERE length(body) > 2 ORDER BY id;
COPY (SELECT id, body FROM b WHERE id < 5 ORDER BY id) TO stdout;
SELECT encode(body, 'base64') FROM b WHERE id = 6;

--: situation several bodies in one table
--: unordered
--: empty
--: protect m(body chat_id id) m(subject chat_id id)
--: prepare
CREATE TABLE m (subject text, id bigint PRIMARY KEY, chat_id bigint NOT NULL, n int, body text, plain text);
--: rows
INSERT INTO m SELECT 'subject ' || i, i, 1 + i % 3, i, 'secret ' || i, 'plain ' || i FROM generate_series(1, 5) AS i;
INSERT INTO m VALUES (NULL, 6, 1, 6, 'secret 6', 'p'), ('subject 7', 7, 1, 7, NULL, 'p');
--: later
UPDATE m SET body = body || '' WHERE id % 2 = 0;
--: run
SELECT * FROM m ORDER BY id;
UPDATE m SET body = subject, subject = body WHERE id = 1 RETURNING *;
UPDATE m SET subject = subject || '!' WHERE id = 2 RETURNING *;
UPDATE m SET n = 0 WHERE body LIKE '%3' RETURNING m;
INSERT INTO m VALUES ('subject 8', 8, 1, 8, 'secret 8') RETURNING *;
SELECT id FROM m WHERE subject || body LIKE '%4%4';
UPDATE m SET chat_id = 2 WHERE id < 4 RETURNING id, subject, body;
INSERT INTO m VALUES ('subject new', 4, 1, 4, 'secret new') ON CONFLICT (id) DO UPDATE SET body = m.subject || excluded.subject RETURNING *;

--: situation a domain, and an array of bodies in a function
--: empty
--: protect d(body chat_id id)
--: prepare
CREATE TABLE d (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text COLLATE "C", other text);
--: rows
INSERT INTO d VALUES (1, 1, 'secret ä'), (2, 1, 'secret Z'), (3, 1, 'secret a'), (4, 1, E'secret \U0001F600 \t new\nline'), (5, 1, 'secret \x00 \\ "quoted"');
--: run
SELECT id, body FROM d ORDER BY body;
SELECT id, char_length(body), octet_length(body), convert_to(body, 'UTF8') FROM d ORDER BY id;
COPY (SELECT * FROM d ORDER BY id) TO stdout;
COPY (SELECT * FROM d ORDER BY id) TO stdout WITH (FORMAT csv);
SELECT upper(body) FROM d ORDER BY id;
SELECT array_agg(body ORDER BY id) FROM d;

--: situation very long bodies, of up to some megabytes
--: empty
--: protect d(body chat_id id)
--: prepare
CREATE TABLE d (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, n int);
--: rows
INSERT INTO d SELECT i, 1, repeat('secret ' || i || ' ', (4 ^ i)::int * 10), i FROM generate_series(1, 8) AS i;
--: later
UPDATE d SET body = body || '' WHERE id % 2 = 0;
--: run
SELECT id, length(body), md5(body) FROM d ORDER BY id;
UPDATE d SET n = n + 1;
UPDATE d SET body = left(body, 100) WHERE id = 8 RETURNING body;
UPDATE d SET body = body || body WHERE id < 8;
SELECT id, length(body), md5(body), n FROM d ORDER BY id;
SELECT substr(body, 50000, 20) FROM d WHERE id = 7;
