#!/usr/bin/perl
#
# What scripts/supervise promises: the command's output and status, an end for everything that it
# started, an end for a command that hangs, and none for one that is only slow.
#
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

my $supervise = dirname(__FILE__) . '/../../scripts/supervise';
my $dir = tempdir(CLEANUP => 1);

sub supervised
{
	my ($seconds, $script) = @_;
	my $pid = open my $out, '-|', $supervise, $seconds, 'sh', '-c', $script or die "supervise: $!";
	my $said = join '', <$out>;
	close $out;
	return ($? >> 8, $said);
}

sub pid_in
{
	my ($file) = @_;
	for (1 .. 200)
	{
		if (open my $in, '<', $file)
		{
			my $pid = <$in>;
			return $1 if defined $pid && $pid =~ /^(\d+)\n/;
		}
		sleep 0.05;
	}
	die "nobody wrote $file";
}

sub is_gone
{
	my ($pid) = @_;
	for (1 .. 400)
	{
		return 1 unless kill 0, $pid;
		sleep 0.05;
	}
	return 0;
}

my ($status, $said) = supervised(60, 'echo out; echo err >&2; exit 7');
is($status, 7, 'the exit status of the command is passed on');
is($said, "out\nerr\n", 'the output of the command is passed on, of both kinds');

($status) = supervised(60, 'kill -9 $$');
is($status, 137, 'a command that a signal ended has 128 and its number as status');

($status, $said) = supervised(60, "setsid sh -c 'echo \$\$ >$dir/daemon; exec sleep 600' & sleep 0.5; exit 0");
is($status, 0, 'a process that was left behind does not change the status');
like($said, qr/^# still ran, and was ended: sleep$/m, 'a process that was left behind is named');
ok(is_gone(pid_in("$dir/daemon")), 'a process in a session of its own is ended with the command');

($status, $said) = supervised(60,
	"setsid sh -c 'echo \$\$ >$dir/stopped; trap \"\" TERM; kill -STOP \$\$; sleep 600' & sleep 0.5; exit 0");
ok(is_gone(pid_in("$dir/stopped")), 'a process that is stopped and ignores SIGTERM is ended too');

my $started = time;
($status, $said) = supervised(1, "echo begun; echo \$\$ >$dir/silent; sleep 600");
is($status, 124, 'a command that writes nothing for too long is ended');
like($said, qr/^begun\n# nothing was written for 1 s: ended$/m, 'the output says that a silent command was ended');
ok(is_gone(pid_in("$dir/silent")), 'nothing is left of a silent command');

($status) = supervised(2, 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done');
is($status, 0, 'a command that goes on writing may take longer');

# After the parent is killed, nothing is left that could hold a lock or a port.
my $parent = fork // die "fork: $!";
if ($parent == 0)
{
	open STDOUT, '>', '/dev/null';
	system($supervise, 60, 'sh', '-c', "echo \$\$ >$dir/orphan; sleep 600");
	POSIX::_exit(0);
}
my $orphan = pid_in("$dir/orphan");
kill 'KILL', $parent;
waitpid $parent, 0;
ok(is_gone($orphan), 'a command ends when the process that called supervise is killed');

# The lock, as scripts/test takes it and closes it for the commands that it runs.
($status, $said) = do
{
	my $script = "exec 9>$dir/lock; flock -n 9 || exit 1; "
	  . "$supervise 60 sh -c 'flock -n $dir/lock true && echo free || echo held; [ -e /proc/self/fd/9 ] && echo inherited' 9>&-";
	my $text = qx(bash -c "$script");
	($? >> 8, $text);
};
is($said, "held\n", 'the lock of the caller is held, but not by the command');

done_testing();
