-- Moving envelopes to their chat's newest key, and destroying keys that nothing needs any more.

-- Where envelopes are kept beside chatcrypt.message.
CREATE TABLE chatcrypt.protected_column (
	registry_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	relation regclass NOT NULL,
	envelope_column name NOT NULL,
	chat_column name NOT NULL,
	message_column name NOT NULL,
	aad bytea,
	registered_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT protected_column_once UNIQUE (relation, envelope_column)
);
-- Envelopes of two columns that have the same ids and additional data could be exchanged in a row.
CREATE UNIQUE INDEX protected_column_is_told_apart ON chatcrypt.protected_column
	(relation, chat_column, message_column, sha256(coalesce(aad, '')));
COMMENT ON TABLE chatcrypt.protected_column IS
	'Columns of other tables that hold envelopes: re-encryption, purging and verification go '
	'through them too.';
COMMENT ON COLUMN chatcrypt.protected_column.aad IS
	'The additional data that all envelopes of the column are sealed with; NULL for none. No two '
	'columns of a table have the same with the same ids.';
SELECT pg_extension_config_dump('chatcrypt.protected_column', '');

CREATE FUNCTION chatcrypt.register_envelopes(relation regclass, envelope_column name,
											 chat_column name, message_column name,
											 aad bytea DEFAULT NULL,
											 registry_id uuid DEFAULT gen_random_uuid())
	RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_register_envelopes';
COMMENT ON FUNCTION chatcrypt.register_envelopes(regclass, name, name, name, bytea, uuid) IS
	'Makes a column known that holds envelopes; gives the id of the registration.';

CREATE FUNCTION chatcrypt.unregister_envelopes(registry_id uuid)
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_unregister_envelopes';
COMMENT ON FUNCTION chatcrypt.unregister_envelopes(uuid) IS
	'Forgets a registered column: nothing keeps the keys of its envelopes from being purged then. '
	'False where there was none.';

-- How far the upkeep of a chat has come.  Only hints: whoever relies on one looks again.
CREATE TABLE chatcrypt.upkeep (
	chat_id uuid CONSTRAINT upkeep_pkey PRIMARY KEY REFERENCES chatcrypt.chat ON DELETE CASCADE,
	reencrypted_to bigint,
	reencrypted_at timestamptz,
	unreadable bigint,
	looked_for_unused_at timestamptz
);
COMMENT ON TABLE chatcrypt.upkeep IS 'When each chat was last gone through, and what did not open.';
COMMENT ON COLUMN chatcrypt.upkeep.reencrypted_to IS
	'dek_id of the key that all readable envelopes were under when re-encryption last ended.';
COMMENT ON COLUMN chatcrypt.upkeep.unreadable IS
	'How many envelopes of the chat did not open then: verify_chat() lists them.';

-- When old messages are moved without being asked for.
ALTER TABLE chatcrypt.tenant ADD COLUMN reencrypt_after interval CHECK (reencrypt_after >= interval '0');
ALTER TABLE chatcrypt.chat ADD COLUMN reencrypt_after interval CHECK (reencrypt_after >= interval '0');
COMMENT ON COLUMN chatcrypt.tenant.reencrypt_after IS
	'How long after a key was replaced reencrypt_due() moves what it sealed; NULL for never.';
COMMENT ON COLUMN chatcrypt.chat.reencrypt_after IS
	'As the tenant''s, for this chat; NULL for what the tenant says.';

CREATE INDEX dek_replaced ON chatcrypt.dek (chat_id) WHERE state = 'decrypt_only';

CREATE FUNCTION chatcrypt.reseal(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
								 aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'chatcrypt_reseal_envelope';
COMMENT ON FUNCTION chatcrypt.reseal(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'Seals what an envelope holds under the chat''s newest key, without showing it; raises for one '
	'that does not open.';

CREATE FUNCTION chatcrypt.try_reseal(chat_id chatcrypt.any_id, message_id chatcrypt.any_id, envelope bytea,
									 aad bytea DEFAULT NULL)
	RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'chatcrypt_try_reseal_envelope';
COMMENT ON FUNCTION chatcrypt.try_reseal(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea) IS
	'As reseal(), with NULL for an envelope that does not open: the old one is then the only one.';

CREATE PROCEDURE chatcrypt.reencrypt_chat(
	chat_id chatcrypt.any_id, batch integer DEFAULT 1000, INOUT moved bigint DEFAULT NULL,
	INOUT unreadable bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_chat';
COMMENT ON PROCEDURE chatcrypt.reencrypt_chat(chatcrypt.any_id, integer, bigint, bigint) IS
	'Moves all envelopes of a chat to its newest key, each batch in a transaction of its own; says '
	'how many were moved, and how many do not open.';

CREATE PROCEDURE chatcrypt.reencrypt_due(
	replaced_for interval DEFAULT NULL, "limit" bigint DEFAULT NULL, batch integer DEFAULT 1000,
	INOUT moved bigint DEFAULT NULL, INOUT unreadable bigint DEFAULT NULL,
	INOUT failed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_reencrypt_due';
COMMENT ON PROCEDURE chatcrypt.reencrypt_due(interval, bigint, integer, bigint, bigint, bigint) IS
	'Re-encrypts the chats whose keys were replaced as long ago as the argument or else the policy '
	'reencrypt_after says; says how many envelopes were moved, how many do not open, and how many '
	'chats failed.';

-- Destroying keys that nothing needs: src/pg/upkeep/purge.c tells why nothing slips under it.
CREATE PROCEDURE chatcrypt.purge_unused_deks(
	"limit" bigint DEFAULT NULL, patience interval DEFAULT '30 seconds',
	INOUT destroyed bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL,
	INOUT waiting_for bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_purge_unused_deks';
COMMENT ON PROCEDURE chatcrypt.purge_unused_deks(bigint, interval, bigint, bigint, bigint) IS
	'Destroys replaced keys that no envelope names, in chats whose external_envelopes is false; '
	'says how many, how many chats failed, and for how many older transactions it had no patience '
	'to wait: then the next call in the session goes on.';

CREATE PROCEDURE chatcrypt.purge_chat(
	chat_id chatcrypt.any_id, patience interval DEFAULT '30 seconds', INOUT destroyed bigint DEFAULT NULL)
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_purge_chat';
COMMENT ON PROCEDURE chatcrypt.purge_chat(chatcrypt.any_id, interval, bigint) IS
	'Destroys the replaced keys of a chat that no envelope names; refuses a chat whose '
	'external_envelopes is true.';
