-- doctor(): findings about the machine, and about the KMS as its worker and the rows of keys show
-- it.

CREATE FUNCTION chatcrypt_internal.host_facts(OUT core_limit bigint, OUT cores_are_piped boolean,
									 OUT local_keys_on_data_volume boolean)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'chatcrypt_host_facts';
COMMENT ON FUNCTION chatcrypt_internal.host_facts() IS
	'For doctor(): the limit for core dumps in bytes (-1 for none), whether a program takes them, '
	'and whether local master keys lie on the volume of the data directory.';

CREATE FUNCTION chatcrypt_internal.doctor_host() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH host AS MATERIALIZED (SELECT * FROM chatcrypt_internal.host_facts())
	SELECT 'warning', 'core_dumps',
		   CASE WHEN core_limit <> 0 THEN 'The server may write core dumps.'
				ELSE 'The limit for core dumps is 0, but the kernel hands them to a program.' END,
		   'Keys are left out of core dumps, but messages that were being read or written are not.',
		   'Start the server with ulimit -c 0 (LimitCORE=0), and see what kernel.core_pattern '
		   'names.'
	FROM host WHERE core_limit <> 0 OR cores_are_piped
	UNION ALL
	SELECT 'warning', 'local_keys_on_data_volume', 'chatcrypt.local_key_dir lies on the volume of the data directory.',
		   'A snapshot or an image of that volume has both the messages and the key to them.',
		   'Move the folder to another volume, or use a KMS.'
	FROM host WHERE local_keys_on_data_volume
	UNION ALL
	SELECT 'warning', 'keys_not_locked', 'The key cache is not locked in memory.',
		   'Data keys can be written to swap space.',
		   'Raise the server''s limit for locked memory (LimitMEMLOCK=), or encrypt the swap space.'
	FROM chatcrypt.cache_status WHERE NOT locked;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_host() IS
	'For doctor(): what the machine has to do with it.';

-- An error is the text of the KMS, or our description of how the call failed.
CREATE FUNCTION chatcrypt_internal.doctor_kms() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH worker AS MATERIALIZED (SELECT * FROM chatcrypt.kms_worker),
	kms AS MATERIALIZED (
		SELECT s.*, format('SELECT * FROM chatcrypt.kms_check(%L)', s.kms_key) AS check,
			   coalesce(rtrim(s.last_error, '.'), 'no error was told') AS error
		FROM chatcrypt.kms_status AS s
	)
	SELECT 'critical', 'kms_worker', 'The KMS worker is not running.',
		   'Chats whose keys are not in the cache cannot be read or written, and none can be made.',
		   'See the server''s log for why it ends; the server starts it again every second.'
	FROM worker WHERE pid IS NULL
	UNION ALL
	SELECT 'critical', 'kms_worker_hung', format('The KMS worker, process %s, has not moved since %s.', pid, date_trunc('second', heartbeat_at)),
		   'Chats whose keys are not in the cache cannot be read or written, and none can be made.',
		   'See whether the process is stopped (state T in ps), and let it go on with kill -CONT. One '
		   'that stalls by itself ends by itself, and the server starts another.'
	FROM worker WHERE hung
	UNION ALL
	SELECT 'critical', 'kms_unreachable', format('The KMS does not answer for %s: %s.', kms_key, error),
		   'Chats whose keys are not in the cache cannot be read or written, and the others only '
		   'until chatcrypt.cache_max_age.',
		   format('See chatcrypt.kms_status, then %s.', kms.check)
	FROM kms WHERE NOT reachable
	UNION ALL
	SELECT 'warning', 'kms_held', format('The KMS wants no request for %s before %s: %s.', kms_key, date_trunc('second', hold_until), error),
		   'Until then chats whose keys are not in the cache cannot be read or written.',
		   'Find out what asks so much, or raise the limits of the KMS.'
	FROM kms WHERE hold_until > now()
	UNION ALL
	SELECT 'critical', 'kms_refused', format('%s cannot be used: %s.', kms_key, rtrim(unusable_because, '.')),
		   'By what is refused: chats whose keys are not in the cache cannot be read or written, and the '
		   'others only until chatcrypt.cache_ttl; or no key can be made, or none re-wrapped.',
		   format('Give the login the right that it lacks, or the key what it lacks, then %s, which also ends the memory of it.', kms.check)
	FROM kms, worker
	WHERE NOT usable AND worker.pid IS NOT NULL AND NOT worker.hung AND breaker = 'closed'
	  AND (hold_until IS NULL OR refused_until IS NOT NULL)
	UNION ALL
	SELECT 'warning', 'kms_certificate',
		   format('A certificate of the KMS for %s ends at %s.', chatcrypt_internal.doctor_list(array_agg(kms_key ORDER BY kms_key)), date_trunc('second', certificate_not_after)),
		   'From then on nothing is asked of it, and chats whose keys are not in the cache cannot be '
		   'read or written.',
		   'Give the KMS a new certificate of the same authority.'
	FROM kms
	WHERE certificate_not_after BETWEEN now() AND now() + interval '14 days'
	GROUP BY certificate_not_after
	UNION ALL
	SELECT 'critical', 'kms_certificate',
		   format('A certificate of the KMS for %s has ended at %s.', chatcrypt_internal.doctor_list(array_agg(kms_key ORDER BY kms_key)), date_trunc('second', certificate_not_after)),
		   'Nothing is asked of it, and chats whose keys are not in the cache cannot be read or written.',
		   'Give the KMS a new certificate of the same authority.'
	FROM kms
	WHERE certificate_not_after < now()
	GROUP BY certificate_not_after;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_kms() IS
	'For doctor(): the KMS worker, and the KMS.';

CREATE FUNCTION chatcrypt_internal.doctor_kms_key_opens(kms_key text) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_kms_key_opens';
COMMENT ON FUNCTION chatcrypt_internal.doctor_kms_key_opens(text) IS
	'For doctor(): whether a KMS key opens data keys that it wrapped: true for any of up to three, '
	'false for none, NULL where it has wrapped nothing here or its key service does not say.';

-- The key URIs are found by skipping from one to the next in the index.
CREATE FUNCTION chatcrypt_internal.doctor_kms_keys() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE kms_key (uri) AS (
		(SELECT d.kms_key FROM chatcrypt.dek AS d WHERE d.state <> 'destroyed' ORDER BY d.kms_key LIMIT 1)
		UNION ALL
		SELECT (SELECT d.kms_key FROM chatcrypt.dek AS d
				WHERE d.state <> 'destroyed' AND d.kms_key > k.uri ORDER BY d.kms_key LIMIT 1)
		FROM kms_key AS k WHERE k.uri IS NOT NULL
	),
	-- doctor() does not wait for a key service that does not answer; other findings report it.
	asked_in_vain (uri) AS MATERIALIZED (
		SELECT s.kms_key FROM chatcrypt.kms_status AS s WHERE s.breaker <> 'closed' OR s.hold_until > now()
		UNION ALL
		SELECT '*' FROM chatcrypt.kms_worker AS w WHERE w.pid IS NULL OR w.hung
	)
	SELECT 'critical', 'kms_key_changed', format('%s does not open data keys that it wrapped.', uri),
		   'Another key has its name now. Chats whose keys are not in the cache cannot be read, and '
		   'no key is made until the right one is back.',
		   'Bring back the key that was in use, then see chatcrypt.verify_keys().'
	FROM kms_key
	WHERE uri IS NOT NULL
	  AND NOT CASE WHEN EXISTS (SELECT FROM asked_in_vain AS a WHERE a.uri IN (kms_key.uri, '*')) THEN NULL
				   ELSE chatcrypt_internal.doctor_kms_key_opens(uri) END;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_kms_keys() IS
	'For doctor(): KMS keys that are not the ones that they were.';
