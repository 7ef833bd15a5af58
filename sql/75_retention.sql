-- Messages that have served their time, and messages that somebody wants gone.

CREATE INDEX message_expiring ON chatcrypt.message (expires_at) WHERE expires_at IS NOT NULL;

-- Sessions remember policies of tenants as they do those of chats: src/pg/messages/retention.c.
CREATE TRIGGER invalidate BEFORE UPDATE OR DELETE ON chatcrypt.tenant
	FOR EACH ROW EXECUTE FUNCTION chatcrypt.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt.invalidate();
ALTER TABLE chatcrypt.tenant ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.tenant ENABLE ALWAYS TRIGGER invalidate_all;

CREATE PROCEDURE chatcrypt.apply_retention(
	"limit" bigint DEFAULT NULL, batch integer DEFAULT 1000, INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_apply_retention';
COMMENT ON PROCEDURE chatcrypt.apply_retention(bigint, integer, bigint) IS
	'Deletes messages and files whose expires_at has passed, and uploads of which nothing has come '
	'for chatcrypt.attachment_upload_time, each batch in a transaction of its own; says how many.';

CREATE PROCEDURE chatcrypt.delete_chat(
	chat_id chatcrypt.any_id, confirm text DEFAULT NULL, batch integer DEFAULT 1000,
	INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_delete_chat';
COMMENT ON PROCEDURE chatcrypt.delete_chat(chatcrypt.any_id, text, integer, bigint) IS
	'Destroys all keys of a chat, then deletes its files and messages in batches and at last the '
	'chat itself: confirm => ''irreversible''. Says how many messages. Its history stays.';

CREATE PROCEDURE chatcrypt.delete_messages_of(
	participant text, chat_id chatcrypt.any_id DEFAULT NULL, INOUT deleted bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_delete_messages_of';
COMMENT ON PROCEDURE chatcrypt.delete_messages_of(text, chatcrypt.any_id, bigint) IS
	'Deletes what a participant has sent, messages and files, in one chat or in all of them, in '
	'batches; says how many.';
