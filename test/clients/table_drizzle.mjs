// An application with Drizzle on a table of its own, message, over node-postgres: nothing in it knows of chatcrypt.
// Prints what its calls give, a line each: NAME: JSON.
import { createRequire } from 'node:module';

// NODE_PATH is for require() alone.
const require = createRequire(import.meta.url);
const pg = require('pg');
const { drizzle } = require('drizzle-orm/node-postgres');
const { bigint, integer, pgTable, text } = require('drizzle-orm/pg-core');
const { and, asc, count, desc, eq, gt, ilike, inArray, isNull, like, lt, max, sql } = require('drizzle-orm');

const chat = pgTable('chat', { id: bigint({ mode: 'number' }).primaryKey(), topic: text().notNull() });
const message = pgTable('message', {
	id: bigint({ mode: 'number' }).primaryKey().generatedByDefaultAsIdentity(),
	chatId: bigint('chat_id', { mode: 'number' }).notNull(),
	body: text(),
	likes: integer().notNull().default(0),
});

const pool = new pg.Pool({ max: 2 });
const db = drizzle(pool);
const show = (name, value) => console.log(`${name}: ${JSON.stringify(value)}`);
const rows = () => db.select().from(message).orderBy(asc(message.id));
const byId = (a, b) => a.id - b.id;

show('what is there', await rows());
show('insert', await db.insert(message).values({ chatId: 1, body: 'secret made' }).returning());
show('insert of many', (await db.insert(message).values(Array.from({ length: 40 }, (_, n) => ({ chatId: 1 + n % 3, body: `secret ${n} of many` }))).returning()).sort(byId));
const two = [{ id: 1, chatId: 1, body: 'secret up' }, { id: 501, chatId: 2, body: 'secret 501' }];
show('upsert', (await db.insert(message).values(two)
	.onConflictDoUpdate({ target: message.id, set: { body: sql`excluded.body || '!'` } }).returning()).sort(byId));
show('upsert of both', await db.insert(message).values(two[0])
	.onConflictDoUpdate({ target: message.id, set: { body: sql`${message.body} || excluded.body`, likes: sql`${message.likes} + 1` } }).returning());
show('upsert where it differs', await db.insert(message).values(two)
	.onConflictDoUpdate({ target: message.id, set: { body: sql`excluded.body` }, setWhere: sql`${message.body} LIKE '%!'` }).returning());
show('upsert that does nothing', await db.insert(message).values(two).onConflictDoNothing().returning());
show('what was inserted', await db.insert(message).values({ id: 502, chatId: 3, body: 'secret 502' })
	.onConflictDoUpdate({ target: message.id, set: { body: sql`excluded.body` } }).returning({ body: message.body, inserted: sql`(xmax = 0)` }));
show('update', await db.update(message).set({ body: 'secret two' }).where(eq(message.id, 2)).returning());
show('update by an expression', (await db.update(message).set({ body: sql`${message.body} || ' more'` }).where(lt(message.id, 4)).returning()).sort(byId));
show('update of another column', (await db.update(message).set({ likes: sql`${message.likes} + 1` }).where(eq(message.chatId, 2)).returning()).sort(byId));
show('update of the chat', await db.update(message).set({ chatId: 3 }).where(eq(message.id, 6)).returning());
for (const [name, condition] of Object.entries({ '=': eq(message.body, 'secret 7'), ilike: ilike(message.body, 'SECRET%MANY'),
	in: inArray(message.body, ['secret 8', 'secret 9']), null: isNull(message.body), greater: gt(message.body, 'secret 5') }))
	show(`where ${name}`, await db.select({ id: message.id }).from(message).where(condition).orderBy(message.id));
show('order', await db.select({ body: message.body }).from(message).orderBy(desc(message.body), message.id).limit(5).offset(3));
show('groups', await db.select({ chat: message.chatId, n: count(message.body), last: max(message.body) }).from(message).groupBy(message.chatId).orderBy(message.chatId));
show('join', await db.select().from(message).innerJoin(chat, eq(message.chatId, chat.id)).where(lt(message.id, 5)).orderBy(message.id));
const recent = db.$with('recent').as(db.select().from(message).where(gt(message.id, 20)));
show('CTE', await db.with(recent).select().from(recent).where(like(recent.body, '%1%')).orderBy(recent.id));
await db.transaction(async (tx) => {
	const [held] = await tx.select().from(message).where(eq(message.id, 7)).for('update', { skipLocked: true });
	await tx.update(message).set({ body: `${held.body} held` }).where(eq(message.id, 7));
	await tx.transaction(async (nested) => {
		await nested.update(message).set({ body: 'lost' }).where(eq(message.id, 8));
		nested.rollback();
	}).catch(() => {});
});
show('lock and savepoint', await db.select().from(message).where(inArray(message.id, [7, 8])).orderBy(message.id));
const prepared = db.select().from(message).where(eq(message.body, sql.placeholder('body'))).prepare('by_body');
for (const body of ['secret 9', 'secret two more', 'nothing']) show(`prepared ${body}`, await prepared.execute({ body }));
show('an error of uniqueness', await db.insert(message).values(two[0]).catch((error) => (error.cause ?? error).code));
show('delete by the body', (await db.delete(message).where(like(message.body, 'secret 2% of many')).returning()).sort(byId));
show('types', (await pool.query('SELECT id, body, message FROM message LIMIT 0')).fields.map((field) => [field.name, field.dataTypeID > 10000 ? 'row' : field.dataTypeID]));
show('rows in the end', await rows());
await pool.end();
