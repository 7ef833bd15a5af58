-- Messages show the numbers of their ids beside the ids.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SET client_min_messages = warning;
-- Whether a plan looks for an id in an index, and never asks for a number.
CREATE FUNCTION by_index(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
		plan := plan || line;
	END LOOP;
	RETURN plan ~ 'Index Cond: [(]+(chat|message)_id = ' AND plan !~ 'number_of';
END
$$;

-- What the view finds by a condition, and whether a table with the same rows gives another result.
CREATE FUNCTION found(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	as_written text;
	of_a_table text;
BEGIN
	EXECUTE format('SELECT string_agg(body, '', '' ORDER BY body) FROM mine AS m WHERE %s', condition) INTO as_written;
	EXECUTE format('SELECT string_agg(body, '', '' ORDER BY body) FROM kept AS m WHERE %s', condition) INTO of_a_table;
	RETURN CASE WHEN as_written IS DISTINCT FROM of_a_table THEN format('differs: %s', of_a_table) ELSE as_written END;
END
$$;

CREATE ROLE numbered LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO numbered;
SET ROLE numbered;
SELECT chatcrypt.create_chats(ARRAY[710, 711, -1]), chatcrypt.create_chat('cccccccc-0000-0000-0000-000000000710');
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES
	(chatcrypt.to_uuid(710), chatcrypt.to_uuid(71001), 'both have numbers'), (chatcrypt.to_uuid(711), 'cccccccc-0000-0000-0000-000000071100', 'the chat has one'),
	('cccccccc-0000-0000-0000-000000000710', chatcrypt.to_uuid(-71002), 'the message has one'), ('cccccccc-0000-0000-0000-000000000710', chatcrypt.to_uuid(71003, 7), 'neither')
RETURNING chat_number, message_number, body;
CREATE TEMPORARY VIEW mine AS SELECT * FROM chatcrypt.messages
WHERE chat_id IN (chatcrypt.to_uuid(710), chatcrypt.to_uuid(711), chatcrypt.to_uuid(-1), 'cccccccc-0000-0000-0000-000000000710');
SELECT chat_number, message_number, body FROM mine ORDER BY body;

-- Numbers cannot be set: a statement gives the number that is shown, or none.
INSERT INTO chatcrypt.messages (chat_id, message_id, body, chat_number, message_number) VALUES
	(chatcrypt.to_uuid(710), chatcrypt.to_uuid(71004), 'given', 710, 71004), (chatcrypt.to_uuid(710), chatcrypt.to_uuid(71005), 'not given', DEFAULT, NULL)
RETURNING chat_number, message_number;
INSERT INTO chatcrypt.messages VALUES (chatcrypt.to_uuid(71006), chatcrypt.to_uuid(710), NULL, 'without a list of columns', NULL, now(), NULL, 710, 71006);
INSERT INTO chatcrypt.messages VALUES (chatcrypt.to_uuid(71007), chatcrypt.to_uuid(710), NULL, 'with the first ones');
\set VERBOSITY default
INSERT INTO chatcrypt.messages (chat_id, body, chat_number) VALUES (chatcrypt.to_uuid(710), 'of another', 711);
INSERT INTO chatcrypt.messages (chat_id, body, message_number) VALUES (chatcrypt.to_uuid(710), 'of a new id', 71008);
\set VERBOSITY terse
INSERT INTO chatcrypt.messages (chat_number, body) VALUES (710, 'without an id');
INSERT INTO chatcrypt.messages (chat_id, body, chat_number) VALUES ('cccccccc-0000-0000-0000-000000000710', 'without a number', 0);
UPDATE chatcrypt.messages SET chat_number = 711 WHERE message_id = chatcrypt.to_uuid(71001);
UPDATE chatcrypt.messages SET message_number = NULL WHERE message_id = chatcrypt.to_uuid(71001);
UPDATE chatcrypt.messages SET message_number = 1, body = 'x' WHERE message_id = 'cccccccc-0000-0000-0000-000000071100';
UPDATE chatcrypt.messages SET chat_number = 710, sender = 'alice' WHERE message_id = chatcrypt.to_uuid(71001) RETURNING chat_number, message_number;
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(711) WHERE message_id = chatcrypt.to_uuid(71001) RETURNING chat_number, message_number, body;
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(710), chat_number = 710 WHERE message_id = chatcrypt.to_uuid(71001) RETURNING chat_number;
UPDATE chatcrypt.messages SET (chat_id, chat_number) = (chatcrypt.to_uuid(711), -1) WHERE message_id = chatcrypt.to_uuid(71001);
UPDATE chatcrypt.messages SET message_id = 'cccccccc-0000-0000-0000-000000071001' WHERE message_id = chatcrypt.to_uuid(71001) RETURNING message_number;
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(71001) WHERE message_id = 'cccccccc-0000-0000-0000-000000071001' RETURNING message_number;

-- What one statement reads, another can write, without the one column that the server sets.
CREATE TEMPORARY TABLE kept AS SELECT * FROM mine;
DELETE FROM mine;
UPDATE kept SET dek_version = NULL;
INSERT INTO chatcrypt.messages SELECT * FROM kept ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.messages SELECT * FROM kept ON CONFLICT (message_id) DO NOTHING RETURNING *;
SELECT count(*) AS the_same FROM kept NATURAL JOIN (SELECT message_id, chat_id, body, created_at FROM mine) AS m;
COPY chatcrypt.messages FROM STDIN;
00000000-0000-8000-8000-000000011570	00000000-0000-8000-8000-0000000002c6	\N	copied	\N	2026-01-02 03:04:05+00	\N	710	71024
\.
COPY chatcrypt.messages FROM STDIN;
00000000-0000-8000-8000-000000011571	00000000-0000-8000-8000-0000000002c6	\N	copied	\N	2026-01-02 03:04:05+00	\N	710	71026
\.
SELECT chat_number, message_number, body FROM mine WHERE message_id = chatcrypt.to_uuid(71024);

-- A condition on a number finds the index of the id.
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT message_id FROM chatcrypt.messages WHERE chat_number = 710;
PREPARE by_numbers (bigint, integer[]) AS SELECT message_id FROM chatcrypt.messages WHERE chat_number = $1 AND message_number = ANY ($2);
SET plan_cache_mode = force_generic_plan;
SELECT statement, by_index(statement) FROM unnest(ARRAY[
	'EXECUTE by_numbers (710, NULL)',
	'SELECT FROM chatcrypt.messages WHERE 710::smallint = message_number',
	'SELECT FROM chatcrypt.messages WHERE message_number IN (71001, 71002) OR message_number = 71003',
	'SELECT m.body FROM (VALUES (71001), (71002)) AS wanted (id) LEFT JOIN chatcrypt.messages AS m ON m.message_number = wanted.id',
	'UPDATE chatcrypt.messages SET body = NULL WHERE message_number = 71001',
	'DELETE FROM chatcrypt.messages WHERE message_number = 71001',
	'MERGE INTO kept USING chatcrypt.messages AS m ON m.message_number = 71001 WHEN MATCHED THEN DELETE',
	'WITH one AS MATERIALIZED (SELECT message_id FROM chatcrypt.messages WHERE chat_number = 710) SELECT FROM one',
	'SELECT (SELECT count(*) FROM chatcrypt.messages WHERE chat_number = 711)',
	'DECLARE of_one CURSOR FOR SELECT message_id FROM chatcrypt.messages WHERE chat_number = 710',
	'SELECT FROM chatcrypt.messages WHERE NOT chat_number = 710']) AS statement;
RESET plan_cache_mode;
RESET enable_seqscan;

-- A condition on a number keeps its meaning where a message has no number.
DELETE FROM chatcrypt.messages WHERE message_number = 71024;
SELECT condition, found(condition) FROM unnest(ARRAY['chat_number = 711', '711::smallint = chat_number', 'chat_number = 711.0', 'chat_number = -1', 'chat_number IS NULL',
	'NOT (chat_number = 710)', 'NOT (chat_number = ANY (ARRAY[710, 711]))', 'chat_number <> 710', 'chat_number NOT IN (710)', 'chat_number = NULL',
	'chat_number = ANY (ARRAY[711, NULL])', 'chat_number = ANY (NULL::bigint[])', 'chat_number = ALL (ARRAY[711])', 'chat_number IN (711, NULL)', 'chat_number IN (711::smallint)',
	'chat_number = 711 OR message_number = -71002', 'message_number = -71002 AND NOT (chat_number = 710 OR message_number = 1)',
	'(chat_number = 710) IS NULL', 'coalesce(chat_number = 710, true)', 'chat_number BETWEEN 711 AND 712', 'message_number = 71003',
	'EXISTS (SELECT FROM chatcrypt.messages AS other WHERE other.message_number = 71001 AND m.chat_number = other.chat_number)']) AS condition;
SELECT m.body FROM chatcrypt.messages AS m JOIN (VALUES (711), (712)) AS rooms (room) ON m.chat_number = rooms.room;
SELECT rooms.room, m.body FROM (VALUES (711), (712)) AS rooms (room) LEFT JOIN mine AS m ON m.chat_number = rooms.room ORDER BY 1;
SELECT a.body FROM mine AS a JOIN mine AS b ON a.message_number = b.message_number WHERE b.chat_id = 'cccccccc-0000-0000-0000-000000000710';
SELECT u.name FROM (SELECT chat_number, chat_id, body AS name FROM mine UNION ALL SELECT 711, NULL, 'no message') AS u WHERE u.chat_number = 711 ORDER BY 1;
SELECT name FROM (SELECT chat_number, NULL::uuid AS chat_id, body AS name FROM mine) AS u WHERE u.chat_number = 711;
SELECT g.n, g.c FROM (SELECT chat_number AS n, chat_id AS c FROM mine GROUP BY GROUPING SETS ((chat_id), (chat_number))) AS g WHERE g.n = 711;
UPDATE chatcrypt.messages SET sender = 'alice' WHERE chat_number = 711 RETURNING body;
DELETE FROM chatcrypt.messages WHERE chat_number = 710 OR message_number IN (-71002);
SELECT body FROM mine ORDER BY 1;

-- In MERGE, which takes views from PostgreSQL 17 on, a number finds a message and is not set.
DO $$
DECLARE
	stored text;
BEGIN
	INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(71031), chatcrypt.to_uuid(710), 'old');
	MERGE INTO chatcrypt.messages AS m
	USING (VALUES (71031, 710, 'merged'), (71032, 711, 'new')) AS given (id, chat, body) ON m.message_number = given.id
	WHEN MATCHED THEN UPDATE SET body = given.body, message_number = given.id
	WHEN NOT MATCHED THEN INSERT (message_id, chat_id, body, chat_number)
		VALUES (chatcrypt.to_uuid(given.id), chatcrypt.to_uuid(given.chat), given.body, given.chat);
	SELECT string_agg(concat_ws(' ', chat_number, message_number, body), ', ' ORDER BY message_number) INTO stored
	FROM chatcrypt.messages WHERE message_number IN (71031, 71032);
	ASSERT stored = '710 71031 merged, 711 71032 new', stored;
	BEGIN
		MERGE INTO chatcrypt.messages AS m USING (VALUES (71031)) AS given (id) ON m.message_number = given.id
		WHEN MATCHED THEN UPDATE SET chat_number = 711;
		ASSERT false, 'MERGE has set the number of a chat';
	EXCEPTION WHEN generated_always THEN NULL;
	END;
	BEGIN
		MERGE INTO chatcrypt.messages AS m USING (VALUES (71033)) AS given (id) ON m.message_number = given.id
		WHEN NOT MATCHED THEN INSERT (chat_id, body, message_number) VALUES (chatcrypt.to_uuid(710), 'x', given.id);
		ASSERT false, 'MERGE has set the number of a message';
	EXCEPTION WHEN generated_always THEN NULL;
	END;
EXCEPTION WHEN feature_not_supported THEN
	ASSERT current_setting('server_version_num')::integer < 170000, sqlerrm;
END
$$;
DELETE FROM mine;

DROP VIEW mine;
DROP TABLE kept;
DEALLOCATE ALL;
RESET ROLE;
DROP FUNCTION found, by_index;
DROP ROLE numbered;
