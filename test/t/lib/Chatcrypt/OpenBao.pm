# A real OpenBao (or Vault) for a test: in memory, with TLS, on a free port of 127.0.0.1,
# unsealed, with a derived Transit key, a policy of least privilege, a token of that policy
# and an AppRole login.
#
#   my $bao = Chatcrypt::OpenBao->start_or_skip;   # skips the whole file where there is none;
#                                                  # dies instead where CI is true
#   $bao->address  $bao->ca_file  $bao->kms_key
#   $bao->token_file  $bao->role_id_file  $bao->secret_id_file
#   $bao->settings                                 # lines for postgresql.conf: login by token
#   $bao->cli('write', '-f', 'transit/keys/chat/rotate')        # as root; dies if it fails
#   Chatcrypt::OpenBao->start_raft                 # one with snapshots
#   $bao->seal  $bao->unseal  $bao->pause  $bao->resume  $bao->stop
#
# The program is the one that BAO names (scripts/test sets it), or else bao or vault on PATH.
#
package Chatcrypt::OpenBao;

use strict;
use warnings;
use Chatcrypt::Test qw(write_secret wait_until);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ROOT_TOKEN = 'chatcrypt-test-root';
my $MOUNT = 'transit';
my $KEY = 'chat';

sub program
{
	return $ENV{BAO} if $ENV{BAO};
	foreach my $name (qw(bao vault))
	{
		foreach my $folder (split /:/, $ENV{PATH})
		{
			return "$folder/$name" if -x "$folder/$name" && !-d _;
		}
	}
	return undef;
}

sub start_or_skip
{
	my ($class) = @_;

	if (!defined program())
	{
		die "OpenBao is missing, and CI must have it\n" if ($ENV{CI} // '') eq 'true';
		plan(skip_all => 'neither BAO nor PATH has an OpenBao or Vault');
	}
	return $class->start;
}

my @running;

sub start
{
	my ($class) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $self = bless {
		program => program(),
		folder => $folder,
		port => $port,
		log => "$PostgreSQL::Test::Utils::log_path/openbao-$port.log",
		ca_file => "$folder/vault-ca.pem",
		root_token => $ROOT_TOKEN,
	}, $class;

	$self->{process} = IPC::Run::start(
		[ $self->{program}, 'server', '-dev', '-dev-tls', "-dev-tls-cert-dir=$folder",
			'-dev-no-store-token', "-dev-root-token-id=$ROOT_TOKEN",
			"-dev-listen-address=127.0.0.1:$port" ],
		'<', \undef, '>&', $self->{log},
		init => sub { $ENV{HOME} = $folder; });
	push @running, $self;
	wait_until(30, sub { $self->log_text =~ /Unseal Key: \S+/ })
	  or die "OpenBao did not start:\n" . $self->log_text;
	($self->{unseal_key}) = $self->log_text =~ /Unseal Key: (\S+)/;
	$self->set_up;
	return $self;
}

# A server that keeps its keys on disk, so that it has snapshots; with empty => 1 it has no key and
# no login.
sub start_raft
{
	my ($class, %options) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my ($port, $cluster_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
	my $self = bless {
		program => program(),
		folder => $folder,
		port => $port,
		log => "$PostgreSQL::Test::Utils::log_path/openbao-$port.log",
		ca_file => "$folder/vault-ca.pem",
		root_token => '',
	}, $class;

	system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=openbao',
		'-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', "$folder/key.pem", '-out', $self->{ca_file});
	mkdir "$folder/raft" or die "$folder/raft: $!";
	append_to_file("$folder/config.hcl", <<"HCL");
storage "raft" { path = "$folder/raft" node_id = "one" }
listener "tcp" { address = "127.0.0.1:$port" cluster_address = "127.0.0.1:$cluster_port" tls_cert_file = "$self->{ca_file}" tls_key_file = "$folder/key.pem" }
api_addr = "https://127.0.0.1:$port"
cluster_addr = "https://127.0.0.1:$cluster_port"
HCL
	$self->{process} = IPC::Run::start([ $self->{program}, 'server', "-config=$folder/config.hcl" ],
		'<', \undef, '>&', $self->{log}, init => sub { $ENV{HOME} = $folder; });
	push @running, $self;
	wait_until(30, sub { ($self->try_cli('status'))[0] == 2 }) or die "OpenBao did not start:\n" . $self->log_text;
	my $made = $self->cli('operator', 'init', '-key-shares=1', '-key-threshold=1');
	($self->{unseal_key}) = $made =~ /Unseal Key 1: (\S+)/;
	($self->{root_token}) = $made =~ /Initial Root Token: (\S+)/;
	$self->unseal;
	wait_until(30, sub { ($self->try_cli('secrets', 'list'))[0] == 0 }) or die "OpenBao did not get ready:\n" . $self->log_text;
	$self->set_up unless $options{empty};
	return $self;
}

sub log_text
{
	my ($self) = @_;
	return -e $self->{log} ? slurp_file($self->{log}) : '';
}

sub address { my ($self) = @_; return "https://127.0.0.1:$self->{port}"; }
sub ca_file { my ($self) = @_; return $self->{ca_file}; }
sub kms_key { my ($self, $key) = @_; return "vault:$MOUNT/" . ($key // $KEY); }
sub token_file { my ($self) = @_; return "$self->{folder}/token"; }
sub role_id_file { my ($self) = @_; return "$self->{folder}/role_id"; }
sub secret_id_file { my ($self) = @_; return "$self->{folder}/secret_id"; }

# Runs the program as a client, as root or with another token; standard output, or death.
sub cli
{
	my ($self, @arguments) = @_;
	my ($status, $output, $error) = $self->try_cli(@arguments);
	die "@arguments: $error" if $status != 0;
	return $output;
}

# The variables by which the program finds the server, as root.
sub variables
{
	my ($self) = @_;
	my @variables = map {
		("${_}_ADDR" => $self->address, "${_}_CACERT" => $self->ca_file, "${_}_TOKEN" => $self->{root_token})
	} qw(BAO VAULT);

	return (@variables, HOME => $self->{folder});
}

# (status, standard output, standard error)
sub try_cli
{
	my ($self, @arguments) = @_;
	my ($output, $error) = ('', '');
	my $input = ref $arguments[-1] ? ${ pop @arguments } : '';

	IPC::Run::run([ $self->{program}, @arguments ], '<', \$input, '>', \$output, '2>', \$error,
		init => sub {
			my %variables = $self->variables;
			@ENV{ keys %variables } = values %variables;
		});
	my $status = $? >> 8;
	chomp $output;
	return ($status, $output, $error);
}

# The rights that a Transit key needs, and no more: no create, since a mistyped name would then make
# a key.
sub policy
{
	my ($self, @keys) = @_;
	my $text = '';

	foreach my $key (@keys)
	{
		$text .= qq(path "$MOUNT/$_/$key" { capabilities = ["update"] }\n)
		  foreach qw(datakey/plaintext encrypt decrypt rewrap);
		$text .= qq(path "$MOUNT/keys/$key" { capabilities = ["read"] }\n);
	}
	return $text;
}

sub set_up
{
	my ($self) = @_;

	$self->cli('secrets', 'enable', "-path=$MOUNT", 'transit');
	$self->cli('write', '-f', "$MOUNT/keys/$KEY", 'derived=true');
	$self->set_policy($KEY);
	write_secret($self->token_file, $self->new_token);
	$self->cli('auth', 'enable', 'approle');
	$self->set_role;
	write_secret($self->role_id_file,
		$self->cli('read', '-field=role_id', 'auth/approle/role/chatcrypt/role-id'));
	write_secret($self->secret_id_file, $self->new_secret_id);
	return;
}

# The policy "chatcrypt" covers these keys from now on.
sub set_policy
{
	my ($self, @keys) = @_;
	my $text = $self->policy(@keys);
	$self->cli('policy', 'write', 'chatcrypt', '-', \$text);
	return;
}

# Another derived key, in the policy as well.
sub add_key
{
	my ($self, $key, @properties) = @_;
	$self->cli('write', '-f', "$MOUNT/keys/$key", @properties ? @properties : 'derived=true');
	push @{ $self->{more_keys} }, $key;
	$self->set_policy($KEY, @{ $self->{more_keys} });
	return $self->kms_key($key);
}

sub new_token
{
	my ($self, @options) = @_;
	return $self->cli('token', 'create', '-field=token', '-policy=chatcrypt', '-orphan', @options);
}

# The AppRole, with a lease if one is named: token_ttl=5s, say.
sub set_role
{
	my ($self, @properties) = @_;
	$self->cli('write', 'auth/approle/role/chatcrypt', 'token_policies=chatcrypt', @properties);
	return;
}

sub new_secret_id
{
	my ($self) = @_;
	return $self->cli('write', '-f', '-field=secret_id', 'auth/approle/role/chatcrypt/secret-id');
}

# Lines for postgresql.conf; through a Chatcrypt::FaultProxy if one is given.
sub settings
{
	my ($self, $proxy) = @_;
	my ($address, $ca_file) = map { $_->address, $_->ca_file } $proxy // $self;

	return join '', map { "$_\n" } "chatcrypt.vault_addr = '$address'",
	  "chatcrypt.vault_ca_file = '$ca_file'",
	  "chatcrypt.vault_token_file = '" . $self->token_file . "'",
	  "chatcrypt.default_kms_key = '" . $self->kms_key . "'";
}

# The same with a login by AppRole.
sub approle_settings
{
	my ($self, $proxy) = @_;

	return $self->settings($proxy) . join '', map { "$_\n" } "chatcrypt.vault_token_file = ''",
	  "chatcrypt.vault_role_id_file = '" . $self->role_id_file . "'",
	  "chatcrypt.vault_secret_id_file = '" . $self->secret_id_file . "'";
}

sub seal { my ($self) = @_; $self->cli('operator', 'seal'); return; }
sub unseal { my ($self) = @_; $self->cli('operator', 'unseal', $self->{unseal_key}); return; }

# Stopped as by a debugger: it takes connections, and answers nothing.
sub pause { my ($self) = @_; $self->{process}->signal('STOP'); return; }
sub resume { my ($self) = @_; $self->{process}->signal('CONT'); return; }

sub stop
{
	my ($self) = @_;
	return unless $self->{process};
	$self->{process}->signal('CONT');
	$self->{process}->kill_kill(grace => 5);
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
