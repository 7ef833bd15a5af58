# docs/ and the server must not differ: every setting with its default, range and reload class,
# and every finding of doctor().
use strict;
use warnings;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('docs');

# The rows "| `NAME` | cell | cell ..." of a page, as NAME => [cells]; a name that comes twice fails.
sub rows_of
{
	my ($page, $name) = @_;
	my %rows;

	foreach my $line (split /\n/, slurp_file("docs/$page"))
	{
		next unless $line =~ /^\| `($name)` \|(.*)\|$/;
		ok(!exists $rows{$1}, "$page has $1 once");
		$rows{$1} = [ map { s/^\s+|\s+$//gr } split /\|/, $2 ];
	}
	cmp_ok(scalar(keys %rows), '>', 5, "$page has a table");
	return %rows;
}

my %class = (
	postmaster => 'restart',
	sighup => 'reload',
	superuser => 'superuser',
	user => 'anybody');

my %documented = rows_of('settings.md', qr/chatcrypt\.\w+/);

# What a file sets is not the default; boot_val is.  Members of an enum in their own order.
my $settings = $node->safe_psql('postgres', <<'SQL');
	SELECT name, context, boot_val, unit,
		   CASE vartype WHEN 'integer' THEN min_val || ' to ' || max_val
						WHEN 'enum' THEN (SELECT string_agg('`' || v || '`', ', ') FROM unnest(enumvals) AS v)
						ELSE '' END
	FROM pg_settings WHERE name LIKE 'chatcrypt.%' ORDER BY name
SQL
my %there;
foreach my $line (split /\n/, $settings)
{
	my ($name, $context, $boot, $unit, $range) = split /\|/, $line, -1;
	my $default = $boot eq '' ? 'empty' : "`$boot" . ($unit eq '' ? '' : " $unit") . '`';

	$there{$name} = 1;
	my $row = $documented{$name};
	ok(defined $row, "$name is in settings.md") or next;
	is($row->[0], $default, "$name: default");
	is($row->[1], $range, "$name: range");
	# Those that chatcrypt sets for itself refuse everybody else; 04_access tests that.
	my $ours = $name =~ /\.(?:actor|client_transport)$/;
	is($row->[2], $ours ? 'chatcrypt' : $class{$context}, "$name: how to change it");
	cmp_ok(length($row->[3] // ''), '>', 20, "$name: meaning");
}
is(join(' ', grep { !$there{$_} } sort keys %documented), '', 'settings.md has no others');

# Findings, as the SQL names them, and the worst that each can be.
my $doctor = slurp_file('sql/80_doctor.sql');
my $level = qr/critical|warning|notice/;
my %severity;
while ($doctor =~ /'($level)'(?: AS severity)?, '(\w+)'/g)
{
	$severity{$2} = $1 unless $2 =~ /^$level$/;
}
my ($statement_log) = $doctor =~ /FUNCTION chatcrypt\.doctor_statement_log\(\)(.*?)COMMENT/s;
$severity{$_} = 'critical' foreach $statement_log =~ /\('(\w+)', '[^']*', '[^']*'\)/g;

my %explained = rows_of('monitoring.md', qr/[a-z_]+/);
is(join(' ', sort keys %explained), join(' ', sort keys %severity), 'monitoring.md has every finding of doctor()');
is($explained{$_}[0], $severity{$_}, "$_: severity") foreach sort keys %explained;

$node->stop;
done_testing();
