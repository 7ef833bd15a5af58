# A key that the KMS refuses is gone from every session at once, also from a session that looked at
# the shared cache a moment ago and would not look again before a second has passed.
use strict;
use warnings;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $node = Chatcrypt::Test->start('elsewhere', bao => $bao, conf => "chatcrypt.cache_ttl = '2s'\n");
my @sessions;
my $quick = 0;

make_chats($node, 1, 8);
@sessions = map { session($node) } 1, 2;
foreach my $chat (1 .. 8)
{
	is(answer($_, read_chat($chat)), "body $chat",
		'a session reads a chat before its key is refused') foreach @sessions;
	my $policy = $bao->policy('chat') =~ s/^path "transit\/decrypt\/.*\n//mr;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);

	# The other session reads on, until one of them meets the refusal.
	my ($last_good, $refused);
	while (!defined $refused)
	{
		my $at = time;
		$last_good = $at if answer($sessions[1], read_chat($chat)) eq "body $chat";
		$refused = time if answer($sessions[0], read_chat($chat)) =~ /^ERROR/;
		last if $at - ($last_good // $at) > 30;
	}
	unlike(answer($sessions[1], read_chat($chat)), qr/^body/,
		'when one session is refused, the other is refused as well');
	$quick++ if $refused - $last_good < 0.5;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$bao->policy('chat'));
	set($node);
}
cmp_ok($quick, '>', 0, 'the other session had read less than half a second before the refusal');

$_->quit foreach @sessions;
$node->stop;
done_testing();
