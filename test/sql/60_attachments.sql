-- Files: what is stored is read back, whole and in ranges, and nothing else is.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_attachments;
\c regression_attachments
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;
CREATE ROLE writer; GRANT chatcrypt_writer TO writer;
CREATE ROLE reader; GRANT chatcrypt_reader TO reader;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
SET TimeZone = 'UTC';

-- Bytes that differ at every place.
CREATE FUNCTION content(length integer) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN (SELECT substr(string_agg(sha256(int4send(i)), '' ORDER BY i), 1, length) FROM generate_series(0, length / 32) AS i);
-- The result of a statement that returns one value.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE statement INTO result;
	RETURN 'gave ' || coalesce(md5(result), 'NULL');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

SET ROLE app;
SELECT chatcrypt.create_chats(ARRAY[6000, 6001]::bigint[], ARRAY['alice', 'bob']);

-- A file in one call.
SELECT chatcrypt.put_attachment(6000, 1, 'hello', 'höllo.txt', 'text/plain', sender => 'alice');
SELECT chatcrypt.put_attachment(chatcrypt.to_uuid(6000), 2, content(100000), part_size => 40000);
SELECT chatcrypt.put_attachment(6000, chatcrypt.to_uuid(3), '');
SELECT chatcrypt.put_attachment(chatcrypt.to_uuid(6000), chatcrypt.to_uuid(4), content(65536), 'exact', part_size => 32768, expires_at => '2100-01-01');
SELECT chatcrypt.put_attachment(6001, 5, content(100000), part_size => 40000);
SELECT uuid_send(chatcrypt.put_attachment(chatcrypt.to_uuid(6001), NULL::uuid, 'new')) IS NOT NULL AS made_an_id;
SELECT file_id, sender, name, content_type, size, part_size, parts, dek_version, completed_at IS NOT NULL AS complete, expires_at
FROM chatcrypt.attachments WHERE chat_id = chatcrypt.to_uuid(6000) ORDER BY file_id;
SELECT convert_from(chatcrypt.read_attachment(1), 'UTF8'), chatcrypt.read_attachment(3), chatcrypt.read_attachment(2) = content(100000) AS two,
	   chatcrypt.read_attachment(4) = content(65536) AS four, chatcrypt.read_attachment(NULL::bigint);
SELECT part, length(chatcrypt.read_attachment_part(2, part)),
	   chatcrypt.read_attachment_part(2, part) = substr(content(100000), 40000 * part + 1, 40000) AS same
FROM generate_series(0, 3) AS part;
SELECT chatcrypt.read_attachment_part(3, 0), chatcrypt.read_attachment_part(3, 1);

-- Ranges at and around the borders of chunks and parts, and past the end.
SELECT count(*) AS ranges, count(*) FILTER (WHERE chatcrypt.read_attachment(2, o, l) = substr(content(100000), o + 1, l)) AS right
FROM unnest(ARRAY[0, 1, 16383, 16384, 16385, 32767, 32768, 39999, 40000, 40001, 56383, 56384, 79999, 80000, 99999, 100000, 100001]) AS o,
	 unnest(ARRAY[0, 1, 2, 16384, 16385, 40000, 40001, 100000, 200000]) AS l;
SELECT count(*) FILTER (WHERE chatcrypt.read_attachment(4, o) = substr(content(65536), o + 1)) AS right
FROM unnest(ARRAY[0, 16384, 32767, 32768, 65535, 65536, 70000]) AS o;

-- Values that are no file, or none that can be stored.
SELECT chatcrypt.read_attachment(99);
SELECT chatcrypt.read_attachment(2, -1);
SELECT chatcrypt.read_attachment(2, 0, -1);
SELECT chatcrypt.read_attachment_part(2, -1);
SELECT chatcrypt.put_attachment(6000, 1, 'again');
SELECT chatcrypt.put_attachment(6999, 9, 'no chat');
SELECT chatcrypt.put_attachment(NULL::bigint, 9, 'no chat');
SELECT chatcrypt.put_attachment(6000, 9, NULL);
SELECT chatcrypt.put_attachment(6000, 9, 'x', part_size => 1023);
SELECT chatcrypt.put_attachment(6000, 9, 'x', part_size => 16777217);
SELECT chatcrypt.put_attachment(6000, 9, 'x', repeat('n', 4097));
SELECT chatcrypt.put_attachment(6000, 9, 'x', content_type => repeat('n', 256));
SELECT chatcrypt.delete_attachment(9);

-- In parts, in any order; a part that is sent again replaces the one before.
SELECT chatcrypt.begin_attachment(6000, 10, 'upload', 'application/octet-stream', part_size => 20000);
SELECT chatcrypt.put_attachment_part(10, 2, 'the end', true);
SELECT chatcrypt.put_attachment_part(10, 0, content(20000));
SELECT chatcrypt.finish_attachment(10);
SELECT chatcrypt.put_attachment_part(10, 1, content(20000), true);
SELECT chatcrypt.finish_attachment(10);
SELECT chatcrypt.put_attachment_part(10, 1, content(19999));
SELECT chatcrypt.put_attachment_part(10, 1, content(20001), true);
SELECT chatcrypt.put_attachment_part(10, -1, content(20000));
SELECT chatcrypt.put_attachment_part(10, 16777216, content(20000));
SELECT chatcrypt.put_attachment_part(98, 0, content(20000));
SELECT chatcrypt.finish_attachment(98);
SELECT * FROM chatcrypt.attachment_progress(98);
SELECT * FROM chatcrypt.attachment_progress(10);
SELECT chatcrypt.read_attachment(10);
SELECT count(*) AS shown FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(10);
SELECT chatcrypt.put_attachment_part(10, 1, content(20000));
SELECT chatcrypt.put_attachment_part(10, 0, convert_to(repeat('first', 4000), 'UTF8'));
SELECT * FROM chatcrypt.attachment_progress(10);
SELECT chatcrypt.finish_attachment(10), chatcrypt.finish_attachment(10) AS again;
SELECT chatcrypt.read_attachment(10) = convert_to(repeat('first', 4000), 'UTF8') || content(20000) || 'the end' AS same;
SELECT chatcrypt.put_attachment_part(10, 1, content(20000));
SELECT chatcrypt.begin_attachment(6000, 10);
SELECT name, size, parts FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(10);
SELECT chatcrypt.begin_attachment(6000, 11);
SELECT chatcrypt.finish_attachment(11);
SELECT chatcrypt.put_attachment_part(11, 0, '', true), chatcrypt.finish_attachment(11);
SELECT chatcrypt.delete_attachment(11), chatcrypt.delete_attachment(11) AS again;

-- Files that are kept elsewhere have the same format.
SELECT bool_and(chatcrypt.decrypt_attachment(6000, 2, chatcrypt.encrypt_attachment(6000, 2, content(n))) = content(n)) AS same
FROM unnest(ARRAY[0, 1, 16383, 16384, 16385, 40000]) AS n;
SELECT part, chatcrypt.decrypt_attachment(chat_id, file_id, sealed, part, last) = substr(content(100000), 40000 * part + 1, 40000) AS same
FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid(2) ORDER BY part;
SELECT chatcrypt.encrypt_attachment(6000, 2, NULL), chatcrypt.decrypt_attachment(6000, 2, NULL);
SELECT chatcrypt.encrypt_attachment(6000, 2, 'x') = chatcrypt.encrypt_attachment(6000, 2, 'x') AS salts_repeat;
CREATE TEMPORARY TABLE elsewhere AS SELECT chatcrypt.encrypt_attachment(6000, 2, 'kept elsewhere', 3, false, 'bucket') AS sealed;
SELECT what, outcome(format('SELECT chatcrypt.decrypt_attachment(%s, %L, %s)', ids, sealed, more)) FROM elsewhere, (VALUES
	(1, 'as it was', '6000, 2', '3, false, ''bucket'''), (2, 'another chat', '6001, 2', '3, false, ''bucket'''),
	(3, 'another file', '6000, 3', '3, false, ''bucket'''), (4, 'another part', '6000, 2', '4, false, ''bucket'''),
	(5, 'the last part', '6000, 2', '3, true, ''bucket'''), (6, 'other data', '6000, 2', '3, false, ''bucker'''),
	(7, 'no data', '6000, 2', '3, false'), (8, 'negative', '6000, 2', '-1, false'), (9, 'null', '6000, 2', 'NULL, false')
) AS v (n, what, ids, more) ORDER BY n;
SELECT chatcrypt.decrypt_attachment(6000, 2, '\x');
SELECT chatcrypt.decrypt_attachment(6000, 2, chatcrypt.encrypt(6000, 2, 'a message'));
SELECT chatcrypt.decrypt(6000, 2, chatcrypt.encrypt_attachment(6000, 2, 'a file'));
SELECT chatcrypt.decrypt_attachment(6000, 2, substr(chatcrypt.encrypt_attachment(6000, 2, content(16384)), 1, 61 + 16400));
RESET ROLE;

-- Nothing of a file is stored in clear.
SELECT count(*) AS readable FROM chatcrypt.sealed_attachment WHERE position('llo.txt'::bytea IN encrypted_metadata) > 0 OR sealed_attachment::text LIKE '%text/plain%';
SELECT count(*) AS readable FROM chatcrypt.sealed_attachment_part WHERE position('hello'::bytea IN sealed) > 0;
SELECT length(encrypted_metadata) FROM chatcrypt.sealed_attachment WHERE file_id IN (chatcrypt.to_uuid(3), chatcrypt.to_uuid(2)) ORDER BY 1;
INSERT INTO chatcrypt.sealed_attachment (file_id, chat_id, encrypted_metadata, dek_version) VALUES (chatcrypt.to_uuid(50), chatcrypt.to_uuid(6000), 'plain text that is as long as an envelope would be', 1);
INSERT INTO chatcrypt.sealed_attachment_part VALUES (chatcrypt.to_uuid(1), 1, chatcrypt.to_uuid(6000), false, convert_to(repeat('plain ', 100), 'UTF8'));

-- Rights.
SELECT grantee, table_name, string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM information_schema.role_table_grants
WHERE table_name LIKE 'attachment%' AND grantee LIKE 'chatcrypt%' GROUP BY 1, 2 ORDER BY 1, 2;
SET ROLE writer;
SELECT chatcrypt.put_attachment(6000, 20, 'from a writer');
SELECT chatcrypt.begin_attachment(6000, 21), chatcrypt.put_attachment_part(21, 0, 'x', true), chatcrypt.finish_attachment(21);
SELECT chatcrypt.read_attachment(20);
SELECT chatcrypt.read_attachment_part(20, 0);
SELECT name FROM chatcrypt.attachments;
SELECT chatcrypt.decrypt_attachment(6000, 2, chatcrypt.encrypt_attachment(6000, 2, 'x'));
DELETE FROM chatcrypt.sealed_attachment;
SELECT count(*) FROM chatcrypt.sealed_attachment_part;
RESET ROLE;
SET ROLE reader;
SELECT convert_from(chatcrypt.read_attachment(20), 'UTF8');
SELECT chatcrypt.put_attachment(6000, 22, 'x');
SELECT chatcrypt.begin_attachment(6000, 22);
SELECT chatcrypt.put_attachment_part(20, 0, 'x');
SELECT chatcrypt.finish_attachment(20);
SELECT chatcrypt.delete_attachment(20);
SELECT chatcrypt.encrypt_attachment(6000, 2, 'x');
SELECT chatcrypt.ensure_attachment_key(6000);
RESET ROLE;
-- The functions check the role as well.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO writer, reader, operator;
SET ROLE operator;
SELECT chatcrypt.read_attachment(20);
SELECT chatcrypt.put_attachment(6000, 22, 'x');
SELECT chatcrypt_internal.attachment_metadata(chatcrypt.to_uuid(6000), chatcrypt.to_uuid(1), '\x');
SELECT * FROM chatcrypt.attachment_progress(10);
SELECT chatcrypt.delete_attachment(20);
RESET ROLE;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal FROM writer, reader, operator;

-- Actors.
SET ROLE app;
BEGIN;
SELECT chatcrypt.act_as('mallory');
SELECT count(*) FROM chatcrypt.attachments;
SELECT f, outcome(format('SELECT %s', f)) FROM unnest(ARRAY['chatcrypt.read_attachment(1)', 'chatcrypt.read_attachment_part(1, 0)',
	'chatcrypt.put_attachment(6000, 30, ''x'')', 'chatcrypt.begin_attachment(6000, 30)', 'chatcrypt.put_attachment_part(10, 0, ''x'')',
	'chatcrypt.finish_attachment(10)', 'chatcrypt.delete_attachment(1)', 'part FROM chatcrypt.attachment_progress(10)',
	'chatcrypt.encrypt_attachment(6000, 1, ''x'')', 'chatcrypt.decrypt_attachment(6000, 1, decode(repeat(''02'', 100), ''hex''))',
	'chatcrypt.ensure_attachment_key(6000)']) AS f;
ROLLBACK;
BEGIN;
SELECT chatcrypt.act_as('bob');
SELECT count(*) FROM chatcrypt.attachments;
SELECT convert_from(chatcrypt.read_attachment(1), 'UTF8'), chatcrypt.put_attachment(6000, 30, 'by bob', sender => 'bob'), chatcrypt.delete_attachment(30);
COMMIT;
RESET ROLE;

-- Whatever is done to the rows, nothing opens that was not stored: other order, other places, other bytes.
CREATE FUNCTION flip(bytes bytea, at integer) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN set_byte(bytes, at, get_byte(bytes, at) # 1);
CREATE FUNCTION tampered(what text, damage text, file bigint DEFAULT 2) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE damage;
	result := outcome(format('SELECT chatcrypt.read_attachment(%s) = content(100000)', file));
	RAISE EXCEPTION USING ERRCODE = 'AA000', MESSAGE = result;
EXCEPTION WHEN SQLSTATE 'AA000' THEN
	RETURN what || ': ' || SQLERRM;
END
$$;
SELECT tampered('nothing', 'SELECT');
SELECT tampered('parts swapped', 'UPDATE chatcrypt.sealed_attachment_part AS p SET sealed = q.sealed FROM chatcrypt.sealed_attachment_part AS q
	WHERE p.file_id = chatcrypt.to_uuid(2) AND q.file_id = p.file_id AND p.part + q.part = 1');
SELECT tampered('a part twice', 'UPDATE chatcrypt.sealed_attachment_part AS p SET sealed = q.sealed FROM chatcrypt.sealed_attachment_part AS q
	WHERE p.file_id = chatcrypt.to_uuid(2) AND p.part = 1 AND q.file_id = p.file_id AND q.part = 0');
SELECT tampered('a part of another file', 'UPDATE chatcrypt.sealed_attachment_part AS p SET sealed = q.sealed FROM chatcrypt.sealed_attachment_part AS q
	WHERE p.file_id = chatcrypt.to_uuid(2) AND p.part = 0 AND q.file_id = chatcrypt.to_uuid(5) AND q.part = 0');
SELECT tampered('all of a file of another chat', 'UPDATE chatcrypt.sealed_attachment_part AS p SET sealed = q.sealed FROM chatcrypt.sealed_attachment_part AS q
	WHERE p.file_id = chatcrypt.to_uuid(2) AND q.file_id = chatcrypt.to_uuid(5) AND q.part = p.part');
SELECT tampered('what is known of another file', 'UPDATE chatcrypt.sealed_attachment AS a SET encrypted_metadata = b.encrypted_metadata FROM chatcrypt.sealed_attachment AS b
	WHERE a.file_id = chatcrypt.to_uuid(2) AND b.file_id = chatcrypt.to_uuid(4)');
SELECT tampered('the file in another chat', 'UPDATE chatcrypt.sealed_attachment SET chat_id = chatcrypt.to_uuid(6001) WHERE file_id = chatcrypt.to_uuid(2)');
SELECT tampered('without its end', 'DELETE FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid(2) AND part = 2');
SELECT tampered('without its beginning', 'DELETE FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT tampered('another end', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = chatcrypt.encrypt_attachment(6000, 2, substr(content(100000), 80001), 2, false) WHERE file_id = chatcrypt.to_uuid(2) AND part = 2');
SELECT tampered('a shorter end', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = chatcrypt.encrypt_attachment(6000, 2, ''short'', 2, true) WHERE file_id = chatcrypt.to_uuid(2) AND part = 2');
SELECT tampered('a shorter file', 'DELETE FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid(2) AND part = 2;
	UPDATE chatcrypt.sealed_attachment_part SET last = true, sealed = chatcrypt.encrypt_attachment(6000, 2, substr(content(100000), 40001, 40000), 1, true)
	WHERE file_id = chatcrypt.to_uuid(2) AND part = 1');
SELECT tampered('an older upload', 'UPDATE chatcrypt.sealed_attachment SET encrypted_metadata = chatcrypt.encrypt(6000, 2,
	''\x010000009c4000000000000000000000000000000000''::bytea, ''\x66696c6500''), dek_version = 1 WHERE file_id = chatcrypt.to_uuid(2)');
SELECT tampered('chunks swapped', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = substr(sealed, 1, 61) || substr(sealed, 16462, 16400) || substr(sealed, 62, 16400) || substr(sealed, 32862)
	WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT tampered('a chunk twice', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = substr(sealed, 1, 61) || substr(sealed, 62, 16400) || substr(sealed, 62, 16400) || substr(sealed, 32862)
	WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT tampered('a chunk of another part', 'UPDATE chatcrypt.sealed_attachment_part AS p SET sealed = substr(p.sealed, 1, 61) || substr(q.sealed, 62, 16400) || substr(p.sealed, 16462)
	FROM chatcrypt.sealed_attachment_part AS q WHERE p.file_id = chatcrypt.to_uuid(2) AND p.part = 0 AND q.file_id = p.file_id AND q.part = 1');
SELECT tampered('without a chunk', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = substr(sealed, 1, 61) || substr(sealed, 16462) WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT tampered('without its last chunk', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = substr(sealed, 1, 61 + 2 * 16400) WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT tampered('one byte more', 'UPDATE chatcrypt.sealed_attachment_part SET sealed = sealed || ''\x00'' WHERE file_id = chatcrypt.to_uuid(2) AND part = 0');
SELECT at, tampered('a bit', format('UPDATE chatcrypt.sealed_attachment_part SET sealed = flip(sealed, %s) WHERE file_id = chatcrypt.to_uuid(2) AND part = 1', at))
FROM unnest(ARRAY[4, 5, 28, 29, 60, 61, 16444, 16445, 16460, 16461, 40000, 40108]) AS at;
-- A range opens the chunks that it needs, and no others.
BEGIN;
UPDATE chatcrypt.sealed_attachment_part SET sealed = flip(sealed, 61 + 16400 + 5) WHERE file_id = chatcrypt.to_uuid(2) AND part = 0;
SELECT chatcrypt.read_attachment(2, 0, 16384) = substr(content(100000), 1, 16384) AS first_chunk,
	   chatcrypt.read_attachment(2, 32768, 100) = substr(content(100000), 32769, 100) AS third_chunk;
SELECT chatcrypt.read_attachment(2, 16383, 2);
ROLLBACK;

-- What the view shows of a file that does not open.
BEGIN;
UPDATE chatcrypt.sealed_attachment SET encrypted_metadata = flip(encrypted_metadata, 40) WHERE file_id = chatcrypt.to_uuid(1);
SAVEPOINT before;
SELECT name FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(1);
ROLLBACK TO before;
SET LOCAL chatcrypt.on_decrypt_error = 'null';
SELECT file_id, name, size, parts FROM chatcrypt.attachments WHERE file_id IN (chatcrypt.to_uuid(1), chatcrypt.to_uuid(4)) ORDER BY 1;
ROLLBACK;
\c :home
DROP DATABASE regression_attachments;
DROP ROLE writer, reader, app, operator;
