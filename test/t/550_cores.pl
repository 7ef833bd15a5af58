# Core dumps hold no key: not those of sessions, of the postmaster or of the KMS worker, and not
# with huge pages on.  What is searched for, and how, is in lib/find_keys.py; a marker in each core,
# and a dump that leaves nothing out, show that the search finds what is there.
use strict;
use warnings;
use Chatcrypt::Kms;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $folder = PostgreSQL::Test::Utils::tempdir();
my $marker = 'planted-' . unpack 'H*', join '', map { chr int rand 256 } 1 .. 24;

# Cores are written where the kernel's pattern is a plain name, into the data directory.
system('prlimit', "--pid=$$", '--core=unlimited:') == 0 or die "prlimit: $?";
my $pattern = slurp_file('/proc/sys/kernel/core_pattern');
plan(skip_all => "the kernel gives cores away: $pattern") if $pattern =~ m{^[|/]};

# Whether huge pages can be had depends on the machine.
sub huge_pages
{
	my $memory = slurp_file('/proc/meminfo');
	my ($free) = $memory =~ /HugePages_Free:\s+(\d+)/;
	my ($size) = $memory =~ /Hugepagesize:\s+(\d+) kB/;
	return defined $free && defined $size && $free * $size >= 96 * 1024 ? 'on' : 'try';
}

my $node;

sub core_files { return glob $node->data_dir . '/core*'; }

# The core of a process that is told to abort; undef where none is written.
sub core_of
{
	my ($pid, $name) = @_;
	write_file("/proc/$pid/coredump_filter", "0xff\n");
	kill 'ABRT', $pid or die "kill: $!";
	wait_until(20, sub { !kill 0, $pid }) or die "process $pid does not end";
	my ($file) = core_files() or return undef;
	rename $file, "$folder/$name" or die "$file: $!";
	return "$folder/$name";
}

sub write_file
{
	my ($path, $content) = @_;
	open my $out, '>', $path or return 0;
	print $out $content;
	return close $out;
}

# A core that gdb writes of a process that lives on; undef where gdb may not attach.
sub gcore
{
	my ($pid, $name, $everything) = @_;
	my ($output, $file) = ('', "$folder/$name");

	IPC::Run::run([ 'gdb', '--batch', '--nx', '-p', $pid, '-ex', 'set use-coredump-filter on',
			'-ex', 'set dump-excluded-mappings ' . ($everything ? 'on' : 'off'), '-ex', "gcore $file" ], '>&', \$output);
	return -s $file ? $file : undef;
}

# Registers still hold what was copied last, and are overwritten a moment later.  A core has them in
# its notes, which are zeroed here.
sub forget_registers
{
	my ($file) = @_;
	open my $core, '+<:raw', $file or die "$file: $!";
	my $read = sub { my ($at, $length) = @_; seek $core, $at, 0; read $core, my $bytes, $length; return $bytes };
	my ($offset) = unpack 'Q<', $read->(0x20, 8);
	my ($size, $count) = unpack 'S<2', $read->(0x36, 4);

	foreach my $n (0 .. $count - 1)
	{
		my ($type, $at, $length) = (unpack 'L<2 Q<4', $read->($offset + $n * $size, $size))[ 0, 2, 5 ];
		next if $type != 4;
		seek $core, $at, 0;
		print $core "\0" x $length;
	}
	close $core or die "$file: $!";
	return;
}

# Runs a statement that asks the KMS for keys, and writes the core of its session at the first call
# of a function after that: what was not wiped by then is still there, because nothing has
# overwritten it.
sub gcore_after_kms
{
	my ($session, $statement, $function, $name) = @_;
	my $pid = answer($session, 'SELECT pg_backend_pid()');
	my ($output, $file, $ready) = ('', "$folder/$name", "$folder/$name-ready");
	my @steps = ('handle SIGUSR1 SIGURG nostop noprint pass', 'set use-coredump-filter on', 'break chatcrypt_requests_run',
		"shell touch $ready", 'continue', 'finish', "break $function", 'continue', "gcore $file");
	my $gdb = IPC::Run::start([ 'gdb', '--batch', '--nx', '-p', $pid, map { ('-ex', $_) } @steps ], '<', \undef, '>&', \$output, IPC::Run::timeout(120));

	wait_until(60, sub { -e $ready }) or die "gdb: $output";
	start($session, $statement);
	$gdb->finish;
	unlink $ready;
	forget_registers($file) if -s $file;
	return (outcome($session), -s $file ? $file : undef);
}

# Some kernels let only root look at a process that is not a child.
sub may_attach
{
	my $yama = '/proc/sys/kernel/yama/ptrace_scope';
	return 1 if !-e $yama || slurp_file($yama) == 0;
	note("gdb may look at no process here: $yama");
	return 0;
}

# The rows of chats 1 to 3, and of those that new_chats() made, by which their keys can be derived.
sub description
{
	my $master = slurp_file(keys_of($node) . '/main.key');
	chomp $master;
	my $rows = $node->safe_psql('postgres', <<'SQL');
SELECT json_build_object(
	'deployment', (SELECT replace(deployment_id::text, '-', '') FROM chatcrypt.deployment),
	'deks', (SELECT json_agg(json_build_object('name', 'chat ' || n, 'chat', replace(d.chat_id::text, '-', ''),
		'version', d.dek_version, 'wrapped', encode(d.encrypted_dek, 'hex'), 'envelope', encode(m.encrypted_message, 'hex'),
		'message', replace(m.message_id::text, '-', '')))
	 FROM unnest(ARRAY[1, 2, 3, 21, 22]) AS n JOIN chatcrypt.dek AS d ON d.chat_id = chatcrypt.to_uuid(n)
	 JOIN chatcrypt.sealed_message AS m ON m.chat_id = d.chat_id))
SQL
	return { %{ JSON::PP::decode_json($rows) }, master => $master, marker => $marker };
}

sub found_in
{
	my ($file, $description) = @_;
	my ($input, $output, $error) = (JSON::PP::encode_json($description), '', '');

	IPC::Run::run([ '/usr/bin/python3', dirname($INC{'Chatcrypt/Test.pm'}) . '/../find_keys.py', $file ],
		'<', \$input, '>', \$output, '2>', \$error) or die "find_keys.py: $error";
	return join ', ', @{ JSON::PP::decode_json($output)->{$file} };
}

# Two sessions that use keys of three chats; returns the first, its pid, and the second.
sub sessions_with_keys
{
	my $session = session($node);
	my $pid = answer($session, 'SELECT pg_backend_pid()');
	my $other = session($node);

	is(answer($session, read_chat($_)), "body $_", "a session opens chat $_") foreach 1, 2;
	is(answer($session, 'SELECT chatcrypt.decrypt(1, 9, chatcrypt.encrypt(1, 9, repeat($$long $$, 1000)))'), 'long ' x 1000,
		'a session seals and opens for chat 1');
	is(answer($other, read_chat(3)), 'body 3', 'another session opens chat 3');
	return ($session, $pid, $other);
}

# A key that is made passes through the memory of the session.
sub new_chats
{
	my ($session) = @_;
	is(answer($session, 'SELECT chatcrypt.number_of(chatcrypt.create_chat(21))'), '21', 'a session makes a chat');
	is(answer($session, q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(21), chatcrypt.to_uuid(21), 'body 21')}),
		'', 'a session writes into the new chat');
	is(answer($session, 'SELECT chatcrypt.create_chats(ARRAY[22, 23])'), '2',
		'a session makes two chats at once');
	is(answer($session, q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(22), chatcrypt.to_uuid(22), 'body 22')}),
		'', 'a session writes into one of the two new chats');
	return;
}

sub recovered
{
	my ($name) = @_;
	ok(wait_until(30, sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 }), "$name: the cluster recovers");
	is($node->safe_psql('postgres', 'SELECT entries FROM chatcrypt.cache_status'), '0',
		"$name: the key cache is empty after recovery");
	return;
}

foreach my $huge ('off', huge_pages())
{
	note("huge_pages = try, because the machine has no 96 MB of them to spare") if $huge eq 'try';
	$node = Chatcrypt::Test->start("cores_$huge", conf => <<"CONF");
huge_pages = $huge
shared_buffers = 16MB
restart_after_crash = on
my.marker = '$marker'
CONF
	my $title = "huge_pages = $huge";
	make_chats($node, 1, 20);
	make_cold($node);
	my $keys = description();
	# A session that has just got keys from the KMS, one or many at once.
	if ($huge eq 'off' && may_attach())
	{
		my %cold = ('reads a message' => [ read_chat(2), 'body 2', 'chatcrypt_guarded_now_ms' ],
			'warms keys' => [ 'SELECT (chatcrypt.warm_keys(ARRAY[1, 2, 3])).warmed', '3', 'MemoryContextReset' ]);
		foreach my $does (sort keys %cold)
		{
			my ($statement, $wanted, $function) = @{ $cold{$does} };
			my $fresh = session($node);
			answer($fresh, "SET my.marker = '$marker'");
			my ($said, $file) = gcore_after_kms($fresh, $statement, $function, 'cold');
			is($said, $wanted, "a session that was cold $does");
			ok(defined $file, 'a core of a session that has just got keys is written');
			is(found_in($file, $keys), 'the marker',
				'a core of a session that has just got keys has the marker and no key');
			eval { $fresh->quit };
			make_cold($node);
		}
	}

	my ($session, $pid, $other) = sessions_with_keys();

	# A session that lives on.  Only here is it seen that the keys are in its memory at all.
	if (may_attach())
	{
		my $all = gcore($pid, "all-$huge", 1);
		ok(defined $all, "$title: a dump that leaves nothing out is written");
		my $found = found_in($all, $keys);
		like($found, qr/\Q$_\E/, "$title: a dump that leaves nothing out has the $_")
		  foreach (map { "DEK of chat $_" } 1 .. 3), 'inner state of K(message) of chat 1', 'outer state of K(commit) of chat 2', 'marker';
		unlike($found, qr/state of K\(\w+\) of chat 3/,
			"$title: a dump that leaves nothing out has no state of a chat that the session did not open");
		unlike($found, qr/PRK|(?<!state of )K\(|key of a message|wrapping|master/,
			"$title: a dump that leaves nothing out has no key that is not needed any more");
		is(found_in(gcore($pid, "usual-$huge", 0), $keys), 'the marker',
			"$title: an ordinary dump by gdb has the marker and no key");
	}

	# A session that crashes after it has made keys.
	new_chats($session);
	$keys = description();
	my $core = core_of($pid, "backend-$huge");
	ok(defined $core && -s $core, "$title: a session leaves a core");
	is(found_in($core, $keys), 'the marker',
		"$title: the core of a session has the marker and no key");
	recovered($title);

	# The worker.
	eval { $_->quit } foreach $session, $other;
	($session, $pid, $other) = sessions_with_keys();
	my $worker = worker_pid($node);
	is(gcore($worker, "worker-$huge", 1), undef, "$title: gdb may not even look at the worker");
	is(core_of($worker, "worker-core-$huge"), undef, "$title: the worker leaves no core");
	recovered("$title, worker");

	# The postmaster, from which all processes inherit the cache.
	eval { $_->quit } foreach $session, $other;
	($session, $pid, $other) = sessions_with_keys();
	$worker = worker_pid($node);
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	$core = core_of($postmaster, "postmaster-$huge");
	ok(defined $core && -s $core, "$title: the postmaster leaves a core");
	is(found_in($core, $keys), 'the marker',
		"$title: the core of the postmaster has the marker and no key");
	ok(wait_until(10, sub { !kill 0, $worker }),
		"$title: the worker does not outlive the postmaster");
	eval { $_->quit } foreach $session, $other;
	ok(!core_files(), "$title: no other core is left");
	$node->stop('immediate', fail_ok => 1);
	unlink glob "$folder/*-$huge";
}

done_testing();
