-- Moving envelopes to the newest key of their chat, and destroying keys that nothing needs any
-- more.

-- The columns that hold envelopes in addition to those of chatcrypt.sealed_message.
CREATE TABLE chatcrypt.envelope_column (
	registry_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	relation regclass NOT NULL,
	envelope_column name NOT NULL,
	chat_column name NOT NULL,
	message_column name NOT NULL,
	aad bytea,
	registered_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT envelope_column_once UNIQUE (relation, envelope_column)
);
-- If two columns had the same ids and additional data, their envelopes could be swapped in a row.
CREATE UNIQUE INDEX envelope_column_is_told_apart ON chatcrypt.envelope_column
	(relation, chat_column, message_column, sha256(coalesce(aad, '')));
COMMENT ON TABLE chatcrypt.envelope_column IS
	'Columns of other tables that hold envelopes, which re-encryption, purging and verification '
	'include. register_envelopes() writes it.';
COMMENT ON COLUMN chatcrypt.envelope_column.registry_id IS 'The id of the registration.';
COMMENT ON COLUMN chatcrypt.envelope_column.relation IS 'The table.';
COMMENT ON COLUMN chatcrypt.envelope_column.envelope_column IS 'The column of the envelopes.';
COMMENT ON COLUMN chatcrypt.envelope_column.chat_column IS 'The column of the id of the chat.';
COMMENT ON COLUMN chatcrypt.envelope_column.message_column IS
	'The column of the id of the message.';
COMMENT ON COLUMN chatcrypt.envelope_column.registered_at IS 'When it was registered.';
COMMENT ON COLUMN chatcrypt.envelope_column.aad IS
	'The additional data of all envelopes in the column; NULL for none. Two columns of a table '
	'with the same id columns need different additional data.';
SELECT pg_extension_config_dump('chatcrypt.envelope_column', '');

CREATE FUNCTION chatcrypt.register_envelopes(relation regclass, envelope_column name,
											 chat_column name, message_column name,
											 aad bytea DEFAULT NULL,
											 registry_id uuid DEFAULT gen_random_uuid())
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_register_envelopes';
COMMENT ON FUNCTION chatcrypt.register_envelopes(regclass, name, name, name, bytea, uuid) IS
	'Registers a column of another table that holds envelopes, so that re-encryption, purging and '
	'verification include it. Returns the id of the registration; aad is the additional data of '
	'all envelopes in the column.';

CREATE FUNCTION chatcrypt.unregister_envelopes(registry_id uuid)
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_unregister_envelopes';
COMMENT ON FUNCTION chatcrypt.unregister_envelopes(uuid) IS
	'Removes the registration of a column; purging then no longer keeps the keys that envelopes '
	'in it need. Returns false if there was no such registration.';

-- How far the upkeep of a chat has come.  These values are only hints: code that relies on one
-- checks it again.
CREATE TABLE chatcrypt.upkeep (
	chat_id uuid CONSTRAINT upkeep_pkey PRIMARY KEY REFERENCES chatcrypt.chat ON DELETE CASCADE,
	reencrypted_to bigint,
	reencrypted_at timestamptz,
	unreadable bigint,
	looked_for_unused_at timestamptz
);
COMMENT ON TABLE chatcrypt.upkeep IS
	'The result of the last re-encryption of each chat, and when its unused keys were last looked '
	'for.';
COMMENT ON COLUMN chatcrypt.upkeep.chat_id IS 'The chat.';
COMMENT ON COLUMN chatcrypt.upkeep.reencrypted_at IS 'When that was.';
COMMENT ON COLUMN chatcrypt.upkeep.looked_for_unused_at IS
	'When unused keys of the chat were last looked for.';
COMMENT ON COLUMN chatcrypt.upkeep.reencrypted_to IS
	'The dek_id of the key under which all readable envelopes were when the last re-encryption '
	'ended.';
COMMENT ON COLUMN chatcrypt.upkeep.unreadable IS
	'How many envelopes of the chat did not open then; verify_chat() lists them.';

CREATE INDEX dek_replaced ON chatcrypt.dek (chat_id) WHERE state = 'decrypt_only';

CREATE FUNCTION chatcrypt.reencrypt_envelope(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
								 aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_envelope';
COMMENT ON FUNCTION chatcrypt.reencrypt_envelope(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Encrypts the content of an envelope again under the newest data key of its chat, without '
	'showing it. An envelope that does not open raises an error.';

CREATE FUNCTION chatcrypt.try_reencrypt_envelope(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
									 aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'chatcrypt_try_reencrypt_envelope';
COMMENT ON FUNCTION chatcrypt.try_reencrypt_envelope(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Encrypts the content of an envelope again under the newest data key of its chat, and '
	'returns NULL for an envelope that does not open, so that the caller keeps the old one.';

CREATE PROCEDURE chatcrypt.reencrypt_chat(
	chat_id chatcrypt.any_id, batch integer DEFAULT 1000, INOUT moved bigint DEFAULT NULL,
	INOUT unreadable bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_chat';
COMMENT ON PROCEDURE chatcrypt.reencrypt_chat(chatcrypt.any_id, integer, bigint, bigint) IS
	'Encrypts all stored envelopes of a chat again under its newest data key, in transactions '
	'of batch envelopes each. Returns how many were re-encrypted, and how many do not open.';

CREATE PROCEDURE chatcrypt.reencrypt_due(
	replaced_for interval DEFAULT NULL, max_chats bigint DEFAULT NULL, batch integer DEFAULT 1000,
	INOUT moved bigint DEFAULT NULL, INOUT unreadable bigint DEFAULT NULL,
	INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_due';
COMMENT ON PROCEDURE chatcrypt.reencrypt_due(interval, bigint, integer, bigint, bigint, bigint) IS
	'Re-encrypts the chats whose data key was replaced longer ago than replaced_for, or than '
	'the policy reencrypt_after, in transactions of batch envelopes each. Returns how many '
	'envelopes were re-encrypted, how many do not open, and how many chats failed.';

-- Destroying keys that nothing needs: src/pg/upkeep/purgekeys.c explains why no envelope is missed.
CREATE PROCEDURE chatcrypt.purge_unused_keys(
	max_chats bigint DEFAULT NULL, max_wait interval DEFAULT '30 seconds',
	INOUT destroyed bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL,
	INOUT waiting_for bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_purge_unused_keys';
COMMENT ON PROCEDURE chatcrypt.purge_unused_keys(bigint, interval, bigint, bigint, bigint) IS
	'Destroys replaced data keys that no stored envelope needs, in chats whose external_envelopes '
	'is false. Returns how many were destroyed, how many chats failed, and how many older '
	'transactions were still running after max_wait; then the next call in the same session '
	'continues.';

CREATE PROCEDURE chatcrypt.purge_chat_keys(
	chat_id chatcrypt.any_id, max_wait interval DEFAULT '30 seconds', INOUT destroyed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_purge_chat_keys';
COMMENT ON PROCEDURE chatcrypt.purge_chat_keys(chatcrypt.any_id, interval, bigint) IS
	'Destroys the replaced data keys of a chat that no stored envelope needs, and returns how '
	'many. It refuses a chat whose external_envelopes is true.';
