-- Wrapping data keys anew, with the newest version of their KMS key or with another KMS key.

CREATE PROCEDURE chatcrypt.rewrap(
	tenant text DEFAULT NULL, chat_id chatcrypt.any_id DEFAULT NULL, kms_key text DEFAULT NULL,
	max_keys bigint DEFAULT NULL,
	INOUT rewrapped bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_rewrap';
COMMENT ON PROCEDURE chatcrypt.rewrap(text, chatcrypt.any_id, text, bigint, bigint, bigint) IS
	'Has the KMS wrap data keys again with the newest version of their KMS key: those of a '
	'tenant, of a chat, of a KMS key, or all. Returns how many were re-wrapped and how many '
	'failed; a data key keeps its old wrapping until the new one has been opened and checked.';

CREATE PROCEDURE chatcrypt.move_kms_key(
	from_kms_key text, to_kms_key text, max_keys bigint DEFAULT NULL,
	INOUT moved bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_move_kms_key';
COMMENT ON PROCEDURE chatcrypt.move_kms_key(text, text, bigint, bigint, bigint) IS
	'Moves tenants and data keys from one KMS key to another, of the same or another provider. '
	'Returns how many data keys were moved and how many failed; a data key keeps its old wrapping '
	'until the new one has been opened and checked.';

CREATE FUNCTION chatcrypt.kms_key_usage(OUT kms_key text, OUT key_version bigint,
										OUT data_keys bigint, OUT active bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'chatcrypt_kms_key_usage';
COMMENT ON FUNCTION chatcrypt.kms_key_usage() IS
	'Counts the data keys that each version of each KMS key wraps. A version that is not listed '
	'is not needed by this database any more.';
