-- Conversation keys: messages as clients get and send them, the keys that clients hold, and keys of another system.
-- test/t/800_client_keys.pl has clients with libraries of their own.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE wire_writer; GRANT chatcrypt_writer TO wire_writer;
CREATE ROLE wire_reader; GRANT chatcrypt_reader TO wire_reader;
CREATE ROLE wire_both; GRANT chatcrypt_writer, chatcrypt_reader TO wire_both;
CREATE ROLE wire_holder; GRANT chatcrypt_keyholder TO wire_holder;
CREATE ROLE wire_admin; GRANT chatcrypt_admin TO wire_admin;
SELECT chatcrypt.create_chat(50001, ARRAY['alice', 'bob'], mode => 'conversation_key');
SELECT chatcrypt.create_chat(50002, ARRAY['bob'], mode => 'conversation_key'), chatcrypt.create_chat(50003, ARRAY['alice']), chatcrypt.create_chat(50004, ARRAY['alice'], mode => 'e2ee');

-- A key that this test knows, of version 2.
SELECT chatcrypt.import_dek(50001, decode(repeat('11', 32), 'hex'), 2, 'conversation');

-- What a client encrypted elsewhere with that key: the plaintext is "from a client".
\set payload '"encrypted": true, "encrypted_payload": "b4gKlnn6n/neAejTfn1mgNNs2EnZpA3AurL8OkE=", "nonce": "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi"'
\set wire '{"message_id": 50001, "sender": "alice", "content": "", ' :payload '}'
SELECT chatcrypt.accept_wire_message(50001, :'wire');
SELECT sender, body, dek_version, created_at = now() AS now, expires_at FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(50001);

-- The wire message comes out as it went in.
SELECT chatcrypt.wire_message(50001, 50001) - 'created_at';
SELECT (chatcrypt.wire_message(50001, 50001) ->> 'created_at') ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$' AS utc,
	   (chatcrypt.wire_message(50001, 50001) ->> 'created_at')::timestamptz = created_at AS same_moment
FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(50001);
SELECT chatcrypt.wire_message(50001, 50001) = chatcrypt.wire_message(chatcrypt.to_uuid(50001), 50001)
   AND chatcrypt.wire_message(50001, 50001) = chatcrypt.wire_message(50001, chatcrypt.to_uuid(50001))
   AND chatcrypt.wire_message(50001, 50001) = chatcrypt.wire_message(chatcrypt.to_uuid(50001), chatcrypt.to_uuid(50001))
   AND chatcrypt.wire_message(50001, 50001) = w.wire AS all_the_same
FROM chatcrypt.wire_messages AS w WHERE w.message_id = chatcrypt.to_uuid(50001);
SELECT chatcrypt.wire_envelope(2, '\x222222222222222222222222222222222222222222222222', decode('b4gKlnn6n/neAejTfn1mgNNs2EnZpA3AurL8OkE=', 'base64')) = encrypted_message AS same_envelope
FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(50001);

-- There is no wire message where there is no message.
SELECT chatcrypt.wire_message(50002, 50001) IS NULL AS of_another_chat, chatcrypt.wire_message(50001, 50099) IS NULL AS of_none, chatcrypt.wire_message(50001, NULL::bigint) IS NULL AS "null";
INSERT INTO chatcrypt.messages (message_id, chat_id, body, expires_at) VALUES (chatcrypt.to_uuid(50098), chatcrypt.to_uuid(50001), 'gone', now() - interval '1 s');
SELECT chatcrypt.wire_message(50001, 50098) IS NULL AS expired;

-- Plain rows, rows without a body, and rows that do not open.
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(50030), chatcrypt.to_uuid(50003), 'alice', 'in the open'),
	(chatcrypt.to_uuid(50031), chatcrypt.to_uuid(50003), NULL, ''), (chatcrypt.to_uuid(50032), chatcrypt.to_uuid(50003), 'alice', NULL), (chatcrypt.to_uuid(50033), chatcrypt.to_uuid(50003), 'alice', 'damaged');
SELECT wire - 'created_at' FROM chatcrypt.wire_messages WHERE chat_id = chatcrypt.to_uuid(50003) AND message_id < chatcrypt.to_uuid(50033) ORDER BY message_id;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 40, get_byte(encrypted_message, 40) # 1) WHERE message_id = chatcrypt.to_uuid(50033);
SELECT wire FROM chatcrypt.wire_messages WHERE message_id = chatcrypt.to_uuid(50033);
SET chatcrypt.on_decrypt_error = 'null';
SELECT wire -> 'content' AS content, wire -> 'key_version' AS version FROM chatcrypt.wire_messages WHERE message_id = chatcrypt.to_uuid(50033);
RESET chatcrypt.on_decrypt_error;
SELECT chatcrypt_internal.message_wire(chatcrypt.to_uuid(50001), chatcrypt.to_uuid(1), 'x', '\x02000000010000', now());
SELECT chatcrypt_internal.message_wire(chatcrypt.to_uuid(50001), chatcrypt.to_uuid(1), 'x', '\x0300000001', now());
SELECT chatcrypt_internal.message_wire(NULL, chatcrypt.to_uuid(1), 'x', '\x01', now()) IS NULL AS "null";

-- Content that the client has not encrypted: the server encrypts it, in a chat of either mode, and
-- never in one that is end-to-end encrypted.
SELECT chatcrypt.accept_wire_message(50001, '{"message_id": 50010, "encrypted": false, "content": "sealed here"}');
SELECT chatcrypt.accept_wire_message(50003, '{"message_id": 50011, "encrypted": false, "content": "sealed here too", "sender": "alice", "created_at": "2020-02-02T20:20:20Z"}');
SELECT chatcrypt.accept_wire_message(50001, '{"message_id": 50012, "encrypted": false, "content": null}');
SELECT chatcrypt.accept_wire_message(50004, '{"encrypted": false, "content": "plain"}');
SELECT substr(encrypted_message, 1, 1) AS suite, m.sender, m.created_at = '2020-02-02T20:20:20Z' AS given, v.body FROM chatcrypt.sealed_message AS m JOIN chatcrypt.messages AS v USING (message_id)
	WHERE message_id IN (chatcrypt.to_uuid(50010), chatcrypt.to_uuid(50011), chatcrypt.to_uuid(50012)) ORDER BY message_id;
SELECT chatcrypt.accept_wire_message(chatcrypt.to_uuid(50001), chatcrypt.wire_message(50001, 50010) - 'message_id') <> chatcrypt.to_uuid(50010) AS an_id_of_the_servers;

-- What is refused: nothing of it is stored, and no error shows the content.
SELECT count(*) AS before FROM chatcrypt.sealed_message \gset
CREATE FUNCTION wire_with(changes jsonb, chat bigint DEFAULT 50001) RETURNS uuid LANGUAGE sql AS
	$$ SELECT chatcrypt.accept_wire_message(chat, '{"encrypted": true, "encrypted_payload": "b4gKlnn6n/neAejTfn1mgNNs2EnZpA3AurL8OkE=", "nonce": "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi"}' || changes) $$;
\set VERBOSITY default
SELECT wire_with('{"message_id": 50001}');
SELECT wire_with('{"encrypted_payload": "c4gKlnn6n/neAejTfn1mgNNs2EnZpA3AurL8OkE="}');
\set VERBOSITY terse
SELECT wire_with('{"nonce": "IyIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi"}');
SELECT wire_with('{"key_version": 1}');
SELECT wire_with('{"key_version": 3}');
SELECT wire_with('{"key_version": 0}');
SELECT wire_with('{"key_version": 2147483648}');
SELECT wire_with('{"key_version": 1.5}');
SELECT wire_with('{"key_version": "2"}');
SELECT wire_with('{"encrypted": "true"}');
SELECT wire_with('{"encrypted": null}');
SELECT wire_with('{"encrypted": false}');
SELECT wire_with('{"content": "both"}');
SELECT wire_with('{"content": 1}');
SELECT wire_with('{"nonce": null}');
SELECT wire_with('{"nonce": "IiIi"}');
SELECT wire_with('{"nonce": "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi\n"}');
SELECT wire_with('{"encrypted_payload": ""}');
SELECT wire_with('{"encrypted_payload": "b4gKlnn6n/neAejTfn1m"}');
SELECT wire_with('{"encrypted_payload": "b4gKlnn6n/neAejTfn1mgNNs2EnZpA3AurL8OkE"}');
SELECT wire_with('{"encrypted_payload": "b4gKlnn6n_neAejTfn1mgNNs2EnZpA3AurL8OkE="}');
SELECT wire_with('{"encrypted_payload": 7}');
SELECT wire_with('{"message_id": "no uuid"}');
SELECT wire_with('{"message_id": true}');
SELECT wire_with('{"message_id": 92233720368547758080}');
SELECT wire_with('{"chat_id": 50002}');
SELECT wire_with('{"sender": 7}');
SELECT wire_with('{"created_at": "no time"}');
SELECT wire_with('{}', 50002);
SELECT wire_with('{}', 50003);
SELECT wire_with('{}', 50004);
SELECT wire_with('{}', 50099);
-- Bytes that open and are not text would prevent every reader of the chat from reading.
\set VERBOSITY default
SELECT wire_with('{"encrypted_payload": "ERU+DhXibDuxiAM9Y2oLXQzH", "nonce": "IyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMj"}');
\set VERBOSITY terse
SELECT chatcrypt.accept_wire_message(50001, '[]');
SELECT chatcrypt.accept_wire_message(50001, '"x"');
SELECT chatcrypt.accept_wire_message(50001, NULL);
SELECT chatcrypt.accept_wire_message(NULL::bigint, '{}');
SELECT count(*) = :before AS nothing_stored FROM chatcrypt.sealed_message;
-- An empty text is a text.
SELECT wire_with('{"message_id": 50013, "encrypted_payload": "KuIzoW/ceOdXwKn94aW+5g==", "nonce": "JCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk", "chat_id": "00000000-0000-8000-8000-00000000c351"}');
SELECT body = '' AS empty FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(50013);
SELECT chatcrypt.wire_envelope(1, '\x00', '\x00');
SELECT chatcrypt.wire_envelope(1, decode(repeat('00', 24), 'hex'), '\x00');
SELECT chatcrypt.wire_envelope(0, decode(repeat('00', 24), 'hex'), decode(repeat('00', 16), 'hex'));

-- A message that was sealed before a rotation and accepted after it is not lost, and is sealed by
-- the new key.
SELECT chatcrypt.rotate_chat(50001);
SELECT wire_with('{"message_id": 50020, "key_version": 2}');
SELECT wire_with('{}');
SELECT body, dek_version FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(50020);
SELECT chatcrypt.wire_message(50001, 50020) ->> 'key_version' AS now_of, chatcrypt.wire_message(50001, 50001) ->> 'key_version' AS still_of;

-- Rights.
SET ROLE wire_writer;
SELECT wire_with('{"message_id": 50040, "key_version": 2}');
SELECT chatcrypt.wire_message(50001, 50001);
SELECT wire FROM chatcrypt.wire_messages;
SELECT chatcrypt_internal.message_wire(chatcrypt.to_uuid(50001), chatcrypt.to_uuid(1), 'x', '\x01', now());
SELECT chatcrypt.conversation_key(50001);
SET ROLE wire_reader;
SELECT chatcrypt.wire_message(50001, 50001) ->> 'encrypted' AS encrypted;
SELECT chatcrypt.accept_wire_message(50001, '{"encrypted": false}');
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50001)], decode(repeat('00', 32), 'hex'));
SELECT chatcrypt.conversation_key(50001);
SET ROLE wire_admin;
SELECT chatcrypt.conversation_key(50001);
SELECT chatcrypt.wire_message(50001, 50001);
SET ROLE wire_holder;
SELECT key_version, key = decode(repeat('11', 32), 'hex') AS known, length(key) FROM chatcrypt.conversation_key(50001, 2);
SELECT key_version, key = decode(repeat('11', 32), 'hex') AS known FROM chatcrypt.conversation_key(chatcrypt.to_uuid(50001));
SELECT chatcrypt.wire_message(50001, 50001);
SELECT chatcrypt.act_as('alice');
RESET ROLE;

-- The checks in C hold where EXECUTE was granted by mistake.
CREATE ROLE wire_nobody;
GRANT USAGE ON SCHEMA chatcrypt TO wire_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO wire_nobody;
GRANT ALL ON ALL TABLES IN SCHEMA chatcrypt TO wire_nobody;
SET ROLE wire_nobody;
SELECT chatcrypt.conversation_key(50001);
SELECT chatcrypt.wire_message(50001, 50001);
SELECT chatcrypt.accept_wire_message(50001, '{}');
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50001)], decode(repeat('00', 32), 'hex'));
RESET ROLE;
DROP OWNED BY wire_nobody;
DROP ROLE wire_nobody;

-- Actors: a participant gets the key and writes in its own name; others get nothing.
SET ROLE wire_both;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT key_version, length(key) FROM chatcrypt.conversation_key(50001);
SELECT key_version, key = decode(repeat('11', 32), 'hex') AS known FROM chatcrypt.conversation_key(50001, 2);
SELECT wire_with('{"message_id": 50050, "key_version": 2, "created_at": "2001-01-01"}');
SELECT sender, created_at = now() AS now FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(50050);
SELECT wire_with('{"message_id": 50051, "key_version": 2, "sender": "alice"}') IS NOT NULL AS in_its_own_name;
SAVEPOINT s;
SELECT wire_with('{"key_version": 2, "sender": "bob"}');
ROLLBACK TO s;
SELECT wire_with('{}', 50002);
ROLLBACK TO s;
SELECT chatcrypt.accept_wire_message(50002, '{"encrypted": false}');
ROLLBACK TO s;
SELECT chatcrypt.conversation_key(50002);
ROLLBACK TO s;
SELECT chatcrypt.wire_message(50002, 50001) IS NULL AS nothing_of_others, count(DISTINCT chat_id) FROM chatcrypt.wire_messages WHERE chat_id IN (chatcrypt.to_uuid(50001), chatcrypt.to_uuid(50002));
SELECT chatcrypt_internal.message_wire(chatcrypt.to_uuid(50002), chatcrypt.to_uuid(1), 'x', '\x01', now());
ROLLBACK TO s;
SELECT chatcrypt.remove_participant(50001, 'alice');
SELECT chatcrypt.conversation_key(50001);
ROLLBACK;
RESET ROLE;
-- The same checks apply to the actor of a keyholder.
GRANT chatcrypt_reader TO wire_holder;
SET ROLE wire_holder;
BEGIN;
SELECT chatcrypt.act_as('bob');
SELECT key_version FROM chatcrypt.conversation_key(50002);
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.conversation_key(50002);
ROLLBACK;
RESET ROLE;

-- The history: who got which key, and for whom.  A hand-out that was rolled back is not in it (but
-- in the log of the server).
SELECT chat_id, purpose, dek_version, role, actor, detail FROM chatcrypt.key_event WHERE event = 'hand_out' AND chat_id IN (chatcrypt.to_uuid(50001), chatcrypt.to_uuid(50002)) ORDER BY event_id;
BEGIN READ ONLY;
SELECT chatcrypt.conversation_key(50001);
ROLLBACK;
BEGIN READ ONLY;
SELECT chatcrypt.accept_wire_message(50001, '{}');
ROLLBACK;
SELECT chatcrypt.conversation_key(50001, 99);
SELECT chatcrypt.conversation_key(50001, 0);
\set VERBOSITY default
SELECT chatcrypt.conversation_key(50003);
\set VERBOSITY terse
SELECT chatcrypt.conversation_key(50004);
SELECT chatcrypt.conversation_key(50099);
SELECT chatcrypt.conversation_key(NULL::uuid);
SELECT chatcrypt.conversation_key(NULL::bigint);

-- A statement that fails between savepoints of PL/pgSQL leaves nothing behind that affects the next
-- one.
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM wire_with(jsonb_build_object('key_version', 2, 'message_id', 50060 + i / 3));
		EXCEPTION WHEN unique_violation THEN
			RAISE NOTICE 'refused: %', i;
		END;
	END LOOP;
END
$$;

-- Keys that another system derived from a master key.
SELECT chatcrypt.create_chats(ARRAY[chatcrypt.to_uuid(50070), chatcrypt.to_uuid(50071), '0b1e6c72-9d4f-4a53-8c1d-7e2f3a4b5c6d'], ARRAY['alice'], mode => 'conversation_key');
SELECT chatcrypt.create_tenant('of wires', 'local:acme');
SELECT chatcrypt.create_chat(50072, tenant => 'of wires', mode => 'conversation_key');
\set ids 'ARRAY[chatcrypt.to_uuid(50070), ''0b1e6c72-9d4f-4a53-8c1d-7e2f3a4b5c6d'', chatcrypt.to_uuid(50071), chatcrypt.to_uuid(50072), chatcrypt.to_uuid(50070)]'
\set master 'decode(repeat(''aa'', 32), ''hex'')'
SELECT chatcrypt.import_conversation_keys(:ids, :master);
SELECT chat_id, dek_version, state, kms_key FROM chatcrypt.dek WHERE chat_id = ANY (:ids) ORDER BY 1, 2;
SELECT chat_id, dek_version, kms_key, role = current_user AS me FROM chatcrypt.key_event WHERE event = 'import' AND chat_id = ANY (:ids) ORDER BY 1;
SELECT d.valid_to = i.valid_from AS no_gap FROM chatcrypt.dek AS d JOIN chatcrypt.dek AS i USING (chat_id) WHERE d.dek_version = 1 AND i.dek_version = 2 AND chat_id = ANY (:ids);
-- Every way to write the uuid, compared with the same computed by hand: HMAC of HMAC.
CREATE FUNCTION hkdf(ikm bytea, salt bytea, info bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	key bytea := coalesce(nullif(salt, ''), decode(repeat('00', 32), 'hex'));
	data bytea := ikm;
BEGIN
	FOR step IN 1 .. 2 LOOP
		key := CASE WHEN length(key) > 64 THEN sha256(key) ELSE key END;
		key := key || decode(repeat('00', 64 - length(key)), 'hex');
		key := sha256((SELECT string_agg(set_byte('\x00', 0, get_byte(key, i) # 92), '' ORDER BY i) FROM generate_series(0, 63) AS i)
					  || sha256((SELECT string_agg(set_byte('\x00', 0, get_byte(key, i) # 54), '' ORDER BY i) FROM generate_series(0, 63) AS i) || data));
		data := info || '\x01';
	END LOOP;
	RETURN key;
END
$$;
SELECT hkdf(decode(repeat('0b', 22), 'hex'), '\x000102030405060708090a0b0c', '\xf0f1f2f3f4f5f6f7f8f9') AS rfc5869;
\set chat '''0b1e6c72-9d4f-4a53-8c1d-7e2f3a4b5c6d'''
SELECT key = hkdf(:master, '', convert_to(:chat, 'UTF8')) AS by_default FROM chatcrypt.conversation_key(:chat::uuid);
SELECT chatcrypt.import_conversation_keys(ARRAY[:chat]::uuid[], :master, salt => 'a salt', info => 'chat:{uuid}/v1', uuid_encoding => 'hex', version => 3);
SELECT chatcrypt.import_conversation_keys(ARRAY[:chat]::uuid[], :master, salt => '{uuid}', info => 'messages', uuid_encoding => 'binary', version => 4);
SELECT chatcrypt.import_conversation_keys(ARRAY[:chat]::uuid[], decode(repeat('bb', 100), 'hex'), salt => 'x{uuid}', info => '{uuid}y', version => 5);
SELECT version, key = CASE version WHEN 3 THEN hkdf(:master, 'a salt', 'chat:0b1e6c729d4f4a538c1d7e2f3a4b5c6d/v1')
								   WHEN 4 THEN hkdf(:master, '\x0b1e6c729d4f4a538c1d7e2f3a4b5c6d', 'messages')
								   ELSE hkdf(decode(repeat('bb', 100), 'hex'), 'x0b1e6c72-9d4f-4a53-8c1d-7e2f3a4b5c6d', '0b1e6c72-9d4f-4a53-8c1d-7e2f3a4b5c6dy') END AS right_key
FROM generate_series(3, 5) AS version, chatcrypt.conversation_key(:chat::uuid, version);
-- Messages that a system has encrypted can be imported by the million: inserted, and verified
-- afterwards.
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender, encrypted_message, dek_version)
	SELECT chatcrypt.to_uuid(50080), :chat, 'alice', chatcrypt.wire_envelope(3, decode(repeat('00', 24), 'hex'), decode(repeat('00', 17), 'hex')), 3;
SELECT relation, chat_id, message_id, dek_version, reason FROM chatcrypt.verify_chat(:chat::uuid);
DELETE FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(50080);

-- A version above the newest becomes the active one; a lower one only opens; one that exists is
-- refused, and all others with it.
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, version => 9);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070), chatcrypt.to_uuid(50071)], :master, version => 5);
SELECT chat_id, dek_version, state, valid_to IS NULL AS open FROM chatcrypt.dek WHERE chat_id IN (chatcrypt.to_uuid(50070), chatcrypt.to_uuid(50071)) AND dek_version > 1 ORDER BY 1, 2;
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50071), chatcrypt.to_uuid(50070)], :master, version => 9);
SELECT max(dek_version) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(50071);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070), chatcrypt.to_uuid(50099)], :master, version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070), chatcrypt.to_uuid(50003)], :master, version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070), NULL], :master, version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[]::uuid[], :master);
SELECT chatcrypt.import_conversation_keys(NULL, :master) IS NULL AS "null";
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], '\x0011', version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, info => 'one key for all', version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, info => '{uuid}{uuid}', version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, salt => decode(repeat('00', 129), 'hex'), version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, uuid_encoding => 'base64', version => 10);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, version => 0);
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, version => 1000000001);
BEGIN READ ONLY;
SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(50070)], :master, version => 10);
ROLLBACK;

-- After a shred no key can be had, and nothing opens; the bytes can still be read.
SELECT chatcrypt.shred_chat(50001, 'irreversible') > 0 AS shredded;
SELECT chatcrypt.conversation_key(50001);
SELECT chatcrypt.conversation_key(50001, 2);
SELECT wire_with('{"key_version": 2}');
SELECT chatcrypt.wire_message(50001, 50001) ->> 'encrypted_payload' AS of_no_use;

DROP FUNCTION wire_with, hkdf;
DELETE FROM chatcrypt.sealed_message WHERE chat_id BETWEEN chatcrypt.to_uuid(50000) AND chatcrypt.to_uuid(50099);
DROP OWNED BY wire_writer, wire_reader, wire_both, wire_holder, wire_admin;
DROP ROLE wire_writer, wire_reader, wire_both, wire_holder, wire_admin;
