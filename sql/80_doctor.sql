-- doctor(): what on this server could lay messages or keys open, one row a finding.
--
-- One function for each kind of finding, which nobody but doctor() may call; it reads with the
-- rights of the extension's owner, and no body, key or credential is in what it tells.  Their
-- bodies are text, not BEGIN ATOMIC: catalogs differ from version to version, and a body that
-- is bound to one version's columns would stand in the way of pg_upgrade.

CREATE TYPE chatcrypt.finding AS (severity text, finding text, what text, why text, how_to_mend text);
COMMENT ON TYPE chatcrypt.finding IS
	'A row of doctor(): critical, warning or notice; a code that stays the same; and three '
	'sentences.';

CREATE FUNCTION chatcrypt.doctor_list(items text[]) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT array_to_string(items[1:10], ', ')
		|| CASE WHEN cardinality(items) > 10 THEN format(' and %s more', cardinality(items) - 10) ELSE '' END;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_list(text[]) IS 'For doctor(): a list that stays short.';

-- A setting has many values at once: the server's, the session's, and those that ALTER ROLE
-- and ALTER DATABASE gave.  Values of the last, and of files, are as somebody wrote them.
CREATE FUNCTION chatcrypt.doctor_values(OUT name text, OUT value text, OUT place text)
	RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	-- Where the session has a value of its own, the server's shows in the files alone.
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
COMMENT ON FUNCTION chatcrypt.doctor_values() IS
	'For doctor(): every value of every setting that holds somewhere in this database.';

-- Settings that log statements.  A body that was written into the statement is logged with it,
-- one that was sent as a parameter only where log_parameter_max_length is not 0.
CREATE FUNCTION chatcrypt.doctor_statement_log() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (SELECT * FROM chatcrypt.doctor_values())
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
COMMENT ON FUNCTION chatcrypt.doctor_statement_log() IS
	'For doctor(): settings that log the text of statements.';

-- Settings that are a finding by themselves: code, setting, and the values that are one.
CREATE FUNCTION chatcrypt.doctor_settings() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT risk.severity, risk.finding,
		   format('%s is %s %s.', setting.name, coalesce(nullif(setting.value, ''), 'empty'), setting.place),
		   risk.why, risk.how_to_mend
	FROM (VALUES
		('warning', 'log_min_error_statement', 'log_min_error_statement', '^(?!panic$)',
		 'A statement that fails, or that anything else is logged about, is logged itself, with '
		 'the bodies that are written into it.',
		 'Send bodies as parameters, or set log_min_error_statement to panic.'),
		-- From 19 on, a list that may name a level for some types of process.
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
	) AS risk (severity, finding, setting, when_it_is, why, how_to_mend)
	JOIN chatcrypt.doctor_values() AS setting
	  ON setting.name = risk.setting AND setting.value ~* risk.when_it_is;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_settings() IS
	'For doctor(): settings that are a finding whatever the others are.';

-- Plaintext leaves the server in the protocol, so that has to be encrypted too.
CREATE FUNCTION chatcrypt.doctor_connections() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (SELECT * FROM chatcrypt.doctor_values()),
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
			   -- Version 16 and later read other files from within pg_hba.conf.
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
				  chatcrypt.doctor_list(array_agg(r.line_number::text ORDER BY r.line_number))),
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
COMMENT ON FUNCTION chatcrypt.doctor_connections() IS
	'For doctor(): ways for plaintext to cross the network.';

CREATE FUNCTION chatcrypt.host_facts(OUT core_limit bigint, OUT cores_are_piped boolean,
									 OUT local_keys_on_data_volume boolean)
	LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'chatcrypt_host_facts';
COMMENT ON FUNCTION chatcrypt.host_facts() IS
	'For doctor(): the limit for core dumps in bytes (-1 for none), whether a program takes them, '
	'and whether local master keys lie on the volume of the data directory.';

CREATE FUNCTION chatcrypt.doctor_host() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH host AS MATERIALIZED (SELECT * FROM chatcrypt.host_facts())
	SELECT 'warning', 'core_dumps',
		   CASE WHEN core_limit <> 0 THEN 'The server may write core dumps.'
				ELSE 'The limit for core dumps is 0, but the kernel hands them to a program.' END,
		   'Keys are left out of core dumps, but messages that were being read or written are not.',
		   'Start the server with ulimit -c 0 (LimitCORE=0), and see what kernel.core_pattern '
		   'names.'
	FROM host WHERE core_limit <> 0 OR cores_are_piped
	UNION ALL
	SELECT 'warning', 'local_keys_on_data_volume', 'chatcrypt.local_key_dir lies on the volume of the data directory.',
		   'A snapshot or an image of that volume has both the messages and the key to them.',
		   'Move the folder to another volume, or use a KMS.'
	FROM host WHERE local_keys_on_data_volume
	UNION ALL
	SELECT 'warning', 'keys_not_locked', 'The key cache is not locked in memory.',
		   'Data keys can be written to swap space.',
		   'Raise the server''s limit for locked memory (LimitMEMLOCK=), or encrypt the swap space.'
	FROM chatcrypt.cache_status WHERE NOT locked
	UNION ALL
	SELECT 'critical', 'kms_worker', 'The KMS worker is not running.',
		   'Chats whose keys are not in the cache cannot be read or written, and none can be made.',
		   'See the server''s log for why it ends; the server starts it again every second.'
	FROM chatcrypt.kms_worker WHERE pid IS NULL
	UNION ALL
	SELECT 'critical', 'kms_unreachable', format('The KMS does not answer for %s.', key_uri),
		   'Chats whose keys are not in the cache cannot be read or written, and the others only '
		   'until chatcrypt.cache_max_age.',
		   format('See chatcrypt.kms_status, then SELECT * FROM chatcrypt.kms_check(%L).', key_uri)
	FROM chatcrypt.kms_status WHERE NOT reachable;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_host() IS
	'For doctor(): what the machine and the KMS have to do with it.';

CREATE FUNCTION chatcrypt.read_acting_roles() RETURNS SETOF oid
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_read_acting_roles';
COMMENT ON FUNCTION chatcrypt.read_acting_roles() IS
	'For doctor(): roles that have logged in to this database and called act_as() since the server '
	'started.';

-- Who may do what.  MEMBER, and not USAGE: who does not inherit a right can still SET ROLE.
CREATE FUNCTION chatcrypt.doctor_roles() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	-- What the setting is for a role that logs in here: its own in this database, its own, this
	-- database's, that of all roles, the server's.
	WITH required AS MATERIALIZED (
		SELECT r.oid, coalesce(
				(SELECT substr(entry, strpos(entry, '=') + 1)
				 FROM pg_db_role_setting AS o, unnest(o.setconfig) AS entry
				 WHERE entry ~* '^chatcrypt[.]require_actor=' AND o.setrole IN (0, r.oid)
				   AND o.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
				 ORDER BY o.setrole <> 0 DESC, o.setdatabase <> 0 DESC LIMIT 1),
				(SELECT v.value FROM chatcrypt.doctor_values() AS v
				 WHERE v.name = 'chatcrypt.require_actor' AND v.place = 'on this server')) ~* '^(t|y|on|1)' AS actor
		FROM pg_roles AS r
	),
	login AS MATERIALIZED (
		SELECT quote_ident(rolname) AS name, oid, rolsuper AS super, rolbypassrls AS bypasses,
			   pg_has_role(oid, 'chatcrypt_writer', 'MEMBER') AS writes,
			   pg_has_role(oid, 'chatcrypt_reader', 'MEMBER') AS reads,
			   pg_has_role(oid, 'chatcrypt_admin', 'MEMBER') AS manages,
			   pg_has_role(oid, 'chatcrypt_keyholder', 'MEMBER') AS holds_keys,
			   pg_has_role(oid, 'chatcrypt_feeder', 'MEMBER') AS drains,
			   pg_has_role(oid, 'pg_read_all_stats', 'MEMBER') AS watches,
			   pg_has_role(oid, 'pg_read_server_files', 'MEMBER') AS reads_files,
			   pg_has_role(oid, 'pg_write_server_files', 'MEMBER') OR pg_has_role(oid, 'pg_execute_server_program', 'MEMBER') AS is_the_server,
			   EXISTS (SELECT FROM required AS mine WHERE mine.oid = pg_roles.oid AND mine.actor) AS names_actors,
			   EXISTS (SELECT FROM required AS of WHERE of.actor AND of.oid <> pg_roles.oid
					   AND pg_has_role(pg_roles.oid, of.oid, 'MEMBER')) AS inherits_from_one_that_does,
			   has_column_privilege(oid, 'chatcrypt.dek', 'encrypted_dek', 'SELECT') AS reads_keys,
			   has_any_column_privilege(oid, 'chatcrypt.dek', 'INSERT, UPDATE')
			   OR has_table_privilege(oid, 'chatcrypt.dek', 'DELETE, TRUNCATE') AS writes_keys
		FROM pg_roles
		-- Every cluster has its first superuser.
		WHERE rolcanlogin AND oid <> 10
	),
	suspect AS (
		SELECT 'notice' AS severity, 'superusers' AS finding, 'These superusers can log in: %s.' AS what,
			   'A superuser reads every message.' AS why,
			   'Give applications roles of their own, without SUPERUSER.' AS how_to_mend, name
		FROM login WHERE super
		UNION ALL
		SELECT 'notice', 'readers', 'These roles can log in and read messages: %s.',
			   'Directly or through another role they are members of chatcrypt_reader.',
			   'See whether all of them should; REVOKE the membership of those that should not.', name
		FROM login WHERE reads AND NOT super
		UNION ALL
		SELECT 'notice', 'feeders', 'These roles can log in and drain the feed of the search index: %s.',
			   'Directly or through another role they are members of chatcrypt_feeder, and get the '
			   'text of every chat that is fed.',
			   'See whether all of them should; REVOKE the membership of those that should not.', name
		FROM login WHERE drains AND NOT super
		UNION ALL
		SELECT 'notice', 'admins', 'These roles can log in and manage keys: %s.',
			   'Directly or through another role they are members of chatcrypt_admin, and can '
			   'destroy every key.',
			   'See whether all of them should; REVOKE the membership of those that should not.', name
		FROM login WHERE manages AND NOT super
		UNION ALL
		SELECT 'notice', 'keyholders', 'These roles can log in and get the key of every conversation: %s.',
			   'A conversation key opens what it sealed in every copy of the database, and forges '
			   'messages, for as long as somebody keeps it; no check of this server comes in '
			   'between.',
			   'See whether all of them should; REVOKE chatcrypt_keyholder from those that should not, and rotate the chats whose keys they took: key_event lists them.', name
		FROM login WHERE holds_keys AND NOT super
		UNION ALL
		SELECT 'warning', 'admin_and_messages', 'These roles manage keys and read or write messages too: %s.',
			   'One stolen password then reaches both the keys and the messages.',
			   'Use one role for each, and REVOKE chatcrypt_admin from the one that the application has.', name
		FROM login WHERE manages AND (reads OR writes OR drains) AND NOT super
		UNION ALL
		SELECT 'warning', 'bypassrls', 'These roles bypass row-level security and read or write messages: %s.',
			   'act_as() does not confine them to the chats of an actor, and chatcrypt.require_actor '
			   'keeps bodies from them, not rows.',
			   'ALTER ROLE … NOBYPASSRLS.', name
		FROM login WHERE bypasses AND (reads OR writes) AND NOT super
		UNION ALL
		SELECT 'critical', 'require_actor_inherited', 'These roles log in without chatcrypt.require_actor, and are members of a role that has it: %s.',
			   'The setting holds for the role that logs in, and neither by membership nor by SET '
			   'ROLE: what they run for one person can show the messages of everybody.',
			   'ALTER ROLE … SET chatcrypt.require_actor = on for each; or REVOKE the membership.', name
		FROM login WHERE (reads OR writes) AND inherits_from_one_that_does AND NOT names_actors AND NOT super
		UNION ALL
		SELECT 'warning', 'require_actor_advised', 'These roles call act_as(), and log in without chatcrypt.require_actor: %s.',
			   'A transaction of theirs that forgets to name an actor shows and takes the messages of '
			   'everybody.',
			   'ALTER ROLE … SET chatcrypt.require_actor = on for each, and let them connect anew.', name
		FROM login WHERE oid IN (SELECT r FROM chatcrypt.read_acting_roles() AS r) AND NOT names_actors AND NOT super
		UNION ALL
		SELECT 'warning', 'statement_readers', 'These roles see the statements that others run: %s.',
			   'As members of pg_read_all_stats, or pg_monitor, they see bodies that are written '
			   'into statements, and need no right to read messages.',
			   'Send bodies as parameters, or REVOKE the membership.', name
		FROM login WHERE watches AND NOT reads AND NOT super
		UNION ALL
		SELECT 'critical', 'server_file_readers', 'These roles read the server''s files: %s.',
			   'As members of pg_read_server_files they read local master keys and the credentials '
			   'of the key service, and with those every message in any copy of the database.',
			   'REVOKE pg_read_server_files from them.', name
		FROM login WHERE reads_files AND NOT super
		UNION ALL
		SELECT 'critical', 'server_file_writers', 'These roles write the server''s files or run its programs: %s.',
			   'As members of pg_write_server_files or pg_execute_server_program they can do whatever '
			   'the server can: make themselves superusers, and read, change or destroy its keys.',
			   'REVOKE pg_write_server_files and pg_execute_server_program from them.', name
		FROM login WHERE is_the_server AND NOT super
		UNION ALL
		SELECT 'warning', 'dek_readers', 'These roles read wrapped keys in chatcrypt.dek: %s.',
			   'With access to the KMS as well they can open every message, past every check of '
			   'this server.',
			   'REVOKE SELECT ON chatcrypt.dek, or pg_read_all_data, from them.', name
		FROM login WHERE reads_keys AND NOT super
		UNION ALL
		SELECT 'critical', 'dek_writers', 'These roles change chatcrypt.dek: %s.',
			   'A key that is overwritten or deleted takes its messages with it.',
			   'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON chatcrypt.dek, or pg_write_all_data, from them.', name
		FROM login WHERE writes_keys AND NOT super
	)
	SELECT severity, finding, format(what, chatcrypt.doctor_list(array_agg(name ORDER BY name COLLATE "C"))), why, how_to_mend
	FROM suspect
	GROUP BY severity, finding, what, why, how_to_mend;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_roles() IS
	'For doctor(): roles that can do more than they should, or that a person should know of.';

-- Triggers that do not fire, or not for everybody: those that tell other sessions of a change fire
-- in a session that replicates, too.
CREATE FUNCTION chatcrypt.doctor_triggers() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'critical', 'triggers',
		   format('These triggers do not fire whenever they should: %s.',
				  chatcrypt.doctor_list(array_agg(format('%s of %s', tgname, tgrelid::regclass) ORDER BY tgrelid::regclass::text, tgname))),
		   'Without them sessions go on with keys that were destroyed or policies that were '
		   'changed, or changes are not recorded.',
		   'ALTER TABLE … ENABLE ALWAYS TRIGGER for those called invalidate, invalidate_all, '
		   'message_removed, messages_truncated and require_new_envelope, '
		   'ENABLE TRIGGER for others; pg_restore --disable-triggers leaves them so.'
	FROM pg_trigger
	WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace)
	  AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'chatcrypt'::regnamespace)
	  AND (tgenabled IN ('D', 'R')
		   OR tgenabled = 'O' AND tgfoid IN ('chatcrypt.invalidate()'::regprocedure, 'chatcrypt.message_removed()'::regprocedure,
											 'chatcrypt.require_new_envelope()'::regprocedure))
	HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'drop_guard',
		   'The event trigger chatcrypt_guard does not fire, or not in every session.',
		   'Started without chatcrypt in shared_preload_libraries, the server lets DROP EXTENSION '
		   'take the data keys with it.',
		   'ALTER EVENT TRIGGER chatcrypt_guard ENABLE ALWAYS.'
	WHERE NOT EXISTS (SELECT FROM pg_event_trigger
					  WHERE evtfoid = 'chatcrypt.guard_drop()'::regprocedure AND evtenabled = 'A');
$$;
COMMENT ON FUNCTION chatcrypt.doctor_triggers() IS
	'For doctor(): triggers of the extension that were disabled, or are not ALWAYS any more.';

CREATE FUNCTION chatcrypt.doctor_grants() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH object (name, acl) AS (
		SELECT 'SCHEMA chatcrypt', nspacl FROM pg_namespace WHERE nspname = 'chatcrypt'
		UNION ALL
		SELECT oid::regclass::text, relacl FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace
		UNION ALL
		SELECT format('%s (%I)', a.attrelid::regclass, a.attname), a.attacl
		FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'chatcrypt'::regnamespace
		UNION ALL
		-- Unlike the others, functions are everybody's unless it is revoked.  Constructors of a range
		-- type are not counted: pg_dump does not keep their rights, so that pg_upgrade gives them back
		-- to everybody, and they do nothing but make a value of that type.
		SELECT 'FUNCTION ' || f.oid::regprocedure, coalesce(f.proacl, acldefault('f', f.proowner))
		FROM pg_proc AS f
		WHERE f.pronamespace = 'chatcrypt'::regnamespace
		  AND NOT EXISTS (SELECT FROM pg_depend AS d
						  WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid
							AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i')
	)
	SELECT 'critical', 'public_grants',
		   format('PUBLIC has rights on %s.', chatcrypt.doctor_list(array_agg(DISTINCT name))),
		   'Every role of this cluster has them then, and the roles of chatcrypt mean less than '
		   'they say.',
		   'REVOKE ALL ON … FROM PUBLIC.'
	FROM object
	WHERE EXISTS (SELECT FROM aclexplode(acl) AS granted WHERE granted.grantee = 0)
	HAVING count(*) > 0;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_grants() IS 'For doctor(): rights of PUBLIC.';

-- What depends on the plaintext, step by step: views on the view messages, functions that
-- decrypt, and whatever is made of those.  What CREATE TABLE AS wrote depends on nothing.
CREATE FUNCTION chatcrypt.doctor_plaintext(OUT classid oid, OUT objid oid) RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE shows (classid, objid, subid) AS (
		SELECT 'pg_class'::regclass::oid, attrelid, attnum::integer
		FROM pg_attribute
		WHERE (attrelid, attname) IN (('chatcrypt.messages'::regclass, 'body'), ('chatcrypt.wire_messages'::regclass, 'wire'))
		UNION
		SELECT 'pg_proc'::regclass::oid, oid, 0
		FROM pg_proc
		WHERE pronamespace = 'chatcrypt'::regnamespace
		  AND proname IN ('decrypt', 'decrypt_bytea', 'try_decrypt', 'message_body', 'message_wire', 'drain_search_feed')
		UNION
		-- A body that is text leaves no dependency: look for the names.
		SELECT 'pg_proc'::regclass::oid, f.oid, 0
		FROM pg_proc AS f JOIN pg_language AS l ON l.oid = f.prolang
		WHERE l.lanname NOT IN ('c', 'internal')
		  AND f.pronamespace NOT IN ('chatcrypt'::regnamespace, 'pg_catalog'::regnamespace)
		  AND f.prosrc ~* '\m(decrypt|decrypt_bytea|try_decrypt|message_body|message_wire|wire_message|drain_search_feed)\s*\(|\mchatcrypt\s*\.\s*(wire_)?messages\M'
		UNION
		SELECT CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END, coalesce(r.ev_class, d.objid), 0
		FROM shows AS s
		JOIN pg_depend AS d
		  ON d.refclassid = s.classid AND d.refobjid = s.objid AND (s.subid = 0 OR d.refobjsubid IN (0, s.subid))
		LEFT JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
		WHERE d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass,
							'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)
		  AND coalesce(r.ev_class, d.objid) NOT IN ('chatcrypt.messages'::regclass, 'chatcrypt.wire_messages'::regclass)
	)
	SELECT DISTINCT s.classid, s.objid FROM shows AS s;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_plaintext() IS
	'For doctor(): objects of the catalog through which plaintext comes.';

CREATE FUNCTION chatcrypt.doctor_copies() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH shows AS MATERIALIZED (SELECT * FROM chatcrypt.doctor_plaintext()),
	relation AS (
		SELECT c.oid, c.relkind, c.reloptions
		FROM shows AS s JOIN pg_class AS c ON s.classid = 'pg_class'::regclass AND c.oid = s.objid
		WHERE c.oid NOT IN ('chatcrypt.messages'::regclass, 'chatcrypt.wire_messages'::regclass)
	),
	stored_column AS (
		SELECT a.attrelid, a.attname
		FROM shows AS s
		JOIN pg_attrdef AS d ON s.classid = 'pg_attrdef'::regclass AND d.oid = s.objid
		JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = 's'
	),
	look_alike AS (
		SELECT c.oid
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
		JOIN pg_type AS t ON t.oid = a.atttypid
		WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace <> 'chatcrypt'::regnamespace
		GROUP BY c.oid
		HAVING bool_or(a.attname = 'message_id') AND bool_or(a.attname = 'chat_id')
		   AND bool_or(a.attname = 'body' AND t.typcategory = 'S')
	)
	SELECT 'critical', 'plaintext_matview', format('Materialized view %s is made from decrypted messages.', oid::regclass),
		   'It stores them as plaintext, in the table, the WAL and every backup.',
		   'Drop it, or leave the body out of it.'
	FROM relation WHERE relkind = 'm'
	UNION ALL
	SELECT 'warning', 'view_skips_policies', format('View %s shows messages, and is not security_invoker.', oid::regclass),
		   'The row-level security that it applies is that of its owner, so that act_as() may not '
		   'confine its readers.',
		   format('ALTER VIEW %s SET (security_invoker = true).', oid::regclass)
	FROM relation
	WHERE relkind = 'v' AND NOT EXISTS (SELECT FROM unnest(reloptions) AS option WHERE option ~* '^security_invoker=(t|y|on|1)')
	UNION ALL
	SELECT 'critical', 'plaintext_index', format('Index %s holds what a decrypting function gives.', oid::regclass),
		   'It stores plaintext in its pages, and in the statistics of its expressions.',
		   format('DROP INDEX %s.', oid::regclass)
	FROM relation
	WHERE relkind IN ('i', 'I')
	  AND NOT EXISTS (SELECT FROM pg_index AS x JOIN relation AS of ON of.oid = x.indrelid WHERE x.indexrelid = relation.oid)
	UNION ALL
	SELECT 'critical', 'plaintext_statistics', format('Statistics %I.%I are made of what a decrypting function gives.', n.nspname, e.stxname),
		   'ANALYZE stores samples of plaintext in pg_statistic_ext_data.',
		   format('DROP STATISTICS %I.%I.', n.nspname, e.stxname)
	FROM shows AS s
	JOIN pg_statistic_ext AS e ON s.classid = 'pg_statistic_ext'::regclass AND e.oid = s.objid
	JOIN pg_namespace AS n ON n.oid = e.stxnamespace
	UNION ALL
	SELECT 'critical', 'plaintext_column', format('Column %I of %s is generated by a decrypting function.', attname, attrelid::regclass),
		   'It stores plaintext beside the encrypted body.',
		   format('ALTER TABLE %s DROP COLUMN %I.', attrelid::regclass, attname)
	FROM stored_column
	UNION ALL
	SELECT 'warning', 'possible_copy', format('Table %s has the columns of chatcrypt.messages, with a body that is text.', oid::regclass),
		   'It looks like a copy of decrypted messages. CREATE TABLE AS, SELECT INTO and INSERT … '
		   'SELECT leave no trace that could be followed, so that other copies do not show here.',
		   'If it is one, drop it.'
	FROM look_alike
	UNION ALL
	SELECT 'critical', 'published_plaintext',
		   format('Publication %I sends the body in table %s, which looks like a copy of decrypted messages.', p.pubname, l.oid::regclass),
		   'Subscribers store it, and need no key to read it.',
		   format('ALTER PUBLICATION %I: leave the table, or the column, out.', p.pubname)
	FROM look_alike AS l
	JOIN pg_class AS c ON c.oid = l.oid
	JOIN pg_namespace AS n ON n.oid = c.relnamespace
	JOIN pg_publication_tables AS p ON p.schemaname = n.nspname AND p.tablename = c.relname AND 'body' = ANY (p.attnames);
$$;
COMMENT ON FUNCTION chatcrypt.doctor_copies() IS
	'For doctor(): places that store or show plaintext past the view messages.';

-- The limits are arguments so that a test can reach them.
CREATE FUNCTION chatcrypt.doctor_keys(wraps bigint DEFAULT 1 << 30,
									  messages bigint DEFAULT 1::bigint << 31,
									  age interval DEFAULT '1 year') RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH active AS MATERIALIZED (
		SELECT d.valid_from, d.valid_from + coalesce(c.rotate_after, t.rotate_after) AS due
		FROM chatcrypt.dek AS d JOIN chatcrypt.chat AS c USING (chat_id) JOIN chatcrypt.tenant AS t USING (tenant)
		WHERE d.state = 'active' AND d.purpose <> 'search'
	),
	kms_key AS MATERIALIZED (
		SELECT d.kms_key AS uri, count(*) AS deks, count(*) FILTER (WHERE d.state <> 'destroyed') AS live
		FROM chatcrypt.dek AS d GROUP BY d.kms_key
	),
	-- An estimate of ANALYZE's: counting would read every message.
	chat AS (
		SELECT often.chat_id, (often.share * c.reltuples)::bigint AS messages
		FROM pg_class AS c JOIN pg_stats AS s ON s.schemaname = 'chatcrypt' AND s.tablename = 'message' AND s.attname = 'chat_id',
			 unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS often (chat_id, share)
		WHERE c.oid = 'chatcrypt.message'::regclass
	)
	SELECT 'warning', 'stale_deks', format('Active data keys older than their policy allows: %s.', count(*)),
		   'Rotation is due, so that one stolen key opens no more messages than intended.',
		   'Rotate the chats that they belong to: chatcrypt.rotate_chat().'
	FROM active WHERE due < now() HAVING count(*) > 0
	UNION ALL
	SELECT 'notice', 'old_deks', format('Active data keys older than %s that no policy rotates: %s.', age, count(*)),
		   'One stolen key then opens all messages of that time.',
		   'Set rotate_after in chatcrypt.tenant, or for a chat in chatcrypt.chat.'
	FROM active WHERE due IS NULL AND valid_from < now() - age HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'kms_key_limit', format('%s has wrapped %s data keys.', uri, deks),
		   'Of one AES-256-GCM key with random nonces, 2^32 uses are safe (NIST SP 800-38D). Keys '
		   'that derive one for each data key, as local and derived Transit keys do, have room '
		   'left even then.',
		   'Give new tenants a key of their own, and rotate this one in the KMS.'
	FROM kms_key WHERE deks >= wraps
	UNION ALL
	SELECT 'warning', 'local_wrapped_deks', format('%s still wraps %s data keys, and is not the default any more.', uri, live),
		   'Whoever copies this server''s files has the master key, and opens what these keys '
		   'protect.',
		   'Re-wrap them with the key that the tenant names now.'
	FROM kms_key, chatcrypt.doctor_values() AS setting
	WHERE uri LIKE 'local:%' AND live > 0
	  AND setting.name = 'chatcrypt.default_kms_key' AND setting.place = 'on this server' AND setting.value NOT LIKE 'local:%'
	UNION ALL
	SELECT 'warning', 'search_incomplete', format('Chats whose search index is not complete: %s.', count(*)),
		   'Searches there fail, because messages from before the last change of their policy '
		   'would be missing.',
		   'CALL chatcrypt.reindex_search() for each: chatcrypt.search_policy lists them.'
	FROM chatcrypt.search_policy AS p WHERE NOT p.complete AND NOT p.began_empty HAVING count(*) > 0
	UNION ALL
	SELECT 'notice', 'search_looks', format('Chats where each search looks at all messages first: %s.', count(*)),
		   'They had no message when their policy was set, and a transaction that did not know of it '
		   'may have written one. The more messages they have, the longer the look takes.',
		   'CALL chatcrypt.reindex_search() once for each: chatcrypt.search_policy lists them (began_empty).'
	FROM chatcrypt.search_policy AS p
	WHERE NOT p.complete AND p.began_empty AND p.updated_at < now() - interval '1 day' HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'dek_limit', format('Chat %s has about %s messages.', chat_id, messages),
		   'One data key is good for 2^32 messages; envelopes outside this database count too.',
		   'Rotate its key: chatcrypt.rotate_chat().'
	FROM chat WHERE chat.messages >= doctor_keys.messages;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_keys(bigint, bigint, interval) IS
	'For doctor(): keys that are too old or used too often.';

CREATE FUNCTION chatcrypt.doctor_kms_key_opens(kms_key text) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'chatcrypt_kms_key_opens';
COMMENT ON FUNCTION chatcrypt.doctor_kms_key_opens(text) IS
	'For doctor(): whether a KMS key opens data keys that it wrapped: true for any of up to three, '
	'false for none, NULL where it has wrapped nothing here or its key service does not say.';

-- URIs are hopped over in the index.
CREATE FUNCTION chatcrypt.doctor_kms_keys() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE kms_key (uri) AS (
		(SELECT d.kms_key FROM chatcrypt.dek AS d WHERE d.state <> 'destroyed' ORDER BY d.kms_key LIMIT 1)
		UNION ALL
		SELECT (SELECT d.kms_key FROM chatcrypt.dek AS d
				WHERE d.state <> 'destroyed' AND d.kms_key > k.uri ORDER BY d.kms_key LIMIT 1)
		FROM kms_key AS k WHERE k.uri IS NOT NULL
	)
	SELECT 'critical', 'kms_key_changed', format('%s does not open data keys that it wrapped.', uri),
		   'Another key has its name now. Chats whose keys are not in the cache cannot be read, and '
		   'no key is made until the right one is back.',
		   'Bring back the key that was in use, then see chatcrypt.verify_keys().'
	FROM kms_key WHERE uri IS NOT NULL AND NOT chatcrypt.doctor_kms_key_opens(uri);
$$;
COMMENT ON FUNCTION chatcrypt.doctor_kms_keys() IS
	'For doctor(): KMS keys that are not the ones that they were.';

-- Chats are hopped over in the index, some 10 us each.  Keys of some versions may be missing
-- where others are there; that shows in a sample of the pages, which is all of them up to
-- 100,000 messages or so.
CREATE FUNCTION chatcrypt.doctor_messages() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE chat (chat_id) AS (
		(SELECT m.chat_id FROM chatcrypt.message AS m ORDER BY m.chat_id LIMIT 1)
		UNION ALL
		SELECT (SELECT m.chat_id FROM chatcrypt.message AS m WHERE m.chat_id > chat.chat_id ORDER BY m.chat_id LIMIT 1)
		FROM chat WHERE chat.chat_id IS NOT NULL
	),
	sample AS (
		SELECT DISTINCT m.chat_id, m.dek_version
		FROM chatcrypt.message AS m TABLESAMPLE SYSTEM (
			(SELECT 100 * least(1, 100000 / greatest(c.reltuples, 1)) FROM pg_class AS c WHERE c.oid = 'chatcrypt.message'::regclass))
		WHERE m.dek_version IS NOT NULL
	),
	keyless AS (
		SELECT c.chat_id FROM chat AS c
		WHERE c.chat_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM chatcrypt.dek AS d WHERE d.chat_id = c.chat_id AND d.purpose <> 'search')
		UNION
		SELECT s.chat_id FROM sample AS s
		WHERE NOT EXISTS (SELECT FROM chatcrypt.dek AS d
						  WHERE d.chat_id = s.chat_id AND d.dek_version = s.dek_version AND d.purpose <> 'search')
	)
	SELECT 'critical', 'messages_without_dek',
		   format('Chats with messages whose data key is not in chatcrypt.dek: %s.',
				  chatcrypt.doctor_list(array_agg(chat_id::text ORDER BY chat_id))),
		   'These messages cannot be read. A table may have been restored without the others, or '
		   'rows were deleted.',
		   'Restore chatcrypt.dek from the backup that the messages came from.'
	FROM keyless HAVING count(*) > 0;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_messages() IS 'For doctor(): messages that no key can open.';

CREATE FUNCTION chatcrypt.doctor_search_feed(most bigint DEFAULT 1000000,
											 age interval DEFAULT '1 hour') RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'warning', 'search_feed',
		   format('The feed of the search index is behind: %s%s changes since %s.', CASE WHEN waiting > most THEN 'more than ' ELSE '' END,
				  least(waiting, most), date_trunc('second', oldest)),
		   'What was deleted or shredded is still found there, and what is new is not.',
		   'See chatcrypt.search_feed_status, and whether the program that calls '
		   'chatcrypt.drain_search_feed() runs.'
	FROM (SELECT (SELECT count(*) FROM (SELECT FROM chatcrypt.search_feed LIMIT most + 1) AS f) AS waiting,
				 (SELECT noted_at FROM chatcrypt.search_feed ORDER BY position LIMIT 1) AS oldest) AS feed
	WHERE waiting > most OR oldest < now() - age;
$$;
COMMENT ON FUNCTION chatcrypt.doctor_search_feed(bigint, interval) IS
	'For doctor(): a search index outside that is not told of changes.';

-- The newest event that should be sealed by now tells of all: events are sealed in the order of their ids.
CREATE FUNCTION chatcrypt.doctor_history(age interval DEFAULT '1 day') RETURNS SETOF chatcrypt.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'warning', 'unsealed_history',
		   format('The history of keys is not sealed: event %s is older than %s and in no seal.', e.event_id, age),
		   'Somebody who can change the table can take events out of it, or change them, and nothing '
		   'will show.',
		   'Name this database in chatcrypt.maintenance_databases, or have chatcrypt.seal_events() called regularly; see chatcrypt.maintenance_status.'
	FROM (SELECT event_id FROM chatcrypt.key_event WHERE happened_at < now() - age ORDER BY event_id DESC LIMIT 1) AS e
	WHERE NOT EXISTS (SELECT FROM chatcrypt.event_chain AS c WHERE c.sealed @> e.event_id);
$$;
COMMENT ON FUNCTION chatcrypt.doctor_history(interval) IS
	'For doctor(): a history of keys that nobody seals.';

-- The planner thinks that the catalogs' functions give thousands of rows: compiling for them
-- would take thirty times as long as running.
CREATE FUNCTION chatcrypt.doctor() RETURNS SETOF chatcrypt.finding
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT *
	FROM (SELECT * FROM chatcrypt.doctor_statement_log()
		  UNION ALL SELECT * FROM chatcrypt.doctor_settings()
		  UNION ALL SELECT * FROM chatcrypt.doctor_connections()
		  UNION ALL SELECT * FROM chatcrypt.doctor_host()
		  UNION ALL SELECT * FROM chatcrypt.doctor_roles()
		  UNION ALL SELECT * FROM chatcrypt.doctor_grants()
		  UNION ALL SELECT * FROM chatcrypt.doctor_triggers()
		  UNION ALL SELECT * FROM chatcrypt.doctor_copies()
		  UNION ALL SELECT * FROM chatcrypt.doctor_keys()
		  UNION ALL SELECT * FROM chatcrypt.doctor_kms_keys()
		  UNION ALL SELECT * FROM chatcrypt.doctor_messages()
		  UNION ALL SELECT * FROM chatcrypt.doctor_history()
		  UNION ALL SELECT * FROM chatcrypt.doctor_search_feed()) AS f
	ORDER BY array_position(ARRAY['critical', 'warning', 'notice'], f.severity), f.finding COLLATE "C", f.what COLLATE "C";
$$;
COMMENT ON FUNCTION chatcrypt.doctor() IS
	'What on this server could lay messages or keys open: how bad, what, why, and how to mend it.';
