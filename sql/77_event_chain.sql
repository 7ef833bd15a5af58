-- Sealing the history of keys, so that a removed, altered or inserted event is detected.  The
-- maintenance worker seals events some time after they are written, so that no writer of events
-- waits for another.

CREATE TABLE chatcrypt.event_chain (
	singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	kms_key text NOT NULL CHECK (octet_length(kms_key) < 512),
	encrypted_key bytea NOT NULL CHECK (octet_length(encrypted_key) BETWEEN 1 AND 1024),
	kcv bytea NOT NULL CHECK (octet_length(kcv) = 32),
	sealed int8multirange NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chatcrypt.event_chain IS
	'The key that seals the history of keys, wrapped by the KMS, and which events are sealed. The '
	'row is made with the first seal.';
COMMENT ON COLUMN chatcrypt.event_chain.singleton IS 'Always true: there is one row.';
COMMENT ON COLUMN chatcrypt.event_chain.kms_key IS
	'The KMS key that wraps the key of the chain.';
COMMENT ON COLUMN chatcrypt.event_chain.encrypted_key IS 'The key as the KMS wrapped it.';
COMMENT ON COLUMN chatcrypt.event_chain.kcv IS 'Its key check value.';
COMMENT ON COLUMN chatcrypt.event_chain.created_at IS 'When the key was made.';
COMMENT ON COLUMN chatcrypt.event_chain.sealed IS
	'The ids of the events that a seal covers: a summary for speed, which verification does not '
	'rely on.';

CREATE TABLE chatcrypt.event_seal (
	seal_id bigint PRIMARY KEY CHECK (seal_id > 0),
	event_ids int8multirange NOT NULL,
	event_digests bytea NOT NULL,
	horizon xid8,
	system_id bigint NOT NULL,
	previous_mac bytea,
	mac bytea NOT NULL,
	sealed_at timestamptz NOT NULL
);
ALTER TABLE chatcrypt.event_seal ALTER COLUMN event_digests SET STORAGE EXTERNAL;
COMMENT ON TABLE chatcrypt.event_seal IS
	'The seals of the history of keys, each of which includes the one before. Rows are added and '
	'never changed.';
COMMENT ON COLUMN chatcrypt.event_seal.seal_id IS 'The number of the seal.';
COMMENT ON COLUMN chatcrypt.event_seal.event_ids IS 'The ids of the events that it covers.';
COMMENT ON COLUMN chatcrypt.event_seal.previous_mac IS 'The mac of the seal before.';
COMMENT ON COLUMN chatcrypt.event_seal.sealed_at IS 'When it was sealed.';
COMMENT ON COLUMN chatcrypt.event_seal.event_digests IS
	'The SHA-256 of each event, 32 bytes each, in the order of their ids.';
COMMENT ON COLUMN chatcrypt.event_seal.horizon IS
	'All that transactions before this one did is sealed; NULL if more was left to seal.';
COMMENT ON COLUMN chatcrypt.event_seal.system_id IS
	'The cluster in which it was sealed, within which transactions can be compared.';
COMMENT ON COLUMN chatcrypt.event_seal.mac IS
	'HMAC-SHA256 of all the other columns under the key of the chain. Keep the last one '
	'elsewhere, so that a missing end can be noticed.';

SELECT pg_extension_config_dump('chatcrypt.event_chain', '');
SELECT pg_extension_config_dump('chatcrypt.event_seal', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON chatcrypt.event_seal
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt_internal.refuse_change();

CREATE FUNCTION chatcrypt.seal_events(max_events bigint DEFAULT 10000)
	RETURNS bigint LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_seal_events';
COMMENT ON FUNCTION chatcrypt.seal_events(bigint) IS
	'Seals the events in the history of keys that no seal covers yet, and returns how many. It '
	'sends a notification on the channel chatcrypt_key_event.';

CREATE FUNCTION chatcrypt.verify_events(known_mac bytea DEFAULT NULL,
	OUT problem text, OUT event_id bigint, OUT seal_id bigint, OUT detail text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'chatcrypt_verify_events';
COMMENT ON FUNCTION chatcrypt.verify_events(bytea) IS
	'Checks the history of keys against its seals, and returns a row for each event that was '
	'removed, altered or inserted. With known_mac, the mac of a seal that was kept elsewhere, it '
	'also finds out whether the end of the history was cut off.';

CREATE FUNCTION chatcrypt.move_event_key()
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_move_event_key';
COMMENT ON FUNCTION chatcrypt.move_event_key() IS
	'Wraps the key of the event chain with the newest version of chatcrypt.default_kms_key. '
	'Returns false if there is no such key yet.';

CREATE FUNCTION chatcrypt.reapply_shreds(events chatcrypt.key_event[], confirm text DEFAULT NULL,
	seals chatcrypt.event_seal[] DEFAULT NULL,
	OUT event_id bigint, OUT chat_id uuid, OUT happened_at timestamptz, OUT deleted boolean,
	OUT outcome text, OUT keys integer)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'chatcrypt_reapply_shreds';
COMMENT ON FUNCTION chatcrypt.reapply_shreds(chatcrypt.key_event[], text, chatcrypt.event_seal[]) IS
	'After a recovery to an earlier moment, shreds again the chats that a copy of the history of '
	'keys says were shredded since; confirm must be irreversible. With seals, only events that '
	'one of them covers count; each row says what became of one event.';
