-- How new chats of a tenant are searched.
\set VERBOSITY terse
\set home :DBNAME
CREATE DATABASE regression_tenant_search;
\c regression_tenant_search
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;

-- The tenant "default" can have a search policy even before there is any chat.
SELECT chatcrypt.set_tenant_search('default', 'blind', prefixes => 4);
SELECT chatcrypt.create_tenant('acme'), chatcrypt.create_tenant('plain'), chatcrypt.create_tenant('none');
SELECT chatcrypt.create_chat(1, tenant => 'acme') IS NOT NULL AS made_before;
SELECT chatcrypt.set_tenant_search('acme', 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40);
SELECT chatcrypt.set_tenant_search('plain', 'plain');
SELECT tenant, search_mode, search_config, search_prefixes, search_trigrams, search_bits, search_feed FROM chatcrypt.tenant ORDER BY tenant COLLATE "C";
SELECT tenant, detail FROM chatcrypt.key_event WHERE event = 'policy' AND tenant IS NOT NULL ORDER BY event_id;

-- set_tenant_search() refuses bad arguments, and callers without the right.
SELECT chatcrypt.set_tenant_search('nobody', 'blind');
SELECT chatcrypt.set_tenant_search(NULL, 'blind');
SELECT chatcrypt.set_tenant_search('acme', NULL);
SELECT chatcrypt.set_tenant_search('acme', 'loud');
SELECT chatcrypt.set_tenant_search('acme', 'blind', bits => 65);
SELECT chatcrypt.set_tenant_search('acme', 'blind', prefixes => 17);
SELECT chatcrypt.set_tenant_search('acme', 'blind', config => 0);
SELECT chatcrypt.set_tenant_search('acme', 'plain', feed => false);
CREATE TEXT SEARCH CONFIGURATION pg_temp.mine (COPY = simple);
SELECT chatcrypt.set_tenant_search('acme', 'blind', config => 'pg_temp.mine');
SET ROLE chatcrypt_writer;
SELECT chatcrypt.set_tenant_search('acme', 'off');
RESET ROLE;
GRANT EXECUTE ON FUNCTION chatcrypt.set_tenant_search(text, text, regconfig, integer, boolean, integer, boolean) TO chatcrypt_writer;
SET ROLE chatcrypt_writer;
SELECT chatcrypt.set_tenant_search('acme', 'off');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION chatcrypt.set_tenant_search(text, text, regconfig, integer, boolean, integer, boolean) FROM chatcrypt_writer;
SET ROLE chatcrypt_admin;
UPDATE chatcrypt.tenant SET search_bits = 8 WHERE tenant = 'acme';
RESET ROLE;
UPDATE chatcrypt.tenant SET search_bits = NULL WHERE tenant = 'acme';
UPDATE chatcrypt.tenant SET search_feed = false WHERE tenant = 'plain';
SELECT count(*) AS unchanged FROM chatcrypt.tenant WHERE tenant = 'acme' AND search_bits = 40;

-- A writer's new chat can be searched from its first message on, in the same transaction too.
SET ROLE chatcrypt_writer;
BEGIN;
SELECT chatcrypt.create_chat(2, '{alice}', tenant => 'acme') IS NOT NULL AS made;
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(21), chatcrypt.to_uuid(2), 'alice', 'We meet at the lighthouse');
RESET ROLE;
SELECT body FROM chatcrypt.search(2, 'meeting');
COMMIT;
SET ROLE chatcrypt_reader;
SELECT body FROM chatcrypt.search(2, 'meetings lightho* *ghth*');
RESET ROLE;
SELECT chatcrypt.create_chats('{3, 4}'::bigint[], tenant => 'acme'), chatcrypt.create_chats('{4, 5}'::bigint[], tenant => 'acme', if_not_exists => true);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(n), 'A message to ' || n FROM generate_series(3, 5) AS n;
SELECT body FROM chatcrypt.search('{2, 3, 4, 5}'::bigint[], 'message') ORDER BY body;
SELECT chatcrypt.number_of(chat_id) AS chat, mode, config, prefixes, trigrams, bits, feed, complete FROM chatcrypt.search_policy ORDER BY 1;
SELECT chatcrypt.number_of(chat_id) AS chat, purpose, dek_version, state FROM chatcrypt.dek WHERE chat_id IN (chatcrypt.to_uuid(1), chatcrypt.to_uuid(2), chatcrypt.to_uuid(5)) ORDER BY 1, 2;
SELECT event, purpose, dek_version, detail FROM chatcrypt.key_event WHERE chat_id = chatcrypt.to_uuid(4) ORDER BY event_id;
SELECT chatcrypt.set_search(2, 'blind', config => 'english', prefixes => 3, trigrams => true, bits => 40) AS no_change;
SELECT count(*) FROM chatcrypt.verify_keys();

-- Older chats, chats of other tenants, and chats that the clients encrypt get no search.
SELECT chatcrypt.create_chat(6, tenant => 'none') IS NOT NULL AS made, chatcrypt.create_chat(7, tenant => 'acme', mode => 'e2ee') IS NOT NULL AS made,
	   chatcrypt.create_chat(8, tenant => 'acme', mode => 'conversation_key') IS NOT NULL AS made, chatcrypt.create_chat(9) IS NOT NULL AS made;
SELECT chatcrypt.number_of(chat_id) AS chat, prefixes FROM chatcrypt.search_policy WHERE chat_id NOT IN (SELECT chatcrypt.to_uuid(n) FROM generate_series(2, 5) AS n) ORDER BY 1;
SELECT * FROM chatcrypt.search(1, 'message');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(8), 'For those who hold the key');
SELECT body FROM chatcrypt.search(8, 'hold');

-- New chats are fed if the policy of their tenant says so.
SELECT chatcrypt.create_chats('{11, 12}'::bigint[], tenant => 'plain');
SELECT chatcrypt.number_of(chat_id) AS chat, mode, feed, complete FROM chatcrypt.search_policy JOIN chatcrypt.search_feed_chat USING (chat_id) ORDER BY 1;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(111), chatcrypt.to_uuid(11), 'To the index');
SELECT chatcrypt.number_of(chat_id) AS chat, chatcrypt.number_of(message_id) AS message FROM chatcrypt.search_feed ORDER BY 1, 2;
GRANT chatcrypt_feeder TO CURRENT_USER;
SELECT chatcrypt.drain_search_feed(10, '1 minute') LIKE '%"text":"To the index"%' AS fed;
SELECT count(*) AS search_keys FROM chatcrypt.dek WHERE purpose = 'search' AND chat_id IN (chatcrypt.to_uuid(11), chatcrypt.to_uuid(12));

-- A message that was stored in the table before its chat was created has no tokens, and search() does not ignore that.
INSERT INTO chatcrypt.sealed_message (message_id, chat_id, encrypted_message, dek_version)
SELECT chatcrypt.to_uuid(131), chatcrypt.to_uuid(13), chatcrypt.encrypt(2, 131, 'of another chat'), 1;
SELECT chatcrypt.create_chat(13, tenant => 'acme') IS NOT NULL AS made;
SELECT * FROM chatcrypt.search(13, 'another');
DELETE FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(13);

-- No chat is created if the configuration does not exist any more.
CREATE SCHEMA own;
CREATE TEXT SEARCH CONFIGURATION own."of chats" (COPY = simple);
SELECT chatcrypt.set_tenant_search('acme', 'blind', config => 'own."of chats"');
DROP TEXT SEARCH CONFIGURATION own."of chats";
\set VERBOSITY default
SELECT chatcrypt.create_chat(14, tenant => 'acme');
\set VERBOSITY terse
SELECT chatcrypt.create_chats('{14, 15}'::bigint[], tenant => 'acme');
SELECT chatcrypt.create_chats('{4, 5}'::bigint[], tenant => 'acme', if_not_exists => true) AS nothing_to_make;
SELECT count(*) AS made FROM chatcrypt.chat WHERE chat_id IN (chatcrypt.to_uuid(14), chatcrypt.to_uuid(15));
SELECT chatcrypt.create_chat(14, tenant => 'acme', mode => 'e2ee') IS NOT NULL AS made_without_search;

-- Search is turned off again for new chats.
SELECT chatcrypt.set_tenant_search('acme', 'off');
SELECT chatcrypt.create_chat(16, tenant => 'acme') IS NOT NULL AS made;
SELECT num_nulls(search_mode, search_config, search_prefixes, search_trigrams, search_bits, search_feed) AS nulls FROM chatcrypt.tenant WHERE tenant = 'acme';
SELECT count(*) FILTER (WHERE chat_id = chatcrypt.to_uuid(16)) AS of_the_new, count(*) FILTER (WHERE chat_id = chatcrypt.to_uuid(2)) AS of_the_old FROM chatcrypt.search_policy;
BEGIN;
SAVEPOINT one;
SELECT chatcrypt.create_chat(17) IS NOT NULL AS made;
ROLLBACK TO one;
SELECT chatcrypt.create_chat(17, tenant => 'none') IS NOT NULL AS made;
COMMIT;
SELECT count(*) AS policies FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(17);
SELECT chatcrypt.shred_chat(9, 'irreversible');
SELECT count(*) AS policies FROM chatcrypt.search_policy WHERE chat_id = chatcrypt.to_uuid(9);

\c :home
SET client_min_messages = warning;
DROP DATABASE regression_tenant_search;
