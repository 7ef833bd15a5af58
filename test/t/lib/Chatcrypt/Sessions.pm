# Sessions that stay open, and master keys that are out of reach: for tests of what sessions
# remember, and for how long.
#
#   my $session = session($node);                # or session($node, 'a database')
#   is(answer($session, 'SELECT 1'), '1');       # rows, or else the first line of the error
#   is(ask($node, 'SELECT 1'), '1');             # the same in a new connection
#   start($session, 'LOCK TABLE t');             # and later its result:
#   is(outcome($session), '');
#
package Chatcrypt::Sessions;

use strict;
use warnings;
use Chatcrypt::Test qw(keys_of);
use Exporter 'import';

our @EXPORT = qw(session answer start outcome ask hide_keys show_keys);

sub session
{
	my ($node, $database) = @_;
	return $node->background_psql($database // 'postgres', on_error_stop => 0);
}

sub first_error
{
	my ($errors) = @_;
	return $errors =~ /((?:ERROR|FATAL|PANIC):.*)/ ? $1 : undef;
}

sub answer
{
	my ($session, $sql) = @_;
	$session->{stderr} = '';
	my $rows = $session->query($sql);
	return first_error($session->{stderr}) // $rows;
}

sub start
{
	my ($session, $sql) = @_;
	$session->query_until(qr/started/, "\\echo started\n$sql;\n");
	return;
}

sub outcome
{
	my ($session) = @_;
	my $rows = $session->query('');
	my $error = first_error($session->{stderr});
	$session->{stderr} = '';
	return $error // $rows;
}

sub ask
{
	my ($node, $sql, $database) = @_;
	my ($status, $rows, $errors) = $node->psql($database // 'postgres', $sql);
	return first_error($errors) // $rows;
}

# No master key can be read from now on: what still works makes no call to the KMS.
sub hide_keys
{
	my ($node) = @_;
	rename keys_of($node), keys_of($node) . '.away' or die "cannot hide the keys: $!";
	return;
}

sub show_keys
{
	my ($node) = @_;
	rename keys_of($node) . '.away', keys_of($node) or die "cannot show the keys: $!";
	return;
}

1;
