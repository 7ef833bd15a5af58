-- The views that a monitor reads: the state of keys, of tenants and of this database.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_state;
\c regression_state
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION chatcrypt;
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader, chatcrypt_feeder TO app;
\pset null (null)
PREPARE unopened AS SELECT unopened_damaged AS damaged, unopened_no_key AS no_key, unopened_destroyed AS destroyed,
	unopened_kms AS kms, last_unopened > now() - interval '1 min' AS lately FROM chatcrypt.health;
PREPARE due AS SELECT tenant, chats, chats_due, date_trunc('day', now() - oldest_due) AS late FROM chatcrypt.tenant_state;

-- Before the first chat.
TABLE chatcrypt.key_state;
TABLE chatcrypt.tenant_state;
\x on
TABLE chatcrypt.health;
\x off

-- Keys, by the KMS key that wraps them.
SELECT chatcrypt.create_tenant('months'), chatcrypt.create_tenant('days'), chatcrypt.create_tenant('none'), chatcrypt.create_tenant('empty', 'vault:transit/eu');
SELECT chatcrypt.create_chats(ARRAY[1, 2]::bigint[], tenant => 'months'), chatcrypt.create_chats(ARRAY[3, 4]::bigint[], tenant => 'days');
SELECT chatcrypt.create_chats(ARRAY[5, 6]::bigint[], tenant => 'none'), chatcrypt.create_chat(7, tenant => 'none', mode => 'conversation_key');
SELECT chatcrypt.rotate_chat(1);
SELECT kms_key, key_version, data_keys, active, below_minimum, oldest = (SELECT min(valid_from) FROM chatcrypt.dek) AS oldest FROM chatcrypt.key_state;
SELECT sum(data_keys) FILTER (WHERE u.data_keys = s.data_keys AND u.active = s.active) AS as_usage_has_it
FROM chatcrypt.key_state AS s FULL JOIN chatcrypt.kms_key_usage() AS u USING (kms_key, key_version, data_keys, active);
TABLE chatcrypt.tenant_state;
SELECT oldest_key = (SELECT min(valid_from) FROM chatcrypt.dek WHERE state = 'active') AS oldest_key FROM chatcrypt.health;

-- Rotation that is due by age: the policy of the tenant, that of the chat before it; keys that do
-- not seal are not counted.
UPDATE chatcrypt.tenant SET rotate_after = '12 months' WHERE tenant = 'months';
UPDATE chatcrypt.tenant SET rotate_after = '360 days' WHERE tenant = 'days';
EXECUTE due;
UPDATE chatcrypt.dek SET valid_from = now() - interval '362 days' WHERE chat_id = chatcrypt.to_uuid(3);
EXECUTE due;
SELECT tenant, reason FROM chatcrypt.due_for_rotation();
UPDATE chatcrypt.chat SET rotate_after = '10 years' WHERE chat_id = chatcrypt.to_uuid(3);
EXECUTE due;
UPDATE chatcrypt.chat SET rotate_after = '1 day' WHERE chat_id IN (chatcrypt.to_uuid(5), chatcrypt.to_uuid(7));
UPDATE chatcrypt.dek SET valid_from = now() - interval '3 days' WHERE chat_id IN (chatcrypt.to_uuid(5), chatcrypt.to_uuid(6), chatcrypt.to_uuid(7)) AND state = 'active';
EXECUTE due;
SELECT chats_due, date_trunc('day', now() - oldest_due) AS late, date_trunc('day', now() - oldest_key) AS oldest_key FROM chatcrypt.health;
BEGIN;
UPDATE chatcrypt.dek SET valid_from = now() - interval '4 days' WHERE chat_id = chatcrypt.to_uuid(7) AND purpose = 'conversation';
SELECT chats_due, date_trunc('day', now() - oldest_due) AS late FROM chatcrypt.health;
ROLLBACK;
CALL chatcrypt.rotate_due();
SELECT chats_due, oldest_due FROM chatcrypt.health;

-- Events: those after the last seal, and late ones before it.
SELECT events_unsealed = (SELECT count(*) FROM chatcrypt.key_event) AS all_of_them, oldest_unsealed = (SELECT min(happened_at) FROM chatcrypt.key_event) AS since FROM chatcrypt.health;
SELECT chatcrypt.seal_events() > 10 AS sealed;
SELECT events_unsealed, oldest_unsealed FROM chatcrypt.health;
SELECT nextval('chatcrypt.key_event_event_id_seq') AS late \gset
SELECT chatcrypt.rotate_chat(2);
SELECT chatcrypt.seal_events();
INSERT INTO chatcrypt.key_event (event_id, event, happened_at) VALUES (:late, 'purge', now() - interval '1 hour');
SELECT chatcrypt.rotate_chat(2);
SELECT events_unsealed, now() - oldest_unsealed >= interval '1 hour' AS late FROM chatcrypt.health;

-- A message that does not open counts once, whatever becomes of the error.
INSERT INTO chatcrypt.messages (chat_id, message_id, body) SELECT chatcrypt.to_uuid(c), chatcrypt.to_uuid(100 + c), 'body' FROM generate_series(1, 7) AS c;
SELECT count(body) FROM chatcrypt.messages;
EXECUTE unopened;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 45, get_byte(encrypted_message, 45) # 1) WHERE message_id = chatcrypt.to_uuid(103);
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(103);
EXECUTE unopened;
SELECT chatcrypt.try_decrypt(1, 1, '\x01');
SELECT chatcrypt.decrypt(1, 1, '\x01');
SET chatcrypt.on_decrypt_error = 'null';
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(103);
RESET chatcrypt.on_decrypt_error;
EXECUTE unopened;
SELECT chatcrypt.decrypt(1, 1, overlay(chatcrypt.encrypt(1, 1, 'x') PLACING '\x00000063' FROM 2));
SELECT chatcrypt.try_decrypt(1, 1, overlay(chatcrypt.encrypt(1, 1, 'x') PLACING '\x00000063' FROM 2));
EXECUTE unopened;
SELECT chatcrypt.shred_chat(4, 'irreversible');
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(104);
SET chatcrypt.on_decrypt_error = null_destroyed;
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(104);
SELECT chatcrypt.decrypt(1, 1, overlay(chatcrypt.encrypt(1, 1, 'x') PLACING '\x00000063' FROM 2));
SET chatcrypt.on_decrypt_error = 'null';
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(104);
RESET chatcrypt.on_decrypt_error;
EXECUTE unopened;
-- The KMS refuses to unwrap a key, and does not refuse to make one.
UPDATE chatcrypt.dek SET kcv = sha256('other'), encrypted_dek = set_byte(encrypted_dek, 30, get_byte(encrypted_dek, 30) # 1) WHERE chat_id = chatcrypt.to_uuid(6);
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(106);
EXECUTE unopened;
SELECT chatcrypt.encrypt(6, 1, 'x') IS NULL AS sealed;
EXECUTE unopened;
-- Files count as well.
SELECT chatcrypt.put_attachment(1, 50, 'content') IS NOT NULL AS stored;
UPDATE chatcrypt.sealed_attachment_part SET sealed = set_byte(sealed, 70, get_byte(sealed, 70) # 1);
SELECT chatcrypt.read_attachment(50);
EXECUTE unopened;
-- What verification finds is counted separately.
CALL chatcrypt.verify_all();
EXECUTE unopened;
SELECT verification_findings = (SELECT count(*) FROM chatcrypt.verification_finding) - 1 AS but_for_the_shredded, verification_findings, last_finding > now() - interval '1 min' AS lately FROM chatcrypt.health;

SELECT reason FROM chatcrypt.verification_finding WHERE reason LIKE '%destroyed%';
SELECT severity, finding, regexp_replace(what, 'last at .*', 'last at THEN.') AS what, remedy FROM chatcrypt.doctor() WHERE finding IN ('unopened_messages', 'verification_findings');
TRUNCATE chatcrypt.verification_finding;
SELECT finding FROM chatcrypt.doctor() WHERE finding IN ('unopened_messages', 'verification_findings');

-- The feed, and uploads.
SELECT chatcrypt.set_search(5, 'blind', feed => true);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(5), 'body' FROM generate_series(1, 3) AS n;
SELECT feed_behind = (SELECT count(*) FROM chatcrypt.search_feed) AS feed_behind, feed_behind >= 3 AS all_of_them,
	   feed_oldest = (SELECT min(noted_at) FROM chatcrypt.search_feed) AS since FROM chatcrypt.health;
SELECT chatcrypt.begin_attachment(1, 51) IS NOT NULL, chatcrypt.begin_attachment(1, 52) IS NOT NULL;
SELECT uploads_abandoned FROM chatcrypt.health;
UPDATE chatcrypt.sealed_attachment SET created_at = now() - interval '25 hours' WHERE file_id IN (chatcrypt.to_uuid(50), chatcrypt.to_uuid(52));
SELECT uploads_abandoned FROM chatcrypt.health;

-- Uses of keys that a session answers by itself are reported when its transaction ends.
SELECT session_hits AS own, hits + misses AS shared FROM chatcrypt.cache_status \gset
SELECT count(chatcrypt.encrypt(1, n, 'x')) FROM generate_series(1, 1000) AS n;
SELECT session_hits - :own + hits + misses - :shared AS uses, session_hits - :own >= 995 AS by_itself FROM chatcrypt.cache_status;
SELECT hit_ratio = (session_hits + hits)::float8 / (session_hits + hits + misses) AS ratio FROM chatcrypt.cache_status;

-- No more pages of the tables are read than these: counts come from indexes.
VACUUM (ANALYZE) chatcrypt.dek; VACUUM (ANALYZE) chatcrypt.chat;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT kms_key, kms_key_version, state, count(*), min(valid_from) FROM chatcrypt.dek WHERE state <> 'destroyed' GROUP BY kms_key, kms_key_version, state;
RESET enable_seqscan;

-- Auditors and administrators see the views, and no other role; they hold no text but names of
-- tenants and KMS keys.
SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) AS texts
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.oid IN ('chatcrypt.key_state'::regclass, 'chatcrypt.tenant_state'::regclass, 'chatcrypt.health'::regclass)
  AND a.attnum > 0 AND a.atttypid NOT IN ('bigint'::regtype, 'timestamptz'::regtype)
GROUP BY c.relname ORDER BY c.relname;
SET ROLE auditor;
SELECT (SELECT count(*) FROM chatcrypt.key_state) > 0 AS keys, (SELECT count(*) FROM chatcrypt.tenant_state) AS tenants, (SELECT count(*) FROM chatcrypt.health) AS databases;
SELECT kms_key_version IS NOT NULL AS version FROM chatcrypt.dek LIMIT 1;
SELECT * FROM chatcrypt_internal.read_keys_due(true);
SELECT * FROM chatcrypt_internal.read_unsealed_events(1);
SELECT * FROM chatcrypt_internal.read_failed_opens();
SET ROLE operator;
SELECT (SELECT count(*) FROM chatcrypt.key_state) > 0 AS keys, (SELECT count(*) FROM chatcrypt.tenant_state) AS tenants, (SELECT count(*) FROM chatcrypt.health) AS databases;
SET ROLE app;
TABLE chatcrypt.key_state;
TABLE chatcrypt.tenant_state;
TABLE chatcrypt.health;
SELECT * FROM chatcrypt_internal.read_key_state();
SELECT * FROM chatcrypt_internal.read_tenant_state();
SELECT * FROM chatcrypt_internal.read_health();
RESET ROLE;
-- An actor makes no difference, because these are not rows of chats.
BEGIN;
SELECT chatcrypt.act_as('nobody');
SET LOCAL ROLE auditor;
SELECT sum(chats) FROM chatcrypt.tenant_state;
ROLLBACK;

\c :home
DROP DATABASE regression_state;
DROP ROLE auditor, operator, app;
