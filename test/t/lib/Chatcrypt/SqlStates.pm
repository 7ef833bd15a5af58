# The SQLSTATEs that chatcrypt raises, each with what it means here.
#
#   my %meaning = Chatcrypt::SqlStates::meanings();    # condition => sentences
#   my @raised = Chatcrypt::SqlStates::raised();       # the conditions in src/ and sql/
#   my $sql = Chatcrypt::SqlStates::query(@conditions);     # rows of condition and code, as JSON
#
package Chatcrypt::SqlStates;

use strict;
use warnings;
use File::Find ();

my %meaning = (
	active_sql_transaction => 'The call must stand alone: outside of a transaction block, or in a transaction of READ COMMITTED.',
	array_subscript_error => 'An array argument has another length than it must, or more than one dimension.',
	cant_change_runtime_param => 'The setting is set by chatcrypt alone.',
	character_not_in_repertoire => 'What was decrypted is not text in UTF-8. `decrypt_bytea()` returns it as bytes.',
	check_violation => 'What is written as an encrypted message is no envelope of the key version beside it. Write through the view `messages`.',
	config_file_error => 'The server\'s settings or files for the KMS are wrong: see `kms_status` and [kms.md](kms.md). Nothing but a correction of them helps.',
	configuration_limit_exceeded => 'A limit that an administrator set is reached: the quota of attachments, or the number of databases to maintain.',
	data_corrupted => 'A stored row, a wrapped key, or a part of an attachment is damaged, missing or not genuine. Restore it from a backup.',
	datatype_mismatch => 'A column of this type cannot be protected, or holds no ids.',
	datetime_field_overflow => 'The time of a message must be finite and before the year 294247.',
	dependent_objects_still_exist => 'The extension holds data keys, which a DROP would destroy: see `chatcrypt.allow_drop`. Or a protected table needs what was to be dropped or changed.',
	external_routine_exception => 'Raised as a warning: something failed in a batch, and will be tried again.',
	external_routine_invocation_exception => 'A message or an attachment does not open: it was sealed for another chat, id or additional data, or its bytes are damaged.',
	feature_not_supported => 'What was asked for is not possible in this place; the hint names what to use.',
	generated_always => 'The column is set by the server and cannot be written.',
	insufficient_privilege => 'The role, or the actor that `act_as()` named, may not do this.',
	insufficient_resources => 'No background worker is free: raise `max_worker_processes`.',
	integrity_constraint_violation => 'An id, the sender or the time of a message was changed in the table without a new envelope. Write through the view `messages`.',
	internal_error => 'A cryptographic library failed. The message and the server\'s log say where.',
	invalid_authorization_specification => 'The KMS denied the request, or the client\'s connection has no TLS where `chatcrypt.require_tls` is on.',
	invalid_column_reference => 'ON CONFLICT names columns on which the view `messages` has no conflict to look for, or says DO UPDATE: use `put_message()`.',
	invalid_parameter_value => 'An argument has a value that the function does not take, or the bytes given are no envelope.',
	invalid_text_representation => 'The text is not an id: neither a uuid nor a whole number.',
	io_error => 'The KMS did not answer, answered too late, or is sealed. Try again later; `kms_status` shows when.',
	lock_not_available => 'Another transaction works on the same chat, or holds a table that is to be protected. Try again.',
	no_active_sql_transaction => 'Raised as a warning: `act_as()` was called outside of a transaction block, and so has no effect on the next statement.',
	not_null_violation => 'A column of the view `messages` that needs a value was set to NULL, or the id of a chat or message in a protected table.',
	null_value_not_allowed => 'An argument must not be NULL.',
	numeric_value_out_of_range => 'The number of an id space is too large, or negative.',
	object_in_use => 'The search policy of the chat was changed while its index was made, or is still used by older transactions. Try again.',
	object_not_in_prerequisite_state => 'The chat, key, attachment or server is not in the state that this needs: for example a destroyed key, an upload that is not complete, a chat that cannot be searched, or a KMS that refuses the key. The detail and the hint say which.',
	out_of_memory => 'Memory could not be had.',
	program_limit_exceeded => 'A message, attachment, query or name is longer than the formats allow, or a chat has used all versions of its key.',
	serialization_failure => 'Another session changed the same message or key at the same time. Run the transaction again.',
	string_data_right_truncation => 'A value is longer than the `varchar(n)` that its protected column was declared with.',
	system_error => 'libcurl could not be initialized in the KMS worker.',
	trigger_protocol_violated => 'A trigger function of chatcrypt was attached to something that it does not serve.',
	event_trigger_protocol_violated => 'The function of an event trigger was called by something else.',
	triggered_data_change_violation => 'A trigger of yours changed an id, the sender or the time of a message after it was sealed, or kept it from being stored.',
	undefined_object => 'The chat, tenant, attachment, data key or KMS key does not exist, or not yet: the transaction that makes it must have committed.',
	undefined_table => 'A table of chatcrypt is missing: the extension is not complete in this database.',
	unique_violation => 'The chat exists already, or an id was given twice.',
	untranslatable_character => 'The text has a character that the encoding of the database does not have.',
	wrong_object_type => 'The table cannot be registered: its rows are kept elsewhere, or other tables inherit from it.');

sub meanings
{
	return %meaning;
}

# The names of PostgreSQL's macros, as PL/pgSQL calls the conditions; not where a macro is compared
# with.
sub raised
{
	my %found;

	File::Find::find({ no_chdir => 1, wanted => sub {
		return unless /\.(?:c|h|sql)$/ && -f && !/chatcrypt--/;
		open(my $file, '<', $_) or die "$_: $!";
		while (my $line = <$file>)
		{
			$line =~ s/\bclass == .*|sqlerrcode == .*|ERRCODE_TO_CATEGORY//;
			$found{ lc($1) =~ s/^(?:e_r_i_e|t_r)_//r } = 1 while $line =~ /\bERRCODE_([A-Z_]+)/g;
			$found{$1} = 1 while $line =~ /\bERRCODE = '(\w+)'/g;
		}
	} }, 'src', 'sql');
	# Of this code, PL/pgSQL has only one name.
	$found{datetime_field_overflow} = 1 if delete $found{datetime_value_out_of_range};
	return sort keys %found;
}

# A server of PostgreSQL knows the code of each condition; a condition that it does not know is an
# undefined object.
sub query
{
	my $list = join(', ', map { "'$_'" } @_);
	return <<"SQL";
CREATE FUNCTION pg_temp.code_of(condition text) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
	RAISE EXCEPTION USING ERRCODE = condition;
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE <> '42704' OR condition = 'undefined_object' THEN SQLSTATE END;
END
\$\$;
SELECT json_agg(json_build_object('condition', c.condition, 'code', c.code) ORDER BY c.code)
FROM (SELECT name AS condition, pg_temp.code_of(name) AS code FROM unnest(ARRAY[$list]) AS l (name)) AS c
SQL
}

1;
