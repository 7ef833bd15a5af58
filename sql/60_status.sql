-- How the KMS, its worker and the key cache are doing.  No secret is in any of it.

CREATE FUNCTION chatcrypt.read_kms_status(
	OUT key_uri text, OUT reachable boolean, OUT breaker text,
	OUT last_success timestamptz, OUT last_error text, OUT last_error_at timestamptz,
	OUT latency_p50_ms double precision, OUT latency_p99_ms double precision,
	OUT in_flight integer, OUT waiting integer,
	OUT calls bigint, OUT failed_calls bigint, OUT items bigint, OUT retries bigint,
	OUT token_lease_left interval, OUT key_derived boolean, OUT key_exportable boolean,
	OUT key_latest_version bigint, OUT key_min_decryption_version bigint,
	OUT hold_until timestamptz)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_status';
COMMENT ON FUNCTION chatcrypt.read_kms_status() IS
	'What stands behind the view chatcrypt.kms_status.';

CREATE VIEW chatcrypt.kms_status WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt.read_kms_status() ORDER BY key_uri;
COMMENT ON VIEW chatcrypt.kms_status IS
	'One row for each key URI that was used since the KMS worker started: is its KMS there, and '
	'how fast is it?';
COMMENT ON COLUMN chatcrypt.kms_status.reachable IS
	'Whether the last call was answered; NULL before the first.';
COMMENT ON COLUMN chatcrypt.kms_status.breaker IS
	'closed: calls go out; open: requests fail at once until a probe is answered; half open: a '
	'probe is under way.';
COMMENT ON COLUMN chatcrypt.kms_status.latency_p50_ms IS
	'Half of the last thousand calls or so took less than this.';
COMMENT ON COLUMN chatcrypt.kms_status.latency_p99_ms IS
	'99 of 100 of the last thousand calls or so took less than this.';
COMMENT ON COLUMN chatcrypt.kms_status.in_flight IS 'Calls under way.';
COMMENT ON COLUMN chatcrypt.kms_status.waiting IS 'Requests that are in no call yet.';
COMMENT ON COLUMN chatcrypt.kms_status.items IS
	'Keys wrapped, unwrapped, generated and re-wrapped.';
COMMENT ON COLUMN chatcrypt.kms_status.token_lease_left IS
	'How long the login holds without a renewal; NULL for no limit, or no login.';
COMMENT ON COLUMN chatcrypt.kms_status.hold_until IS
	'The KMS wants no request before that (Retry-After, up to 30 s); NULL for no such wish.';
COMMENT ON COLUMN chatcrypt.kms_status.key_derived IS
	'Whether the KMS binds each data key to its chat; NULL where it does not say.';

CREATE FUNCTION chatcrypt.read_kms_worker(
	OUT pid integer, OUT started_at timestamptz,
	OUT requests_pending integer, OUT requests_in_flight integer, OUT answers_not_collected integer,
	OUT requests bigint, OUT joined bigint, OUT refreshes bigint,
	OUT heartbeat_at timestamptz, OUT oldest_request_age interval, OUT hung boolean)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_worker';
COMMENT ON FUNCTION chatcrypt.read_kms_worker() IS
	'What stands behind the view chatcrypt.kms_worker.';

CREATE VIEW chatcrypt.kms_worker WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt.read_kms_worker();
COMMENT ON VIEW chatcrypt.kms_worker IS
	'The process that talks to the KMS, and the requests that it has: one row, without a pid while '
	'it is not running.';
COMMENT ON COLUMN chatcrypt.kms_worker.joined IS
	'Requests that found one for the same key under way and shared it.';
COMMENT ON COLUMN chatcrypt.kms_worker.heartbeat_at IS
	'When the worker moved last, which it does once a second at least.';
COMMENT ON COLUMN chatcrypt.kms_worker.oldest_request_age IS
	'How long the oldest request has been without an answer; NULL for none.';
COMMENT ON COLUMN chatcrypt.kms_worker.hung IS
	'Whether the worker has not moved for 5 s or longer: it is stopped, or stuck in a look-up or in '
	'reading a file. NULL while it is not running.';

CREATE FUNCTION chatcrypt.read_kms_waits(
	OUT waits bigint, OUT seconds double precision, OUT timeouts bigint,
	OUT refused_at_once bigint, OUT cancelled bigint, OUT failed bigint,
	OUT bounds double precision[], OUT counts bigint[])
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_kms_waits';
COMMENT ON FUNCTION chatcrypt.read_kms_waits() IS
	'What stands behind the view chatcrypt.kms_waits.';

CREATE VIEW chatcrypt.kms_waits WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt.read_kms_waits();
COMMENT ON VIEW chatcrypt.kms_waits IS
	'How often and how long sessions of all databases waited for the KMS, and how it ended: one row, '
	'counters since the server started. One wait may be for many keys. kms_check() is not counted.';
COMMENT ON COLUMN chatcrypt.kms_waits.seconds IS 'All waits together.';
COMMENT ON COLUMN chatcrypt.kms_waits.timeouts IS
	'Waits that ended without an answer in time for one key or more.';
COMMENT ON COLUMN chatcrypt.kms_waits.refused_at_once IS
	'Waits that ended because the KMS was not asked: it did not answer before or wants no request for '
	'now, or the KMS worker hangs.';
COMMENT ON COLUMN chatcrypt.kms_waits.cancelled IS
	'Waits that were ended by a cancel, a statement_timeout or the end of the session.';
COMMENT ON COLUMN chatcrypt.kms_waits.failed IS
	'Waits that ended with another failure: denied, rejected, no such key, not set up correctly.';
COMMENT ON COLUMN chatcrypt.kms_waits.bounds IS 'Upper bounds of a histogram, in seconds.';
COMMENT ON COLUMN chatcrypt.kms_waits.counts IS
	'For each of the bounds, how many waits were no longer; all that were longer than the last are in '
	'waits alone.';

CREATE FUNCTION chatcrypt.read_cache_status(
	OUT entries bigint, OUT capacity bigint, OUT hits bigint, OUT misses bigint,
	OUT evictions bigint, OUT refreshes bigint, OUT bytes bigint, OUT locked boolean,
	OUT dumpable boolean, OUT session_hits bigint)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_cache_status';
COMMENT ON FUNCTION chatcrypt.read_cache_status() IS
	'What stands behind the view chatcrypt.cache_status.';

CREATE VIEW chatcrypt.cache_status WITH (security_barrier, security_invoker) AS
	SELECT c.*, (c.session_hits + c.hits)::float8 / nullif(c.session_hits + c.hits + c.misses, 0) AS hit_ratio
	FROM chatcrypt.read_cache_status() AS c;
COMMENT ON VIEW chatcrypt.cache_status IS
	'The key cache that all sessions share; counters since the server started.';
COMMENT ON COLUMN chatcrypt.cache_status.hits IS
	'Look-ups that found the key here.';
COMMENT ON COLUMN chatcrypt.cache_status.misses IS
	'Look-ups that did not, and asked the KMS.';
COMMENT ON COLUMN chatcrypt.cache_status.session_hits IS
	'Uses of keys that sessions answered from copies of their own, without a look-up here; counted '
	'at the end of each transaction, and about every second within a long one.';
COMMENT ON COLUMN chatcrypt.cache_status.hit_ratio IS
	'The share of all uses of keys that needed no KMS: (session_hits + hits) / (session_hits + hits '
	'+ misses); NULL before the first use.';
COMMENT ON COLUMN chatcrypt.cache_status.capacity IS
	'chatcrypt.cache_size; the cache may hold a little more.';
COMMENT ON COLUMN chatcrypt.cache_status.locked IS
	'Whether the operating system may not swap it out.';
COMMENT ON COLUMN chatcrypt.cache_status.dumpable IS 'Whether a core dump would hold it.';

CREATE FUNCTION chatcrypt.kms_check(
	key_uri text, OUT step text, OUT ok boolean, OUT detail text, OUT ms double precision)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 8 AS 'MODULE_PATHNAME', 'chatcrypt_kms_check';
COMMENT ON FUNCTION chatcrypt.kms_check(text) IS
	'Tries everything that a key is used for on a throw-away data key, and says step by step what '
	'works. Stores nothing.';
