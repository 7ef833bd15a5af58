// An application with Drizzle on the view chatcrypt.messages, over node-postgres.  The
// variables of the environment are described in django_app.py.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';
import { runAll, situation } from './tap.mjs';

// NODE_PATH is for require() alone.
const require = createRequire(import.meta.url);
const pg = require('pg');
const { drizzle } = require('drizzle-orm/node-postgres');
const { pgSchema, text, timestamp, uuid } = require('drizzle-orm/pg-core');
const { and, count, desc, eq, inArray, like, lt, or, sql } = require('drizzle-orm');

const chat = process.env.CHAT;
const otherChat = process.env.OTHER_CHAT;

const messages = pgSchema('chatcrypt').table('messages', {
	messageId: uuid('message_id').primaryKey().$defaultFn(() => randomUUID()),
	chatId: uuid('chat_id').notNull(),
	sender: text('sender'),
	body: text('body'),
	createdAt: timestamp('created_at', { withTimezone: true, mode: 'string' }).defaultNow(),
	expiresAt: timestamp('expires_at', { withTimezone: true }),
});

const pool = new pg.Pool({ max: 3 });
const db = drizzle(pool);

const actingAs = (actor, run) => db.transaction(async (tx) => {
	await tx.execute(sql`SELECT chatcrypt.act_as(${actor})`);
	return run(tx);
});
const alice = (run) => actingAs('alice', run);
const row = (body, fields = {}) => ({ messageId: randomUUID(), chatId: chat, sender: 'alice', body, ...fields });
const byId = (tx, id) => tx.select().from(messages).where(eq(messages.messageId, id));

// The messages of an error, from Drizzle and from the server.
const said = (error) => [error.message, error.hint, error.cause?.message, error.cause?.hint].join('\n');

situation('Drizzle creates a message and reads it back', async () => {
	const [made] = await alice((tx) => tx.insert(messages).values(row('hello')).returning({ id: messages.messageId }));
	const [found] = await alice((tx) => byId(tx, made.id));
	assert.equal(found.body, 'hello');
});

situation('Drizzle creates many messages at once', async () => {
	const rows = Array.from({ length: 120 }, (_, n) => row(`bulk ${n}`));
	await alice((tx) => tx.insert(messages).values(rows));
	const found = await alice((tx) => tx.select({ body: messages.body }).from(messages)
		.where(and(eq(messages.chatId, chat), like(messages.body, 'bulk %'))));
	assert.deepEqual(new Set(found.map((m) => m.body)), new Set(rows.map((m) => m.body)));
});

situation('Drizzle gets a message, or creates the one that is missing', async () => {
	const messageId = randomUUID();
	for (const body of ['once', 'twice']) {
		await alice(async (tx) => {
			if ((await byId(tx, messageId)).length === 0) await tx.insert(messages).values(row(body, { messageId }));
		});
	}
	assert.equal((await alice((tx) => byId(tx, messageId)))[0].body, 'once');
});

situation('Drizzle updates the body of a message, and when it expires', async () => {
	const there = row('before');
	const later = new Date(Date.now() + 86400000);
	await alice(async (tx) => {
		await tx.insert(messages).values(there);
		await tx.update(messages).set({ body: 'after' }).where(eq(messages.messageId, there.messageId));
		const done = await tx.update(messages).set({ expiresAt: later }).where(eq(messages.messageId, there.messageId));
		assert.equal(done.rowCount, 1);
	});
	const [found] = await alice((tx) => byId(tx, there.messageId));
	assert.deepEqual([found.body, found.expiresAt], ['after', later]);
});

situation('for("update") of Drizzle holds a message until the end of the transaction', async () => {
	const there = row('held');
	await alice(async (tx) => {
		await tx.insert(messages).values(there);
		const [held] = await byId(tx, there.messageId).for('update');
		await tx.update(messages).set({ body: `${held.body} and changed` }).where(eq(messages.messageId, there.messageId));
		assert.equal((await byId(tx, there.messageId))[0].body, 'held and changed');
	});
});

situation('onConflictDoNothing() of Drizzle skips a message that exists already', async () => {
	const there = row('there');
	const fresh = row('fresh');
	await alice(async (tx) => {
		await tx.insert(messages).values(there);
		await tx.insert(messages).values([{ ...there, body: 'again' }, fresh]).onConflictDoNothing();
		assert.equal((await byId(tx, there.messageId))[0].body, 'there');
		assert.equal((await byId(tx, fresh.messageId))[0].body, 'fresh');
	});
});

situation('an upsert of Drizzle fails with a hint that names put_messages(), and put_messages() does it', async () => {
	const there = row('old');
	await alice((tx) => tx.insert(messages).values(there));
	await assert.rejects(
		alice((tx) => tx.insert(messages).values({ ...there, body: 'new' })
			.onConflictDoUpdate({ target: messages.messageId, set: { body: 'new' } })),
		(error) => /put_message/.test(said(error)));
	await alice(async (tx) => {
		await tx.execute(sql`SELECT chatcrypt.put_messages(${sql.param([chat])}, ${sql.param([there.messageId])}, ${sql.param(['new'])})`);
		assert.equal((await byId(tx, there.messageId))[0].body, 'new');
	});
});

situation('Drizzle pages through a chat, by offset and by key', async () => {
	await alice(async (tx) => {
		const page = (more) => tx.select({ at: messages.createdAt, id: messages.messageId }).from(messages)
			.where(and(eq(messages.chatId, chat), more)).orderBy(desc(messages.createdAt), desc(messages.messageId)).limit(10);
		const first = await page();
		const second = await page().offset(10);
		const last = first[9];
		const byKey = await page(or(lt(messages.createdAt, last.at),
			and(eq(messages.createdAt, last.at), lt(messages.messageId, last.id))));
		assert.equal(first.length, 10);
		assert.deepEqual(byKey, second);
	});
});

situation('a savepoint of Drizzle that is rolled back takes back its message and no other', async () => {
	const kept = row('kept');
	const lost = row('lost');
	await alice(async (tx) => {
		await tx.insert(messages).values(kept);
		await assert.rejects(tx.transaction(async (nested) => {
			await nested.insert(messages).values(lost);
			nested.rollback();
		}));
		assert.deepEqual((await tx.select().from(messages)
			.where(inArray(messages.messageId, [kept.messageId, lost.messageId]))).map((m) => m.body), ['kept']);
	});
});

situation('Drizzle sees only the chats of its actor, which each transaction names anew', async () => {
	const chats = (tx) => tx.selectDistinct({ id: messages.chatId }).from(messages);
	const seen = await Promise.all([actingAs('alice', chats), actingAs('carol', chats), actingAs('bob', chats)]);
	assert.deepEqual(seen.flat().map((m) => m.id), [chat, otherChat, chat]);
});

situation('Drizzle without an actor sees nothing and writes nothing', async () => {
	const seen = await db.select({ n: count() }).from(messages).catch(() => [{ n: 0 }]);
	assert.equal(seen[0].n, 0);
	await assert.rejects(db.insert(messages).values(row('nobody')));
});

situation('chatcrypt functions take the untyped parameters of node-postgres', async () => {
	const client = await pool.connect();
	try {
		await client.query('BEGIN');
		await client.query('SELECT chatcrypt.act_as($1)', ['alice']);
		const id = randomUUID();
		const sealed = await client.query('SELECT chatcrypt.encrypt($1, $2, $3) AS envelope', [chat, id, 'by hand']);
		const opened = await client.query('SELECT chatcrypt.decrypt($1, $2, $3) AS body', [chat, id, sealed.rows[0].envelope]);
		assert.equal(opened.rows[0].body, 'by hand');
		await client.query('COMMIT');
	} finally {
		client.release();
	}
});

situation('Drizzle deletes messages by a condition', async () => {
	const done = await alice((tx) => tx.delete(messages)
		.where(and(eq(messages.chatId, chat), like(messages.body, 'bulk %'))));
	assert.equal(done.rowCount, 120);
});

await runAll(() => pool.end());
