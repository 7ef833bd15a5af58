-- What is known of KMS keys: which can be used, why others cannot, and how calls ended.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE watcher; GRANT chatcrypt_auditor TO watcher;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE application; GRANT chatcrypt_writer, chatcrypt_reader, chatcrypt_keyholder, chatcrypt_feeder TO application;
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
CALL remove_key('seen'); CALL remove_key('lost');

-- Keys that a tenant or a data key names and that were not used have rows too, with counts of zero.
-- Rows of destroyed keys name no key.
INSERT INTO chatcrypt.tenant (tenant, kms_key) VALUES ('unused', 'local:of_a_tenant');
SELECT chatcrypt.create_chats(ARRAY[11000, 11001]::bigint[]);
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, encrypted_dek, kcv, valid_to)
	SELECT chatcrypt.to_uuid(11000), 'data', 100 + n, 'decrypt_only', 'local:of_rows' || n % 3, '\x01', sha256('\x'), now() FROM generate_series(1, 9) AS n;
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, valid_to) VALUES (chatcrypt.to_uuid(11001), 'data', 100, 'destroyed', 'local:of_destroyed', now());
SET ROLE watcher;
SELECT kms_key, usable, unusable_because, reachable, breaker, last_outcome, in_flight, waiting, calls, failed_calls, items, retries, facts_at
FROM chatcrypt.kms_status WHERE kms_key LIKE 'local:of%';
SELECT count(*), count(DISTINCT kms_key), bool_or(kms_key = current_setting('chatcrypt.default_kms_key')) AS default_is_there FROM chatcrypt.kms_status
HAVING count(*) <> count(DISTINCT kms_key) OR NOT bool_or(kms_key = current_setting('chatcrypt.default_kms_key'));
RESET ROLE;
DELETE FROM chatcrypt.dek WHERE dek_version >= 100 AND chat_id IN (chatcrypt.to_uuid(11000), chatcrypt.to_uuid(11001));
DELETE FROM chatcrypt.tenant WHERE tenant = 'unused';

-- A key that does not exist, as an auditor sees it, and how that ends; a key that nothing names is
-- not shown.
SELECT chatcrypt.create_tenant('seen', 'local:seen');
SET ROLE watcher;
SELECT count(*) > 0 AS checked FROM chatcrypt.kms_check('local:nobodys');
SELECT count(*) FROM chatcrypt.kms_status WHERE kms_key = 'local:nobodys';
SELECT step, ok FROM chatcrypt.kms_check('local:seen');
SELECT usable, unusable_because, reachable, last_outcome, refused_until, key_derived, facts_at, certificate_not_after, last_request_id
FROM chatcrypt.kms_status WHERE kms_key = 'local:seen';
SELECT operation, outcome, calls, items FROM chatcrypt.kms_calls WHERE kms_key = 'local:seen';
RESET ROLE;
CALL write_key('seen');
SET ROLE watcher;
SELECT step, ok FROM chatcrypt.kms_check('local:seen');
SELECT usable, unusable_because, last_outcome FROM chatcrypt.kms_status WHERE kms_key = 'local:seen';
SELECT operation, outcome, calls, items FROM chatcrypt.kms_calls WHERE kms_key = 'local:seen';
SELECT kind, array_length(bounds, 1) AS bounds, array_length(counts, 1) AS counts, calls, counts[array_upper(counts, 1)] <= calls AS fits, seconds > 0 AS took_time,
	   (SELECT bool_and(b < next) FROM (SELECT b, lead(b) OVER () AS next FROM unnest(bounds) AS b) AS o) AS bounds_rise,
	   (SELECT bool_and(c <= next) FROM (SELECT c, lead(c) OVER () AS next FROM unnest(counts) AS c) AS o) AS counts_rise
FROM chatcrypt.kms_latency WHERE kms_key = 'local:seen';
RESET ROLE;

-- Data keys that do not open are counted by operation and outcome, and the KMS key stays usable.
SELECT chatcrypt.create_chats(ARRAY[11002, 11003, 11004]::bigint[], tenant => 'seen');
CALL write_key('seen');
SET ROLE watcher;
SELECT dek_version, kms_key, reason FROM chatcrypt.verify_keys(tenant => 'seen');
SELECT outcome, items FROM chatcrypt.kms_calls WHERE kms_key = 'local:seen' AND operation = 'unwrap' ORDER BY outcome;
SELECT usable, last_outcome FROM chatcrypt.kms_status WHERE kms_key = 'local:seen';
-- What an auditor has found is in the history.
SELECT event, role, count(*) FROM chatcrypt.key_event WHERE kms_key = 'local:seen' AND event = 'unwrap_failed' GROUP BY 1, 2;
SELECT data_keys, active FROM chatcrypt.kms_key_usage() WHERE kms_key = 'local:seen';
SELECT count(*) > 0 AS due FROM chatcrypt.due_for_rotation(max_age => '0 s');

-- How long warm keys will stay warm.
SELECT warm_until <= half_warm_until AND half_warm_until <= all_cold_at AS in_order,
	   warm_until > now() AS later, all_cold_at <= now() + make_interval(secs => 1) + current_setting('chatcrypt.cache_max_age')::interval AS in_time
FROM chatcrypt.cache_status;

-- Only auditors and administrators may see it.
SET ROLE operator;
SELECT count(*) > 0 AS shown FROM chatcrypt.kms_status;
SELECT count(*) > 0 AS shown FROM chatcrypt.kms_calls;
SELECT count(*) > 0 AS shown FROM chatcrypt.kms_latency;
SELECT count(*) > 0 AS checked FROM chatcrypt.kms_check('local:seen');
SET ROLE application;
SELECT count(*) FROM chatcrypt.kms_status;
SELECT count(*) FROM chatcrypt.kms_calls;
SELECT count(*) FROM chatcrypt.kms_latency;
SELECT count(*) FROM chatcrypt.kms_check('local:seen');
SELECT count(*) FROM chatcrypt.kms_key_usage();
SELECT count(*) FROM chatcrypt.due_for_rotation();
SELECT count(*) FROM chatcrypt.verify_keys();
-- The check in C holds even where EXECUTE was granted by mistake.
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.kms_check, chatcrypt.kms_key_usage, chatcrypt.due_for_rotation, chatcrypt.verify_keys TO application;
SET ROLE application;
SELECT count(*) FROM chatcrypt.kms_check('local:seen');
SELECT count(*) FROM chatcrypt.kms_key_usage();
SELECT count(*) FROM chatcrypt.due_for_rotation();
SELECT count(*) FROM chatcrypt.verify_keys();
RESET ROLE;
SELECT chatcrypt.shred_tenant('seen', 'irreversible');
CALL remove_key('seen');
DROP PROCEDURE write_key, remove_key;
DROP OWNED BY watcher, operator, application;
DROP ROLE watcher, operator, application;
