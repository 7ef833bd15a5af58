-- The tables.  C code knows their columns by number (src/pg/store/store.c), so new columns go to
-- the end.  pg_dump dumps all of the tables; rows that must exist are made at first use, because a
-- row that this script made would collide with the one in a dump.

CREATE TABLE chatcrypt.deployment (
	singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	deployment_id uuid NOT NULL DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chatcrypt.deployment IS
	'The id of this deployment, which the KMS binds into every wrapped key. The row is made with '
	'the first chat.';
COMMENT ON COLUMN chatcrypt.deployment.singleton IS 'Always true: there is one row.';
COMMENT ON COLUMN chatcrypt.deployment.deployment_id IS 'The id.';
COMMENT ON COLUMN chatcrypt.deployment.created_at IS 'When the row was made.';

-- Raises an error instead of returning false, to explain what a key URI is.
CREATE FUNCTION chatcrypt_internal.is_kms_key(uri text) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_is_kms_key';
COMMENT ON FUNCTION chatcrypt_internal.is_kms_key(text) IS
	'Checks a tenant''s kms_key. Returns true, or raises an error for a key URI that no provider '
	'accepts.';

CREATE TABLE chatcrypt.tenant (
	tenant text PRIMARY KEY CHECK (tenant <> ''),
	kms_key text CHECK (chatcrypt_internal.is_kms_key(kms_key)),
	rotate_after interval CHECK (rotate_after > interval '0'),
	rotate_messages bigint CHECK (rotate_messages > 0),
	rotate_on_removal boolean NOT NULL DEFAULT false,
	retention interval CHECK (retention > interval '0'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	attachment_quota bigint CHECK (attachment_quota >= 0),
	reencrypt_after interval CHECK (reencrypt_after >= interval '0'),
	search_mode text COLLATE "C" CHECK (search_mode = ANY (ARRAY['blind', 'plain'])),
	search_config text,
	search_prefixes integer CHECK (search_prefixes BETWEEN 0 AND 16),
	search_trigrams boolean,
	search_bits integer CHECK (search_bits BETWEEN 8 AND 64),
	search_feed boolean CONSTRAINT tenant_plain_search_is_fed CHECK (search_feed OR search_mode <> 'plain'),
	CONSTRAINT tenant_search_is_all_or_nothing CHECK
		(num_nulls(search_mode, search_config, search_prefixes, search_trigrams, search_bits, search_feed) IN (0, 6))
);
COMMENT ON TABLE chatcrypt.tenant IS
	'Tenants: groups of chats, for example of a customer or a region, with policies that their '
	'chats inherit and a KMS key if they have one of their own.';
COMMENT ON COLUMN chatcrypt.tenant.tenant IS 'The name of the tenant.';
COMMENT ON COLUMN chatcrypt.tenant.kms_key IS
	'The KMS key that wraps new data keys, or NULL for chatcrypt.default_kms_key.';
COMMENT ON COLUMN chatcrypt.tenant.rotate_after IS
	'The age at which a data key is due for rotation, or NULL for no such limit.';
COMMENT ON COLUMN chatcrypt.tenant.rotate_messages IS
	'The number of messages after which a data key is due for rotation, or NULL for no such '
	'limit.';
COMMENT ON COLUMN chatcrypt.tenant.rotate_on_removal IS
	'Whether the data key is rotated when a participant is removed.';
COMMENT ON COLUMN chatcrypt.tenant.retention IS
	'How long after created_at a message expires, or NULL for never. Applies to messages written '
	'from now on.';
COMMENT ON COLUMN chatcrypt.tenant.created_at IS 'When the tenant was created.';
COMMENT ON COLUMN chatcrypt.tenant.updated_at IS 'When the row was last changed.';
COMMENT ON COLUMN chatcrypt.tenant.attachment_quota IS
	'How many bytes the stored attachments of each chat of the tenant may take, or NULL for any '
	'number.';
COMMENT ON COLUMN chatcrypt.tenant.reencrypt_after IS
	'How long after a data key was replaced reencrypt_due() moves what it encrypted, or NULL for '
	'never.';
COMMENT ON COLUMN chatcrypt.tenant.search_mode IS
	'How new chats can be searched: blind, plain, or NULL for not at all. set_tenant_search() '
	'writes this and the following columns.';
COMMENT ON COLUMN chatcrypt.tenant.search_config IS
	'The text search configuration of new chats.';
COMMENT ON COLUMN chatcrypt.tenant.search_prefixes IS
	'The shortest prefix of a word with a token of its own in new chats; 0 for none.';
COMMENT ON COLUMN chatcrypt.tenant.search_trigrams IS
	'Whether new chats have tokens of the trigrams of words.';
COMMENT ON COLUMN chatcrypt.tenant.search_bits IS 'How many bits of a token new chats keep.';
COMMENT ON COLUMN chatcrypt.tenant.search_feed IS
	'Whether messages of new chats go to the feed of an external search engine.';

CREATE TABLE chatcrypt.chat (
	chat_id uuid CONSTRAINT chat_pkey PRIMARY KEY,
	tenant text NOT NULL REFERENCES chatcrypt.tenant,
	mode text COLLATE "C" NOT NULL DEFAULT 'managed'
		CHECK (mode = ANY (ARRAY['managed', 'conversation_key', 'e2ee'])),
	external_envelopes boolean NOT NULL DEFAULT true,
	rotate_after interval CHECK (rotate_after > interval '0'),
	rotate_messages bigint CHECK (rotate_messages > 0),
	rotate_on_removal boolean,
	retention interval CHECK (retention > interval '0'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	attachment_quota bigint CHECK (attachment_quota >= 0),
	reencrypt_after interval CHECK (reencrypt_after >= interval '0'),
	moderation text COLLATE "C" NOT NULL DEFAULT 'own'
		CHECK (moderation = ANY (ARRAY['own', 'participants']))
);
COMMENT ON TABLE chatcrypt.chat IS
	'Chats, and the policies in which they differ from their tenant. The view chatcrypt.chats '
	'also shows the participants.';
COMMENT ON COLUMN chatcrypt.chat.chat_id IS 'The id of the chat.';
COMMENT ON COLUMN chatcrypt.chat.tenant IS 'Its tenant.';
COMMENT ON COLUMN chatcrypt.chat.mode IS
	'managed: the server encrypts. conversation_key: the server encrypts with a key that clients '
	'may hold. e2ee: the clients encrypt, and plaintext is refused.';
COMMENT ON COLUMN chatcrypt.chat.external_envelopes IS
	'Whether envelopes of this chat may exist outside of this database. While it is true, no key '
	'of the chat is purged.';
COMMENT ON COLUMN chatcrypt.chat.rotate_after IS
	'The age at which a data key is due for rotation, or NULL for the policy of the tenant.';
COMMENT ON COLUMN chatcrypt.chat.rotate_messages IS
	'The number of messages after which a data key is due for rotation, or NULL for the policy of '
	'the tenant.';
COMMENT ON COLUMN chatcrypt.chat.rotate_on_removal IS
	'Whether the data key is rotated when a participant is removed; NULL for the policy of the '
	'tenant.';
COMMENT ON COLUMN chatcrypt.chat.retention IS
	'How long after created_at a message expires, or NULL for the policy of the tenant. Applies to '
	'messages written from now on.';
COMMENT ON COLUMN chatcrypt.chat.created_at IS 'When the chat was created.';
COMMENT ON COLUMN chatcrypt.chat.updated_at IS 'When the row was last changed.';
COMMENT ON COLUMN chatcrypt.chat.attachment_quota IS
	'How many bytes the stored attachments of the chat may take, or NULL for the policy of the '
	'tenant.';
COMMENT ON COLUMN chatcrypt.chat.reencrypt_after IS
	'How long after a data key was replaced reencrypt_due() moves what it encrypted, or NULL for '
	'the policy of the tenant.';
COMMENT ON COLUMN chatcrypt.chat.moderation IS
	'own: an actor changes and deletes only what it sent, and removes only itself from the chat. '
	'participants: every participant may do so for all.';

CREATE INDEX chat_by_tenant ON chatcrypt.chat (tenant);
CREATE INDEX chat_rotating ON chatcrypt.chat (rotate_after) WHERE rotate_after IS NOT NULL;

-- There is a row for each participant, so that joining a chat of 10,000 costs no more than joining
-- a chat of two.  Names are compared byte by byte, because a name is an id, and its index must stay
-- valid with a new C library.
CREATE TABLE chatcrypt.participant (
	participant text COLLATE "C" NOT NULL CONSTRAINT participant_is_a_name
		CHECK (octet_length(participant) BETWEEN 1 AND 1000),
	chat_id uuid NOT NULL REFERENCES chatcrypt.chat ON DELETE CASCADE,
	added_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT participant_pkey PRIMARY KEY (participant, chat_id)
);
CREATE INDEX participant_by_chat ON chatcrypt.participant (chat_id);
COMMENT ON TABLE chatcrypt.participant IS
	'The participants of each chat, one row each. The view chatcrypt.chats shows the participants '
	'of a chat in one array.';
COMMENT ON COLUMN chatcrypt.participant.participant IS
	'The name of the participant: whatever id the application uses.';
COMMENT ON COLUMN chatcrypt.participant.chat_id IS 'The chat.';
COMMENT ON COLUMN chatcrypt.participant.added_at IS 'When the participant was added.';

CREATE FUNCTION chatcrypt_internal.kms_key_version(kms_key text, encrypted_dek bytea)
	RETURNS bigint LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_kms_key_version';
COMMENT ON FUNCTION chatcrypt_internal.kms_key_version(text, bytea) IS
	'Returns the version of the KMS key that wrapped a data key, or NULL if the wrapped key does '
	'not tell.';

CREATE TABLE chatcrypt.dek (
	dek_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	chat_id uuid NOT NULL REFERENCES chatcrypt.chat ON DELETE CASCADE,
	purpose text COLLATE "C" NOT NULL
		CHECK (purpose = ANY (ARRAY['data', 'search', 'conversation'])),
	dek_version integer NOT NULL CHECK (dek_version > 0),
	state text COLLATE "C" NOT NULL
		CHECK (state = ANY (ARRAY['active', 'decrypt_only', 'destroyed'])),
	kms_key text NOT NULL CHECK (octet_length(kms_key) < 512),
	encrypted_dek bytea CHECK (octet_length(encrypted_dek) BETWEEN 1 AND 1024),
	kcv bytea CHECK (octet_length(kcv) = 32),
	valid_from timestamptz NOT NULL DEFAULT now(),
	valid_to timestamptz CHECK (valid_to >= valid_from),
	created_at timestamptz NOT NULL DEFAULT now(),
	kms_key_version bigint GENERATED ALWAYS AS (chatcrypt_internal.kms_key_version(kms_key, encrypted_dek)) STORED,
	CONSTRAINT dek_by_version UNIQUE (chat_id, purpose, dek_version),
	CONSTRAINT dek_holds_a_key_until_destroyed CHECK
		((state = 'destroyed') = (encrypted_dek IS NULL)
		 AND (state = 'destroyed') = (kcv IS NULL)),
	CONSTRAINT dek_is_valid_until_replaced CHECK
		((state = 'active') = (valid_to IS NULL))
);
COMMENT ON TABLE chatcrypt.dek IS
	'The history of the data keys of each chat, wrapped by the KMS. The row of a destroyed key '
	'stays, so that no version is used twice.';
COMMENT ON COLUMN chatcrypt.dek.dek_id IS 'The id of the row.';
COMMENT ON COLUMN chatcrypt.dek.chat_id IS 'The chat.';
COMMENT ON COLUMN chatcrypt.dek.purpose IS
	'data for messages and attachments, search for tokens, conversation for a key that clients '
	'may hold.';
COMMENT ON COLUMN chatcrypt.dek.dek_version IS
	'The version of the key within its chat and purpose.';
COMMENT ON COLUMN chatcrypt.dek.state IS
	'active: encrypts and decrypts. decrypt_only: was replaced. destroyed: the key is gone.';
COMMENT ON COLUMN chatcrypt.dek.kms_key IS 'The KMS key that wraps it.';
COMMENT ON COLUMN chatcrypt.dek.valid_from IS 'When it became active.';
COMMENT ON COLUMN chatcrypt.dek.valid_to IS 'When it was replaced; NULL while it is active.';
COMMENT ON COLUMN chatcrypt.dek.created_at IS 'When it was made.';
COMMENT ON COLUMN chatcrypt.dek.encrypted_dek IS
	'The key as the KMS wrapped it; NULL once it is destroyed.';
COMMENT ON COLUMN chatcrypt.dek.kms_key_version IS
	'The version of the KMS key that wraps it, or NULL if the wrapped key does not tell or is '
	'destroyed.';
COMMENT ON COLUMN chatcrypt.dek.kcv IS
	'The key check value, which tells this key from any other and tells nothing about it; NULL '
	'once it is destroyed.';

-- The lifetimes of two keys of a chat and purpose never overlap.  Chat, purpose and time are
-- combined into one text that sorts in their order, so that the constraint on ranges of such texts
-- needs no other extension.  Nearly all rows, which are first keys that are still active, are left
-- out: only a key that is in the constraint could overlap one of them.
CREATE TYPE chatcrypt_internal.lifetime AS RANGE (subtype = text, collation = "C");
COMMENT ON TYPE chatcrypt_internal.lifetime IS 'When a key of a chat was the active one.';

CREATE FUNCTION chatcrypt_internal.microseconds(moment timestamptz)
	RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN lpad((extract(epoch FROM moment - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint::text, 20, '0');
COMMENT ON FUNCTION chatcrypt_internal.microseconds(timestamptz) IS
	'A moment as digits that sort as it does.';

CREATE FUNCTION chatcrypt_internal.lifetime_of(chat_id uuid, purpose text, valid_from timestamptz,
									  valid_to timestamptz)
	RETURNS chatcrypt_internal.lifetime LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT chatcrypt_internal.lifetime(key || chatcrypt_internal.microseconds(valid_from), key || coalesce(chatcrypt_internal.microseconds(valid_to), '~'))
	FROM (SELECT chat_id::text || '/' || purpose || '/') AS k (key);
END;
COMMENT ON FUNCTION chatcrypt_internal.lifetime_of(uuid, text, timestamptz, timestamptz) IS
	'The range that an active time of a key fills, among those of all chats.';

ALTER TABLE chatcrypt.dek ADD CONSTRAINT dek_lifetimes_do_not_overlap
	EXCLUDE USING gist (chatcrypt_internal.lifetime_of(chat_id, purpose, valid_from, valid_to) WITH &&)
	WHERE (dek_version > 1 OR valid_to IS NOT NULL);

-- Finds data keys of a KMS key, to check that the KMS key still opens what it wrapped before.
CREATE INDEX dek_by_kms_key ON chatcrypt.dek (kms_key, dek_id) WHERE state <> 'destroyed';

-- Counts the data keys of KMS keys and their versions without reading the rows.
CREATE INDEX dek_by_key_version ON chatcrypt.dek (kms_key, kms_key_version, state, valid_from);

-- Finds the keys that have gone longest without a rotation.
CREATE INDEX dek_by_age ON chatcrypt.dek (valid_from) WHERE state = 'active';

-- Tells whether any key was destroyed, which is asked for rows of protected tables.
CREATE INDEX dek_destroyed ON chatcrypt.dek (chat_id) WHERE state = 'destroyed';

CREATE UNIQUE INDEX dek_active ON chatcrypt.dek (chat_id, purpose) WHERE state = 'active';

CREATE FUNCTION chatcrypt.dek_version(envelope bytea) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_dek_version';
COMMENT ON FUNCTION chatcrypt.dek_version(bytea) IS
	'Returns the version of the data key that an envelope was sealed with, or NULL if the bytes '
	'are no envelope.';

-- Raises an error instead of returning false, because the error of PostgreSQL for a violated
-- constraint shows the row, and bytes that are not an envelope may be plaintext.
CREATE FUNCTION chatcrypt_internal.is_sealed(envelope bytea, dek_version integer) RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'chatcrypt_is_sealed';
COMMENT ON FUNCTION chatcrypt_internal.is_sealed(bytea, integer) IS
	'Checks a stored message. Returns true for an envelope that names the given key version, or '
	'if both are NULL; raises an error that does not show the bytes otherwise.';

CREATE TABLE chatcrypt.sealed_message (
	message_id uuid CONSTRAINT sealed_message_pkey PRIMARY KEY,
	chat_id uuid NOT NULL,
	sender text,
	encrypted_message bytea,
	dek_version integer,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz,
	CONSTRAINT sealed_message_is_encrypted CHECK (chatcrypt_internal.is_sealed(encrypted_message, dek_version)),
	-- created_at is bound into the envelope as microseconds since 1970 in 64 bits.
	CONSTRAINT sealed_message_time_has_a_number CHECK (isfinite(created_at) AND created_at < timestamptz '294247-01-01 00:00:00+00')
);
-- Ciphertext does not compress.
ALTER TABLE chatcrypt.sealed_message ALTER COLUMN encrypted_message SET STORAGE EXTERNAL;
CREATE INDEX sealed_message_by_chat ON chatcrypt.sealed_message (chat_id, created_at);
COMMENT ON TABLE chatcrypt.sealed_message IS
	'Messages as they are stored: encrypted. Read and write them through the view '
	'chatcrypt.messages.';
COMMENT ON COLUMN chatcrypt.sealed_message.message_id IS
	'The id of the message, unique in the database.';
COMMENT ON COLUMN chatcrypt.sealed_message.chat_id IS 'The chat of the message.';
COMMENT ON COLUMN chatcrypt.sealed_message.sender IS 'The participant who sent it, or NULL.';
COMMENT ON COLUMN chatcrypt.sealed_message.encrypted_message IS 'The envelope; NULL for a NULL body.';
COMMENT ON COLUMN chatcrypt.sealed_message.dek_version IS
	'The version of the data key that the envelope names.';
COMMENT ON COLUMN chatcrypt.sealed_message.created_at IS 'When it was sent, as the envelope binds it.';
COMMENT ON COLUMN chatcrypt.sealed_message.expires_at IS
	'When apply_retention() deletes it; NULL for never.';

-- The columns that an envelope is bound to do not change without a new envelope, whoever changes
-- them: src/pg/messages/binding.c.  This is an AFTER trigger, because BEFORE triggers may still
-- change the row.  The columns are compared byte by byte, and a row in which they stay the same
-- costs no call.
CREATE FUNCTION chatcrypt_internal.require_new_envelope() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_require_new_envelope';
COMMENT ON FUNCTION chatcrypt_internal.require_new_envelope() IS
	'Trigger: refuses another id, chat, sender or time of a message without a new envelope that '
	'opens with it.';

CREATE TRIGGER require_new_envelope AFTER UPDATE ON chatcrypt.sealed_message
	FOR EACH ROW
	WHEN (((old.message_id, old.chat_id, old.sender COLLATE "C", old.created_at)
		   IS DISTINCT FROM (new.message_id, new.chat_id, new.sender COLLATE "C", new.created_at))
		  AND new.encrypted_message IS NOT NULL)
	EXECUTE FUNCTION chatcrypt_internal.require_new_envelope();
ALTER TABLE chatcrypt.sealed_message ENABLE ALWAYS TRIGGER require_new_envelope;

SELECT pg_extension_config_dump('chatcrypt.deployment', '');
SELECT pg_extension_config_dump('chatcrypt.tenant', '');
SELECT pg_extension_config_dump('chatcrypt.chat', '');
SELECT pg_extension_config_dump('chatcrypt.participant', '');
SELECT pg_extension_config_dump('chatcrypt.dek', '');
SELECT pg_extension_config_dump('chatcrypt.dek_dek_id_seq', '');
SELECT pg_extension_config_dump('chatcrypt.sealed_message', '');

-- Sessions forget what they remember of these rows when they change: see src/pg/store/invalidate.c.
CREATE FUNCTION chatcrypt_internal.invalidate() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'chatcrypt_invalidate';
COMMENT ON FUNCTION chatcrypt_internal.invalidate() IS
	'Trigger: has every session forget what it remembers of the table.';

CREATE TRIGGER invalidate BEFORE UPDATE OR DELETE ON chatcrypt.dek
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.dek
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate BEFORE UPDATE OR DELETE ON chatcrypt.chat
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.chat
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate BEFORE INSERT OR UPDATE OR DELETE ON chatcrypt.participant
	FOR EACH ROW EXECUTE FUNCTION chatcrypt_internal.invalidate();
CREATE TRIGGER invalidate_all AFTER TRUNCATE ON chatcrypt.participant
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.invalidate();
ALTER TABLE chatcrypt.dek ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.dek ENABLE ALWAYS TRIGGER invalidate_all;
ALTER TABLE chatcrypt.chat ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.chat ENABLE ALWAYS TRIGGER invalidate_all;
ALTER TABLE chatcrypt.participant ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE chatcrypt.participant ENABLE ALWAYS TRIGGER invalidate_all;
