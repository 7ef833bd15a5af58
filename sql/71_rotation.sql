-- New keys for chats whose key has been in use for long enough.

CREATE FUNCTION chatcrypt.due_for_rotation(
	max_age interval DEFAULT NULL, max_messages bigint DEFAULT NULL, max_chats bigint DEFAULT NULL,
	OUT chat_id uuid, OUT tenant text, OUT dek_version integer, OUT reason text,
	OUT valid_from timestamptz, OUT messages bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'chatcrypt_due_for_rotation';
COMMENT ON FUNCTION chatcrypt.due_for_rotation(interval, bigint, bigint) IS
	'Lists the chats whose data key must be rotated, because of its age or the number of messages '
	'since it became active. max_age and max_messages take the place of the policies of chat and '
	'tenant; messages are counted only if there is such a limit, and only up to it.';

CREATE PROCEDURE chatcrypt.rotate_due(
	max_age interval DEFAULT NULL, max_messages bigint DEFAULT NULL, max_chats bigint DEFAULT NULL,
	INOUT rotated bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_rotate_due';
COMMENT ON PROCEDURE chatcrypt.rotate_due(interval, bigint, bigint, bigint, bigint) IS
	'Rotates the data keys that due_for_rotation() lists, each chat in a transaction of its own. '
	'Returns how many were rotated, and how many failed.';
