# Clusters with chatcrypt in them: a thin layer over PostgreSQL::Test::Cluster.
#
#   my $node = Chatcrypt::Test->start('main');                    # key local:main, extension made
#   my $node = Chatcrypt::Test->start('main', conf => "chatcrypt.kms_timeout = '1s'\n");
#   my $node = Chatcrypt::Test->start('main', bao => $bao);       # key vault:..., token of the policy
#   my $node = Chatcrypt::Test->start('main', bao => $bao, proxy => $proxy);
#
# The result is a PostgreSQL::Test::Cluster, and all of its methods can be used.
#
#   streaming => 1      as allows_streaming of init()
#   extension => 0      no CREATE EXTENSION
#   start => 0          configured, and not started
#   keys => FOLDER      the key folder of another node (see keys_of), for restores and standbys
#
package Chatcrypt::Test;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(write_secret keys_of make_key wait_until);

my %keys_of;

# A file that only its owner can read, as chatcrypt demands of keys and tokens.
sub write_secret
{
	my ($path, $content) = @_;
	my $new = "$path.new";

	unlink $new;
	sysopen(my $out, $new, Fcntl::O_WRONLY() | Fcntl::O_CREAT() | Fcntl::O_EXCL(), 0600)
	  or die "$new: $!";
	print $out $content;
	close $out or die "$new: $!";
	rename $new, $path or die "$path: $!";
	return $path;
}

# A new master key NAME.key (or NAME.2.key ...) in a key folder.
sub make_key
{
	my ($folder, $name) = @_;

	open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
	my $length = read $random, my $key, 32;
	die 'no randomness' unless defined $length && $length == 32;
	return write_secret("$folder/$name.key", unpack('H*', $key) . "\n");
}

# The key folder of a node that start() made.
sub keys_of
{
	my ($node) = @_;
	return $keys_of{ $node->name };
}

# For a node whose settings came with the backup of another node.
sub share_keys
{
	my ($class, $node, $other) = @_;
	$keys_of{ $node->name } = keys_of($other);
	return;
}

# Polls until the code is true; false where it never was.
sub wait_until
{
	my ($seconds, $code) = @_;
	require Time::HiRes;
	my $end = Time::HiRes::time() + $seconds;
	while (1)
	{
		return 1 if $code->();
		return 0 if Time::HiRes::time() > $end;
		Time::HiRes::sleep(0.02);
	}
}

sub start
{
	my ($class, $name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => $options{streaming} // 0,
		extra => [ '--encoding=UTF8', '--locale=C' ]);
	$class->configure($node, %options);
	return $node if exists $options{start} && !$options{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION chatcrypt')
	  unless exists $options{extension} && !$options{extension};
	return $node;
}

# The settings of a node; to be called directly for a node that was restored from a backup.
sub configure
{
	my ($class, $node, %options) = @_;
	my $keys = $options{keys};

	if (!defined $keys)
	{
		$keys = PostgreSQL::Test::Utils::tempdir();
		chmod 0700, $keys or die "$keys: $!";
		make_key($keys, 'main');
	}
	$keys_of{ $node->name } = $keys;
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'chatcrypt'
chatcrypt.allow_protect = on
chatcrypt.local_key_dir = '$keys'
max_connections = 60
CONF
	$node->append_conf('postgresql.conf', $options{bao}->settings($options{proxy})) if $options{bao};
	$node->append_conf('postgresql.conf', $options{conf}) if defined $options{conf};
	return;
}

1;
