// Calls of chatcrypt with the parameters of two drivers as they send them: pg leaves their types to
// the server, postgres asks the server for them.  For test/t/805_drivers.pl.
//
//   node drivers.js FOLDER PORT     of the server's socket; prints a line for each call
'use strict';
const pg = require('pg');
const postgres = require('postgres');

const [folder, port] = process.argv.slice(2);
const uuid = 'dddddddd-0000-0000-0000-000000000805';

// Each as a query and its parameters.
const calls = {
	'makes chats': ['SELECT chatcrypt.create_chats($1, $2) AS value', [[805, uuid], ['alice']]],
	'encrypts by numbers': ['SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3)) AS value', [805, 1, 'text']],
	'encrypts by numbers in strings': ['SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3)) AS value', ['805', '1', 'text']],
	'encrypts by uuids': ['SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3)) AS value', [uuid, uuid, 'text']],
	'encrypts by a uuid and a number': ['SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3)) AS value', [uuid, 1, 'text']],
	'binds additional data': ['SELECT chatcrypt.decrypt($1, $2, chatcrypt.encrypt($1, $2, $3, $4), $4) AS value', [805, 1, 'text', Buffer.from('aad')]],
	'encrypts bytes': ["SELECT encode(chatcrypt.decrypt_bytea($1, $2, chatcrypt.encrypt($1, $2, $3::bytea)), 'hex') AS value", [805, 1, Buffer.from('00ff', 'hex')]],
	'puts a message': ['SELECT chatcrypt.put_message($1, $2, $3, $4) AS value', [805, 1, 'body', 'alice']],
	'puts a message by name': ['SELECT chatcrypt.put_message(body => $3, message_id => $2, chat_id => $1) AS value', [805, 2, 'body']],
	'reads a page': ['SELECT count(*)::integer AS value FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($1)', [805]],
	'reads a wire message': ["SELECT chatcrypt.wire_message($1, $2)->>'content' AS value", [805, 1]],
	'asks what may be seen': ['SELECT chatcrypt.may_see($1) AS value', [805]],
	'adds a participant': ['SELECT chatcrypt.add_participant($1, $2) AS value', [805, 'bob']],
	'stores a file': ['SELECT chatcrypt.number_of(chatcrypt.put_attachment($1, $2, $3)) AS value', [805, 3, Buffer.from('file')]],
	'reads a file': ["SELECT convert_from(chatcrypt.read_attachment($1), 'UTF8') AS value", [3]],
	'refuses what is no id': ['SELECT chatcrypt.encrypt($1, $2, $3) AS value', ['no id', 1, 'text']]
};

async function run(name, query) {
	for (const [what, [text, values]] of Object.entries(calls)) {
		const answer = await query(text, values).then(rows => String(rows[0].value), error => `${error.code} ${error.message}`);
		console.log(`${name} ${what}: ${answer}`);
	}
}

async function main() {
	const client = new pg.Client({ host: folder, port: Number(port), user: 'service', database: 'postgres' });
	await client.connect();
	await run('pg', async (text, values) => (await client.query(text, values)).rows);
	await client.end();

	const sql = postgres({ path: `${folder}/.s.PGSQL.${port}`, user: 'service', database: 'other', max: 1 });
	await run('postgres', (text, values) => sql.unsafe(text, values));
	await sql.end();
}

main().catch(error => { console.error(error); process.exitCode = 1; });
