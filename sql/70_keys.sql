-- What is done to the keys of chats.

CREATE FUNCTION chatcrypt.rotate_chat(chat_id uuid)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_rotate_chat';
COMMENT ON FUNCTION chatcrypt.rotate_chat(uuid) IS
	'Gives the chat a new data key, which seals from now on; gives its version. Older messages '
	'stay readable.';

CREATE FUNCTION chatcrypt.rotate_chat(chat_id bigint)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_rotate_chat_bigint';
COMMENT ON FUNCTION chatcrypt.rotate_chat(bigint) IS
	'Gives the chat a new data key, which seals from now on; gives its version. Older messages '
	'stay readable.';

CREATE FUNCTION chatcrypt.import_dek(chat_id uuid, dek bytea, version integer,
									 purpose text DEFAULT 'data')
	RETURNS void LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_import_dek';
COMMENT ON FUNCTION chatcrypt.import_dek(uuid, bytea, integer, text) IS
	'Brings in a data key of an existing system; the KMS wraps it. The highest version seals.';

CREATE FUNCTION chatcrypt.import_dek(chat_id bigint, dek bytea, version integer,
									 purpose text DEFAULT 'data')
	RETURNS void LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_import_dek_bigint';
COMMENT ON FUNCTION chatcrypt.import_dek(bigint, bytea, integer, text) IS
	'Brings in a data key of an existing system; the KMS wraps it. The highest version seals.';

CREATE FUNCTION chatcrypt.shred_chat(chat_id uuid, confirm text DEFAULT NULL)
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_chat';
COMMENT ON FUNCTION chatcrypt.shred_chat(uuid, text) IS
	'Destroys all keys of a chat, and so everything that they encrypted, and deletes its files: '
	'confirm => ''irreversible''. Says how many.';

CREATE FUNCTION chatcrypt.shred_chat(chat_id bigint, confirm text DEFAULT NULL)
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_chat_bigint';
COMMENT ON FUNCTION chatcrypt.shred_chat(bigint, text) IS
	'Destroys all keys of a chat, and so everything that they encrypted, and deletes its files: '
	'confirm => ''irreversible''. Says how many.';

CREATE FUNCTION chatcrypt.shred_tenant(tenant text, confirm text DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_shred_tenant';
COMMENT ON FUNCTION chatcrypt.shred_tenant(text, text) IS
	'Destroys all keys of all chats of a tenant, and so everything that they encrypted, and '
	'deletes their files: confirm => ''irreversible''. Says how many.';
