-- Files of chats, sealed in parts under the chat's data key.  No column holds the name, the content
-- type or the size of a file in the clear; but the number and the length of the sealed parts show
-- its size.

CREATE TABLE chatcrypt.sealed_attachment (
	file_id uuid CONSTRAINT sealed_attachment_pkey PRIMARY KEY,
	chat_id uuid NOT NULL REFERENCES chatcrypt.chat ON DELETE CASCADE,
	message_id uuid,
	sender text,
	encrypted_metadata bytea NOT NULL,
	dek_version integer NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	completed_at timestamptz,
	expires_at timestamptz,
	CONSTRAINT sealed_attachment_is_encrypted CHECK
		(dek_version = chatcrypt.dek_version(encrypted_metadata) AND get_byte(encrypted_metadata, 0) = 1)
);
ALTER TABLE chatcrypt.sealed_attachment ALTER COLUMN encrypted_metadata SET STORAGE EXTERNAL;
CREATE INDEX sealed_attachment_by_chat ON chatcrypt.sealed_attachment (chat_id);
CREATE INDEX sealed_attachment_of_message ON chatcrypt.sealed_attachment (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX sealed_attachment_expiring ON chatcrypt.sealed_attachment (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sealed_attachment_unfinished ON chatcrypt.sealed_attachment (created_at) WHERE completed_at IS NULL;
COMMENT ON TABLE chatcrypt.sealed_attachment IS
	'Attachments with their encrypted metadata. Read them through the view chatcrypt.attachments.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.file_id IS 'The id of the attachment.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.chat_id IS 'Its chat.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.sender IS 'The participant who stored it, or NULL.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.dek_version IS
	'The version of the data key that encrypts the metadata.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.created_at IS 'When its upload began.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.expires_at IS
	'When apply_retention() deletes it; NULL for never.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.encrypted_metadata IS
	'Its name, content type and sizes, encrypted.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.message_id IS
	'The message that the attachment belongs to and is deleted with, or NULL. It stays when an '
	'actor deletes the message who may not delete the attachment.';
COMMENT ON COLUMN chatcrypt.sealed_attachment.completed_at IS
	'When its upload ended; NULL while it is being uploaded and cannot be read.';

CREATE TABLE chatcrypt.sealed_attachment_part (
	file_id uuid NOT NULL REFERENCES chatcrypt.sealed_attachment ON DELETE CASCADE,
	part integer NOT NULL CHECK (part >= 0),
	chat_id uuid NOT NULL,
	last boolean NOT NULL,
	sealed bytea NOT NULL CONSTRAINT sealed_attachment_part_is_encrypted CHECK
		(octet_length(sealed) >= 77 AND get_byte(substr(sealed, 1, 1), 0) = 2),
	stored_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT sealed_attachment_part_pkey PRIMARY KEY (file_id, part)
);
ALTER TABLE chatcrypt.sealed_attachment_part ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX sealed_attachment_part_by_chat ON chatcrypt.sealed_attachment_part (chat_id);
COMMENT ON TABLE chatcrypt.sealed_attachment_part IS
	'The encrypted content of attachments, in parts from 0. Read it with '
	'chatcrypt.read_attachment().';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.file_id IS 'The attachment.';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.part IS 'The number of the part, from 0.';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.chat_id IS 'Its chat.';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.sealed IS 'The encrypted bytes.';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.stored_at IS 'When it was stored.';
COMMENT ON COLUMN chatcrypt.sealed_attachment_part.last IS
	'Whether it was encrypted as the last part of its attachment.';

SELECT pg_extension_config_dump('chatcrypt.sealed_attachment', '');
SELECT pg_extension_config_dump('chatcrypt.sealed_attachment_part', '');

ALTER TABLE chatcrypt.sealed_attachment ENABLE ROW LEVEL SECURITY;
CREATE POLICY participants ON chatcrypt.sealed_attachment
	USING (chatcrypt.may_see(chat_id)) WITH CHECK (chatcrypt.may_see(chat_id));
COMMENT ON POLICY participants ON chatcrypt.sealed_attachment IS
	'An actor sees the files of its own chats.';
ALTER TABLE chatcrypt.sealed_attachment_part ENABLE ROW LEVEL SECURITY;
CREATE POLICY participants ON chatcrypt.sealed_attachment_part
	USING (chatcrypt.may_see(chat_id)) WITH CHECK (chatcrypt.may_see(chat_id));
COMMENT ON POLICY participants ON chatcrypt.sealed_attachment_part IS
	'An actor sees the files of its own chats.';

-- The files of a message are deleted with it.  One statement deletes the files of all messages that
-- another one deletes.
CREATE FUNCTION chatcrypt_internal.delete_attachments_of_messages() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_delete_attachments_of_messages';
COMMENT ON FUNCTION chatcrypt_internal.delete_attachments_of_messages() IS
	'Trigger: deletes the files of messages that were deleted.';
CREATE TRIGGER delete_attachments AFTER DELETE ON chatcrypt.sealed_message
	REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.delete_attachments_of_messages();

CREATE FUNCTION chatcrypt.put_attachment(
	chat_id chatcrypt.any_id, file_id chatcrypt.any_id, content bytea, name text DEFAULT NULL,
	content_type text DEFAULT NULL,
	message_id chatcrypt.any_id DEFAULT NULL, sender text DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
	part_size integer DEFAULT 1048576)
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_put_attachment';
COMMENT ON FUNCTION chatcrypt.put_attachment(chatcrypt.any_id, chatcrypt.any_id, bytea, text, text, chatcrypt.any_id, text, timestamptz, integer) IS
	'Stores an attachment in one call, and returns its id: a new one if file_id is NULL. It is '
	'stored in parts of part_size bytes, 1024 to 16777216, of which the last may be shorter. An '
	'attachment that names a message_id is deleted with that message.';

CREATE FUNCTION chatcrypt.begin_attachment(
	chat_id chatcrypt.any_id, file_id chatcrypt.any_id DEFAULT NULL, name text DEFAULT NULL, content_type text DEFAULT NULL,
	message_id chatcrypt.any_id DEFAULT NULL, sender text DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
	part_size integer DEFAULT 1048576)
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_begin_attachment';
COMMENT ON FUNCTION chatcrypt.begin_attachment(chatcrypt.any_id, chatcrypt.any_id, text, text, chatcrypt.any_id, text, timestamptz, integer) IS
	'Begins the upload of an attachment in parts, and returns its id: a new one if file_id is '
	'NULL. Each part but the last holds part_size bytes, 1024 to 16777216.';

CREATE FUNCTION chatcrypt.put_attachment_part(file_id chatcrypt.any_id, part integer, content bytea,
											  last boolean DEFAULT false)
	RETURNS void LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_put_attachment_part';
COMMENT ON FUNCTION chatcrypt.put_attachment_part(chatcrypt.any_id, integer, bytea, boolean) IS
	'Stores one part of an attachment that is being uploaded. Parts are numbered from 0, a part '
	'that is sent again replaces the one before, and last is true for the part that ends the '
	'file, which may be shorter.';

CREATE FUNCTION chatcrypt.finish_attachment(file_id chatcrypt.any_id)
	RETURNS bigint LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_finish_attachment';
COMMENT ON FUNCTION chatcrypt.finish_attachment(chatcrypt.any_id) IS
	'Ends an upload once all of its parts are there, and makes the attachment readable. Returns '
	'its size.';

CREATE FUNCTION chatcrypt.attachment_progress(file_id chatcrypt.any_id, OUT part integer, OUT size integer,
											  OUT last boolean)
	RETURNS SETOF record LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE ROWS 100
	AS 'MODULE_PATHNAME', 'chatcrypt_attachment_progress';
COMMENT ON FUNCTION chatcrypt.attachment_progress(chatcrypt.any_id) IS
	'Lists the parts of an attachment that are stored, which an interrupted upload need not send '
	'again.';

CREATE FUNCTION chatcrypt.delete_attachment(file_id chatcrypt.any_id)
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_delete_attachment';
COMMENT ON FUNCTION chatcrypt.delete_attachment(chatcrypt.any_id) IS
	'Deletes an attachment, or an unfinished upload. Returns false if there is none.';

CREATE FUNCTION chatcrypt.read_attachment(file_id chatcrypt.any_id, first_byte bigint DEFAULT 0,
										  max_bytes integer DEFAULT NULL)
	RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_read_attachment';
COMMENT ON FUNCTION chatcrypt.read_attachment(chatcrypt.any_id, bigint, integer) IS
	'Returns the bytes of an attachment from first_byte on, which counts from 0: to its end, or '
	'at most max_bytes. Only the chunks that are needed are decrypted.';

CREATE FUNCTION chatcrypt.read_attachment_part(file_id chatcrypt.any_id, part integer)
	RETURNS bytea LANGUAGE c STRICT STABLE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_read_attachment_part';
COMMENT ON FUNCTION chatcrypt.read_attachment_part(chatcrypt.any_id, integer) IS
	'Returns one part of an attachment, counted from 0, or NULL past its end.';

CREATE FUNCTION chatcrypt_internal.attachment_metadata(
	chat_id uuid, file_id uuid, encrypted_metadata bytea,
	OUT name text, OUT content_type text, OUT size bigint, OUT part_size integer, OUT parts integer)
	RETURNS record LANGUAGE c STRICT STABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'chatcrypt_attachment_metadata';
COMMENT ON FUNCTION chatcrypt_internal.attachment_metadata(uuid, uuid, bytea) IS
	'Returns what the view attachments shows of an attachment. chatcrypt.on_decrypt_error says '
	'what is shown for one that does not open.';

CREATE VIEW chatcrypt.attachments WITH (security_invoker = true) AS
SELECT a.file_id,
	   a.chat_id,
	   a.message_id,
	   a.sender,
	   m.name,
	   m.content_type,
	   m.size,
	   m.part_size,
	   m.parts,
	   a.dek_version,
	   a.created_at,
	   a.completed_at,
	   a.expires_at
FROM chatcrypt.sealed_attachment AS a, chatcrypt_internal.attachment_metadata(a.chat_id, a.file_id, a.encrypted_metadata) AS m
WHERE a.completed_at IS NOT NULL AND (a.expires_at IS NULL OR a.expires_at > now());
COMMENT ON VIEW chatcrypt.attachments IS
	'Attachments that are complete, with their names, content types and sizes.';
COMMENT ON COLUMN chatcrypt.attachments.file_id IS 'The id of the attachment.';
COMMENT ON COLUMN chatcrypt.attachments.chat_id IS 'Its chat.';
COMMENT ON COLUMN chatcrypt.attachments.sender IS 'The participant who stored it, or NULL.';
COMMENT ON COLUMN chatcrypt.attachments.dek_version IS
	'The version of the data key that encrypts the metadata.';
COMMENT ON COLUMN chatcrypt.attachments.created_at IS 'When its upload began.';
COMMENT ON COLUMN chatcrypt.attachments.completed_at IS 'When its upload ended.';
COMMENT ON COLUMN chatcrypt.attachments.expires_at IS
	'When apply_retention() deletes it; NULL for never.';
COMMENT ON COLUMN chatcrypt.attachments.message_id IS
	'The message that the attachment belongs to and is deleted with, or NULL. It stays when an '
	'actor deletes the message who may not delete the attachment.';
COMMENT ON COLUMN chatcrypt.attachments.name IS 'Its name, decrypted.';
COMMENT ON COLUMN chatcrypt.attachments.content_type IS 'Its content type, decrypted.';
COMMENT ON COLUMN chatcrypt.attachments.size IS 'Its size in bytes.';
COMMENT ON COLUMN chatcrypt.attachments.part_size IS 'The size of each part but the last.';
COMMENT ON COLUMN chatcrypt.attachments.parts IS 'The number of its parts.';

CREATE FUNCTION chatcrypt.ensure_attachment_key(chat_id chatcrypt.any_id)
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_ensure_attachment_key';
COMMENT ON FUNCTION chatcrypt.ensure_attachment_key(chatcrypt.any_id) IS
	'Creates the data key that attachments of a chat of mode conversation_key are encrypted with, '
	'which storing an attachment also does by itself. Returns false if the chat has one.';

CREATE FUNCTION chatcrypt.encrypt_attachment(chat_id chatcrypt.any_id, file_id chatcrypt.any_id, content bytea,
											 part integer DEFAULT 0,
											 last boolean DEFAULT true, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_encrypt_attachment';
COMMENT ON FUNCTION chatcrypt.encrypt_attachment(chatcrypt.any_id, chatcrypt.any_id, bytea, integer, boolean, bytea) IS
	'Encrypts a file that is kept elsewhere, or one part of it. The number of the part, and '
	'whether it is the last, are bound into the result.';

CREATE FUNCTION chatcrypt.decrypt_attachment(chat_id chatcrypt.any_id, file_id chatcrypt.any_id, sealed bytea,
											 part integer DEFAULT 0,
											 last boolean DEFAULT true, aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 200
	AS 'MODULE_PATHNAME', 'chatcrypt_decrypt_attachment';
COMMENT ON FUNCTION chatcrypt.decrypt_attachment(chatcrypt.any_id, chatcrypt.any_id, bytea, integer, boolean, bytea) IS
	'Decrypts a file that is kept elsewhere, or one part of it. All arguments but the bytes must '
	'be those that it was encrypted with.';
