-- Creating chats.

-- Participants can only be given as an array.  If there were also a function for one name as text,
-- PostgreSQL would treat a parameter or literal without a type as text, and '{alice,bob}', which is
-- how node-postgres, psycopg and pgx (in its simple modes) send a list, would be one participant's
-- name.
CREATE FUNCTION chatcrypt.create_chat(chat_id chatcrypt.any_id DEFAULT NULL,
									  participants text[] DEFAULT '{}',
									  tenant text DEFAULT 'default', mode text DEFAULT 'managed',
									  if_not_exists boolean DEFAULT false)
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_create_chat';
COMMENT ON FUNCTION chatcrypt.create_chat(chatcrypt.any_id, text[], text, text, boolean) IS
	'Creates a chat and its first data key, and returns the chat''s id: a new one if chat_id is '
	'NULL. participants are the names of those for whom act_as() lets it be read and written, '
	'tenant the group of chats whose policies and KMS key it gets. mode is managed; or '
	'conversation_key for a chat whose clients may hold the key; or e2ee for one that gets no '
	'data key and takes no plaintext. With if_not_exists a chat that exists stays as it is.';

CREATE FUNCTION chatcrypt.create_chats(chat_ids chatcrypt.any_id[],
									   participants text[] DEFAULT '{}',
									   tenant text DEFAULT 'default', mode text DEFAULT 'managed',
									   if_not_exists boolean DEFAULT false,
									   participants_each jsonb DEFAULT NULL)
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_create_chats';
COMMENT ON FUNCTION chatcrypt.create_chats(chatcrypt.any_id[], text[], text, text, boolean, jsonb) IS
	'Creates many chats with few calls to the KMS, and returns how many were created. Everyone '
	'in participants takes part in every chat; participants_each holds a further list for each '
	'chat, as a JSON array of arrays in the order of chat_ids. tenant, mode and if_not_exists '
	'are those of create_chat().';

CREATE FUNCTION chatcrypt.warm_keys(
	chat_ids chatcrypt.any_id[],
	OUT warmed integer, OUT chat_id uuid, OUT purpose text, OUT dek_version integer, OUT reason text,
	OUT detail text)
	RETURNS SETOF record LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'chatcrypt_warm_keys';
COMMENT ON FUNCTION chatcrypt.warm_keys(chatcrypt.any_id[]) IS
	'Unwraps the data keys of many chats with few calls to the KMS, so that they can be used at '
	'once. The first row says how many keys were unwrapped; each key that could not be unwrapped '
	'has a further row, with warmed = 0 and the reason.';

CREATE FUNCTION chatcrypt.new_message_id()
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_new_message_id';
COMMENT ON FUNCTION chatcrypt.new_message_id() IS
	'Returns a new UUIDv7 for a message. Ids that are made one after the other are close to each '
	'other in an index.';

-- Encrypting and decrypting.  These functions must never be IMMUTABLE, because the planner would
-- fold a salt or a plaintext into a plan, and never LEAKPROOF.  COST 50 is what they take, compared
-- to 1 for an operator, so that the planner sorts and limits first and decrypts only the rows that
-- are left.

CREATE FUNCTION chatcrypt.encrypt(chat_id chatcrypt.any_id, message_id chatcrypt.any_id,
	plaintext text, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_encrypt_text';
COMMENT ON FUNCTION chatcrypt.encrypt(chatcrypt.any_id, chatcrypt.any_id, text, bytea) IS
	'Encrypts text under the active data key of a chat, and returns the envelope. The ids and the '
	'additional data (aad) are bound into the envelope: it opens only with the same ones.';

CREATE FUNCTION chatcrypt.encrypt(chat_id chatcrypt.any_id, message_id chatcrypt.any_id,
	plaintext bytea, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_encrypt_bytea';
COMMENT ON FUNCTION chatcrypt.encrypt(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Encrypts bytes under the active data key of a chat, and returns the envelope, to which the '
	'ids and the additional data (aad) are bound as to that of a text.';

CREATE FUNCTION chatcrypt.decrypt(chat_id chatcrypt.any_id, message_id chatcrypt.any_id,
	envelope bytea, aad bytea DEFAULT NULL)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_decrypt';
COMMENT ON FUNCTION chatcrypt.decrypt(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Decrypts an envelope that holds text. The ids and the additional data (aad) must be those '
	'that it was encrypted with; an envelope that does not open raises an error.';

CREATE FUNCTION chatcrypt.decrypt_bytea(chat_id chatcrypt.any_id, message_id chatcrypt.any_id,
	envelope bytea, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_decrypt_bytea';
COMMENT ON FUNCTION chatcrypt.decrypt_bytea(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Decrypts an envelope that holds any bytes; an envelope that does not open raises an error.';

CREATE FUNCTION chatcrypt.try_decrypt(chat_id chatcrypt.any_id, message_id chatcrypt.any_id,
	envelope bytea, aad bytea DEFAULT NULL)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_try_decrypt';
COMMENT ON FUNCTION chatcrypt.try_decrypt(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Decrypts an envelope that holds text, and returns NULL for one that does not open.';
