# What tests of the connection to a KMS share: chats by the hundred, the full text of an error, how
# long calls take, and the KMS worker.
#
#   my $seconds = seconds(sub { ... });
#   like(failure($node, $sql), qr/^58030 could not unwrap .* did not answer/);  # '' for success
#   make_chats($node, 1, 100);         # chats 1 to 100 with a message each: 'body 7' in chat 7
#   is(ask($node, read_chat(7)), 'body 7');
#   is(count_read($node, 1 .. 100), 100);
#   make_cold($node);                  # as all keys are after a restart
#   set($node, 'chatcrypt.kms_timeout' => '1s', ...);    # and reload, and wait until it has an effect
#   check($node, $uri)                 # 'ok', or the first step of kms_check() that failed
#   status($node, 'breaker')           # a column of chatcrypt.kms_status for vault:transit/chat
#
package Chatcrypt::Kms;

use strict;
use warnings;
use Chatcrypt::Test qw(wait_until);
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Time::HiRes ();

our @EXPORT = qw(seconds failure make_chats read_chat count_read make_cold set check status works_again
  worker_pid worker_cpu median);

sub seconds
{
	my ($code) = @_;
	my $start = Time::HiRes::time();
	$code->();
	return Time::HiRes::time() - $start;
}

# The whole error on one line: "SQLSTATE message DETAIL HINT".
sub failure
{
	my ($node, $sql) = @_;
	my ($status, undef, $errors) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return '' if $status == 0;
	return $errors unless $errors =~ /(?:ERROR|FATAL):  (\w{5}): (.*?)(?:\nLOCATION:.*)?\z/s;
	return join ' ', split /\s+/, "$1 $2";
}

sub make_chats
{
	my ($node, $first, $last, $tenant) = @_;
	$tenant //= 'default';
	return $node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chats(array_agg(n), tenant => '$tenant') FROM generate_series($first\::bigint, $last) AS n;
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'body ' || n FROM generate_series($first\::bigint, $last) AS n;
SQL
}

sub read_chat
{
	my ($number) = @_;
	return "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($number)";
}

# How many of these chats have the expected message.  The ids come first: a function of a column is
# not pushed into a view with a security barrier, which would then open every message.
sub count_read
{
	my ($node, @chats) = @_;
	my $list = join ', ', @chats;
	return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (SELECT n, chatcrypt.to_uuid(n) AS chat_id FROM unnest(ARRAY[$list]) AS n OFFSET 0) AS c
WHERE (SELECT body FROM chatcrypt.messages AS m WHERE m.chat_id = c.chat_id) = 'body ' || n
SQL
}

sub make_cold
{
	my ($node) = @_;
	$node->restart;
	return;
}

# Waits for a reload until new sessions and the worker have seen it: the postmaster tells its
# children before it starts another one.
sub set
{
	my ($node, %settings) = @_;

	foreach my $name (sort keys %settings)
	{
		$node->adjust_conf('postgresql.conf', $name, undef);
		$node->append_conf('postgresql.conf', "$name = '$settings{$name}'") if defined $settings{$name};
	}
	my $before = reloads($node);
	$node->reload;
	wait_until(10, sub { reloads($node) ne $before }) or die 'no reload';
	return;
}

sub reloads
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT pg_conf_load_time()');
}

sub check
{
	my ($node, $uri) = @_;
	return $node->safe_psql('postgres', <<"SQL");
SELECT coalesce((SELECT step || ': ' || detail FROM chatcrypt.kms_check('$uri') WHERE NOT ok LIMIT 1), 'ok')
SQL
}

sub status
{
	my ($node, $columns, $uri) = @_;
	$uri //= 'vault:transit/chat';
	return $node->safe_psql('postgres', "SELECT $columns FROM chatcrypt.kms_status WHERE kms_key = '$uri'");
}

# The seconds until a chat could be read; undef where it never could.
sub works_again
{
	my ($node, $number, $patience) = @_;
	my $start = Time::HiRes::time();
	my $wanted = "body $number";

	return undef
	  unless wait_until($patience, sub {
		my ($status, $body) = $node->psql('postgres', read_chat($number));
		return $status == 0 && $body eq $wanted;
	  });
	return Time::HiRes::time() - $start;
}

sub worker_pid
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT pid FROM chatcrypt.kms_worker');
}

# Seconds of CPU that the worker has used.
sub worker_cpu
{
	my ($node) = @_;
	my $stat = slurp_file('/proc/' . worker_pid($node) . '/stat');
	my @fields = split / /, $stat =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / 100;
}

sub median
{
	my (@numbers) = sort { $a <=> $b } @_;
	return $numbers[ $#numbers / 2 ];
}

1;
