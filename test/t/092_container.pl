# contrib/Containerfile: its packages and commands are those that build and run chatcrypt here.  No
# image is built, because base images cannot be had without a network.
use strict;
use warnings;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $file = slurp_file('contrib/Containerfile') =~ s/^#.*\n//mgr =~ s/\\\n//gr;
my ($build, $image) = map { "FROM $_" } (split /^FROM /m, $file)[ 1, 2 ];
my ($base) = $build =~ /^FROM (\S+) AS build/;
like($image, qr/^FROM \Q$base\E$/m, 'the library runs on the image that it was built on');

my ($major) = $base =~ /:(\d+)/;
my ($packages) = slurp_file('README.md') =~ /^apt-get install (postgresql build-essential .*)$/m;
foreach my $package (grep { $_ ne 'postgresql' } split ' ', $packages)
{
	my $there = $package eq 'postgresql-server-dev-all' ? "postgresql-server-dev-$major" : $package;
	like($build, qr/\s\Q$there\E\b/, "the build has the package $there, as in the README");
}

# The command that installs, with a temporary folder as its destination.
my ($install) = $build =~ /^RUN (make install DESTDIR=\S+)$/m;
my $root = PostgreSQL::Test::Utils::tempdir();
my ($to) = $install =~ /DESTDIR=(\S+)/;
$install =~ s/\Q$to\E$/$root/;
is(system("$install -s >&2"), 0, 'the command that installs runs');
like($image, qr/^COPY --from=build \Q$to\E \/$/m,
	'what the build installs is copied to the root of the image');

my ($library) = split /\n/, (run_command([ 'find', $root, '-name', 'chatcrypt.so' ]))[0];
ok(defined $library, 'the command that installs installs the library');
my ($script) = split /\n/, (run_command([ 'find', $root, '-name', 'chatcrypt--*.sql' ]))[0];
ok(defined $script, 'the command that installs installs the script of the extension');

# What the library needs beside PostgreSQL's own libraries is installed into the image.
foreach my $need ((run_command([ 'objdump', '-p', $library ]))[0] =~ /NEEDED\s+lib(curl|sodium)\S*\.so/g)
{
	like($image, qr/ lib$need\d+\b/, "the image has lib$need");
}

# The server that the image starts loads the library.
like($image, qr/^CMD \["postgres", "-c", "shared_preload_libraries=chatcrypt"\]$/m, 'the server of the image preloads chatcrypt');

done_testing();
