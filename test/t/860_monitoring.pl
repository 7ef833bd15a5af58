# monitoring/: postgres_exporter delivers what rules and dashboard use, to a role that reads nothing else;
# each alert has its page, and fires and ends in states that are really produced.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::Monitoring;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
Chatcrypt::Monitoring::need_programs();
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('monitored', bao => $bao, proxy => $proxy, conf => <<'CONF');
chatcrypt.kms_timeout = '500ms'
chatcrypt.cache_size = 128
chatcrypt.maintenance_databases = 'postgres'
chatcrypt.maintenance_interval = 1
CONF

# The rules by themselves.
foreach my $check ([ 'check', 'rules', 'monitoring/rules.yml' ], [ 'test', 'rules', 'test/monitoring/rules_test.yml' ])
{
	my ($out, $err) = run_command([ $ENV{PROMTOOL}, @$check ]);
	like("$out$err", qr/SUCCESS/, "promtool @$check");
	unlike("$out$err", qr/FAILED/, "promtool @$check finds nothing");
}

make_chats($node, 1, 10);
my $monitoring = Chatcrypt::Monitoring->start_or_skip($node);
my %rule = map { $_->{name} => $_ } @{ $monitoring->rules };
my $unit_tests = slurp_file('test/monitoring/rules_test.yml');
my $page = slurp_file('docs/operations.md');

# A section for each alert, whose SQL the monitoring role can run.
foreach my $name (sort keys %rule)
{
	my ($annotations, $severity) = ($rule{$name}{annotations}, $rule{$name}{labels}{severity} // '');
	my ($section) = $page =~ /^### $name\n(.*?)(?=^##)/ms;

	like($severity, qr/^(critical|warning)$/, "$name: severity");
	is($annotations->{runbook_url}, 'docs/operations.md#' . lc $name, "$name: leads to its section");
	ok($unit_tests =~ /^        alertname: $name\n        exp_alerts:\n/m, "$name: has a unit test");
	ok($section, "$name: has a section") or next;
	like($section, qr/^\*\*\Q$_\E\*\*/m, "$name: its section says $_") foreach 'Users', 'First look', 'Do', 'Ends';
	foreach my $sql ($section =~ /^```sql\n(.*?)^```/msg)
	{
		my ($status, undef, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', 'chatcrypt_monitor' ]);
		is("$status$errors", '0', "$name: its first look works");
	}
}
my ($alerts) = $page =~ /^## Alerts\n(.*?)^## /ms;
is_deeply([ sort $alerts =~ /^### (\w+)$/mg ], [ sort keys %rule ], 'operations.md has no section without an alert');

# What is scraped.
my $metrics = $monitoring->metrics;
my %delivered = map { /^(\w+)/ ? ($1 => 1) : () } keys %$metrics;
my $used = join ' ', map { $_->{query} } values %rule;
is(join(' ', grep { !$delivered{$_} } $used =~ /\b((?:chatcrypt|pg)_\w+)/g), '', 'every metric of the rules is delivered');
is($metrics->{pg_exporter_last_scrape_error}, '0', 'every query works for a member of chatcrypt_auditor');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles AS r WHERE rolname <> 'chatcrypt_auditor' AND rolname <> 'chatcrypt_monitor'
	AND pg_has_role('chatcrypt_monitor', r.oid, 'MEMBER')}), '0', 'which is no member of anything else');
cmp_ok($metrics->{pg_exporter_last_scrape_duration_seconds}, '<', 0.1, 'a scrape takes less than 100 ms');
is($monitoring->value('chatcrypt_kms_reachable', key_uri => $bao->key_uri), '1', 'the KMS is there');

# States, made and ended.
my $next_chat = 1000;
sub ask_kms { return failure($node, 'SELECT chatcrypt.create_chat(' . $next_chat++ . ')') }

sub state_fires
{
	my ($name, $make, $end) = @_;
	ok($monitoring->ends($name, 5), "$name: not before");
	$make->();
	ok($monitoring->fires($name), "$name: fires") or diag(explain($monitoring->alerts), explain($rule{$name}{query}));
	$end->();
	ok($monitoring->ends($name), "$name: ends") or diag(explain($monitoring->alerts));
	return;
}

state_fires('ChatcryptKmsDown', sub { $proxy->listen('refuse'); ask_kms() }, sub { $proxy->listen('accept'); works_again($node, 1, 10); wait_until(10, sub { ask_kms() eq '' }) });
state_fires('ChatcryptKmsThrottles', sub { $proxy->fault(path => 'datakey', fault => 'status', code => 429, retry_after => 8); ask_kms() },
	sub { $proxy->clear; check($node, $bao->key_uri) });
state_fires('ChatcryptCacheTooSmall', sub { make_chats($node, 2000, 2600) }, sub { });
state_fires('ChatcryptMaintenanceFails', sub { set($node, 'chatcrypt.maintenance_databases' => 'postgres, missing') },
	sub { set($node, 'chatcrypt.maintenance_databases' => 'postgres') });
state_fires('ChatcryptNotWatched', sub { $node->safe_psql('postgres', 'REVOKE chatcrypt_auditor FROM chatcrypt_monitor') },
	sub { $node->safe_psql('postgres', 'GRANT chatcrypt_auditor TO chatcrypt_monitor') });

$monitoring->stop;
$node->stop;
done_testing();
