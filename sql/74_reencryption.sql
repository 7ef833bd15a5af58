-- Moving envelopes to their chat's newest key, and destroying keys that nothing needs any more.

-- Where envelopes are kept beside chatcrypt.message.
CREATE TABLE chatcrypt.protected_column (
	registry_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	relation regclass NOT NULL,
	envelope_column name NOT NULL,
	chat_column name NOT NULL,
	message_column name NOT NULL,
	aad bytea,
	registered_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT protected_column_once UNIQUE (relation, envelope_column)
);
COMMENT ON TABLE chatcrypt.protected_column IS 'Columns of other tables that hold envelopes: re-encryption, purging and verification go through them too.';
COMMENT ON COLUMN chatcrypt.protected_column.aad IS 'The additional data that all envelopes of the column are sealed with; NULL for none.';
SELECT pg_extension_config_dump('chatcrypt.protected_column', '');

CREATE FUNCTION chatcrypt.register_envelopes(relation regclass, envelope_column name, chat_column name, message_column name,
											 aad bytea DEFAULT NULL, registry_id uuid DEFAULT gen_random_uuid())
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_register_envelopes';
COMMENT ON FUNCTION chatcrypt.register_envelopes(regclass, name, name, name, bytea, uuid) IS 'Makes a column known that holds envelopes; gives the id of the registration.';

CREATE FUNCTION chatcrypt.unregister_envelopes(registry_id uuid)
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_unregister_envelopes';
COMMENT ON FUNCTION chatcrypt.unregister_envelopes(uuid) IS 'Forgets a registered column: nothing keeps the keys of its envelopes from being purged then. False where there was none.';

-- How far the upkeep of a chat has come.  Only hints: whoever relies on one looks again.
CREATE TABLE chatcrypt.upkeep (
	chat_id uuid CONSTRAINT upkeep_pkey PRIMARY KEY REFERENCES chatcrypt.chat ON DELETE CASCADE,
	reencrypted_to bigint,
	reencrypted_at timestamptz,
	unreadable bigint,
	looked_for_unused_at timestamptz
);
COMMENT ON TABLE chatcrypt.upkeep IS 'When each chat was last gone through, and what did not open.';
COMMENT ON COLUMN chatcrypt.upkeep.reencrypted_to IS 'dek_id of the key that all readable envelopes were under when re-encryption last ended.';
COMMENT ON COLUMN chatcrypt.upkeep.unreadable IS 'How many envelopes of the chat did not open then: verify_chat() lists them.';

-- When old messages are moved without being asked for.
ALTER TABLE chatcrypt.tenant ADD COLUMN reencrypt_after interval CHECK (reencrypt_after >= interval '0');
ALTER TABLE chatcrypt.chat ADD COLUMN reencrypt_after interval CHECK (reencrypt_after >= interval '0');
COMMENT ON COLUMN chatcrypt.tenant.reencrypt_after IS 'How long after a key was replaced reencrypt_due() moves what it sealed; NULL for never.';
COMMENT ON COLUMN chatcrypt.chat.reencrypt_after IS 'As the tenant''s, for this chat; NULL for what the tenant says.';

CREATE INDEX dek_replaced ON chatcrypt.dek (chat_id) WHERE state = 'decrypt_only';

CREATE FUNCTION chatcrypt.reseal(chat_id uuid, message_id uuid, envelope bytea, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'chatcrypt_reseal_envelope';
COMMENT ON FUNCTION chatcrypt.reseal(uuid, uuid, bytea, bytea) IS 'Seals what an envelope holds under the chat''s newest key, without showing it; NULL for one that does not open.';

CREATE FUNCTION chatcrypt.reseal(chat_id bigint, message_id bigint, envelope bytea, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE sql VOLATILE PARALLEL SAFE
	RETURN chatcrypt.reseal(chatcrypt.id(chat_id), chatcrypt.id(message_id), envelope, aad);
COMMENT ON FUNCTION chatcrypt.reseal(bigint, bigint, bytea, bytea) IS 'Seals what an envelope holds under the chat''s newest key, without showing it; NULL for one that does not open.';

-- The steps of the procedures below.  They check rights themselves.
CREATE FUNCTION chatcrypt.envelope_places(OUT relation oid, OUT registry_id uuid)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'chatcrypt_envelope_places';
COMMENT ON FUNCTION chatcrypt.envelope_places() IS 'Tables that hold envelopes: for the procedures.';

CREATE FUNCTION chatcrypt.outdated_rows(chat_id uuid, relation oid, registry_id uuid, after tid, most integer)
	RETURNS tid[] LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_outdated_rows';
COMMENT ON FUNCTION chatcrypt.outdated_rows(uuid, oid, uuid, tid, integer) IS 'Where rows of a chat are that its newest key did not seal: for the procedures.';

CREATE FUNCTION chatcrypt.reencrypt_rows(chat_id uuid, relation oid, registry_id uuid, at tid[],
										 OUT moved bigint, OUT unreadable bigint, OUT passed_over bigint)
	RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_rows';
COMMENT ON FUNCTION chatcrypt.reencrypt_rows(uuid, oid, uuid, tid[]) IS 'Moves rows to the newest key of their chat: for the procedures.';

CREATE FUNCTION chatcrypt.note_reencrypted(chat_id uuid, dek_id bigint, unreadable bigint)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_note_reencrypted';
COMMENT ON FUNCTION chatcrypt.note_reencrypted(uuid, bigint, bigint) IS 'Remembers that a chat was gone through, dek_id NULL where not all of it was: for the procedures.';

-- One chat.  What all procedures here keep to: search_path is set for each transaction anew,
-- because a procedure with a SET clause cannot COMMIT; until it is set every name is
-- qualified and no operator is used.  Commits of slices do not wait for the disk: what a
-- crash takes back is found again, and a key that it needs is destroyed by a later commit.
CREATE PROCEDURE chatcrypt.reencrypt_places(chat_id uuid, batch integer, forgiving boolean,
											INOUT moved bigint, INOUT unreadable bigint, INOUT failed bigint)
	LANGUAGE plpgsql AS $$
DECLARE
	many CONSTANT integer := 200000;
	newest bigint;
	missed bigint := 0;
	unreadable_here bigint := 0;
	place record;
	slice record;
	outdated pg_catalog.tid[];
	first integer;
	failure pg_catalog.text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF batch IS NULL OR batch < 1 THEN
		RAISE EXCEPTION 'a batch has at least one row' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT d.dek_id INTO newest FROM chatcrypt.dek AS d JOIN chatcrypt.chat AS c USING (chat_id)
	WHERE d.chat_id = reencrypt_places.chat_id AND d.state = 'active'
		AND d.purpose = CASE c.mode WHEN 'managed' THEN 'data' WHEN 'conversation_key' THEN 'conversation' END;
	FOR place IN SELECT * FROM chatcrypt.envelope_places() LOOP
		outdated := ARRAY['(0,0)'::tid];
		first := 2;
		LOOP
			PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
					pg_catalog.set_config('synchronous_commit', 'off', true);
			BEGIN
				IF first > cardinality(outdated) THEN
					outdated := chatcrypt.outdated_rows(chat_id, place.relation, place.registry_id,
														outdated[cardinality(outdated)], many);
					first := 1;
				END IF;
				EXIT WHEN outdated IS NULL;
				SELECT * INTO slice FROM chatcrypt.reencrypt_rows(chat_id, place.relation, place.registry_id,
																  outdated[first:first + batch - 1]);
			EXCEPTION WHEN OTHERS THEN
				IF NOT forgiving THEN
					RAISE;
				END IF;
				failure := SQLERRM;
			END;
			IF failure IS NOT NULL THEN
				RAISE WARNING 'could not re-encrypt chat %: %', chat_id, failure;
				failed := failed + 1;
				PERFORM chatcrypt.note_reencrypted(chat_id, NULL, unreadable_here);
				COMMIT;
				RETURN;
			END IF;
			first := first + batch;
			moved := moved + slice.moved;
			unreadable := unreadable + slice.unreadable;
			unreadable_here := unreadable_here + slice.unreadable;
			missed := missed + slice.passed_over;
			COMMIT;
		END LOOP;
	END LOOP;
	PERFORM chatcrypt.note_reencrypted(chat_id, CASE missed WHEN 0 THEN newest END, unreadable_here);
	COMMIT;
END
$$;
COMMENT ON PROCEDURE chatcrypt.reencrypt_places(uuid, integer, boolean, bigint, bigint, bigint) IS 'One chat''s part of the procedures.';

CREATE PROCEDURE chatcrypt.reencrypt_chat(chat_id uuid, batch integer DEFAULT 1000)
	LANGUAGE plpgsql AS $$
DECLARE
	moved bigint := 0;
	unreadable bigint := 0;
	failed bigint := 0;
BEGIN
	CALL chatcrypt.reencrypt_places(chat_id, batch, false, moved, unreadable, failed);
	RAISE NOTICE '% envelopes re-encrypted, % do not open', moved, unreadable;
END
$$;
COMMENT ON PROCEDURE chatcrypt.reencrypt_chat(uuid, integer) IS 'Moves all envelopes of a chat to its newest key, in batches that are committed one by one.';

CREATE PROCEDURE chatcrypt.reencrypt_chat(chat_id bigint, batch integer DEFAULT 1000)
	LANGUAGE plpgsql AS $$
BEGIN
	CALL chatcrypt.reencrypt_chat(chatcrypt.id(chat_id), batch);
END
$$;
COMMENT ON PROCEDURE chatcrypt.reencrypt_chat(bigint, integer) IS 'Moves all envelopes of a chat to its newest key, in batches that are committed one by one.';

CREATE PROCEDURE chatcrypt.reencrypt_due(chat_limit integer DEFAULT 1000, batch integer DEFAULT 1000,
										 replaced_for interval DEFAULT NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	due record;
	chats bigint := 0;
	moved bigint := 0;
	unreadable bigint := 0;
	failed bigint := 0;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	FOR due IN
		SELECT c.chat_id
		FROM chatcrypt.dek AS d
		JOIN chatcrypt.chat AS c USING (chat_id)
		JOIN chatcrypt.tenant AS t USING (tenant)
		LEFT JOIN chatcrypt.upkeep AS u USING (chat_id)
		LEFT JOIN chatcrypt.dek AS done ON done.dek_id = u.reencrypted_to
		WHERE d.state = 'decrypt_only' AND d.purpose <> 'search' AND c.mode <> 'e2ee'
			AND (done.state IS NULL
				 OR done.state <> 'active' AND (d.dek_version >= done.dek_version OR d.purpose <> done.purpose))
		GROUP BY c.chat_id, t.tenant, u.chat_id
		HAVING min(d.valid_to) <= now() - coalesce(replaced_for, c.reencrypt_after, t.reencrypt_after)
		ORDER BY u.reencrypted_at NULLS FIRST, min(d.valid_to)
		LIMIT chat_limit
	LOOP
		CALL chatcrypt.reencrypt_places(due.chat_id, batch, true, moved, unreadable, failed);
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
		chats := chats + 1;
	END LOOP;
	RAISE NOTICE '% chats gone through: % envelopes re-encrypted, % do not open, % chats failed',
		chats, moved, unreadable, failed;
END
$$;
COMMENT ON PROCEDURE chatcrypt.reencrypt_due(integer, integer, interval) IS 'Re-encrypts the chats whose policy reencrypt_after says so or, given replaced_for, all whose keys were replaced that long ago.';

-- Destroying keys that nothing needs.  src/pg/purge.c tells why each of the steps is there.
CREATE FUNCTION chatcrypt.propose_purge(chat_id uuid)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_propose_purge';
COMMENT ON FUNCTION chatcrypt.propose_purge(uuid) IS 'Notes the replaced keys of a chat that no envelope names: for the procedures.';

CREATE FUNCTION chatcrypt.announce_purge()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_announce_purge';
COMMENT ON FUNCTION chatcrypt.announce_purge() IS 'Has every session look again which keys seal, from the commit on: for the procedures.';

CREATE FUNCTION chatcrypt.raise_fence()
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_raise_fence';
COMMENT ON FUNCTION chatcrypt.raise_fence() IS 'Notes the transactions that are running; says how many: for the procedures.';

CREATE FUNCTION chatcrypt.fence_waits_for()
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_fence_waits_for';
COMMENT ON FUNCTION chatcrypt.fence_waits_for() IS 'How many of those transactions are running still; NULL where no fence is up: for the procedures.';

CREATE FUNCTION chatcrypt.proposed_chats()
	RETURNS uuid[] LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_proposed_chats';
COMMENT ON FUNCTION chatcrypt.proposed_chats() IS 'Chats with keys that were noted; NULL for none: for the procedures.';

CREATE FUNCTION chatcrypt.purge_proposed(chat_id uuid)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_purge_proposed';
COMMENT ON FUNCTION chatcrypt.purge_proposed(uuid) IS 'Destroys the keys of a chat that were noted and still are not needed; says how many: for the procedures.';

CREATE FUNCTION chatcrypt.forget_proposals()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_forget_proposals';
COMMENT ON FUNCTION chatcrypt.forget_proposals() IS 'Ends a purge: for the procedures.';

-- With keys noted: waits until nobody can need them unseen, looks once more, destroys them.
CREATE PROCEDURE chatcrypt.purge_noted(patience interval, forgiving boolean, INOUT destroyed bigint, INOUT waits_for integer)
	LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz;
	noted_chats pg_catalog.uuid[];
	noted_chat pg_catalog.uuid;
	nap double precision := 0.01;
	failure pg_catalog.text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	until := clock_timestamp() + patience;
	IF chatcrypt.fence_waits_for() IS NULL THEN
		PERFORM chatcrypt.announce_purge();
		COMMIT;
		PERFORM chatcrypt.raise_fence();
	END IF;
	LOOP
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
		waits_for := chatcrypt.fence_waits_for();
		EXIT WHEN waits_for = 0;
		IF clock_timestamp() >= until THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(nap);
		nap := least(nap * 2, 1);
		COMMIT;
	END LOOP;
	noted_chats := chatcrypt.proposed_chats();
	COMMIT;
	FOREACH noted_chat IN ARRAY noted_chats LOOP
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
		BEGIN
			destroyed := destroyed + chatcrypt.purge_proposed(noted_chat);
		EXCEPTION WHEN OTHERS THEN
			IF NOT forgiving THEN
				RAISE;
			END IF;
			failure := SQLERRM;
		END;
		IF failure IS NOT NULL THEN
			RAISE WARNING 'could not purge keys of chat %: %', noted_chat, failure;
			failure := NULL;
		END IF;
		COMMIT;
	END LOOP;
	PERFORM chatcrypt.forget_proposals();
END
$$;
COMMENT ON PROCEDURE chatcrypt.purge_noted(interval, boolean, bigint, integer) IS 'The second half of the procedures that purge.';

CREATE PROCEDURE chatcrypt.purge_unused_deks(chat_limit integer DEFAULT 1000, patience interval DEFAULT '30 seconds')
	LANGUAGE plpgsql AS $$
DECLARE
	candidate record;
	destroyed bigint := 0;
	waits_for integer := 0;
	failure pg_catalog.text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	-- What an earlier call of this session had no patience for is waited for first.
	IF chatcrypt.fence_waits_for() IS NULL THEN
		PERFORM chatcrypt.forget_proposals();
		FOR candidate IN
			SELECT c.chat_id
			FROM chatcrypt.chat AS c
			LEFT JOIN chatcrypt.upkeep AS u USING (chat_id)
			WHERE NOT c.external_envelopes
				AND EXISTS (SELECT FROM chatcrypt.dek AS d
							WHERE d.chat_id = c.chat_id AND d.state = 'decrypt_only' AND d.purpose <> 'search')
			ORDER BY u.looked_for_unused_at NULLS FIRST, c.chat_id
			LIMIT chat_limit
		LOOP
			PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
			BEGIN
				PERFORM chatcrypt.propose_purge(candidate.chat_id);
			EXCEPTION WHEN OTHERS THEN
				failure := SQLERRM;
			END;
			IF failure IS NOT NULL THEN
				RAISE WARNING 'could not look for unused keys of chat %: %', candidate.chat_id, failure;
				failure := NULL;
			END IF;
			COMMIT;
		END LOOP;
		PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	END IF;
	IF chatcrypt.proposed_chats() IS NOT NULL THEN
		CALL chatcrypt.purge_noted(patience, true, destroyed, waits_for);
	END IF;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF waits_for > 0 THEN
		RAISE NOTICE 'no key destroyed yet: % older transactions are running, call again in this session', waits_for;
	ELSE
		RAISE NOTICE '% keys destroyed', destroyed;
	END IF;
END
$$;
COMMENT ON PROCEDURE chatcrypt.purge_unused_deks(integer, interval) IS 'Destroys replaced keys that no envelope names, in chats whose external_envelopes is false.';

CREATE PROCEDURE chatcrypt.purge_chat(chat_id uuid, patience interval DEFAULT '30 seconds')
	LANGUAGE plpgsql AS $$
DECLARE
	destroyed bigint := 0;
	waits_for integer := 0;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	PERFORM chatcrypt.forget_proposals();
	IF chatcrypt.propose_purge(chat_id) > 0 THEN
		COMMIT;
		CALL chatcrypt.purge_noted(patience, false, destroyed, waits_for);
	END IF;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	IF waits_for > 0 THEN
		PERFORM chatcrypt.forget_proposals();
		RAISE EXCEPTION 'no key was destroyed: % older transactions are running still', waits_for
			USING ERRCODE = 'lock_not_available', HINT = 'Call again when they have ended, or with more patience.';
	END IF;
	RAISE NOTICE '% keys destroyed', destroyed;
END
$$;
COMMENT ON PROCEDURE chatcrypt.purge_chat(uuid, interval) IS 'Destroys the replaced keys of a chat that no envelope names; refuses a chat whose external_envelopes is true.';

CREATE PROCEDURE chatcrypt.purge_chat(chat_id bigint, patience interval DEFAULT '30 seconds')
	LANGUAGE plpgsql AS $$
BEGIN
	CALL chatcrypt.purge_chat(chatcrypt.id(chat_id), patience);
END
$$;
COMMENT ON PROCEDURE chatcrypt.purge_chat(bigint, interval) IS 'Destroys the replaced keys of a chat that no envelope names; refuses a chat whose external_envelopes is true.';
