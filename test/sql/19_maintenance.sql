-- Maintenance on demand: who may ask for it, and what it reports.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
SELECT chatcrypt.create_chat(19000) \gset
SET ROLE auditor;
CALL chatcrypt.run_maintenance();
SELECT coalesce(max(runs), 0) AS runs FROM chatcrypt.maintenance_status WHERE database = current_database() AND task = 'round' \gset
RESET ROLE;
SET ROLE operator;
BEGIN;
CALL chatcrypt.run_maintenance();
ROLLBACK;
SELECT chatcrypt.run_maintenance();
SET default_transaction_read_only = on;
CALL chatcrypt.run_maintenance();
RESET default_transaction_read_only;

CALL chatcrypt.run_maintenance();
RESET ROLE;
SET ROLE auditor;
SELECT task, running, last_success >= last_start AS succeeded, last_error, failures, partial_failures, failed_items, next_due IS NOT NULL AS due_again
FROM chatcrypt.maintenance_status WHERE database = current_database() AND task IN ('round', 'seal_events') ORDER BY task;
SELECT count(*) AS unsealed FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(19000)
AND NOT event_id <@ (SELECT range_agg(ids) FROM chatcrypt.event_seal, unnest(event_ids) AS ids);
RESET ROLE;

-- A task that fails in part has failed, is reported with the first reason, and does not stop the
-- others.
SELECT chatcrypt.create_tenant('away', 'local:acme'), chatcrypt.create_chat(19001), chatcrypt.create_chat(19002, tenant => 'away') \gset
SET client_min_messages = error;
UPDATE chatcrypt.tenant SET kms_key = 'local:nosuchkey' WHERE tenant = 'away';
UPDATE chatcrypt.chat SET rotate_after = '1 microsecond' WHERE chat_id IN (chatcrypt.to_uuid(19001), chatcrypt.to_uuid(19002));
RESET client_min_messages;
CALL chatcrypt.run_maintenance();
SELECT last_success >= last_start AS succeeded, last_error, last_error_at >= last_start AS now, failures, partial_failures, failed_items, items
FROM chatcrypt.maintenance_status WHERE database = current_database() AND task = 'rotate_due';
DELETE FROM chatcrypt.chat WHERE chat_id IN (chatcrypt.to_uuid(19001), chatcrypt.to_uuid(19002));
CALL chatcrypt.run_maintenance();
SELECT last_success > last_error_at AS succeeded, failures, partial_failures, failed_items, items
FROM chatcrypt.maintenance_status WHERE database = current_database() AND task = 'rotate_due';

-- Tasks run whenever maintenance is asked for, due or not.
CALL chatcrypt.run_maintenance();
SELECT runs - :runs AS runs FROM chatcrypt.maintenance_status WHERE database = current_database() AND task = 'round';
DROP OWNED BY operator, auditor;
DROP ROLE operator, auditor;
