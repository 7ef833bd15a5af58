-- Making chats.

CREATE FUNCTION chatcrypt.create_chat(chat_id uuid DEFAULT NULL, participants text[] DEFAULT '{}',
									  tenant text DEFAULT 'default', mode text DEFAULT 'managed')
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_create_chat';
COMMENT ON FUNCTION chatcrypt.create_chat(uuid, text[], text, text) IS
	'Makes a chat and its first data key; gives its id, which is a new one unless named.';

CREATE FUNCTION chatcrypt.create_chat(chat_id bigint, participants text[] DEFAULT '{}',
									  tenant text DEFAULT 'default', mode text DEFAULT 'managed')
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_create_chat_bigint';
COMMENT ON FUNCTION chatcrypt.create_chat(bigint, text[], text, text) IS
	'Makes a chat whose id is a number; gives the uuid that stands for it.';

CREATE FUNCTION chatcrypt.create_chats(chat_ids uuid[], participants text[] DEFAULT '{}',
									   tenant text DEFAULT 'default', mode text DEFAULT 'managed')
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_create_chats';
COMMENT ON FUNCTION chatcrypt.create_chats(uuid[], text[], text, text) IS
	'Makes many chats with few calls to the KMS; says how many.';

CREATE FUNCTION chatcrypt.create_chats(chat_ids bigint[], participants text[] DEFAULT '{}',
									   tenant text DEFAULT 'default', mode text DEFAULT 'managed')
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_create_chats_bigint';
COMMENT ON FUNCTION chatcrypt.create_chats(bigint[], text[], text, text) IS
	'Makes many chats whose ids are numbers; says how many.';

CREATE FUNCTION chatcrypt.warm(chat_ids uuid[])
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_warm';
COMMENT ON FUNCTION chatcrypt.warm(uuid[]) IS
	'Unwraps the keys of many chats with few calls to the KMS; says how many were cold.';

-- bigint is a wrapper: mapping the ids is all that differs.  LEAKPROOF, since it cannot fail: a
-- condition with it reaches an index behind a policy or a security barrier, where otherwise every
-- message would be opened, and only then be looked at whose it is.
CREATE FUNCTION chatcrypt.id(number bigint)
	RETURNS uuid LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_id';
COMMENT ON FUNCTION chatcrypt.id(bigint) IS 'The uuid that stands for a bigint id.';

CREATE FUNCTION chatcrypt.id(number bigint, space bigint)
	RETURNS uuid LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_id_in_space';
COMMENT ON FUNCTION chatcrypt.id(bigint, bigint) IS
	'The uuid that stands for a bigint id; applications that share a database take different '
	'spaces.';

CREATE FUNCTION chatcrypt.warm(chat_ids bigint[])
	RETURNS integer LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
	RETURN chatcrypt.warm((SELECT coalesce(array_agg(chatcrypt.id(number)), '{}') FROM unnest(chat_ids) AS number));
COMMENT ON FUNCTION chatcrypt.warm(bigint[]) IS
	'Unwraps the keys of many chats whose ids are numbers; says how many were cold.';

CREATE FUNCTION chatcrypt.new_message_id()
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_new_message_id';
COMMENT ON FUNCTION chatcrypt.new_message_id() IS
	'A new UUIDv7: ids of messages that follow each other are neighbours in an index.';

-- Encrypting and decrypting: for each id a uuid or a bigint.  Never IMMUTABLE (the planner
-- would fold a salt, or a plaintext, into a plan), never LEAKPROOF.  COST 50 is what they take,
-- against 1 for an operator: the planner sorts and limits first, and decrypts what is left.
DO $$
DECLARE
	chat text;
	message text;
	one record;
BEGIN
	FOREACH chat IN ARRAY ARRAY['uuid', 'bigint'] LOOP
		FOREACH message IN ARRAY ARRAY['uuid', 'bigint'] LOOP
			FOR one IN
				SELECT * FROM (VALUES
					('encrypt', 'plaintext', 'text', 'bytea', 'VOLATILE', 'encrypt_text',
					 'Encrypts text under the chat''s active key; gives the envelope.'),
					('encrypt', 'plaintext', 'bytea', 'bytea', 'VOLATILE', 'encrypt_bytea',
					 'Encrypts bytes under the chat''s active key; gives the envelope.'),
					('decrypt', 'envelope', 'bytea', 'text', 'STABLE', 'decrypt',
					 'Decrypts an envelope that holds text.'),
					('decrypt_bytea', 'envelope', 'bytea', 'bytea', 'STABLE', 'decrypt_bytea',
					 'Decrypts an envelope that holds any bytes.'),
					('try_decrypt', 'envelope', 'bytea', 'text', 'STABLE', 'try_decrypt',
					 'Decrypts an envelope that holds text; NULL for one that does not open.')
				) AS f (name, input, input_type, output_type, volatility, symbol, about)
			LOOP
				EXECUTE format('CREATE FUNCTION chatcrypt.%I(chat_id %s, message_id %s, %I %s, aad bytea DEFAULT NULL) '
							   'RETURNS %s LANGUAGE c %s PARALLEL SAFE COST 50 AS '
							   '''MODULE_PATHNAME'', %L',
							   one.name, chat, message, one.input, one.input_type, one.output_type,
							   one.volatility,
							   format('chatcrypt_%s_%s_%s', one.symbol, chat, message));
				EXECUTE format('COMMENT ON FUNCTION chatcrypt.%I(%s, %s, %s, bytea) IS %L',
							   one.name, chat, message, one.input_type, one.about);
			END LOOP;
		END LOOP;
	END LOOP;
END
$$;
