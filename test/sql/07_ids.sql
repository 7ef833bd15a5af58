-- Ids as functions take them: uuids, numbers and text, in every mix, with and without a type.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SET client_min_messages = warning;
SELECT chatcrypt.create_chat(700, ARRAY['alice']), chatcrypt.create_chat('cccccccc-0000-0000-0000-000000000700', ARRAY['alice']);
SELECT chatcrypt.put_message('700', '7', 'body');

-- Every pair of types, for every function that applications call per message.
CREATE FUNCTION opens(chat text, message text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	envelope bytea;
	answers text[];
BEGIN
	EXECUTE format('SELECT chatcrypt.encrypt(%s, %s, ''text'', ''aad'')', chat, message) INTO envelope;
	EXECUTE format('SELECT ARRAY[chatcrypt.decrypt(%1$s, %2$s, $1, ''aad''), chatcrypt.try_decrypt(%1$s, %2$s, $1, ''aad''),
								 convert_from(chatcrypt.decrypt_bytea(%1$s, %2$s, $1, ''aad''), ''UTF8''),
								 chatcrypt.put_message(%1$s, %2$s, ''body'')::text,
								 chatcrypt.may_see(%1$s)::text, (chatcrypt.default_expiry(%1$s) IS NULL)::text,
								 chatcrypt.wire_message(%1$s, %2$s)->>''content'', chatcrypt.check_envelope(%1$s, %2$s, $1, ''aad''),
								 chatcrypt.decrypt(%1$s, %2$s, chatcrypt.reencrypt_envelope(%1$s, %2$s, $1, ''aad''), ''aad'')]', chat, message)
		INTO answers USING envelope;
	RETURN array_to_string(answers, ' ', '-');
END
$$;
WITH ids (chat, message) AS (
	SELECT chat, message
	FROM unnest(ARRAY['700', '700::bigint', '700::smallint', 'chatcrypt.to_uuid(700)', '''700''', '''700''::text', '''700''::varchar',
					  '''00000000-0000-8000-8000-0000000002bc''']) AS chat,
		 unnest(ARRAY['7', '7::bigint', '7::smallint', 'chatcrypt.to_uuid(7)', '''7''', '''7''::text', '''7''::varchar',
					  '''00000000-0000-8000-8000-000000000007''::text']) AS message
)
SELECT opens(chat, message), count(*) FROM ids GROUP BY 1;
SELECT count(*) AS messages FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(700) AND message_id = chatcrypt.to_uuid(7);
DROP FUNCTION opens;

-- Parameters without a type, as drivers send them; and as JDBC's setString() does.  As a role that
-- has no right but that of the role of an application.
CREATE ROLE numbers LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO numbers;
SET ROLE numbers;
PREPARE untyped AS SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3, $4), $4);
EXECUTE untyped('700', '7', 'without a type', 'aad');
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
PREPARE varchars (varchar, varchar, varchar) AS SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3));
EXECUTE varchars('cccccccc-0000-0000-0000-000000000700', '7', 'a string');
SELECT chatcrypt.decrypt('700'::text, id::varchar, chatcrypt.encrypt('700'::varchar, id::text, 'cast')) FROM (VALUES (7)) AS v (id);
SELECT chatcrypt.to_uuid(700)::chatcrypt.any_id::text AS shown;
PREPARE half_typed AS SELECT chatcrypt.encrypt($1, m.message_id, $2) IS NOT NULL AS sealed FROM chatcrypt.messages AS m WHERE m.chat_id = chatcrypt.to_uuid(700);
EXECUTE half_typed('700', 'text');
PREPARE of_bytes (uuid, bigint, bytea) AS SELECT chatcrypt.decrypt_bytea($1, $2, chatcrypt.encrypt($1, $2, $3));
EXECUTE of_bytes('cccccccc-0000-0000-0000-000000000700', 7, '\x00ff');
PREPARE chats AS SELECT chatcrypt.create_chats($1), (chatcrypt.warm_keys($1)).warmed;
EXECUTE chats('{701,cccccccc-0000-0000-0000-000000000701}');
SELECT (chatcrypt.warm_keys(ARRAY[700, 701])).warmed, (chatcrypt.warm_keys(ARRAY['700', '701'])).warmed, (chatcrypt.warm_keys(ARRAY[chatcrypt.to_uuid(700)])).warmed, (chatcrypt.warm_keys('{}')).warmed;
DEALLOCATE ALL;
RESET ROLE;

-- An argument without a type is one id, not an array of ids.
SELECT chatcrypt.set_search('700', 'blind'), chatcrypt.set_search('701', 'blind');
CALL chatcrypt.reindex_search('700', 1000, false, '30 s', NULL, NULL, NULL);
CALL chatcrypt.reindex_search('701', 1000, false, '30 s', NULL, NULL, NULL);
SELECT chatcrypt.number_of(message_id) AS message, body FROM chatcrypt.search('700', 'body');
SELECT chatcrypt.number_of(message_id) AS message, body FROM chatcrypt.search(ARRAY[700, 701], 'body', before => 'infinity', before_id => 8);
SELECT chatcrypt.number_of(message_id) AS message, body FROM chatcrypt.search(query => 'body', chat_ids => '{700}');

-- Arguments by name, and NULL.
SELECT chatcrypt.decrypt(message_id => 7, chat_id => '700', envelope => chatcrypt.encrypt(plaintext => 'named', chat_id => 700, message_id => '7'));
SELECT chatcrypt.encrypt(NULL, 7, 'x');
SELECT chatcrypt.encrypt(700, NULL, 'x');
SELECT chatcrypt.encrypt(700, 7, NULL) IS NULL AS is_null, chatcrypt.may_see(NULL) IS NULL AS unknown;
SELECT chatcrypt.put_message(700, NULL, 'x');
SELECT chatcrypt.create_chat(NULL) <> chatcrypt.create_chat(NULL) AS new_each_time;

-- The error for a text that is no id does not show the text, which may be a message in the wrong
-- place.
\set VERBOSITY default
SELECT chatcrypt.encrypt(secret, 7, 'x') FROM (VALUES ('a secret'::text)) AS v (secret);
\set VERBOSITY terse
CREATE TABLE no_ids AS SELECT text FROM unnest(ARRAY['', ' 7', '7 ', '+7', '-', '--7', '7.0', '0x7', '1e3', '9223372036854775808', '-9223372036854775809',
	'99999999999999999999', '00000000-0000-8000-8000-00000000000', '00000000-0000-8000-8000-0000000000071', '{00000000-0000-8000-8000-000000000007',
	'0-0000000-0000-8000-8000-000000000007', '00000000-0000-8000-8000-00000000000g', '{}', 'NaN']) AS text;
CREATE FUNCTION read_id(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN id::chatcrypt.any_id::uuid;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN SQLERRM;
END
$$;
SELECT read_id(text) AS answer, count(*), (SELECT count(*) FROM no_ids) AS of FROM no_ids GROUP BY 1;
SELECT text, read_id(text), text::chatcrypt.any_id AS shown FROM unnest(ARRAY['0', '7', '-7', '-0', '007', '9223372036854775807', '-9223372036854775808',
	'CCCCCCCC-0000-0000-0000-000000000700', '{cccccccc-0000-0000-0000-000000000700}', 'cccccccc000000000000000000000700',
	'cccc-cccc-0000-0000-0000-0000-0000-0700', '00000000000000000000000000000007', '00000000-0000-8000-8000-000000000007']) AS text;
DROP FUNCTION read_id;
DROP TABLE no_ids;

-- The number of a uuid, and of a uuid in an id space.
SELECT chatcrypt.number_of(chatcrypt.to_uuid(number)) = number AS same, chatcrypt.number_of(chatcrypt.to_uuid(number, 281474976710655), 281474976710655) = number AS in_space
FROM unnest(ARRAY[0, 1, 42, -1, 4611686018427387904, 9223372036854775807, -9223372036854775808]) AS number;
SELECT chatcrypt.number_of('cccccccc-0000-0000-0000-000000000700') AS no_number, chatcrypt.number_of(NULL) AS of_null,
	   chatcrypt.number_of(chatcrypt.to_uuid(42, 7)) AS of_another_space, chatcrypt.number_of(chatcrypt.to_uuid(42), 0) AS of_0, chatcrypt.number_of(chatcrypt.to_uuid(42), 7) AS not_of_7;
SELECT chatcrypt.number_of(chatcrypt.to_uuid(42), -1);
SELECT chatcrypt.number_of(chatcrypt.to_uuid(42), 281474976710656);

-- An error shows the number of a chat or file; every function takes what an error shows.
SELECT chatcrypt.rotate_chat(799);
SELECT chatcrypt.rotate_chat('799');
SELECT chatcrypt.rotate_chat(chatcrypt.to_uuid(799));
SELECT chatcrypt.rotate_chat(chatcrypt.to_uuid(799, 7));
SELECT chatcrypt.rotate_chat('cccccccc-0000-0000-0000-000000000799');
SELECT chatcrypt.read_attachment(799);

-- The cast does not prevent the use of an index: the messages of a chat are found by it, also
-- behind the policy of an actor.
SET ROLE numbers;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT message_id FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(700);
PREPARE of_number (bigint) AS SELECT message_id FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($1);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE of_number(700);
RESET plan_cache_mode;
RESET enable_seqscan;
RESET ROLE;

-- A view that calls decrypt means the same after a dump and a restore.
CREATE TABLE notes AS SELECT 7::bigint AS id, chatcrypt.encrypt(700, 7, 'a note') AS note;
CREATE VIEW opened AS SELECT chatcrypt.decrypt(700, id, note) AS by_number, chatcrypt.decrypt('700', id::text, note) AS by_text FROM notes;
DO $$ BEGIN EXECUTE 'CREATE VIEW restored AS ' || pg_get_viewdef('opened'); END $$;
SELECT * FROM restored;
DROP VIEW opened, restored;
DROP TABLE notes;
DROP OWNED BY numbers;
DROP ROLE numbers;

-- The binary form is that of a uuid; the type has these casts and no others.
SELECT chatcrypt_internal.any_id_send(7) = uuid_send(chatcrypt.to_uuid(7)) AS same;
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod FROM pg_cast
WHERE 'chatcrypt.any_id'::regtype IN (castsource, casttarget) ORDER BY casttarget, castsource::regtype::text;
