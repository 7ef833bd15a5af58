# The table of states in docs/operations.md, row by row against a real key service: what sessions
# see, what kms_check(), the views, doctor() and the alerts say, and how the state ends.  The cells
# of the table are the expectations:
#
#   `28000` `status 403`   an error of this SQLSTATE, with this in its text
#   read, made             there is no error
#   `NAME` ... or none     these findings of doctor() about the KMS, these alerts (others may fire
#                          too), this step of kms_check()
#
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::Monitoring;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $bao = Chatcrypt::OpenBao->start_or_skip;
Chatcrypt::Monitoring::need_programs();
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('states', bao => $bao, proxy => $proxy, conf => <<'CONF');
chatcrypt.cache_ttl = '1s'
chatcrypt.kms_timeout = '1s'
chatcrypt.kms_connect_timeout = '800ms'
CONF
my $monitoring = Chatcrypt::Monitoring->start_or_skip($node);
my $key = $bao->kms_key;
my $next_chat = 1;
my $next_new = 100_000;

make_chats($node, 1, 5000);
make_cold($node);

sub cold { return $next_chat++; }

sub without_right
{
	my ($path) = @_;
	my $policy = $bao->policy('chat') =~ s/^path "transit\/\Q$path\E.*\n//mr;
	return (begin => sub { $bao->cli('policy', 'write', 'chatcrypt', '-', \$policy); set($node) }, end => sub { $bao->set_policy('chat') });
}

# A state begins with a reload where the KMS must be logged in to and looked at anew.
my $worker;
my %state = (
	'the right to unwrap is missing' => { without_right('decrypt/') },
	'the right to make a data key is missing' => { without_right('datakey/plaintext/') },
	'the right to wrap is missing' => { without_right('encrypt/') },
	'the right to re-wrap is missing' => { without_right('rewrap/') },
	'the right to read the key is missing, at a restart or reload' => { without_right('keys/') },
	'the token is revoked' => {
		begin => sub { $bao->cli('token', 'revoke', slurp_file($bao->token_file)) },
		end => sub { write_secret($bao->token_file, $bao->new_token) } },
	'the secret id is destroyed, and its token has ended' => {
		begin => sub {
			set($node, 'chatcrypt.vault_token_file' => '', 'chatcrypt.vault_role_id_file' => $bao->role_id_file,
				'chatcrypt.vault_secret_id_file' => $bao->secret_id_file);
			check($node, $key) eq 'ok' or die 'no login by AppRole';
			$bao->cli('write', 'auth/approle/role/chatcrypt/secret-id/destroy', 'secret_id=' . slurp_file($bao->secret_id_file));
			set($node);
		},
		end => sub { write_secret($bao->secret_id_file, $bao->new_secret_id) } },
	'the minimum version was raised' => {
		begin => sub {
			$bao->cli('write', '-f', 'transit/keys/chat/rotate');
			my $latest = $bao->cli('read', '-field=latest_version', 'transit/keys/chat');
			$bao->cli('write', 'transit/keys/chat/config', "min_decryption_version=$latest");
		},
		end => sub { $bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1') } },
	'the key is deleted' => {
		begin => sub {
			$bao->cli('write', 'transit/keys/chat/config', 'deletion_allowed=true', 'allow_plaintext_backup=false');
			$bao->cli('delete', 'transit/keys/chat');
		},
		end => undef },
	'the KMS wants no request' => {
		begin => sub { $proxy->fault(path => 'transit/', fault => 'status', code => 429, retry_after => 10) },
		end => sub { $proxy->clear } },
	'the worker is stopped' => {
		begin => sub { $worker = worker_pid($node); kill 'STOP', $worker },
		end => sub { kill 'CONT', $worker } },
	'the certificate of the KMS has expired' => {
		begin => sub { $proxy->certificate('expired') }, end => sub { $proxy->certificate('good') } },
	'the KMS is sealed' => { begin => sub { $bao->seal }, end => sub { $bao->unseal } },
	'the KMS takes connections and does not answer' => { begin => sub { $proxy->listen('silent') }, end => sub { $proxy->listen('accept') } },
	'nothing listens at the address of the KMS' => { begin => sub { $proxy->listen('refuse') }, end => sub { $proxy->listen('accept') } },
);


# The rows of the table, by their first cell.
my @column = ('cold', 'new', 'warm', 'check', 'status', 'doctor', 'alert', 'end');
my ($section) = slurp_file('docs/operations.md') =~ /^## States\n(.*?)^## /ms or die 'operations.md has no states';
my %row;
foreach my $line ($section =~ /^\| (?!state |---)(.*) \|$/mg)
{
	my ($name, @cells) = split / \| /, $line;
	my %cell;
	@cell{@column} = @cells;
	$row{$name} = \%cell;
}
is_deeply([ sort keys %row ], [ sort keys %state ], 'operations.md has a row for each state');

sub spans { my ($cell) = @_; return $cell =~ /`([^`]+)`/g; }

# Runs a statement; its result must be the one in the cell.
sub sees
{
	my ($cell, $sql, $name) = @_;
	my $failure = failure($node, $sql);

	return is($failure, '', "$name: $cell") if $cell =~ /^(read|made)/;
	foreach my $span (spans($cell))
	{
		like($failure, $span =~ /^[0-9A-Z]{5}$/ ? qr/^$span / : qr/\Q$span\E/, "$name: $span");
	}
	return;
}

# Waits up to so many seconds for the code to return what is expected, while the application goes
# on.
sub comes_to
{
	my ($expected, $seconds, $code, $name) = @_;
	my ($found, $since) = ('', time);

	wait_until($seconds, sub {
		failure($node, read_chat(cold()));
		$found = $code->();
		sleep(0.2) if $found ne $expected;
		return $found eq $expected;
	});
	is($found, $expected, sprintf '%s (%.1f s)', $name, time - $since);
	return;
}

# The names in the cell that were not found.
sub missing
{
	my ($cell, @found) = @_;
	my %found = map { $_ => 1 } @found;
	return join ' ', grep { !$found{$_} } spans($cell);
}

sub findings
{
	return split /\n/, $node->safe_psql('postgres', q{SELECT DISTINCT finding FROM chatcrypt.doctor() WHERE finding ~ '^kms_' ORDER BY 1});
}

sub alerts
{
	my (@before) = @_;
	my %before = map { $_ => 1 } @before, 'ChatcryptKeysNotLocked';		# of this machine
	return grep { !$before{$_} } $monitoring->firing;
}

# The parts of the cell that kms_status does not say.
sub not_in_status
{
	my ($cell) = @_;
	my $why = status($node, 'unusable_because', $key);

	return spans($cell) == 0 ? $why : join ' ', grep { index($why, $_) < 0 } spans($cell);
}

foreach my $name ((grep { $_ ne 'the key is deleted' } sort keys %state), 'the key is deleted')
{
	my $row = $row{$name} // {};
	my $warm = cold();
	my $session = session($node);
	my @before = $monitoring->firing;

	is(answer($session, read_chat($warm)), "body $warm", "$name: a chat is warm");
	$state{$name}{begin}->();
	my $begin = time;
	sees($row->{cold}, read_chat(cold()), "$name, a cold chat");
	my ($one, $many) = split m{ / }, $row->{new};
	sees($one, 'SELECT chatcrypt.create_chat(' . $next_new++ . ')', "$name, a new chat");
	sees($many // $one, 'SELECT chatcrypt.create_chats(ARRAY[' . $next_new++ . ', ' . $next_new++ . '])', "$name, new chats");
	if ($row->{warm} =~ /^read/)
	{
		wait_until(3 - (time - $begin), sub { answer($session, read_chat($warm)) ne "body $warm" });
		is(answer($session, read_chat($warm)), "body $warm", "$name: the warm chat is still read");
	}
	else
	{
		comes_to('ERROR', 10, sub { substr(answer($session, read_chat($warm)), 0, 5) }, "$name: the warm chat is not read any more");
		sees($row->{warm} =~ s/ after .*//r, read_chat($warm), "$name, the warm chat");
	}
	my ($step) = (spans($row->{check}), '');
	comes_to($step, 10, sub { check($node, $key) =~ /^(\w[^:]*): / ? $1 : '' }, "$name: kms_check() fails where the page says");
	comes_to('', 10, sub { not_in_status($row->{status}) }, "$name: kms_status says why");
	comes_to('', 10, sub { missing($row->{doctor}, findings()) }, "$name: findings of doctor(): $row->{doctor}");
	comes_to('', 30, sub { missing($row->{alert}, alerts(@before)) }, "$name: alerts: $row->{alert}");
	$session->quit;
	next unless $state{$name}{end};
	$state{$name}{end}->();
	check($node, $key) if $row->{end} =~ /`kms_check\(\)`/;
	my ($seconds) = $row->{end} =~ /(\d+) s\b/ or die "$name: no time";
	my $took = works_again($node, cold(), $seconds * 2 + 10);
	ok(defined $took, sprintf '%s: works again after %.1f s, %s', $name, $took // -1, $row->{end});
	comes_to('', 10, sub { join ' ', findings(), status($node, 'unusable_because', $key) }, "$name: the key can be used, and no finding is left");
	comes_to('', 40, sub { join ' ', alerts(@before) }, "$name: no alert is left");
	set($node, 'chatcrypt.vault_token_file' => $bao->token_file, 'chatcrypt.vault_role_id_file' => undef, 'chatcrypt.vault_secret_id_file' => undef);
	ok(defined works_again($node, cold(), 60), "$name: the state is over");
}

$node->stop;
done_testing();
