-- A restore that left chatcrypt.deployment out: no other id takes its place.
\set VERBOSITY terse
SELECT chatcrypt.create_chat(26001);
BEGIN;
DELETE FROM chatcrypt.deployment;
SAVEPOINT s;
SELECT chatcrypt.create_chat(26002);
ROLLBACK TO s;
SELECT count(*) FROM chatcrypt.deployment;
-- Without a key there is nothing that it could be missed for.
DELETE FROM chatcrypt.chat;
SELECT chatcrypt.create_chat(26003);
SELECT count(*) FROM chatcrypt.deployment;
ROLLBACK;
