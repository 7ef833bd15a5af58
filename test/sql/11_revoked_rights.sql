-- A right that is revoked is gone at once, also in sessions that have used it: the check in C
-- forgets what it knew.  The role has the schema and the functions of its own, so that only that
-- check can refuse.
\set VERBOSITY terse
CREATE ROLE revoked_reader;
GRANT USAGE ON SCHEMA chatcrypt TO revoked_reader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO revoked_reader;
GRANT chatcrypt_reader TO revoked_reader;
SELECT chatcrypt.create_chat(900);
SELECT chatcrypt.encrypt(900, 1, 'read once') AS envelope \gset
SET ROLE revoked_reader;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;
REVOKE chatcrypt_reader FROM revoked_reader;
SET ROLE revoked_reader;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;

-- The same with a role in between.
CREATE ROLE revoked_team;
GRANT chatcrypt_reader TO revoked_team;
GRANT revoked_team TO revoked_reader;
SET ROLE revoked_reader;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;
REVOKE chatcrypt_reader FROM revoked_team;
SET ROLE revoked_reader;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;

-- A role that is no superuser any more.
CREATE ROLE revoked_superuser SUPERUSER;
GRANT USAGE ON SCHEMA chatcrypt TO revoked_superuser;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO revoked_superuser;
SET ROLE revoked_superuser;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;
ALTER ROLE revoked_superuser NOSUPERUSER;
SET ROLE revoked_superuser;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;

-- A member that does not inherit has a right only while it has set the role.
CREATE ROLE revoked_heir NOINHERIT;
GRANT chatcrypt_reader TO revoked_heir;
GRANT USAGE ON SCHEMA chatcrypt TO revoked_heir;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO revoked_heir;
SET ROLE revoked_heir;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
SET ROLE chatcrypt_reader;
SELECT chatcrypt.decrypt(900, 1, :'envelope');
RESET ROLE;
DROP OWNED BY revoked_reader, revoked_team, revoked_superuser, revoked_heir;
DROP ROLE revoked_reader, revoked_team, revoked_superuser, revoked_heir;

-- A conversation message is sealed without additional data, and opens with none.
SELECT chatcrypt.create_chat(901, mode => 'conversation_key');
SELECT chatcrypt.encrypt(901, 1, 'between us') AS envelope \gset
SELECT chatcrypt.decrypt(901, 1, :'envelope'), chatcrypt.decrypt(901, 1, :'envelope', '') AS with_empty_data;
SELECT chatcrypt.decrypt(901, 1, :'envelope', 'other');
SELECT chatcrypt.try_decrypt(901, 1, :'envelope', 'other');
SELECT chatcrypt.check_envelope(901, 1, :'envelope', 'other');
SELECT chatcrypt.encrypt(901, 1, 'between us', 'other');
