# What the docs say and what the server has must not differ: settings with their default, range and
# reload class, findings of doctor(), the reference.  The SQL of the README runs as it stands, and
# links lead somewhere.
use strict;
use warnings;
use Chatcrypt::Reference;
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
		ok(!exists $rows{$1}, "docs/$page has only one row for $1");
		$rows{$1} = [ map { s/^\s+|\s+$//gr } split /\|/, $2 ];
	}
	cmp_ok(scalar(keys %rows), '>', 5, "docs/$page has a table");
	return %rows;
}

my %class = (
	postmaster => 'restart',
	sighup => 'reload',
	superuser => 'superuser',
	user => 'anybody');

my %documented = rows_of('settings.md', qr/chatcrypt\.\w+/);

# A value that a file sets is not the default; boot_val is.  Members of an enum keep their order.
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
	ok(defined $row, "docs/settings.md has $name") or next;
	is($row->[0], $default, "docs/settings.md has the default of $name");
	is($row->[1], $range, "docs/settings.md has the range of $name");
	# The settings that chatcrypt sets itself can be set by nobody else; 04_access tests that.
	my $ours = $name =~ $Chatcrypt::Reference::OWN_SETTINGS;
	is($row->[2], $ours ? 'chatcrypt' : $class{$context},
		"docs/settings.md says how to change $name");
	cmp_ok(length($row->[3] // ''), '>', 20, "docs/settings.md says what $name means");
}
is(join(' ', grep { !$there{$_} } sort keys %documented), '',
	'docs/settings.md has no setting that does not exist');

# Findings, as the SQL names them, and the worst severity of each.
my $doctor = join('', map { slurp_file($_) } sort glob 'sql/8?_doctor*.sql');
my $level = qr/critical|warning|notice/;
my %severity;
while ($doctor =~ /'($level)'(?: AS severity)?, '(\w+)'/g)
{
	$severity{$2} = $1 unless $2 =~ /^$level$/;
}
my ($statement_log) = $doctor =~ /FUNCTION chatcrypt_internal\.doctor_statement_log\(\)(.*?)COMMENT/s;
$severity{$_} = 'critical' foreach $statement_log =~ /\('(\w+)', '[^']*', '[^']*'\)/g;

my %explained = rows_of('monitoring.md', qr/[a-z_]+/);
is(join(' ', sort keys %explained), join(' ', sort keys %severity),
	'docs/monitoring.md has every finding of doctor()');
is($explained{$_}[0], $severity{$_}, "$_: severity") foreach sort keys %explained;

# Commands set nothing that is not there.
foreach my $page ('README.md', glob('docs/*.md'))
{
	my @strange = grep { !$there{$_} } slurp_file($page) =~ /^ALTER SYSTEM SET (chatcrypt\.\w+)/mg;
	is("@strange", '', "$page sets what the server knows");
}

# The local master key: made in one way and in one folder everywhere, and never made again over itself.
my ($make_key) = slurp_file('docs/kms.md') =~ m{^(install -d .* /etc/chatcrypt/keys\n.*/etc/chatcrypt/keys/main\.key'\n)}m;
like(slurp_file('README.md'), qr/^\Q$make_key\E/m, 'README.md makes a key as docs/kms.md does');
foreach my $page ('README.md', 'docs/kms.md', 'contrib/Containerfile')
{
	like(slurp_file($page), qr{local_key_dir ?= ?'?/etc/chatcrypt/keys'?;?$}m, "$page has the folder of the key");
}
my $keys = PostgreSQL::Test::Utils::tempdir();
my ($write_key) = $make_key =~ m{sh -c '(.*)'};
$write_key =~ s{/etc/chatcrypt/keys}{$keys};
is(system('sh', '-c', $write_key), 0, 'the command makes a key');
my $first_key = slurp_file("$keys/main.key");
like($first_key, qr/^[0-9a-f]{64}\n\z/, 'of 64 hex digits');
isnt(system('sh', '-c', "($write_key) 2>/dev/null"), 0, 'it fails if it is repeated');
is(slurp_file("$keys/main.key"), $first_key, 'and the key stays as it is');

# docs/reference.md is what scripts/reference writes.
my $reference = slurp_file('docs/reference.md');
my $wanted = Chatcrypt::Reference::page(sub { $node->safe_psql('postgres', @_) });
is_deeply([ split /\n/, $reference ], [ split /\n/, $wanted ],
	'docs/reference.md is what the catalog says: scripts/reference writes it anew');
my @unexplained = $reference =~ /^\| `(\w+)` \| [^|]+ \|  \|$/mg;
is("@unexplained", '', 'every column in docs/reference.md is explained');
my ($same) = $reference =~ /^((?:Does the same|\w+ (?:bytes|messages) in the same way).*)$/m;
is($same // '', '', 'no explanation in docs/reference.md leans on that of another function');
foreach my $result ($reference =~ /→ rows of (\w+)$/mg)
{
	next if $result =~ /^(?:text|uuid|bigint|bytea)$/;
	ok(scalar($reference =~ /^### `$result`(?: \(type\))?\n[^#]*^\| column /m), "docs/reference.md has the columns of $result");
}
my ($change_of_actor) = $reference =~ /^\| `chatcrypt\.actor` \| [^|]+ \| ([^|]+) \|/m;
is($change_of_actor, 'chatcrypt', 'docs/reference.md says of a setting what settings.md says');
my (%headings, @twice);
foreach my $heading ($reference =~ /^#+ (.*)$/mg)
{
	push @twice, $heading if $headings{ lc($heading) =~ s/[^\w\- ]//gr }++;
}
is("@twice", '', 'every heading of docs/reference.md has an anchor of its own');

# Ids: each function that a role may call, and that no view calls, takes them as any_id.
is($node->safe_psql('postgres', <<'SQL'), '', 'functions take ids of chats, messages and attachments as any_id');
	SELECT DISTINCT p.proname FROM pg_proc AS p, unnest(p.proargnames, p.proargtypes::oid[]) AS argument (name, type)
	WHERE p.pronamespace = 'chatcrypt'::regnamespace AND type = 'uuid'::regtype AND name ~ '^(chat|message|file|before)(_id)?$'
	AND EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee <> p.proowner)
	AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_rewrite'::regclass AND refobjid = p.oid)
SQL

# The SQL of README.md, in its order: what the application runs as the role app, which logs in and names
# an actor, and everything else as an administrator who made that role.
my $readme = slurp_file('README.md');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE readme');
my ($top, @blocks) = $readme =~ /^```sql\n(.*?)^```/msg;
my $printed = $node->safe_psql('readme', $top) . "\n";
foreach my $block (@blocks)
{
	my ($who) = $block =~ /^-- as (the application|an administrator)\n/ or die "who runs this, README.md does not say:\n$block";
	my $as_actor = $block =~ /^BEGIN;/m ? $block : "BEGIN;\nSELECT chatcrypt.act_as('alice');\n${block}COMMIT;\n";
	$printed .= $who eq 'an administrator' ? $node->safe_psql('readme', $block)
	  : $node->safe_psql('readme', $as_actor, extra_params => [ '-U', 'app' ]);
	$printed .= "\n";
}
like($printed, qr/^alice\|Lunch at noon\?\n\\x0100000001[0-9a-f]+\n2$/m, 'the first ten lines of README.md');
like($printed, qr/^alice\|Dinner at eight\?\nalice\|At the old lighthouse\.$/m, 'README.md sends and reads messages');
like($printed, qr/^the bytes$/m, 'the SQL of README.md stores a file');
is(scalar(() = $printed =~ /^alice\|At the old lighthouse\.$/mg), 3,
	'the SQL of README.md searches: a message is read, read for alice and found');
like($printed, qr/^remember$/m, 'the SQL of README.md keeps an envelope in a table of one\'s own');
like($printed, qr/^local:main\|t\|$/m, 'the SQL of README.md checks the server');
my ($tasks) = $readme =~ /^## Tasks\n(.*?)^## /ms;
my @tasks = $tasks =~ /^### (.*?)(?=^###|\z)/msg;
cmp_ok(scalar(@tasks), '>', 10, 'README.md has more than ten tasks');
like($_, qr/^```sql$/m, 'a task with a block that runs: ' . (split /\n/)[0]) foreach @tasks;

# What README.md says of an actor, of retention and of a chat that was shredded.
sub refused
{
	my ($sql) = @_;
	return ($node->psql('readme', "BEGIN;\nSELECT chatcrypt.act_as('alice');\n$sql", extra_params => [ '-U', 'app' ]))[2];
}
my $in_42 = 'chat_id = chatcrypt.to_uuid(42)';
like(refused(q{INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(42), 'bob', 'x')}),
	qr/the sender is not the current actor/, 'an application names no other sender than the actor');
like(refused(q{SELECT chatcrypt.set_participants(42, ARRAY['alice'])}),
	qr/the current actor may not remove somebody else from this chat/, 'an actor does not remove others');
$node->safe_psql('readme', q{UPDATE chatcrypt.chats SET moderation = 'participants' WHERE chat_id = chatcrypt.to_uuid(42)});
is(refused(q{SELECT chatcrypt.remove_participant(42, 'bob')}), '', 'but where moderation of the chat is participants');
$node->safe_psql('readme', q{UPDATE chatcrypt.chats SET moderation = 'own' WHERE chat_id = chatcrypt.to_uuid(42)});
is(refused(q{SELECT chatcrypt.remove_participant(42, 'alice')}), '', 'and an actor may leave a chat');
is($node->safe_psql('readme', "SELECT count(*), count(expires_at) FROM chatcrypt.messages WHERE $in_42"), '3|0',
	'a policy of retention changes no message that is there');
is($node->safe_psql('readme', q{BEGIN; INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(42), 'x')
	RETURNING expires_at = created_at + interval '90 days'; ROLLBACK}), 't', 'and those that are written from then on');
$node->safe_psql('readme', q{SELECT chatcrypt.create_chat(45);
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(45), 'shredded');
	SELECT chatcrypt.shred_chat(45, confirm => 'irreversible')});
is($node->safe_psql('readme', q{SELECT count(*), count(body) FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(45)}), '1|0',
	'the rows of a chat that was shredded stay, and cannot be read');
$node->safe_psql('readme', q{CALL chatcrypt.delete_chat(45, confirm => 'irreversible')});
is($node->safe_psql('readme', q{SELECT count(*) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(45)}), '0',
	'until the chat is deleted');
my ($said_by_app) = $readme =~ /^SET ROLE app;[^\n]*\n(.*?)^RESET ROLE;/ms;
like($node->safe_psql('readme', $said_by_app, extra_params => [ '-U', 'app' ]), qr/^alice\|Lunch at noon\?$/m,
	'the SQL of the application runs where it logs in and must name an actor');

# What a writer that is no reader may do.
$node->safe_psql('readme', q{CREATE ROLE writer LOGIN IN ROLE chatcrypt_writer});
my @as_writer = (extra_params => [ '-U', 'writer' ]);
like(($node->psql('readme', q{UPDATE chatcrypt.messages SET body = body || '!'}, @as_writer))[2], qr/permission denied for view messages/,
	'a writer cannot make a body from the old one');
is(($node->psql('readme', q{UPDATE chatcrypt.messages SET body = 'replaced'}, @as_writer))[2], '',
	'a writer can replace a body');
is($node->safe_psql('readme', 'SELECT DISTINCT body FROM chatcrypt.messages'), 'replaced',
	'a body that a writer replaced is the new one');

# Foreign keys: README.md gave the right, and said what they do to deletion.
$node->safe_psql('readme', <<'SQL');
CREATE SCHEMA app AUTHORIZATION app;
SET ROLE app;
CREATE TABLE app.mine (chat_id uuid REFERENCES chatcrypt.chat, message_id uuid REFERENCES chatcrypt.sealed_message);
INSERT INTO app.mine SELECT chat_id, message_id FROM chatcrypt.messages;
RESET ROLE;
INSERT INTO reactions SELECT message_id, 'bob', 'yes' FROM chatcrypt.messages;
SQL
like(($node->psql('readme', 'DELETE FROM chatcrypt.messages'))[2], qr/violates foreign key constraint "mine_message_id_fkey"/,
	'a foreign key keeps a message from being deleted');
is($node->safe_psql('readme', 'DROP TABLE app.mine; DELETE FROM chatcrypt.messages; SELECT count(*) FROM reactions'), '0',
	'a foreign key with ON DELETE CASCADE lets a message be deleted');

# Roles belong to the cluster, and so do the settings made for app above.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1, ARRAY['alice']);
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'of another application')});
my $read = 'SELECT body FROM chatcrypt.messages';
my @as_app = (extra_params => [ '-U', 'app' ]);
is(($node->psql('other', "BEGIN; SELECT chatcrypt.act_as('alice') \\g /dev/null\n$read", @as_app))[1], 'of another application',
	'a role that reads in one database reads in another too');
is(($node->psql('other', $read, @as_app))[1], '',
	'a role that names no actor sees no message in the other database');
$node->safe_psql('other', 'REVOKE CONNECT ON DATABASE other FROM PUBLIC');
like(($node->psql('other', $read, @as_app))[2], qr/permission denied for database "other"/,
	'a role that may not connect to a database sees no message there');

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
