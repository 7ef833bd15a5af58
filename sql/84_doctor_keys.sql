-- doctor(): findings about data keys, and about messages that they do not open.

CREATE FUNCTION chatcrypt_internal.doctor_count(found bigint, most bigint) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN found > most THEN format('more than %s', most) ELSE found::text END;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_count(bigint, bigint) IS
	'For doctor(): a number that was counted no further than it matters.';

-- The limits are arguments so that a test can reach them.
CREATE FUNCTION chatcrypt_internal.doctor_keys(wraps bigint DEFAULT 1 << 30,
									  messages bigint DEFAULT 1::bigint << 31,
									  age interval DEFAULT '1 year') RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH due (keys) AS (SELECT count(*) FROM chatcrypt_internal.read_keys_due(false, 1001)),
	-- Select by age first, whatever the planner estimates for an age that it does not know.
	aged AS MATERIALIZED (
		SELECT d.chat_id FROM chatcrypt.dek AS d
		WHERE d.state = 'active' AND d.purpose <> 'search' AND d.valid_from < now() - age
	),
	old (keys) AS (
		SELECT count(*)
		FROM (SELECT FROM aged JOIN chatcrypt.chat AS c USING (chat_id) JOIN chatcrypt.tenant AS t USING (tenant)
			  WHERE coalesce(c.rotate_after, t.rotate_after) IS NULL LIMIT 1001) AS d
	),
	kms_key_version AS MATERIALIZED (
		SELECT d.kms_key AS uri, d.kms_key_version AS version, count(*) AS deks, count(*) FILTER (WHERE d.state <> 'destroyed') AS live
		FROM chatcrypt.dek AS d GROUP BY d.kms_key, d.kms_key_version
	),
	kms_key AS (
		SELECT v.uri, sum(v.deks) AS deks, sum(v.live) AS live FROM kms_key_version AS v GROUP BY v.uri
	),
	-- This uses the estimates of ANALYZE, because counting would read every message.
	chat AS (
		SELECT often.chat_id, (often.share * c.reltuples)::bigint AS messages
		FROM pg_class AS c JOIN pg_stats AS s ON s.schemaname = 'chatcrypt' AND s.tablename = 'sealed_message' AND s.attname = 'chat_id',
			 unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS often (chat_id, share)
		WHERE c.oid = 'chatcrypt.sealed_message'::regclass
	)
	SELECT 'warning', 'stale_deks', format('Active data keys older than their policy allows: %s.', chatcrypt_internal.doctor_count(keys, 1000)),
		   'Rotation is due, so that one stolen key opens no more messages than intended.',
		   'Rotate the chats that they belong to: chatcrypt.rotate_chat().'
	FROM due WHERE keys > 0
	UNION ALL
	SELECT 'notice', 'old_deks', format('Active data keys older than %s that no policy rotates: %s.', age, chatcrypt_internal.doctor_count(keys, 1000)),
		   'One stolen key then opens all messages of that time.',
		   'Set rotate_after in chatcrypt.tenant, or for a chat in chatcrypt.chat.'
	FROM old WHERE keys > 0
	UNION ALL
	SELECT 'critical', 'kms_key_below_minimum',
		   format('%s does not open %s data keys any more: version %s wraps them, and its min_decryption_version is %s.',
				  v.uri, v.live, v.version, s.key_min_decryption_version),
		   'Chats that they belong to go on while their keys are in the cache, and cannot be read after that.',
		   format('Set min_decryption_version of the key to %s, CALL chatcrypt.rewrap(), and raise it again when chatcrypt.key_state shows no older version.', v.version)
	FROM kms_key_version AS v JOIN chatcrypt.kms_status AS s ON s.kms_key = v.uri
	WHERE v.version < s.key_min_decryption_version AND v.live > 0
	UNION ALL
	SELECT 'warning', 'kms_key_limit', format('%s has wrapped %s data keys.', uri, deks),
		   'Of one AES-256-GCM key with random nonces, 2^32 uses are safe (NIST SP 800-38D). Keys '
		   'that derive one for each data key, as local and derived Transit keys do, have room '
		   'left even then.',
		   'Give new tenants a key of their own, and rotate this one in the KMS.'
	FROM kms_key WHERE deks >= wraps
	UNION ALL
	SELECT 'warning', 'local_wrapped_deks', format('%s still wraps %s data keys, and is not the default any more.', uri, live),
		   'Whoever copies this server''s files has the master key, and opens what these keys '
		   'protect.',
		   'Re-wrap them with the key that the tenant names now.'
	FROM kms_key, chatcrypt_internal.doctor_values() AS setting
	WHERE uri LIKE 'local:%' AND live > 0
	  AND setting.name = 'chatcrypt.default_kms_key' AND setting.place = 'on this server' AND setting.value NOT LIKE 'local:%'
	UNION ALL
	SELECT 'warning', 'search_incomplete', format('Chats whose search index is not complete: %s.', count(*)),
		   'Searches there fail, because messages from before the last change of their policy '
		   'would be missing.',
		   'CALL chatcrypt.reindex_search() for each: chatcrypt.search_policy lists them.'
	FROM chatcrypt.search_policy AS p WHERE NOT p.complete AND NOT p.began_empty HAVING count(*) > 0
	UNION ALL
	SELECT 'notice', 'search_looks', format('Chats where each search looks at all messages first: %s.', count(*)),
		   'They had no message when their policy was set, and a transaction that did not know of it '
		   'may have written one. The more messages they have, the longer the look takes.',
		   'CALL chatcrypt.reindex_search() once for each: chatcrypt.search_policy lists them (began_empty).'
	FROM chatcrypt.search_policy AS p
	WHERE NOT p.complete AND p.began_empty AND p.updated_at < now() - interval '1 day' HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'dek_limit', format('Chat %s has about %s messages.', chat_id, messages),
		   'One data key is good for 2^32 messages; envelopes outside this database count too.',
		   'Rotate its key: chatcrypt.rotate_chat().'
	FROM chat WHERE chat.messages >= doctor_keys.messages;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_keys(bigint, bigint, interval) IS
	'For doctor(): keys that are too old or used too often.';

-- The time does not depend on the size of the table.  It reads so many chats in the order of the
-- index, beginning at any one, for some 7 us each; and so many pages, to find messages whose key
-- version is missing although the chat has other versions.
CREATE FUNCTION chatcrypt_internal.doctor_messages(chats integer DEFAULT 1000, pages integer DEFAULT 50) RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE sample AS MATERIALIZED (
		SELECT DISTINCT m.chat_id, m.dek_version
		FROM chatcrypt.sealed_message AS m TABLESAMPLE SYSTEM (
			(100.0 * pages / greatest(pages, pg_relation_size('chatcrypt.sealed_message') / current_setting('block_size')::integer)))
	),
	start (at) AS MATERIALIZED (
		SELECT coalesce((SELECT s.chat_id FROM sample AS s ORDER BY random() LIMIT 1),
						(SELECT m.chat_id FROM chatcrypt.sealed_message AS m ORDER BY m.chat_id LIMIT 1))
	),
	chat (chat_id, number, is_past_the_end) AS (
		SELECT start.at, 1, false FROM start WHERE start.at IS NOT NULL
		UNION ALL
		SELECT next.chat_id, chat.number + 1, next.is_past_the_end
		FROM chat, start,
			 LATERAL (SELECT (SELECT m.chat_id FROM chatcrypt.sealed_message AS m WHERE m.chat_id > chat.chat_id ORDER BY m.chat_id LIMIT 1)) AS above (chat_id),
			 LATERAL (SELECT coalesce(above.chat_id, (SELECT m.chat_id FROM chatcrypt.sealed_message AS m ORDER BY m.chat_id LIMIT 1)),
							 chat.is_past_the_end OR above.chat_id IS NULL) AS next (chat_id, is_past_the_end)
		WHERE chat.number < chats AND NOT (next.is_past_the_end AND next.chat_id >= start.at)
	),
	-- The LIMIT makes the planner look keys up row by row, instead of reading the whole table in a
	-- join.
	keyless AS (
		SELECT c.chat_id FROM chat AS c
		WHERE (SELECT true FROM chatcrypt.dek AS d WHERE d.chat_id = c.chat_id AND d.purpose <> 'search' LIMIT 1) IS NULL
		UNION
		SELECT s.chat_id FROM sample AS s
		WHERE s.dek_version IS NOT NULL
		  AND (SELECT true FROM chatcrypt.dek AS d
			   WHERE d.chat_id = s.chat_id AND d.dek_version = s.dek_version AND d.purpose <> 'search' LIMIT 1) IS NULL
	)
	SELECT 'critical', 'messages_without_dek',
		   format('Chats with messages whose data key is not in chatcrypt.dek: %s.',
				  chatcrypt_internal.doctor_list(array_agg(chat_id::text ORDER BY chat_id))),
		   'These messages cannot be read. A table may have been restored without the others, or '
		   'rows were deleted.',
		   'Restore chatcrypt.dek from the backup that the messages came from.'
	FROM keyless HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'unopened_messages',
		   format('Messages or files that did not open since the server started: %s damaged or sealed for another place, %s without a key; the last at %s.',
				  h.damaged, h.no_key, date_trunc('second', h.last_at)),
		   'Bytes or ids were changed, rows of chatcrypt.dek are missing, or a caller gives others '
		   'than it sealed with.',
		   'See the errors in the server''s log, and CALL chatcrypt.verify_all().'
	FROM chatcrypt_internal.read_failed_opens() AS h
	WHERE h.damaged + h.no_key > 0 AND h.last_at > now() - interval '1 day'
	UNION ALL
	SELECT 'critical', 'verification_findings',
		   format('The last verification found what does not open: %s, the last at %s.', chatcrypt_internal.doctor_count(count(*), 10000), date_trunc('second', max(u.found_at))),
		   'These messages or files cannot be read, though nobody destroyed their keys.',
		   'chatcrypt.verification_finding lists them, with reasons: bring them back from a backup, then CALL chatcrypt.verify_all() again.'
	FROM (SELECT found_at FROM chatcrypt.verification_finding WHERE reason NOT LIKE 'key destroyed:%' LIMIT 10001) AS u
	HAVING count(*) > 0;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_messages(integer, integer) IS
	'For doctor(): messages that no key can open, or that did not open.';

CREATE FUNCTION chatcrypt_internal.doctor_search_feed(most bigint DEFAULT 1000000,
											 age interval DEFAULT '1 hour') RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'warning', 'search_feed',
		   format('The feed of the search index is behind: %s%s changes since %s.', CASE WHEN waiting > most THEN 'more than ' ELSE '' END,
				  least(waiting, most), date_trunc('second', oldest)),
		   'What was deleted or shredded is still found there, and what is new is not.',
		   'See chatcrypt.search_feed_status, and whether the program that calls '
		   'chatcrypt.drain_search_feed() runs.'
	FROM (SELECT (SELECT count(*) FROM (SELECT FROM chatcrypt.search_feed LIMIT most + 1) AS f) AS waiting,
				 (SELECT noted_at FROM chatcrypt.search_feed ORDER BY position LIMIT 1) AS oldest) AS feed
	WHERE waiting > most OR oldest < now() - age;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_search_feed(bigint, interval) IS
	'For doctor(): a search index outside that is not told of changes.';

-- Events are sealed in the order of their ids, except late ones; the first ones of each gap stand
-- for the others.
CREATE FUNCTION chatcrypt_internal.doctor_history(age interval DEFAULT '1 day') RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'warning', 'unsealed_history',
		   format('The history of keys is not sealed: event %s is older than %s and in no seal.', e.event_id, age),
		   'Somebody who can change the table can take events out of it, or change them, and nothing '
		   'will show.',
		   'Name this database in chatcrypt.maintenance_databases, or have chatcrypt.seal_events() called regularly; see chatcrypt.maintenance_status.'
	FROM chatcrypt_internal.read_unsealed_events(1000) AS e
	WHERE e.happened_at < now() - age
	ORDER BY e.event_id LIMIT 1;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_history(interval) IS
	'For doctor(): a history of keys that nobody seals.';
