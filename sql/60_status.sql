-- The state of the KMS, of the KMS worker and of the key cache.  None of it contains a secret.

CREATE FUNCTION chatcrypt_internal.read_kms_status(
	OUT kms_key text, OUT usable boolean, OUT unusable_because text,
	OUT refused_until timestamptz, OUT hold_until timestamptz,
	OUT reachable boolean, OUT breaker text,
	OUT last_success timestamptz, OUT last_outcome text, OUT last_request_id text,
	OUT last_error text, OUT last_error_at timestamptz,
	OUT latency_p50_ms double precision, OUT latency_p99_ms double precision,
	OUT in_flight integer, OUT waiting integer,
	OUT calls bigint, OUT failed_calls bigint, OUT items bigint, OUT retries bigint,
	OUT token_lease_left interval, OUT certificate_not_after timestamptz,
	OUT key_derived boolean, OUT key_exportable boolean,
	OUT key_latest_version bigint, OUT key_min_decryption_version bigint,
	OUT facts_at timestamptz, OUT facts_error text, OUT only_tried boolean)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_status';
COMMENT ON FUNCTION chatcrypt_internal.read_kms_status() IS
	'What stands behind the view chatcrypt.kms_status, of keys that were used, or tried by kms_check().';

-- Shows the KMS keys of rows and settings.  They are found by one look into an index for each key
-- URI, however many data keys there are.  KMS keys that were only tried with kms_check() are left
-- out: nothing waits for them, so that it does not matter whether they can be used.
CREATE VIEW chatcrypt.kms_status WITH (security_barrier, security_invoker) AS
	WITH RECURSIVE of_data_keys (kms_key) AS (
		(SELECT kms_key FROM chatcrypt.dek WHERE state <> 'destroyed' ORDER BY kms_key LIMIT 1)
		UNION ALL
		SELECT (SELECT d.kms_key FROM chatcrypt.dek AS d
				WHERE d.state <> 'destroyed' AND d.kms_key > o.kms_key ORDER BY d.kms_key LIMIT 1)
		FROM of_data_keys AS o WHERE o.kms_key IS NOT NULL
	), used AS MATERIALIZED (
		SELECT * FROM chatcrypt_internal.read_kms_status()
	), known (kms_key) AS (
		SELECT kms_key FROM used WHERE NOT only_tried
		UNION SELECT kms_key FROM of_data_keys
		UNION SELECT kms_key FROM chatcrypt.tenant
		UNION SELECT current_setting('chatcrypt.default_kms_key', true)
	)
	SELECT kms_key, u.usable, u.unusable_because, u.refused_until, u.hold_until, u.reachable, u.breaker,
		   u.last_success, u.last_outcome, u.last_request_id, u.last_error, u.last_error_at,
		   u.latency_p50_ms, u.latency_p99_ms, coalesce(u.in_flight, 0) AS in_flight, coalesce(u.waiting, 0) AS waiting,
		   coalesce(u.calls, 0) AS calls, coalesce(u.failed_calls, 0) AS failed_calls,
		   coalesce(u.items, 0) AS items, coalesce(u.retries, 0) AS retries,
		   u.token_lease_left, u.certificate_not_after, u.key_derived, u.key_exportable,
		   u.key_latest_version, u.key_min_decryption_version, u.facts_at, u.facts_error
	FROM known LEFT JOIN used AS u USING (kms_key) WHERE kms_key <> '' ORDER BY kms_key;
COMMENT ON VIEW chatcrypt.kms_status IS
	'The state of each KMS key that was used since the KMS worker started, or that data keys, '
	'tenants or chatcrypt.default_kms_key name. Keys that only kms_check() was asked about are '
	'not shown.';
COMMENT ON COLUMN chatcrypt.kms_status.kms_key IS 'The KMS key.';
COMMENT ON COLUMN chatcrypt.kms_status.last_success IS 'When a call last succeeded.';
COMMENT ON COLUMN chatcrypt.kms_status.last_error IS 'The last error.';
COMMENT ON COLUMN chatcrypt.kms_status.last_error_at IS 'When it happened.';
COMMENT ON COLUMN chatcrypt.kms_status.calls IS 'Calls since the KMS worker started.';
COMMENT ON COLUMN chatcrypt.kms_status.failed_calls IS 'Calls that failed.';
COMMENT ON COLUMN chatcrypt.kms_status.retries IS 'Calls that repeated a failed one.';
COMMENT ON COLUMN chatcrypt.kms_status.key_exportable IS
	'Whether the KMS would hand out the key itself; NULL if it does not say.';
COMMENT ON COLUMN chatcrypt.kms_status.key_latest_version IS 'The newest version of the key.';
COMMENT ON COLUMN chatcrypt.kms_status.usable IS
	'False while something is known to prevent the use of the key; NULL if the key was not used '
	'since the KMS worker started.';
COMMENT ON COLUMN chatcrypt.kms_status.unusable_because IS
	'What prevents its use, with the error; the most serious reason if there are several. A '
	'refusal counts until the same operation succeeds, kms_check() finds it allowed, or the '
	'settings are reloaded.';
COMMENT ON COLUMN chatcrypt.kms_status.refused_until IS
	'Until then requests are refused without a call, because the KMS refused them before; NULL '
	'for none.';
COMMENT ON COLUMN chatcrypt.kms_status.hold_until IS
	'Until then no request is sent, because the KMS asked for a pause (Retry-After, up to 30 s); '
	'NULL for none.';
COMMENT ON COLUMN chatcrypt.kms_status.reachable IS
	'Whether the KMS answered the last call; NULL before the first.';
COMMENT ON COLUMN chatcrypt.kms_status.breaker IS
	'closed: calls are made. open: requests fail at once until a probe is answered. half open: a '
	'probe is under way.';
COMMENT ON COLUMN chatcrypt.kms_status.last_outcome IS
	'How the last call for this key, or the last login for it, ended: a word of kms_calls.';
COMMENT ON COLUMN chatcrypt.kms_status.last_request_id IS
	'The KMS''s own id of the last request that it gave one, to look for in its audit log.';
COMMENT ON COLUMN chatcrypt.kms_status.latency_p50_ms IS
	'Half of the last thousand calls or so took less time than this.';
COMMENT ON COLUMN chatcrypt.kms_status.latency_p99_ms IS
	'99 of 100 of the last thousand calls or so took less time than this.';
COMMENT ON COLUMN chatcrypt.kms_status.in_flight IS 'Calls under way.';
COMMENT ON COLUMN chatcrypt.kms_status.waiting IS 'Requests that are in no call yet.';
COMMENT ON COLUMN chatcrypt.kms_status.items IS
	'Data keys that were wrapped, unwrapped, generated or re-wrapped.';
COMMENT ON COLUMN chatcrypt.kms_status.token_lease_left IS
	'How long the login is valid without a renewal; NULL for no limit, or no login.';
COMMENT ON COLUMN chatcrypt.kms_status.certificate_not_after IS
	'When the TLS certificate of the KMS or one that it depends on expires, whichever is first; '
	'NULL before the first handshake.';
COMMENT ON COLUMN chatcrypt.kms_status.key_derived IS
	'Whether the KMS binds each data key to its chat; NULL if the KMS does not say.';
COMMENT ON COLUMN chatcrypt.kms_status.key_min_decryption_version IS
	'The oldest version with which the KMS still unwraps.';
COMMENT ON COLUMN chatcrypt.kms_status.facts_at IS
	'When the key_ columns were read: once a minute while the key is in use.';
COMMENT ON COLUMN chatcrypt.kms_status.facts_error IS
	'Why the key_ columns could not be read again; it prevents no request.';

CREATE FUNCTION chatcrypt_internal.read_kms_calls(
	OUT kms_key text, OUT operation text, OUT outcome text, OUT calls bigint, OUT items bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_calls';
COMMENT ON FUNCTION chatcrypt_internal.read_kms_calls() IS
	'What stands behind the view chatcrypt.kms_calls.';

CREATE VIEW chatcrypt.kms_calls WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_kms_calls() ORDER BY kms_key, operation, outcome;
COMMENT ON VIEW chatcrypt.kms_calls IS
	'Finished calls to the KMS since the KMS worker started, counted by key, operation and '
	'outcome.';
COMMENT ON COLUMN chatcrypt.kms_calls.kms_key IS
	'The KMS key; for logins only the provider, as in vault:.';
COMMENT ON COLUMN chatcrypt.kms_calls.operation IS
	'unwrap, wrap, generate or rewrap of data keys; login, including renewals; key for reading '
	'the properties of a key.';
COMMENT ON COLUMN chatcrypt.kms_calls.outcome IS
	'Success: ok. Refusals: denied, rejected, not opened, no key, not set up. Failures that are '
	'tried again: transient, timed out, sealed, bad reply. Calls that are sent again in another '
	'form: login again, too large.';
COMMENT ON COLUMN chatcrypt.kms_calls.calls IS 'Calls that ended in this way as a whole.';
COMMENT ON COLUMN chatcrypt.kms_calls.items IS
	'Data keys whose part of a call ended in this way. A call that is ok may reject some of its '
	'items.';

CREATE FUNCTION chatcrypt_internal.read_kms_latency(
	OUT kms_key text, OUT kind text, OUT bounds double precision[], OUT counts bigint[],
	OUT calls bigint, OUT seconds double precision)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_latency';
COMMENT ON FUNCTION chatcrypt_internal.read_kms_latency() IS
	'What stands behind the view chatcrypt.kms_latency.';

CREATE VIEW chatcrypt.kms_latency WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_kms_latency() ORDER BY kms_key, kind DESC;
COMMENT ON VIEW chatcrypt.kms_latency IS
	'How long the calls for data keys that the KMS answered took, since the KMS worker started: '
	'two histograms for each key.';
COMMENT ON COLUMN chatcrypt.kms_latency.kms_key IS 'The KMS key.';
COMMENT ON COLUMN chatcrypt.kms_latency.kind IS
	'single: calls for one data key. batch: calls for several.';
COMMENT ON COLUMN chatcrypt.kms_latency.bounds IS 'Upper bounds of the histogram, in seconds.';
COMMENT ON COLUMN chatcrypt.kms_latency.counts IS
	'For each bound, the calls that took no longer, including those of the bounds before.';
COMMENT ON COLUMN chatcrypt.kms_latency.calls IS
	'All calls, including those that took longer than the last bound.';
COMMENT ON COLUMN chatcrypt.kms_latency.seconds IS 'The time that they took in all.';

CREATE FUNCTION chatcrypt_internal.read_kms_worker(
	OUT pid integer, OUT started_at timestamptz,
	OUT requests_pending integer, OUT requests_in_flight integer, OUT answers_not_collected integer,
	OUT requests bigint, OUT joined bigint, OUT refreshes bigint,
	OUT heartbeat_at timestamptz, OUT oldest_request_age interval, OUT hung boolean)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_worker';
COMMENT ON FUNCTION chatcrypt_internal.read_kms_worker() IS
	'What stands behind the view chatcrypt.kms_worker.';

CREATE VIEW chatcrypt.kms_worker WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_kms_worker();
COMMENT ON VIEW chatcrypt.kms_worker IS
	'The KMS worker and the requests that it has, in one row. pid is NULL while the worker is not '
	'running.';
COMMENT ON COLUMN chatcrypt.kms_worker.pid IS 'The process id of the worker.';
COMMENT ON COLUMN chatcrypt.kms_worker.started_at IS 'When it started.';
COMMENT ON COLUMN chatcrypt.kms_worker.requests_pending IS
	'Requests that the worker has not taken yet.';
COMMENT ON COLUMN chatcrypt.kms_worker.requests_in_flight IS
	'Requests that it has taken and not answered.';
COMMENT ON COLUMN chatcrypt.kms_worker.answers_not_collected IS
	'Answers that their session has not read yet.';
COMMENT ON COLUMN chatcrypt.kms_worker.requests IS 'Requests since the server started.';
COMMENT ON COLUMN chatcrypt.kms_worker.refreshes IS
	'Keys that were unwrapped again in the background.';
COMMENT ON COLUMN chatcrypt.kms_worker.joined IS 'Requests that shared one for the same key.';
COMMENT ON COLUMN chatcrypt.kms_worker.heartbeat_at IS
	'When the worker was last seen moving, which it does at least once a second.';
COMMENT ON COLUMN chatcrypt.kms_worker.oldest_request_age IS
	'How long the oldest request has had no answer; NULL for none.';
COMMENT ON COLUMN chatcrypt.kms_worker.hung IS
	'Whether the worker has not moved for 5 s: it is stopped, or waits for a name look-up or a '
	'file. NULL while it is not running.';

CREATE FUNCTION chatcrypt_internal.read_kms_waits(
	OUT waits bigint, OUT seconds double precision, OUT timeouts bigint,
	OUT refused_at_once bigint, OUT canceled bigint, OUT failed bigint,
	OUT bounds double precision[], OUT counts bigint[])
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_waits';
COMMENT ON FUNCTION chatcrypt_internal.read_kms_waits() IS
	'What stands behind the view chatcrypt.kms_waits.';

CREATE VIEW chatcrypt.kms_waits WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_kms_waits();
COMMENT ON VIEW chatcrypt.kms_waits IS
	'How often and how long sessions of all databases have waited for the KMS since the server '
	'started, and how the waits ended, in one row. One wait may be for many keys; waits of '
	'kms_check() are not counted.';
COMMENT ON COLUMN chatcrypt.kms_waits.waits IS 'All waits.';
COMMENT ON COLUMN chatcrypt.kms_waits.seconds IS 'The time of all waits in all.';
COMMENT ON COLUMN chatcrypt.kms_waits.timeouts IS
	'Waits in which at least one key got no answer in time.';
COMMENT ON COLUMN chatcrypt.kms_waits.refused_at_once IS
	'Waits that ended without a call, because the KMS did not answer before, asked for a pause, '
	'or the KMS worker hangs.';
COMMENT ON COLUMN chatcrypt.kms_waits.canceled IS
	'Waits that were ended by a cancel, by statement_timeout or by the end of the session.';
COMMENT ON COLUMN chatcrypt.kms_waits.failed IS
	'Waits that ended in another failure: denied, rejected, no such key, not set up correctly.';
COMMENT ON COLUMN chatcrypt.kms_waits.bounds IS 'Upper bounds of a histogram, in seconds.';
COMMENT ON COLUMN chatcrypt.kms_waits.counts IS
	'For each bound, the waits that were no longer, including those of the bounds before.';

CREATE FUNCTION chatcrypt_internal.read_cache_status(
	OUT entries bigint, OUT capacity bigint, OUT hits bigint, OUT misses bigint,
	OUT evictions bigint, OUT refreshes bigint, OUT bytes bigint, OUT locked boolean,
	OUT dumpable boolean, OUT session_hits bigint,
	OUT warm_until timestamptz, OUT half_warm_until timestamptz, OUT all_cold_at timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_cache_status';
COMMENT ON FUNCTION chatcrypt_internal.read_cache_status() IS
	'What stands behind the view chatcrypt.cache_status.';

CREATE VIEW chatcrypt.cache_status WITH (security_barrier, security_invoker) AS
	SELECT c.*, (c.session_hits + c.hits)::float8 / nullif(c.session_hits + c.hits + c.misses, 0) AS hit_ratio
	FROM chatcrypt_internal.read_cache_status() AS c;
COMMENT ON VIEW chatcrypt.cache_status IS
	'The key cache that all sessions share, with counters since the server started.';
COMMENT ON COLUMN chatcrypt.cache_status.entries IS 'Data keys in the cache.';
COMMENT ON COLUMN chatcrypt.cache_status.evictions IS 'Keys that were removed to make room.';
COMMENT ON COLUMN chatcrypt.cache_status.refreshes IS
	'Keys that were replaced by an unwrap in the background.';
COMMENT ON COLUMN chatcrypt.cache_status.bytes IS 'The memory of the cache.';
COMMENT ON COLUMN chatcrypt.cache_status.hits IS 'Look-ups that found the key in the cache.';
COMMENT ON COLUMN chatcrypt.cache_status.misses IS 'Look-ups that did not, and asked the KMS.';
COMMENT ON COLUMN chatcrypt.cache_status.session_hits IS
	'Uses of keys that sessions answered from their own memory, without a look-up here. They are '
	'counted at the end of each transaction, and about every second within a long one.';
COMMENT ON COLUMN chatcrypt.cache_status.hit_ratio IS
	'The share of all uses that needed no KMS: (session_hits + hits) / (session_hits + hits + '
	'misses); NULL before the first use.';
COMMENT ON COLUMN chatcrypt.cache_status.capacity IS
	'chatcrypt.cache_size. The cache may hold a few more.';
COMMENT ON COLUMN chatcrypt.cache_status.locked IS
	'Whether the operating system is kept from swapping it out.';
COMMENT ON COLUMN chatcrypt.cache_status.dumpable IS 'Whether a core dump would include it.';
COMMENT ON COLUMN chatcrypt.cache_status.warm_until IS
	'If the KMS does not answer from now on: when the first of the cached keys reaches '
	'chatcrypt.cache_max_age. Keys that nobody uses leave sooner (cache_idle). NULL without keys.';
COMMENT ON COLUMN chatcrypt.cache_status.half_warm_until IS
	'The same for about half of the keys.';
COMMENT ON COLUMN chatcrypt.cache_status.all_cold_at IS 'The same for all of the keys.';

CREATE FUNCTION chatcrypt.kms_check(
	kms_key text, OUT step text, OUT ok boolean, OUT detail text, OUT ms double precision)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 8 AS 'MODULE_PATHNAME', 'chatcrypt_kms_check';
COMMENT ON FUNCTION chatcrypt.kms_check(text) IS
	'Tries on a throw-away data key everything that a KMS key is used for, and reports each '
	'step: that the KMS worker runs, that the key URI has the right form, making a data key and '
	'unwrapping it, wrapping another one and unwrapping it, that it does not unwrap for another '
	'chat, re-wrapping it and unwrapping the result. ok says whether the step succeeded, detail '
	'what was found, and ms how long it took. It stores nothing.';
