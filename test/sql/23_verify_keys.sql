-- verify_keys() asks the KMS, not the caches, and lists the data keys that have changed.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_tenant('checked', 'local:acme'), chatcrypt.create_tenant('elsewhere', 'local:acme');
SELECT chatcrypt.create_chats(ARRAY[11000, 11001, 11002, 11003, 11004]::bigint[], tenant => 'checked');
SELECT chatcrypt.create_chat(11005, tenant => 'checked', mode => 'conversation_key'), chatcrypt.create_chat(11006, tenant => 'elsewhere');
SELECT chatcrypt.rotate_chat(11000);
SELECT chatcrypt.shred_chat(11004, 'irreversible');
SELECT chatcrypt.encrypt(11001, 1, 'warm') AS envelope \gset
CREATE TABLE before AS SELECT entries FROM chatcrypt.cache_status;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE stranger; GRANT chatcrypt_writer, chatcrypt_reader TO stranger;
SET ROLE operator;
SELECT * FROM chatcrypt.verify_keys(tenant => 'checked');
SELECT * FROM chatcrypt.verify_keys(tenant => 'elsewhere');
SELECT * FROM chatcrypt.verify_keys(kms_key => 'local:nosuchkey');
RESET ROLE;
SELECT entries = (SELECT entries FROM before) AS cache_as_it_was FROM chatcrypt.cache_status;

-- A wrapped key of another chat, a damaged one, another key under the right name, a key service
-- that has no such key.
UPDATE chatcrypt.dek SET encrypted_dek = (SELECT encrypted_dek FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(11006)) WHERE chat_id = chatcrypt.to_uuid(11001);
UPDATE chatcrypt.dek SET encrypted_dek = '\x00' WHERE chat_id = chatcrypt.to_uuid(11002);
UPDATE chatcrypt.dek SET kcv = sha256('another key') WHERE chat_id = chatcrypt.to_uuid(11003);
UPDATE chatcrypt.dek SET kms_key = 'local:nosuchkey' WHERE chat_id IN (chatcrypt.to_uuid(11000), chatcrypt.to_uuid(11005));
SELECT chatcrypt.decrypt(11001, 1, :'envelope') AS from_a_cache;
SET ROLE operator;
SELECT chat_id, purpose, dek_version, kms_key, reason FROM chatcrypt.verify_keys(tenant => 'checked') ORDER BY 1, 3;
SELECT chat_id, reason FROM chatcrypt.verify_keys(kms_key => 'local:acme') ORDER BY 1;
SELECT * FROM chatcrypt.verify_keys(tenant => 'elsewhere');
RESET ROLE;
SELECT event, chat_id, purpose, dek_version, kms_key, detail, role FROM chatcrypt.key_event
WHERE event = 'unwrap_failed' AND chat_id BETWEEN chatcrypt.to_uuid(11000) AND chatcrypt.to_uuid(11006) ORDER BY event_id LIMIT 3;
SELECT chatcrypt.decrypt(11001, 1, :'envelope') AS still_from_a_cache;

-- With a limit, each call checks a sample of at most that many keys; repeated calls find every bad
-- one.
SET ROLE operator;
SELECT * FROM chatcrypt.verify_keys(max_keys => 0);
SELECT bool_and(n <= 2) AS bounded, count(DISTINCT chat_id) AS found FROM (
	SELECT chat_id, count(*) OVER (PARTITION BY i) AS n FROM generate_series(1, 200) AS i, LATERAL chatcrypt.verify_keys(max_keys => 2 + i * 0, tenant => 'checked')) AS samples;
SELECT * FROM chatcrypt.verify_keys(max_keys => -1);
BEGIN READ ONLY;
SELECT chat_id, reason FROM chatcrypt.verify_keys(tenant => 'checked') ORDER BY 1, dek_version;
COMMIT;
SET ROLE stranger;
SELECT * FROM chatcrypt.verify_keys();
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.verify_keys(text, text, bigint) TO stranger;
SET ROLE stranger;
SELECT * FROM chatcrypt.verify_keys();
RESET ROLE;

-- warm_keys() reports each key that does not open, and goes on with the others; here all keys are
-- cold.
UPDATE chatcrypt.dek SET kcv = sha256(kcv) WHERE chat_id BETWEEN chatcrypt.to_uuid(11000) AND chatcrypt.to_uuid(11005);
SELECT warmed, chat_id, purpose, dek_version, reason, detail <> '' AS has_detail
FROM chatcrypt.warm_keys(ARRAY[11000, 11001, 11002, 11003, 11004, 11005, 11006, 11007]) ORDER BY 1, 2;
SELECT * FROM chatcrypt.warm_keys(NULL::bigint[]);
SELECT * FROM chatcrypt.warm_keys(ARRAY[11001, NULL]);

-- A check value of zeroes is that of no key, and does not turn the check off.
SELECT chatcrypt.create_chat(11008, tenant => 'elsewhere');
UPDATE chatcrypt.dek SET kcv = decode(repeat('00', 32), 'hex') WHERE chat_id = chatcrypt.to_uuid(11008);
SELECT chat_id, reason FROM chatcrypt.verify_keys(tenant => 'elsewhere');
DELETE FROM chatcrypt.chat WHERE tenant IN ('checked', 'elsewhere');
DROP TABLE before;
DROP OWNED BY operator, stranger;
DROP ROLE operator, stranger;
