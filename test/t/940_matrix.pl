# Runs the same statements on a plain table and on protected ones.  Each situation of test/matrix gives
# the same rows, errors and notices on all of them: on a table that was protected while it was empty
# (fresh), on one whose existing rows were sealed (migrated), and on one whose existing rows are not
# sealed yet (mixed).  Afterwards no file of a fresh or migrated table holds a body in plaintext.
#
#   MATRIX=REGEXP       runs only the situations whose names match
use strict;
use warnings;
use Chatcrypt::Matrix;
use Chatcrypt::Test;
use Test::More;

my $node = Chatcrypt::Test->start('matrix', conf => <<'CONF');
max_prepared_transactions = 4
autovacuum = off
log_statement = none
CONF
my $matrix = Chatcrypt::Matrix->new(node => $node, files => [ sort grep { !/base/ } glob 'test/matrix/*.sql' ]);
my $wanted = $ENV{MATRIX} // '';
my @situations = grep { $_->{name} =~ /$wanted/ } $matrix->situations;

my %plain = (name => 'plain');
my @kinds = (
	{ name => 'fresh', before => \&protected, ended => \&all_is_sealed },
	{ name => 'migrated', after => \&protected, begun => \&must_be_sealed, ended => \&all_is_sealed },
	{ name => 'mixed', after => \&protect, begun => \&must_be_mixed },
);

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE ROLE matrix_clerk IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE ROLE matrix_guest;
CREATE ROLE matrix_writer IN ROLE chatcrypt_writer;
SQL
make_database($_) foreach qw(plain twin altered fresh migrated mixed);

# Tests of the comparison itself: it finds no difference between two plain tables, and finds the
# difference of a table that changes what is written, and of one that cannot be set up.
my @few = grep { $_->{name} =~ /^(?:whole rows, in|INSERT of one|UPDATE of the body|ON CONFLICT DO UPDATE takes|COPY in, in|an UPDATE waits and)/ } $matrix->situations;
is(scalar(@few), 6, 'the comparison is tested with six situations');
foreach my $situation (@few)
{
	my @others = $matrix->compare($situation, \%plain, { name => 'twin', plain => 1 });
	is_deeply(\@others, [], "two plain tables do not differ: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'altered', before => \&alter })), "a table that alters bodies differs: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'twin', after => sub { 'SELECT no_such_function()' } })),
		"a table that cannot be set up differs: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'twin', after => sub { '' }, begun => \&must_be_sealed })),
		"a table that is not sealed as it should be is reported: $situation->{name}");
}

foreach my $situation (@situations)
{
	my @problems = $matrix->compare($situation, \%plain, @kinds);
	ok(!@problems, $situation->{name}) or diag(join "\n", @problems);
}

done_testing();

sub make_database
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, "CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chats('{1,2,3,4,99}'); GRANT CREATE ON DATABASE $name TO app; ALTER DATABASE $name SET search_path = app");
	return;
}

# SQL that protects each table of a situation; protected() also seals the rows that exist.
sub protect
{
	my ($situation) = @_;
	return join '', map {
		qq{SELECT chatcrypt.protect('app.$_->{table}', "column" => '$_->{column}', chat => '$_->{chat}', message => '$_->{message}');\n}
	} @{ $situation->{tables} };
}

sub protected
{
	my ($situation) = @_;
	my %tables = map { $_->{table} => 1 } @{ $situation->{tables} };
	# Old plaintext is removed from the files only when the table is rewritten.
	return protect($situation) . join '', map { "CALL chatcrypt.protect_rows('app.$_');\nVACUUM FULL app.$_;\n" } sort keys %tables;
}

# SQL that makes a table change what is written, for the tests of the comparison.
sub alter
{
	return <<'SQL';
CREATE FUNCTION app.alter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := new.body || '.'; RETURN new; END $$;
CREATE TRIGGER zzzz BEFORE INSERT OR UPDATE ON app.t FOR EACH ROW EXECUTE FUNCTION app.alter();
SQL
}

# Checks of the files of a situation's tables ------------------------------------------

sub must_be_sealed
{
	my ($self, $situation, $kind) = @_;
	my ($clear, $sealed) = $self->found_and_not($kind, $situation);
	die "$clear bodies are in plaintext\n" if $clear > 0;
	die "no body is sealed\n" if $sealed == 0;
	return;
}

sub must_be_mixed
{
	my ($self, $situation, $kind) = @_;
	my ($clear, $sealed) = $self->found_and_not($kind, $situation, 1);
	die "no row is left to be sealed\n" if $clear == 0;
	die "no row is sealed\n" if $sealed == 0 && grep { $_->{what} eq 'later' } @{ $situation->{steps} };
	return;
}

sub all_is_sealed
{
	my ($self, $situation, $kind) = @_;
	my ($clear) = $self->found_and_not($kind, $situation);
	return "the table's files hold $clear bodies in plaintext" if $clear > 0 && !$situation->{keeps};
	my $found = $self->findings_in($kind, $situation);
	return $found =~ /\S/ ? "verify_protected() finds: $found" : '';
}
