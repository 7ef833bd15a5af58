# PostgreSQL's own tests of what statements do, with the access method as the default of every table and nothing
# protected: each writes the same as with the heap, but for the lines in test/postgres, which say why.
#
# They are not copied here: scripts/lib.sh takes them from Debian's source package, and PG_SOURCE names their folder.
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

# In the order of PostgreSQL's schedule, since some use the tables of others.
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
	is($is, -f $known ? slurp_file($known) =~ s/^#.*\n//mgr : '', "$test writes the same with the heap and with the access method");
}
done_testing();

# The functions in C that the tests use.
sub build_library
{
	my $include = `"$ENV{PG_CONFIG}" --includedir-server`;
	chomp $include;
	system_or_bail('cc', '-shared', '-fPIC', '-O1', '-w', '-fwrapv', '-I', $include, '-o', "$work/regress.so", "$regress/regress.c");
	return "$work/regress.so";
}

# Runs them in a cluster of their own; gives the folder of what they wrote.  That pg_regress compares it with what
# it expects of another minor version and another locale is of no interest, as long as the tests ran.
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
	cmp_ok(scalar(() = glob "$work/$method/results/*.out"), '>=', scalar(@tests), "all tests ran with $method");
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|was terminated by signal/, "no process of the server with $method died");
	$node->stop;
	return "$work/$method/results";
}

# The lines that differ, without their places.
sub difference
{
	my ($test) = @_;
	my $out = '';
	IPC::Run::run([ 'diff', '-U0', map { "$results{$_}/$test.out" } qw(heap chatcrypt) ], '<', \undef, '>', \$out);
	return join '', grep { /^[-+](?!--|\+\+)/ } split /^/, $out;
}
