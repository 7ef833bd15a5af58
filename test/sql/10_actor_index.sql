-- A query under an actor uses the index of the chats, and its result is that of may_see() alone:
-- whoever the actor is when the plan is made, and whoever it is when the plan runs.
CREATE EXTENSION IF NOT EXISTS chatcrypt;
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SET client_min_messages = warning;
CREATE ROLE regress_app; GRANT chatcrypt_writer, chatcrypt_reader TO regress_app;
SELECT chatcrypt.create_chats(array_agg(10000 + n), participants_each => jsonb_agg(CASE WHEN n <= 5 THEN ARRAY['regress alice', 'regress bob']
	WHEN n <= 8 THEN ARRAY['regress bob'] ELSE ARRAY['regress carol'] END)) FROM generate_series(1::bigint, 200) AS n;
INSERT INTO chatcrypt.messages (chat_id, sender, body)
	SELECT chatcrypt.to_uuid(10000 + c), 'regress', 'body ' || m FROM generate_series(1, 200) AS c, generate_series(1, 20) AS m;
-- Messages of a chat that does not exist any more: without an actor they are visible as usual.
SELECT chatcrypt.create_chat(10999, ARRAY['regress alice']);
INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(10999), 'regress', 'left behind');
DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(10999);
VACUUM ANALYZE chatcrypt.sealed_message, chatcrypt.participant;

-- The plan of a statement.
CREATE FUNCTION pg_temp.way_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	way text := 'reads the table';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
		way := CASE WHEN line ~ 'Index Cond: .*visible_chats' THEN 'looks for the chats of the actor'
			WHEN line ~ 'Index Cond: .*chat_id = ' THEN 'looks for a chat' ELSE way END;
	END LOOP;
	RETURN way;
END
$$;
-- How many rows the planner expects.
CREATE FUNCTION pg_temp.estimate_of(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END
$$;
\set headline 'SELECT sender, body FROM chatcrypt.messages'
\set counted 'SELECT count(*), count(DISTINCT chat_id) AS chats FROM chatcrypt.messages WHERE sender = $$regress$$'
\set summed 'SELECT count(*), sum(($$x$$ || substr(chat_id::text, 33))::bit(16)::int) AS chats FROM chatcrypt.messages WHERE sender = $$regress$$'

SET ROLE regress_app;
SELECT pg_temp.way_of(:'headline');
BEGIN;
SELECT chatcrypt.act_as('regress alice');
SELECT pg_temp.way_of(:'headline');
SELECT pg_temp.way_of('SELECT body FROM chatcrypt.messages ORDER BY created_at DESC LIMIT 10');
SELECT pg_temp.way_of('UPDATE chatcrypt.messages SET expires_at = NULL');
SELECT pg_temp.way_of('DELETE FROM chatcrypt.messages');
SELECT pg_temp.estimate_of(:'headline') BETWEEN 50 AND 200 AS good_estimate_of_100;
:counted;
-- A condition of the query itself is the better one.
SELECT pg_temp.way_of('SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(10001)');
SELECT pg_temp.way_of('SELECT body FROM chatcrypt.messages WHERE chat_id IN (chatcrypt.to_uuid(10001), chatcrypt.to_uuid(10002))');
SELECT pg_temp.way_of('SELECT body FROM chatcrypt.messages AS m JOIN (VALUES (chatcrypt.to_uuid(10001))) AS v (chat_id) USING (chat_id)');
SELECT count(*) FROM chatcrypt.messages WHERE chat_id IN (chatcrypt.to_uuid(10001), chatcrypt.to_uuid(10150));
ROLLBACK;

-- One plan for all: made for alice, and run for others, without an actor, and again after she has
-- left and come back.
SET plan_cache_mode = force_generic_plan;
BEGIN;
SELECT chatcrypt.act_as('regress alice');
PREPARE counted AS :counted;
EXECUTE counted;
COMMIT;
SELECT pg_temp.way_of('EXECUTE counted');
EXECUTE counted;
BEGIN;
SELECT chatcrypt.act_as('regress bob');
EXECUTE counted;
SELECT chatcrypt.remove_participant(10001, 'regress bob');
EXECUTE counted;
RESET ROLE; INSERT INTO chatcrypt.participant VALUES ('regress bob', chatcrypt.to_uuid(10100)); SET ROLE regress_app;
EXECUTE counted;
SELECT chatcrypt.create_chat(11000, ARRAY['regress bob']);
RESET ROLE; INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender) VALUES (chatcrypt.new_message_id(), chatcrypt.to_uuid(11000), 'regress'); SET ROLE regress_app;
EXECUTE counted;
SAVEPOINT s;
SELECT chatcrypt.remove_participant(11000, 'regress bob');
EXECUTE counted;
ROLLBACK TO s;
EXECUTE counted;
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('regress nobody');
EXECUTE counted;
ROLLBACK;
EXECUTE counted;
SELECT pg_temp.way_of('EXECUTE counted');
-- A plan that was made without an actor.
DEALLOCATE counted;
PREPARE counted AS :counted;
EXECUTE counted;
BEGIN;
SELECT chatcrypt.act_as('regress alice');
SELECT pg_temp.way_of('EXECUTE counted');
EXECUTE counted;
ROLLBACK;
DEALLOCATE counted;

-- Parallel workers have the same chats: for the actor that the plan was made for, and without an
-- actor.
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;
SET max_parallel_workers_per_gather = 2; SET cpu_tuple_cost = 10; SET enable_bitmapscan = off; SET enable_seqscan = off;
BEGIN;
SELECT chatcrypt.act_as('regress bob');
PREPARE counted AS :summed;
CREATE TEMPORARY TABLE plan (line text) ON COMMIT DROP;
DO $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) EXECUTE counted' LOOP
		INSERT INTO plan VALUES (line);
	END LOOP;
END
$$;
SELECT bool_or(line ~ 'Parallel Index') AS parallel, bool_or(line ~ 'visible_chats') AS by_chats FROM plan;
EXECUTE counted;
ROLLBACK;
EXECUTE counted;
BEGIN;
SELECT chatcrypt.act_as('regress alice');
EXECUTE counted;
ROLLBACK;
DEALLOCATE counted;
RESET enable_bitmapscan; RESET enable_seqscan; RESET cpu_tuple_cost;

-- In a table of the application, with an index of any kind.
RESET ROLE;
CREATE TABLE regress_notes (note int, chat_id uuid);
INSERT INTO regress_notes SELECT n, CASE WHEN n % 100 > 0 THEN chatcrypt.to_uuid(10001 + n % 200) END FROM generate_series(1, 4000) AS n;
GRANT SELECT ON regress_notes TO regress_app;
CREATE FUNCTION pg_temp.notes(index text) RETURNS TABLE (way text, alice bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE INDEX regress_note_by_chat ON regress_notes ' || index;
	ANALYZE regress_notes;
	SET LOCAL enable_seqscan = off;
	PERFORM chatcrypt.act_as('regress alice');
	way := pg_temp.way_of('SELECT note FROM regress_notes WHERE chatcrypt.may_see(chat_id)');
	PREPARE noted AS SELECT count(*) FROM regress_notes WHERE chatcrypt.may_see(chat_id);
	EXECUTE 'EXECUTE noted' INTO alice;
	RETURN NEXT;
END
$$;
SELECT count(*) FROM regress_notes WHERE chatcrypt.may_see(chat_id);
BEGIN; SELECT * FROM pg_temp.notes('(chat_id)'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;
BEGIN; SELECT * FROM pg_temp.notes('(chat_id DESC)'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;
BEGIN; SELECT * FROM pg_temp.notes('(chat_id NULLS FIRST)'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;
BEGIN; SELECT * FROM pg_temp.notes('(note, chat_id)'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;
BEGIN; SELECT * FROM pg_temp.notes('USING hash (chat_id)'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;
BEGIN; SELECT * FROM pg_temp.notes('(chat_id) WHERE chat_id IS NOT NULL'); COMMIT;
EXECUTE noted; DEALLOCATE noted; DROP INDEX regress_note_by_chat;

-- Called directly, the function shows an actor its own chats, and nothing without an actor,
-- whatever the index.
SET ROLE regress_app;
SELECT chatcrypt_internal.visible_chats('chatcrypt.sealed_message_by_chat');
SELECT count(*) FROM chatcrypt.sealed_message WHERE chat_id = ANY (chatcrypt_internal.visible_chats('chatcrypt.sealed_message_by_chat'));
BEGIN;
SELECT chatcrypt.act_as('regress alice');
SELECT cardinality(chatcrypt_internal.visible_chats('chatcrypt.sealed_message_by_chat'));
ROLLBACK;
RESET ROLE;
-- With any number of chats: only an estimate stops counting.
BEGIN;
INSERT INTO chatcrypt.chat (chat_id, tenant) SELECT chatcrypt.to_uuid(20000 + n), 'default' FROM generate_series(1, 1500) AS n;
INSERT INTO chatcrypt.participant (participant, chat_id) SELECT 'regress erin', chatcrypt.to_uuid(20000 + n) FROM generate_series(1, 1500) AS n;
SELECT chatcrypt.act_as('regress erin');
SELECT cardinality(chatcrypt_internal.visible_chats('chatcrypt.sealed_message_by_chat'));
ROLLBACK;
DROP TABLE regress_notes;
RESET plan_cache_mode;
DELETE FROM chatcrypt.sealed_message WHERE sender = 'regress';
DELETE FROM chatcrypt.chat WHERE chat_id BETWEEN chatcrypt.to_uuid(10001) AND chatcrypt.to_uuid(10200);
DROP OWNED BY regress_app;
DROP ROLE regress_app;
