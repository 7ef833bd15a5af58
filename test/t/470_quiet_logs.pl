# What the log of the server says of failures of the KMS: one line for many of them, and no
# statement, which may hold the text of a message.  The session that meets a failure gets the whole
# error.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('quiet', bao => $bao, proxy => $proxy,
	conf => "chatcrypt.kms_timeout = '2s'\nlog_checkpoints = off\nlog_statement = none\nlog_line_prefix = '%e '\nlog_min_error_statement = error\n");
my $other_key = $bao->add_key('other');
my $next_chat = 1;
my $seen = 0;

make_chats($node, 1, 400);
make_cold($node);

sub cold { return $next_chat++; }

# The lines of the log since the last call.
sub new_lines
{
	my $text = substr(slurp_file($node->logfile), $seen);
	$seen += length $text;
	return split /\n/, $text;
}

# A write to a cold chat, of a text that must stay secret.
sub write_cold
{
	my $chat = cold();
	return failure($node, "INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid($chat), 'the marker in a message')");
}

# An outage.
new_lines();
$proxy->listen('refuse');
my @errors = map { write_cold() } 1 .. 30;
my $logged = Time::HiRes::time();
is(scalar(grep { /^58030 could not unwrap the data key of chat \S+ version 1 DETAIL: .*could not be reached.* HINT: See chatcrypt/ } @errors), 30,
	'outage: each of 30 statements fails, and says why and what to do');
my @lines = new_lines();
is(scalar(grep { /could not unwrap/ } @lines), 1, 'outage: the log has one line for all of them') or diag(join "\n", @lines);
like((grep { /could not unwrap/ } @lines)[0], qr/^58030 ERROR:  could not unwrap the data key of chat \S+ version 1: .*"vault:transit\/chat".*could not be reached/,
	'outage: an ERROR with its SQLSTATE, which says what failed, and why');
cmp_ok(scalar(@lines), '<=', 3,
	'outage: the log has at most three lines with those of the worker: ' . @lines . ' lines');
unlike("@lines", qr/DETAIL|HINT|STATEMENT|CONTEXT/,
	'outage: the log has no DETAIL, HINT, STATEMENT or CONTEXT');
unlike("@lines", qr/marker/, 'outage: the log has no statement and no text of a message');

# Another error of the same session is logged as usual.
failure($node, q{SELECT 1/0 AS "by zero"});
@lines = new_lines();
is(scalar(grep { /ERROR:  division by zero|STATEMENT:  SELECT 1\/0 AS "by zero"/ } @lines), 2, 'errors of another kind are logged as PostgreSQL does');

# An error that a session catches is not logged, as usual; nor is that of a parallel worker logged
# twice.
$node->safe_psql('postgres', <<'SQL');
DO $$
BEGIN
	PERFORM body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(399);
	RAISE 'was read';
EXCEPTION WHEN io_error THEN NULL;
END
$$
SQL
my $in_worker = q{SET %s = on; SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(398)};
my (undef, undef, $said) = $node->psql('postgres', sprintf($in_worker, $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode'));
like($said, qr/could not unwrap.*parallel worker/s, 'outage: a parallel worker fails');
@lines = new_lines();
is(scalar(grep { /could not unwrap|STATEMENT/ } @lines), 0,
	'outage: an error that is caught and one of a parallel worker add no line') or diag(join "\n", @lines);

# A refusal is another kind of failure, with a line of its own.
$proxy->listen('accept');
ok(defined works_again($node, cold(), 20), 'a cold chat is read when the KMS is back');
new_lines();
my $policy = $bao->policy('chat', 'other') =~ s/^path "transit\/rewrap\/.*\n//mgr;
$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
set($node);
(undef, undef, $said) = $node->psql('postgres', 'CALL chatcrypt.rewrap()');
like($said, qr/WARNING:  could not re-wrap.*\n.*DETAIL:.*403/, 'rewrap() without the right: the session is told');
@lines = new_lines();
is(scalar(grep { /could not re-wrap/ } @lines), 1, 'rewrap() without the right: the log has one line');
is(scalar(grep { /WARNING|DETAIL|HINT/ } @lines), 0,
	'rewrap() without the right: the log has no WARNING, DETAIL or HINT') or diag(join "\n", @lines);

# A failure of another key is another failure.
$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('other', '$other_key')");
$policy = $policy =~ s/^path "transit\/(?:datakey\/plaintext|encrypt)\/other.*\n//mgr;
$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
set($node);
new_lines();
like(failure($node, q{SELECT chatcrypt.create_chat(900001, tenant => 'other')}), qr/^28000 could not make .*403/,
	'a key that is refused: the session is told') for 1 .. 3;
is(scalar(grep { /^28000 ERROR:  could not make .*"vault:transit\/other"/ } new_lines()), 1,
	'a key that is refused: the log has a line of its own');

# An error that was caught, and is raised again after another one.
$node->safe_psql('postgres', 'UPDATE chatcrypt.dek SET encrypted_dek = set_byte(encrypted_dek, 40, get_byte(encrypted_dek, 40) # 1) WHERE chat_id = chatcrypt.to_uuid(397)');
like(failure($node, <<'SQL'), qr/^55000 could not unwrap/, 'an error that is raised again is the first one');
DO $$
BEGIN
	PERFORM body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(397);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	BEGIN
		PERFORM chatcrypt.create_chat(900001, tenant => 'other');
	EXCEPTION WHEN invalid_authorization_specification THEN NULL;
	END;
	RAISE;
END
$$
SQL
@lines = new_lines();
is(scalar(grep { /^55000 ERROR:  could not unwrap/ } @lines), 1,
	'an error that is raised again after another one is logged') or diag(join "\n", @lines);

# More keys than the table has room for.
$node->safe_psql('postgres', join '', map { "SELECT chatcrypt.create_tenant('none$_', 'vault:transit/none$_');\n" } 1 .. 80);
$node->psql('postgres', join('', map { "SELECT chatcrypt.create_chat(tenant => 'none$_');\n" } 1 .. 80, 1 .. 80), on_error_stop => 0);
@lines = grep { /^28000 ERROR: / } new_lines();
cmp_ok(scalar(@lines), '<=', 65, '80 keys that are refused, twice: ' . @lines . ' lines');
cmp_ok(scalar(@lines), '>=', 60,
	'80 keys that are refused, twice: at least as many lines as keys are told apart');

# After a minute, the worker logs how many failures were counted and not logged.
my $all = '';
ok(wait_until(90, sub { $all .= join "\n", '', new_lines(); $all =~ /transit\/chat" failed \d+ more times \(SQLSTATE 58030\)/ }),
	'after a minute the log says how many more failures there were');
my ($more) = $all =~ /requests with "vault:transit\/chat" failed (\d+) more times \(SQLSTATE 58030\)/;
cmp_ok($more // 0, '>=', 30, 'the log says of as many more failures as were counted: ' . ($more // 'none'));
cmp_ok(Time::HiRes::time() - $logged, '>=', 55,
	'the log says how many more failures there were no earlier than after a minute');
ok(wait_until(90, sub { $all .= join "\n", '', new_lines(); $all =~ /and others failed \d+ more times \(SQLSTATE 28000 and others\)/ }),
	'failures that had no place in the table are logged together');

$node->stop;
done_testing();
