# The shared key cache when there are more keys than it has room for: its size is fixed, it goes on
# being useful, and keys in use stay.
use strict;
use warnings;
use Chatcrypt::Kms;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $size = 256;
my $node = Chatcrypt::Test->start('pressure', conf => "chatcrypt.cache_size = $size\n");

# Each of these chats once, in a new session, which remembers nothing from before.
sub scan
{
	my ($first, $last) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(chatcrypt.encrypt(n, 1, 'x')) FROM generate_series($first, $last) AS n");
}

sub counters { return split /\|/, $node->safe_psql('postgres', 'SELECT hits, misses, evictions, entries, bytes FROM chatcrypt.cache_status'); }

# Hits in a hundred look-ups of the shared cache while the code runs.
sub hit_rate
{
	my ($code) = @_;
	my ($hits, $misses) = counters();
	$code->();
	my ($hits_after, $misses_after) = counters();
	return 100 * ($hits_after - $hits) / ($hits_after - $hits + $misses_after - $misses);
}

my (undef, undef, undef, undef, $bytes) = counters();
cmp_ok($bytes / $size, '<=', 256, sprintf('%d keys take %.0f bytes each', $size, $bytes / $size));
my $default = $node->safe_psql('postgres', q{SELECT boot_val::integer FROM pg_settings WHERE name = 'chatcrypt.cache_size'});
cmp_ok($default, '>=', 10000, "the default cache size has room for $default keys");

# Scans that go round and round: with least recently used alone there would be no hit.
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chats(array_agg(n)) FROM generate_series(1::bigint, 4000) AS n');
foreach my $case ([ 2, 30 ], [ 4, 15 ])
{
	my ($times, $least) = @$case;
	my $chats = $times * $size;
	is(scan(1, $chats), $chats, "a scan over $times times as many chats as the cache has room for");
	my $rate = hit_rate(sub { scan(1, $chats) foreach 1 .. 5 });
	note(sprintf 'measured: a cyclic scan over %d times the cache: %.1f %% hits', $times, $rate);
	cmp_ok($rate, '>', $least,
		"a repeated scan over $times times the cache: more than $least % hits");
}

# Keys in use stay, whatever other keys pass by; also those of a session that keeps its own copies.
my $popular = sub { scan(1, 50) };
$popular->() foreach 1 .. 3;
my $in_use = session($node);
my $use = q{SELECT count(chatcrypt.encrypt(n, 1, 'x')) FROM generate_series(51, 60) AS n};
is(answer($in_use, $use), '10', 'a session uses ten keys');
answer($in_use, 'SELECT pg_sleep(1.1)');
is(answer($in_use, $use), '10',
	'the session uses its ten keys again, and tells the shared cache once a second');
my ($hits, $misses) = (0, 0);
foreach my $time (0 .. 9)
{
	scan(1001 + 100 * $time, 1100 + 100 * $time);
	my ($hits_before, $misses_before) = counters();
	$popular->();
	my ($hits_after, $misses_after) = counters();
	$hits += $hits_after - $hits_before;
	$misses += $misses_after - $misses_before;
}
note(sprintf 'measured: 50 popular chats while 1,000 others pass by: %.1f %% hits', 100 * $hits / ($hits + $misses));
cmp_ok($hits / ($hits + $misses), '>', 0.7, 'keys of popular chats stay in the cache');
my $rate = hit_rate(sub { scan(51, 60) });
cmp_ok($rate, '>=', 70, "keys that one session alone uses stay in the cache: $rate %");
$in_use->quit;

my (undef, undef, $evictions, $entries, $bytes_after) = counters();
cmp_ok($evictions, '>', 1000, "keys were evicted: $evictions");
cmp_ok($entries, '<=', $bytes / 128, "the cache never holds more keys than fit: $entries");
is($bytes_after, $bytes, 'the size of the cache does not change');
is($node->safe_psql('postgres', 'SELECT capacity, dumpable FROM chatcrypt.cache_status'), "$size|f",
	'cache_status shows the capacity and that the cache is in no core dump');

# Every key that was in and out of the cache is the right one.
make_chats($node, 5001, 5600);
is(count_read($node, 5001 .. 5600), '600', '600 chats are read with their own keys') foreach 1, 2;

$node->stop;
done_testing();
