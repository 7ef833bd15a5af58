# What the docs say and what the server has must not differ: settings with default, range and
# reload class, findings of doctor(), functions with their arguments, relations, roles.  The
# README's SQL runs as it stands, and links lead somewhere.
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
	my $ours = $name =~ /\.(?:actor|actor_is_due|client_transport)$/;
	is($row->[2], $ours ? 'chatcrypt' : $class{$context}, "$name: how to change it");
	cmp_ok(length($row->[3] // ''), '>', 20, "$name: meaning");
}
is(join(' ', grep { !$there{$_} } sort keys %documented), '', 'settings.md has no others');

# Findings, as the SQL names them, and the worst that each can be.
my $doctor = join('', map { slurp_file($_) } sort glob 'sql/8?_doctor*.sql');
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

# The rows of a table of README.md below a heading, each as the text of its first cell.
my $readme = slurp_file('README.md');

sub first_cells
{
	my ($heading) = @_;
	my ($section) = $readme =~ /^#+ \Q$heading\E\n(.*?)(?=^#)/ms or die "README.md has no section $heading";
	my @cells = $section =~ /^\| (`.*?) \|/mg;

	cmp_ok(scalar(@cells), '>', 5, "README.md, $heading: a table");
	return @cells;
}

sub lines_of
{
	return split /\n/, $node->safe_psql('postgres', @_);
}

# Functions and procedures, with the arguments that one gives.
my (%kind, %signatures);
foreach my $line (lines_of(<<'SQL'))
	SELECT proname, CASE WHEN prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) THEN 't' ELSE prokind END,
		   (SELECT string_agg(name, ', ' ORDER BY n) FROM unnest(proargnames) WITH ORDINALITY AS argument (name, n)
			WHERE coalesce(proargmodes[n], 'i') = 'i')
	FROM pg_proc WHERE pronamespace = 'chatcrypt'::regnamespace AND proname NOT IN ('lifetime', 'lifetime_multirange')
SQL
{
	my ($name, $kind, $arguments) = split /\|/, $line, -1;
	$kind{$name} = $kind;
	$signatures{$name}{$arguments} = 1;
}

my %told;
foreach my $call (map { /`([^`]+)`/g } first_cells('Functions'))
{
	my ($procedure, $name, $arguments) = $call =~ /^(CALL )?(\w+)\((.*)\)$/ or fail("$call is a call"), next;

	ok(!$told{$name}++, "$name is in README.md once");
	is($procedure ? 'p' : 'f', $kind{$name}, "$name is what README.md says");
	next if $arguments =~ /…/;
	my $plain = $arguments =~ s/[\["\]]//gr =~ s/ ,/,/gr;
	ok($signatures{$name}{$plain}, "$name($plain) is in the catalog");
}
my ($inner) = $readme =~ /^(`write_message\(\)`.*?)\n\n/ms;
my @inner = $inner =~ /`(\w+(?:…)?)/g;
is(join(' ', grep { $kind{$_} eq 't' && !($inner =~ /`$_\(\)`/) } sort keys %kind), '', 'README.md has every trigger');
foreach my $name (grep { $kind{$_} ne 't' && !$told{$_} } sort keys %kind)
{
	ok(scalar(grep { /^(.*)…$/ ? $name =~ /^$1/ : $name eq $_ } @inner), "$name is in README.md, or is told not to be called");
}

# Ids: every function of the table takes them as any_id, but for those that README.md names.
my ($sentence) = $readme =~ /cast implicitly\.\s+([^.]*take uuids)\./;
my %uuids_alone = map { $_ => 1 } $sentence =~ /`(\w+)\(\)`/g;
my @takes_uuid = lines_of(<<'SQL');
	SELECT DISTINCT proname FROM pg_proc, unnest(proargnames, proargtypes::oid[]) AS argument (name, type)
	WHERE pronamespace = 'chatcrypt'::regnamespace AND type = 'uuid'::regtype AND name ~ '^(chat|message|file|before)(_id)?$'
SQL
is(join(' ', sort grep { $told{$_} } @takes_uuid), join(' ', sort keys %uuids_alone), 'and they are those');

my %relation = map { split /\|/ } lines_of(<<'SQL');
	SELECT relname, relkind FROM pg_class WHERE relnamespace = 'chatcrypt'::regnamespace AND relkind IN ('r', 'v')
SQL
my %named;
foreach my $cell (first_cells('Tables and views'))
{
	$named{$_} = $cell =~ /\(view\)$/ ? 'v' : 'r' foreach $cell =~ /`(\w+)`/g;
}
is_deeply(\%named, \%relation, 'README.md has every table and view');

my @roles = lines_of("SELECT rolname FROM pg_roles WHERE rolname LIKE 'chatcrypt\\_%' ORDER BY 1");
is(join(' ', sort map { /`(\w+)`/ } first_cells('Roles')), "@roles", 'README.md has every role');

# The SQL of README.md, in its order, as an administrator who made the role app.
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE readme');
my $printed = $node->safe_psql('readme', join("\n", $readme =~ /^```sql\n(.*?)^```/msg));
like($printed, qr/^alice\|Lunch at noon\?\n\\x0100000001[0-9a-f]+\n2$/m, 'the first ten lines of README.md');
like($printed, qr/^remember$/m, 'an envelope in a table of one\'s own');
my ($said_by_app) = $readme =~ /^SET ROLE app;[^\n]*\n(.*?)^RESET ROLE;/ms;
like($node->safe_psql('readme', $said_by_app, extra_params => [ '-U', 'app' ]), qr/^alice\|Lunch at noon\?$/m,
	'what the application says also runs where it logs in and must name an actor');

# What a writer may do who is no reader.
$node->safe_psql('readme', q{CREATE ROLE writer LOGIN IN ROLE chatcrypt_writer});
my @as_writer = (extra_params => [ '-U', 'writer' ]);
like(($node->psql('readme', q{UPDATE chatcrypt.messages SET body = body || '!'}, @as_writer))[2], qr/permission denied for view messages/,
	'a writer makes no body from the one that is there');
is(($node->psql('readme', q{UPDATE chatcrypt.messages SET body = 'replaced'}, @as_writer))[2], '', 'but replaces it');
is($node->safe_psql('readme', 'SELECT DISTINCT body FROM chatcrypt.messages'), 'replaced', 'and it is replaced');

# Foreign keys: README.md gave the right, and said what they do to deletion.
$node->safe_psql('readme', <<'SQL');
CREATE SCHEMA app AUTHORIZATION app;
SET ROLE app;
CREATE TABLE app.mine (chat_id uuid REFERENCES chatcrypt.chat, message_id uuid REFERENCES chatcrypt.message);
INSERT INTO app.mine SELECT chat_id, message_id FROM chatcrypt.messages;
RESET ROLE;
INSERT INTO reactions SELECT message_id, 'bob', 'yes' FROM chatcrypt.messages;
SQL
like(($node->psql('readme', 'DELETE FROM chatcrypt.messages'))[2], qr/violates foreign key constraint "mine_message_id_fkey"/,
	'a foreign key keeps a message from being deleted');
is($node->safe_psql('readme', 'DROP TABLE app.mine; DELETE FROM chatcrypt.messages; SELECT count(*) FROM reactions'), '0',
	'unless it says ON DELETE CASCADE');

# Roles are the cluster's, and so is what was set for app above.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1, ARRAY['alice']);
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.id(1), 'of another application')});
my $read = 'SELECT body FROM chatcrypt.messages';
my @as_app = (extra_params => [ '-U', 'app' ]);
is(($node->psql('other', "BEGIN; SELECT chatcrypt.act_as('alice') \\g /dev/null\n$read", @as_app))[1], 'of another application',
	'a role that reads in one database reads in another');
is(($node->psql('other', $read, @as_app))[1], '', 'and is told of no message before it names an actor');
$node->safe_psql('other', 'REVOKE CONNECT ON DATABASE other FROM PUBLIC');
like(($node->psql('other', $read, @as_app))[2], qr/permission denied for database "other"/, 'and not at all where it may not connect');

# Links to files and headings.  A heading's anchor is made as GitHub makes it.
my @pages = ('README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', glob('docs/*.md'));
my %anchors;
foreach my $page (@pages)
{
	my $prose = slurp_file($page) =~ s/^```.*?^```$//msgr;
	$anchors{$page}{ lc($_) =~ s/[^\w\- ]//gr =~ s/ /-/gr } = 1 foreach $prose =~ /^#+ (.*)$/mg;
}
my %linked;
foreach my $page (@pages)
{
	my $prose = slurp_file($page) =~ s/^```.*?^```$//msgr;
	foreach my $link (grep { !/^https?:/ } $prose =~ /\]\(([^)\s]+)\)/g)
	{
		my ($file, $anchor) = $link =~ /^([^#]*)#?(.*)$/;
		my $folder = $page =~ /^docs/ ? 'docs/' : '';
		my $target = $file eq '' ? $page : "$folder$file" =~ s/^docs\/\.\.\///r;

		$linked{$page}{$target} = 1;
		ok(-e $target && ($anchor eq '' || $anchors{$target}{$anchor}), "$page: $link leads somewhere");
	}
}
is(join(' ', grep { !$linked{'README.md'}{$_} } glob('docs/*.md')), '', 'README.md leads to every page');

$node->stop;
done_testing();
