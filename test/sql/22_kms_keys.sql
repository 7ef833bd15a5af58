-- Data keys under a new version of their KMS key, and under another KMS key.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
-- Master keys of this test alone: those of other tests must not be rotated.
CREATE PROCEDURE write_key(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT encode(sha256(gen_random_uuid()::text::bytea), ''hex'')) TO PROGRAM %L',
				   format('umask 077; cat >%s/%s.key', current_setting('chatcrypt.local_key_dir'), name));
END
$$;
CREATE PROCEDURE remove_key(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT) TO PROGRAM %L', format('cat; rm -f %s/%s.key', current_setting('chatcrypt.local_key_dir'), name));
END
$$;
CALL remove_key('turn.2'); CALL remove_key('turn.3'); CALL write_key('turn'); CALL write_key('other');
SELECT chatcrypt.create_tenant('turning', 'local:turn'), chatcrypt.create_tenant('also', 'local:turn');
SELECT chatcrypt.create_chats(ARRAY[10000, 10001, 10002]::bigint[], tenant => 'turning');
SELECT chatcrypt.create_chat(10003, tenant => 'also'), chatcrypt.create_chat(10004, tenant => 'also', mode => 'conversation_key');
SELECT chatcrypt.rotate_chat(10000), chatcrypt.shred_chat(10002, 'irreversible');
SELECT chatcrypt.encrypt(10000, 1, 'old version') AS envelope \gset
CREATE TABLE before AS SELECT dek_id, encrypted_dek, kcv, state, valid_from, valid_to FROM chatcrypt.dek;
CREATE VIEW keys AS SELECT chat_id, purpose, dek_version, state, kms_key, chatcrypt_internal.kms_key_version(kms_key, encrypted_dek) AS key_version
	FROM chatcrypt.dek WHERE chat_id BETWEEN chatcrypt.to_uuid(10000) AND chatcrypt.to_uuid(10010);
CREATE ROLE operator; GRANT chatcrypt_admin TO operator; GRANT SELECT ON keys TO operator;
CREATE ROLE stranger; GRANT chatcrypt_writer, chatcrypt_reader TO stranger;
SET ROLE operator;

-- Nothing to do yet.
CALL chatcrypt.rewrap(kms_key => 'local:turn');
SELECT * FROM chatcrypt.kms_key_usage() WHERE kms_key IN ('local:turn', 'local:other');

-- A new version of the key: by chat, by tenant, by key, and then what is left.
RESET ROLE;
CALL write_key('turn.2');
SET ROLE operator;
SELECT chatcrypt.create_chat(10005, tenant => 'also');
RESET ROLE;
SELECT chatcrypt.create_chat(10005, tenant => 'also');
SET ROLE operator;
SELECT * FROM chatcrypt.kms_key_usage() WHERE kms_key IN ('local:turn', 'local:other');
CALL chatcrypt.rewrap(chat_id => chatcrypt.to_uuid(10003));
CALL chatcrypt.rewrap(tenant => 'turning', max_keys => 1);
SELECT * FROM keys ORDER BY 1, 3;
CALL chatcrypt.rewrap(tenant => 'turning');
CALL chatcrypt.rewrap(kms_key => 'local:turn', max_keys => 0);
CALL chatcrypt.rewrap(kms_key => 'local:turn');
CALL chatcrypt.rewrap(tenant => 'also');
SELECT * FROM keys ORDER BY 1, 3;
SELECT * FROM chatcrypt.kms_key_usage() WHERE kms_key IN ('local:turn', 'local:other');
RESET ROLE;
SELECT count(*) AS rewrapped, bool_and(d.encrypted_dek <> before.encrypted_dek) AS newly, bool_and(d.kcv = before.kcv) AS the_same_key,
	   bool_and(d.state = before.state AND d.valid_from = before.valid_from AND d.valid_to IS NOT DISTINCT FROM before.valid_to) AS untouched
FROM chatcrypt.dek d JOIN before USING (dek_id) WHERE kms_key = 'local:turn' AND d.state <> 'destroyed';
SELECT event, chat_id, purpose, dek_version, kms_key, detail, role FROM chatcrypt.key_event WHERE event = 'rewrap' AND kms_key = 'local:turn' ORDER BY event_id;
SELECT chatcrypt.decrypt(10000, 1, :'envelope');

-- Another key: tenants are switched first, keys follow.
SET ROLE operator;
CALL chatcrypt.move_kms_key('local:turn', 'local:nosuchkey');
SELECT tenant, kms_key FROM chatcrypt.tenant WHERE tenant IN ('turning', 'also') ORDER BY 1;
CALL chatcrypt.move_kms_key('local:turn', 'local:other', max_keys => 2);
SELECT tenant, kms_key FROM chatcrypt.tenant WHERE tenant IN ('turning', 'also') ORDER BY 1;
SELECT * FROM chatcrypt.kms_key_usage() WHERE kms_key IN ('local:turn', 'local:other');
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
SELECT * FROM keys ORDER BY 1, 3;
RESET ROLE;
SELECT chatcrypt.decrypt(10000, 1, :'envelope');
SELECT event, chat_id, tenant, purpose, dek_version, kms_key, detail FROM chatcrypt.key_event
WHERE event = 'move' AND chat_id IS NOT NULL OR event = 'policy' AND tenant IN ('turning', 'also') ORDER BY event_id;

-- And back, with a key that has gone meanwhile: a data key that does not open stops no other.
UPDATE chatcrypt.dek SET encrypted_dek = (SELECT encrypted_dek FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(10001))
WHERE chat_id = chatcrypt.to_uuid(10003);
SET ROLE operator;
CALL chatcrypt.move_kms_key('local:other', 'local:turn');
SELECT * FROM keys ORDER BY 1, 3;
RESET ROLE;
CALL remove_key('turn'); CALL remove_key('turn.2'); CALL write_key('third');
SET ROLE operator;
-- Nothing that "local:other" wrapped opens any more, so it wraps nothing new.
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
CALL chatcrypt.move_kms_key('local:turn', 'local:third');
CALL chatcrypt.rewrap(kms_key => 'local:turn');
SELECT kms_key, count(*) FROM keys WHERE state <> 'destroyed' GROUP BY 1 ORDER BY 1;
SELECT tenant, kms_key FROM chatcrypt.tenant WHERE tenant IN ('turning', 'also') ORDER BY 1;
RESET ROLE;
SELECT chatcrypt.decrypt(10000, 1, :'envelope');

-- What is refused.
SET ROLE operator;
CALL chatcrypt.rewrap(tenant => 'nobody');
CALL chatcrypt.rewrap(chat_id => chatcrypt.to_uuid(4711));
CALL chatcrypt.rewrap(kms_key => 'nosuch:key');
CALL chatcrypt.rewrap(max_keys => -1);
CALL chatcrypt.move_kms_key('local:turn', 'local:turn');
CALL chatcrypt.move_kms_key('local:turn', NULL);
CALL chatcrypt.move_kms_key('nosuch:key', 'local:turn');
CALL chatcrypt.move_kms_key('local:turn', 'local:../turn');
BEGIN;
CALL chatcrypt.rewrap();
ROLLBACK;
BEGIN;
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
ROLLBACK;
SET ROLE stranger;
CALL chatcrypt.rewrap();
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
SELECT chatcrypt.kms_key_usage();
RESET ROLE;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal TO stranger;
SET ROLE stranger;
CALL chatcrypt.rewrap();
CALL chatcrypt.move_kms_key('local:turn', 'local:other');
SELECT chatcrypt.kms_key_usage();
RESET ROLE;
SELECT chatcrypt_internal.kms_key_version('local:turn', '\x00'), chatcrypt_internal.kms_key_version('vault:transit/x', 'vault:v7:short'), chatcrypt_internal.kms_key_version('nosuch:key', '\x00');
DELETE FROM chatcrypt.chat WHERE chat_id BETWEEN chatcrypt.to_uuid(10000) AND chatcrypt.to_uuid(10005);
DELETE FROM chatcrypt.tenant WHERE tenant IN ('turning', 'also');
CALL remove_key('other'); CALL remove_key('third');
DROP VIEW keys;
DROP TABLE before;
DROP PROCEDURE write_key, remove_key;
DROP OWNED BY operator, stranger;
DROP ROLE operator, stranger;
