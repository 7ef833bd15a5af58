-- How a chat is searched.
\set VERBOSITY terse
\set home :DBNAME
CREATE DATABASE regression_search;
\c regression_search
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION chatcrypt;
SELECT chatcrypt.create_chat(7000, mode => 'e2ee') IS NOT NULL AS made,
	   chatcrypt.create_chat(7001) IS NOT NULL AS made;

-- What is refused.
SELECT chatcrypt.set_search(7099, 'blind');
SELECT chatcrypt.set_search(7000, 'blind');
SELECT chatcrypt.set_search(7000, 'plain');
SELECT chatcrypt.set_search(7001, 'loud');
SELECT chatcrypt.set_search(7001, NULL);
SELECT chatcrypt.set_search(7001, 'blind', bits => 7);
SELECT chatcrypt.set_search(7001, 'blind', prefixes => 17);
SELECT chatcrypt.set_search(7001, 'blind', config => 0);
SELECT chatcrypt.set_search(7001, 'plain', feed => false);
SET ROLE chatcrypt_reader;
SELECT chatcrypt.set_search(7001, 'blind');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.set_search(bigint, text, regconfig, integer, boolean, integer, boolean) TO chatcrypt_reader;
SET ROLE chatcrypt_reader;
SELECT chatcrypt.set_search(7001, 'blind');
SELECT FROM chatcrypt.search_policy;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION chatcrypt.set_search(bigint, text, regconfig, integer, boolean, integer, boolean) FROM chatcrypt_reader;
SELECT count(*) FROM chatcrypt.search_policy;

-- A chat that was there may have messages already; one of this very transaction has none.
SELECT chatcrypt.set_search(7001, 'blind') AS complete;
BEGIN;
SELECT chatcrypt.create_chat(7002) IS NOT NULL AS made;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40) AS complete;
COMMIT;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40) AS still_complete;
SELECT chatcrypt.set_search(7002, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40, feed => true) AS complete;
SELECT chatcrypt.set_search(7002, 'plain') AS complete;
SELECT chat_id = chatcrypt.id(7001) AS first, mode, config, prefixes, trigrams, bits, feed, complete
FROM chatcrypt.search_policy ORDER BY chat_id;
SELECT purpose, dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.id(7001) ORDER BY purpose;
SELECT detail FROM chatcrypt.key_event WHERE event = 'policy' AND chat_id = chatcrypt.id(7002) ORDER BY event_id;

-- Generations are used once, whatever comes between.
SELECT generation AS before FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.id(7001) \gset
SELECT chatcrypt.set_search(7001, 'off'), chatcrypt.set_search(7002, 'off');
SELECT chatcrypt.set_search(7001, 'blind') AS complete;
SELECT generation > :before AS is_another FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.id(7001);
SELECT chatcrypt.set_search(7001, 'off');
SELECT count(*) FROM chatcrypt.search_policy;

\c :home
DROP DATABASE regression_search;
