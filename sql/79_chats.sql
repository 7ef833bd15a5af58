-- Chats with their participants, in a form that is convenient to read and write by hand.

-- This comes after the other files about chats, because the view has all of their columns.
CREATE VIEW chatcrypt.chats WITH (security_invoker = true) AS
SELECT c.*,
	   ARRAY(SELECT p.participant FROM chatcrypt.participant AS p
			 WHERE p.chat_id = c.chat_id ORDER BY p.participant) AS participants
FROM chatcrypt.chat AS c;
COMMENT ON VIEW chatcrypt.chats IS
	'Chats, each with an array of its participants in the order of their names. Select, update '
	'and delete chats here; create_chat() makes one, because a chat needs a key.';
COMMENT ON COLUMN chatcrypt.chats.rotate_after IS
	'The age at which a data key is due for rotation, or NULL for the policy of the tenant.';
COMMENT ON COLUMN chatcrypt.chats.rotate_messages IS
	'The number of messages after which a data key is due for rotation, or NULL for the policy of '
	'the tenant.';
COMMENT ON COLUMN chatcrypt.chats.rotate_on_removal IS
	'Whether the data key is rotated when a participant is removed; NULL for the policy of the '
	'tenant.';
COMMENT ON COLUMN chatcrypt.chats.retention IS
	'How long after created_at a message expires, or NULL for the policy of the tenant. Applies to '
	'messages written from now on.';
COMMENT ON COLUMN chatcrypt.chats.reencrypt_after IS
	'How long after a data key was replaced reencrypt_due() moves what it encrypted, or NULL for '
	'the policy of the tenant.';
COMMENT ON COLUMN chatcrypt.chats.attachment_quota IS
	'How many bytes the stored attachments of the chat may take, or NULL for the policy of the '
	'tenant.';
COMMENT ON COLUMN chatcrypt.chats.created_at IS 'When the chat was created.';
COMMENT ON COLUMN chatcrypt.chats.updated_at IS 'When the row was last changed.';
COMMENT ON COLUMN chatcrypt.chats.chat_id IS 'The id of the chat.';
COMMENT ON COLUMN chatcrypt.chats.tenant IS 'Its tenant.';
COMMENT ON COLUMN chatcrypt.chats.mode IS
	'managed: the server encrypts. conversation_key: the server encrypts with a key that clients '
	'may hold. e2ee: the clients encrypt, and plaintext is refused.';
COMMENT ON COLUMN chatcrypt.chats.external_envelopes IS
	'Whether envelopes of this chat may exist outside of this database. While it is true, no key '
	'of the chat is purged.';
COMMENT ON COLUMN chatcrypt.chats.moderation IS
	'own: an actor changes and deletes only what it sent, and removes only itself from the chat. '
	'participants: every participant may do so for all.';
COMMENT ON COLUMN chatcrypt.chats.participants IS
	'Its participants. An UPDATE adds and removes those in which the new array differs.';

-- Columns that an UPDATE does not change are not written, so that no other session's change is
-- lost.
CREATE FUNCTION chatcrypt_internal.write_chat() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	changes text;
BEGIN
	SELECT string_agg(format('%1$I = ($1).%1$I', n.key), ', ') INTO changes
	FROM jsonb_each(to_jsonb(new) - 'participants') AS n
	WHERE n.value IS DISTINCT FROM to_jsonb(old) -> n.key;
	IF changes IS NOT NULL THEN
		EXECUTE format('UPDATE chatcrypt.chat SET %s WHERE chat_id = $2', changes) USING new, old.chat_id;
	END IF;
	IF new.participants IS DISTINCT FROM old.participants THEN
		PERFORM chatcrypt.add_participant(new.chat_id, added)
		FROM (SELECT unnest(new.participants) EXCEPT SELECT unnest(old.participants) ORDER BY 1) AS n (added);
		PERFORM chatcrypt.remove_participant(new.chat_id, removed)
		FROM (SELECT unnest(old.participants) EXCEPT SELECT unnest(new.participants) ORDER BY 1) AS n (removed);
	END IF;
	SELECT * INTO new FROM chatcrypt.chats WHERE chat_id = new.chat_id;	-- as RETURNING shows it
	RETURN new;
END
$$;
COMMENT ON FUNCTION chatcrypt_internal.write_chat() IS
	'Trigger: writes what is changed in the view chats.';

CREATE TRIGGER write_chat INSTEAD OF UPDATE ON chatcrypt.chats
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.write_chat();

CREATE FUNCTION chatcrypt_internal.refuse_chat() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_refuse_chat';
COMMENT ON FUNCTION chatcrypt_internal.refuse_chat() IS
	'Trigger: refuses what is inserted into the view chats.';

CREATE TRIGGER refuse_chat INSTEAD OF INSERT ON chatcrypt.chats
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.refuse_chat();

-- VOLATILE, as all functions that run statements of their own; it changes nothing.
CREATE FUNCTION chatcrypt.my_chats(since timestamptz DEFAULT '-infinity')
	RETURNS TABLE (chat_id uuid, participants text[], mode text, retention interval,
				   attachment_quota bigint, created_at timestamptz, last_message_at timestamptz,
				   messages_since bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_my_chats';
COMMENT ON FUNCTION chatcrypt.my_chats(timestamptz) IS
	'Returns the chats of the current actor, the one with the newest message first: their '
	'participants, the policies of the chat or else of its tenant, the time of the last message, '
	'and the number of messages since the given moment.';
