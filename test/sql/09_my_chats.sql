-- The chats of the current actor.
CREATE EXTENSION IF NOT EXISTS chatcrypt;
\set VERBOSITY default
\set ON_ERROR_STOP 0
CREATE ROLE regress_app; GRANT chatcrypt_writer, chatcrypt_reader TO regress_app;
CREATE ROLE regress_auditor; GRANT chatcrypt_auditor TO regress_auditor;

SELECT chatcrypt.create_tenant('regress_tenant');
UPDATE chatcrypt.tenant SET retention = '30 days', attachment_quota = 5000 WHERE tenant = 'regress_tenant';
SELECT chatcrypt.create_chats(ARRAY[9101, 9102]::bigint[], tenant => 'regress_tenant',
	participants_each => '[["regress bob", "regress alice"], ["regress alice"]]');
SELECT chatcrypt.create_chat(9103, ARRAY['regress bob']);
SELECT chatcrypt.create_chat(9104, ARRAY['regress alice'], mode => 'conversation_key');
UPDATE chatcrypt.chat SET retention = '7 days' WHERE chat_id = chatcrypt.to_uuid(9102);
INSERT INTO chatcrypt.messages (chat_id, body, created_at, expires_at) VALUES
	(chatcrypt.to_uuid(9101), 'first', '2020-01-01 00:00Z', 'infinity'), (chatcrypt.to_uuid(9101), 'second', '2020-01-02 00:00Z', 'infinity'),
	(chatcrypt.to_uuid(9101), 'third', '2020-01-03 00:00Z', 'infinity'), (chatcrypt.to_uuid(9101), 'expired', '2020-01-04 00:00Z', '2020-01-05 00:00Z'),
	(chatcrypt.to_uuid(9103), 'of bob', '2020-01-01 00:00Z', 'infinity'), (chatcrypt.to_uuid(9104), 'newest', '2020-02-01 00:00Z', 'infinity');

SET ROLE regress_app;
SET timezone = 'UTC'; SET datestyle = 'ISO';
-- Without an actor there are none.
SELECT * FROM chatcrypt.my_chats();
BEGIN;
SELECT chatcrypt.act_as('regress alice');
SELECT chat_id, participants, mode, retention, attachment_quota, created_at <= now() AS made, last_message_at, messages_since FROM chatcrypt.my_chats();
SELECT chat_id, messages_since FROM chatcrypt.my_chats('2020-01-02 00:00Z');
SELECT chat_id, messages_since FROM chatcrypt.my_chats(NULL);
SELECT chatcrypt.remove_participant(9104, 'regress alice');
SELECT chat_id FROM chatcrypt.my_chats();
COMMIT;
BEGIN;
SELECT chatcrypt.act_as('regress bob');
SELECT chat_id, participants FROM chatcrypt.my_chats();
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('regress nobody');
SELECT count(*) FROM chatcrypt.my_chats();
-- A role that may neither read nor write gets nothing, whoever the actor is.
SET LOCAL ROLE regress_auditor;
SELECT count(*) FROM chatcrypt.my_chats();
ROLLBACK;
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.my_chats TO regress_auditor;
BEGIN;
SELECT chatcrypt.act_as('regress alice');
SET LOCAL ROLE regress_auditor;
SELECT count(*) FROM chatcrypt.my_chats();
ROLLBACK;
RESET timezone; RESET datestyle;
DELETE FROM chatcrypt.sealed_message WHERE chat_id BETWEEN chatcrypt.to_uuid(9101) AND chatcrypt.to_uuid(9104);
DELETE FROM chatcrypt.chat WHERE chat_id BETWEEN chatcrypt.to_uuid(9101) AND chatcrypt.to_uuid(9104);
DELETE FROM chatcrypt.tenant WHERE tenant = 'regress_tenant';
DROP OWNED BY regress_app, regress_auditor;
DROP ROLE regress_app, regress_auditor;
