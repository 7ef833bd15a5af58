# Runs PostgreSQL's own tests with chatcrypt as the default table access method and no protected
# columns.  Each test gives the same output as with the heap, except for the differences listed in
# test/postgres, where each file gives the reason.
#
# The tests are not copied here: scripts/lib.sh takes them from Debian's source package, and PG_SOURCE
# names their folder.
use strict;
use warnings;
use Chatcrypt::Test;
use File::Copy ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

if (!defined $ENV{PG_SOURCE} || !-d "$ENV{PG_SOURCE}/src/test/regress")
{
	die "PostgreSQL's source is missing, and CI must have it\n" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => 'no source of PostgreSQL: PG_SOURCE names its folder');
}

# In the order of PostgreSQL's schedule, because some tests use the tables of others.
my @tests = qw(test_setup copy copyselect copydml insert insert_conflict create_function_c create_misc create_table create_index
  create_view create_function_sql constraints triggers select inherit vacuum updatable_views select_into select_distinct
  subselect union join aggregates transactions portals arrays hash_index update delete prepared_xacts matview lock
  rowsecurity tablesample generated generated_stored generated_virtual identity create_table_like merge tid tidscan
  tidrangescan incremental_sort select_parallel portals_p2 foreign_key cluster combocid window indirect_toast json jsonb
  plancache limit plpgsql copy2 temp domain rangefuncs prepare truncate alter_table rowtypes returning with
  partition_join partition_prune indexing partition_aggregate memoize compression fast_default);

my $regress = "$ENV{PG_SOURCE}/src/test/regress";
@tests = grep { -f "$regress/sql/$_.sql" } @tests;
my $work = PostgreSQL::Test::Utils::tempdir();
my $library = build_library();

my %results = map { $_ => run_tests($_) } qw(heap chatcrypt);
foreach my $test (@tests)
{
	my $is = difference($test);
	my $known = "test/postgres/$test.diff";
	is($is, -f $known ? slurp_file($known) =~ s/^#.*\n//mgr : '', "$test gives the same output with the heap and with chatcrypt");
}
done_testing();

# Builds the C functions that the tests use.
sub build_library
{
	my $include = `"$ENV{PG_CONFIG}" --includedir-server`;
	chomp $include;
	system_or_bail('cc', '-shared', '-fPIC', '-O1', '-w', '-fwrapv', '-I', $include, '-o', "$work/regress.so", "$regress/regress.c");
	return "$work/regress.so";
}

# Runs the tests in a cluster of their own, and returns the folder of their output.  Whether pg_regress
# finds differences is ignored, because its expected output may be for another minor version and another
# locale.
sub run_tests
{
	my ($method) = @_;
	my $node = Chatcrypt::Test->start($method, conf => <<'CONF');
chatcrypt.allow_unlabelled = on
max_prepared_transactions = 2
log_statement = none
autovacuum = off
CONF
	$node->safe_psql('postgres', 'CREATE DATABASE regression');
	$node->safe_psql('regression', "CREATE EXTENSION chatcrypt; ALTER DATABASE regression SET default_table_access_method = '$method'");
	my $out = '';
	my @command = ($ENV{PG_REGRESS}, "--inputdir=$regress", "--outputdir=$work/$method", "--dlpath=$work", '--bindir=',
		'--host=' . $node->host, '--port=' . $node->port, '--dbname=regression', '--use-existing', @tests);
	mkdir "$work/$method" or die "$work/$method: $!";
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>&1', IPC::Run::timeout(1500));
	note($out);
	File::Copy::copy("$work/$method/regression.diffs", "$PostgreSQL::Test::Utils::log_path/$method.diffs");
	cmp_ok(scalar(() = glob "$work/$method/results/*.out"), '>=', scalar(@tests), "all tests run with $method");
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|was terminated by signal/, "no server process dies with $method");
	$node->stop;
	return "$work/$method/results";
}

# The lines that differ, without line numbers.
sub difference
{
	my ($test) = @_;
	my $out = '';
	IPC::Run::run([ 'diff', '-U0', map { "$results{$_}/$test.out" } qw(heap chatcrypt) ], '<', \undef, '>', \$out);
	return join '', grep { /^[-+](?!--|\+\+)/ } split /^/, $out;
}
