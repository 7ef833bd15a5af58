-- The history of keys, sealed: a removed, altered or inserted event shows.  Sealing comes
-- after the fact, by the maintenance worker, so that no writer of events waits for another.

CREATE TABLE chatcrypt.event_chain (
	singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	kms_key text NOT NULL CHECK (octet_length(kms_key) < 512),
	encrypted_key bytea NOT NULL CHECK (octet_length(encrypted_key) BETWEEN 1 AND 1024),
	kcv bytea NOT NULL CHECK (octet_length(kcv) = 32),
	sealed int8multirange NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chatcrypt.event_chain IS
	'The key that seals the history of keys, wrapped by the KMS, and which events are sealed. Made '
	'with the first seal.';
COMMENT ON COLUMN chatcrypt.event_chain.sealed IS
	'Ids of the events that are in a seal: a summary, for speed. What is believed are the seals.';

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
	'The chain that seals chatcrypt.key_event. Rows are added and never changed.';
COMMENT ON COLUMN chatcrypt.event_seal.event_digests IS
	'SHA-256 of each event, 32 bytes each, in the order of their ids.';
COMMENT ON COLUMN chatcrypt.event_seal.horizon IS
	'Transactions before it had ended, and all that they did is sealed; NULL where more was left '
	'to seal.';
COMMENT ON COLUMN chatcrypt.event_seal.system_id IS
	'The cluster that sealed: transactions are compared within one.';
COMMENT ON COLUMN chatcrypt.event_seal.mac IS
	'HMAC-SHA256 of all the rest under the key of the chain. Keep the last one elsewhere, to see '
	'whether the end was cut off.';

SELECT pg_extension_config_dump('chatcrypt.event_chain', '');
SELECT pg_extension_config_dump('chatcrypt.event_seal', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON chatcrypt.event_seal
	FOR EACH STATEMENT EXECUTE FUNCTION chatcrypt.refuse_change();

CREATE FUNCTION chatcrypt.seal_events("limit" bigint DEFAULT 10000)
	RETURNS bigint LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_seal_events';
COMMENT ON FUNCTION chatcrypt.seal_events(bigint) IS
	'Seals what is not sealed of the history of keys; says how many events. Notifies '
	'chatcrypt_key_event.';

CREATE FUNCTION chatcrypt.verify_events(known_mac bytea DEFAULT NULL,
	OUT problem text, OUT event_id bigint, OUT seal_id bigint, OUT detail text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'chatcrypt_verify_events';
COMMENT ON FUNCTION chatcrypt.verify_events(bytea) IS
	'What was removed from, altered in or inserted into the history of keys; no row where all is '
	'well.';

CREATE FUNCTION chatcrypt.move_event_key()
	RETURNS boolean LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_move_event_key';
COMMENT ON FUNCTION chatcrypt.move_event_key() IS
	'Has the KMS key that chatcrypt.default_kms_key names, in its newest version, wrap the key of '
	'the event chain; false where there is none.';

CREATE FUNCTION chatcrypt.reapply_shreds(events chatcrypt.key_event[], confirm text DEFAULT NULL,
	seals chatcrypt.event_seal[] DEFAULT NULL,
	OUT event_id bigint, OUT chat_id uuid, OUT happened_at timestamptz, OUT deleted boolean,
	OUT outcome text, OUT keys integer)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'chatcrypt_reapply_shreds';
COMMENT ON FUNCTION chatcrypt.reapply_shreds(chatcrypt.key_event[], text, chatcrypt.event_seal[]) IS
	'After a recovery to an earlier moment: shreds the chats again that a copy of the history of '
	'keys says were shredded since. Each event once; with seals, those alone that one of them has. '
	'What became of each, how many keys were destroyed, and whether the chat had been deleted.';
