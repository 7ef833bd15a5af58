-- On a server that has not loaded chatcrypt, only this trigger runs when chatcrypt is dropped; its
-- function is in a library of its own.  On a server that has loaded chatcrypt, dropguard.c decides,
-- and this trigger does nothing.
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
