-- Roles belong to the cluster, so the extension in another database may have created them already.
DO $$
DECLARE
	wanted record;
BEGIN
	FOR wanted IN
		SELECT * FROM (VALUES
			('chatcrypt_writer', 'Writes chat messages, and cannot read them.'),
			('chatcrypt_reader', 'Reads chat messages.'),
			('chatcrypt_admin', 'Manages the keys of chats; reads no message.'),
			('chatcrypt_auditor', 'Sees the state and the history of keys; reads no message.'),
			('chatcrypt_keyholder', 'Gets the keys of conversations, to pass them on to clients.'),
			('chatcrypt_feeder', 'Takes the feed of an external search engine, with the text of the chats that are fed.')
		) AS roles (name, about)
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.name);
			EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.about);
		END IF;
	END LOOP;
END
$$;
