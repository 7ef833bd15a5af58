# Faults at random, all of them from one seed, and the measurements of a server while it has them.
#
#   my $soak = Chatcrypt::Soak->new(node => $node, bao => $bao, proxy => $proxy, seed => 1, seconds => 300);
#   my @plan = $soak->plan(60, restarts => 1);        # steps of 60 seconds, in the order of their times
#   $soak->take($step)                                # begins or ends a fault; the SQLSTATEs that it may bring
#
# Three tracks run at the same time: one of the key service (sealed, without a right, ...), one of
# the network before it, one of processes.  In each track there is one fault at a time.  A fault
# ends before the plan does.
#
package Chatcrypt::Soak;

use strict;
use warnings;
use Chatcrypt::Kms;
use Chatcrypt::Test qw(write_secret);
use List::Util qw(sum0);
use PostgreSQL::Test::Utils;

# SQLSTATEs beside 58030 that sessions may see: docs/kms.md.
my ($DENIED, $REJECTED, $WRONG_KEY) = qw(28000 55000 XX001);

# A session that works for the application and is not the long-lived one.
my $SOME_SESSION = q{(SELECT pid FROM pg_stat_activity WHERE application_name ~ '^soak_(admin|[0-9]+)$' ORDER BY random() LIMIT 1) AS s};

my %service = (
	sealed => { begin => sub { $_[0]{bao}->seal }, end => sub { $_[0]{bao}->unseal } },
	stopped => { begin => sub { $_[0]{bao}->pause }, end => sub { $_[0]{bao}->resume } },
	'another version' => { begin => sub { $_[0]{bao}->cli('write', '-f', 'transit/keys/chat/rotate') } },
	'old versions shut off' => { states => [$REJECTED],
		begin => sub { $_[0]->shut_off_old_versions },
		end => sub { $_[0]{bao}->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1') } },
	'token revoked' => { states => [$DENIED],
		begin => sub { $_[0]{bao}->cli('token', 'revoke', slurp_file($_[0]{bao}->token_file)) },
		end => sub { write_secret($_[0]{bao}->token_file, $_[0]{bao}->new_token) } },
	map { my $right = $_; ("no right to $right" => { states => [$DENIED],
		begin => sub { $_[0]->take_away($right) }, end => sub { $_[0]{bao}->set_policy('chat') } }) }
	  qw(datakey/plaintext encrypt decrypt rewrap),
);

my %network = (
	'nothing listens' => { begin => sub { $_[0]{proxy}->listen('refuse') }, end => sub { $_[0]{proxy}->listen('accept') } },
	'black hole' => { begin => sub { $_[0]{proxy}->listen('silent') }, end => sub { $_[0]{proxy}->listen('accept') } },
	'expired certificate' => { begin => sub { $_[0]{proxy}->certificate('expired') }, end => sub { $_[0]{proxy}->certificate('good') } },
	map { rule(@$_) } (
		[ reset => { fault => 'reset' } ],
		[ close => { fault => 'close' } ],
		[ hang => { fault => 'hang' } ],
		[ 'half a reply' => { fault => 'half' } ],
		[ garbage => { fault => 'garbage' } ],
		[ oversized => { fault => 'oversized', bytes => 4_000_000 } ],
		[ redirect => { fault => 'redirect', location => 'https://127.0.0.1:1' } ],
		[ 'status 500' => { fault => 'status', code => 500 } ],
		[ 'status 429' => { fault => 'status', code => 429 } ],
		[ 'hold by 429' => { fault => 'status', code => 429, retry_after => 2 } ],
		[ 'hold by 503' => { fault => 'status', code => 503, retry_after => 1 } ],
		[ slow => { delay_ms => 300 } ],
		[ 'very slow' => { delay_ms => 2500 } ],
		[ 'another key' => { path => 'decrypt', fault => 'wrong_key' }, $WRONG_KEY ],
		[ 'another order' => { path => 'decrypt', fault => 'shuffle' }, $WRONG_KEY ],
		[ 'one result too few' => { path => 'decrypt', fault => 'drop_item' } ],
		[ 'one item refused' => { path => 'decrypt', fault => 'item_error', item => 0 }, $REJECTED ]),
);

my %process = (
	'worker stopped' => { longest => 1.2, begin => sub { $_[0]->signal_worker('STOP') }, end => sub { $_[0]->signal_worker('CONT', 1) } },
	'a session terminated' => { begin => sub { $_[0]->ask_if_there("SELECT pg_terminate_backend(pid) FROM $SOME_SESSION") } },
	'a statement canceled' => { states => ['57014'], begin => sub { $_[0]->ask_if_there("SELECT pg_cancel_backend(pid) FROM $SOME_SESSION") } },
	reload => { begin => sub { $_[0]{node}->reload } },
);

# Faults that end processes whose memory is measured.
my %restarts = (
	%process,
	'worker stopped for long' => { longest => 9, begin => sub { $_[0]->signal_worker('STOP') }, end => sub { $_[0]->signal_worker('CONT', 1) } },
	'worker terminated' => { forgets => 1, begin => sub { $_[0]->signal_worker('TERM') } },
	'worker killed' => { rare => 1, forgets => 1, begin => sub { $_[0]->signal_worker('KILL') } },
	'a session killed' => { rare => 1, forgets => 1, begin => sub { $_[0]->kill_a_session } },
);

my %fault = (%service, %network, %restarts);

# A fault of the proxy, for some requests in a row, or for a while.
sub rule
{
	my ($name, $rule, @states) = @_;
	return (
		$name => { states => \@states, begin => sub { $_[0]{proxy}->fault(%$rule) }, end => sub { $_[0]{proxy}->clear } },
		"$name, a few" => { states => \@states, begin => sub { $_[0]{proxy}->fault(%$rule, times => 3) }, end => sub { $_[0]{proxy}->clear } });
}

sub new
{
	my ($class, %self) = @_;
	return bless { %self, taken => {} }, $class;
}

# The steps of all tracks for so many seconds.  The longest reply that the worker reads comes first,
# so that the worker has had the memory that it takes.
sub plan
{
	my ($self, $seconds, %options) = @_;
	my @steps = ({ at => 0.1, name => 'oversized', what => 'begin' }, { at => 2, name => 'oversized', what => 'end' });

	push @steps, plan_track(\%service, 0, $seconds), plan_track(\%network, 2, $seconds);
	push @steps, plan_track($options{restarts} ? \%restarts : \%process, 0, $seconds);
	return sort { $a->{at} <=> $b->{at} } @steps;
}

sub plan_track
{
	my ($track, $begin, $end) = @_;
	my @names = sort keys %$track;
	my @rare = grep { $track->{$_}{rare} } @names;
	my @steps;
	my $at = $begin + between(0.5, 3);

	while ($at < $end - 1)
	{
		my $name = $names[ int(rand(@names)) ];
		my $fault = $track->{$name};
		next if $fault->{rare} && rand() > 0.15;
		push @steps, { at => $at, name => $name, what => 'begin' };
		if ($fault->{end})
		{
			my $lasts = between(0.3, $fault->{longest} // 5);
			$at = min_of($at + $lasts, $end);
			push @steps, { at => $at, name => $name, what => 'end' };
		}
		$at += between(0.5, 5);
	}
	return @steps, map { { at => between($begin + 1, $end - 5), name => $_, what => 'begin' } } @rare;
}

sub between { my ($low, $high) = @_; return $low + rand($high - $low); }
sub min_of { my ($one, $other) = @_; return $one < $other ? $one : $other; }

# The SQLSTATEs that the fault may cause: they must be allowed before it begins.
sub states { my ($self, $step) = @_; return @{ $fault{ $step->{name} }{states} // [] }; }

sub take
{
	my ($self, $step) = @_;
	$self->{taken}{ $step->{name} }++ if $step->{what} eq 'begin';
	$fault{ $step->{name} }{ $step->{what} }->($self);
	return;
}

# How many faults so far have ended the server or its KMS worker, which then forgets what it has
# logged.
sub forgotten
{
	my ($self) = @_;
	return sum0(map { $self->{taken}{$_} // 0 } grep { $fault{$_}{forgets} } keys %fault);
}

# What the faults do -------------------------------------------------------------------

sub take_away
{
	my ($self, $right) = @_;
	my $policy = $self->{bao}->policy('chat') =~ s/^path "transit\/\Q$right\E\/.*\n//mr;
	$self->{bao}->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	return;
}

sub shut_off_old_versions
{
	my ($self) = @_;
	my $bao = $self->{bao};
	my $latest = $bao->cli('read', '-field=latest_version', 'transit/keys/chat');
	$bao->cli('write', 'transit/keys/chat/config', "min_decryption_version=$latest");
	return;
}

# The answer of the server, or '' where the server does not run at the moment.
sub ask_if_there
{
	my ($self, $sql) = @_;
	my ($status, $rows) = $self->{node}->psql('postgres', $sql, timeout => 60);
	return $status == 0 ? $rows : '';
}

sub signal_worker
{
	my ($self, $signal, $same) = @_;
	my $pid = $same ? delete $self->{stopped} : $self->ask_if_there('SELECT pid FROM chatcrypt.kms_worker');
	$self->{stopped} = $pid if $signal eq 'STOP';
	kill $signal, $pid if $pid;
	return;
}

sub kill_a_session
{
	my ($self) = @_;
	my $pid = $self->ask_if_there("SELECT pid FROM $SOME_SESSION");
	kill 'KILL', $pid if $pid;
	return;
}

1;
