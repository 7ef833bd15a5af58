-- Participants: as rows, as an array, one by one and all at once.
CREATE EXTENSION IF NOT EXISTS chatcrypt;
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE regress_writer; GRANT chatcrypt_writer TO regress_writer;
CREATE ROLE regress_admin; GRANT chatcrypt_admin TO regress_admin;

-- A name that is given twice is one participant; the array is in the order of the names.
SELECT chatcrypt.create_chat(7101, ARRAY['bob', 'alice', 'bob']);
SELECT participant, added_at > now() - interval '1 hour' AS just_added FROM chatcrypt.participant
WHERE chat_id = chatcrypt.to_uuid(7101) ORDER BY participant;
SELECT participants FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7101);

-- Values that are no name.
\set VERBOSITY default
SELECT chatcrypt.create_chat(7102, ARRAY['alice', NULL]);
SELECT chatcrypt.create_chat(7102, ARRAY['alice', '']);
SELECT chatcrypt.create_chat(7102, ARRAY[repeat('x', 1001)]);
SELECT chatcrypt.add_participant(7101, NULL);
SELECT chatcrypt.add_participant(7101, '');
SELECT chatcrypt.add_participant(NULL, 'carol');
SELECT chatcrypt.remove_participant(7101, NULL);
SELECT chatcrypt.remove_participant(NULL, 'carol');
SELECT chatcrypt.set_participants(7101, NULL);
SELECT chatcrypt.set_participants(7101, ARRAY['carol', NULL]);
SELECT chatcrypt.set_participants(NULL, ARRAY['carol']);
SELECT chatcrypt.set_participants(7199, ARRAY['carol']);
\set VERBOSITY terse
SELECT chatcrypt.create_chat(7102, ARRAY[repeat('x', 1000)]) = chatcrypt.to_uuid(7102) AS longest_name;
INSERT INTO chatcrypt.participant VALUES ('', chatcrypt.to_uuid(7101));
INSERT INTO chatcrypt.participant VALUES ('carol', chatcrypt.to_uuid(7199));

-- All at once: participants that are missing are added, others are removed, and the history records
-- each.
SELECT chatcrypt.set_participants(7101, ARRAY['carol', 'alice', 'dave', 'carol']);
SELECT participants FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT chatcrypt.set_participants(7101, ARRAY['alice', 'carol', 'dave']);
SELECT chatcrypt.set_participants(chatcrypt.to_uuid(7101), '{}');
SELECT detail FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(7101) AND event = 'participant' ORDER BY event_id;
SELECT participants FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7101);

-- Whatever a name contains, its line in the history is that of one participant.
SELECT chatcrypt.set_participants(7101, ARRAY['eve added; alice removed, zed', 'x" removed', E'two\nlines \\" added']);
SELECT chatcrypt.set_participants(7101, '{}');
SELECT detail, substring(detail FROM '^\w+ (.*)$')::json #>> '{}' AS name
FROM (SELECT event_id, detail FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(7101) AND event = 'participant'
	  ORDER BY event_id DESC LIMIT 6) AS last ORDER BY event_id;

-- Removing several participants rotates once, where the policy says so; adding does not rotate.
UPDATE chatcrypt.chat SET rotate_on_removal = true WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT chatcrypt.set_participants(7101, ARRAY['a', 'b', 'c']);
SELECT max(dek_version) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT chatcrypt.set_participants(7101, ARRAY['a']);
SELECT max(dek_version) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(7101);
UPDATE chatcrypt.chat SET rotate_on_removal = false WHERE chat_id = chatcrypt.to_uuid(7101);

-- Through the view: the array, and any other column of a chat.
UPDATE chatcrypt.chats SET participants = array_append(participants, 'b'), retention = '1 day'
	WHERE chat_id = chatcrypt.to_uuid(7101) RETURNING participants, retention;
UPDATE chatcrypt.chats SET participants = array_remove(participants, 'a') WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT participants, retention FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7101);
UPDATE chatcrypt.chats SET participants = ARRAY['b', NULL] WHERE chat_id = chatcrypt.to_uuid(7101);
UPDATE chatcrypt.chats SET participants = NULL, retention = NULL WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT participants, retention FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7101);
SELECT detail FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(7101) AND event = 'policy' ORDER BY event_id;

-- A list without a type, as drivers send one, is a list.
PREPARE untyped_list AS SELECT chatcrypt.create_chat($1, $2);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped_list';
EXECUTE untyped_list('7105', '{alice,bob}');
SELECT chatcrypt.create_chat(7106, '{alice,bob}');
SELECT participants FROM chatcrypt.chats WHERE chat_id IN (chatcrypt.to_uuid(7105), chatcrypt.to_uuid(7106));
DEALLOCATE untyped_list;

-- RETURNING shows what is stored; each change updates updated_at, and nothing else does.
UPDATE chatcrypt.chats SET participants = ARRAY['zed', 'alice', 'alice', 'bob'] WHERE chat_id = chatcrypt.to_uuid(7101) RETURNING participants;
UPDATE chatcrypt.chats SET participants = NULL WHERE chat_id = chatcrypt.to_uuid(7101) RETURNING participants;
UPDATE chatcrypt.chats SET participants = ARRAY[['a', 'c'], ['b', 'd']], moderation = 'participants' WHERE chat_id = chatcrypt.to_uuid(7101)
RETURNING participants, moderation, updated_at > created_at AS noted;
UPDATE chatcrypt.chat SET updated_at = created_at WHERE chat_id = chatcrypt.to_uuid(7101) RETURNING updated_at > created_at AS noted;
UPDATE chatcrypt.chats SET moderation = 'everybody' WHERE chat_id = chatcrypt.to_uuid(7101);
UPDATE chatcrypt.chats SET retention = '-1 day' WHERE chat_id = chatcrypt.to_uuid(7101);
UPDATE chatcrypt.chats SET tenant = 'nobody' WHERE chat_id = chatcrypt.to_uuid(7101);

-- A chat that is inserted through the view would have no key.
\set VERBOSITY default
INSERT INTO chatcrypt.chats (chat_id, tenant) VALUES (chatcrypt.to_uuid(7109), 'default');
\set VERBOSITY terse
INSERT INTO chatcrypt.chats (chat_id, tenant, participants) VALUES (chatcrypt.to_uuid(7101), 'default', '{alice}') ON CONFLICT DO NOTHING;
INSERT INTO chatcrypt.chats (chat_id, tenant) VALUES (chatcrypt.to_uuid(7101), 'default') ON CONFLICT (chat_id) DO NOTHING RETURNING chat_id;
INSERT INTO chatcrypt.chats (chat_id, tenant) VALUES (chatcrypt.to_uuid(7101), 'default') ON CONFLICT (chat_id) DO UPDATE SET tenant = excluded.tenant;
WITH made AS (INSERT INTO chatcrypt.chats (chat_id) VALUES (chatcrypt.to_uuid(7109)) RETURNING chat_id) SELECT count(*) FROM made;
COPY chatcrypt.chats (chat_id, tenant) FROM STDIN;
00000000-0000-8000-8000-000000001bc5	default
\.
DO $$
BEGIN
	MERGE INTO chatcrypt.chats AS c USING (SELECT chatcrypt.to_uuid(7109)) AS given (id) ON c.chat_id = given.id
	WHEN NOT MATCHED THEN INSERT (chat_id, tenant) VALUES (given.id, 'default');
	ASSERT false, 'MERGE has made a chat';
EXCEPTION WHEN feature_not_supported THEN	-- until PostgreSQL 16 it takes no view at all
	ASSERT sqlerrm = 'cannot create a chat with INSERT' OR current_setting('server_version_num')::integer < 170000, sqlerrm;
END
$$;
SELECT count(*) FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(7109);

-- Many chats, each with a list of its own, and one participant of all of them.
SELECT chatcrypt.create_chats(ARRAY[7110, 7111, 7112]::bigint[], participants => ARRAY['robot'],
	participants_each => '[["alice", "bob", "alice"], [], ["robot", "carol"]]');
SELECT chat_id, participants FROM chatcrypt.chats WHERE chat_id BETWEEN chatcrypt.to_uuid(7110) AND chatcrypt.to_uuid(7112) ORDER BY chat_id;
\set VERBOSITY default
SELECT chatcrypt.create_chats(ARRAY[7113, 7114]::bigint[], participants_each => '[["alice"]]');
SELECT chatcrypt.create_chats(ARRAY[7113]::bigint[], participants_each => '{"7113": ["alice"]}');
SELECT chatcrypt.create_chats(ARRAY[7113]::bigint[], participants_each => '["alice"]');
SELECT chatcrypt.create_chats(ARRAY[7113]::bigint[], participants_each => '[[null]]');
SELECT chatcrypt.create_chats(ARRAY[7113]::bigint[], participants_each => '[[["alice"]]]');
SELECT chatcrypt.create_chats(ARRAY[7113]::bigint[], participants_each => '[[""]]');
SELECT count(*) FROM chatcrypt.chat WHERE chat_id IN (chatcrypt.to_uuid(7113), chatcrypt.to_uuid(7114));

-- A chat that exists already.
SELECT chatcrypt.create_chat(7110);
SELECT chatcrypt.create_chats(ARRAY[7120, 7110]::bigint[]);
SELECT chatcrypt.create_chats(ARRAY[7120, 7120]::bigint[]);
SELECT chatcrypt.create_chat(7110, 'alice');
\set VERBOSITY terse
SELECT chatcrypt.create_chat(7110, ARRAY['mallory'], if_not_exists => true);
SELECT chatcrypt.create_chat(7120, ARRAY['alice'], if_not_exists => true);
SELECT chatcrypt.create_chats(ARRAY[7110, 7121, 7120, 7121]::bigint[], if_not_exists => true,
	participants_each => '[["mallory"], ["bob"], ["mallory"], ["carol"]]');
SELECT chatcrypt.create_chats(ARRAY[7110, 7121]::bigint[], if_not_exists => true);
SELECT chat_id, participants, (SELECT count(*) FROM chatcrypt.dek AS d WHERE d.chat_id = c.chat_id) AS deks,
	(SELECT count(*) FROM chatcrypt.key_event AS e WHERE e.chat_id = c.chat_id AND event = 'create') AS created
FROM chatcrypt.chats AS c WHERE chat_id IN (chatcrypt.to_uuid(7110), chatcrypt.to_uuid(7120), chatcrypt.to_uuid(7121)) ORDER BY chat_id;
SELECT chatcrypt.create_chat(7122, mode => 'e2ee', if_not_exists => true), chatcrypt.create_chat(7122, mode => 'e2ee', if_not_exists => true);

-- A participant that joins or leaves is known at once, in a chat that this transaction made and in
-- any other.
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7111));
INSERT INTO chatcrypt.participant VALUES ('alice', chatcrypt.to_uuid(7111));
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7111));
DELETE FROM chatcrypt.participant WHERE participant = 'alice' AND chat_id = chatcrypt.to_uuid(7111);
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7111));
SELECT chatcrypt.create_chat(7130, ARRAY['bob']);
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7130));
INSERT INTO chatcrypt.participant VALUES ('alice', chatcrypt.to_uuid(7130));
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7130));
SAVEPOINT s;
TRUNCATE chatcrypt.participant;
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7130));
ROLLBACK TO s;
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7130));
UPDATE chatcrypt.participant SET participant = 'eve' WHERE participant = 'alice' AND chat_id = chatcrypt.to_uuid(7130);
SELECT chatcrypt.may_see(chatcrypt.to_uuid(7130));
ROLLBACK;

-- Participants are deleted with their chat; a table of an application may refer to them.
CREATE TABLE regress_room (room text PRIMARY KEY, chat_id uuid REFERENCES chatcrypt.chat);
INSERT INTO regress_room VALUES ('blue', chatcrypt.to_uuid(7120));
INSERT INTO regress_room VALUES ('red', chatcrypt.to_uuid(7199));
DELETE FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7120);
DROP TABLE regress_room;
DELETE FROM chatcrypt.chats WHERE chat_id = chatcrypt.to_uuid(7120);
SELECT count(*) FROM chatcrypt.participant WHERE chat_id = chatcrypt.to_uuid(7120);

-- Rights.
SET ROLE regress_writer;
SELECT chatcrypt.set_participants(7121, ARRAY['bob', 'dave']);
SELECT count(*) FROM chatcrypt.chats;
SELECT count(*) FROM chatcrypt.participant;
INSERT INTO chatcrypt.chats (chat_id) VALUES (chatcrypt.to_uuid(7109));
INSERT INTO chatcrypt.chats (chat_id) VALUES (chatcrypt.to_uuid(7121)) ON CONFLICT (chat_id) DO NOTHING RETURNING chat_id;
INSERT INTO chatcrypt.participant VALUES ('mallory', chatcrypt.to_uuid(7121));
BEGIN;
SELECT chatcrypt.act_as('eve');
SELECT chatcrypt.set_participants(7121, ARRAY['eve']);
ROLLBACK;
SET ROLE regress_admin;
UPDATE chatcrypt.chats SET retention = '2 days' WHERE chat_id = chatcrypt.to_uuid(7121) RETURNING participants, retention;
UPDATE chatcrypt.chats SET participants = '{mallory}' WHERE chat_id = chatcrypt.to_uuid(7121);
UPDATE chatcrypt.chats SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(7121);
SELECT chatcrypt.set_participants(7121, ARRAY['mallory']);
RESET ROLE;
GRANT chatcrypt_writer TO regress_admin;
SET ROLE regress_admin;
UPDATE chatcrypt.chats SET participants = array_append(participants, 'erin') WHERE chat_id = chatcrypt.to_uuid(7121) RETURNING participants;
BEGIN;
SELECT chatcrypt.act_as('erin');
UPDATE chatcrypt.chats SET participants = '{erin}' WHERE chat_id = chatcrypt.to_uuid(7121) RETURNING participants;
ROLLBACK;
INSERT INTO chatcrypt.participant VALUES ('mallory', chatcrypt.to_uuid(7121));
RESET ROLE;
DROP OWNED BY regress_writer, regress_admin;
DROP ROLE regress_writer, regress_admin;
