-- Maintenance in the background, and the progress of work that is under way.

CREATE FUNCTION chatcrypt.note_progress(task text, chat_id chatcrypt.any_id DEFAULT NULL, done bigint DEFAULT 0,
										total bigint DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chatcrypt_note_progress';
COMMENT ON FUNCTION chatcrypt.note_progress(text, chatcrypt.any_id, bigint, bigint) IS
	'Shows in the view progress what a session of yours does and how far it has come. A NULL task '
	'removes the row.';

CREATE FUNCTION chatcrypt_internal.read_progress(
	OUT pid integer, OUT database name, OUT task text, OUT chat_id uuid,
	OUT done bigint, OUT total bigint, OUT started_at timestamptz, OUT updated_at timestamptz,
	OUT rate double precision, OUT "left" interval, OUT waits_for integer)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'chatcrypt_read_progress';
COMMENT ON FUNCTION chatcrypt_internal.read_progress() IS 'What stands behind the view chatcrypt.progress.';

CREATE VIEW chatcrypt.progress WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_progress();
COMMENT ON VIEW chatcrypt.progress IS
	'The long-running work of sessions and workers right now, in all databases of this server.';
COMMENT ON COLUMN chatcrypt.progress.pid IS 'The process.';
COMMENT ON COLUMN chatcrypt.progress.database IS 'Its database.';
COMMENT ON COLUMN chatcrypt.progress.task IS 'What it does.';
COMMENT ON COLUMN chatcrypt.progress.done IS 'How much is done.';
COMMENT ON COLUMN chatcrypt.progress.started_at IS 'When it began.';
COMMENT ON COLUMN chatcrypt.progress.updated_at IS 'When it last reported.';
COMMENT ON COLUMN chatcrypt.progress.left IS
	'How long the rest will take at that rate; NULL if total is NULL or nothing moves.';
COMMENT ON COLUMN chatcrypt.progress.chat_id IS 'The chat that it works on, or NULL.';
COMMENT ON COLUMN chatcrypt.progress.total IS
	'How much there is to do; NULL if that is not known.';
COMMENT ON COLUMN chatcrypt.progress.rate IS
	'How much was done each second, over the last 10 to 20 seconds.';
COMMENT ON COLUMN chatcrypt.progress."left" IS
	'How long the rest takes at that rate; NULL where total is, or where nothing moves.';
COMMENT ON COLUMN chatcrypt.progress.waits_for IS
	'The pid of a session that holds it up, 0 for a prepared transaction, or NULL.';

CREATE PROCEDURE chatcrypt.run_maintenance()
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_run_maintenance';
COMMENT ON PROCEDURE chatcrypt.run_maintenance() IS
	'Runs one round of maintenance in this database now, in a background worker, and waits for '
	'its end. Each task that fails raises a warning.';

CREATE FUNCTION chatcrypt_internal.read_maintenance_status(
	OUT database name, OUT task text, OUT running boolean, OUT last_start timestamptz,
	OUT last_success timestamptz,
	OUT last_error text, OUT last_error_at timestamptz, OUT next_due timestamptz,
	OUT runs bigint, OUT failures bigint, OUT items bigint, OUT partial_failures bigint,
	OUT failed_items bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 20
	AS 'MODULE_PATHNAME', 'chatcrypt_read_maintenance_status';
COMMENT ON FUNCTION chatcrypt_internal.read_maintenance_status() IS
	'What stands behind the view chatcrypt.maintenance_status.';

CREATE VIEW chatcrypt.maintenance_status WITH (security_barrier, security_invoker) AS
	SELECT * FROM chatcrypt_internal.read_maintenance_status();
COMMENT ON VIEW chatcrypt.maintenance_status IS
	'The last and the next run of each maintenance task, for each database, since the server '
	'started.';
COMMENT ON COLUMN chatcrypt.maintenance_status.database IS 'The database.';
COMMENT ON COLUMN chatcrypt.maintenance_status.running IS 'Whether it runs now.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_start IS 'When it last began.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_error_at IS 'When the last error happened.';
COMMENT ON COLUMN chatcrypt.maintenance_status.runs IS 'How often it ran.';
COMMENT ON COLUMN chatcrypt.maintenance_status.task IS
	'The task; round stands for a whole round of tasks.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_success IS
	'When it last ended with everything done.';
COMMENT ON COLUMN chatcrypt.maintenance_status.failures IS
	'Runs that failed, as a whole or in part.';
COMMENT ON COLUMN chatcrypt.maintenance_status.partial_failures IS
	'Runs that ended while some of their items failed; failures counts them too.';
COMMENT ON COLUMN chatcrypt.maintenance_status.failed_items IS
	'Items that failed in those runs, each as often as it failed.';
COMMENT ON COLUMN chatcrypt.maintenance_status.last_error IS
	'The last error. If a run failed in part: how many items failed, and why the first one did. '
	'It stays after a success; compare last_error_at.';
COMMENT ON COLUMN chatcrypt.maintenance_status.next_due IS
	'When it runs next: later with each failure in a row, except for partial ones; NULL if the '
	'database is not in chatcrypt.maintenance_databases.';
COMMENT ON COLUMN chatcrypt.maintenance_status.items IS
	'Keys, messages or events that it has processed.';
