-- encrypt and decrypt: every overload, every kind of bad input.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_chat('aaaaaaaa-0000-0000-0000-000000000001'::uuid);
SELECT chatcrypt.create_chat('aaaaaaaa-0000-0000-0000-000000000002'::uuid);
SELECT chatcrypt.create_chat(100);
\set chat '''aaaaaaaa-0000-0000-0000-000000000001''::uuid'
\set other '''aaaaaaaa-0000-0000-0000-000000000002''::uuid'
\set message '''bbbbbbbb-0000-0000-0000-000000000001''::uuid'

-- Round trips: uuid and bigint, text and bytea, with and without additional data.
SELECT chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, 'grüße 👋'));
SELECT chatcrypt.decrypt(100, :message, chatcrypt.encrypt(100, :message, 'bigint chat'));
SELECT chatcrypt.decrypt(:chat, 7, chatcrypt.encrypt(:chat, 7, 'bigint message'));
SELECT chatcrypt.decrypt(100, 7, chatcrypt.encrypt(100, 7, 'both'));
SELECT chatcrypt.decrypt(chatcrypt.to_uuid(100), chatcrypt.to_uuid(7), chatcrypt.encrypt(100, 7, 'a bigint is its uuid'));
SELECT chatcrypt.decrypt_bytea(:chat, :message, chatcrypt.encrypt(:chat, :message, '\x00ff00'::bytea));
SELECT chatcrypt.decrypt_bytea(100, 7, chatcrypt.encrypt(100, 7, '\x00ff00'::bytea));
SELECT chatcrypt.decrypt_bytea(100, :message, chatcrypt.encrypt(100, :message, '\x'::bytea)) = '' AS empty;
SELECT chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, 'bound', 'aad'), 'aad');
SELECT chatcrypt.try_decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, 'tried'));
SELECT chatcrypt.try_decrypt(:chat, 7, chatcrypt.encrypt(:chat, 7, 'tried'));
SELECT chatcrypt.try_decrypt(100, 7, chatcrypt.encrypt(100, 7, 'tried'));
SELECT chatcrypt.try_decrypt(100, :message, chatcrypt.encrypt(100, :message, 'tried'));
SELECT chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, '')) = '' AS empty_is_empty;
SELECT md5(chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, repeat('long ', 200000)))) = md5(repeat('long ', 200000)) AS long_one;

-- The same message twice gives two envelopes; both are 49 bytes longer than the text.
SELECT chatcrypt.encrypt(:chat, :message, 'x') <> chatcrypt.encrypt(:chat, :message, 'x') AS salted,
	   octet_length(chatcrypt.encrypt(:chat, :message, 'hello')) - 5 AS overhead;
SELECT count(DISTINCT chatcrypt.encrypt(:chat, :message, 'x')) FROM generate_series(1, 1000);

-- Null and empty come back as themselves; a null id is an error.
SELECT chatcrypt.encrypt(:chat, :message, NULL::text) IS NULL AS null_text, chatcrypt.encrypt(:chat, :message, NULL::bytea) IS NULL AS null_bytea,
	   chatcrypt.decrypt(:chat, :message, NULL) IS NULL AS null_envelope;
SELECT chatcrypt.encrypt(NULL::uuid, :message, 'x');
SELECT chatcrypt.encrypt(:chat, NULL::bigint, 'x');
SELECT chatcrypt.decrypt(NULL::bigint, 1, '\x01');

-- The error is the same, whatever is wrong.
SELECT chatcrypt.encrypt(:chat, :message, 'secret body', 'aad') AS envelope \gset
\set VERBOSITY sqlstate
SELECT chatcrypt.decrypt(:other, :message, :'envelope'::bytea, 'aad');
\set VERBOSITY default
SELECT chatcrypt.decrypt(:other, :message, :'envelope'::bytea, 'aad');
SELECT chatcrypt.decrypt(100, 8, chatcrypt.encrypt(100, 7, 'another message'));
SELECT chatcrypt.decrypt(100, 7, chatcrypt.encrypt(100, 7, 'other data', 'aad'), 'AAD');
SELECT chatcrypt.decrypt(100, 7, set_byte(envelope, 50, get_byte(envelope, 50) # 1)) FROM chatcrypt.encrypt(100, 7, 'damaged') AS envelope;
SELECT chatcrypt.decrypt(100, 7, '\x01');
SELECT chatcrypt.decrypt(100, 7, chatcrypt.encrypt(100, 7, '\xff'::bytea));
\set VERBOSITY terse
SELECT chatcrypt.decrypt(:chat, 1, :'envelope'::bytea, 'aad');
SELECT chatcrypt.decrypt(:chat, :message, :'envelope'::bytea);
SELECT chatcrypt.decrypt(:chat, :message, :'envelope'::bytea, 'AAD');
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 59, get_byte(:'envelope'::bytea, 59) # 1), 'aad');
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 20, get_byte(:'envelope'::bytea, 20) # 1), 'aad');
SELECT count(*) AS opened FROM generate_series(0, octet_length(:'envelope'::bytea) - 1) AS at
	WHERE chatcrypt.try_decrypt(:chat, :message, set_byte(:'envelope'::bytea, at, get_byte(:'envelope'::bytea, at) # 128), 'aad') IS NOT NULL;
SELECT count(*) AS opened FROM generate_series(0, octet_length(:'envelope'::bytea) - 1) AS length
	WHERE chatcrypt.try_decrypt(:chat, :message, substr(:'envelope'::bytea, 1, length), 'aad') IS NOT NULL;
SELECT chatcrypt.try_decrypt(:chat, :message, :'envelope'::bytea || '\x00'::bytea, 'aad') IS NULL AS refused;

-- Bytes that are no envelope.
SELECT chatcrypt.decrypt(:chat, :message, '\x');
SELECT chatcrypt.decrypt(:chat, :message, '\x01');
SELECT chatcrypt.decrypt(:chat, :message, substr(:'envelope'::bytea, 1, 48));
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 0, 9));
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 0, 2));
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 4, 0));
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 4, 99));
SELECT chatcrypt.decrypt(:chat, :message, set_byte(:'envelope'::bytea, 1, 255));
SELECT chatcrypt.decrypt(4711, 1, :'envelope'::bytea);
SELECT chatcrypt.encrypt(4711, 1, 'no such chat');
SELECT chatcrypt.encrypt(:chat, :message, 'x', decode(repeat('00', 65537), 'hex'));

SELECT chatcrypt.dek_version(:'envelope'::bytea), chatcrypt.dek_version('\x00'), chatcrypt.dek_version(NULL);

-- is_sealed(), for constraints: true, or an error that shows nothing of the bytes.
SELECT chatcrypt_internal.is_sealed(:'envelope'::bytea, 1), chatcrypt_internal.is_sealed(NULL, NULL);
\set VERBOSITY default
SELECT chatcrypt_internal.is_sealed('plaintext'::bytea, 1);
\set VERBOSITY terse
SELECT chatcrypt_internal.is_sealed(:'envelope'::bytea, 2);
SELECT chatcrypt_internal.is_sealed('\x0100000000'::bytea || :'envelope'::bytea, 0);
SELECT chatcrypt_internal.is_sealed(:'envelope'::bytea, NULL);
SELECT chatcrypt_internal.is_sealed(NULL, 1);
SELECT chatcrypt_internal.is_sealed('', 0);

-- Bytes that are not text.
SELECT chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, '\xff00'::bytea));
SELECT chatcrypt.decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, '\x610062'::bytea));
SELECT chatcrypt.try_decrypt(:chat, :message, chatcrypt.encrypt(:chat, :message, '\xff'::bytea)) IS NULL AS no_text;

-- encrypt is never folded into a plan: each row has a salt of its own, also in a prepared statement.
PREPARE seal AS SELECT chatcrypt.encrypt('aaaaaaaa-0000-0000-0000-000000000001'::uuid, 1, 'x') AS e;
SET plan_cache_mode = force_generic_plan;
CREATE TEMP TABLE first AS EXECUTE seal;
CREATE TEMP TABLE second AS EXECUTE seal;
SELECT first.e <> second.e AS salted FROM first, second;
RESET plan_cache_mode;

-- encrypt never writes: it works in a read-only transaction, and in parallel workers.
BEGIN READ ONLY;
SELECT chatcrypt.decrypt(100, 9, chatcrypt.encrypt(100, 9, 'read only'));
COMMIT;
CREATE TABLE many AS SELECT g AS id, chatcrypt.encrypt(100, g, 'message ' || g) AS e FROM generate_series(1, 5000) AS g;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM many WHERE chatcrypt.decrypt(100, id, e) = 'message ' || id;
SELECT count(*) FROM many WHERE chatcrypt.decrypt(100, id, e) = 'message ' || id;
SELECT count(DISTINCT chatcrypt.encrypt(100, id, 'x')) FROM many;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT chatcrypt.decrypt(100, 9, chatcrypt.encrypt(100, 9, 'in a worker'));
DROP TABLE many;
