-- What the views show of waiting sessions and of the KMS worker.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS chatcrypt;

SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'chatcrypt.kms_waits'::regclass AND attnum > 0 ORDER BY attnum;
SELECT count(*), bool_and(c.description IS NOT NULL)
FROM (VALUES ('heartbeat_at'), ('oldest_request_age'), ('hung')) AS v (name)
JOIN pg_attribute AS a ON a.attname = v.name AND a.attrelid = 'chatcrypt.kms_worker'::regclass
LEFT JOIN pg_description AS c ON c.objoid = a.attrelid AND c.objsubid = a.attnum;

-- The worker moves, and has no request.
SELECT now() - heartbeat_at < '5 s' AS moves, oldest_request_age, hung FROM chatcrypt.kms_worker;

-- A wait that is answered, and one that is not; another session may wait at the same time.
CREATE TEMPORARY TABLE before AS SELECT * FROM chatcrypt.kms_waits;
SELECT chatcrypt.create_chat() IS NOT NULL AS made;
SELECT w.waits > b.waits AS one_more, w.seconds > b.seconds AS longer, w.failed = b.failed AS no_failure,
	w.counts[array_upper(w.counts, 1)] > b.counts[array_upper(b.counts, 1)] AS in_the_histogram
FROM chatcrypt.kms_waits AS w, before AS b;
SELECT chatcrypt.create_tenant('waits', 'local:waits');
SELECT chatcrypt.create_chat(912001, tenant => 'waits');
SELECT w.failed > b.failed AS one_failed, w.timeouts = b.timeouts AS none_late FROM chatcrypt.kms_waits AS w, before AS b;
SELECT step, ok FROM chatcrypt.kms_check('local:waits') LIMIT 1;

-- The histogram: as many counts as bounds, each at least the one before, none above the total.
SELECT array_length(bounds, 1) = array_length(counts, 1) AS a_count_each,
	bounds = (SELECT array_agg(b ORDER BY b) FROM unnest(bounds) AS b) AS bounds_rise,
	counts = (SELECT array_agg(c ORDER BY c) FROM unnest(counts) AS c) AS counts_rise,
	counts[array_upper(counts, 1)] <= waits AS not_above_all,
	timeouts + refused_at_once + canceled + failed <= waits AS ends_are_waits
FROM chatcrypt.kms_waits;

-- Only auditors and administrators may see the views.
SELECT role, has_table_privilege(role, 'chatcrypt.kms_waits', 'SELECT') AS reads,
	has_function_privilege(role, 'chatcrypt_internal.read_kms_waits()', 'EXECUTE') AS calls
FROM unnest(ARRAY['chatcrypt_auditor', 'chatcrypt_admin', 'chatcrypt_writer', 'chatcrypt_reader', 'chatcrypt_keyholder']) AS role;
SET ROLE chatcrypt_reader;
SELECT * FROM chatcrypt.kms_waits;
SELECT chatcrypt_internal.read_kms_waits();
SET ROLE chatcrypt_auditor;
SELECT count(*) FROM chatcrypt.kms_waits;
RESET ROLE;
DELETE FROM chatcrypt.tenant WHERE tenant = 'waits';
