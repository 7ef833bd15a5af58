-- The state of the keys, of the tenants and of this database, for a monitor that looks every few
-- seconds.
--
-- Auditors may not read all the rows that these functions read.  So the functions run with the
-- rights of the extension's owner, and return only counts, times, and the names of tenants and KMS
-- keys.  Each function reads small indexes, and stops counting when a higher count would say no
-- more.

CREATE FUNCTION chatcrypt_internal.read_key_state(
	OUT kms_key text, OUT key_version bigint, OUT data_keys bigint, OUT active bigint,
	OUT below_minimum bigint, OUT oldest timestamptz)
	RETURNS SETOF record
	LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.kms_key, d.kms_key_version, sum(d.keys)::bigint,
		   coalesce(sum(d.keys) FILTER (WHERE d.state = 'active'), 0)::bigint,
		   CASE WHEN d.kms_key_version < s.key_min_decryption_version THEN sum(d.keys)::bigint
				WHEN d.kms_key_version >= s.key_min_decryption_version THEN 0 END,
		   min(d.oldest)
	FROM (SELECT kms_key, kms_key_version, state, count(*) AS keys, min(valid_from) AS oldest
		  FROM chatcrypt.dek WHERE state <> 'destroyed'
		  GROUP BY kms_key, kms_key_version, state) AS d
	LEFT JOIN chatcrypt.kms_status AS s ON s.kms_key = d.kms_key
	GROUP BY d.kms_key, d.kms_key_version, s.key_min_decryption_version;
$$;
COMMENT ON FUNCTION chatcrypt_internal.read_key_state() IS 'What stands behind the view chatcrypt.key_state.';

CREATE VIEW chatcrypt.key_state WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_key_state() ORDER BY kms_key, key_version;
COMMENT ON VIEW chatcrypt.key_state IS
	'How many data keys of this database each version of each KMS key wraps. The counts are '
	'exact; reading takes about 20 ms for each 100,000 keys.';
COMMENT ON COLUMN chatcrypt.key_state.kms_key IS 'The KMS key.';
COMMENT ON COLUMN chatcrypt.key_state.key_version IS
	'The version of the KMS key; NULL if the wrapped keys do not tell.';
COMMENT ON COLUMN chatcrypt.key_state.data_keys IS
	'Data keys that it wraps, without destroyed ones.';
COMMENT ON COLUMN chatcrypt.key_state.active IS 'Those of them that are active.';
COMMENT ON COLUMN chatcrypt.key_state.below_minimum IS
	'Those that the KMS no longer unwraps, because key_min_decryption_version in '
	'chatcrypt.kms_status is above this version: all of them or 0; NULL if that is not known.';
COMMENT ON COLUMN chatcrypt.key_state.oldest IS 'When the oldest of them became active.';

-- No key is due before it has the age of the shortest policy, which leaves few keys to look at.
-- The limit is a tenth lower, because months count as 30 days in the comparison of policies.
CREATE FUNCTION chatcrypt_internal.read_keys_due(
	only_sealing boolean, most bigint DEFAULT NULL, OUT tenant text, OUT since timestamptz)
	RETURNS SETOF record
	LANGUAGE sql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
	WITH old AS MATERIALIZED (
		SELECT d.chat_id, d.purpose, d.valid_from
		FROM chatcrypt.dek AS d
		WHERE d.state = 'active' AND d.purpose <> 'search'
		  AND d.valid_from <= (SELECT now() - min(extract(epoch FROM shortest)) * interval '0.9 s'
							   FROM ((SELECT min(rotate_after) FROM chatcrypt.tenant)
									 UNION ALL
									 (SELECT min(rotate_after) FROM chatcrypt.chat)) AS p (shortest))
	)
	SELECT c.tenant, d.valid_from + coalesce(c.rotate_after, t.rotate_after)
	FROM old AS d JOIN chatcrypt.chat AS c USING (chat_id) JOIN chatcrypt.tenant AS t USING (tenant)
	WHERE (NOT only_sealing OR d.purpose = CASE c.mode WHEN 'managed' THEN 'data' WHEN 'conversation_key' THEN 'conversation' END)
	  AND d.valid_from <= now() - coalesce(c.rotate_after, t.rotate_after)
	LIMIT most;
$$;
COMMENT ON FUNCTION chatcrypt_internal.read_keys_due(boolean, bigint) IS
	'For views and doctor(): active keys that are older than rotate_after of their chat or tenant '
	'allows, and since when they have been due; all, or those that seal messages, which '
	'due_for_rotation() goes by.';

CREATE FUNCTION chatcrypt_internal.read_tenant_state(
	OUT tenant text, OUT kms_key text, OUT chats bigint, OUT chats_due bigint,
	OUT oldest_due timestamptz)
	RETURNS SETOF record
	LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
	SELECT t.tenant, coalesce(t.kms_key, current_setting('chatcrypt.default_kms_key')),
		   coalesce(c.chats, 0), coalesce(d.chats, 0), d.oldest
	FROM chatcrypt.tenant AS t
	LEFT JOIN (SELECT c.tenant, count(*) AS chats FROM chatcrypt.chat AS c GROUP BY c.tenant) AS c USING (tenant)
	LEFT JOIN (SELECT k.tenant, count(*) AS chats, min(k.since) AS oldest
			   FROM chatcrypt_internal.read_keys_due(true) AS k GROUP BY k.tenant) AS d USING (tenant);
$$;
COMMENT ON FUNCTION chatcrypt_internal.read_tenant_state() IS
	'What stands behind the view chatcrypt.tenant_state.';

CREATE VIEW chatcrypt.tenant_state WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_tenant_state() ORDER BY tenant;
COMMENT ON VIEW chatcrypt.tenant_state IS
	'The tenants of this database, with their numbers of chats. The counts are exact; reading '
	'takes about 20 ms for each 100,000 chats, and longer where many keys are older than the '
	'shortest rotate_after.';
COMMENT ON COLUMN chatcrypt.tenant_state.tenant IS 'The tenant.';
COMMENT ON COLUMN chatcrypt.tenant_state.chats IS 'Its chats.';
COMMENT ON COLUMN chatcrypt.tenant_state.kms_key IS 'The KMS key of its new data keys.';
COMMENT ON COLUMN chatcrypt.tenant_state.chats_due IS
	'Its chats whose data key is older than rotate_after allows. due_for_rotation() also lists '
	'those that are due by their number of messages.';
COMMENT ON COLUMN chatcrypt.tenant_state.oldest_due IS
	'Since when the first of them has been due; NULL for none.';

CREATE FUNCTION chatcrypt_internal.read_failed_opens(
	OUT damaged bigint, OUT no_key bigint, OUT destroyed bigint, OUT kms bigint,
	OUT last_at timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_read_failed_opens';
COMMENT ON FUNCTION chatcrypt_internal.read_failed_opens() IS
	'For the view chatcrypt.health: what did not open in sessions of this database.';

-- Events are sealed in the order of their ids, except late ones, which are in a gap between sealed
-- ones.
CREATE FUNCTION chatcrypt_internal.read_unsealed_events(most_in_a_gap bigint, OUT event_id bigint, OUT happened_at timestamptz)
	RETURNS SETOF record
	LANGUAGE sql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
	SELECT e.event_id, e.happened_at
	FROM unnest(int8multirange(int8range(NULL, NULL)) - coalesce((SELECT c.sealed FROM chatcrypt.event_chain AS c), '{}')) AS gap,
		 LATERAL (SELECT k.event_id, k.happened_at FROM chatcrypt.key_event AS k
				  WHERE k.event_id >= coalesce(lower(gap), -9223372036854775808)
					AND k.event_id <= coalesce(upper(gap) - 1, 9223372036854775807)
				  ORDER BY k.event_id LIMIT most_in_a_gap) AS e;
$$;
COMMENT ON FUNCTION chatcrypt_internal.read_unsealed_events(bigint) IS
	'For the view chatcrypt.health and doctor(): events that are in no seal.';

CREATE FUNCTION chatcrypt_internal.read_health(
	OUT events_unsealed bigint, OUT oldest_unsealed timestamptz,
	OUT unopened_damaged bigint, OUT unopened_no_key bigint, OUT unopened_destroyed bigint,
	OUT unopened_kms bigint, OUT last_unopened timestamptz,
	OUT verification_findings bigint, OUT last_finding timestamptz,
	OUT feed_behind bigint, OUT feed_oldest timestamptz,
	OUT chats_due bigint, OUT oldest_due timestamptz, OUT oldest_key timestamptz,
	OUT uploads_abandoned bigint)
	RETURNS record
	LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT events.*, unopened.*, findings.*, feed.*, due.*,
		   (SELECT min(d.valid_from) FROM chatcrypt.dek AS d WHERE d.state = 'active'),
		   (SELECT count(*) FROM (SELECT FROM chatcrypt.sealed_attachment AS a
								  WHERE a.completed_at IS NULL AND a.created_at < now() - interval '1 day' LIMIT 10000) AS a)
	FROM (SELECT count(*), min(e.happened_at)
		  FROM (SELECT happened_at FROM chatcrypt_internal.read_unsealed_events(10000) LIMIT 10000) AS e) AS events,
		 chatcrypt_internal.read_failed_opens() AS unopened,
		 (SELECT count(*), max(u.found_at)
		  FROM (SELECT found_at FROM chatcrypt.verification_finding WHERE reason NOT LIKE 'key destroyed:%' LIMIT 10000) AS u) AS findings,
		 (SELECT (SELECT count(*) FROM (SELECT FROM chatcrypt.search_feed LIMIT 100000) AS f),
				 (SELECT f.noted_at FROM chatcrypt.search_feed AS f ORDER BY f.position LIMIT 1)) AS feed,
		 (SELECT count(*), min(k.since) FROM chatcrypt_internal.read_keys_due(true, 10000) AS k) AS due;
$$;
COMMENT ON FUNCTION chatcrypt_internal.read_health() IS 'What stands behind the view chatcrypt.health.';

CREATE VIEW chatcrypt.health WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_health();
COMMENT ON VIEW chatcrypt.health IS
	'The state of this database in one row: what waits to be done, and what went wrong. Counts '
	'stop at 10,000, and feed_behind at 100,000, so that reading takes some milliseconds however '
	'much there is.';
COMMENT ON COLUMN chatcrypt.health.events_unsealed IS
	'Events of the history of keys that no seal covers.';
COMMENT ON COLUMN chatcrypt.health.oldest_unsealed IS
	'When the first of them happened; NULL for none.';
COMMENT ON COLUMN chatcrypt.health.unopened_damaged IS
	'Attempts of sessions of this database, since the server started, to open a message or '
	'attachment that was damaged, sealed for another place, or no envelope. Attempts with '
	'decrypt() count; verification does not.';
COMMENT ON COLUMN chatcrypt.health.unopened_no_key IS
	'The same, because their chat has no key of their version and no trace of one.';
COMMENT ON COLUMN chatcrypt.health.unopened_destroyed IS
	'The same, because their key was destroyed: normal after a shred or a purge.';
COMMENT ON COLUMN chatcrypt.health.unopened_kms IS
	'The same, because the KMS did not unwrap the key.';
COMMENT ON COLUMN chatcrypt.health.last_unopened IS 'When the last of these four happened.';
COMMENT ON COLUMN chatcrypt.health.verification_findings IS
	'Rows of chatcrypt.verification_finding that have another reason than a key that was destroyed.';
COMMENT ON COLUMN chatcrypt.health.last_finding IS 'When the last of them was found.';
COMMENT ON COLUMN chatcrypt.health.feed_behind IS
	'Changes that the external index has not acknowledged.';
COMMENT ON COLUMN chatcrypt.health.feed_oldest IS 'When the oldest of them was made.';
COMMENT ON COLUMN chatcrypt.health.chats_due IS
	'As in chatcrypt.tenant_state, over all tenants.';
COMMENT ON COLUMN chatcrypt.health.oldest_due IS 'Since when the first of them has been due.';
COMMENT ON COLUMN chatcrypt.health.oldest_key IS
	'When the oldest active data key became active.';
COMMENT ON COLUMN chatcrypt.health.uploads_abandoned IS
	'Attachments whose upload began more than a day ago and has not ended.';
