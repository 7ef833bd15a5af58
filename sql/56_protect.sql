-- Columns of an application's own tables, encrypted in place: src/pg/protect.

-- The handler is in the library chatcrypt_guard, which raises an ERROR, and not FATAL, if the main
-- library is not loaded.
CREATE FUNCTION chatcrypt_internal.table_am_handler(internal) RETURNS table_am_handler
	LANGUAGE c STRICT AS '$libdir/chatcrypt_guard', 'chatcrypt_guard_table_am';
COMMENT ON FUNCTION chatcrypt_internal.table_am_handler(internal) IS
	'Handler of the access method chatcrypt.';

CREATE ACCESS METHOD chatcrypt TYPE TABLE HANDLER chatcrypt_internal.table_am_handler;
COMMENT ON ACCESS METHOD chatcrypt IS
	'The heap, with columns whose values are stored sealed. chatcrypt.protect() sets it for a '
	'table.';

CREATE FUNCTION chatcrypt.protect("table" regclass, "column" name, chat name, message name)
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_protect';
COMMENT ON FUNCTION chatcrypt.protect(regclass, name, name, name) IS
	'Protects a column of a table: all new values of the column are stored sealed, and '
	'protect_rows() seals the existing ones. Returns the id of the registration.';

CREATE PROCEDURE chatcrypt.protect_rows(
	"table" regclass, batch integer DEFAULT 1000, rows_per_second integer DEFAULT NULL,
	max_wait interval DEFAULT '30 seconds', INOUT changed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_protect_rows';
COMMENT ON PROCEDURE chatcrypt.protect_rows(regclass, integer, integer, interval, bigint) IS
	'Seals the rows of a table after protect(), or opens them after unprotect(), each batch in a '
	'transaction of its own. Returns how many rows were changed. It can be stopped and called '
	'again.';

CREATE FUNCTION chatcrypt.unprotect("table" regclass, "column" name)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_unprotect';
COMMENT ON FUNCTION chatcrypt.unprotect(regclass, name) IS
	'Begins to remove the protection of a column: all new values of the column are stored in '
	'plaintext, and protect_rows() opens the existing ones.';

CREATE VIEW chatcrypt.protected WITH (security_invoker = true) AS
	SELECT c.oid::regclass AS relation, a.attname AS column_name,
		   (SELECT h.attname
			FROM pg_catalog.pg_seclabel AS s
			JOIN pg_catalog.pg_attribute AS h
			  ON h.attrelid = s.objoid AND h.attnum = s.objsubid
			WHERE s.objoid = l.objoid AND s.classoid = l.classoid
			  AND s.provider = 'chatcrypt' AND s.label = 'chat') AS chat_column,
		   (SELECT h.attname
			FROM pg_catalog.pg_seclabel AS s
			JOIN pg_catalog.pg_attribute AS h
			  ON h.attrelid = s.objoid AND h.attnum = s.objsubid
			WHERE s.objoid = l.objoid AND s.classoid = l.classoid
			  AND s.provider = 'chatcrypt' AND s.label = 'message') AS message_column,
		   CASE
			   WHEN l.label ~ ' mixed( |$)' THEN 'mixed'
			   WHEN l.label ~ ' opening( |$)' THEN 'opening'
			   ELSE 'sealed'
		   END AS state,
		   split_part(l.label, ' ', 2)::uuid AS registry_id
	FROM pg_catalog.pg_seclabel AS l
	JOIN pg_catalog.pg_class AS c ON c.oid = l.objoid
	JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = l.objsubid
	WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
	  AND l.provider = 'chatcrypt' AND l.label LIKE 'sealed %';
COMMENT ON VIEW chatcrypt.protected IS
	'The protected columns and their states.';
COMMENT ON COLUMN chatcrypt.protected.relation IS 'The table.';
COMMENT ON COLUMN chatcrypt.protected.column_name IS 'The protected column.';
COMMENT ON COLUMN chatcrypt.protected.chat_column IS 'The column that holds the ids of chats.';
COMMENT ON COLUMN chatcrypt.protected.message_column IS
	'The column that holds the ids of messages.';
COMMENT ON COLUMN chatcrypt.protected.state IS
	'mixed while existing rows are not all sealed yet, sealed, or opening after unprotect().';
COMMENT ON COLUMN chatcrypt.protected.registry_id IS
	'The id of the column''s registration, to which its envelopes are bound.';

CREATE FUNCTION chatcrypt.verify_protected(
	"table" regclass DEFAULT NULL, max_findings bigint DEFAULT 10000)
	RETURNS TABLE (relation regclass, column_name name, chat_id uuid, message_id uuid, reason text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_verify_protected';
COMMENT ON FUNCTION chatcrypt.verify_protected(regclass, bigint) IS
	'Lists the values of protected columns, in one table or in all, that are not sealed or do not '
	'open, each with the reason.';
