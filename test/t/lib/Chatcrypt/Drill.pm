# Runs the blocks of a drill as they are in docs/operations.md, one after the other.
#
#   my $drill = Chatcrypt::Drill->new('Dump and restore into another cluster', OLD => ..., NEW => ...);
#   $drill->run(qr/pg_dumpall/);           # the next block, which must be the one that has this in it
#   like($drill->run(qr/kms_check/), qr/unwrap\|t/);      # what it printed; its failure fails the test
#   $drill->refuse(qr/.../, qr/ERROR: .../);              # a block that must fail, and how
#   $drill->pass_over(qr/.../);            # the next block, which is for another case
#   $drill->run_later(qr/.../);            # the blocks before that block are not run
#   $drill->finish;                        # no block is left
#
# psql runs a block of SQL with the connection that its first line names; bash runs a block of sh.
# The variables are those of the page.
#
package Chatcrypt::Drill;

use strict;
use warnings;
use Chatcrypt::OpenBao;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

# All lines of a block in a list item are indented.
sub blocks_of
{
	my ($name) = @_;
	my ($drills) = slurp_file('docs/operations.md') =~ /^## Drills\n(.*?)(?=^## |\z)/ms or die 'docs/operations.md has no drills';
	my ($section) = $drills =~ /^### \Q$name\E\n(.*?)(?=^### |\z)/ms or die "there is no drill $name";
	my @blocks;

	while ($section =~ /^( *)```(sh|sql)\n(.*?)^\1```$/msg)
	{
		my ($indent, $language, $text) = ($1, $2, $3);
		$text =~ s/^$indent//mg;
		push @blocks, { language => $language, text => $text };
	}
	return @blocks;
}

sub new
{
	my ($class, $name, %variables) = @_;
	my $work = PostgreSQL::Test::Utils::tempdir();

	return bless { name => $name, blocks => [ blocks_of($name) ], variables => { WORK => $work, %variables } }, $class;
}

# Runs bash with these variables; standard input, if any, is the SQL.
sub execute
{
	my ($self, $script, $input) = @_;
	my $output = '';

	IPC::Run::run([ 'bash', '-eu', '-o', 'pipefail', '-c', $script ], '<', \$input, '>&', \$output,
		init => sub {
			@ENV{ keys %{ $self->{variables} } } = values %{ $self->{variables} };
		});
	return ($? >> 8, $output);
}

sub next_block
{
	my ($self, $expected) = @_;
	my $block = shift @{ $self->{blocks} } or die "$self->{name}: no block is left where $expected was expected";

	die "$self->{name}: $expected was expected, and this comes next:\n$block->{text}" unless $block->{text} =~ $expected;
	return $self->execute($block->{text}, '') if $block->{language} eq 'sh';
	my ($connection) = $block->{text} =~ /^-- psql ("[^"]+")\n/ or die "$self->{name}: no connection in\n$block->{text}";
	return $self->execute("psql -XAtq -v ON_ERROR_STOP=1 -d $connection", $block->{text});
}

sub run
{
	my ($self, $expected) = @_;
	my ($status, $output) = $self->next_block($expected);

	is($status, 0, "$self->{name}: $expected") or diag($output);
	chomp $output;
	return $output;
}

sub refuse
{
	my ($self, $expected, $error) = @_;
	my ($status, $output) = $self->next_block($expected);

	isnt($status, 0, "$self->{name}: $expected fails");
	like($output, $error, "$self->{name}: $expected fails with the documented error");
	return;
}

# The next block, which is for another case, and is not run.
sub pass_over
{
	my ($self, $expected) = @_;
	my $block = shift @{ $self->{blocks} };

	like($block->{text}, $expected, "$self->{name}: a block for another case");
	return;
}

# The first block that has this in it; the blocks before it are left out.
sub run_later
{
	my ($self, $expected) = @_;

	shift @{ $self->{blocks} } while @{ $self->{blocks} } && $self->{blocks}[0]{text} !~ $expected;
	return $self->run($expected);
}

sub finish
{
	my ($self) = @_;
	is(scalar(@{ $self->{blocks} }), 0, "$self->{name}: all blocks were run");
	return;
}

# Variables for a cluster, and for the key service.
sub cluster
{
	my ($name, $node) = @_;
	return ($name => "host='" . $node->host . "' port=" . $node->port, "${name}DATA" => $node->data_dir);
}

sub key_service
{
	my ($bao) = @_;
	my $bin = PostgreSQL::Test::Utils::tempdir();

	symlink $bao->{program}, "$bin/bao" or die "$bin/bao: $!";
	return ($bao->variables, PATH => "$bin:$ENV{PATH}", KEY => 'chat');
}

1;
