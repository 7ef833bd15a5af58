# Files of many parts: sessions and servers that die during an upload, memory, standbys, parallel
# workers, dumps, other encodings; and no plaintext of an attachment in any file of the server.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use File::Basename;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $transfer = dirname($INC{'Chatcrypt/Test.pm'}) . '/../transfer.py';
my $marker = 'Xq7MarkerOfAFile7qX';

# Few buffers, so that the memory of a process is its own; and no parameters of statements in the
# log.
my $node = Chatcrypt::Test->start('files', streaming => 1, conf => "log_statement = none\nshared_buffers = 1MB\nautovacuum = off\nrestart_after_crash = on\n");
$node->safe_psql('postgres', q{CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
	SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[])});

# What the program prints, and whether it succeeded.
sub transfer
{
	my ($server, $what, @numbers) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ '/usr/bin/python3', '-B', $transfer, $what, $server->connstr('postgres'), @numbers ], '>', \$out, '2>', \$err);
	note($err) if $err ne '';
	return ($ok, $out, $err);
}

sub start_upload
{
	my ($file, $parts) = @_;
	my %run = (out => '', err => '');
	$run{handle} = IPC::Run::start([ '/usr/bin/python3', '-B', $transfer, 'upload', $node->connstr('postgres'), $file, $parts ],
		'>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# Up and down, in parts of 1 MiB: memory does not grow with the file.  The measured memory includes
# the shared buffers that the session touched, which are more from PostgreSQL 19 on.
my $most = $node->pg_version >= '19devel' ? 10 : 8;
my $parts = 64;
ok((transfer($node, 'begin', 1, 10))[0], 'an upload begins');
my ($ok, $out) = transfer($node, 'upload', 10, $parts);
ok($ok, "$parts parts of a file are uploaded");
my ($above) = $out =~ /([-\d.]+)\n\z/;
cmp_ok($above, '<', $most, "the upload takes less than $most MiB of memory");
($ok, $out) = transfer($node, 'download', 10, $parts);
ok($ok, 'the file is downloaded unchanged');
($above) = $out =~ /([-\d.]+)\n\z/;
cmp_ok($above, '<', $most, "the download takes less than $most MiB of memory");

# The session is terminated; then a backend is killed, and with it the shared memory; then the
# server.
transfer($node, 'begin', 1, 11);
my $put = 0;
foreach my $end ('pg_terminate_backend', 'kill', 'server')
{
	my $run = start_upload(11, $parts);
	ok(wait_until(60, sub { $run->{handle}->pump_nb; scalar(() = $run->{out} =~ /put/g) >= 5 }), "$end: an upload is running");
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%attachment%' AND pid <> pg_backend_pid() LIMIT 1});
	if ($end eq 'pg_terminate_backend') { $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") }
	elsif ($end eq 'kill') { kill 'KILL', $pid or die "cannot kill $pid: $!" }
	else { $node->stop('immediate') }
	$run->{handle}->finish;
	isnt($run->{err}, '', "$end: the upload ends with an error");
	my $sent = () = $run->{out} =~ /put/g;
	$node->start if $end eq 'server';
	ok(wait_until(60, sub { run_log([ 'pg_isready', '-q', '-d', $node->connstr('postgres') ]) }), "$end: the server runs");
	my $there = $node->safe_psql('postgres', 'SELECT count(*) FROM chatcrypt.attachment_progress(11)');
	cmp_ok($there, '>=', $put + $sent, "$end: every part that was reported stored is there");
	cmp_ok($there, '<', $parts, "$end: some parts are missing");
	like(ask($node, 'SELECT chatcrypt.read_attachment(11, 0, 10)'), qr/is not complete/,
		"$end: nothing of the incomplete file can be read");
	$put = $there;
}
($ok, $out) = transfer($node, 'upload', 11, $parts);
ok($ok, 'another session continues the upload');
is(scalar(() = $out =~ /put/g), $parts - $put, 'the continued upload sends only the missing parts');
ok((transfer($node, 'download', 11, $parts))[0], 'the file of the continued upload is whole');
is(ask($node, 'CALL chatcrypt.verify_all()'), '0', 'every part opens after the continued upload');

# A re-encryption that is killed between its batches.
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
my $run = { out => '', err => '' };
$run->{handle} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL chatcrypt.reencrypt_chat(1, batch => 1)' ],
	'<', \undef, '>', \$run->{out}, '2>', \$run->{err});
my $moved = 'SELECT count(*) FROM chatcrypt.sealed_attachment_part WHERE chatcrypt.dek_version(sealed) = 2';
ok(wait_until(60, sub { $node->safe_psql('postgres', $moved) > 5 }),
	're-encryption of files is running');
$node->stop('immediate');
$run->{handle}->finish;
$node->start;
cmp_ok($node->safe_psql('postgres', $moved), '<', 2 * $parts,
	're-encryption that was killed has not re-encrypted every part');
ok((transfer($node, 'download', 10, $parts))[0], 'a file under two keys is whole');
is(ask($node, 'SELECT 1 FROM chatcrypt.verify_chat(1)'), '',
	'every part of a file under two keys opens');
like(ask($node, 'CALL chatcrypt.reencrypt_chat(1)'), qr/^\d+\|0$/, 're-encryption continues');
is($node->safe_psql('postgres', $moved), 2 * $parts, 're-encryption re-encrypts every part');
ok((transfer($node, 'download', 11, $parts))[0], 'a file that was sealed anew is whole');

# A standby reads, and refuses to write with a clear error.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
$node->wait_for_catchup($standby);
ok((transfer($standby, 'download', 10, $parts))[0], 'a standby reads a file');
my $range = 'SELECT md5(chatcrypt.read_attachment(10, 1048570, 4096))';
is(ask($standby, $range), $node->safe_psql('postgres', $range),
	'a standby reads a range of a file');
is(ask($standby, 'SELECT name, size FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(10)'), 'large|' . ($parts << 20), 'a standby reads the name of a file');
is(ask($standby, q{SELECT convert_from(chatcrypt.decrypt_attachment(1, 9, chatcrypt.encrypt_attachment(1, 9, 'sealed on a standby')), 'UTF8')}),
	'sealed on a standby', 'a standby seals and opens a part that is kept elsewhere');
like(ask($standby, "SELECT chatcrypt.$_"), qr/ERROR:  cannot execute chatcrypt\.\w+\(\) (in a read-only transaction|during recovery)/, "a standby refuses $_")
  foreach q{put_attachment(1, 90, 'x')}, 'begin_attachment(1, 90)', q{put_attachment_part(11, 0, 'x')}, 'finish_attachment(11)', 'delete_attachment(11)',
  'ensure_attachment_key(1)';
is(ask($standby, 'SELECT count(*) FROM chatcrypt.attachment_progress(11)'), $parts,
	'a standby shows the progress of an upload');
$node->safe_psql('postgres', q{SELECT chatcrypt.put_attachment(3, 30, 'soon gone', 'gone')});
$node->wait_for_catchup($standby);
my $idle = session($standby);
is(answer($idle, q{SELECT convert_from(chatcrypt.read_attachment(30), 'UTF8')}), 'soon gone', 'a session on the standby reads a file');
$node->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(3, confirm => 'irreversible')});
$node->wait_for_catchup($standby);
like(answer($idle, 'SELECT chatcrypt.read_attachment(30)'), qr/does not exist/,
	'a session on the standby cannot read a file after its chat is shredded');
$idle->quit;
$standby->stop;

# Parallel workers.
my $workers = q{SELECT set_config(name, CASE WHEN vartype = 'enum' THEN 'on' ELSE '0' END, false) FROM pg_settings
	WHERE name IN ('force_parallel_mode', 'debug_parallel_query', 'parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size')};
my $all = q{SELECT sum(length(chatcrypt.read_attachment(file_id))), count(*) FROM chatcrypt.sealed_attachment WHERE chat_id = chatcrypt.to_uuid(1)};
like($node->safe_psql('postgres', "$workers; EXPLAIN $all"), qr/Gather/,
	'the plan of reading files is parallel');
like($node->safe_psql('postgres', "$workers; $all"), qr/^\d+\|2$/m, 'parallel workers read files');
is((split /\n/, $node->safe_psql('postgres', "$workers; SELECT count(name) FROM chatcrypt.attachments"))[-1], '2',
	'parallel workers read the names of files');

# Names and contents travel as parameters: they are in no file of the server, no error and no dump.
my $folder = PostgreSQL::Test::Utils::tempdir();
my $scripts = 0;
sub with_marker
{
	my ($sql) = @_;
	my $script = "$folder/script" . $scripts++;
	append_to_file($script, "$sql\n");
	my (undef, $err) = run_command([ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-D', "body=$marker", '-f', $script, $node->connstr('postgres') ]);
	return $err;
}
unlike(with_marker($_), qr/ERROR/, "there is no error: $_")
  foreach 'SELECT chatcrypt.put_attachment(2, 20, convert_to(repeat(:body::text, 1000), \'UTF8\'), :body::text, :body::text);',
  'SELECT chatcrypt.begin_attachment(2, 21, :body::text, :body::text, part_size => 2048);',
  'SELECT chatcrypt.put_attachment_part(21, 0, substr(convert_to(repeat(:body::text, 1000), \'UTF8\'), 1, 2048));',
  'SELECT chatcrypt.put_attachment_part(21, 1, convert_to(:body::text, \'UTF8\'), true);',
  'SELECT chatcrypt.finish_attachment(21);';
foreach my $case (
	[ 'SELECT chatcrypt.put_attachment(2, 20, convert_to(:body::text, \'UTF8\'), :body::text);', qr/duplicate key/ ],
	[ 'SELECT chatcrypt.put_attachment(99, 22, convert_to(:body::text, \'UTF8\'), :body::text);', qr/does not exist/ ],
	[ 'SELECT chatcrypt.put_attachment(3, 22, convert_to(:body::text, \'UTF8\'), :body::text);', qr/no active/ ],
	[ 'SELECT chatcrypt.put_attachment(2, 22, convert_to(:body::text, \'UTF8\'), repeat(:body::text, 300));', qr/too long/ ],
	[ 'SELECT chatcrypt.put_attachment_part(21, 0, convert_to(:body::text, \'UTF8\'));', qr/is complete/ ],
	[ 'SELECT chatcrypt.decrypt_attachment(2, 22, convert_to(:body::text, \'UTF8\'));', qr/not a part of an attachment/ ],
	[ 'SELECT chatcrypt.decrypt_attachment(2, 22, chatcrypt.encrypt_attachment(2, 22, convert_to(:body::text, \'UTF8\')), 1);', qr/does not open/ ])
{
	my ($sql, $pattern) = @$case;
	my $said = with_marker($sql);
	like($said, $pattern, "an error: $sql");
	unlike($said, qr/$marker/, "the error does not show the parameter: $sql");
}
is(ask($node, "SELECT count(*) FROM chatcrypt.attachments WHERE name = '$marker' AND content_type = '$marker'"), '2',
	'the names of both files can be read');
$node->safe_psql('postgres', "CREATE TABLE control AS SELECT 'control' || '$marker' AS t; CHECKPOINT");
sub copies_of
{
	my ($text, $place) = @_;
	my ($count) = run_command([ 'sh', '-c', 'grep -r -a -o -h -F "$1" "$2" | wc -l', 'sh', $text, $place ]);
	return $count;
}
cmp_ok(copies_of("control$marker", $node->data_dir), '>=', 2,
	'the unencrypted control is found in files of the server');
is(copies_of($marker, $node->data_dir), copies_of("control$marker", $node->data_dir),
	'no file of the server has the marker beside the control');
unlike(slurp_file($node->logfile), qr/$marker/, 'the log does not have the marker');
$node->safe_psql('postgres', 'DROP TABLE control');

# A dump carries files, and no plaintext of them.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'pg_dump');
$node->command_ok([ 'pg_dump', '-f', "$folder/plain", 'postgres' ], 'pg_dump, as SQL');
is(copies_of($marker, "$folder/plain"), 0, 'a dump as SQL does not have the marker');
my $target = Chatcrypt::Test->start('target', extension => 0, keys => keys_of($node));
$target->safe_psql('postgres', 'CREATE ROLE app');
$target->command_ok([ 'pg_restore', '-e', '-d', $target->connstr('postgres'), "$folder/dump" ], 'pg_restore');
ok((transfer($target, 'download', 11, $parts))[0], 'a file that was restored is whole');
my $names = 'SELECT string_agg(concat_ws($$|$$, file_id, name, content_type, size), $$,$$ ORDER BY file_id) FROM chatcrypt.attachments';
is(ask($target, $names), $node->safe_psql('postgres', $names), 'every restored file has its name');
is(ask($target, 'CALL chatcrypt.verify_all()'), '0', 'every restored part opens');
$target->stop;

# Other encodings: names are sealed as UTF-8.
$node->safe_psql('postgres', q{CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0; CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0});
$node->safe_psql($_, 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1)') foreach 'latin1', 'bytes';
is(ask($node, q{SET client_encoding = 'UTF8'; SELECT chatcrypt.put_attachment(1, 1, 'x', U&'h\00f6llo') IS NOT NULL, (SELECT name FROM chatcrypt.attachments) = U&'h\00f6llo'}, 'latin1'), 't|',
	'a file with a name in LATIN1 is stored');
is(ask($node, q{SELECT name = U&'h\00f6llo', octet_length(name) FROM chatcrypt.attachments}, 'latin1'), 't|5',
	'a name in LATIN1 is read in LATIN1');
is(ask($node, q{SELECT encode(substr(chatcrypt.decrypt_bytea(1, 1, encrypted_metadata, '\x66696c6500'), 19), 'hex') FROM chatcrypt.sealed_attachment}, 'latin1'),
	'000668c3b66c6c6f0000', 'a name in LATIN1 is sealed as UTF-8');
$node->safe_psql('latin1', q{UPDATE chatcrypt.sealed_attachment SET encrypted_metadata = chatcrypt.encrypt(1, 1,
	'\x0101001000000000000100000000000000010003e282ac0000'::bytea, '\x66696c6500')});
like(ask($node, 'SELECT name FROM chatcrypt.attachments', 'latin1'), qr/ERROR:  .* cannot be shown in the encoding "LATIN1"/,
	'a name that LATIN1 cannot show raises an error');
is(ask($node, q{SET chatcrypt.on_decrypt_error = 'null'; SELECT name, size FROM chatcrypt.attachments}, 'latin1'), '|1',
	'a name that LATIN1 cannot show is NULL where on_decrypt_error is null');
is(ask($node, q{SELECT convert_from(chatcrypt.read_attachment(1), 'UTF8')}, 'latin1'), 'x',
	'the content of a file whose name cannot be shown can be read');
like(ask($node, q{SELECT chatcrypt.put_attachment(1, 1, 'x', E'h\xf6llo')}, 'bytes'), qr/ERROR:  the name of the file or its content type is not text in UTF-8/,
	'a name that is not UTF-8 is refused in SQL_ASCII');
is(ask($node, q{SELECT chatcrypt.put_attachment(1, 1, 'x', E'h\xc3\xb6llo') IS NOT NULL}, 'bytes'), 't',
	'a name in UTF-8 is accepted in SQL_ASCII');
is(ask($node, q{SELECT octet_length(name) FROM chatcrypt.attachments}, 'bytes'), '6',
	'a name in SQL_ASCII is read as its bytes');

# The examples of the docs, unchanged.
my %examples;
my $page = slurp_file('docs/attachments.md');
push @{ $examples{$1} }, $2 while $page =~ /^```(sql|python)\n(.*?)^```$/msg;
is(scalar @{ $examples{sql} }, 3, 'docs/attachments.md has three examples of SQL');
is(scalar @{ $examples{python} }, 1, 'docs/attachments.md has one example of a client');
$node->safe_psql('postgres', 'CREATE DATABASE docs');
$node->safe_psql('docs', 'CREATE EXTENSION chatcrypt');
sub example
{
	my ($n) = @_;
	my ($shown, $said) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-F', ' | ', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('docs') ], '<', \$examples{sql}[$n], '>', \$shown, '2>', \$said);
	return $shown . $said;
}
my @shown = $examples{sql}[0] =~ /; +-- (.*)$/mg;
is(example(0), join("\n", @shown, ''),
	'the example of a file in one go returns what its comments say');
like(example(1), qr/^[-0-9a-f]{36}\nwhat goes to the bucket\n\z/,
	'the example of a file that is kept elsewhere runs');
is(example(2), '', 'the example of quotas runs');
is(ask($node, 'SELECT count(attachment_quota) FROM chatcrypt.chat', 'docs'), '1',
	'the example of quotas sets a quota');
append_to_file("$folder/example.py", $examples{python}[0]);
($out, my $err) = run_command([ '/usr/bin/python3', '-B', $transfer, 'example', $node->connstr('docs'), '00000000-0000-8000-8000-00000000002a', "$folder/example.py" ]);
is($err, '', 'the example of a client has no error');
is($out, "interrupted with 2 parts\n5242887 True\n2097152 True\n0 True",
	'the example of a client uploads, continues and downloads');

$node->stop;
done_testing();
