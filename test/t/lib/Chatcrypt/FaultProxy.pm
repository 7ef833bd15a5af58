# The proxy of fault_proxy.py between chatcrypt and an OpenBao: counts requests, and injects faults
# on request.  The top of that file describes the faults and the counts.
#
#   my $proxy = Chatcrypt::FaultProxy->start($bao);
#   my $node = Chatcrypt::Test->start('main', bao => $bao, proxy => $proxy);
#   $proxy->fault(path => 'decrypt', fault => 'status', code => 429, retry_after => 1, times => 2);
#   $proxy->clear;
#   $proxy->certificate('expired');
#   $proxy->listen('refuse');   ...   $proxy->listen('accept');
#   $proxy->requests('decrypt')     # requests so far whose path matches
#   $proxy->items('decrypt')        # and the items in them
#   $proxy->counts->{concurrent};
#   $proxy->reset;                  # counts from zero
#
package Chatcrypt::FaultProxy;

use strict;
use warnings;
use Chatcrypt::Test qw(wait_until);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;

my $program = dirname(__FILE__) . '/../fault_proxy.py';

my @running;

sub start
{
	my ($class, $bao) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { input => '', output => '', error => '' }, $class;

	$self->{process} = IPC::Run::start(
		[ '/usr/bin/python3', $program, '--upstream', $bao->address,
			'--upstream-ca', $bao->ca_file, '--folder', $folder ],
		'<', \$self->{input}, '>', \$self->{output}, '2>', \$self->{error});
	push @running, $self;
	wait_until(30, sub { $self->{process}->pump_nb; $self->{output} =~ /\n/ })
	  or die "the fault proxy did not start: $self->{error}";
	$self->{ready} = JSON::PP::decode_json($self->{output});
	$self->{http} = HTTP::Tiny->new(timeout => 30);
	return $self;
}

sub address { my ($self) = @_; return "https://127.0.0.1:$self->{ready}{port}"; }
sub port { my ($self) = @_; return $self->{ready}{port}; }
sub ca_file { my ($self) = @_; return $self->{ready}{ca}; }
sub other_ca_file { my ($self) = @_; return $self->{ready}{ca} =~ s,ca\.pem$,other-ca.pem,r; }

# Any command of control; dies if the proxy does not accept it.
sub control
{
	my ($self, $method, $command, $argument) = @_;
	my $response = $self->{http}->request($method,
		"http://127.0.0.1:$self->{ready}{control}/$command",
		{ content => JSON::PP::encode_json($argument // {}) });

	die "fault proxy, $command: $response->{status} $response->{content}\n$self->{error}"
	  unless $response->{success};
	return JSON::PP::decode_json($response->{content});
}

# Numbers must be numbers in JSON: those of a rule are made numbers here.
sub fault
{
	my ($self, %rule) = @_;
	foreach my $name (qw(skip times delay_ms code bytes item))
	{
		$rule{$name} += 0 if exists $rule{$name};
	}
	return $self->control(POST => 'fault', \%rule)->{rule};
}

sub clear { my ($self) = @_; $self->control(POST => 'clear'); return; }
sub reset { my ($self) = @_; $self->control(POST => 'reset'); return; }
sub certificate { my ($self, $name) = @_; $self->control(POST => 'certificate', { name => $name }); return; }
sub listen { my ($self, $how) = @_; $self->control(POST => 'listen', { how => $how }); return; }
sub counts { my ($self) = @_; return $self->control(GET => 'counts'); }

sub sum_of
{
	my ($counts, $pattern) = @_;
	my $sum = 0;
	$sum += $counts->{$_} foreach grep { /$pattern/ } keys %$counts;
	return $sum;
}

sub requests { my ($self, $pattern) = @_; return sum_of($self->counts->{requests}, $pattern // ''); }
sub items { my ($self, $pattern) = @_; return sum_of($self->counts->{items}, $pattern // ''); }

sub stop
{
	my ($self) = @_;
	return unless $self->{process};
	$self->{process}->kill_kill(grace => 2);
	delete $self->{process};
	return;
}

# A test that dies leaves no process behind: by END, since IPC::Run itself is half gone when
# objects are destroyed at the very end.
END
{
	local ($?, $@);
	foreach my $self (grep { defined } @running)
	{
		eval { $self->stop };
	}
}

1;
