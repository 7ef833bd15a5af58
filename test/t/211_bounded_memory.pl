# However many chats are made or warmed in one call, the session holds the memory of a batch of
# them, and not of all of them.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use Test::More;

my $node = Chatcrypt::Test->start('bounded_memory', conf => "chatcrypt.cache_size = 1000\nautovacuum = off\n");

# What a call adds to the peak memory of its session, in kB; the ids are in the session before.
sub growth
{
	my ($call, $from, $count) = @_;
	my $peak = q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmPeak:\s+(\d+)'))[1]};
	my $session = session($node);

	answer($session, 'SET max_parallel_workers_per_gather = 0; SET jit = off');
	answer($session, sprintf "SELECT array_agg(g) AS ids FROM generate_series(%d::bigint, %d) AS g \\gset", $from, $from + $count - 1);
	answer($session, sprintf "SELECT length(:'ids'), %s", 'chatcrypt.dek_version(\'\\x00\')');
	my $before = answer($session, $peak);
	my $said = answer($session, sprintf $call, q{:'ids'::bigint[]});
	my $grown = answer($session, $peak) - $before;
	$session->quit;
	is($said, $count, "$call: works on $count chats");
	note("$call: $count chats, $grown kB");
	return $grown;
}

my $few = 8192;
my $many = 65536;
foreach my $call ('SELECT chatcrypt.create_chats(%s)', 'SELECT (chatcrypt.warm_keys(%s)).warmed')
{
	my $of_few = growth($call, 1, $few);
	my $of_many = growth($call, $call =~ /warm_keys/ ? 10001 : 10001, $many);

	# The ids themselves, as they come and as they are sorted: some hundred bytes for each.
	cmp_ok($of_many - $of_few, '<', ($many - $few) * 300 / 1024,
		"$call: more chats take no more memory than their ids");
}

done_testing();
