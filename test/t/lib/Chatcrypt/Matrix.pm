# Situations: what an application may do to a table, each tried on tables of several kinds, which must
# answer alike.  A kind is a database with the same situations' tables in it; the first kind is a plain table.
#
#   my $matrix = Chatcrypt::Matrix->new(node => $node, files => [ glob 'test/matrix/*.sql' ]);
#   my @situations = $matrix->situations;               # those that this version of PostgreSQL has
#   my @problems = $matrix->compare($situation, $plain, $kind, ...);
#
# A kind is { name, plain, before, after, begun, ended }.  before(situation) and after(situation) give SQL for a superuser that
# runs when a situation's tables are there, and when its rows are; begun(matrix, situation) dies where the tables are
# not of the kind when the situation begins, and ended(matrix, situation) says what is wrong with them when it ended.  plain is true for tables
# that are not protected.
#
# A file of situations is SQL with lines that begin with --: in it.
#
#   --: situation NAME
#   --: since 17                   first major version of PostgreSQL that has it
#   --: protect t(body chat_id id) and tables like it: the column, the chat's, the message's; so unless said
#   --: probe EXPRESSION           bytes of a body that are in its file where it is in clear; its text unless said
#   --: raises 23505 23514         SQLSTATEs of the errors that it must raise, in their order; none unless said
#   --: keeps                      copies bodies on purpose to where they are stored in clear
#   --: as postgres                as a superuser, not as the owner of the tables
#   --: refused REGEXP             protect() refuses the tables, with an error like this
#   --: kinds fresh migrated       on tables of these kinds alone
#   --: unordered                  the rows of each result in any order
#   --: empty                      without the rows of base.sql
#   --: prepare                    SQL that makes more tables; what fails here fails the situation
#   --: rows                       SQL that fills them
#   --: later                      SQL that changes some of them, when they are protected
#   --: run                        the SQL whose results are compared
#   --: in NAME                    the same, in a session that stays open
#   --: start NAME                 does not wait for its end
#   --: outcome NAME               waits for it
#
package Chatcrypt::Matrix;

use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Utils;

my $SET_UP = qr/^(?:prepare|rows|later)$/;
my $STEP = qr/^(?:prepare|rows|later|run|in|start|outcome)$/;

sub new
{
	my ($class, %self) = @_;
	my $self = bless { %self, base => slurp_file('test/matrix/base.sql') }, $class;
	($self->{version}) = $self->{node}->safe_psql('postgres', 'SHOW server_version_num') =~ /^(\d+)\d{4}/;
	return $self;
}

# Reading the files --------------------------------------------------------------------

sub situations
{
	my ($self) = @_;
	my @all = map { read_situations($_) } @{ $self->{files} };
	my %seen;
	$seen{ $_->{name} }++ and die "two situations are called $_->{name}\n" foreach @all;
	return grep { $self->{version} >= $_->{since} } @all;
}

sub read_situations
{
	my ($file) = @_;
	my ($number, @all) = 0;

	foreach my $line (split /^/, slurp_file($file))
	{
		$number++;
		if (my ($word, $value) = $line =~ /^--: (\w+)\s*(.*?)\s*$/)
		{
			if ($word eq 'situation') { push @all, { name => $value, since => 0, protect => '', raises => '', as => 'app', steps => [] } }
			elsif ($word =~ $STEP) { push @{ $all[-1]{steps} }, { what => $word, session => $value, sql => '' } }
			elsif ($word =~ /^(?:since|raises|as|protect|probe|refused|kinds)$/) { $all[-1]{$word} = $value }
			elsif ($word =~ /^(?:keeps|empty|unordered)$/) { $all[-1]{$word} = 1 }
			else { die "$file:$number: no such word: $word\n" }
		}
		elsif (@all && @{ $all[-1]{steps} }) { $all[-1]{steps}[-1]{sql} .= $line }
		elsif ($line =~ /^\s*[^-\s]/) { die "$file:$number: SQL of no step\n" }
	}
	return map { checked($file, $_) } @all;
}

# A situation as the kinds take it.  One that compares nothing is a mistake.
sub checked
{
	my ($file, $situation) = @_;
	die "$file: $situation->{name}: nothing is run\n" unless grep { $_->{what} !~ $SET_UP } @{ $situation->{steps} };
	my @tables;
	push @tables, { table => $1, column => $2, chat => $3, message => $4 }
	  while ($situation->{protect} || 't(body chat_id id)') =~ /(\S+)\((\w+) (\w+) (\w+)\)/g;
	return { %$situation, tables => \@tables };
}

# Running ------------------------------------------------------------------------------

# psql with a script, as a role; gives what it wrote and what it complained of.  What names a place in the server's
# source, or a process, is left out.
sub psql
{
	my ($self, $kind, $user, $sql, @options) = @_;
	my ($out, $err) = ('', '');
	my @command = ($self->{node}->installed_command('psql'), '-XA', '-P', 'null=NULL', '-v', 'VERBOSITY=verbose', @options,
		'-d', $self->{node}->connstr($kind->{name}) . " user=$user options='-c statement_timeout=60s'", '-f', '-');
	IPC::Run::run(\@command, '<', \$sql, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return ($out, comparable($err));
}

sub comparable
{
	my ($said) = @_;
	return $said =~ s/^LOCATION: .*\n//mgr =~ s/^DETAIL:  Process \d+ waits.*\n(?:Process.*\n)*//mgr;
}

# Steps of a superuser, unless they say otherwise, that must not fail.
sub must
{
	my ($self, $kind, $sql) = @_;
	my (undef, $err) = $self->psql($kind, 'postgres', $sql, '-v', 'ON_ERROR_STOP=1', '-q');
	die "cannot be set up: $err" if $err =~ /(?:ERROR|FATAL|PANIC):/;
	return;
}

sub sql_of
{
	my ($situation, $what) = @_;
	return join '', map { $_->{sql} } grep { $_->{what} eq $what } @{ $situation->{steps} };
}

# The tables of a situation in a kind's database, as they are when it begins.
sub set_up
{
	my ($self, $situation, $kind) = @_;
	my ($tables, $rows, $later) = split /^--: (?:rows|later)\n/m, $self->{base};

	my $begin = 'SET client_min_messages = warning; DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app AUTHORIZATION app;';
	my ($app, $as) = map { "\nSET SESSION AUTHORIZATION $_;\n" } 'app', $situation->{as};

	($rows, $later) = ('', '') if $situation->{empty};
	$self->must($kind, $begin . $app . $tables . $as . sql_of($situation, 'prepare'));
	$self->must($kind, $kind->{before}->($situation)) if $kind->{before};
	$self->must($kind, $app . $rows . $as . sql_of($situation, 'rows'));
	$self->must($kind, $kind->{after}->($situation)) if $kind->{after};
	$self->must($kind, $app . $later . $as . sql_of($situation, 'later'));
	return;
}

# What a situation shows: what psql wrote, and the answers of the sessions.
sub answer_of
{
	my ($self, $situation, $kind) = @_;
	my (%sessions, @said);

	foreach my $step (grep { $_->{what} !~ $SET_UP } @{ $situation->{steps} })
	{
		if ($step->{what} eq 'run')
		{
			push @said, $self->psql($kind, $situation->{as}, $step->{sql});
			next;
		}
		my $session = $sessions{ $step->{session} } //= $self->{node}->background_psql($kind->{name}, on_error_stop => 0,
			extra_params => [ '-U', $situation->{as}, '-v', 'VERBOSITY=verbose' ]);
		my $sql = $step->{sql} =~ s/^\s*--.*\n//mgr =~ s/;\s*\z//r;
		if ($step->{what} eq 'start') { $self->start_and_wait($session, $sql, $kind) }
		elsif ($step->{what} eq 'outcome') { push @said, outcome($session) }
		else { push @said, answer($session, $sql) }
	}
	$_->quit foreach values %sessions;
	@said = map { sorted_rows($_) } @said if $situation->{unordered};
	return join "\n", grep { /\S/ } @said;
}

# The lines between one end of a result and the next, sorted.
sub sorted_rows
{
	my ($said) = @_;
	return join '', map { join '', sort split /^/, $_ } split /^(\(\d+ rows?\)\n)/m, $said;
}

# Until the session waits for another, so that what that one does next comes first.
sub start_and_wait
{
	my ($self, $session, $sql, $kind) = @_;
	my $waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '$kind->{name}' AND wait_event_type = 'Lock'";
	start($session, $sql);
	wait_until(20, sub { $self->{node}->safe_psql('postgres', $waits) eq 't' }) or die "it does not wait: $sql\n";
	return;
}

# The SQLSTATEs of the errors in what was said.
sub errors_in
{
	my ($said) = @_;
	return join ' ', $said =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/g;
}

# Comparing ----------------------------------------------------------------------------

# Gives what is wrong with a situation; nothing where all kinds answer as the first.
sub compare
{
	my ($self, $situation, $plain, @kinds) = @_;
	my $expected = eval { $self->set_up($situation, $plain); $self->answer_of($situation, $plain) };
	return "$plain->{name}: $@" unless defined $expected;

	my $raised = errors_in($expected);
	return "$plain->{name}: raises '$raised' instead of '$situation->{raises}':\n$expected" if $raised ne $situation->{raises};
	return "$plain->{name}: shows nothing" if $expected !~ /\S/;

	my $wanted = $situation->{kinds};
	return map { $self->problems_of($situation, $_, $_->{plain} ? $expected : without_rows($expected)) }
	  grep { !defined $wanted || $wanted =~ /\b$_->{name}\b/ } @kinds;
}

# PostgreSQL shows the row that breaks a constraint, and where COPY was; a protected table must not.
sub without_rows
{
	my ($said) = @_;
	return $said =~ s/^DETAIL:  Failing row contains .*\n//mgr =~ s/^CONTEXT:  COPY .*\n//mgr;
}

sub problems_of
{
	my ($self, $situation, $kind, $expected) = @_;
	my $got = eval {
		$self->set_up($situation, $kind);
		$kind->{begun}->($self, $situation, $kind) if $kind->{begun};
		$self->answer_of($situation, $kind);
	};
	if (defined $situation->{refused} && !$kind->{plain})
	{
		return !defined $got && $@ =~ /$situation->{refused}/ ? () : "$kind->{name}: is not refused: " . ($got // $@);
	}
	return "$kind->{name}: $@" unless defined $got;
	my @problems;
	push @problems, "$kind->{name}: instead of\n$expected\nit says\n$got\n" . difference($expected, $got) if $got ne $expected;
	my $left = eval { $kind->{ended} ? $kind->{ended}->($self, $situation, $kind) : '' } // $@;
	push @problems, "$kind->{name}: $left" if $left;
	return @problems;
}

# The first lines that differ.
sub difference
{
	my ($expected, $got) = @_;
	my @expected = split /\n/, $expected, -1;
	my @got = split /\n/, $got, -1;
	while (@expected && @got && $expected[0] eq $got[0]) { shift @expected; shift @got; }
	return '-' . ($expected[0] // '(end)') . "\n+" . ($got[0] // '(end)') . "\n";
}

# What is on disk ----------------------------------------------------------------------

# The tables that have the rows of a table, as SQL: itself, or its partitions.
my $LEAVES = <<'SQL';
SELECT oid::regclass AS leaf FROM pg_class WHERE relkind = 'r' AND oid IN (SELECT coalesce(t.relid, r)
	FROM to_regclass('app.%s') AS r LEFT JOIN LATERAL pg_partition_tree(r) AS t ON true)
SQL

# What verify_protected() finds in the tables of a situation, a line each.
sub findings_in
{
	my ($self, $kind, $situation) = @_;
	return join "\n", map {
		$self->{node}->safe_psql($kind->{name}, 'SELECT * FROM (' . sprintf($LEAVES, $_->{table}) . ') AS l, chatcrypt.verify_protected(l.leaf)')
	} @{ $situation->{tables} };
}

# How many bodies of the tables of a situation are in their files or in those of their TOAST tables, and how many are not.
# With anew the files are written anew before: rows that were replaced are gone then.
sub found_and_not
{
	my ($self, $kind, $situation, $anew) = @_;
	my @counts = (0, 0);

	foreach my $table (@{ $situation->{tables} })
	{
		my $probe = $situation->{probe} // "convert_to($table->{column}::text, 'UTF8')";
		my $leaves = sprintf $LEAVES, $table->{table};
		my $rewrite = $anew ? "SELECT format('VACUUM FULL %s', leaf) FROM ($leaves) AS l \\gexec\n" : '';
		my $shown = $self->{node}->safe_psql($kind->{name}, <<"SQL");
$rewrite CHECKPOINT;
SELECT format(\$\$SELECT 'file', pg_relation_filepath(oid) FROM pg_class WHERE oid = %1\$L::regclass
	UNION SELECT 'file', pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = %1\$L::regclass AND reltoastrelid <> 0
	UNION SELECT 'body', encode(substr($probe, 1, 60), 'hex') FROM %1\$s WHERE octet_length($probe) > 6\$\$, leaf) FROM ($leaves) AS l \\gexec
SQL
		my $bytes = join '', map { slurp_file($self->{node}->data_dir . "/$_") } $shown =~ /^file\|(.*)$/mg;
		$counts[ index($bytes, pack 'H*', $_) < 0 ]++ foreach $shown =~ /^body\|(.*)$/mg;
	}
	return @counts;
}

1;
