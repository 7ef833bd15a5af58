-- After a recovery to an earlier moment: shreds again what was shredded according to a copy of the
-- history.
-- The recovery is simulated: chats that are shredded in the copy alone are like recovered ones.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE operator; GRANT chatcrypt_admin, chatcrypt_auditor TO operator;
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
SELECT chatcrypt.create_tenant('reapply');
SELECT chatcrypt.create_chats(ARRAY[8100, 8101, 8102, 8103, 8104]::bigint[], tenant => 'reapply');
SELECT chatcrypt.create_chat(8105);
SELECT chatcrypt.rotate_chat(8101);
SELECT chatcrypt.shred_chat(8103, 'irreversible');
SELECT chatcrypt.import_dek(8103, decode(repeat('cd', 32), 'hex'), 7);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'body ' || n
	FROM generate_series(8100, 8105) AS n;
SELECT chatcrypt.put_attachment(8101, 8101, 'a file'::bytea) IS NOT NULL AS file;

-- The history that went on elsewhere: sealed there, copied, and rolled back here.
CREATE TEMP TABLE old_event (LIKE chatcrypt.key_event);
CREATE TEMP TABLE old_seal (LIKE chatcrypt.event_seal);
SELECT chatcrypt.seal_events(100000) > 0 AS sealed;
CREATE FUNCTION pg_temp.elsewhere() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	events jsonb; seals jsonb;
BEGIN
	BEGIN
		PERFORM chatcrypt.shred_chat(8100, 'irreversible');
		PERFORM chatcrypt.shred_tenant('reapply', 'irreversible');
		PERFORM chatcrypt.create_chat(8199);
		PERFORM chatcrypt.shred_chat(8199, 'irreversible');
		INSERT INTO chatcrypt.key_event (event, chat_id, detail) VALUES ('shred', chatcrypt.to_uuid(8104), 'chat deleted, with 1 messages');
		PERFORM chatcrypt.seal_events(100000);
		PERFORM chatcrypt.shred_chat(8105, 'irreversible');
		SELECT jsonb_agg(e) INTO events FROM chatcrypt.key_event AS e;
		SELECT jsonb_agg(s) INTO seals FROM chatcrypt.event_seal AS s;
		RAISE EXCEPTION USING ERRCODE = 'P0042';
	EXCEPTION WHEN SQLSTATE 'P0042' THEN
		NULL;
	END;
	INSERT INTO old_event SELECT * FROM jsonb_populate_recordset(NULL::chatcrypt.key_event, events);
	INSERT INTO old_seal SELECT * FROM jsonb_populate_recordset(NULL::chatcrypt.event_seal, seals);
END
$$;
SELECT pg_temp.elsewhere();
GRANT SELECT ON old_event, old_seal TO operator, auditor;
CREATE VIEW pg_temp.state AS SELECT chatcrypt.number_of(chat_id) AS chat, array_agg(d.state ORDER BY dek_version) AS keys,
		(SELECT count(*) FROM chatcrypt.sealed_attachment a WHERE a.chat_id = d.chat_id) AS files
	FROM chatcrypt.dek AS d WHERE chat_id BETWEEN chatcrypt.to_uuid(8100) AND chatcrypt.to_uuid(8199) GROUP BY chat_id ORDER BY 1;
SELECT * FROM pg_temp.state;
GRANT SELECT ON pg_temp.state TO operator;
CREATE FUNCTION pg_temp.history() RETURNS chatcrypt.key_event[] LANGUAGE sql AS
	'SELECT ARRAY(SELECT ROW(e.*)::chatcrypt.key_event FROM old_event AS e)';
CREATE FUNCTION pg_temp.seals() RETURNS chatcrypt.event_seal[] LANGUAGE sql AS
	'SELECT ARRAY(SELECT ROW(s.*)::chatcrypt.event_seal FROM old_seal AS s)';
CREATE FUNCTION pg_temp.told(events chatcrypt.key_event[], seals chatcrypt.event_seal[] DEFAULT NULL)
	RETURNS TABLE (chat bigint, deleted boolean, outcome text, keys integer) LANGUAGE sql AS
	$$SELECT chatcrypt.number_of(chat_id), deleted, outcome, keys FROM chatcrypt.reapply_shreds(events, 'irreversible', seals)
	WHERE chat_id BETWEEN chatcrypt.to_uuid(8100) AND chatcrypt.to_uuid(8199) ORDER BY event_id$$;

-- Who may call it, and what must be confirmed.
SET ROLE auditor;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.reapply_shreds TO auditor;
SET ROLE auditor;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible');
SET ROLE operator;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history());
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'yes');
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), NULL);
SELECT * FROM chatcrypt.reapply_shreds(NULL, 'irreversible');
BEGIN READ ONLY;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible');
ROLLBACK;

-- Tables that are no history, no history of this database, or not the whole of it.
SELECT * FROM chatcrypt.reapply_shreds('{}', 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(ARRAY[NULL]::chatcrypt.key_event[], 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history() || NULL::chatcrypt.key_event, 'irreversible');
RESET ROLE;
CREATE FUNCTION pg_temp.one(kind text, chat uuid, tenant text, at timestamptz) RETURNS chatcrypt.key_event LANGUAGE sql AS
	$$SELECT ROW(1, $1, $2, $3, NULL, NULL, NULL, '1 keys destroyed', 'x', 'x', NULL, $4, '3')::chatcrypt.key_event$$;
SET ROLE operator;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history() || pg_temp.one('shred', NULL, NULL, now()), 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history() || pg_temp.one('shred', chatcrypt.to_uuid(8100), NULL, 'infinity'), 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history() || pg_temp.one(NULL, chatcrypt.to_uuid(8100), NULL, now()), 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(ARRAY[pg_temp.one('shred', chatcrypt.to_uuid(8100), NULL, now())], 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(ARRAY(SELECT ROW(e.*)::chatcrypt.key_event FROM old_event AS e WHERE event = 'create' OR chat_id IS NULL), 'irreversible');
SELECT * FROM chatcrypt.reapply_shreds(ARRAY(SELECT ROW(e.*)::chatcrypt.key_event FROM old_event AS e WHERE event = 'create'), 'irreversible');
SELECT * FROM pg_temp.state;

-- With seals: an event or a seal that was altered stops everything.
DO $$
BEGIN
	PERFORM chatcrypt.reapply_shreds(ARRAY(SELECT ROW(event_id, event, CASE WHEN chat_id = chatcrypt.to_uuid(8104) AND event = 'shred' THEN chatcrypt.to_uuid(8101) ELSE chat_id END,
		tenant, purpose, dek_version, kms_key, detail, role, session_role, actor, happened_at, transaction_id)::chatcrypt.key_event FROM old_event),
		'irreversible', pg_temp.seals());
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N');
END
$$;
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible', ARRAY(SELECT ROW(seal_id, event_ids, event_digests, horizon, system_id, previous_mac,
	mac, sealed_at + interval '1 s')::chatcrypt.event_seal FROM old_seal));
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible', ARRAY(SELECT ROW(seal_id, event_ids, NULL, horizon, system_id, previous_mac,
	mac, sealed_at)::chatcrypt.event_seal FROM old_seal));
SELECT * FROM chatcrypt.reapply_shreds(pg_temp.history(), 'irreversible', ARRAY[NULL]::chatcrypt.event_seal[]);
SELECT * FROM pg_temp.state;

-- A transaction that is rolled back shows what would be done.
BEGIN;
SELECT * FROM pg_temp.told(pg_temp.history());
SELECT * FROM pg_temp.state;
ROLLBACK;
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8101);
RESET ROLE;
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8101);
SET ROLE operator;
BEGIN;
SELECT * FROM pg_temp.told(pg_temp.history(), '{}');
ROLLBACK;

-- With seals, events of the last minute before the loss that were not sealed are left; without them
-- they are applied too.  Each event once.
SELECT * FROM pg_temp.told(pg_temp.history(), pg_temp.seals());
SELECT * FROM pg_temp.told(pg_temp.history(), pg_temp.seals());
SELECT * FROM pg_temp.told(pg_temp.history());
SELECT * FROM pg_temp.state;
SELECT chatcrypt.import_dek(8100, decode(repeat('ef', 32), 'hex'), 9);
SELECT * FROM pg_temp.told(pg_temp.history() || pg_temp.history());
SELECT * FROM pg_temp.state;
RESET ROLE;
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8101);
SELECT chatcrypt.number_of(chat_id) AS chat, regexp_replace(detail, 'event \d+ of [-0-9]+T[:.0-9]+Z', 'event N of T') AS detail, role = 'operator' AS by_operator
FROM chatcrypt.key_event WHERE chat_id BETWEEN chatcrypt.to_uuid(8100) AND chatcrypt.to_uuid(8105) AND event = 'shred' ORDER BY event_id;
SELECT * FROM chatcrypt.verify_events();
DROP OWNED BY operator, auditor;
DROP ROLE operator, auditor;
