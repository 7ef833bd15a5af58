# The same statements on a plain table and on protected ones: each situation of test/matrix shows the same rows, the same
# errors and the same notices, whether the table was protected before its rows came (fresh), after that (migrated), or is
# still between (mixed); and no file of the table has a body in clear afterwards.
#
#   MATRIX=REGEXP       only the situations whose names match
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

# The comparison itself: two plain tables are alike; a table that changes what is written, and one that cannot be set up,
# are not.
my @few = grep { $_->{name} =~ /^(?:whole rows, in|INSERT of one|UPDATE of the body|ON CONFLICT DO UPDATE takes|COPY in, in|an UPDATE waits and)/ } $matrix->situations;
is(scalar(@few), 6, 'six situations try the comparison');
foreach my $situation (@few)
{
	my @others = $matrix->compare($situation, \%plain, { name => 'twin', plain => 1 });
	is_deeply(\@others, [], "two plain tables are alike: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'altered', before => \&alter })), "one that alters bodies is not: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'twin', after => sub { 'SELECT no_such_function()' } })),
		"nor one that cannot be set up: $situation->{name}");
	ok(scalar($matrix->compare($situation, \%plain, { name => 'twin', after => sub { '' }, begun => \&must_be_sealed })),
		"nor one that was to be sealed and is not: $situation->{name}");
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

# SQL that protects each table of a situation, and that does so with the rows that are there.
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
	# What was in clear is gone from the files only when they are written anew.
	return protect($situation) . join '', map { "CALL chatcrypt.protect_rows('app.$_');\nVACUUM FULL app.$_;\n" } sort keys %tables;
}

# A table that is wrong on purpose.
sub alter
{
	return <<'SQL';
CREATE FUNCTION app.alter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := new.body || '.'; RETURN new; END $$;
CREATE TRIGGER zzzz BEFORE INSERT OR UPDATE ON app.t FOR EACH ROW EXECUTE FUNCTION app.alter();
SQL
}

# What is in the files of a situation's tables ------------------------------------------

sub must_be_sealed
{
	my ($self, $situation, $kind) = @_;
	my ($clear, $sealed) = $self->found_and_not($kind, $situation);
	die "$clear bodies are in clear\n" if $clear > 0;
	die "no body is sealed\n" if $sealed == 0;
	return;
}

sub must_be_mixed
{
	my ($self, $situation, $kind) = @_;
	my ($clear, $sealed) = $self->found_and_not($kind, $situation, 1);
	die "no row has to be protected\n" if $clear == 0;
	die "no row is protected\n" if $sealed == 0 && grep { $_->{what} eq 'later' } @{ $situation->{steps} };
	return;
}

sub all_is_sealed
{
	my ($self, $situation, $kind) = @_;
	my ($clear) = $self->found_and_not($kind, $situation);
	return "$clear bodies are in the table's files in clear" if $clear > 0 && !$situation->{keeps};
	my $found = $self->findings_in($kind, $situation);
	return $found =~ /\S/ ? "verify_protected() finds: $found" : '';
}
