-- doctor(): all findings, the worst first.

-- JIT is off, because the planner expects thousands of rows from functions of the catalogs, and
-- compiling for them would take thirty times as long as the query itself.
CREATE FUNCTION chatcrypt.doctor() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT *
	FROM (SELECT * FROM chatcrypt_internal.doctor_statement_log()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_settings()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_connections()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_host()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_kms()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_roles()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_grants()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_triggers()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_copies()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_keys()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_kms_keys()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_messages()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_history()
		  UNION ALL SELECT * FROM chatcrypt_internal.doctor_search_feed()) AS f
	ORDER BY array_position(ARRAY['critical', 'warning', 'notice'], f.severity), f.finding COLLATE "C", f.what COLLATE "C";
$$;
COMMENT ON FUNCTION chatcrypt.doctor() IS
	'Returns findings about settings, roles and keys of this server that could expose messages or '
	'lose keys: the severity, what was found, why it matters, and what to do.';
