-- What is done without being asked for, and what is being done right now.

CREATE FUNCTION chatcrypt.note_progress(task text, chat_id chatcrypt.any_id DEFAULT NULL, done bigint DEFAULT 0,
										total bigint DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chatcrypt_note_progress';
COMMENT ON FUNCTION chatcrypt.note_progress(text, chatcrypt.any_id, bigint, bigint) IS
	'Shows in chatcrypt.progress what a session does and how far it is; a task of NULL ends it.';

CREATE FUNCTION chatcrypt.read_progress(
	OUT pid integer, OUT database name, OUT task text, OUT chat_id uuid,
	OUT done bigint, OUT total bigint, OUT started_at timestamptz, OUT updated_at timestamptz,
	OUT rate double precision, OUT "left" interval, OUT waits_for integer)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'chatcrypt_read_progress';
COMMENT ON FUNCTION chatcrypt.read_progress() IS 'What stands behind the view chatcrypt.progress.';

CREATE VIEW chatcrypt.progress WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt.read_progress();
COMMENT ON VIEW chatcrypt.progress IS
	'One row for each session or worker that does something long right now, in any database of '
	'this server.';
COMMENT ON COLUMN chatcrypt.progress.chat_id IS
	'The chat that is being worked on; NULL where the task is not about one.';
COMMENT ON COLUMN chatcrypt.progress.total IS 'How much there is to do; NULL where nobody knows.';
COMMENT ON COLUMN chatcrypt.progress.rate IS 'Of done, a second, over the last 10 to 20 seconds.';
COMMENT ON COLUMN chatcrypt.progress."left" IS
	'How long the rest takes at that rate; NULL where total is, or where nothing moves.';
COMMENT ON COLUMN chatcrypt.progress.waits_for IS
	'The pid of a session that holds the work up, 0 for a prepared transaction; NULL for none.';

CREATE PROCEDURE chatcrypt.run_maintenance()
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_run_maintenance';
COMMENT ON PROCEDURE chatcrypt.run_maintenance() IS
	'Does one round of maintenance in this database now, in a background worker, and waits for it; '
	'each task that fails is a WARNING.';

CREATE FUNCTION chatcrypt.read_maintenance_status(
	OUT database name, OUT task text, OUT running boolean, OUT last_start timestamptz,
	OUT last_success timestamptz,
	OUT last_error text, OUT last_error_at timestamptz, OUT next_due timestamptz,
	OUT runs bigint, OUT failures bigint, OUT items bigint, OUT partial_failures bigint,
	OUT failed_items bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_read_maintenance_status';
COMMENT ON FUNCTION chatcrypt.read_maintenance_status() IS
	'What stands behind the view chatcrypt.maintenance_status.';

CREATE VIEW chatcrypt.maintenance_status WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt.read_maintenance_status();
COMMENT ON VIEW chatcrypt.maintenance_status IS
	'What maintenance did last and will do next, one row for each database and task; since the '
	'server started.';
COMMENT ON COLUMN chatcrypt.maintenance_status.task IS
	'A task, or round: all of them, one after the other.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_success IS
	'When the task came to its end last, and all of it succeeded.';
COMMENT ON COLUMN chatcrypt.maintenance_status.failures IS
	'Runs that failed, as a whole or in part.';
COMMENT ON COLUMN chatcrypt.maintenance_status.partial_failures IS
	'Runs that came to their end while some of their items failed; failures counts them too.';
COMMENT ON COLUMN chatcrypt.maintenance_status.failed_items IS
	'Keys, chats or messages that failed in those, each as often as it did.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_error IS
	'In words: of a run that failed in part how many items did, and why the first of them; it stays '
	'after a success, which last_error_at tells.';
COMMENT ON COLUMN chatcrypt.maintenance_status.next_due IS
	'Later with each failure in a row, but for those in part; NULL where the database is not in '
	'chatcrypt.maintenance_databases.';
COMMENT ON COLUMN chatcrypt.maintenance_status.items IS
	'Keys, messages or events that the task has dealt with.';
