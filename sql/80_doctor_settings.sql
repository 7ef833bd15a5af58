-- doctor(): what on this server could expose messages or keys, with one row for each finding.
--
-- There is one function for each kind of finding, which only doctor() may call.  It reads with the
-- rights of the extension's owner, and its result contains no message body, key or credential.  The
-- bodies of the functions are text and not BEGIN ATOMIC, because the catalogs differ between
-- versions, and a body that depends on the columns of one version would prevent pg_upgrade.

CREATE TYPE chatcrypt_internal.finding AS (severity text, finding text, what text, why text, remedy text);
COMMENT ON TYPE chatcrypt_internal.finding IS 'A row of doctor().';
COMMENT ON COLUMN chatcrypt_internal.finding.severity IS 'critical, warning or notice.';
COMMENT ON COLUMN chatcrypt_internal.finding.finding IS
	'A code that stays the same from version to version: docs/monitoring.md lists them.';
COMMENT ON COLUMN chatcrypt_internal.finding.what IS 'What was found.';
COMMENT ON COLUMN chatcrypt_internal.finding.why IS 'Why it matters.';
COMMENT ON COLUMN chatcrypt_internal.finding.remedy IS 'What to do.';

CREATE FUNCTION chatcrypt_internal.doctor_list(items text[]) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT array_to_string(items[1:10], ', ')
		|| CASE WHEN cardinality(items) > 10 THEN format(' and %s more', cardinality(items) - 10) ELSE '' END;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_list(text[]) IS 'For doctor(): a list that stays short.';

-- A setting has many values at once: those of the server, of the session, and of ALTER ROLE and
-- ALTER DATABASE.  Values of ALTER ROLE, ALTER DATABASE and files are returned as they were
-- written.
CREATE FUNCTION chatcrypt_internal.doctor_values(OUT name text, OUT value text, OUT place text)
	RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	-- If the session has a value of its own, only the files show the value of the server.
	SELECT s.name,
		   CASE WHEN s.source IN ('database', 'user', 'database user', 'global', 'client', 'interactive', 'session')
				THEN coalesce((SELECT f.setting FROM pg_file_settings AS f
							   WHERE lower(f.name) = s.name AND f.applied
							   ORDER BY f.seqno DESC LIMIT 1), s.boot_val)
				ELSE s.reset_val END,
		   'on this server'
	FROM pg_settings AS s
	UNION ALL
	SELECT s.name, s.setting, 'in your session'
	FROM pg_settings AS s
	WHERE s.source IN ('client', 'interactive', 'session')
	UNION ALL
	SELECT lower(split_part(entry, '=', 1)), substr(entry, strpos(entry, '=') + 1),
		   concat_ws(' ', CASE WHEN o.setrole <> 0 THEN format('for role %I', pg_get_userbyid(o.setrole))
							   WHEN o.setdatabase = 0 THEN 'for all roles' END,
					 CASE WHEN o.setdatabase <> 0 THEN format('in database %I', current_database()) END)
	FROM pg_db_role_setting AS o, unnest(o.setconfig) AS entry
	WHERE o.setdatabase = 0
	   OR o.setdatabase = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_values() IS
	'For doctor(): every value of every setting that holds somewhere in this database.';

-- Settings that log statements.  A message body that is part of the statement is logged with it; a
-- body that was sent as a parameter is logged only if log_parameter_max_length is not 0.
CREATE FUNCTION chatcrypt_internal.doctor_statement_log() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (SELECT * FROM chatcrypt_internal.doctor_values())
	SELECT CASE WHEN parameters.logged THEN 'critical' ELSE 'warning' END,
		   setting.name,
		   format('%s is %s %s%s.', setting.name, setting.value, setting.place,
				  CASE WHEN parameters.logged THEN ', and parameters are logged too' ELSE '' END),
		   'The server log then holds bodies of messages, and so does every copy of the log.',
		   format('Set %s to %s; or set log_parameter_max_length to 0, and send bodies as parameters only. Delete the logs that there are.',
				  setting.name, logs.none)
	FROM (VALUES
			('log_statement', '^(all|mod|ddl)$', 'none'),
			('log_min_duration_statement', '^[^-]', '-1'),
			('log_min_duration_sample', '^[^-]', '-1'),
			('log_transaction_sample_rate', '[1-9]', '0')
		 ) AS logs (name, when_it_is, none)
	JOIN setting ON setting.name = logs.name AND setting.value ~* logs.when_it_is
	CROSS JOIN LATERAL (
		SELECT p.value !~ '^0+[^.0-9x]*$'
		FROM setting AS p
		WHERE p.name = 'log_parameter_max_length' AND p.place IN (setting.place, 'on this server')
		ORDER BY p.place = setting.place DESC LIMIT 1) AS parameters (logged);
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_statement_log() IS
	'For doctor(): settings that log the text of statements.';

-- Settings that are a finding by themselves, with the values that make them one.
CREATE FUNCTION chatcrypt_internal.doctor_settings() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT risk.severity, risk.finding,
		   format('%s is %s %s.', setting.name, coalesce(nullif(setting.value, ''), 'empty'), setting.place),
		   risk.why, risk.remedy
	FROM (VALUES
		('warning', 'log_min_error_statement', 'log_min_error_statement', '^(?!panic$)',
		 'A statement that fails, or that anything else is logged about, is logged itself, with '
		 'the bodies that are written into it.',
		 'Send bodies as parameters, or set log_min_error_statement to panic.'),
		-- From version 19 on, the value is a list that may give levels for types of processes.
		('warning', 'log_min_messages', 'log_min_messages',
		 '(^|[, ])backend:(fatal|panic)|^(?!.*backend:)(.*[, ])?(fatal|panic)\M',
		 'The line of each conversation key that is handed out is not logged, and a rollback takes '
		 'its row out of the history: a client can have a key with no trace.',
		 'Set log_min_messages to error or below.'),
		('critical', 'log_parameter_max_length_on_error', 'log_parameter_max_length_on_error', '[1-9]',
		 'When a statement fails, its parameters are logged, and the body of the message is one of '
		 'them.',
		 'Set log_parameter_max_length_on_error to 0.'),
		('critical', 'debug_print', 'debug_print_raw_parse', '^(t|y|on|1)',
		 'The tree of every statement is logged, and its constants with it.', 'Set debug_print_raw_parse to off.'),
		('critical', 'debug_print', 'debug_print_parse', '^(t|y|on|1)',
		 'The tree of every statement is logged, and its constants with it.', 'Set debug_print_parse to off.'),
		('critical', 'debug_print', 'debug_print_rewritten', '^(t|y|on|1)',
		 'The tree of every statement is logged, and its constants with it.', 'Set debug_print_rewritten to off.'),
		('critical', 'debug_print', 'debug_print_plan', '^(t|y|on|1)',
		 'The plan of every statement is logged, and its constants with it.', 'Set debug_print_plan to off.'),
		('critical', 'auto_explain', 'auto_explain.log_min_duration', '^[^-]',
		 'auto_explain logs the text, the parameters and the plan of statements; a plan has '
		 'parameters written into it.',
		 'Set auto_explain.log_min_duration to -1, or to -1 for the roles that write or read messages.'),
		('critical', 'pgaudit', 'pgaudit.log', '(all|read|write|function|misc)',
		 'pgaudit logs the text of statements, with the bodies that are written into them.',
		 'Leave read, write, function and misc out of pgaudit.log, keep pgaudit.log_parameter off, and audit messages by table and column privileges.'),
		('warning', 'pg_stat_statements', 'pg_stat_statements.track_utility', '^(t|y|on|1)',
		 'Constants in queries are taken out, but not all those in utility statements such as DO, '
		 'CALL and EXECUTE; and the texts are kept in a file.',
		 'Set pg_stat_statements.track_utility to off and call pg_stat_statements_reset(). A query whose entry was evicted while it ran can still be kept with its constants: raise pg_stat_statements.max.'),
		('notice', 'track_activities', 'track_activities', '^(t|y|on|1)',
		 'pg_stat_activity shows the text of running statements to members of pg_read_all_stats, '
		 'and the log does after a deadlock or a crash.',
		 'Send bodies as parameters, which are not part of that text.'),
		('notice', 'temp_files', 'temp_tablespaces', '^"*$',
		 'A sort or a hash of decrypted bodies that does not fit into work_mem is written to a '
		 'temporary file in the data directory, in plaintext.',
		 'Raise work_mem for the roles that sort bodies (log_temp_files = 0 shows whether any do), or point temp_tablespaces to an encrypted volume.'),
		('warning', 'local_kms_key', 'chatcrypt.default_kms_key', '^local:',
		 'A master key in a file of this server protects copies of the database, and not against '
		 'whoever can read the server''s files.',
		 'Use a KMS, such as vault:transit/chat, for more than development.'),
		('warning', 'vault_allow_underived', 'chatcrypt.vault_allow_underived', '^(t|y|on|1)',
		 'A Transit key that is not derived does not bind a wrapped key to its chat: rows of '
		 'chatcrypt.dek can be swapped without the KMS noticing.',
		 'Make a Transit key with derived=true, re-wrap with it, then set chatcrypt.vault_allow_underived to off.'),
		('critical', 'allow_http', 'chatcrypt.allow_http', '^(t|y|on|1)',
		 'Data keys and the KMS token may cross the network unencrypted.',
		 'Use an https address and set chatcrypt.allow_http to off.'),
		('warning', 'allow_drop', 'chatcrypt.allow_drop', '^(t|y|on|1)',
		 'DROP EXTENSION, DROP SCHEMA and DROP OWNED then take the data keys with them, and with '
		 'those all messages.',
		 'Set chatcrypt.allow_drop to off, and to on only in a session that means to drop.'),
		('warning', 'drop_guard', 'event_triggers', '^(f|n|of|0)',
		 'No event trigger fires then: started without chatcrypt in shared_preload_libraries, the '
		 'server lets DROP EXTENSION take the data keys with it.',
		 'Set event_triggers to on.'),
		('warning', 'on_decrypt_error', 'chatcrypt.on_decrypt_error', '^null$',
		 'A message that was damaged or tampered with looks like one without a body.',
		 'Set chatcrypt.on_decrypt_error to raise, and to null only where a session looks for damage.')
	) AS risk (severity, finding, setting, when_it_is, why, remedy)
	JOIN chatcrypt_internal.doctor_values() AS setting
	  ON setting.name = risk.setting AND setting.value ~* risk.when_it_is;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_settings() IS
	'For doctor(): settings that are a finding whatever the others are.';

-- Plaintext leaves the server over connections of clients, so these have to be encrypted too.
CREATE FUNCTION chatcrypt_internal.doctor_connections() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (SELECT * FROM chatcrypt_internal.doctor_values()),
	listens AS (
		SELECT bool_or(trim(address) NOT IN ('', 'localhost', '127.0.0.1', '::1')) AS beyond_loopback
		FROM setting, regexp_split_to_table(setting.value, ',') AS address
		WHERE setting.name = 'listen_addresses'
	),
	tls AS (
		SELECT bool_or(value ~* '^(t|y|on|1)') AS required
		FROM setting
		WHERE name = 'chatcrypt.require_tls' AND place IN ('on this server', format('in database %I', current_database()))
	),
	rule AS (
		SELECT r.*, row_number() OVER () AS nth,
			   r.type IN ('host', 'hostnossl', 'hostnogssenc') AS takes_plain,
			   r.address IN ('localhost', 'samehost')
			   OR (r.address LIKE '127.%' AND r.netmask LIKE '255.%')
			   OR (r.address = '::1' AND r.netmask LIKE 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:%') AS from_here,
			   -- From version 16 on, pg_hba.conf may include other files.
			   coalesce(regexp_replace(to_jsonb(r) ->> 'file_name', '.*/', ''), 'pg_hba.conf') AS file
		FROM pg_hba_file_rules AS r
		WHERE r.error IS NULL
	),
	open_rule AS (
		SELECT r.*
		FROM rule AS r
		WHERE r.takes_plain AND r.auth_method <> 'reject' AND r.from_here IS NOT TRUE
		  AND EXISTS (SELECT FROM unnest(r.database) AS d (name)
					  WHERE d.name IN ('all', 'sameuser', 'samerole', 'samegroup', current_database()) OR d.name LIKE '/%')
		  AND NOT EXISTS (SELECT FROM rule AS earlier
						  WHERE earlier.nth < r.nth AND earlier.auth_method = 'reject'
							AND earlier.type IN ('host', 'hostnossl') AND earlier.address = 'all'
							AND earlier.database = '{all}' AND earlier.user_name = '{all}')
	)
	SELECT 'warning', 'unencrypted_connections',
		   format('%s: line %s takes clients without TLS from elsewhere, and chatcrypt.require_tls is off.', r.file,
				  chatcrypt_internal.doctor_list(array_agg(r.line_number::text ORDER BY r.line_number))),
		   'Bodies then cross the network as plaintext.',
		   'Set chatcrypt.require_tls to on, or make these lines hostssl.'
	FROM open_rule AS r, tls, listens
	WHERE listens.beyond_loopback AND NOT tls.required
	GROUP BY r.file
	UNION ALL
	SELECT 'warning', 'ssl', 'ssl is off, and the server listens on the network.',
		   'No client can reach it with TLS.', 'Set ssl_cert_file, ssl_key_file and ssl.'
	FROM setting, listens
	WHERE setting.name = 'ssl' AND setting.value = 'off' AND setting.place = 'on this server' AND listens.beyond_loopback
	UNION ALL
	SELECT 'warning', 'require_tls', format('chatcrypt.require_tls is %s %s.', setting.value, setting.place),
		   'Others are held to TLS, and this is an exception.',
		   'ALTER ROLE or ALTER DATABASE … RESET chatcrypt.require_tls.'
	FROM setting, tls
	WHERE setting.name = 'chatcrypt.require_tls' AND setting.value ~* '^(f|n|of|0)'
	  AND setting.place <> 'on this server' AND tls.required;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_connections() IS
	'For doctor(): ways for plaintext to cross the network.';
