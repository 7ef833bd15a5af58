-- What is done to the keys of chats.

CREATE FUNCTION chatcrypt.rotate_chat(chat_id chatcrypt.any_id)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_rotate_chat';
COMMENT ON FUNCTION chatcrypt.rotate_chat(chatcrypt.any_id) IS
	'Gives the chat a new data key, which seals from now on; gives its version. Older messages '
	'stay readable.';

CREATE FUNCTION chatcrypt.import_dek(chat_id chatcrypt.any_id, dek bytea, version integer,
									 purpose text DEFAULT 'data')
	RETURNS void LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_import_dek';
COMMENT ON FUNCTION chatcrypt.import_dek(chatcrypt.any_id, bytea, integer, text) IS
	'Brings in a data key of an existing system; the KMS wraps it. The highest version seals.';

CREATE FUNCTION chatcrypt.shred_chat(chat_id chatcrypt.any_id, confirm text DEFAULT NULL)
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_chat';
COMMENT ON FUNCTION chatcrypt.shred_chat(chatcrypt.any_id, text) IS
	'Destroys all keys of a chat, and so everything that they encrypted, and deletes its files: '
	'confirm => ''irreversible''. Says how many.';

CREATE FUNCTION chatcrypt.shred_tenant(tenant text, confirm text DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_tenant';
COMMENT ON FUNCTION chatcrypt.shred_tenant(text, text) IS
	'Destroys all keys of all chats of a tenant, and so everything that they encrypted, and '
	'deletes their files: confirm => ''irreversible''. Says how many.';
