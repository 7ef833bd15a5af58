-- A restore that left out chatcrypt.deployment: no other id takes its place.
\set VERBOSITY terse
SELECT chatcrypt.create_chat(26001);
BEGIN;
DELETE FROM chatcrypt.deployment;
SAVEPOINT s;
SELECT chatcrypt.create_chat(26002);
ROLLBACK TO s;
SELECT count(*) FROM chatcrypt.deployment;
-- Without any key a new id is made, since nothing depends on the old one.
DELETE FROM chatcrypt.chat;
SELECT chatcrypt.create_chat(26003);
SELECT count(*) FROM chatcrypt.deployment;
ROLLBACK;
