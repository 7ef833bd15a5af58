-- doctor(): findings about roles, rights and triggers.

CREATE FUNCTION chatcrypt_internal.read_acting_roles() RETURNS SETOF oid
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'chatcrypt_read_acting_roles';
COMMENT ON FUNCTION chatcrypt_internal.read_acting_roles() IS
	'For doctor(): roles that have logged in to this database and called act_as() since the server '
	'started.';

-- What roles may do.  MEMBER is checked and not USAGE, because a role that does not inherit a right
-- can still use it after SET ROLE.
CREATE FUNCTION chatcrypt_internal.doctor_roles() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	-- The setting's value for a role that logs in here.  The first of these that exists counts:
	-- the role's in this database, the role's, this database's, that of all roles, the server's.
	WITH required AS MATERIALIZED (
		SELECT r.oid, coalesce(
				(SELECT substr(entry, strpos(entry, '=') + 1)
				 FROM pg_db_role_setting AS o, unnest(o.setconfig) AS entry
				 WHERE entry ~* '^chatcrypt[.]require_actor=' AND o.setrole IN (0, r.oid)
				   AND o.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
				 ORDER BY o.setrole <> 0 DESC, o.setdatabase <> 0 DESC LIMIT 1),
				(SELECT v.value FROM chatcrypt_internal.doctor_values() AS v
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
		-- Role 10 is the superuser that initdb creates, which every cluster has.
		WHERE rolcanlogin AND oid <> 10
	),
	suspect AS (
		SELECT 'notice' AS severity, 'superusers' AS finding, 'These superusers can log in: %s.' AS what,
			   'A superuser reads every message.' AS why,
			   'Give applications roles of their own, without SUPERUSER.' AS remedy, name
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
		FROM login WHERE oid IN (SELECT r FROM chatcrypt_internal.read_acting_roles() AS r) AND NOT names_actors AND NOT super
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
	SELECT severity, finding, format(what, chatcrypt_internal.doctor_list(array_agg(name ORDER BY name COLLATE "C"))), why, remedy
	FROM suspect
	GROUP BY severity, finding, what, why, remedy;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_roles() IS
	'For doctor(): roles that can do more than they should, or that a person should know of.';

-- Triggers that do not fire, or not in every session: those that tell other sessions of a change
-- must also fire in a session that replicates.
CREATE FUNCTION chatcrypt_internal.doctor_triggers() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'critical', 'triggers',
		   format('These triggers do not fire whenever they should: %s.',
				  chatcrypt_internal.doctor_list(array_agg(format('%s of %s', tgname, tgrelid::regclass) ORDER BY tgrelid::regclass::text, tgname))),
		   'Without them sessions go on with keys that were destroyed or policies that were '
		   'changed, or changes are not recorded.',
		   'ALTER TABLE … ENABLE ALWAYS TRIGGER for those called invalidate, invalidate_all, '
		   'message_removed, messages_truncated and require_new_envelope, '
		   'ENABLE TRIGGER for others; pg_restore --disable-triggers leaves them so.'
	FROM pg_trigger
	WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace)
	  AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'chatcrypt_internal'::regnamespace)
	  AND (tgenabled IN ('D', 'R')
		   OR tgenabled = 'O' AND tgfoid IN ('chatcrypt_internal.invalidate()'::regprocedure, 'chatcrypt_internal.message_removed()'::regprocedure,
											 'chatcrypt_internal.require_new_envelope()'::regprocedure))
	HAVING count(*) > 0
	UNION ALL
	SELECT 'warning', 'drop_guard',
		   'The event trigger chatcrypt_guard does not fire, or not in every session.',
		   'Started without chatcrypt in shared_preload_libraries, the server lets DROP EXTENSION '
		   'take the data keys with it.',
		   'ALTER EVENT TRIGGER chatcrypt_guard ENABLE ALWAYS.'
	WHERE NOT EXISTS (SELECT FROM pg_event_trigger
					  WHERE evtfoid = 'chatcrypt_internal.guard_drop()'::regprocedure AND evtenabled = 'A');
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_triggers() IS
	'For doctor(): triggers of the extension that were disabled, or are not ALWAYS any more.';

CREATE FUNCTION chatcrypt_internal.doctor_grants() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH object (name, acl) AS (
		SELECT format('SCHEMA %I', nspname), nspacl FROM pg_namespace WHERE nspname IN ('chatcrypt', 'chatcrypt_internal')
		UNION ALL
		SELECT oid::regclass::text, relacl FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace
		UNION ALL
		SELECT format('%s (%I)', a.attrelid::regclass, a.attname), a.attacl
		FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'chatcrypt'::regnamespace
		UNION ALL
		-- Unlike tables, functions may be called by PUBLIC unless that is revoked.  Constructors of
		-- range types are not counted: pg_dump does not keep their rights, so that pg_upgrade
		-- grants them to PUBLIC again, and they only make a value of their type.
		SELECT 'FUNCTION ' || f.oid::regprocedure, coalesce(f.proacl, acldefault('f', f.proowner))
		FROM pg_proc AS f
		WHERE f.pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace)
		  AND NOT EXISTS (SELECT FROM pg_depend AS d
						  WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid
							AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i')
	)
	SELECT 'critical', 'public_grants',
		   format('PUBLIC has rights on %s.', chatcrypt_internal.doctor_list(array_agg(DISTINCT name))),
		   'Every role of this cluster has them then, and the roles of chatcrypt mean less than '
		   'they say.',
		   'REVOKE ALL ON … FROM PUBLIC.'
	FROM object
	WHERE EXISTS (SELECT FROM aclexplode(acl) AS granted WHERE granted.grantee = 0)
	HAVING count(*) > 0;
$$;
COMMENT ON FUNCTION chatcrypt_internal.doctor_grants() IS 'For doctor(): rights of PUBLIC.';
