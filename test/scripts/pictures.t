#!/usr/bin/perl
#
# The pictures in docs/pictures are what docs/pictures/draw.py draws.
#
use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Compare qw(compare);
use File::Temp qw(tempdir);
use Test::More;

my $pictures = dirname(__FILE__) . '/../../docs/pictures';
my $drawn = tempdir(CLEANUP => 1);

is(system('/usr/bin/python3', '-B', "$pictures/draw.py", $drawn), 0, 'the pictures can be drawn');
is_deeply([ map { basename($_) } glob "$drawn/*.svg" ], [ map { basename($_) } glob "$pictures/*.svg" ],
	'no other picture is there than those that are drawn');
is(compare($_, "$pictures/" . basename($_)), 0, basename($_) . ' is as it is drawn') foreach glob "$drawn/*.svg";

done_testing();
