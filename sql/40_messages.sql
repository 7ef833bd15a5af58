-- The view that applications read and write.

CREATE FUNCTION chatcrypt.row_aad(created_at timestamptz, sender text)
	RETURNS bytea LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_row_aad_of';
COMMENT ON FUNCTION chatcrypt.row_aad(timestamptz, text) IS
	'Returns the additional data that the view messages binds into an envelope for this time and '
	'sender (NULL for none). Use it to open rows of the table chatcrypt.sealed_message yourself.';

CREATE FUNCTION chatcrypt_internal.message_body(chat_id uuid, message_id uuid, created_at timestamptz, sender text,
									   envelope bytea)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_message_body';
COMMENT ON FUNCTION chatcrypt_internal.message_body(uuid, uuid, timestamptz, text, bytea) IS
	'Returns the body that the view messages shows. chatcrypt.on_decrypt_error says what is shown '
	'for a message that does not open.';

-- This view has no security_barrier.  A barrier would only hide expired messages that are not
-- deleted yet, and only from readers, who may read the table and call decrypt() anyway.  And it
-- would slow down every page of a chat: behind a barrier the planner cannot use the order of an
-- index, and so decrypts the whole chat to show its last 50 messages.  A policy of the table
-- controls who sees which chat, and is checked before any condition of a query, with or without a
-- barrier.
CREATE VIEW chatcrypt.messages WITH (security_invoker = true) AS
SELECT message_id,
	   chat_id,
	   sender,
	   chatcrypt_internal.message_body(chat_id, message_id, created_at, sender, encrypted_message) AS body,
	   dek_version,
	   created_at,
	   expires_at,
	   chatcrypt.number_of(chat_id) AS chat_number,
	   chatcrypt.number_of(message_id) AS message_number
FROM chatcrypt.sealed_message
WHERE expires_at IS NULL OR expires_at > now();
COMMENT ON VIEW chatcrypt.messages IS
	'Messages with their plaintext bodies. Select, insert, update and delete messages here.';
COMMENT ON COLUMN chatcrypt.messages.message_id IS
	'The id of the message: a new UUIDv7 if an INSERT gives none.';
COMMENT ON COLUMN chatcrypt.messages.chat_id IS 'The chat of the message.';
COMMENT ON COLUMN chatcrypt.messages.sender IS
	'The participant who sent it: the current actor if an INSERT gives none.';
COMMENT ON COLUMN chatcrypt.messages.dek_version IS
	'The version of the data key that encrypts the body; set by the server.';
COMMENT ON COLUMN chatcrypt.messages.created_at IS
	'When it was sent: now if an INSERT gives none or there is an actor.';
COMMENT ON COLUMN chatcrypt.messages.expires_at IS
	'When apply_retention() deletes it; NULL for never. An INSERT that gives none takes '
	'default_expiry().';
COMMENT ON COLUMN chatcrypt.messages.body IS
	'The plaintext. It exists only here, never in the table.';
COMMENT ON COLUMN chatcrypt.messages.chat_number IS
	'The bigint id that chat_id stands for, or NULL. Not written; conditions on it use the index '
	'of chat_id.';
COMMENT ON COLUMN chatcrypt.messages.message_number IS
	'The bigint id that message_id stands for, or NULL.';
ALTER VIEW chatcrypt.messages ALTER COLUMN message_id SET DEFAULT chatcrypt.new_message_id();
ALTER VIEW chatcrypt.messages ALTER COLUMN created_at SET DEFAULT now();

CREATE FUNCTION chatcrypt_internal.write_message() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_write_message';
COMMENT ON FUNCTION chatcrypt_internal.write_message() IS
	'Trigger: encrypts what is written to the view messages.';

-- There is no trigger for DELETE: the view deletes by itself, even a row that cannot be decrypted.
CREATE TRIGGER write_message INSTEAD OF INSERT OR UPDATE ON chatcrypt.messages
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.write_message();

CREATE FUNCTION chatcrypt.default_expiry(chat_id chatcrypt.any_id, created_at timestamptz DEFAULT now())
	RETURNS timestamptz LANGUAGE c STRICT STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_default_expiry';
COMMENT ON FUNCTION chatcrypt.default_expiry(chatcrypt.any_id, timestamptz) IS
	'Returns when a message of the chat expires if it is given no expires_at: by the retention of '
	'the chat, or else of its tenant. NULL means never.';

CREATE FUNCTION chatcrypt.put_message(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, body text,
									  sender text DEFAULT NULL,
									  created_at timestamptz DEFAULT now(),
									  expires_at timestamptz DEFAULT NULL)
	RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_put_message';
COMMENT ON FUNCTION chatcrypt.put_message(chatcrypt.any_id, chatcrypt.any_id, text, text, timestamptz, timestamptz) IS
	'Inserts a message, or replaces the body of the message that has this id in the same chat. '
	'A message that exists keeps its sender, created_at and expires_at. Returns true, or NULL '
	'if the id belongs to a message of another chat, which stays as it is. Under an actor, '
	'leave sender out: it is the actor, and created_at is now.';

CREATE FUNCTION chatcrypt.put_messages(chat_ids chatcrypt.any_id[], message_ids chatcrypt.any_id[], bodies text[],
									   senders text[] DEFAULT NULL,
									   created_ats timestamptz[] DEFAULT NULL,
									   expires_ats timestamptz[] DEFAULT NULL,
									   on_duplicate text DEFAULT 'replace',
									   OUT inserted bigint, OUT replaced bigint,
									   OUT ignored bigint, OUT refused bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_put_messages';
COMMENT ON FUNCTION chatcrypt.put_messages(chatcrypt.any_id[], chatcrypt.any_id[], text[], text[], timestamptz[], timestamptz[], text) IS
	'Inserts many messages, one for each element of the arrays, and returns how many were '
	'inserted, replaced, ignored and refused. A message that its chat already has gets the new '
	'body with on_duplicate replace, and stays as it is with ignore; a message whose id another '
	'chat has is refused.';
