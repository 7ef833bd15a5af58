-- Verifying that the data keys still open.

CREATE FUNCTION chatcrypt.verify_keys(
	tenant text DEFAULT NULL, INOUT kms_key text DEFAULT NULL, max_keys bigint DEFAULT NULL,
	OUT chat_id uuid, OUT purpose text, OUT dek_version integer, OUT reason text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'chatcrypt_verify_keys';
COMMENT ON FUNCTION chatcrypt.verify_keys(text, text, bigint) IS
	'Unwraps every data key anew and compares it with its key check value; returns a row for each '
	'that is another key, does not unwrap, or could not be checked. With max_keys it checks a '
	'sample, which begins at another place each time.';
