-- doctor(): each finding that a session can cause, and how it ends.
-- Findings about files, limits and the network are in t/080_doctor.pl.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set QUIET on
SET client_min_messages = error;
SET jit = off;
\pset format unaligned
\pset tuples_only on
\set found 'SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding = '

-- Findings of every server of the tests.
SELECT severity, finding FROM chatcrypt.doctor()
WHERE finding NOT IN ('core_dumps', 'keys_not_locked', 'local_keys_on_data_volume', 'unopened_messages', 'kms_refused');

-- Every row has all of its columns.
SELECT count(*) FROM chatcrypt.doctor()
WHERE severity NOT IN ('critical', 'warning', 'notice') OR finding !~ '^[a-z_]+$'
   OR what !~ '\.$' OR why !~ '\.$' OR remedy !~ '\.$'
   OR severity IS NULL OR finding IS NULL OR what IS NULL OR why IS NULL OR remedy IS NULL;

-- Statement logs: text and parameters, or text alone.
SET log_statement = 'mod';
SELECT * FROM chatcrypt.doctor() WHERE finding = 'log_statement';
SET log_parameter_max_length = 0;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'log_statement';
SET log_parameter_max_length = '1kB';
:found 'log_statement';
RESET log_statement;
:found 'log_statement';
RESET log_parameter_max_length;
SET log_min_duration_statement = 0;
:found 'log_min_duration_statement';
RESET log_min_duration_statement;
:found 'log_min_duration_statement';
SET log_min_duration_sample = '10min';
:found 'log_min_duration_sample';
RESET log_min_duration_sample;
:found 'log_min_duration_sample';
SET log_transaction_sample_rate = 0.001;
:found 'log_transaction_sample_rate';
RESET log_transaction_sample_rate;
:found 'log_transaction_sample_rate';
SET log_parameter_max_length_on_error = -1;
:found 'log_parameter_max_length_on_error';
RESET log_parameter_max_length_on_error;
:found 'log_parameter_max_length_on_error';
-- A value that a session sets for itself does not hide that of the server.
SET log_min_error_statement = panic;
:found 'log_min_error_statement';
SET log_min_error_statement = fatal;
:found 'log_min_error_statement';
RESET log_min_error_statement;
SET log_min_messages = error;
:found 'log_min_messages';
SET log_min_messages = fatal;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'log_min_messages';
SET log_min_messages = panic;
:found 'log_min_messages';
RESET log_min_messages;
:found 'log_min_messages';
LOAD 'auto_explain';
:found 'auto_explain';
SET auto_explain.log_min_duration = '1h';
:found 'auto_explain';
RESET auto_explain.log_min_duration;
:found 'auto_explain';
SET track_activities = off;
:found 'track_activities';
SET track_activities = on;
SET temp_tablespaces = 'pg_default';
:found 'temp_files';
RESET temp_tablespaces;
SET chatcrypt.on_decrypt_error = 'null';
:found 'on_decrypt_error';
RESET chatcrypt.on_decrypt_error;
:found 'on_decrypt_error';
SET chatcrypt.allow_drop = on;
:found 'allow_drop';
RESET chatcrypt.allow_drop;
:found 'allow_drop';

-- Roles and databases have values of their own; those of other databases cannot be seen here.
CREATE ROLE doctor_app;
SELECT current_database() AS here \gset
ALTER ROLE doctor_app SET log_statement = 'ALL';
ALTER ROLE doctor_app IN DATABASE :"here" SET log_min_duration_statement = '250ms';
ALTER ROLE doctor_app IN DATABASE template1 SET log_transaction_sample_rate = 1;
ALTER ROLE doctor_app SET debug_print_parse = 'yes';
ALTER ROLE doctor_app SET debug_print_rewritten = 1;
ALTER ROLE doctor_app SET debug_print_plan = 'true';
ALTER ROLE doctor_app IN DATABASE :"here" SET log_parameter_max_length = '0kB';
ALTER ROLE ALL SET log_min_duration_sample = '0';
ALTER ROLE doctor_app SET pg_stat_statements.track_utility = 'true';
ALTER ROLE doctor_app SET pgaudit.log = 'ddl, Read';
SELECT severity, finding, replace(what, current_database(), 'HERE') FROM chatcrypt.doctor()
WHERE finding IN ('log_statement', 'log_min_duration_statement', 'debug_print', 'log_min_duration_sample',
				  'log_transaction_sample_rate', 'pg_stat_statements', 'pgaudit');
ALTER ROLE doctor_app SET log_statement = 'none';
ALTER ROLE doctor_app IN DATABASE :"here" SET log_min_duration_statement = '-1';
ALTER ROLE ALL SET log_min_duration_sample = '-1';
ALTER ROLE doctor_app SET debug_print_parse = 'no';
ALTER ROLE doctor_app SET debug_print_rewritten = 0;
ALTER ROLE doctor_app SET debug_print_plan = 'of';
ALTER ROLE doctor_app SET pg_stat_statements.track_utility = 'off';
ALTER ROLE doctor_app SET pgaudit.log = 'ddl, role';
SELECT count(*) FROM chatcrypt.doctor()
WHERE finding IN ('log_statement', 'log_min_duration_statement', 'debug_print', 'log_min_duration_sample',
				  'log_transaction_sample_rate', 'pg_stat_statements', 'pgaudit');
ALTER ROLE ALL RESET ALL;
ALTER ROLE doctor_app RESET ALL;
ALTER ROLE doctor_app IN DATABASE :"here" RESET ALL;
ALTER ROLE doctor_app IN DATABASE template1 RESET ALL;
DROP ROLE doctor_app;

-- Roles.  Every role that may SET ROLE counts, whether it inherits or not; a role that cannot log
-- in does not.
CREATE ROLE doctor_group;
GRANT chatcrypt_reader TO doctor_group;
CREATE ROLE "Doctor reader" LOGIN NOINHERIT IN ROLE doctor_group;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'readers';
ALTER ROLE "Doctor reader" BYPASSRLS;
:found 'bypassrls';
ALTER ROLE "Doctor reader" NOBYPASSRLS;
:found 'bypassrls';
ALTER ROLE doctor_group SET chatcrypt.require_actor = on;
:found 'require_actor_inherited';
ALTER ROLE "Doctor reader" IN DATABASE :"here" SET chatcrypt.require_actor = on;
:found 'require_actor_inherited';
ALTER ROLE "Doctor reader" IN DATABASE :"here" SET chatcrypt.require_actor = off;
ALTER ROLE "Doctor reader" SET chatcrypt.require_actor = on;
:found 'require_actor_inherited';
ALTER ROLE "Doctor reader" IN DATABASE :"here" RESET ALL;
:found 'require_actor_inherited';
ALTER ROLE "Doctor reader" RESET ALL;
ALTER ROLE doctor_group RESET ALL;
:found 'require_actor_inherited';
GRANT chatcrypt_admin TO "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding IN ('readers', 'admins', 'admin_and_messages');
REVOKE doctor_group FROM "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding IN ('readers', 'admins', 'admin_and_messages');
GRANT chatcrypt_writer TO "Doctor reader";
:found 'admin_and_messages';
REVOKE chatcrypt_admin, chatcrypt_writer FROM "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding IN ('readers', 'admins', 'admin_and_messages');
GRANT chatcrypt_keyholder TO "Doctor reader";
SELECT * FROM chatcrypt.doctor() WHERE finding = 'keyholders';
REVOKE chatcrypt_keyholder FROM "Doctor reader";
:found 'keyholders';
GRANT pg_monitor TO "Doctor reader";
:found 'statement_readers';
REVOKE pg_monitor FROM "Doctor reader";
:found 'statement_readers';
GRANT pg_read_server_files TO "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding ~ 'server_file';
GRANT pg_write_server_files TO "Doctor reader";
REVOKE pg_read_server_files FROM "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding ~ 'server_file';
GRANT pg_execute_server_program TO doctor_group;
GRANT doctor_group TO "Doctor reader";
REVOKE pg_write_server_files FROM "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding ~ 'server_file';
REVOKE pg_execute_server_program FROM doctor_group;
REVOKE doctor_group FROM "Doctor reader";
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding ~ 'server_file';
GRANT SELECT ON chatcrypt.dek TO doctor_group;
:found 'dek_readers';
ALTER ROLE "Doctor reader" INHERIT;
GRANT doctor_group TO "Doctor reader";
:found 'dek_readers';
REVOKE SELECT ON chatcrypt.dek FROM doctor_group;
:found 'dek_readers';
GRANT pg_read_all_data TO "Doctor reader";
:found 'dek_readers';
REVOKE pg_read_all_data FROM "Doctor reader";
GRANT UPDATE (valid_to) ON chatcrypt.dek TO "Doctor reader";
:found 'dek_writers';
REVOKE UPDATE (valid_to) ON chatcrypt.dek FROM "Doctor reader";
:found 'dek_writers';
REVOKE doctor_group FROM "Doctor reader";
ALTER ROLE "Doctor reader" SUPERUSER;
SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding IN ('superusers', 'readers', 'dek_writers');
ALTER ROLE "Doctor reader" NOSUPERUSER;
:found 'superusers';
-- A long list of roles is cut short.
SELECT format('CREATE ROLE doctor_%s LOGIN IN ROLE chatcrypt_reader', g) FROM generate_series(10, 22) AS g \gexec
:found 'readers';
SELECT format('DROP ROLE doctor_%s', g) FROM generate_series(10, 22) AS g \gexec
DROP ROLE doctor_group, "Doctor reader";

-- Rights of PUBLIC.
GRANT SELECT (sender) ON chatcrypt.sealed_message TO PUBLIC;
GRANT EXECUTE ON FUNCTION chatcrypt.doctor() TO PUBLIC;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'public_grants';
REVOKE ALL ON chatcrypt.sealed_message FROM PUBLIC;
REVOKE ALL (sender) ON chatcrypt.sealed_message FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION chatcrypt.doctor() FROM PUBLIC;
:found 'public_grants';
BEGIN;
-- A constructor of a range type is not counted: pg_upgrade grants it to PUBLIC.
GRANT EXECUTE ON FUNCTION chatcrypt_internal.lifetime(text, text), chatcrypt_internal.lifetime_multirange() TO PUBLIC;
:found 'public_grants';
CREATE FUNCTION chatcrypt.new_by_default() RETURNS integer LANGUAGE sql AS 'SELECT 1';
GRANT USAGE ON SCHEMA chatcrypt TO PUBLIC;
GRANT SELECT ON chatcrypt.chat TO PUBLIC;
:found 'public_grants';
ROLLBACK;

-- Copies of plaintext.
CREATE SCHEMA doctor;
SET search_path = doctor;
CREATE VIEW ids AS SELECT chat_id, message_id FROM chatcrypt.messages;
CREATE VIEW bodies WITH (security_invoker = on) AS SELECT chat_id, body FROM chatcrypt.messages;
CREATE MATERIALIZED VIEW counts AS SELECT chat_id, count(*) FROM ids GROUP BY 1 WITH NO DATA;
CREATE FUNCTION opened(uuid, uuid, bytea) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN chatcrypt.try_decrypt($1, $2, $3); END';
CREATE TABLE notes (message_id uuid, chat_id uuid, body bytea);
CREATE INDEX ON notes (message_id);
SELECT count(*) FROM chatcrypt_internal.doctor_copies();
CREATE VIEW shown AS SELECT upper(body) FROM bodies;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM bodies WITH NO DATA;
CREATE INDEX ON kept (body);
CREATE MATERIALIZED VIEW wired AS SELECT wire FROM chatcrypt.wire_messages WITH NO DATA;
CREATE VIEW wired_ids AS SELECT chat_id, message_id FROM chatcrypt.wire_messages;
CREATE VIEW wired_by_hand WITH (security_invoker = off) AS SELECT chatcrypt.wire_message(chat_id, message_id) AS wire FROM wired_ids;
CREATE MATERIALIZED VIEW decrypted AS SELECT chatcrypt.decrypt(chat_id, message_id, encrypted_message) FROM chatcrypt.sealed_message WITH NO DATA;
CREATE INDEX searched ON notes (opened(chat_id, message_id, body));
CREATE STATISTICS seen ON (chatcrypt.decrypt_bytea(chat_id, message_id, body)) FROM notes;
ALTER TABLE notes ADD COLUMN clear text GENERATED ALWAYS AS (opened(chat_id, message_id, body)) STORED;
CREATE TABLE backup AS SELECT * FROM chatcrypt.messages WITH NO DATA;
CREATE PUBLICATION doctor_all FOR ALL TABLES;
CREATE PUBLICATION doctor_ids FOR TABLE backup (message_id, chat_id);
SELECT * FROM chatcrypt_internal.doctor_copies() ORDER BY finding, what;
SELECT array_agg(DISTINCT finding ORDER BY finding) FROM chatcrypt.doctor() WHERE what ~ 'doctor';
DROP PUBLICATION doctor_all;
DROP PUBLICATION doctor_ids;
ALTER VIEW shown SET (security_invoker);
ALTER TABLE notes DROP COLUMN clear;
DROP INDEX searched;
DROP STATISTICS seen;
DROP TABLE backup;
DROP MATERIALIZED VIEW kept, decrypted, wired;
DROP VIEW wired_by_hand;
SELECT count(*) FROM chatcrypt_internal.doctor_copies();
RESET search_path;
DROP SCHEMA doctor CASCADE;

-- Keys that are too old, or used too often.
BEGIN;
DELETE FROM chatcrypt.sealed_message;
DELETE FROM chatcrypt.chat;
SELECT chatcrypt.create_chats(ARRAY[801, 802, 803]::bigint[]);
SELECT severity, finding FROM chatcrypt_internal.doctor_keys();
UPDATE chatcrypt.dek SET valid_from = now() - interval '13 months' WHERE chat_id <> chatcrypt.to_uuid(803);
SELECT * FROM chatcrypt_internal.doctor_keys();
UPDATE chatcrypt.tenant SET rotate_after = '2 years';
SELECT severity, finding FROM chatcrypt_internal.doctor_keys();
UPDATE chatcrypt.chat SET rotate_after = '1 year' WHERE chat_id = chatcrypt.to_uuid(801);
SELECT * FROM chatcrypt_internal.doctor_keys();
SELECT chatcrypt.rotate_chat(801);
SELECT severity, finding FROM chatcrypt_internal.doctor_keys();
SELECT * FROM chatcrypt_internal.doctor_keys(wraps => 4);
SELECT severity, finding FROM chatcrypt_internal.doctor_keys(wraps => 5);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(802), 'x' FROM generate_series(1, 40);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(803), 'x' FROM generate_series(1, 10);
ANALYZE chatcrypt.sealed_message;
SELECT * FROM chatcrypt_internal.doctor_keys(messages => 30);
SELECT severity, finding FROM chatcrypt_internal.doctor_keys(messages => 60);

-- A history that is not sealed.
SELECT chatcrypt.seal_events() > 0 AS sealed;
SELECT count(*) FROM chatcrypt_internal.doctor_history(age => '-1 hour');
SELECT chatcrypt.create_chat(804) IS NOT NULL AS made;
:found 'unsealed_history';
SELECT severity, finding, regexp_replace(what, '[0-9]+', 'N') FROM chatcrypt_internal.doctor_history(age => '-1 hour');
INSERT INTO chatcrypt.key_event (event, happened_at) VALUES ('policy', now() - interval '25 hours');
SELECT severity, finding, regexp_replace(what, '[0-9]+', 'N'), why, remedy FROM chatcrypt.doctor() WHERE finding = 'unsealed_history';
SELECT chatcrypt.seal_events() > 0 AS sealed;
:found 'unsealed_history';

-- Messages without their keys: all of a chat, or those of one version.
:found 'messages_without_dek';
SAVEPOINT whole;
DELETE FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(802);
SELECT * FROM chatcrypt.doctor() WHERE finding = 'messages_without_dek';
ROLLBACK TO whole;
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(801), 'under version 2');
DELETE FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(801) AND dek_version = 1;
SELECT severity, finding, what FROM chatcrypt_internal.doctor_messages(pages => 1000000) WHERE finding = 'messages_without_dek';
DELETE FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(801) AND dek_version = 2;
SELECT severity, finding, what FROM chatcrypt_internal.doctor_messages(pages => 1000000) WHERE finding = 'messages_without_dek';
ROLLBACK TO whole;
-- The sample begins with any chat, and after the last chat goes on with the first: a message
-- without a body is in no sample.
INSERT INTO chatcrypt.sealed_message (message_id, chat_id) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(805));
:found 'messages_without_dek';
PREPARE found(int) AS SELECT count(what) FROM generate_series(1, 30) AS n, LATERAL (SELECT what FROM chatcrypt_internal.doctor_messages(chats => $1 + 0 * n)) AS f WHERE what ~ chatcrypt.to_uuid(805)::text;
EXECUTE found(3);
SELECT count(what) < 30 AS seldom FROM generate_series(1, 30) AS n, LATERAL (SELECT what FROM chatcrypt_internal.doctor_messages(chats => 1 + 0 * n)) AS f WHERE what ~ chatcrypt.to_uuid(805)::text;
ROLLBACK TO whole;
SELECT chatcrypt.shred_chat(802, confirm => 'irreversible');
:found 'messages_without_dek';
ROLLBACK;

-- Triggers as pg_restore --disable-triggers leaves them, and others that fire too seldom.
BEGIN;
:found 'triggers';
ALTER TABLE chatcrypt.dek DISABLE TRIGGER ALL;
ALTER TABLE chatcrypt.dek ENABLE TRIGGER ALL;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'triggers';
ALTER TABLE chatcrypt.dek ENABLE ALWAYS TRIGGER invalidate;
:found 'triggers';
ALTER TABLE chatcrypt.dek ENABLE ALWAYS TRIGGER invalidate_all;
:found 'triggers';
ALTER TABLE chatcrypt.sealed_message ENABLE TRIGGER message_removed;
:found 'triggers';
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER message_removed;
ALTER TABLE chatcrypt.key_event DISABLE TRIGGER refuse_change;
ALTER TABLE chatcrypt.tenant ENABLE REPLICA TRIGGER record_policy;
:found 'triggers';
ROLLBACK;

-- The event trigger that guards the extension where the server has not loaded it.
:found 'drop_guard';
BEGIN;
ALTER EVENT TRIGGER chatcrypt_guard DISABLE;
SELECT * FROM chatcrypt.doctor() WHERE finding = 'drop_guard';
ALTER EVENT TRIGGER chatcrypt_guard ENABLE;
:found 'drop_guard';
ROLLBACK;
SELECT chatcrypt_internal.guard_drop();

-- Roles that may ask.
CREATE ROLE doctor_auditor IN ROLE chatcrypt_auditor;
CREATE ROLE doctor_admin IN ROLE chatcrypt_admin;
CREATE ROLE doctor_writer IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE ROLE doctor_nobody;
SET ROLE doctor_writer;
SELECT count(*) FROM chatcrypt.doctor();
SET ROLE doctor_nobody;
SELECT count(*) FROM chatcrypt.doctor();
SET ROLE doctor_admin;
SELECT count(*) > 3 FROM chatcrypt.doctor();
SET ROLE doctor_auditor;
SELECT count(*) > 3 FROM chatcrypt.doctor();
SELECT * FROM chatcrypt_internal.doctor_values();
SELECT * FROM chatcrypt_internal.doctor_plaintext();
SELECT * FROM chatcrypt_internal.host_facts();
-- The check in C holds even where EXECUTE was granted by mistake.
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt_internal.host_facts() TO doctor_writer;
SET ROLE doctor_writer;
SELECT * FROM chatcrypt_internal.host_facts();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION chatcrypt_internal.host_facts() FROM doctor_writer;

-- Nothing in the search path or among the temporary tables of the caller is used.
GRANT CREATE ON DATABASE :"here" TO doctor_auditor;
SET ROLE doctor_auditor;
CREATE SCHEMA doctor_shadow;
CREATE FUNCTION doctor_shadow.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'shadow was called as %', current_user; END$$;
CREATE FUNCTION doctor_shadow.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'shadow was called as %', current_user; END$$;
CREATE OPERATOR doctor_shadow.~* (FUNCTION = doctor_shadow.same, LEFTARG = text, RIGHTARG = text);
CREATE TEMP VIEW pg_settings AS SELECT s.*, doctor_shadow.same(name, name) FROM pg_catalog.pg_settings AS s;
SET search_path = doctor_shadow, pg_temp, pg_catalog;
SELECT quote_ident('x'::name);
SELECT 'x'::text ~* 'x';
SELECT count(*) FROM pg_settings;
SELECT count(*) > 3 FROM chatcrypt.doctor();
RESET search_path;
RESET ROLE;
DROP OWNED BY doctor_auditor;
DROP ROLE doctor_auditor, doctor_admin, doctor_writer, doctor_nobody;

-- The facts of host_facts() are true.
SELECT f.core_limit::text = CASE split_part(limits.soft, ' ', 1) WHEN 'unlimited' THEN '-1' ELSE limits.soft END AS core_limit,
	   f.cores_are_piped = (pg_read_file('/proc/sys/kernel/core_pattern') LIKE '|%') AS cores_are_piped
FROM chatcrypt_internal.host_facts() AS f,
	 substring(pg_read_file('/proc/self/limits') FROM 'Max core file size +(\S+)') AS limits (soft);
