# A receiver of the _bulk API of search engines, in a process of its own: bulk_receiver.py.
#
#   my $receiver = Chatcrypt::BulkReceiver->start;
#   $receiver->url                                  # http://127.0.0.1:PORT
#   my $state = $receiver->state;                   # documents, counts, wrong
#   $receiver->post('_bulk', "...", 'application/x-ndjson')     # status and body
#   $receiver->faults(reject => 7, mute => 3);
#
package Chatcrypt::BulkReceiver;

use strict;
use warnings;
use Chatcrypt::Test qw(wait_until);
use File::Basename;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;

sub start
{
	my ($class) = @_;
	my $port_file = PostgreSQL::Test::Utils::tempdir() . '/port';
	my $handle = IPC::Run::start([ 'python3', dirname(__FILE__) . '/../bulk_receiver.py', $port_file ]);

	wait_until(20, sub { -e $port_file }) or die 'the receiver does not start';
	return bless { handle => $handle, port => slurp_file($port_file) }, $class;
}

sub url
{
	my ($self) = @_;
	return "http://127.0.0.1:$self->{port}";
}

sub post
{
	my ($self, $path, $body, $type) = @_;
	my $answer = HTTP::Tiny->new->post($self->url . "/$path", { content => $body, headers => { 'Content-Type' => $type } });
	return ($answer->{status}, $answer->{content});
}

sub faults
{
	my ($self, %faults) = @_;
	my ($status) = $self->post('_faults', encode_json(\%faults), 'application/json');
	die "the receiver said $status" unless $status == 200;
	return;
}

sub state
{
	my ($self) = @_;
	return decode_json(HTTP::Tiny->new->get($self->url . '/_state')->{content});
}

sub stop
{
	my ($self) = @_;
	$self->{handle}->kill_kill;
	return;
}

1;
