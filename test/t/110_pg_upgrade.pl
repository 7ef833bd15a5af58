# pg_upgrade into a new cluster: it starts servers in binary-upgrade mode, in which no KMS worker
# may run, and copies the data.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $old = Chatcrypt::Test->start('old');
my $new = Chatcrypt::Test->start('new', start => 0, keys => keys_of($old));
my $bindir = $old->config_data('--bindir');
my $work = PostgreSQL::Test::Utils::tempdir_short();

$old->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(1::bigint, 20) AS g;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body)
	SELECT chatcrypt.to_uuid(g), chatcrypt.to_uuid(1 + g % 20), 'alice', 'body ' || g FROM generate_series(1, 200) AS g;
SELECT chatcrypt.rotate_chat(g) FROM generate_series(1::bigint, 10) AS g;
GRANT SELECT ON chatcrypt.chat TO pg_monitor;
SQL
my $bodies = q{SELECT md5(string_agg(message_id || body, '|' ORDER BY message_id)), count(body) FROM chatcrypt.messages};
my $deployment = 'SELECT deployment_id FROM chatcrypt.deployment';
my $keys = 'SELECT count(*), max(dek_id), md5(string_agg(kcv::text, $$|$$ ORDER BY dek_id)) FROM chatcrypt.dek';
# The worker locks the key cache a moment after it starts.
my $findings = q{SELECT severity, finding, what FROM chatcrypt.doctor() WHERE finding <> 'keys_not_locked' ORDER BY 2, 3};
my %there = map { $_ => ask($old, $_) } $bodies, $deployment, $keys, $findings;
like($there{$bodies}, qr/\|200$/, 'the old cluster reads everything');
$old->stop;

sub upgrade
{
	my (@options) = @_;
	my ($out, $err) = ('', '');

	chdir $work or die "$work: $!";
	my $ok = IPC::Run::run([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir,
			'-B', $bindir, '-s', $new->host, '-p', $old->port, '-P', $new->port, '-U', scalar getpwuid($<), @options ],
		'>', \$out, '2>', \$err);
	return ($ok, $out . $err . join('', map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*.log')));
}

sub workers
{
	my $postmaster = (split /\n/, slurp_file($new->data_dir . '/postmaster.pid'))[0];
	return scalar grep { /chatcrypt KMS worker/ } `ps -o args= --ppid $postmaster`;
}

# A new cluster without the library in shared_preload_libraries is refused before anything is done.
$new->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
my ($ok, $said) = upgrade('--check');
ok(!$ok, 'pg_upgrade --check fails where chatcrypt is not preloaded');
like($said, qr/chatcrypt must be loaded through shared_preload_libraries/,
	'pg_upgrade --check says that chatcrypt must be preloaded');

$new->append_conf('postgresql.conf', "shared_preload_libraries = 'chatcrypt'\n");
system_or_bail('rm', '-rf', $new->data_dir . '/pg_upgrade_output.d');

# Binary-upgrade mode.
my @pg_ctl = ('pg_ctl', '-s', '-w', '-D', $new->data_dir, '-l', $new->logfile);
system_or_bail(@pg_ctl, '-o', '-b', 'start');
is(workers(), 0, 'no KMS worker runs in binary-upgrade mode');
system_or_bail(@pg_ctl, 'stop');

($ok, $said) = upgrade();
ok($ok, 'pg_upgrade succeeds') or diag($said);
$new->start;
ok(wait_until(10, sub { workers() == 1 }), 'a KMS worker runs after the upgrade');
is(ask($new, $_), $there{$_}, "after the upgrade: $_") foreach $bodies, $deployment, $keys, $findings;
is(ask($new, 'SELECT chatcrypt.create_chat(100) IS NOT NULL, chatcrypt.rotate_chat(1)'), 't|3',
	'new chats and keys can be made after the upgrade');
is(ask($new, q{SELECT has_table_privilege('pg_monitor', 'chatcrypt.chat', 'SELECT')}), 't',
	'rights are kept by the upgrade');
is(ask($new, q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('chatcrypt.dek'::regclass, 'chatcrypt.chat'::regclass, 'chatcrypt.participant'::regclass)
	AND tgname LIKE 'invalidate%' AND tgenabled = 'A'}), '6',
		'triggers that invalidate are always on after the upgrade');
is(ask($new, q{SELECT evtenabled, evttags, (SELECT extname FROM pg_extension WHERE oid = d.refobjid)
	FROM pg_event_trigger AS t JOIN pg_depend AS d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e'}),
	'A|{"DROP EXTENSION","DROP OWNED","DROP SCHEMA"}|chatcrypt',
		'the event trigger that guards the extension belongs to it, and is always on');
like(ask($new, 'DROP EXTENSION chatcrypt'), qr/cannot drop chatcrypt/,
	'DROP EXTENSION is still refused after the upgrade');

# The files have one version of the extension, which is the default and is installed.
is(ask($new, q{SELECT e.extversion = a.default_version, (SELECT count(*) FROM pg_extension_update_paths('chatcrypt') WHERE path IS NOT NULL)
	FROM pg_extension AS e JOIN pg_available_extensions AS a ON a.name = e.extname WHERE e.extname = 'chatcrypt'}), 't|0',
	'the installed version is the default one, and there is no update path');
like(ask($new, 'ALTER EXTENSION chatcrypt UPDATE'), qr/^$/, 'ALTER EXTENSION UPDATE has nothing to do');

$new->stop;
done_testing();
