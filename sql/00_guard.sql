\echo Use "CREATE EXTENSION chatcrypt" to load this file. \quit

-- Whoever owns the schema could put functions of his own beside ours.  A superuser could
-- anyway, and is there before us where a dump is restored by another one.
DO $$
BEGIN
	IF NOT (SELECT o.rolsuper FROM pg_catalog.pg_namespace AS n
			JOIN pg_catalog.pg_roles AS o ON o.oid = n.nspowner WHERE n.nspname = 'chatcrypt')
	THEN
		RAISE EXCEPTION 'schema chatcrypt belongs to somebody else'
			USING HINT = 'Drop or rename it, then run CREATE EXTENSION chatcrypt again.';
	END IF;
END
$$;

COMMENT ON SCHEMA chatcrypt IS 'Chat messages, encrypted: what applications and administrators call and read.';

-- A member of the extension.  It must not exist beforehand, or its owner could add functions to it.
CREATE SCHEMA chatcrypt_internal;
COMMENT ON SCHEMA chatcrypt_internal IS
	'What chatcrypt''s views, triggers, constraints and doctor() are made of. Nothing in it is meant to be called.';
