-- The history of keys, sealed: a removed, altered or inserted event is reported.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
CREATE ROLE auditor; GRANT chatcrypt_auditor TO auditor;
CREATE ROLE operator; GRANT chatcrypt_admin TO operator;
SELECT chatcrypt.create_chat(17000), chatcrypt.create_chat(17001);

SET ROLE operator;
SELECT chatcrypt.seal_events(100000) > 0 AS sealed;
SELECT chatcrypt.seal_events();
SELECT chatcrypt.rotate_chat(17000), chatcrypt.rotate_chat(17000);
BEGIN;
SELECT chatcrypt.rotate_chat(17001);
ROLLBACK;
SELECT chatcrypt.rotate_chat(17000);
SELECT chatcrypt.seal_events(2);
SELECT chatcrypt.seal_events();
SELECT chatcrypt.seal_events(0);
SELECT chatcrypt.seal_events(100001);
SELECT * FROM chatcrypt.verify_events();
SELECT encrypted_key FROM chatcrypt.event_chain;
RESET ROLE;

SET ROLE auditor;
SELECT * FROM chatcrypt.verify_events();
SELECT array_agg(octet_length(event_digests) / 32 ORDER BY seal_id) AS events, array_agg(horizon IS NULL ORDER BY seal_id) AS more,
	   bool_and(octet_length(mac) = 32) AS macs
FROM chatcrypt.event_seal WHERE seal_id > 1;
SELECT chatcrypt.seal_events();
SELECT encrypted_key FROM chatcrypt.event_chain;
DELETE FROM chatcrypt.event_seal;
RESET ROLE;
UPDATE chatcrypt.event_seal SET sealed_at = now();
DELETE FROM chatcrypt.event_seal;
TRUNCATE chatcrypt.event_seal;

-- Settings of the session do not affect the seals.
BEGIN;
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL bytea_output = 'escape';
SELECT * FROM chatcrypt.verify_events();
ROLLBACK;

-- A role that gets around the triggers.  The ids of events and seals here are counted from the
-- first of this file.
SELECT min(event_id) - 1 AS e FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(17000) AND event = 'rotate' \gset
SELECT max(seal_id) - 3 AS s FROM chatcrypt.event_seal \gset
PREPARE verify AS SELECT problem, event_id - :e AS event, seal_id - :s AS seal, regexp_replace(detail, '\d+', 'N', 'g') AS detail
FROM chatcrypt.verify_events();
PREPARE verify_known(bytea) AS SELECT problem, event_id - :e AS event, seal_id - :s AS seal, detail FROM chatcrypt.verify_events($1);
SET session_replication_role = replica;

BEGIN;
UPDATE chatcrypt.key_event SET session_role = 'somebody else' WHERE event_id = :e + 1;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.key_event SET actor = '' WHERE event_id = :e + 1;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.key_event SET happened_at = happened_at - interval '1 microsecond' WHERE event_id = :e + 2;
EXECUTE verify;
ROLLBACK;
BEGIN;
DELETE FROM chatcrypt.key_event WHERE event_id = :e + 2;
EXECUTE verify;
ROLLBACK;
BEGIN;
DELETE FROM chatcrypt.key_event WHERE event_id = :e + 2;
UPDATE chatcrypt.key_event SET event_id = :e + 2 WHERE event_id = :e + 4;
EXECUTE verify;
ROLLBACK;

-- Back-dated events: before sealing, and after it.  An event that was rolled back has left a gap.
BEGIN;
INSERT INTO chatcrypt.key_event (event_id, event, transaction_id) SELECT :e + 3, 'shred', transaction_id
FROM chatcrypt.key_event WHERE event_id = :e + 2;
EXECUTE verify;
SELECT chatcrypt.seal_events();
EXECUTE verify;
ROLLBACK;

-- A new event is no problem.
BEGIN;
SELECT chatcrypt.rotate_chat(17001);
EXECUTE verify;
SELECT chatcrypt.seal_events();
EXECUTE verify;
ROLLBACK;

-- Seals that were altered, removed, or cut off at the end.
BEGIN;
UPDATE chatcrypt.event_seal SET event_digests = set_byte(event_digests, 5, 255 - get_byte(event_digests, 5)) WHERE seal_id = :s + 2;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.event_seal SET event_ids = '[1,9223372036854775800)'::int8range::int8multirange WHERE seal_id = :s + 2;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.event_seal SET mac = '\x00' WHERE seal_id = :s + 2;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.event_seal SET horizon = '5' WHERE seal_id = :s + 3;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.event_seal SET sealed_at = sealed_at - interval '1 day' WHERE seal_id = :s + 3;
EXECUTE verify;
ROLLBACK;
BEGIN;
DELETE FROM chatcrypt.event_seal WHERE seal_id = :s + 2;
EXECUTE verify;
ROLLBACK;
SELECT mac FROM chatcrypt.event_seal WHERE seal_id = :s + 3 \gset
EXECUTE verify_known(:'mac');
BEGIN;
DELETE FROM chatcrypt.event_seal WHERE seal_id = :s + 3;
EXECUTE verify;
UPDATE chatcrypt.event_chain SET sealed = (SELECT range_agg(r) FROM chatcrypt.event_seal, unnest(event_ids) AS r);
EXECUTE verify;
EXECUTE verify_known(:'mac');
SELECT chatcrypt.seal_events();
EXECUTE verify_known(:'mac');
ROLLBACK;
BEGIN;
DELETE FROM chatcrypt.event_chain;
EXECUTE verify;
ROLLBACK;
BEGIN;
UPDATE chatcrypt.event_chain SET kcv = set_byte(kcv, 0, 255 - get_byte(kcv, 0));
EXECUTE verify;
ROLLBACK;
RESET session_replication_role;
EXECUTE verify;

-- The key of the chain moves, and stays the same.
SET ROLE operator;
SELECT chatcrypt.move_event_key();
RESET ROLE;
SELECT event, purpose, detail FROM chatcrypt.key_event WHERE event = 'move' AND purpose = 'events' ORDER BY event_id DESC LIMIT 1;
EXECUTE verify;
DROP OWNED BY auditor, operator;
DROP ROLE auditor, operator;
