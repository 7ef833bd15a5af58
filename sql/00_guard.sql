\echo Use "CREATE EXTENSION chatcrypt" to load this file. \quit

-- The owner of the schema could add functions beside ours, so the owner must be a superuser, who
-- could do so anyway.  The schema exists already if another superuser restores a dump.
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

-- This schema is a member of the extension.  It must not exist before, because its owner could add
-- functions to it.
CREATE SCHEMA chatcrypt_internal;
COMMENT ON SCHEMA chatcrypt_internal IS
	'What chatcrypt''s views, triggers, constraints and doctor() are made of. Nothing in it is meant to be called.';
