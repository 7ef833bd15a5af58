# Random statements give the same results on a protected table and on a plain one with the same rows.
# test/t/lib/protect_oracle.py describes how.
#
#   PROTECT_SECONDS=600     the duration of the run; 45 by default
#   PROTECT_SEED=7          the seed, to repeat a run that failed
use strict;
use warnings;
use Chatcrypt::Test;
use File::Basename qw(dirname);
use IPC::Run ();
use Test::More;

my $seconds = $ENV{PROTECT_SECONDS} // 45;
my $seed = $ENV{PROTECT_SEED} // int(rand(1_000_000));
diag("random statements for $seconds seconds; repeat with PROTECT_SEED=$seed PROTECT_SECONDS=$seconds");

my $node = Chatcrypt::Test->start('statements', conf => "log_statement = none\n");
$node->safe_psql('postgres', "SELECT chatcrypt.create_chats('{1,2,3,4,5}'); ALTER DATABASE postgres SET search_path = app");

# Tests of the comparison itself.
my ($twins) = run_oracle($seed, 3, 'twins');
unlike($twins, qr/^not ok/m, 'two plain tables do not differ');
like($twins, qr/^# [1-9]\d+ steps/m, 'the comparison of two plain tables takes some steps');
my ($wrong) = run_oracle($seed, 3, 'wrong');
like($wrong, qr/^not ok/m, 'a table that changes what is written differs');

my ($said, $complaints, $ended) = run_oracle($seed, $seconds);
while ($said =~ /^(not )?ok - (.*)\n((?:#.*\n)*)/mg)
{
	ok(!$1, $2) or diag($3);
}
my ($steps, $errors) = $said =~ /^# (\d+) steps, (\d+) of them errors/m;
ok($ended && defined $steps, 'the run finishes') or diag($complaints);
cmp_ok($steps // 0, '>', 50, 'the run takes many steps');
cmp_ok(($errors // 0) * 2, '<', $steps // 0, 'most steps are not errors');

done_testing();

sub run_oracle
{
	my ($from, $for, @trial) = @_;
	my ($out, $err) = ('', '');
	my $done = IPC::Run::run([ '/usr/bin/python3', '-B', dirname(__FILE__) . '/lib/protect_oracle.py', $node->connstr('postgres'), $from, $for, @trial ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($for * 3 + 120));
	return ($out, $err, $done);
}
