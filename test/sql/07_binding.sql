-- The sender and the time of a message are bound into its envelope.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_chat('eeeeeeee-0000-0000-0000-000000000007'::uuid, ARRAY['alice', 'bob']);
\set chat '''eeeeeeee-0000-0000-0000-000000000007'''
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, created_at, body) VALUES
	(chatcrypt.to_uuid(7001), :chat, 'alice', '2024-05-01 12:00:00+00', 'I owe you 100'),
	(chatcrypt.to_uuid(7002), :chat, 'bob', '2024-05-02 12:00:00+00', 'Thank you'),
	(chatcrypt.to_uuid(7003), :chat, NULL, '2024-05-03 12:00:00+00', 'from nobody');

-- A role that may write to the table itself exchanges two senders, changes the time of a message,
-- and removes a sender.
SELECT 'ALTER TABLE chatcrypt.sealed_message DISABLE TRIGGER require_new_envelope' AS disable
	WHERE EXISTS (SELECT FROM pg_trigger WHERE tgname = 'require_new_envelope') \gexec
BEGIN;
UPDATE chatcrypt.sealed_message SET sender = CASE sender WHEN 'alice' THEN 'bob' ELSE 'alice' END WHERE message_id IN (chatcrypt.to_uuid(7001), chatcrypt.to_uuid(7002));
SET LOCAL chatcrypt.on_decrypt_error = 'null';
SELECT sender, body FROM chatcrypt.messages WHERE chat_id = :chat ORDER BY message_id;
SELECT message_id, reason FROM chatcrypt.verify_chat(:chat::uuid) ORDER BY 1;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.sealed_message SET created_at = created_at - interval '1 microsecond' WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.sealed_message SET sender = NULL WHERE message_id = chatcrypt.to_uuid(7002);
UPDATE chatcrypt.sealed_message SET sender = '' WHERE message_id = chatcrypt.to_uuid(7003);
SET LOCAL chatcrypt.on_decrypt_error = 'null';
SELECT sender, body FROM chatcrypt.messages WHERE chat_id = :chat ORDER BY message_id;
SELECT message_id, reason FROM chatcrypt.verify_chat(:chat::uuid) ORDER BY 1;
ROLLBACK;

-- The trigger of the table refuses such a change in the first place, and says what to do.
SELECT 'ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER require_new_envelope' AS enable
	WHERE EXISTS (SELECT FROM pg_trigger WHERE tgname = 'require_new_envelope') \gexec
\set VERBOSITY default
UPDATE chatcrypt.sealed_message SET sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(7001);
\set VERBOSITY terse
UPDATE chatcrypt.sealed_message SET created_at = created_at + interval '1 microsecond' WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.sealed_message SET message_id = chatcrypt.to_uuid(7009) WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.sealed_message SET chat_id = chatcrypt.to_uuid(7009) WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.sealed_message SET sender = '' WHERE message_id = chatcrypt.to_uuid(7003);
SET session_replication_role = replica;
UPDATE chatcrypt.sealed_message SET sender = NULL WHERE message_id = chatcrypt.to_uuid(7001);
RESET session_replication_role;
UPDATE chatcrypt.sealed_message SET expires_at = 'infinity', sender = sender, created_at = created_at WHERE chat_id = :chat;
SELECT chatcrypt_internal.require_new_envelope();
-- An old envelope, or that of another message, does not count as a new one.
UPDATE chatcrypt.sealed_message SET sender = 'mallory', encrypted_message = set_byte(encrypted_message, 45, get_byte(encrypted_message, 45) # 1) WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.sealed_message AS m SET sender = 'bob', created_at = o.created_at, encrypted_message = o.encrypted_message FROM chatcrypt.sealed_message AS o WHERE m.message_id = chatcrypt.to_uuid(7001) AND o.message_id = chatcrypt.to_uuid(7002);
UPDATE chatcrypt.sealed_message SET sender = 'dave', encrypted_message = chatcrypt.encrypt(chat_id, message_id, 'by hand', chatcrypt.row_aad(created_at, 'dave')) WHERE message_id = chatcrypt.to_uuid(7003);
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7003);
-- Foreign keys do not separate a message from its sender either: the sender is changed through the
-- view first.
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7008), :chat, 'dora', 'by dora');
CREATE TABLE person (name text PRIMARY KEY);
INSERT INTO person VALUES ('dora'), ('carol');
ALTER TABLE chatcrypt.sealed_message ADD CONSTRAINT to_person FOREIGN KEY (sender) REFERENCES person ON DELETE SET NULL ON UPDATE CASCADE NOT VALID;
DELETE FROM person WHERE name = 'dora';
UPDATE person SET name = 'isadora' WHERE name = 'dora';
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7008);
UPDATE chatcrypt.messages SET sender = 'carol' WHERE sender = 'dora';
DELETE FROM person WHERE name = 'dora';
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7008);
ALTER TABLE chatcrypt.sealed_message DROP CONSTRAINT to_person;
DROP TABLE person;

-- An UPDATE through the view seals anew: for another sender, time, id and chat, one by one and together.
SELECT chatcrypt.create_chat('eeeeeeee-0000-0000-0000-000000000008'::uuid);
\set other '''eeeeeeee-0000-0000-0000-000000000008'''
UPDATE chatcrypt.messages SET sender = 'alice' WHERE message_id = chatcrypt.to_uuid(7001) RETURNING sender, body;
UPDATE chatcrypt.messages SET created_at = '1969-12-31 23:59:59.999999+00' WHERE message_id = chatcrypt.to_uuid(7001) RETURNING body;
UPDATE chatcrypt.messages SET sender = NULL WHERE message_id = chatcrypt.to_uuid(7002) RETURNING body;
UPDATE chatcrypt.messages SET sender = '' WHERE message_id = chatcrypt.to_uuid(7003) RETURNING body;
UPDATE chatcrypt.messages SET sender = 'Zoë 👋', created_at = '294246-12-31 23:59:59.999999+00', chat_id = :other, message_id = chatcrypt.to_uuid(7004)
	WHERE message_id = chatcrypt.to_uuid(7003) RETURNING sender, body;
SELECT sender, body FROM chatcrypt.messages WHERE chat_id IN (:chat, :other) ORDER BY message_id;
SELECT * FROM chatcrypt.verify_chat(:chat::uuid) UNION ALL SELECT * FROM chatcrypt.verify_chat(:other::uuid);
-- A message without a body has nothing to seal.
INSERT INTO chatcrypt.messages (message_id, chat_id, sender) VALUES (chatcrypt.to_uuid(7005), :chat, 'alice');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7005) RETURNING sender, body IS NULL AS none, dek_version;
UPDATE chatcrypt.sealed_message SET sender = 'carol' WHERE message_id = chatcrypt.to_uuid(7005) RETURNING sender;
-- Long values: a body that is stored out of line, and a sender that no buffer on the stack holds.
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7006), :chat, repeat('a', 117), repeat('long ', 10000));
UPDATE chatcrypt.messages SET sender = repeat('ä', 20000) WHERE message_id = chatcrypt.to_uuid(7006);
SELECT length(sender), md5(body) = md5(repeat('long ', 10000)) AS same FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7006);
UPDATE chatcrypt.messages SET sender = repeat('a', 65523) WHERE message_id = chatcrypt.to_uuid(7006);
UPDATE chatcrypt.messages SET sender = repeat('a', 65524) WHERE message_id = chatcrypt.to_uuid(7006);
SELECT length(sender), md5(body) = md5(repeat('long ', 10000)) AS same FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7006);

-- A role that may write but not read can change a sender too, and is shown nothing.
CREATE ROLE regress_writes IN ROLE chatcrypt_writer;
CREATE ROLE regress_reads IN ROLE chatcrypt_reader;
CREATE ROLE regress_administers IN ROLE chatcrypt_admin, chatcrypt_writer;
SET ROLE regress_writes;
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7001) RETURNING sender, dek_version;
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7001) RETURNING body;
UPDATE chatcrypt.messages SET sender = body WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.messages SET message_id = chatcrypt.to_uuid(7007) WHERE message_id = chatcrypt.to_uuid(7002);
SET ROLE regress_reads;
UPDATE chatcrypt.messages SET sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(7001);
SELECT sender, body FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(7001), chatcrypt.to_uuid(7007)) ORDER BY message_id;
RESET ROLE;

-- A message that does not open gets no other sender, whatever the view shows of it.
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 40, get_byte(encrypted_message, 40) # 1) WHERE message_id = chatcrypt.to_uuid(7007);
SET chatcrypt.on_decrypt_error = 'null';
UPDATE chatcrypt.messages SET sender = 'carol' WHERE message_id = chatcrypt.to_uuid(7007);
UPDATE chatcrypt.messages SET created_at = now() WHERE message_id = chatcrypt.to_uuid(7007);
UPDATE chatcrypt.messages SET expires_at = NULL WHERE message_id = chatcrypt.to_uuid(7007) RETURNING sender, body IS NULL AS unreadable;
RESET chatcrypt.on_decrypt_error;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7007);
SELECT chatcrypt.create_chat(7100) IS NOT NULL AS made;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7101), chatcrypt.to_uuid(7100), 'alice', 'to be shredded');
SELECT chatcrypt.shred_chat(7100, confirm => 'irreversible');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7101);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7101);

-- An upsert leaves sender and time unchanged, and so seals for them.
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7010), 'put', 'alice', '2024-05-10 12:00:00+00');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7010), 'put by another', 'mallory', '2030-01-01 00:00:00+00');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7011), 'put by nobody', NULL, '2024-05-10 12:00:00+00');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7011), 'put by somebody', 'bob');
SELECT chatcrypt.put_message(:other, chatcrypt.to_uuid(7011), 'put into another chat', 'bob') IS NULL AS refused;
SELECT sender, created_at AT TIME ZONE 'UTC' AS created_at, body FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(7010), chatcrypt.to_uuid(7011)) ORDER BY message_id;
-- An upsert changes nothing of a message that the user may not see.
CREATE POLICY own ON chatcrypt.sealed_message AS RESTRICTIVE USING (sender IS DISTINCT FROM 'alice') WITH CHECK (true);
SET ROLE regress_writes;
-- This is an error of the policy until 17, and NULL from 18 on: never true.
DO $$
BEGIN
	IF chatcrypt.put_message('eeeeeeee-0000-0000-0000-000000000007', chatcrypt.to_uuid(7010), 'put by a stranger', 'stranger') THEN
		RAISE NOTICE 'it was put';
	END IF;
EXCEPTION WHEN insufficient_privilege THEN
	NULL;
END $$;
RESET ROLE;
DROP POLICY own ON chatcrypt.sealed_message;
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7010);

-- Times that have no number are refused, whichever way they are written.
INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (:chat, 'x', 'infinity');
INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (:chat, 'x', '-infinity');
INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (:chat, 'x', '294276-12-31 00:00:00+00');
INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (:chat, NULL, 'infinity');
UPDATE chatcrypt.messages SET created_at = 'infinity' WHERE message_id = chatcrypt.to_uuid(7001);
UPDATE chatcrypt.messages SET created_at = NULL WHERE message_id = chatcrypt.to_uuid(7001);
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7012), 'x', created_at => 'infinity');
SELECT chatcrypt.accept_wire_message(:chat::uuid, '{"encrypted": false, "content": "x", "created_at": "-infinity"}');
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, created_at) VALUES (chatcrypt.to_uuid(7012), :chat, 'infinity');
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, created_at) VALUES (chatcrypt.to_uuid(7012), :chat, '294247-01-01 00:00:00+00');
SELECT chatcrypt.row_aad('infinity', 'alice');
SELECT chatcrypt.row_aad('294276-12-31 00:00:00+00', 'alice');
SELECT chatcrypt.row_aad(NULL, 'alice');
SELECT chatcrypt.row_aad(now(), repeat('a', 65524));
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at) VALUES (chatcrypt.to_uuid(7013), :chat, 'the first time', '4714-11-24 00:00:00+00 BC');
SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7013);

-- A trigger that changes a column that was sealed for is detected, whichever way the row was
-- written.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE TG_ARGV[0]
		WHEN 'sender' THEN new.sender := 'meddler';
		WHEN 'no sender' THEN new.sender := NULL;
		WHEN 'old sender' THEN new.sender := old.sender;
		WHEN 'time' THEN new.created_at := date_trunc('hour', new.created_at);
		WHEN 'expiry' THEN new.expires_at := '2200-01-01 00:00:00+00';
	END CASE;
	RETURN new;
END $$;
CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION meddle('sender');
\set VERBOSITY default
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7020), :chat, 'alice', 'x');
\set VERBOSITY terse
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7010), 'put again');
SELECT chatcrypt.put_message(:chat, chatcrypt.to_uuid(7020), 'put', 'alice');
UPDATE chatcrypt.messages SET body = 'edited' WHERE message_id = chatcrypt.to_uuid(7010);
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7010);
UPDATE chatcrypt.messages SET expires_at = now() + interval '1 year' WHERE message_id = chatcrypt.to_uuid(7010);
SELECT chatcrypt.rotate_chat(:chat::uuid);
CALL chatcrypt.reencrypt_chat(:chat::uuid);
DROP TRIGGER zz ON chatcrypt.sealed_message;
CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION meddle('time');
INSERT INTO chatcrypt.messages (message_id, chat_id, created_at, body) VALUES (chatcrypt.to_uuid(7020), :chat, '2024-05-01 12:30:00+00', 'x');
INSERT INTO chatcrypt.messages (message_id, chat_id, created_at, body) VALUES (chatcrypt.to_uuid(7021), :chat, '2024-05-01 12:00:00+00', 'on the hour');
DROP TRIGGER zz ON chatcrypt.sealed_message;
CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION meddle('no sender');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7020), :chat, 'alice', 'x');
DROP TRIGGER zz ON chatcrypt.sealed_message;
CREATE TRIGGER zz BEFORE UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION meddle('old sender');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7010);
UPDATE chatcrypt.messages SET body = 'edited' WHERE message_id = chatcrypt.to_uuid(7010) RETURNING sender, body;
DROP TRIGGER zz ON chatcrypt.sealed_message;
CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION meddle('expiry');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7022), :chat, 'alice', 'expires another time');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7022);
CALL chatcrypt.reencrypt_chat(:chat::uuid);
SELECT sender, body, expires_at AT TIME ZONE 'UTC' AS expires_at FROM chatcrypt.messages WHERE message_id BETWEEN chatcrypt.to_uuid(7020) AND chatcrypt.to_uuid(7022) ORDER BY message_id;
DROP TRIGGER zz ON chatcrypt.sealed_message;
DROP FUNCTION meddle();

-- Re-encryption, and every other function that opens messages, knows the binding.
SELECT chatcrypt.rotate_chat(:chat::uuid);
CALL chatcrypt.reencrypt_chat(:chat::uuid);
SELECT chatcrypt.set_search(:chat::uuid, 'blind', config => 'simple') IS NOT NULL AS set;
CALL chatcrypt.reindex_search(:chat::uuid);
SELECT sender, body FROM chatcrypt.search(:chat::uuid, 'owe');
SET ROLE regress_writes;
UPDATE chatcrypt.messages SET created_at = '2024-05-11 12:00:00+00' WHERE message_id = chatcrypt.to_uuid(7001);
RESET ROLE;
SELECT created_at AT TIME ZONE 'UTC' AS created_at, body FROM chatcrypt.search(:chat::uuid, 'owe');
SELECT created_at = '2024-05-11 12:00:00+00' AS follows FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(7001);
SELECT wire ->> 'sender' AS sender, wire ->> 'content' AS content FROM chatcrypt.wire_messages WHERE message_id = chatcrypt.to_uuid(7001);
SELECT * FROM chatcrypt.verify_chat(:chat::uuid);
COPY chatcrypt.messages (message_id, chat_id, sender, created_at, body) FROM stdin;
00000000-0000-8000-8000-000000001b80	eeeeeeee-0000-0000-0000-000000000007	carol	2024-05-12 12:00:00+00	copied
\.
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7040);

-- By hand: the additional data is that of docs/format.md, and with it the envelope opens to what
-- the view shows.
SELECT chatcrypt.row_aad('2024-05-01 12:00:00+00', 'alice'), chatcrypt.row_aad('2024-05-01 12:00:00+00', NULL), chatcrypt.row_aad('1969-12-31 23:59:59.999999+00', '');
SELECT chatcrypt.decrypt(chat_id, message_id, encrypted_message, chatcrypt.row_aad(created_at, sender)) AS body FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7001);
SELECT chatcrypt.decrypt(chat_id, message_id, encrypted_message) AS body FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7001);
-- The number that a store outside of the database keeps, converted there and back.
SELECT moment, (extract(epoch FROM moment) * 1000000)::bigint AS microseconds,
	   timestamptz 'epoch' + n / 1000000 * interval '1 second' + n % 1000000 * interval '1 microsecond' = moment AS back
FROM (VALUES (timestamptz '2024-05-01 12:00:00.123457+00'), ('1969-12-31 23:59:59.999999+00'), ('0001-01-01 00:00:00.000001+00'), ('9999-12-31 23:59:59.999999+00')) AS m (moment),
	LATERAL (SELECT (extract(epoch FROM moment) * 1000000)::bigint) AS number (n);

-- Only an administrator who loads rows may seal by hand what the extension seals, and only without
-- an actor.
SET ROLE regress_writes;
\set VERBOSITY default
SELECT chatcrypt.encrypt(:chat::uuid, chatcrypt.to_uuid(7030), 'forged', chatcrypt.row_aad(now(), 'alice'));
\set VERBOSITY terse
SELECT chatcrypt.encrypt(:chat::uuid, chatcrypt.to_uuid(7030), 'forged'::bytea, '\x636f6c00'::bytea);
SELECT chatcrypt.encrypt(:chat::uuid, 7030, 'forged', '\x66696c6500ff'::bytea);
SELECT chatcrypt.encrypt(:chat::uuid, 7030, 'not reserved', 'rows') IS NOT NULL AS sealed, chatcrypt.encrypt(:chat::uuid, 7030, 'nor this', 'row') IS NOT NULL AS sealed;
SET ROLE regress_administers;
SELECT chatcrypt.encrypt(:chat::uuid, chatcrypt.to_uuid(7030), 'loaded', chatcrypt.row_aad('2024-05-30 12:00:00+00', 'alice')) AS loaded \gset
SELECT chatcrypt.encrypt(:chat::uuid, chatcrypt.to_uuid(7030), 'a name', '\x66696c6500'::bytea) IS NOT NULL AS sealed;
RESET ROLE;
BEGIN;
SELECT chatcrypt.act_as('alice');
SELECT chatcrypt.encrypt(:chat::uuid, chatcrypt.to_uuid(7030), 'forged', chatcrypt.row_aad(now(), 'bob'));
ROLLBACK;
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender, created_at, encrypted_message, dek_version)
	SELECT chatcrypt.to_uuid(7030), :chat, 'alice', '2024-05-30 12:00:00+00', :'loaded', chatcrypt.dek_version(:'loaded');
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7030);

-- In a chat of mode conversation_key nothing is bound: a change past the view is not noticed there.
SELECT chatcrypt.create_chat('eeeeeeee-0000-0000-0000-000000000009'::uuid, ARRAY['alice'], mode => 'conversation_key');
\set keys '''eeeeeeee-0000-0000-0000-000000000009'''
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(7201), :keys, 'alice', 'from a client');
UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(7201) RETURNING sender, body;
UPDATE chatcrypt.sealed_message SET sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(7201);
ALTER TABLE chatcrypt.sealed_message DISABLE TRIGGER require_new_envelope;
UPDATE chatcrypt.sealed_message SET sender = 'mallory' WHERE message_id = chatcrypt.to_uuid(7201);
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER require_new_envelope;
SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7201);
SELECT * FROM chatcrypt.verify_chat(:keys::uuid);
SELECT chatcrypt.rotate_chat(:keys::uuid);
CALL chatcrypt.reencrypt_chat(:keys::uuid);
SELECT chatcrypt.decrypt(chat_id, message_id, encrypted_message, chatcrypt.row_aad(created_at, sender)) FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(7201);

DELETE FROM chatcrypt.messages WHERE chat_id IN (:chat, :other, :keys);
DROP ROLE regress_writes, regress_reads, regress_administers;
