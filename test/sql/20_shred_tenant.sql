-- Shredding a tenant: all of its chats and no others, once, and recorded in the history.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_tenant('leaves'), chatcrypt.create_tenant('stays');
SELECT chatcrypt.create_chats(ARRAY[8000, 8001, 8002]::bigint[], tenant => 'leaves');
SELECT chatcrypt.create_chat(8003, mode => 'e2ee', tenant => 'leaves');
SELECT chatcrypt.create_chat(8010, tenant => 'stays');
SELECT chatcrypt.rotate_chat(8001);
SELECT chatcrypt.shred_chat(8002, 'irreversible');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'body ' || n
	FROM unnest(ARRAY[8000, 8001, 8010]) AS n;

CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE writer; GRANT chatcrypt_writer, chatcrypt_reader TO writer;
SET ROLE writer;
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.shred_tenant(text, text) TO writer;
SET ROLE writer;
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
SET ROLE operator;
SELECT chatcrypt.shred_tenant('leaves');
SELECT chatcrypt.shred_tenant('leaves', confirm => 'yes');
SELECT chatcrypt.shred_tenant('nobody', confirm => 'irreversible');
SELECT chatcrypt.shred_tenant(NULL, confirm => 'irreversible');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
ROLLBACK;

BEGIN;
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
ROLLBACK;
RESET ROLE;
SELECT chat_id, body FROM chatcrypt.messages WHERE chat_id BETWEEN chatcrypt.to_uuid(8000) AND chatcrypt.to_uuid(8010) ORDER BY chat_id;

SET ROLE operator;
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
SELECT chatcrypt.shred_tenant('leaves', confirm => 'irreversible');
RESET ROLE;
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8000);
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8001);
SELECT chatcrypt.encrypt(8001, 1, 'no key');
SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(8010);
SELECT chat_id, dek_version, state, encrypted_dek IS NULL AND kcv IS NULL AS gone, valid_to IS NULL AS open_ended FROM chatcrypt.dek
WHERE chat_id BETWEEN chatcrypt.to_uuid(8000) AND chatcrypt.to_uuid(8010) ORDER BY chat_id, dek_version;
SELECT event, chat_id, tenant, detail, role FROM chatcrypt.key_event
WHERE tenant = 'leaves' AND event = 'shred' ORDER BY event_id;
DROP OWNED BY operator, writer;
DROP ROLE operator, writer;
