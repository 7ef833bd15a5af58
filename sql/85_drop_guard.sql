-- Where the server has not loaded chatcrypt, nothing of it runs when it is dropped but this, from a
-- library of its own.  Where it has, dropguard.c decides, and this lets everything pass.
CREATE FUNCTION chatcrypt_internal.guard_drop() RETURNS event_trigger
	LANGUAGE c AS '$libdir/chatcrypt_guard', 'chatcrypt_guard_drop';
COMMENT ON FUNCTION chatcrypt_internal.guard_drop() IS
	'Event trigger: without chatcrypt in shared_preload_libraries, refuses what could drop the extension.';

CREATE EVENT TRIGGER chatcrypt_guard ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA')
	EXECUTE FUNCTION chatcrypt_internal.guard_drop();
ALTER EVENT TRIGGER chatcrypt_guard ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER chatcrypt_guard IS
	'Keeps data keys from being dropped while the server has not loaded chatcrypt.';
