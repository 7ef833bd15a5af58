-- Files are deleted with their chat, its keys, their message, their sender and their time; and they
-- count for a quota.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_attachment_life;
\c regression_attachment_life
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE FUNCTION content(length integer) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN (SELECT substr(string_agg(sha256(int4send(i)), '' ORDER BY i), 1, length) FROM generate_series(0, length / 32) AS i);
PREPARE keys AS SELECT chat_id, purpose, dek_version, state FROM chatcrypt.dek ORDER BY 1, 2, 3;
PREPARE files AS SELECT file_id, dek_version, (SELECT count(*) FROM chatcrypt.sealed_attachment_part AS p WHERE p.file_id = a.file_id) AS parts,
	(SELECT array_agg(DISTINCT chatcrypt.dek_version(sealed)) FROM chatcrypt.sealed_attachment_part AS p WHERE p.file_id = a.file_id) AS versions
	FROM chatcrypt.sealed_attachment AS a ORDER BY 1;
SELECT chatcrypt.create_chat(1), chatcrypt.create_chat(2, mode => 'conversation_key'), chatcrypt.create_chat(3, mode => 'e2ee');

-- Chats whose messages have a key of their own get a key for files with the first file.
SET ROLE app;
SELECT chatcrypt.encrypt_attachment(2, 20, 'no key yet');
SELECT chatcrypt.put_attachment(2, 20, content(50000), 'twenty', part_size => 20000);
SELECT chatcrypt.ensure_attachment_key(2), chatcrypt.ensure_attachment_key(1);
SELECT chatcrypt.decrypt_attachment(2, 21, chatcrypt.encrypt_attachment(2, 21, 'now it has'));
-- Chats whose clients encrypt accept no file in clear.
SELECT chatcrypt.put_attachment(3, 30, 'x');
SELECT chatcrypt.begin_attachment(3, 30);
SELECT chatcrypt.encrypt_attachment(3, 30, 'x');
SELECT chatcrypt.ensure_attachment_key(3);
SELECT chatcrypt.ensure_attachment_key(99);

-- An upload that is in progress while the key is replaced.
SELECT chatcrypt.put_attachment(1, 10, content(50000), 'ten', part_size => 20000);
SELECT chatcrypt.begin_attachment(1, 11, 'eleven', part_size => 20000), chatcrypt.put_attachment_part(11, 0, content(20000));
RESET ROLE;
SET ROLE operator;
SELECT chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(2);
RESET ROLE;
SET ROLE app;
SELECT chatcrypt.put_attachment_part(11, 1, substr(content(20001), 20001), true), chatcrypt.finish_attachment(11);
SELECT chatcrypt.begin_attachment(1, 12, 'twelve', part_size => 20000), chatcrypt.put_attachment_part(12, 0, content(20000));
RESET ROLE;
EXECUTE keys;
EXECUTE files;

-- Purges keep the keys that parts and names need.
UPDATE chatcrypt.chat SET external_envelopes = false;
SELECT chatcrypt.rotate_chat(1);
CALL chatcrypt.purge_unused_keys();
EXECUTE keys;
-- Re-encryption includes files, and uploads too; after it nothing needs the old keys.
SET ROLE operator;
CALL chatcrypt.reencrypt_chat(1);
CALL chatcrypt.reencrypt_chat(1);
CALL chatcrypt.reencrypt_due('0');
CALL chatcrypt.reencrypt_due('0');
RESET ROLE;
EXECUTE files;
CALL chatcrypt.purge_unused_keys();
EXECUTE keys;
SET ROLE app;
SELECT chatcrypt.put_attachment_part(12, 1, '', true), chatcrypt.finish_attachment(12);
SELECT file_id, name, size, chatcrypt.read_attachment(file_id) = content(size::integer) AS same FROM chatcrypt.attachments ORDER BY 1;
RESET ROLE;
-- The key of the files is shredded with that of the messages.
SET ROLE operator;
CALL chatcrypt.rotate_due('0');
RESET ROLE;
EXECUTE keys;
SET ROLE operator;
CALL chatcrypt.reencrypt_due('0');
CALL chatcrypt.reencrypt_due('0');
RESET ROLE;
EXECUTE files;

-- Verification lists what is wrong.
SELECT * FROM chatcrypt.verify_chat(1);
CREATE FUNCTION wrong(damage text) RETURNS TABLE (relation regclass, file uuid, reason text) LANGUAGE plpgsql AS $$
DECLARE
	one record;
	found jsonb := '[]';
BEGIN
	BEGIN
		EXECUTE damage;
		SELECT coalesce(jsonb_agg(v), '[]') INTO found FROM chatcrypt.verify_chat(1) AS v;
		RAISE EXCEPTION SQLSTATE 'AA000';
	EXCEPTION WHEN SQLSTATE 'AA000' THEN
		NULL;
	END;
	RETURN QUERY SELECT v.relation::regclass, v.message_id, v.reason FROM jsonb_to_recordset(found) AS v (relation text, message_id uuid, reason text)
		ORDER BY v.relation, v.reason;
END
$$;
SELECT * FROM wrong('DELETE FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid(10) AND part = 2');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment_part SET part = 3 WHERE file_id = chatcrypt.to_uuid(10) AND part = 2');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment_part SET last = true WHERE file_id = chatcrypt.to_uuid(10) AND part = 1');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment_part SET sealed = set_byte(sealed, 100, get_byte(sealed, 100) # 1) WHERE file_id = chatcrypt.to_uuid(10) AND part = 1');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment_part SET sealed = substr(sealed, 1, 61 + 16400 + 100) WHERE file_id = chatcrypt.to_uuid(10) AND part = 1');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment_part SET last = false, sealed = chatcrypt.encrypt_attachment(1, 10, substr(content(50000), 40001), 2, false) WHERE file_id = chatcrypt.to_uuid(10) AND part = 2');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment AS a SET encrypted_metadata = b.encrypted_metadata FROM chatcrypt.sealed_attachment AS b WHERE a.file_id = chatcrypt.to_uuid(10) AND b.file_id = chatcrypt.to_uuid(11)');
SELECT * FROM wrong('UPDATE chatcrypt.sealed_attachment SET encrypted_metadata = chatcrypt.encrypt(1, 10, ''not in its format'', ''\x66696c6500'') WHERE file_id = chatcrypt.to_uuid(10)');
SELECT * FROM wrong('UPDATE chatcrypt.dek SET state = ''destroyed'', encrypted_dek = NULL, kcv = NULL, valid_to = coalesce(valid_to, now()) WHERE chat_id = chatcrypt.to_uuid(1)');
CALL chatcrypt.verify_all();
CALL chatcrypt.verify_all(max_rate => 1000);
UPDATE chatcrypt.sealed_attachment_part SET last = true WHERE file_id = chatcrypt.to_uuid(10) AND part = 1;
CALL chatcrypt.verify_all();
CALL chatcrypt.verify_all(max_rate => 1000);
SELECT relation, chat_id, message_id, dek_version, reason FROM chatcrypt.verification_finding;
-- A part that does not open is left unchanged, and counted; the rest of its file is not lost for
-- that.
SELECT chatcrypt.rotate_chat(1);
CALL chatcrypt.reencrypt_chat(1);
UPDATE chatcrypt.sealed_attachment_part SET last = false WHERE file_id = chatcrypt.to_uuid(10) AND part = 1;
CALL chatcrypt.reencrypt_chat(1);
SELECT * FROM chatcrypt.verify_chat(1);

-- Files are deleted with their message: all of a statement, and none of another chat.
SET ROLE app;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) SELECT chatcrypt.to_uuid(1), chatcrypt.to_uuid(100 + i), 'with a file' FROM generate_series(1, 4) AS i;
SELECT count(chatcrypt.put_attachment(1, 200 + i, 'file', message_id => chatcrypt.to_uuid(100 + i % 4 + 1))) FROM generate_series(1, 8) AS i;
SELECT chatcrypt.put_attachment(2, 210, 'file', message_id => chatcrypt.to_uuid(101)) IS NOT NULL AS of_another_chat;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(101);
SELECT count(*) FROM chatcrypt.sealed_attachment WHERE message_id IS NOT NULL;
DELETE FROM chatcrypt.messages WHERE message_id IN (chatcrypt.to_uuid(102), chatcrypt.to_uuid(103));
SELECT file_id, message_id FROM chatcrypt.sealed_attachment WHERE message_id IS NOT NULL ORDER BY 1;
BEGIN;
DELETE FROM chatcrypt.messages;
SELECT count(*) FROM chatcrypt.sealed_attachment WHERE message_id IS NOT NULL;
ROLLBACK;
SELECT count(*) FROM chatcrypt.sealed_attachment WHERE message_id IS NOT NULL;
RESET ROLE;
SELECT chatcrypt_internal.delete_attachments_of_messages();

-- Files are deleted with their sender, and with their time.
SET ROLE app;
SELECT chatcrypt.put_attachment(1, 300, 'alice''s', sender => 'alice'), chatcrypt.put_attachment(2, 301, 'alice''s', sender => 'alice'),
	   chatcrypt.put_attachment(1, 302, 'bob''s', sender => 'bob'), chatcrypt.put_attachment(1, 303, 'old', expires_at => '2020-01-01');
SELECT chatcrypt.read_attachment(303);
SELECT count(*) FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(303);
RESET ROLE;
SET ROLE operator;
CALL chatcrypt.delete_messages_of('alice', chatcrypt.to_uuid(2));
CALL chatcrypt.delete_messages_of('alice');
CALL chatcrypt.apply_retention();
UPDATE chatcrypt.chat SET retention = '7 days' WHERE chat_id = chatcrypt.to_uuid(1);
RESET ROLE;
SELECT file_id FROM chatcrypt.sealed_attachment WHERE file_id BETWEEN chatcrypt.to_uuid(300) AND chatcrypt.to_uuid(303);
SET ROLE app;
SELECT chatcrypt.put_attachment(1, 304, 'kept a week') IS NOT NULL AS put;
SELECT expires_at - created_at AS keeps FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(304);
-- Uploads that are not continued.
SELECT chatcrypt.begin_attachment(2, 310, part_size => 1024), chatcrypt.begin_attachment(2, 311, part_size => 1024),
	   chatcrypt.put_attachment_part(310, 0, content(1024)), chatcrypt.put_attachment_part(311, 0, content(1024));
RESET ROLE;
UPDATE chatcrypt.sealed_attachment SET created_at = now() - interval '3 days' WHERE file_id IN (chatcrypt.to_uuid(310), chatcrypt.to_uuid(311));
UPDATE chatcrypt.sealed_attachment_part SET stored_at = now() - interval '2 days' WHERE file_id = chatcrypt.to_uuid(310);
SET ROLE operator;
CALL chatcrypt.apply_retention();
RESET ROLE;
SELECT file_id FROM chatcrypt.sealed_attachment WHERE completed_at IS NULL;

-- A quota limits what is stored: 61 bytes, and 16 for each further chunk of a part.
SET ROLE app;
SELECT chatcrypt.create_chat(4), chatcrypt.create_chat(5);
RESET ROLE;
SET ROLE operator;
UPDATE chatcrypt.tenant SET attachment_quota = 3000;
UPDATE chatcrypt.chat SET attachment_quota = 1000000 WHERE chat_id = chatcrypt.to_uuid(5);
UPDATE chatcrypt.chat SET attachment_quota = -1 WHERE chat_id = chatcrypt.to_uuid(5);
RESET ROLE;
SET ROLE app;
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT chatcrypt.put_attachment(4, 400, content(2924));
\set VERBOSITY terse
SELECT chatcrypt.put_attachment(4, 400, content(2923));
SELECT chatcrypt.put_attachment(4, 401, '');
SELECT chatcrypt.delete_attachment(400);
SELECT chatcrypt.begin_attachment(4, 402, part_size => 1024);
SELECT chatcrypt.put_attachment_part(402, 0, content(1024)), chatcrypt.put_attachment_part(402, 1, content(1024));
SELECT chatcrypt.put_attachment_part(402, 2, content(1024));
SELECT chatcrypt.put_attachment_part(402, 1, content(1024), true), chatcrypt.finish_attachment(402);
SELECT chatcrypt.put_attachment(5, 500, content(4000)) IS NOT NULL AS another_quota;
RESET ROLE;
UPDATE chatcrypt.tenant SET attachment_quota = NULL;

-- After a shred no name and no size is shown.
SET ROLE operator;
SELECT chatcrypt.shred_chat(1, confirm => 'irreversible');
SELECT chatcrypt.shred_tenant('default', confirm => 'irreversible') > 0 AS shredded;
RESET ROLE;
SELECT count(*) FROM chatcrypt.sealed_attachment;
SELECT count(*) FROM chatcrypt.sealed_attachment_part;
SET ROLE app;
SELECT chatcrypt.read_attachment(10);
SELECT chatcrypt.put_attachment(1, 13, 'x');
SELECT chatcrypt.put_attachment(2, 22, 'x');
SELECT chatcrypt.ensure_attachment_key(2);
-- A chat that is deleted is deleted with its files.
SELECT chatcrypt.create_chat(6), chatcrypt.put_attachment(6, 600, content(50000), part_size => 20000), chatcrypt.begin_attachment(6, 601);
RESET ROLE;
SET ROLE operator;
CALL chatcrypt.delete_chat(6, confirm => 'irreversible', batch => 1);
RESET ROLE;
SELECT count(*) FROM chatcrypt.sealed_attachment;
SELECT count(*) FROM chatcrypt.sealed_attachment_part;

-- An upload whose file is deleted before it is finished: the calls that continue it get the same
-- error, whatever the reason.
RESET ROLE;
CREATE FUNCTION goes_on(file bigint) RETURNS TABLE (call text, outcome text) LANGUAGE plpgsql AS $$
BEGIN
	FOR call IN SELECT c FROM unnest(ARRAY['put_attachment_part(%s, 1, ''the rest'', true)', 'attachment_progress(%s)', 'finish_attachment(%s)']) AS c LOOP
		BEGIN
			EXECUTE format('SELECT * FROM chatcrypt.' || call, file);
			outcome := 'went on';
		EXCEPTION WHEN OTHERS THEN
			outcome := SQLSTATE || ' ' || SQLERRM;
		END;
		call := split_part(call, '(', 1);
		RETURN NEXT;
	END LOOP;
END
$$;
SELECT count(chatcrypt.create_chat(n)) FROM generate_series(70, 73) AS n;
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(70), chatcrypt.to_uuid(7001), 'with a file');
SELECT count(chatcrypt.begin_attachment(70, n, part_size => 1024, message_id => CASE n WHEN 701 THEN chatcrypt.to_uuid(7001) END,
										 sender => CASE n WHEN 702 THEN 'alice' END,
										 expires_at => CASE n WHEN 703 THEN timestamptz '2020-01-01' END)) FROM generate_series(700, 705) AS n;
SELECT count(chatcrypt.begin_attachment(n / 10, n, part_size => 1024)) FROM unnest(ARRAY[710, 720]) AS n;
SELECT count(chatcrypt.put_attachment_part(n, 0, content(1024))) FROM unnest(ARRAY[700, 701, 702, 703, 704, 705, 710, 720]) AS n;
UPDATE chatcrypt.sealed_attachment SET created_at = now() - interval '2 days' WHERE file_id = chatcrypt.to_uuid(704);
UPDATE chatcrypt.sealed_attachment_part SET stored_at = now() - interval '2 days' WHERE file_id = chatcrypt.to_uuid(704);
SELECT chatcrypt.delete_attachment(700);
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(7001);
CALL chatcrypt.delete_messages_of('alice', chatcrypt.to_uuid(70));
CALL chatcrypt.apply_retention();
SELECT chatcrypt.shred_chat(71, confirm => 'irreversible');
CALL chatcrypt.delete_chat(72, confirm => 'irreversible');
SELECT n, g.* FROM unnest(ARRAY[700, 701, 702, 703, 704, 710, 720]) AS n, goes_on(n) AS g;
SELECT * FROM goes_on(705);
-- In a chat that exists, the upload can be begun anew, under the same id.
SELECT chatcrypt.begin_attachment(70, 700) = chatcrypt.to_uuid(700) AS anew;
SELECT chatcrypt.begin_attachment(71, 710);
\c :home
DROP DATABASE regression_attachment_life;
DROP ROLE app, operator;
