# Makes docs/reference.md from the catalog of a database with chatcrypt and from the sources.
#
#   my $page = Chatcrypt::Reference::page(sub { ... });    # the sub runs SQL and returns what psql -XAtq prints
#
# scripts/reference writes the page, and 090_docs.pl compares it with the existing one.  It is run
# where sql/ and src/ are below the current folder: the files of sql/ tell which topic a function
# belongs to, and src/ which SQLSTATEs there are.
#
package Chatcrypt::Reference;

use strict;
use warnings;
use utf8;
use Chatcrypt::SqlStates;
use Encode qw(encode_utf8);
use JSON::PP qw(decode_json);

# Topics of functions, each with the files of sql/ that belong to it, without their number.  A file
# in none of them makes a topic of its own name.
my @topics = (
	[ 'Chats and encryption' => qw(functions) ],
	[ 'Writing messages' => qw(messages) ],
	[ 'Tenants, participants and actors' => qw(access moderation chats) ],
	[ 'Storing attachments' => qw(attachments) ],
	[ 'Searching' => qw(search tenant_search) ],
	[ 'The feed of a search engine' => qw(search_feed) ],
	[ 'Clients that hold keys' => qw(wire) ],
	[ 'Ids and envelopes' => qw(ids tables) ],
	[ 'Protected tables' => qw(protect) ],
	[ 'Data keys' => qw(keys rotation) ],
	[ 'KMS keys' => qw(kms_keys verify_keys status) ],
	[ 'Re-encryption and purging' => qw(reencryption) ],
	[ 'Retention and deletion' => qw(retention) ],
	[ 'Verification' => qw(verification) ],
	[ 'The history of keys' => qw(events event_chain) ],
	[ 'Maintenance' => qw(maintenance) ],
	[ 'Findings about the server' => qw(doctor_settings doctor_roles doctor_copies doctor_kms doctor_keys doctor) ],
	[ 'Building blocks' ]);

# What policies, the other functions or clients of one's own are made of, wherever the files of sql/ have it.
my @building_blocks = qw(may_see may_change ensure_attachment_key search_tokens wire_envelope);

# Tables that nobody reads who does not look for the cause of something.
my %internal_table = map { $_ => 1 } qw(search_token upkeep deployment search_feed_chat);

my $functions = <<'SQL';
SELECT json_agg(json_build_object('name', p.proname, 'procedure', p.prokind = 'p', 'returns', pg_get_function_result(p.oid),
		'trigger', p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype), 'set', p.proretset,
		'comment', obj_description(p.oid, 'pg_proc'),
		'arguments', (SELECT coalesce(json_agg(json_build_object('name', p.proargnames[n], 'type', format_type(type, NULL),
					'mode', coalesce(p.proargmodes[n], 'i'), 'default', pg_get_function_arg_default(p.oid, n::integer)) ORDER BY n), '[]')
				FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS argument (type, n)),
		'callers', (SELECT coalesce(json_agg(grantee::regrole::text ORDER BY grantee::regrole::text), '[]')
				FROM aclexplode(p.proacl) WHERE grantee <> p.proowner)) ORDER BY p.oid)
FROM pg_proc AS p
WHERE p.pronamespace = 'chatcrypt'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'i')
SQL

my $relations = <<'SQL';
SELECT json_agg(json_build_object('name', c.relname, 'view', c.relkind = 'v', 'comment', obj_description(c.oid, 'pg_class'),
		'columns', (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
					'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum)
				FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
		'rights', (SELECT coalesce(json_agg(json_build_object('role', role, 'right', privilege, 'columns', columns)
					ORDER BY role, privilege), '[]')
				FROM (SELECT x.grantee::regrole::text AS role, x.privilege_type AS privilege, NULL::json AS columns
					  FROM aclexplode(c.relacl) AS x WHERE x.grantee <> c.relowner
					  UNION ALL
					  SELECT x.grantee::regrole::text, x.privilege_type, json_agg(a.attname ORDER BY a.attnum)
					  FROM pg_attribute AS a, aclexplode(a.attacl) AS x
					  WHERE a.attrelid = c.oid AND NOT a.attisdropped GROUP BY 1, 2) AS r)) ORDER BY c.relname)
FROM pg_class AS c WHERE c.relnamespace = 'chatcrypt'::regnamespace AND c.relkind IN ('r', 'v')
SQL

my $types = <<'SQL';
SELECT json_agg(json_build_object('name', t.typname, 'comment', obj_description(t.oid, 'pg_type'),
		'columns', (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
					'comment', col_description(a.attrelid, a.attnum)) ORDER BY a.attnum)
				FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)) ORDER BY t.typname)
FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE (t.typnamespace = 'chatcrypt'::regnamespace
	   OR (t.typtype = 'c' AND t.typnamespace = 'chatcrypt_internal'::regnamespace
		   AND EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'chatcrypt'::regnamespace AND prorettype = t.oid)))
AND t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typcategory <> 'A'
AND coalesce(c.relkind, 'c') = 'c'
SQL

my $settings = <<'SQL';
SELECT json_agg(json_build_object('name', name, 'context', context, 'unit', unit, 'default', boot_val, 'comment', short_desc) ORDER BY name)
FROM pg_settings WHERE name LIKE 'chatcrypt.%'
SQL

my $roles = <<'SQL';
SELECT json_agg(json_build_object('name', rolname, 'comment', shobj_description(oid, 'pg_authid')) ORDER BY rolname)
FROM pg_roles WHERE rolname LIKE 'chatcrypt\_%'
SQL

# Types of the extension are written without their schema, whichever of its two schemas that is.
sub rows_of
{
	my ($query, $sql) = @_;
	my $printed = $query->("SET search_path = chatcrypt, chatcrypt_internal;\n$sql;");
	return @{ decode_json($printed eq '' ? '[]' : $printed) };
}

sub type_name
{
	my ($type) = @_;
	$type =~ s/timestamp with time zone/timestamptz/g;
	return $type =~ s/double precision/float8/gr;
}

# A default as a user would write it: the type of a literal is that of its argument.
sub default_of
{
	my ($argument) = @_;
	return '' unless defined $argument->{default};
	my $default = $argument->{default} =~ s/^('(?:[^']|'')*'|NULL|-?\d+)::[\w .]+(?:\[\])?$/$1/r;
	return " DEFAULT $default";
}

# The name of an argument and the space after it; some arguments have no name.
sub quoted
{
	my ($name) = @_;
	return '' unless defined $name;
	return ($name =~ /^(?:limit|offset)$/ ? "\"$name\"" : $name) . ' ';
}

# The arguments that are written in a call; a CALL leaves out those that a procedure returns and
# that have a default.
sub is_given
{
	my ($function, $argument) = @_;
	return $argument->{mode} =~ /^[iv]$/
	  || ($argument->{mode} eq 'b' && !($function->{procedure} && defined $argument->{default}));
}

# An argument of a procedure without a default is written in the CALL alone, as INOUT.
sub is_given_back
{
	my ($function, $argument) = @_;
	return $argument->{mode} =~ /^[ot]$/
	  || ($argument->{mode} eq 'b' && !($function->{procedure} && is_given($function, $argument)));
}

# name(argument, ...) → result, one argument a line where one line is too long.
sub signature
{
	my ($function) = @_;
	my @arguments =
	  map { ($function->{procedure} && $_->{mode} eq 'b' ? 'INOUT ' : '') . quoted($_->{name}) . type_name($_->{type}) . default_of($_) }
	  grep { is_given($function, $_) } @{ $function->{arguments} };
	my @given_back = map { "$_->{name} " . type_name($_->{type}) } grep { is_given_back($function, $_) } @{ $function->{arguments} };
	my $result = @given_back > 1 || (@given_back && $function->{set}) ? '(' . join(', ', @given_back) . ')'
	  : @given_back ? $given_back[0]
	  : type_name(($function->{returns} // '') =~ s/^SETOF //r);
	my $call = ($function->{procedure} ? 'CALL ' : '') . "chatcrypt.$function->{name}";
	my $gives = $result =~ /^(?:void)?$/ ? '' : ' → ' . ($function->{set} ? 'rows of ' : '') . $result;
	my $line = "$call(" . join(', ', @arguments) . ")$gives";

	return $line if length($line) <= 110;
	my $wrapped = @arguments ? "$call(\n    " . join(",\n    ", @arguments) . ')' : "$call()";
	return $gives eq '' ? $wrapped : "$wrapped\n   $gives";
}

sub list_of
{
	my @names = map { "`$_`" } @_;
	return @names < 2 ? "@names" : join(', ', @names[ 0 .. $#names - 1 ]) . " and $names[-1]";
}

sub callers_of
{
	my ($function, @all) = @_;
	my %callers = map { $_ => 1 } @{ $function->{callers} };
	my @others = grep { !$callers{$_} } @all;

	return 'a superuser' unless %callers;
	return 'every role of chatcrypt' unless @others;
	return 'every role of chatcrypt but ' . list_of(@others) if @others == 1;
	return list_of(sort keys %callers);
}

# The overloads of one name: those with the same comment, or the same callers, share it.
sub function_entry
{
	my ($all_roles, @overloads) = @_;
	my ($entry, @parts, %signatures) = ("#### `$overloads[0]{name}()`\n\n");

	foreach my $function (@overloads)
	{
		my ($comment, $callers) = ($function->{comment}, 'May be called by ' . callers_of($function, @$all_roles) . '.');
		push @parts, [ $comment, $callers ] unless $signatures{$comment};
		push @{ $signatures{$comment} }, signature($function);
	}
	foreach my $n (0 .. $#parts)
	{
		my ($comment, $callers) = @{ $parts[$n] };
		$entry .= "```\n" . join("\n", @{ $signatures{$comment} }) . "\n```\n\n$comment\n\n";
		$entry .= "$callers\n\n" unless $n < $#parts && $parts[ $n + 1 ][1] eq $callers;
	}
	return $entry;
}

# The file of sql/ that makes each function, as the name of its topic.
sub topic_of_each
{
	my (%of_file, %of_function);

	foreach my $topic (@topics)
	{
		my ($title, @files) = @$topic;
		@of_file{@files} = ($title) x @files;
	}
	foreach my $path (sort glob 'sql/[0-9]*.sql')
	{
		my ($name) = $path =~ /\d+_(\w+)\.sql$/;
		my $topic = $of_file{$name} // ucfirst($name =~ tr/_/ /r);
		$of_function{$_} //= $topic foreach slurp($path) =~ /^CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) chatcrypt\.(\w+)/mg;
	}
	@of_function{@building_blocks} = ('Building blocks') x @building_blocks;
	return \%of_function;
}

sub slurp
{
	my ($path) = @_;
	open(my $file, '<:encoding(UTF-8)', $path) or die "$path: $!";
	local $/;
	return scalar <$file>;
}

sub function_section
{
	my ($all_roles, @functions) = @_;
	my $topic_of = topic_of_each();
	my (%in, %overloads, @order);

	foreach my $function (grep { !$_->{trigger} } @functions)
	{
		my $name = $function->{name};
		my $topic = $topic_of->{$name} // 'Others';
		push @order, $topic unless $in{$topic};
		push @{ $in{$topic} }, $name unless $overloads{$name};
		push @{ $overloads{$name} }, $function;
	}
	my %place = map { $topics[$_][0] => $_ } 0 .. $#topics;
	@order = sort { ($place{$a} // 99) <=> ($place{$b} // 99) } @order;
	return join('', map { "### $_\n\n" . join('', map { function_entry($all_roles, @{ $overloads{$_} }) } @{ $in{$_} }) } @order);
}

sub trigger_section
{
	my @triggers = sort { $a->{name} cmp $b->{name} } grep { $_->{trigger} } @_;
	return '' unless @triggers;
	return "### Triggers\n\n| function | what it does |\n| --- | --- |\n"
	  . join('', map { "| `$_->{name}()` | " . ($_->{comment} =~ s/^(?:Event trigger|Trigger): (.)/\u$1/r) . " |\n" } @triggers) . "\n";
}

sub column_table
{
	my @columns = @_;
	return "| column | type | meaning |\n| --- | --- | --- |\n"
	  . join('', map { "| `$_->{name}` | " . type_name($_->{type}) . ' | ' . ($_->{comment} // '') . " |\n" } @columns);
}

# chatcrypt_writer: INSERT, SELECT (message_id, chat_id); chatcrypt_reader: ...
sub rights_of
{
	my ($relation) = @_;
	my (%of, @roles);

	foreach my $right (@{ $relation->{rights} })
	{
		push @roles, $right->{role} unless $of{ $right->{role} };
		push @{ $of{ $right->{role} } }, $right->{right} . ($right->{columns} ? ' (' . join(', ', @{ $right->{columns} }) . ')' : '');
	}
	return 'No role of chatcrypt has a right to it.' unless @roles;
	my %who;
	push @{ $who{ join(', ', @{ $of{$_} }) } }, $_ foreach @roles;
	return join("\n", map { "- " . list_of(@{ $who{$_} }) . ": $_" } sort { $who{$a}[0] cmp $who{$b}[0] || $a cmp $b } keys %who);
}

sub relation_section
{
	return join("\n", map { "### `$_->{name}`\n\n$_->{comment}\n\n" . column_table(@{ $_->{columns} }) . "\n" . rights_of($_) . "\n" } @_);
}

# A function may have the name of a type.
sub type_section
{
	return join("\n", map { "### `$_->{name}` (type)\n\n$_->{comment}\n" . ($_->{columns} ? "\n" . column_table(@{ $_->{columns} }) : '') } @_);
}

my %change = (postmaster => 'restart', sighup => 'reload', superuser => 'superuser', user => 'anybody');

# Settings that chatcrypt sets for itself, and nobody else.
our $OWN_SETTINGS = qr/^chatcrypt\.(?:actor|actor_is_due|client_transport)$/;

sub setting_rows
{
	my $rows = '';
	foreach my $setting (@_)
	{
		my $default = $setting->{default} eq '' ? 'empty' : "`$setting->{default}" . ($setting->{unit} ? " $setting->{unit}" : '') . '`';
		my $change = $setting->{name} =~ $OWN_SETTINGS ? 'chatcrypt' : $change{ $setting->{context} };
		$rows .= "| `$setting->{name}` | $default | $change | $setting->{comment} |\n";
	}
	return $rows;
}

sub error_rows
{
	my ($query) = @_;
	my %meaning = Chatcrypt::SqlStates::meanings();
	my %raised = map { $_ => 1 } Chatcrypt::SqlStates::raised();
	my @strange = (grep({ !$meaning{$_} } keys %raised), grep({ !$raised{$_} } keys %meaning));
	die 'what Chatcrypt::SqlStates explains is not what the sources raise: ' . join(' ', sort @strange) if @strange;

	my @rows = rows_of($query, Chatcrypt::SqlStates::query(sort keys %meaning));
	foreach my $row (@rows)
	{
		die "no server knows $row->{condition}" unless defined $row->{code};
	}
	return join('', map { "| $_->{code} | `$_->{condition}` | $meaning{ $_->{condition} } |\n" } @rows);
}

sub page
{
	my ($query) = @_;
	my @roles = rows_of($query, $roles);
	my @functions = rows_of($query, $functions);
	my @relations = rows_of($query, $relations);

	return encode_utf8(join('',
		<<'TEXT',
# Reference

Everything in the schema `chatcrypt`: functions and procedures, views, tables and types; then settings, roles and errors.
`scripts/reference` writes this page from the catalog's comments.

- [Functions and procedures](#functions-and-procedures)
- [Views](#views), [tables](#tables), [internal tables](#internal-tables), [types](#types)
- [Settings](#settings), [roles](#roles), [errors](#errors)

## Functions and procedures

Ids of chats, messages and attachments are given as [`any_id`](#any_id-type): a uuid, a bigint or the text of either. What a
procedure gives back is behind the arrow, too; a CALL need not name it. Each role includes the right to use the schema.

TEXT
		function_section([ map { $_->{name} } @roles ], @functions), trigger_section(@functions),
		"## Views\n\n", relation_section(grep { $_->{view} } @relations),
		"\n## Tables\n\n", relation_section(grep { !$_->{view} && !$internal_table{ $_->{name} } } @relations),
		"\n## Internal tables\n\n", relation_section(grep { $internal_table{ $_->{name} } } @relations),
		"\n## Types\n\n", type_section(rows_of($query, $types)),
		<<'TEXT', setting_rows(rows_of($query, $settings)),

## Settings

[settings.md](settings.md) explains each of them, with its range, and what the words of the third column mean.

| setting | default | change | meaning |
| --- | --- | --- | --- |
TEXT
		"\n## Roles\n\n| role | what it is for |\n| --- | --- |\n",
		map({ "| `$_->{name}` | $_->{comment} |\n" } @roles),
		<<'TEXT', error_rows($query)));

## Errors

The SQLSTATEs that chatcrypt itself raises. [troubleshooting.md](troubleshooting.md) has the messages that one meets most
often.

| SQLSTATE | condition | meaning |
| --- | --- | --- |
TEXT
}

# For scripts/reference: of the sources in a folder, with the psql that PSQL names.
sub print_page
{
	my ($folder) = @_;
	chdir($folder) or die "$folder: $!";
	print page(sub {
		open(my $psql, '-|', $ENV{PSQL}, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', shift) or die "psql: $!";
		local $/;
		my $printed = <$psql>;
		close($psql) or die 'psql failed';
		return $printed;
	});
}

1;
