# A role without rights attacks the functions for monitoring and for conditions on numbers, by a
# schema of its own with names of the extension's; and auditors attack them by keys that are not in
# use.
use strict;
use warnings;
use Chatcrypt::Test qw(keys_of make_key);
use Test::More;

my $node = Chatcrypt::Test->start('attack_views', conf => "autovacuum = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE mallory LOGIN;
CREATE DATABASE hers OWNER mallory;
CREATE ROLE auditor LOGIN;
GRANT chatcrypt_auditor TO auditor;
SQL

sub as
{
	my ($role, $database, $sql) = @_;
	my ($output, $errors) = ('', '');

	$node->psql($database, $sql, stdout => \$output, stderr => \$errors, extra_params => [ '-U', $role ]);
	return $errors =~ /^(?:psql:\S+ )?(.*)/ && $1 ne '' ? $1 : $output;
}

# In a database without the extension, a number_of() and an id() of mallory's: an integer taken for
# the address of a uuid would let her read memory of the server at will, or crash it.
as('mallory', 'hers', <<'SQL');
CREATE SCHEMA chatcrypt;
CREATE TABLE ids AS SELECT gen_random_uuid() AS id FROM generate_series(1, 3);
CREATE FUNCTION chatcrypt.number_of(uuid) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 5; END';
SQL
is(as('mallory', 'hers', 'SELECT count(*) FROM ids WHERE chatcrypt.number_of(id) = 5'), '3',
	'a number_of() of another role: a condition on it is left unchanged');
as('mallory', 'hers', q{CREATE FUNCTION chatcrypt.to_uuid(bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 24; END'});
is(as('mallory', 'hers', 'SELECT count(*) FROM ids WHERE chatcrypt.number_of(id) = 5'), '3',
	'a number_of() of another role: a to_uuid() of that role is not called');
is(as('mallory', 'hers', 'SELECT count(*) FROM ids WHERE chatcrypt.number_of(id) = ANY (ARRAY[4, 5])'), '3',
	'a number_of() of another role: a to_uuid() is not called for an array');
is(as('mallory', 'hers', 'DELETE FROM ids WHERE 5 = chatcrypt.number_of(id) RETURNING 1'), "1\n1\n1",
	'a number_of() of another role: a to_uuid() is not called in a DELETE');

# kms_check() takes any key: however many keys an auditor tries, the state of a key in use is kept.
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(1)');
my $known = q{SELECT usable, calls, last_success FROM chatcrypt.kms_status WHERE kms_key = 'local:main'};
my $before = as('auditor', 'postgres', $known);
like($before, qr/^t\|[1-9]/, 'the state of a key in use is known');
is(as('auditor', 'postgres', q{SELECT count(DISTINCT n) FROM generate_series(1, 300) AS n, chatcrypt.kms_check('local:none' || n)}),
	'300', 'an auditor tries 300 keys that do not exist');
is(as('auditor', 'postgres', $known), $before, 'the state of the key in use is still known');
is(as('auditor', 'postgres', q{SELECT string_agg(kms_key, ', ') FROM chatcrypt.kms_status}), 'local:main',
	'kms_status shows no key that was only tried');
like(as('auditor', 'postgres', q{SELECT count(*) FROM chatcrypt.kms_calls}), qr/^[1-9][0-9]{2}$/, 'calls are counted for a bounded number of keys');
make_key(keys_of($node), 'second');
$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('second', kms_key => 'local:second')});
is($node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(2, tenant => 'second') IS NOT NULL}), 't', 'a new key takes the place of a key that was only tried');
is(as('auditor', 'postgres', $known), $before,
	'a new key does not take the place of the key in use');
is(as('auditor', 'postgres', q{SELECT count(*) FROM chatcrypt.doctor() WHERE finding LIKE 'kms%'}), '0',
	'doctor() has no finding about the keys that were tried');

done_testing();
