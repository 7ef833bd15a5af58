-- The view progress: what is being done at the moment.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
PREPARE mine AS SELECT task, chat_id, done, total, database = current_database() AS here, updated_at >= started_at AS timely
FROM chatcrypt.progress WHERE pid = pg_backend_pid();

SET ROLE operator;
SELECT chatcrypt.note_progress('count', total => 10);
EXECUTE mine;
SELECT chatcrypt.note_progress('count', chatcrypt.to_uuid(1), 4, 10);
EXECUTE mine;
RESET ROLE;
SET ROLE auditor;
EXECUTE mine;
SELECT chatcrypt.note_progress('mine');
RESET ROLE;
SET ROLE app;
SELECT count(*) FROM chatcrypt.progress;
SELECT chatcrypt_internal.read_progress();
RESET ROLE;

-- The rate, the remaining time, and that no session holds the task up.
PREPARE pace AS SELECT done, rate > 0 AS moves, "left" BETWEEN '0s' AND '1 hour' AS ends, waits_for FROM chatcrypt.progress WHERE pid = pg_backend_pid();
SELECT chatcrypt.note_progress('pace', done => 100, total => 200);
EXECUTE pace;
SELECT pg_sleep(0.05), chatcrypt.note_progress('pace', done => 150, total => 200);
EXECUTE pace;
SELECT rate <= 50 / 0.05 AS since_its_start FROM chatcrypt.progress WHERE pid = pg_backend_pid();
SELECT chatcrypt.note_progress('pace', done => 160);
EXECUTE pace;
SELECT chatcrypt.note_progress('pace', done => 10, total => 200);
EXECUTE pace;
SELECT pg_sleep(0.05), chatcrypt.note_progress('pace', done => 220, total => 200);
EXECUTE pace;

-- A session has one row; a second call continues the same task, or starts another one.
SELECT chatcrypt.note_progress('count');
SELECT pg_sleep(0.01), chatcrypt.note_progress('count', done => 5);
SELECT updated_at > started_at AS goes_on FROM chatcrypt.progress WHERE pid = pg_backend_pid();
SELECT chatcrypt.note_progress(repeat('ü', 40));
SELECT task = repeat('ü', 31) AS cut_between_characters, updated_at = started_at AS starts
FROM chatcrypt.progress WHERE pid = pg_backend_pid();
SELECT chatcrypt.note_progress(NULL);
EXECUTE mine;

-- The row is kept at a commit, and removed at an error.
BEGIN;
SELECT chatcrypt.note_progress('commits');
COMMIT;
EXECUTE mine;
SELECT 1 / 0;
EXECUTE mine;

-- The row is removed when its session ends.
SELECT chatcrypt.note_progress('leaves');
\c -
DO $$
BEGIN
	FOR try IN 1 .. 500 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM chatcrypt.progress WHERE task = 'leaves');
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;
SELECT count(*) FROM chatcrypt.progress WHERE task = 'leaves';
DROP OWNED BY operator, auditor, app;
DROP ROLE operator, auditor, app;
