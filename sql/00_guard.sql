\echo Use "CREATE EXTENSION chatcrypt" to load this file. \quit

-- Whoever owns the schema could put functions of his own beside ours.
DO $$
BEGIN
	IF (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'chatcrypt')
		 <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
	THEN
		RAISE EXCEPTION 'schema chatcrypt belongs to somebody else'
			USING HINT = 'Drop or rename it, then run CREATE EXTENSION chatcrypt again.';
	END IF;
END
$$;
