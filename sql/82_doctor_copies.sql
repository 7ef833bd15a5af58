-- doctor(): findings about copies of plaintext.

-- Finds objects that depend on plaintext, step by step: views on the view messages, functions that
-- decrypt, and objects that depend on those.  A table that CREATE TABLE AS wrote is not found,
-- because it depends on nothing.
CREATE FUNCTION chatcrypt_internal.doctor_plaintext(OUT classid oid, OUT objid oid) RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE shows (classid, objid, subid) AS (
		SELECT 'pg_class'::regclass::oid, attrelid, attnum::integer
		FROM pg_attribute
		WHERE (attrelid, attname) IN (('chatcrypt.messages'::regclass, 'body'), ('chatcrypt.wire_messages'::regclass, 'wire'))
		UNION
		SELECT 'pg_proc'::regclass::oid, oid, 0
		FROM pg_proc
		WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace)
		  AND proname IN ('decrypt', 'decrypt_bytea', 'try_decrypt', 'message_body', 'message_wire', 'drain_search_feed')
		UNION
		-- A function whose body is text has no dependencies, so its text is searched for the names.
		SELECT 'pg_proc'::regclass::oid, f.oid, 0
		FROM pg_proc AS f JOIN pg_language AS l ON l.oid = f.prolang
		WHERE l.lanname NOT IN ('c', 'internal')
		  AND f.pronamespace NOT IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace, 'pg_catalog'::regnamespace)
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
COMMENT ON FUNCTION chatcrypt_internal.doctor_plaintext() IS
	'For doctor(): objects of the catalog through which plaintext comes.';

CREATE FUNCTION chatcrypt_internal.doctor_copies() RETURNS SETOF chatcrypt_internal.finding
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH shows AS MATERIALIZED (SELECT * FROM chatcrypt_internal.doctor_plaintext()),
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
COMMENT ON FUNCTION chatcrypt_internal.doctor_copies() IS
	'For doctor(): places that store or show plaintext past the view messages.';
