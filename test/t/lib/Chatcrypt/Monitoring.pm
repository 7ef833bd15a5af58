# The monitoring of a server with chatcrypt, for a test: postgres_exporter with the queries of
# monitoring/, and Prometheus with its rules, both real, on free ports of 127.0.0.1.
#
#   my $monitoring = Chatcrypt::Monitoring->start_or_skip($node);   # skips the file where a program is
#                                                                   # missing; dies instead where CI is true
#   $monitoring->metrics                     # scraped now: { 'chatcrypt_kms_usable{kms_key="..."}' => 1, ... }
#   $monitoring->value('chatcrypt_kms_usable', kms_key => 'vault:transit/chat')
#   $monitoring->query('sum(chatcrypt_cache_entries)')
#   $monitoring->alerts                      # those of Prometheus: [ { name, state, labels, annotations }, ... ]
#   ok($monitoring->fires('ChatcryptKmsDown'));          # within 30 s, or the seconds of a second argument
#   ok($monitoring->ends('ChatcryptKmsDown'));
#   $monitoring->stop;
#
#   Chatcrypt::Monitoring->new($node) with start_exporter() works without Prometheus.
#
# Rules and queries are unchanged but for their times: "for" is 1 s, a window is 6 s, and nothing is
# cached for longer than 1 s.  test/monitoring/rules_test.yml tests the real times.  The exporter
# logs in as chatcrypt_monitor, which is made here as monitoring/README.md says.
#
package Chatcrypt::Monitoring;

use strict;
use warnings;
use Chatcrypt::Test qw(wait_until);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my $FOLDER = 'monitoring';
my @PROGRAMS = qw(PROMETHEUS PROMTOOL POSTGRES_EXPORTER);
my @running;

sub start_or_skip
{
	my ($class, $node, %options) = @_;
	my $self = $class->new($node);
	$self->create_role;
	$self->start_exporter(%options);
	$self->start_prometheus;
	return $self;
}

sub need_programs
{
	my @missing = grep { !$ENV{$_} } @PROGRAMS;

	return unless @missing;
	die "not set: @missing; CI must have these programs\n" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => "not set: @missing (scripts/test does)");
	return;
}

sub new
{
	my ($class, $node) = @_;
	need_programs();
	return bless { node => $node, folder => PostgreSQL::Test::Utils::tempdir(), http => HTTP::Tiny->new(timeout => 30) }, $class;
}

# The statements of monitoring/README.md, unchanged.
sub create_role
{
	my ($self) = @_;
	my ($sql) = slurp_file("$FOLDER/README.md") =~ /^```sql\n(.*?)^```/ms or die 'no SQL in monitoring/README.md';
	$self->{node}->safe_psql('postgres', $sql);
	return;
}

# With databases => [...], the exporter queries more than one.
sub start_exporter
{
	my ($self, %options) = @_;
	my $node = $self->{node};
	my @databases = @{ $options{databases} // ['postgres'] };
	my @more = @databases == 1 ? () : ('--auto-discover-databases', '--include-databases=' . join ',', @databases);

	append_to_file("$self->{folder}/queries.yml", hurried(slurp_file("$FOLDER/queries.yml")));
	$self->{exporter_port} = PostgreSQL::Test::Cluster::get_free_port();
	local $ENV{DATA_SOURCE_NAME} =
	  join ' ', 'host=' . $node->host, 'port=' . $node->port, "dbname=$databases[0]", 'user=chatcrypt_monitor';
	push @{ $self->{processes} }, run($self, exporter => $ENV{POSTGRES_EXPORTER},
		"--web.listen-address=127.0.0.1:$self->{exporter_port}", "--extend.query-path=$self->{folder}/queries.yml", @more,
		'--disable-default-metrics', '--disable-settings-metrics');
	wait_until(30, sub { $self->get($self->{exporter_port}, 'metrics') })
	  or die 'postgres_exporter does not answer: ' . $self->log_of('exporter');
	return;
}

sub start_prometheus
{
	my ($self) = @_;
	my $port = $self->{prometheus_port} = PostgreSQL::Test::Cluster::get_free_port();
	my $folder = $self->{folder};

	append_to_file("$folder/rules.yml", hurried(slurp_file("$FOLDER/rules.yml")));
	append_to_file("$folder/prometheus.yml", <<"YAML");
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [rules.yml]
scrape_configs:
  - job_name: chatcrypt
    static_configs: [{ targets: ['127.0.0.1:$self->{exporter_port}'] }]
YAML
	push @{ $self->{processes} }, run($self, prometheus => $ENV{PROMETHEUS}, "--config.file=$folder/prometheus.yml",
		"--storage.tsdb.path=$folder/data", "--web.listen-address=127.0.0.1:$port", '--log.level=warn');
	wait_until(60, sub { $self->get($port, '-/ready') && @{ $self->rules } && @{ $self->query('chatcrypt_worker_running') // [] } })
	  or die 'Prometheus is not ready: ' . $self->log_of('prometheus');
	$self->{since} = Time::HiRes::time();
	return;
}

# Rules and queries with shorter times.
sub hurried
{
	my ($text) = @_;
	$text =~ s/^(\s+for:) \w+$/$1 1s/mg;
	$text =~ s/^(\s+cache_seconds:) \d+$/$1 1/mg;
	$text =~ s/\[\w+\]/[6s]/g;
	return $text;
}

sub run
{
	my ($self, $name, @command) = @_;
	$self->{log}{$name} = "$PostgreSQL::Test::Utils::log_path/$name-$self->{exporter_port}.log";
	my $process = IPC::Run::start(\@command, '<', \undef, '>&', $self->{log}{$name});
	push @running, $process;
	return $process;
}

sub log_of
{
	my ($self, $name) = @_;
	return slurp_file($self->{log}{$name});
}

# The body of a reply, or undef.
sub get
{
	my ($self, $port, $path) = @_;
	my $answer = $self->{http}->get("http://127.0.0.1:$port/$path");
	return $answer->{success} ? $answer->{content} : undef;
}

sub metrics
{
	my ($self) = @_;
	my $text = $self->get($self->{exporter_port}, 'metrics') // die 'nothing scraped: ' . $self->log_of('exporter');
	return { map { /^([^#].*) (\S+)$/ ? ($1 => $2) : () } split /\n/, $text };
}

# The value of the one series with this name and these labels; undef where there is none.
sub value
{
	my ($self, $name, %labels) = @_;
	my $metrics = $self->metrics;
	my @found = grep {
		my $series = $_;
		$series =~ /^\Q$name\E(?:\{|\z)/ && !grep { $series !~ /[{,]\Q$_\E="\Q$labels{$_}\E"/ } keys %labels
	} keys %$metrics;
	die "more than one: @found" if @found > 1;
	return @found ? $metrics->{ $found[0] } : undef;
}

sub api
{
	my ($self, $path) = @_;
	return JSON::PP::decode_json($self->get($self->{prometheus_port}, "api/v1/$path") // return {})->{data} // {};
}

# The current value of an expression: [ { metric, value }, ... ], or undef where it is not valid.
sub query
{
	my ($self, $expression) = @_;
	my $answer = $self->{http}->post_form("http://127.0.0.1:$self->{prometheus_port}/api/v1/query", { query => $expression });
	return $answer->{success} ? JSON::PP::decode_json($answer->{content})->{data}{result} : undef;
}

sub rules
{
	my ($self) = @_;
	return [ map { @{ $_->{rules} } } @{ $self->api('rules')->{groups} // [] } ];
}

sub alerts
{
	my ($self) = @_;
	return [ map { { name => $_->{labels}{alertname}, %$_ } } @{ $self->api('alerts')->{alerts} // [] } ];
}

# The names of the alerts that fire.
sub firing
{
	my ($self) = @_;
	my %firing = map { $_->{name} => 1 } grep { $_->{state} eq 'firing' } @{ $self->alerts };
	return sort keys %firing;
}

# Whether the alert has fired since it was last seen not firing, or since Prometheus started.
sub fires
{
	my ($self, $name, $seconds) = @_;
	return wait_until($seconds // 30, sub {
		my $window = int(Time::HiRes::time() - ($self->{quiet}{$name} // $self->{since})) + 1;
		return @{ $self->query(qq(max_over_time(ALERTS{alertname="$name",alertstate="firing"}[${window}s]))) // [] } > 0;
	});
}

sub ends
{
	my ($self, $name, $seconds) = @_;
	my $is_quiet = wait_until($seconds // 30, sub { !grep { $_->{name} eq $name } @{ $self->alerts } });
	$self->{quiet}{$name} = Time::HiRes::time() if $is_quiet;
	return $is_quiet;
}

sub stop
{
	my ($self) = @_;
	$_->kill_kill(grace => 5) foreach @{ $self->{processes} };
	$self->{processes} = [];
	return;
}

# A test that dies leaves no process behind: by END, since IPC::Run itself is half gone when
# objects are destroyed at the very end.
END
{
	local ($?, $@);
	foreach my $process (grep { defined } @running)
	{
		eval { $process->kill_kill(grace => 2) };
	}
}

1;
