# A refusal belongs to what was refused: where the login lacks one right, the other operations go
# on, and what an administrator tries out with kms_check() changes nothing for the application.
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

# The policy without one right; a reload has the login and all memory of refusals begin anew.
sub take_away
{
	my ($path) = @_;
	my $policy = $bao->policy('chat') =~ s/^path "transit\/\Q$path\E\/.*\n//mr;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	set($node);
	return;
}

# What an application does, by the rights that it takes.
my %does = (
	'makes a chat' => [ 'datakey/plaintext', sub { 'SELECT chatcrypt.create_chat(' . $next_new++ . ')' } ],
	'makes chats' => [ 'encrypt', sub { 'SELECT chatcrypt.create_chats(ARRAY[' . join(', ', $next_new++, $next_new++) . '])' } ],
	'brings a key in' => [ 'encrypt', sub { 'SELECT chatcrypt.import_dek(' . cold() . q{, decode(repeat('d7', 32), 'hex'), 5)} } ],
	'reads a cold chat' => [ 'decrypt', sub { read_chat(cold()) } ],
);
# The same in a script.  Chats that are made at once may go out as one request, which takes another
# right than that of a single one.
sub scripts_without
{
	my ($right) = @_;
	my @scripts;
	push @scripts, 'SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(:chat)' if $right ne 'decrypt';
	push @scripts, 'SELECT chatcrypt.create_chat()' if $right !~ /^(datakey|encrypt)/;
	return @scripts;
}
my %refused = ('datakey/plaintext' => 'make a data key', encrypt => 'wrap', decrypt => 'unwrap it', rewrap => 're-wrap');

# While all of them run, kms_check() is called over and over.
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
	like($output, qr/number of transactions actually processed: [1-9]/, "without $right: and does its work");
	return;
}

foreach my $right (sort keys %refused)
{
	my @allowed = grep { $does{$_}[0] ne $right } sort keys %does;

	# What kms_check() was told is remembered for nobody.
	take_away($right);
	like(check($node, $bao->kms_key), qr/^$refused{$right}: .*status 403/, "$right taken away: kms_check() says so");
	$bao->set_policy('chat');
	is(failure($node, $does{$_}[1]->()), '', "$right given back: an application $_ at once") foreach sort keys %does;
	is(check($node, $bao->kms_key), 'ok', "$right given back: kms_check() finds nothing wrong");

	# Once an administrator has tried it, and once the application has met it.
	take_away($right);
	make_cold($node);
	my $warm = cold();
	is(ask($node, read_chat($warm)), "body $warm", "without $right: a chat is warm") if $right ne 'decrypt';
	for (1 .. 2)
	{
		$proxy->reset;
		like(check($node, $bao->kms_key), qr/^$refused{$right}: .*status 403/, "without $right: kms_check() says so");
		cmp_ok($proxy->requests("$right/chat\$"), '>=', 1, "without $right: and asks the key service");
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
			like(failure($node, $does{$name}[1]->()), qr/^28000 .*status 403/, "without $right: no application $name");
		}
	}
	if ($right ne 'encrypt')	# chats in bulk are of the same operation as one, by another request
	{
		is(failure($node, $does{$_}[1]->()), '', "without $right, after that was met: an application $_")
		  foreach grep { $right ne 'datakey/plaintext' || $_ ne 'makes chats' } @allowed;
	}
	if ($right ne 'decrypt')
	{
		sleep(1.2);
		is(ask($node, read_chat($warm)), "body $warm", "without $right: the warm chat is read, and its key refreshed");
		$proxy->reset;
		ok(wait_until(5, sub { $node->safe_psql('postgres', 'SELECT refreshes FROM chatcrypt.kms_worker') > 0 }), "without $right: the refresh was asked for");
		is(ask($node, read_chat($warm)), "body $warm", "without $right: the key is still warm after that");
	}
	take_away($right);
	run_beside_checks($right, scripts_without($right));
}

$node->stop;
done_testing();
