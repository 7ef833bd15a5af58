# Applications of Django, SQLAlchemy, Drizzle and pgx on the view chatcrypt.messages, each directly
# and through PgBouncer, which gives a connection to one transaction after the other.  Each
# application prints its situations as TAP (test/clients), and each line of it is a test here.
use strict;
use warnings;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @missing = grep { !defined $ENV{$_} || !-x $ENV{$_} } qw(CLIENT_PYTHON CLIENT_GO PGBOUNCER);
if (@missing)
{
	die "the client libraries are missing, and CI must have them: @missing\n" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => "no client libraries: @missing");
}

# The role of the application, as the quick start makes it.
my $node = Chatcrypt::Test->start('orms');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO app;
ALTER ROLE app SET chatcrypt.require_actor = on;
ALTER ROLE app SET search_path = chatcrypt, public;
SQL

my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $pooler = start_pooler($node, $folder);

my %applications = (
	Django => [ $ENV{CLIENT_PYTHON}, 'test/clients/django_app.py' ],
	SQLAlchemy => [ $ENV{CLIENT_PYTHON}, 'test/clients/sqlalchemy_app.py' ],
	Drizzle => [ 'node', 'test/clients/drizzle_app.mjs' ],
	pgx => [ $ENV{CLIENT_GO} ],
);
foreach my $name (sort keys %applications)
{
	run_application("$name, directly", $applications{$name}, PGHOST => $node->host, PGPORT => $node->port, PREPARE => 'yes');
	run_application("$name, through PgBouncer", $applications{$name}, PGHOST => $folder, PGPORT => 6432, PREPARE => 'no');
}

$pooler->kill_kill;
done_testing();

sub new_chat
{
	my (@participants) = @_;
	my $names = join ', ', map { "'$_'" } @participants;
	return $node->safe_psql('postgres', "SELECT chatcrypt.create_chat(participants => ARRAY[$names])");
}

sub run_application
{
	my ($name, $command, %environment) = @_;
	my $chat = new_chat('alice', 'bob');
	my $other = new_chat('carol');

	$node->safe_psql('postgres', "INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES ('$other', 'carol', 'not for alice')");
	subtest $name => sub { show_situations($command, %environment, CHAT => $chat, OTHER_CHAT => $other) };
	is($node->safe_psql('postgres', q{SELECT count(*) FROM chatcrypt.sealed_message
			WHERE encrypted_message IS NULL OR get_byte(encrypted_message, 0) <> 1}),
		'0', "$name: every row that the application wrote is an envelope");
	foreach my $one ($chat, $other)
	{
		is($node->safe_psql('postgres', "SELECT count(*) FROM chatcrypt.verify_chat('$one')"), '0',
			"$name: every envelope that the application wrote opens");
		$node->safe_psql('postgres', "CALL chatcrypt.delete_chat('$one', confirm => 'irreversible')");
	}
	return;
}

# Each line of TAP that a program prints is a test here.
sub show_situations
{
	my ($command, %environment) = @_;
	local %ENV = (%ENV, PGDATABASE => 'postgres', PGUSER => 'app', %environment);
	my ($said, $complaints, $situations) = ('', '', 0);
	my $ended = eval { IPC::Run::run($command, '<', \undef, '>', \$said, '2>', \$complaints, IPC::Run::timeout(300)) };

	while ($said =~ /^(not )?ok - (.*)\n((?:#.*\n)*)/mg)
	{
		ok(!$1, $2) or diag($3);
		$situations++;
	}
	ok($ended && $situations > 0, 'the application runs to its end') or diag($@ . $complaints);
	return;
}

# A pooler by transaction with two connections to the server, so that clients share them.
sub start_pooler
{
	my ($server, $sockets) = @_;

	append_to_file("$sockets/users.txt", qq{"app" ""\n});
	append_to_file("$sockets/pgbouncer.ini", <<"INI");
[databases]
postgres = host=@{[ $server->host ]} port=@{[ $server->port ]}
[pgbouncer]
listen_addr =
unix_socket_dir = $sockets
listen_port = 6432
auth_type = trust
auth_file = $sockets/users.txt
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
INI
	my $process = IPC::Run::start([ $ENV{PGBOUNCER}, "$sockets/pgbouncer.ini" ], '>', "$sockets/log", '2>&1');
	wait_until(20, sub { -S "$sockets/.s.PGSQL.6432" }) or die 'PgBouncer did not start: ' . slurp_file("$sockets/log");
	return $process;
}
