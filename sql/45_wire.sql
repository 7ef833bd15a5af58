-- Messages as clients receive and send them if they hold the key of the conversation.

CREATE FUNCTION chatcrypt_internal.message_wire(chat_id uuid, message_id uuid, sender text, envelope bytea,
									   created_at timestamptz)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_message_wire';
COMMENT ON FUNCTION chatcrypt_internal.message_wire(uuid, uuid, text, bytea, timestamptz) IS
	'Returns what the view wire_messages shows. A message that clients can open is taken as it is '
	'stored, without a key; any other is decrypted.';

-- This view has no security_barrier, for the same reasons as the view messages.
CREATE VIEW chatcrypt.wire_messages WITH (security_invoker = true) AS
SELECT message_id,
	   chat_id,
	   created_at,
	   chatcrypt_internal.message_wire(chat_id, message_id, sender, encrypted_message, created_at) AS wire
FROM chatcrypt.sealed_message
WHERE expires_at IS NULL OR expires_at > now();
COMMENT ON VIEW chatcrypt.wire_messages IS
	'Messages in the form in which clients get them: still encrypted in chats of mode '
	'conversation_key, and with their content in others.';
COMMENT ON COLUMN chatcrypt.wire_messages.message_id IS 'The id of the message.';
COMMENT ON COLUMN chatcrypt.wire_messages.chat_id IS 'The chat of the message.';
COMMENT ON COLUMN chatcrypt.wire_messages.created_at IS 'When it was sent.';
COMMENT ON COLUMN chatcrypt.wire_messages.wire IS
	'An object with message_id, chat_id, sender, key_version, created_at and encrypted; then '
	'encrypted_payload and nonce in base64, or content; '
	'[client-keys.md](client-keys.md#the-form-of-a-message) explains each field.';

CREATE FUNCTION chatcrypt.wire_envelope(key_version integer, nonce bytea, payload bytea)
	RETURNS bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_wire_envelope';
COMMENT ON FUNCTION chatcrypt.wire_envelope(integer, bytea, bytea) IS
	'Returns the envelope for a nonce and a payload that secretbox made elsewhere. It does not '
	'check whether the envelope opens.';

CREATE FUNCTION chatcrypt.accept_wire_message(chat_id chatcrypt.any_id, wire jsonb)
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_accept_wire_message';
COMMENT ON FUNCTION chatcrypt.accept_wire_message(chatcrypt.any_id, jsonb) IS
	'Stores a message that a client sent, and returns its id. A message that the client '
	'encrypted is stored only if it opens. The object wire has the fields of the view '
	'wire_messages; [client-keys.md](client-keys.md#the-form-of-a-message) explains each field.';

CREATE FUNCTION chatcrypt.wire_message(chat_id chatcrypt.any_id, message_id chatcrypt.any_id)
	RETURNS jsonb LANGUAGE sql STRICT STABLE PARALLEL SAFE
	RETURN (SELECT w.wire FROM chatcrypt.wire_messages AS w
			WHERE w.chat_id = wire_message.chat_id::uuid
			AND w.message_id = wire_message.message_id::uuid);
COMMENT ON FUNCTION chatcrypt.wire_message(chatcrypt.any_id, chatcrypt.any_id) IS
	'Returns a message in the form in which clients get it, or NULL if there is no such message '
	'that the caller may see.';

-- Not STABLE: it writes the history of keys.
CREATE FUNCTION chatcrypt.conversation_key(chat_id chatcrypt.any_id, version integer DEFAULT NULL,
										   OUT key_version integer, OUT key bytea)
	RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_conversation_key';
COMMENT ON FUNCTION chatcrypt.conversation_key(chatcrypt.any_id, integer) IS
	'Returns the key of a chat of mode conversation_key for a client to hold: the active one, or '
	'the given version. The history of keys records that it was handed out.';

-- The default of version is 2, because version 1 is the key that the chat was created with.
CREATE FUNCTION chatcrypt.import_conversation_keys(chat_ids uuid[], master_key bytea,
												   salt bytea DEFAULT '',
												   info bytea DEFAULT '{uuid}',
												   uuid_encoding text DEFAULT 'text', version integer DEFAULT 2)
	RETURNS integer LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_import_conversation_keys';
COMMENT ON FUNCTION chatcrypt.import_conversation_keys(uuid[], bytea, bytea, bytea, text,
													   integer) IS
	'Imports the keys of many chats that another system derived from one master key with '
	'HKDF-SHA256, and returns how many. In info, {uuid} stands for the id of the chat, written '
	'as uuid_encoding says: text, hex or binary. version is the version of the imported keys: '
	'2, because version 1 is the key that create_chat() made.';
