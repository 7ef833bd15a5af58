# Operators, functions, types and tables of another role, all named as PostgreSQL's own and first in
# the search_path: nothing that chatcrypt runs may use one of them, neither in the session of a
# superuser with such a path, nor as the owner of the extension where the caller set such a path.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use Test::More;

my $node = Chatcrypt::Test->start('attack_search_path', conf => "autovacuum = off\n");

# Every operator, plain function, relation and type of pg_catalog, in a schema of mallory's.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE mallory LOGIN;
CREATE SCHEMA evil AUTHORIZATION mallory;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SQL
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-U', 'mallory' ]);
SET client_min_messages = error;
CREATE FUNCTION evil.spring() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'something of evil was taken';
END $$;
CREATE FUNCTION evil.spring_on_value(anyelement) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'a type of evil was taken';
END $$;
DO $$
DECLARE
	one record;
	made bigint := 0;
BEGIN
	FOR one IN
		SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, format_type(p.prorettype, NULL) AS result
		FROM pg_proc AS p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
		  AND p.proargmodes IS NULL
		  AND NOT EXISTS (SELECT FROM unnest(p.proargtypes || p.prorettype) AS a (type) JOIN pg_type AS t ON t.oid = a.type WHERE t.typtype = 'p')
	LOOP
		EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN PERFORM evil.spring(); END''',
					   one.proname, one.arguments, one.result);
		made := made + 1;
	END LOOP;
	FOR one IN
		SELECT o.oprname, format_type(o.oprleft, NULL) AS leftarg, format_type(o.oprright, NULL) AS rightarg,
			   format_type(o.oprresult, NULL) AS result, row_number() OVER () AS nth
		FROM pg_operator AS o
		WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
		  AND NOT EXISTS (SELECT FROM pg_type AS t WHERE t.oid IN (o.oprleft, o.oprright, o.oprresult) AND t.typtype = 'p')
	LOOP
		EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN PERFORM evil.spring(); END''',
					   one.nth, one.leftarg, one.rightarg, one.result);
		EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)',
					   one.oprname, one.leftarg, one.rightarg, one.nth);
		made := made + 1;
	END LOOP;
	-- A relation brings a type of its name.
	FOR one IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
	LOOP
		EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.spring()', one.relname);
		made := made + 1;
	END LOOP;
	FOR one IN
		SELECT t.typname FROM pg_type AS t
		WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'm', 'r') AND t.typcategory <> 'A' AND t.typrelid = 0
		  AND t.typname !~ '^pg_'
	LOOP
		EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%1$I CHECK (evil.spring_on_value(value))', one.typname);
		made := made + 1;
	END LOOP;
	IF made < 2500 THEN
		RAISE EXCEPTION 'only % traps', made;
	END IF;
END $$;
SQL

# The traps do spring.
my $path = 'SET search_path = evil, pg_catalog';
like(ask($node, "$path; $_"), qr/ERROR:  (something|a type) of evil was taken/, "a trap: $_")
  foreach 'SELECT 1 = 1', q{SELECT lower('X')}, 'SELECT * FROM pg_class', q{SELECT uuid '00000000-0000-0000-0000-000000000000'}, 'SELECT now()',
  q{SELECT ctid = '(0,1)' FROM pg_catalog.pg_class LIMIT 1};

# What the session of a superuser does with that path, without an operator or function of its own.
my $session = session($node);
answer($session, $path);
my @calls = (
	q{SELECT chatcrypt.create_tenant('acme')},
	q{SELECT chatcrypt.create_chat(1, participants => '{alice,bob}', tenant => 'acme')},
	q{SELECT chatcrypt.create_chats('{2,3}'::bigint[])},
	q{SELECT chatcrypt.create_chat(4, mode => 'conversation_key')},
	q{SELECT chatcrypt.set_search(1, 'blind', prefixes => 3, trigrams => true)},
	q{CALL chatcrypt.reindex_search(1)},
	q{SELECT chatcrypt.set_search(2, 'plain')},
	q{INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'alice', 'the quick fox')},
	q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(2), chatcrypt.to_uuid(2), 'plain'), (chatcrypt.to_uuid(4), chatcrypt.to_uuid(4), 'x')},
	q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), 'put')},
	q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), 'put again')},
	q{TABLE chatcrypt.messages},
	q{TABLE chatcrypt.wire_messages},
	q{UPDATE chatcrypt.messages SET body = 'the quick brown fox'},
	q{UPDATE chatcrypt.messages SET expires_at = '2100-01-01'},
	q{UPDATE chatcrypt.messages SET sender = 'bob'},
	q{SELECT * FROM chatcrypt.search(1, 'quick fo* -lazy')},
	q{SELECT * FROM chatcrypt.search(1, '*row*')},
	q{SELECT chatcrypt.search_tokens(1, 'quick')},
	q{SELECT chatcrypt.drain_search_feed()},
	q{SELECT chatcrypt.ack_search_feed(1)},
	q{SELECT chatcrypt.resend_search_feed(2)},
	q{TABLE chatcrypt.search_feed_status},
	q{SELECT chatcrypt.decrypt(1, 1, chatcrypt.encrypt(1, 1, 'x'))},
	q{SELECT chatcrypt.dek_version(chatcrypt.reencrypt_envelope(1, 1, chatcrypt.encrypt(1, 1, 'x')))},
	q{SELECT chatcrypt.put_attachment(1, 1, 'content', name => 'n', message_id => chatcrypt.to_uuid(1))},
	q{SELECT chatcrypt.begin_attachment(1, 2)},
	q{SELECT chatcrypt.put_attachment_part(2, 0, 'content', true)},
	q{SELECT * FROM chatcrypt.attachment_progress(2)},
	q{SELECT chatcrypt.finish_attachment(2)},
	q{SELECT chatcrypt.read_attachment(1), chatcrypt.read_attachment_part(2, 0)},
	q{TABLE chatcrypt.attachments},
	q{SELECT chatcrypt.delete_attachment(2)},
	q{SELECT chatcrypt.wire_message(4, 4)},
	q{SELECT * FROM chatcrypt.conversation_key(4)},
	q{SELECT chatcrypt.default_expiry(chatcrypt.to_uuid(1))},
	q{UPDATE chatcrypt.tenant SET retention = '1 day', rotate_messages = 7},
	q{UPDATE chatcrypt.chat SET external_envelopes = false},
	q{SELECT chatcrypt.add_participant(1, 'carol')},
	q{SELECT chatcrypt.remove_participant(1, 'carol')},
	q{SELECT chatcrypt.rotate_chat(1)},
	q{SELECT * FROM chatcrypt.due_for_rotation()},
	q{CALL chatcrypt.rotate_due(max_age => '0')},
	q{CREATE TABLE evil.kept (id bigint, chat bigint, envelope bytea)},
	q{SELECT (chatcrypt.warm_keys('{1,2,3}'::bigint[])).warmed},
	q{CALL chatcrypt.rewrap()},
	q{SELECT * FROM chatcrypt.kms_key_usage()},
	q{SELECT * FROM chatcrypt.kms_check('local:main')},
	q{SELECT * FROM chatcrypt.verify_keys()},
	q{CALL chatcrypt.reencrypt_chat(1)},
	q{CALL chatcrypt.reencrypt_due('0')},
	q{CALL chatcrypt.purge_chat_keys(1)},
	q{CALL chatcrypt.purge_unused_keys()},
	q{SELECT * FROM chatcrypt.verify_chat(1)},
	q{CALL chatcrypt.verify_all()},
	q{CALL chatcrypt.verify_all(max_rate => 100)},
	q{CALL chatcrypt.apply_retention()},
	q{CALL chatcrypt.delete_messages_of('bob')},
	q{SELECT chatcrypt.seal_events()},
	q{SELECT * FROM chatcrypt.verify_events()},
	q{SELECT chatcrypt.move_event_key()},
	q{SELECT * FROM chatcrypt.doctor()},
	q{TABLE chatcrypt.kms_status}, q{TABLE chatcrypt.kms_worker}, q{TABLE chatcrypt.cache_status}, q{TABLE chatcrypt.progress},
	q{TABLE chatcrypt.maintenance_status},
	q{DELETE FROM chatcrypt.messages},
	q{SELECT chatcrypt.shred_chat(2, 'irreversible')},
	q{CALL chatcrypt.delete_chat(3, confirm => 'irreversible')},
	q{SELECT chatcrypt.shred_tenant('acme', 'irreversible')});
unlike(answer($session, $_), qr/ERROR/, "a superuser with the path: $_") foreach @calls;

# A caller of what runs as the owner of the extension brings not only a path, but temporary tables
# too.
$node->safe_psql('postgres', 'CREATE ROLE eve LOGIN IN ROLE chatcrypt_admin, chatcrypt_auditor; SELECT chatcrypt.create_chat(10)');
$session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'eve' ]);
answer($session, q{CREATE TEMP TABLE pg_settings (name text); CREATE TEMP TABLE pg_roles (name text); CREATE TEMP TABLE key_event (event text);}
	  . q{CREATE TEMP VIEW pg_class AS SELECT evil.spring(); SET search_path = evil, pg_temp, pg_catalog; SET intervalstyle = iso_8601});
unlike(answer($session, $_), qr/ERROR/, "an administrator with the path: $_")
  foreach q{SELECT * FROM chatcrypt.doctor()}, q{UPDATE chatcrypt.chat SET rotate_messages = 3},
  q{UPDATE chatcrypt.tenant SET retention = '2 days'}, q{CALL chatcrypt.verify_all()}, q{SELECT chatcrypt.rotate_chat(10)}, q{SELECT chatcrypt.seal_events()};
is($node->safe_psql('postgres', q{SELECT detail FROM chatcrypt.key_event WHERE event = 'policy' ORDER BY event_id DESC LIMIT 1}),
	'retention: 1 day -> 2 days',
		'the change of a policy is in the history in words that settings of the caller do not change');

# Every function whose body is parsed when it runs has a search_path of its own, or runs no SQL.
is($node->safe_psql('postgres', <<'SQL'), '', 'no function of the extension looks up names in the search_path of its caller');
SELECT string_agg(p.oid::regprocedure::text, ', ')
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
  AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'));
SQL

# Code cannot come in through objects that only a superuser can make: text search configurations are
# made of them, and so are conversions between encodings.
my @makes = (
	'CREATE TEXT SEARCH TEMPLATE evil.template (LEXIZE = dsimple_lexize)',
	'CREATE TEXT SEARCH PARSER evil.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)',
	q{CREATE FUNCTION evil.convert(integer, integer, cstring, internal, integer, boolean) RETURNS integer LANGUAGE sql AS 'SELECT 1'},
	q{CREATE FUNCTION evil.code() RETURNS void LANGUAGE c AS '$libdir/chatcrypt', 'chatcrypt_act_as'},
	'CREATE OPERATOR CLASS evil.ops DEFAULT FOR TYPE uuid USING btree AS OPERATOR 1 <',
	'CREATE CAST (bytea AS text) WITHOUT FUNCTION',
	q{CREATE RULE evil AS ON SELECT TO chatcrypt.messages DO INSTEAD SELECT 1},
	'CREATE TRIGGER evil BEFORE DELETE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE INDEX ON chatcrypt.sealed_message (chat_id) WHERE evil.spring()',
	'CREATE POLICY evil ON chatcrypt.sealed_message USING (evil.spring())',
	'CREATE EVENT TRIGGER evil ON ddl_command_start EXECUTE FUNCTION evil.spring()',
	'CREATE FUNCTION chatcrypt.seal_events() RETURNS void LANGUAGE sql AS $$$$',
	'CREATE TABLE chatcrypt.evil ()');
foreach my $statement (@makes)
{
	my (undef, undef, $errors) = $node->psql('postgres', $statement, extra_params => [ '-U', 'mallory' ]);
	like($errors, qr/must be superuser|must be owner|permission denied|cannot accept|SQL functions cannot have arguments of type/,
		"a role without rights cannot make this: $statement");
}

# A configuration of another role is data, and its name is not looked up in the path.
$node->safe_psql('postgres', 'CREATE TEXT SEARCH CONFIGURATION evil.simple (COPY = pg_catalog.english)', extra_params => [ '-U', 'mallory' ]);
is(ask($node, "$path; SELECT chatcrypt.create_chat(11); SELECT chatcrypt.set_search(11, 'blind'); RESET search_path; "
		. "SELECT config FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(11)") =~ s/.*\n//sr, 'pg_catalog.simple',
	'the default configuration of a search is PostgreSQL\'s own, whatever the path');

done_testing();
