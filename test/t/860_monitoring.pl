# monitoring/: postgres_exporter delivers the metrics that the rules and the dashboard use, to a
# role that can read nothing else; each alert has its section in docs/operations.md, and fires and
# ends in states that are really produced.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::Monitoring;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use JSON::PP ();
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

# The rules without a server.
foreach my $check ([ 'check', 'rules', 'monitoring/rules.yml' ], [ 'test', 'rules', 'test/monitoring/rules_test.yml' ])
{
	my ($out, $err) = run_command([ $ENV{PROMTOOL}, @$check ]);
	like("$out$err", qr/SUCCESS/, "promtool @$check succeeds");
	unlike("$out$err", qr/FAILED/, "promtool @$check finds no error");
}

make_chats($node, 1, 10);
my $monitoring = Chatcrypt::Monitoring->start_or_skip($node);
my %rule = map { $_->{name} => $_ } @{ $monitoring->rules };
my $unit_tests = slurp_file('test/monitoring/rules_test.yml');
my $page = slurp_file('docs/operations.md');

# A section for each alert, with SQL that the monitoring role can run.
foreach my $name (sort keys %rule)
{
	my ($annotations, $severity) = ($rule{$name}{annotations}, $rule{$name}{labels}{severity} // '');
	my ($section) = $page =~ /^### $name\n(.*?)(?=^##)/ms;

	like($severity, qr/^(critical|warning)$/, "$name: has a severity");
	is($annotations->{runbook_url}, 'docs/operations.md#' . lc $name, "$name: links to its section");
	ok($unit_tests =~ /^        alertname: $name\n        exp_alerts:\n/m, "$name: has a unit test");
	ok($section, "$name: has a section in operations.md") or next;
	like($section, qr/^\*\*\Q$_\E\*\*/m, "$name: its section says $_") foreach 'Users', 'First look', 'Do', 'Ends';
	foreach my $sql ($section =~ /^```sql\n(.*?)^```/msg)
	{
		my ($status, undef, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', 'chatcrypt_monitor' ]);
		is("$status$errors", '0', "$name: the SQL of its first look works");
	}
}
my ($alerts) = $page =~ /^## Alerts\n(.*?)^## /ms;
is_deeply([ sort $alerts =~ /^### (\w+)$/mg ], [ sort keys %rule ], 'operations.md has no section without an alert');

# What is scraped while a long import is running.
my $import = session($node);
answer($import, q{SELECT chatcrypt.note_progress('import', done => 5, total => 10)});
my $metrics = $monitoring->metrics;
my %delivered = map { /^(\w+)/ ? ($1 => 1) : () } keys %$metrics;
is(join(' ', grep { !defined $metrics->{$_} || $metrics->{$_} eq '' } keys %$metrics), '', 'every series has a value');
$delivered{up} = 1;	# Prometheus's own
is(join(' ', grep { !$delivered{$_} } map { $_->{query} =~ /\b((?:chatcrypt|pg)_\w+|up\b)/g } values %rule), '', 'every metric of the rules is delivered');
is($metrics->{pg_exporter_last_scrape_error}, '0', 'every query works for a member of chatcrypt_auditor');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles AS r WHERE rolname <> 'chatcrypt_auditor' AND rolname <> 'chatcrypt_monitor'
	AND pg_has_role('chatcrypt_monitor', r.oid, 'MEMBER')}), '0', 'the monitoring role is a member of no other role');
cmp_ok($metrics->{pg_exporter_last_scrape_duration_seconds}, '<', 0.1, 'a scrape takes less than 100 ms');
is($monitoring->value('chatcrypt_kms_usable', kms_key => $bao->kms_key), '1',
	'the metrics say that the KMS can be used');

# The dashboard: each expression is valid, and uses metrics that are delivered.
my $dashboard = JSON::PP::decode_json(slurp_file('monitoring/dashboard.json'));
is((grep { $_->{name} eq 'datasource' } @{ $dashboard->{templating}{list} })[0]{type}, 'datasource', 'the dashboard asks for its data source');
foreach my $panel (grep { $_->{targets} } @{ $dashboard->{panels} })
{
	is($panel->{datasource}{uid}, '${datasource}',
		"panel $panel->{title}: uses the data source of the dashboard");
	foreach my $expression (map { $_->{expr} } @{ $panel->{targets} })
	{
		is(join(' ', grep { !$delivered{$_} } $expression =~ /\b(chatcrypt_\w+)/g), '', "panel $panel->{title}: every metric is delivered");
		my $now = $expression =~ s/\$__rate_interval/6s/gr =~ s/\$(instance|datname)\b/.*/gr;
		ok($monitoring->query($now), "panel $panel->{title}: Prometheus accepts $expression");
	}
}

$import->quit;

# With two databases, the exporter queries each of them for its own metrics, and one for the server.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION chatcrypt');
my $of_both = Chatcrypt::Monitoring->new($node);
$of_both->start_exporter(databases => [ 'postgres', 'other' ]);
is($of_both->value('pg_exporter_last_scrape_error'), '0',
	'one exporter queries two databases without an error');
like($of_both->value("chatcrypt_database_events_unsealed", datname => $_), qr/^\d+$/,
	"one exporter delivers metrics of the database $_") foreach 'postgres', 'other';
is($of_both->value('chatcrypt_worker_running'), '1',
	'one exporter delivers metrics of the server once');
$of_both->stop;

# States, produced and ended: which alerts fire, and that they end.
my $next_chat = 100_000;
sub new_chat
{
	my ($tenant) = @_;
	return failure($node, 'SELECT chatcrypt.create_chat(' . $next_chat++ . ", tenant => '" . ($tenant // 'default') . "')");
}

sub state
{
	my ($alerts, $make, $end) = @_;
	ok($monitoring->ends($_, 10), "$_ does not fire before the state begins") foreach @$alerts;
	$make->();
	ok($monitoring->fires($_), "$_ fires") or diag($rule{$_}{query}, explain($monitoring->alerts)) foreach @$alerts;
	$end->();
	ok($monitoring->ends($_), "$_ ends") or diag($rule{$_}{query}, explain($monitoring->alerts)) foreach @$alerts;
	delete @rule{@$alerts};
	return;
}

sub checks_out
{
	my ($uri) = @_;
	ok(wait_until(20, sub { check($node, $uri // $bao->kms_key) eq 'ok' }), 'kms_check() succeeds');
	return;
}

sub set_token
{
	write_secret($bao->token_file, $bao->new_token(@_));
	set($node);
	checks_out();
	return;
}

sub without_right
{
	my ($path) = @_;
	my $policy = $bao->policy('chat', 'doomed') =~ s/^path "transit\/\Q$path\E\/.*\n//mrg;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	return;
}

sub launcher
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my ($pid) = map { /^\s*(\d+)/ } grep { /chatcrypt maintenance launcher/ } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
	return ($postmaster, $pid);
}

# Alerts about data in the database, all at once; with no maintenance in the background.
set($node, 'chatcrypt.maintenance_databases' => '');
$node->safe_psql('postgres', q{SELECT chatcrypt.seal_events()});
state([ qw(ChatcryptMessagesDoNotOpen ChatcryptEventsUnsealed ChatcryptRotationOverdue ChatcryptFeedBehind ChatcryptVerificationFindings) ],
	sub {
		$node->safe_psql('postgres', <<'SQL');
INSERT INTO chatcrypt.key_event (event, happened_at) VALUES ('purge', now() - interval '2 hours');
UPDATE chatcrypt.tenant SET rotate_after = '30 days';
UPDATE chatcrypt.dek SET valid_from = now() - interval '32 days' WHERE chat_id = chatcrypt.to_uuid(1);
SELECT chatcrypt.set_search(2, 'plain', feed => true);
UPDATE chatcrypt.messages SET body = 'fed' WHERE chat_id = chatcrypt.to_uuid(2);
SELECT (regexp_match(chatcrypt.drain_search_feed(), '"version":(\d+)'))[1] AS batch \gset
SELECT chatcrypt.ack_search_feed(:batch, jsonb_build_object('errors', true, 'items',
	jsonb_build_array(jsonb_build_object('index', jsonb_build_object('_id', message_id, 'status', 400)))))
FROM chatcrypt.search_feed WHERE batch = :batch AND message_id IS NOT NULL;
UPDATE chatcrypt.sealed_message SET encrypted_message = set_byte(encrypted_message, 40, get_byte(encrypted_message, 40) # 1)
WHERE chat_id = chatcrypt.to_uuid(3);
SQL
		for (1 .. 3)
		{
			like(failure($node, read_chat(3)), qr/^39000 the message does not open/, 'a damaged message does not open');
			sleep 1;
		}
		$node->safe_psql('postgres', 'CALL chatcrypt.verify_all()');
	},
	sub {
		$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.seal_events();
CALL chatcrypt.rotate_due();
SELECT chatcrypt.set_search(2, 'off');
DELETE FROM chatcrypt.search_feed;
DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(3);
CALL chatcrypt.verify_all();
SQL
	});

# Maintenance that fails, and maintenance that does not move.
set($node, 'chatcrypt.maintenance_databases' => 'postgres');
state([ 'ChatcryptMaintenanceFails' ],
	sub { set($node, 'chatcrypt.maintenance_databases' => 'postgres, missing') },
	sub { set($node, 'chatcrypt.maintenance_databases' => 'postgres') });
my ($postmaster, $launcher) = launcher();
state([ 'ChatcryptMaintenanceStopped' ], sub { kill 'STOP', $launcher }, sub { kill 'CONT', $launcher });

# The KMS is away, with warm keys that last for less than an hour.
state([ qw(ChatcryptKmsDown ChatcryptSessionsFail ChatcryptWarmKeysRunOut) ],
	sub {
		set($node, 'chatcrypt.cache_max_age' => '30min');
		$proxy->listen('refuse');
		new_chat() for 1 .. 3;
	},
	sub {
		$proxy->listen('accept');
		set($node, 'chatcrypt.cache_max_age' => undef);
		checks_out();
	});

# The worker is stopped; then it is terminated, while the postmaster is stopped and starts no other.
my $worker = worker_pid($node);
state([ 'ChatcryptWorkerHung' ], sub { kill 'STOP', $worker }, sub { kill 'CONT', $worker });
state([ 'ChatcryptWorkerDown' ], sub { kill 'STOP', $postmaster; kill 'TERM', $worker }, sub { kill 'CONT', $postmaster });
ok(works_again($node, 4, 20), 'a cold chat is read by a new worker');

# Errors that the KMS answers with.
state([ 'ChatcryptKmsThrottles' ],
	sub { $proxy->fault(path => 'datakey', fault => 'status', code => 429, retry_after => 8); new_chat() },
	sub { $proxy->clear; checks_out() });
state([ 'ChatcryptKmsThrottles' ],	# the KMS's own limit, which names no time
	sub { $bao->cli('write', 'sys/quotas/rate-limit/chat', 'path=transit', 'rate=1', 'interval=60s'); new_chat() for 1 .. 12 },
	sub { $bao->cli('delete', 'sys/quotas/rate-limit/chat'); checks_out() });
state([ 'ChatcryptKmsPropertiesUnread' ],
	sub { without_right('keys'); check($node, $bao->kms_key); is(new_chat(), '',
		'a key whose properties cannot be read any more is still used') },
	sub { $bao->set_policy('chat', 'doomed'); checks_out() });
state([ 'ChatcryptKmsSlow' ],
	sub { $proxy->fault(path => 'datakey', delay_ms => 350); new_chat() for 1 .. 12; },
	sub { $proxy->clear; });
state([ 'ChatcryptKmsRefuses' ],
	sub { without_right('datakey/plaintext'); new_chat() },
	sub { $bao->set_policy('chat', 'doomed'); checks_out() });
my $doomed = $bao->add_key('doomed');
$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('doomed', '$doomed')");
is(new_chat('doomed'), '', 'a chat is made under a second key');
state([ 'ChatcryptKmsKeyGone' ],
	sub {
		$bao->cli('write', 'transit/keys/doomed/config', 'deletion_allowed=true');
		$bao->cli('delete', 'transit/keys/doomed');
		new_chat('doomed');
	},
	sub { $bao->add_key('doomed'); checks_out($doomed) });
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
state([ 'ChatcryptKeysBelowMinimum' ],
	sub { $bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2'); check($node, $bao->kms_key) },
	sub { $bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1'); checks_out() });
state([ qw(ChatcryptCertificateNearEnd ChatcryptCertificateEnds) ],
	sub { $proxy->certificate('ending'); checks_out() },
	sub { $proxy->certificate('good'); checks_out() });
state([ 'ChatcryptLoginNearEnd' ], sub { set_token('-ttl=55s', '-explicit-max-ttl=55s') }, sub { set_token() });

state([ 'ChatcryptMaintenanceStopped' ],	# no process is left for the launcher
	sub { $node->append_conf('postgresql.conf', 'max_worker_processes = 1'); $node->restart },
	sub { $node->append_conf('postgresql.conf', 'max_worker_processes = 8'); $node->restart });
state([ 'ChatcryptCacheTooSmall' ], sub { make_chats($node, 2000, 2600) }, sub { });
state([ 'ChatcryptNotWatched' ],
	sub { $node->safe_psql('postgres', 'REVOKE chatcrypt_auditor FROM chatcrypt_monitor') },
	sub { $node->safe_psql('postgres', 'GRANT chatcrypt_auditor TO chatcrypt_monitor') });

# Whether memory can be locked depends on the machine.
my $locked = $node->safe_psql('postgres', 'SELECT locked FROM chatcrypt.cache_status');
is(scalar(grep { $_ eq 'ChatcryptKeysNotLocked' } $monitoring->firing), $locked eq 't' ? 0 : 1, 'ChatcryptKeysNotLocked fires where keys are not locked');
is(join(' ', sort keys %rule), 'ChatcryptKeysNotLocked', 'every other alert was made to fire');

$monitoring->stop;
$node->stop;
done_testing();
