-- Chats and their keys: how they are made, and what is refused.
CREATE EXTENSION IF NOT EXISTS chatcrypt;
\set VERBOSITY terse
\set ON_ERROR_STOP 0

-- Nothing is made before the first chat: rows of the script would collide with those of a dump.
SELECT (SELECT count(*) FROM chatcrypt.deployment) AS deployments, (SELECT count(*) FROM chatcrypt.tenant) AS tenants;

SELECT chatcrypt.create_chat('11111111-1111-1111-1111-111111111111'::uuid, ARRAY['alice', 'bob']);
SELECT chatcrypt.create_chat(42);
SELECT chatcrypt.create_chat(participants => ARRAY['carol']) IS NOT NULL AS made;
SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[]);
SELECT chatcrypt.create_chats(ARRAY['22222222-2222-2222-2222-222222222222']::uuid[]);
SELECT chatcrypt.create_chats('{}'::uuid[]);

SELECT chat_id, tenant, participants, mode, external_envelopes FROM chatcrypt.chats
WHERE participants <> '{carol}' ORDER BY chat_id;
SELECT count(*), min(purpose), min(dek_version), min(state), min(kms_key), bool_and(octet_length(kcv) = 32) AS kcv,
	   bool_and(valid_to IS NULL) AS open_ended, count(DISTINCT encrypted_dek) AS distinct_keys
FROM chatcrypt.dek;
SELECT (SELECT count(*) FROM chatcrypt.deployment) AS deployments, (SELECT array_agg(tenant) FROM chatcrypt.tenant) AS tenants;

-- A chat can be made only once.
SELECT chatcrypt.create_chat('11111111-1111-1111-1111-111111111111'::uuid);
SELECT chatcrypt.create_chats(ARRAY[7, 7]::bigint[]);
SELECT chatcrypt.create_chats(ARRAY[8, NULL]::bigint[]);
SELECT chatcrypt.create_chat(9, participants => NULL);
SELECT chatcrypt.create_chat(9, participants => ARRAY['a', NULL]);
SELECT chatcrypt.create_chat(9, mode => 'secret');
SELECT chatcrypt.create_chat(9, tenant => 'nobody');

-- A chat and its key are made and deleted together.
BEGIN;
SELECT chatcrypt.create_chat(10);
SELECT chatcrypt.encrypt(10, 1, 'in the same transaction') IS NOT NULL AS sealed;
ROLLBACK;
SELECT chatcrypt.encrypt(10, 1, 'after the rollback');
BEGIN;
SAVEPOINT s;
SELECT chatcrypt.create_chat(10);
SELECT chatcrypt.decrypt(10, 1, chatcrypt.encrypt(10, 1, 'before'));
ROLLBACK TO s;
SELECT chatcrypt.encrypt(10, 1, 'after');
ROLLBACK;

-- Modes of chats.
SELECT chatcrypt.create_chat(20, mode => 'conversation_key');
SELECT chatcrypt.create_chat(21, mode => 'e2ee');
SELECT purpose, dek_version, state FROM chatcrypt.dek WHERE chat_id IN (chatcrypt.to_uuid(20), chatcrypt.to_uuid(21));
SELECT chatcrypt.decrypt(20, 1, chatcrypt.encrypt(20, 1, 'conversation'));
SELECT chatcrypt.encrypt(20, 1, 'conversation', 'aad'::bytea);
SELECT substr(chatcrypt.encrypt(20, 1, 'conversation'), 1, 5);
SELECT chatcrypt.encrypt(21, 1, 'plaintext');
SELECT chatcrypt.rotate_chat(21);

-- Tenants with keys of their own.
SELECT chatcrypt.create_tenant('acme', 'local:acme');
SELECT chatcrypt.create_chat(30, tenant => 'acme');
SELECT kms_key FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(30);
SELECT chatcrypt.create_tenant('acme');
SELECT chatcrypt.create_tenant('bad', 'local:../etc');
SELECT chatcrypt.create_tenant('bad', 'nosuch:key');
SELECT chatcrypt.create_tenant('');
SELECT chatcrypt.create_tenant(NULL);
SELECT chatcrypt.create_tenant('gone', 'local:nosuchkey');
SELECT chatcrypt.create_chat(31, tenant => 'gone');
SELECT count(*) FROM chatcrypt.chat WHERE tenant = 'gone';

-- A KMS key of a tenant is checked and tried wherever it is set.
INSERT INTO chatcrypt.tenant (tenant, kms_key) VALUES ('bad', 'nosuch:key');
INSERT INTO chatcrypt.tenant (tenant, kms_key) VALUES ('bad', '');
SET ROLE chatcrypt_admin;
UPDATE chatcrypt.tenant SET kms_key = 'local:../etc' WHERE tenant = 'gone';
UPDATE chatcrypt.tenant SET kms_key = 'local:typo' WHERE tenant IN ('gone', 'acme');
UPDATE chatcrypt.tenant SET kms_key = 'local:typo', retention = '1 day' WHERE tenant = 'acme';
UPDATE chatcrypt.tenant SET kms_key = 'local:acme', retention = NULL WHERE tenant = 'acme';
UPDATE chatcrypt.tenant SET kms_key = NULL WHERE tenant = 'gone';
RESET ROLE;
UPDATE chatcrypt.tenant SET kms_key = 'local:nosuchkey' WHERE tenant = 'gone';
SELECT tenant, kms_key FROM chatcrypt.tenant WHERE tenant IN ('gone', 'acme', 'bad') ORDER BY tenant;

-- Ids of chats.
SELECT chatcrypt.to_uuid(42), chatcrypt.to_uuid(-1), chatcrypt.to_uuid(42, 7);
SELECT chatcrypt.to_uuid(1, -1);
SELECT chatcrypt.to_uuid(1, 281474976710656);

-- Rotation of a chat.
SELECT chatcrypt.rotate_chat(42), chatcrypt.rotate_chat(42);
SELECT dek_version, state, valid_to IS NULL AS open_ended,
	   valid_from = lag(valid_to) OVER (ORDER BY dek_version) AS without_gap
FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(42) ORDER BY dek_version;
SELECT chatcrypt.rotate_chat(4711);
SELECT chatcrypt.rotate_chat(20);

-- Import of a data key.
SELECT chatcrypt.import_dek(1, decode(repeat('ab', 32), 'hex'), 7);
SELECT dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(1) ORDER BY dek_version;
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 3);
SELECT dek_version, state, valid_to IS NOT NULL AS ended FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(1) ORDER BY dek_version;
SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, 'by the imported key'));
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 3);
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 0);
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 1000000001);
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 31), 'hex'), 8);
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 8, 'sesame');
SELECT chatcrypt.import_dek(1, decode(repeat('cd', 32), 'hex'), 8, 'conversation');
SELECT chatcrypt.import_dek(21, decode(repeat('cd', 32), 'hex'), 1);
SELECT chatcrypt.import_dek(1, decode(repeat('ef', 32), 'hex'), 1, 'search');
SELECT chatcrypt.rotate_chat(1);

-- A known answer: the envelope of another implementation opens here.
SELECT chatcrypt.create_chat('e5725b48-0275-0191-0f72-524d7966b5ef'::uuid);
SELECT chatcrypt.import_dek('65552323-72c0-40b2-f8f8-eb7e8b4c7cb8'::uuid, '\x00', 2);
SELECT chatcrypt.create_chat('65552323-72c0-40b2-f8f8-eb7e8b4c7cb8'::uuid);
SELECT chatcrypt.import_dek('65552323-72c0-40b2-f8f8-eb7e8b4c7cb8'::uuid,
	'\xdcff86b1b946fb1c430be08dc19c03d2563f0e11e29acbda5db9a1b8faba28ec', 2);
SELECT chatcrypt.decrypt('65552323-72c0-40b2-f8f8-eb7e8b4c7cb8'::uuid, '85af2afa-996e-e357-91fb-29cde1b08118'::uuid,
	'\x0100000002bfd6bef5bb7e6a90f736bbdbfef9ba37c8081095d07e6b4e0627f4e44cafdbaf5d62188eb1e505147117e770372080d12794826d',
	'sender=alice');
SELECT encode(kcv, 'hex') FROM chatcrypt.dek WHERE chat_id = '65552323-72c0-40b2-f8f8-eb7e8b4c7cb8' AND dek_version = 2;

-- Shredding of a chat.
SELECT chatcrypt.encrypt(2, 1, 'soon unreadable') AS envelope \gset
SELECT chatcrypt.decrypt(2, 1, :'envelope');
SELECT chatcrypt.shred_chat(2);
SELECT chatcrypt.shred_chat(2, confirm => 'yes');
SELECT chatcrypt.shred_chat(4711, confirm => 'irreversible');
BEGIN;
SELECT chatcrypt.shred_chat(2, confirm => 'irreversible');
SELECT chatcrypt.decrypt(2, 1, :'envelope');
ROLLBACK;
SELECT chatcrypt.decrypt(2, 1, :'envelope');
SELECT chatcrypt.shred_chat(2, confirm => 'irreversible');
SELECT chatcrypt.decrypt(2, 1, :'envelope');
SELECT chatcrypt.try_decrypt(2, 1, :'envelope');
SELECT chatcrypt.encrypt(2, 1, 'no key left');
SELECT state, encrypted_dek, kcv, valid_to IS NOT NULL AS ended FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2);
SELECT chatcrypt.shred_chat(2, confirm => 'irreversible');

-- Rows that the tables refuse.
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, encrypted_dek, kcv)
	SELECT chat_id, purpose, dek_version + 1, state, kms_key, encrypted_dek, kcv FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(3);
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, valid_to) VALUES (chatcrypt.to_uuid(3), 'data', 9, 'decrypt_only', 'local:main', now());
UPDATE chatcrypt.dek SET kcv = '\x00' WHERE chat_id = chatcrypt.to_uuid(3);
UPDATE chatcrypt.dek SET state = 'decrypt_only' WHERE chat_id = chatcrypt.to_uuid(3);
UPDATE chatcrypt.dek SET dek_version = 0 WHERE chat_id = chatcrypt.to_uuid(3);
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, valid_from, valid_to)
	SELECT chat_id, purpose, 9, 'destroyed', kms_key, valid_to - interval '1 us', valid_to FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(42) AND dek_version = 2;
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, valid_from, valid_to)
	SELECT chat_id, purpose, 9, 'destroyed', kms_key, now(), now() + interval '1 h' FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(42) AND dek_version = 3;
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, encrypted_message, dek_version) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), 'plaintext'::bytea, 1);
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, encrypted_message, dek_version) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), chatcrypt.encrypt(3, 1, 'x'), 2);
INSERT INTO chatcrypt.deployment VALUES (false);

-- A key without its check value is not used.
SELECT chatcrypt.create_chat(50);
UPDATE chatcrypt.dek SET kcv = decode(repeat('00', 32), 'hex') WHERE chat_id = chatcrypt.to_uuid(50);
SELECT chatcrypt.encrypt(50, 1, 'unchecked');
DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(50);
SELECT (chatcrypt.warm_keys('{}'::bigint[])).warmed, (chatcrypt.warm_keys('{}'::uuid[])).warmed;
