-- Functions that change the keys of chats.

CREATE FUNCTION chatcrypt.rotate_chat(chat_id chatcrypt.any_id)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_rotate_chat';
COMMENT ON FUNCTION chatcrypt.rotate_chat(chatcrypt.any_id) IS
	'Gives a chat a new data key, which encrypts from now on, and returns its version. Older '
	'messages stay readable.';

CREATE FUNCTION chatcrypt.import_dek(chat_id chatcrypt.any_id, dek bytea, version integer,
									 purpose text DEFAULT 'data')
	RETURNS void LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_import_dek';
COMMENT ON FUNCTION chatcrypt.import_dek(chatcrypt.any_id, bytea, integer, text) IS
	'Imports a data key of an existing system, which the KMS then wraps. The key with the highest '
	'version encrypts from now on; purpose is data, search or conversation.';

CREATE FUNCTION chatcrypt.shred_chat(chat_id chatcrypt.any_id, confirm text DEFAULT NULL)
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_chat';
COMMENT ON FUNCTION chatcrypt.shred_chat(chatcrypt.any_id, text) IS
	'Destroys all keys of a chat, and with them everything that they encrypted, and deletes the '
	'chat''s attachments; confirm must be irreversible. Returns how many keys were destroyed.';

CREATE FUNCTION chatcrypt.shred_tenant(tenant text, confirm text DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_tenant';
COMMENT ON FUNCTION chatcrypt.shred_tenant(text, text) IS
	'Destroys all keys of all chats of a tenant, and with them everything that they encrypted, '
	'and deletes their attachments; confirm must be irreversible. Returns how many keys were '
	'destroyed.';
