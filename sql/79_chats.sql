-- Chats with who takes part in them, as one reads and writes them by hand.

-- Last of the files about chats: it has all of their columns.
CREATE VIEW chatcrypt.chats WITH (security_invoker = true) AS
SELECT c.*,
	   ARRAY(SELECT p.participant FROM chatcrypt.participant AS p
			 WHERE p.chat_id = c.chat_id ORDER BY p.participant) AS participants
FROM chatcrypt.chat AS c;
COMMENT ON VIEW chatcrypt.chats IS
	'Chats, each with an array of its participants, in the order of their names: select, update and '
	'delete here. create_chat() makes one, because a chat needs a key.';
COMMENT ON COLUMN chatcrypt.chats.participants IS
	'An UPDATE adds and removes what it changes of the array.';

-- What an UPDATE does not change it leaves as it finds it, so that no other session's change is lost.
CREATE FUNCTION chatcrypt.write_chat() RETURNS trigger
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
COMMENT ON FUNCTION chatcrypt.write_chat() IS
	'Trigger: writes what is changed in the view chats.';

CREATE TRIGGER write_chat INSTEAD OF UPDATE ON chatcrypt.chats
	FOR EACH ROW EXECUTE FUNCTION chatcrypt.write_chat();

CREATE FUNCTION chatcrypt.refuse_chat() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_refuse_chat';
COMMENT ON FUNCTION chatcrypt.refuse_chat() IS
	'Trigger: refuses what is inserted into the view chats.';

CREATE TRIGGER refuse_chat INSTEAD OF INSERT ON chatcrypt.chats
	FOR EACH ROW EXECUTE FUNCTION chatcrypt.refuse_chat();

-- VOLATILE like all that runs statements of its own; it changes nothing.
CREATE FUNCTION chatcrypt.my_chats(since timestamptz DEFAULT '-infinity')
	RETURNS TABLE (chat_id uuid, participants text[], mode text, retention interval,
				   attachment_quota bigint, created_at timestamptz, last_message_at timestamptz,
				   messages_since bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_my_chats';
COMMENT ON FUNCTION chatcrypt.my_chats(timestamptz) IS
	'The chats of the current actor, the one with the newest message first: who takes part, the '
	'policies of the chat or its tenant, when the last message came, and how many came since a moment.';
