-- Whose messages and files an actor may change: its own, and those of others if the chat allows it.

CREATE FUNCTION chatcrypt.may_change(chat_id chatcrypt.any_id, sender text)
	RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_may_change';
COMMENT ON FUNCTION chatcrypt.may_change(chatcrypt.any_id, text) IS
	'Returns whether the current actor may change and delete what this sender sent to the chat; '
	'row-level security asks it. True if there is no actor and none is required.';

-- The policies are restrictive, so that they apply in addition to the one that lets a row be seen.
-- They also call may_see(), because PostgreSQL checks restrictive policies first, and takes an
-- index condition from the policy that it checks first.
CREATE POLICY own_when_updated ON chatcrypt.sealed_message AS RESTRICTIVE FOR UPDATE
	USING (chatcrypt.may_see(chat_id) AND chatcrypt.may_change(chat_id, sender))
	WITH CHECK (chatcrypt.may_change(chat_id, sender));
COMMENT ON POLICY own_when_updated ON chatcrypt.sealed_message IS
	'An actor changes what it sent, or what the moderation of the chat lets it.';
CREATE POLICY own_when_deleted ON chatcrypt.sealed_message AS RESTRICTIVE FOR DELETE
	USING (chatcrypt.may_see(chat_id) AND chatcrypt.may_change(chat_id, sender));
COMMENT ON POLICY own_when_deleted ON chatcrypt.sealed_message IS
	'An actor deletes what it sent, or what the moderation of the chat lets it.';
