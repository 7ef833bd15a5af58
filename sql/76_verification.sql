-- Verifying that everything opens that should.  The functions return no plaintext.

CREATE FUNCTION chatcrypt.check_envelope(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
										 aad bytea DEFAULT NULL)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 100
	AS 'MODULE_PATHNAME', 'chatcrypt_check_envelope';
COMMENT ON FUNCTION chatcrypt.check_envelope(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Returns the reason why an envelope does not open, or NULL if it opens. It shows nothing of '
	'the content.';

CREATE FUNCTION chatcrypt.check_message(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, created_at timestamptz, sender text,
										envelope bytea)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 100
	AS 'MODULE_PATHNAME', 'chatcrypt_check_message';
COMMENT ON FUNCTION chatcrypt.check_message(chatcrypt.any_id, chatcrypt.any_id, timestamptz, text, bytea) IS
	'Returns the reason why a row of chatcrypt.sealed_message does not open, or NULL if it opens. It '
	'shows nothing of the content.';

CREATE TABLE chatcrypt.verification_finding (
	relation regclass NOT NULL,
	chat_id uuid,
	message_id uuid,
	dek_version integer,
	reason text NOT NULL,
	found_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chatcrypt.verification_finding IS
	'The envelopes that the last verify_all() could not open. A dump does not include it.';
COMMENT ON COLUMN chatcrypt.verification_finding.relation IS 'The table.';
COMMENT ON COLUMN chatcrypt.verification_finding.chat_id IS 'The chat.';
COMMENT ON COLUMN chatcrypt.verification_finding.message_id IS 'The message or attachment.';
COMMENT ON COLUMN chatcrypt.verification_finding.dek_version IS
	'The version of the data key that the envelope names.';
COMMENT ON COLUMN chatcrypt.verification_finding.reason IS 'Why it does not open.';
COMMENT ON COLUMN chatcrypt.verification_finding.found_at IS 'When that was found.';

CREATE FUNCTION chatcrypt.verify_chat(chat_id chatcrypt.any_id, max_findings bigint DEFAULT 10000)
	RETURNS SETOF chatcrypt.verification_finding LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_verify_chat';
COMMENT ON FUNCTION chatcrypt.verify_chat(chatcrypt.any_id, bigint) IS
	'Opens every envelope of a chat, in all registered tables, and returns a row for each that does '
	'not open, with the reason, as verify_all() would list it: at most max_findings rows.';

CREATE PROCEDURE chatcrypt.verify_all(
	max_rate integer DEFAULT NULL, max_findings bigint DEFAULT 10000, INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_verify_all';
COMMENT ON PROCEDURE chatcrypt.verify_all(integer, bigint, bigint) IS
	'Opens every envelope in all registered tables, lists those that do not open in '
	'chatcrypt.verification_finding, and returns how many they are. It uses parallel workers, or '
	'reads no more than max_rate megabytes of table a second; no more than max_findings rows of '
	'each table are listed.';
