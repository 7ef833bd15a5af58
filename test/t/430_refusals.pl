# A refusal concerns the refused operation alone: where the login lacks one right, the other
# operations work, and what an administrator tries with kms_check() changes nothing for the
# application.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('refusals', bao => $bao, proxy => $proxy, conf => "chatcrypt.cache_ttl = '1s'\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $next_chat = 1;
my $next_new = 100_000;

make_chats($node, 1, 2000);

sub cold { return $next_chat++; }

# Sets the policy without one right; the reload makes the login anew and forgets all refusals.
sub take_away
{
	my ($path) = @_;
	my $policy = $bao->policy('chat') =~ s/^path "transit\/\Q$path\E\/.*\n//mr;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	set($node);
	return;
}

# What an application does, by the rights that it needs.
my %does = (
	'makes a chat' => [ 'datakey/plaintext', sub { 'SELECT chatcrypt.create_chat(' . $next_new++ . ')' } ],
	'makes chats' => [ 'encrypt', sub { 'SELECT chatcrypt.create_chats(ARRAY[' . join(', ', $next_new++, $next_new++) . '])' } ],
	'brings a key in' => [ 'encrypt', sub { 'SELECT chatcrypt.import_dek(' . cold() . q{, decode(repeat('d7', 32), 'hex'), 5)} } ],
	'reads a cold chat' => [ 'decrypt', sub { read_chat(cold()) } ],
);
# The same in a script.  Chats that are made at the same time may be sent as one request, which
# needs another right than the request of a single chat.
sub scripts_without
{
	my ($right) = @_;
	my @scripts;
	push @scripts, 'SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(:chat)' if $right ne 'decrypt';
	push @scripts, 'SELECT chatcrypt.create_chat()' if $right !~ /^(datakey|encrypt)/;
	return @scripts;
}
my %refused = ('datakey/plaintext' => 'make a data key', encrypt => 'wrap', decrypt => 'unwrap it', rewrap => 're-wrap');

# kms_check() is called repeatedly while all of them run.
sub run_beside_checks
{
	my ($right, @scripts) = @_;
	my $file = "$folder/application.sql";
	my ($output, $error) = ('', '');

	unlink $file;
	append_to_file($file, join('', "\\set chat random(1001, 2000)\n", map { "$_;\n" } @scripts));
	my $application = IPC::Run::start([ 'pgbench', '--no-vacuum', "--file=$file", '--client=4', '--jobs=2', '--time=4',
		'--host', $node->host, '--port', $node->port, 'postgres' ], '<', \undef, '>', \$output, '2>', \$error);
	my $steps = '';
	for (1 .. 12)
	{
		my $step = check($node, $bao->kms_key);
		$steps .= "$step\n" unless $step =~ /^$refused{$right}: .*status 403/;
		sleep(0.25);
	}
	$application->finish;
	is($steps, '', "without $right: every kms_check() says what is refused");
	is($error, '', "without $right: an application beside kms_check() sees no error");
	like($output, qr/number of transactions actually processed: [1-9]/,
		"without $right: the application beside kms_check() completes transactions");
	return;
}

foreach my $right (sort keys %refused)
{
	my @allowed = grep { $does{$_}[0] ne $right } sort keys %does;

	# A refusal that kms_check() meets is remembered for no session.
	take_away($right);
	like(check($node, $bao->kms_key), qr/^$refused{$right}: .*status 403/,
		"$right taken away: kms_check() reports it");
	$bao->set_policy('chat');
	is(failure($node, $does{$_}[1]->()), '', "$right given back: an application $_ at once") foreach sort keys %does;
	is(check($node, $bao->kms_key), 'ok', "$right given back: kms_check() finds nothing wrong");

	# After an administrator has met the refusal, and after the application has met it.
	take_away($right);
	make_cold($node);
	my $warm = cold();
	is(ask($node, read_chat($warm)), "body $warm", "without $right: a chat is warm") if $right ne 'decrypt';
	for (1 .. 2)
	{
		$proxy->reset;
		like(check($node, $bao->kms_key), qr/^$refused{$right}: .*status 403/,
			"without $right: kms_check() reports it");
		cmp_ok($proxy->requests("$right/chat\$"), '>=', 1,
			"without $right: kms_check() asks the key service");
	}
	is(failure($node, $does{$_}[1]->()), '', "without $right, after kms_check(): an application $_") foreach @allowed;
	if ($right eq 'rewrap')
	{
		$bao->cli('write', '-f', 'transit/keys/chat/rotate');
		my (undef, $counts) = $node->psql('postgres', 'CALL chatcrypt.rewrap(max_keys => 5)');
		is($counts, '0|5', 'without rewrap: rewrap() changes nothing');
	}
	else
	{
		foreach my $name (grep { $does{$_}[0] eq $right } sort keys %does)
		{
			like(failure($node, $does{$name}[1]->()), qr/^28000 .*status 403/,
				"without $right: the application is refused what it does (an application $name)");
		}
	}
	if ($right ne 'encrypt')	# chats in bulk are of the same operation as one, by another request
	{
		is(failure($node, $does{$_}[1]->()), '',
			"without $right, after a refusal was met: an application $_")
		  foreach grep { $right ne 'datakey/plaintext' || $_ ne 'makes chats' } @allowed;
	}
	if ($right ne 'decrypt')
	{
		sleep(1.2);
		is(ask($node, read_chat($warm)), "body $warm", "without $right: the warm chat is read, and its key refreshed");
		$proxy->reset;
		ok(wait_until(5, sub { $node->safe_psql('postgres', 'SELECT refreshes FROM chatcrypt.kms_worker') > 0 }), "without $right: the refresh was asked for");
		is(ask($node, read_chat($warm)), "body $warm",
			"without $right: the key is still warm after the refresh");
	}
	take_away($right);
	run_beside_checks($right, scripts_without($right));
}

$node->stop;
done_testing();
