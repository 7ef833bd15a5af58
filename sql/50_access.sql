-- Participants of chats, and the actor on whose behalf a transaction runs.

CREATE FUNCTION chatcrypt.act_as(actor text)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_act_as';
COMMENT ON FUNCTION chatcrypt.act_as(text) IS
	'Names the participant on whose behalf the transaction runs. Until it ends, only chats in '
	'which the actor takes part can be read and written; after a rollback to a savepoint that '
	'dropped the name, nothing can, until the actor is named again.';

CREATE FUNCTION chatcrypt.current_actor()
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_current_actor';
COMMENT ON FUNCTION chatcrypt.current_actor() IS
	'Returns the actor that act_as() named, or NULL if there is none.';

CREATE FUNCTION chatcrypt_internal.visible_chats(index regclass)
	RETURNS uuid[] LANGUAGE c STRICT STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_visible_chats';
COMMENT ON FUNCTION chatcrypt_internal.visible_chats(regclass) IS
	'In the plan of a query under an actor: which chats to look for in an index, before may_see() '
	'is asked of each row.';

CREATE FUNCTION chatcrypt_internal.may_see_support(internal)
	RETURNS internal LANGUAGE c STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_may_see_support';
COMMENT ON FUNCTION chatcrypt_internal.may_see_support(internal) IS
	'What the planner asks about may_see(): an index condition, and how many rows it lets through.';

CREATE FUNCTION chatcrypt.may_see(chat_id chatcrypt.any_id)
	RETURNS boolean LANGUAGE c STRICT STABLE PARALLEL SAFE SUPPORT chatcrypt_internal.may_see_support
	AS 'MODULE_PATHNAME', 'chatcrypt_may_see';
COMMENT ON FUNCTION chatcrypt.may_see(chatcrypt.any_id) IS
	'Returns whether the current actor takes part in a chat; row-level security asks it. True if '
	'there is no actor and none is required.';

ALTER TABLE chatcrypt.sealed_message ENABLE ROW LEVEL SECURITY;
CREATE POLICY participants ON chatcrypt.sealed_message
	USING (chatcrypt.may_see(chat_id)) WITH CHECK (chatcrypt.may_see(chat_id));
COMMENT ON POLICY participants ON chatcrypt.sealed_message IS
	'An actor sees and writes the messages of its own chats.';

ALTER TABLE chatcrypt.search_token ENABLE ROW LEVEL SECURITY;
CREATE POLICY participants ON chatcrypt.search_token
	USING (chatcrypt.may_see(chat_id)) WITH CHECK (chatcrypt.may_see(chat_id));
COMMENT ON POLICY participants ON chatcrypt.search_token IS
	'As on sealed_message, should anybody be given a right.';

CREATE FUNCTION chatcrypt_internal.try_tenant_keys() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_try_tenant_keys';
COMMENT ON FUNCTION chatcrypt_internal.try_tenant_keys() IS
	'Trigger: warns of KMS keys that tenants have got and that make no data key.';

CREATE TRIGGER try_keys AFTER UPDATE ON chatcrypt.tenant
	REFERENCING OLD TABLE AS before NEW TABLE AS after
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.try_tenant_keys();

CREATE FUNCTION chatcrypt.create_tenant(tenant text, kms_key text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_create_tenant';
COMMENT ON FUNCTION chatcrypt.create_tenant(text, text) IS
	'Creates a tenant: a group of chats with policies, and with a KMS key of its own if kms_key '
	'is given. Data keys of a tenant without one are wrapped with chatcrypt.default_kms_key.';

CREATE FUNCTION chatcrypt.add_participant(chat_id chatcrypt.any_id, participant text)
	RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_add_participant';
COMMENT ON FUNCTION chatcrypt.add_participant(chatcrypt.any_id, text) IS
	'Adds a participant to a chat. An actor may add anybody to a chat in which it takes part. '
	'Returns false if the participant already took part.';

CREATE FUNCTION chatcrypt.remove_participant(chat_id chatcrypt.any_id, participant text)
	RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_remove_participant';
COMMENT ON FUNCTION chatcrypt.remove_participant(chatcrypt.any_id, text) IS
	'Removes a participant from a chat, who loses access at once, and rotates the data key if '
	'the policy rotate_on_removal says so. An actor may remove itself, and others only where '
	'moderation of the chat is participants. Returns false if the participant did not take '
	'part.';

CREATE FUNCTION chatcrypt.set_participants(chat_id chatcrypt.any_id, participants text[])
	RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_set_participants';
COMMENT ON FUNCTION chatcrypt.set_participants(chatcrypt.any_id, text[]) IS
	'Makes the given list the participants of a chat, and returns how many were added or '
	'removed. An actor may do with it what add_participant() and remove_participant() let it '
	'do. The data key is rotated once if somebody is removed and the policy rotate_on_removal '
	'says so.';
