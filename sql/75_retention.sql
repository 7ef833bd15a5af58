-- Deleting expired messages, and deleting chats and the messages of a participant on request.

CREATE INDEX sealed_message_expiring ON chatcrypt.sealed_message (expires_at) WHERE expires_at IS NOT NULL;

-- Sessions remember the policies of tenants, as they do those of chats:
-- src/pg/messages/retention.c.
CREATE TRIGGER invalidate BEFORE UPDATE OR DELETE ON chatcrypt.tenant
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.invalidate();
ALTER TABLE chatcrypt.tenant ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.tenant ENABLE ALWAYS TRIGGER invalidate_all;

CREATE PROCEDURE chatcrypt.apply_retention(
	max_rows bigint DEFAULT NULL, batch integer DEFAULT 1000, INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_apply_retention';
COMMENT ON PROCEDURE chatcrypt.apply_retention(bigint, integer, bigint) IS
	'Deletes messages and attachments whose expires_at has passed, and uploads that got no part '
	'for chatcrypt.attachment_upload_time, in batches that commit. Returns how many were deleted.';

CREATE PROCEDURE chatcrypt.delete_chat(
	chat_id chatcrypt.any_id, confirm text DEFAULT NULL, batch integer DEFAULT 1000,
	INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_delete_chat';
COMMENT ON PROCEDURE chatcrypt.delete_chat(chatcrypt.any_id, text, integer, bigint) IS
	'Destroys all keys of a chat, then deletes its attachments and messages in batches that '
	'commit, and at last the chat itself; confirm must be irreversible. Returns how many messages '
	'were deleted; the history of its keys stays.';

CREATE PROCEDURE chatcrypt.delete_messages_of(
	participant text, chat_id chatcrypt.any_id DEFAULT NULL, INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_delete_messages_of';
COMMENT ON PROCEDURE chatcrypt.delete_messages_of(text, chatcrypt.any_id, bigint) IS
	'Deletes the messages and attachments that a participant has sent, in one chat or in all '
	'chats, in batches that commit. Returns how many were deleted.';
