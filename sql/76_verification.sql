-- Does everything open that should?  Nothing that is read leaves the functions.

CREATE FUNCTION chatcrypt.check_envelope(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
										 aad bytea DEFAULT NULL)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 100
	AS 'MODULE_PATHNAME', 'chatcrypt_check_envelope';
COMMENT ON FUNCTION chatcrypt.check_envelope(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'What keeps an envelope from opening; NULL for nothing. Shows none of what it holds.';

CREATE FUNCTION chatcrypt.check_message(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, created_at timestamptz, sender text,
										envelope bytea)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 100
	AS 'MODULE_PATHNAME', 'chatcrypt_check_message';
COMMENT ON FUNCTION chatcrypt.check_message(chatcrypt.any_id, chatcrypt.any_id, timestamptz, text, bytea) IS
	'What keeps the envelope of a row of chatcrypt.message from opening; NULL for nothing. Shows '
	'none of what it holds.';

CREATE FUNCTION chatcrypt.verify_chat(
	chat_id chatcrypt.any_id, "limit" bigint DEFAULT 10000,
	OUT relation regclass, OUT message_id uuid, OUT dek_version integer, OUT reason text)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_verify_chat';
COMMENT ON FUNCTION chatcrypt.verify_chat(chatcrypt.any_id, bigint) IS
	'Opens everything that a chat has, in all registered tables, and lists what does not open, '
	'with the reason.';

CREATE TABLE chatcrypt.unopened (
	relation regclass NOT NULL,
	chat_id uuid,
	message_id uuid,
	dek_version integer,
	reason text NOT NULL,
	found_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chatcrypt.unopened IS 'What the last verify_all() could not open. Not dumped.';

CREATE PROCEDURE chatcrypt.verify_all(
	max_rate integer DEFAULT NULL, "limit" bigint DEFAULT 10000, INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_verify_all';
COMMENT ON PROCEDURE chatcrypt.verify_all(integer, bigint, bigint) IS
	'Opens everything in all registered tables, and lists what does not open in '
	'chatcrypt.unopened; says how many that were. With parallel workers, or at no more than '
	'max_rate megabytes of table a second. At most limit are listed of each table.';
