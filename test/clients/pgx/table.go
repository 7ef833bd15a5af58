// An application with pgx on a table of its own, message: nothing in it knows of chatcrypt.  It is what the program is
// where SHOW is set, and prints what its calls give, a line each: NAME: JSON.
package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func show(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s: %s\n", name, text)
}

// All rows of a statement, or the SQLSTATE of its error.
func rowsOf(sql string, arguments ...any) any {
	rows, err := pool.Query(ctx, sql, arguments...)
	if err == nil {
		var all [][]any
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		if err == nil {
			return all
		}
	}
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return told.Code
	}
	panic(err)
}

const allRows = "SELECT id, chat_id, body, likes FROM message ORDER BY id"

func showTable() {
	show("what is there", rowsOf(allRows))
	show("insert", rowsOf("INSERT INTO message (chat_id, body) VALUES ($1, $2) RETURNING *", 1, "secret made"))
	showBatch()
	showCopy()
	const upsert = "INSERT INTO message (id, chat_id, body) VALUES ($1, 1, $2) ON CONFLICT (id) DO UPDATE SET body = message.body || excluded.body RETURNING id, body, xmax = 0"
	show("upsert of one that is there", rowsOf(upsert, 1, "secret up"))
	show("upsert of another", rowsOf(upsert, 501, "secret 501"))
	show("upsert where it differs", rowsOf("INSERT INTO message (id, chat_id, body) VALUES (501, 1, 'secret 501') ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE message.body <> excluded.body RETURNING id"))
	show("update", rowsOf("UPDATE message SET body = $2 WHERE id = $1 RETURNING *", 2, "secret two"))
	show("update of another column", rowsOf("WITH u AS (UPDATE message SET likes = likes + 1 WHERE chat_id = $1 RETURNING *) SELECT * FROM u ORDER BY id", 2))
	show("NULL", rowsOf("UPDATE message SET body = $1 WHERE id = 5 RETURNING body", nil))
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		show(fmt.Sprintf("mode %v", mode), rowsOf("SELECT id, body FROM message WHERE body LIKE $1 ORDER BY id", mode, "secret%1"))
	}
	show("any", rowsOf("SELECT id FROM message WHERE body = ANY ($1) ORDER BY id", []string{"secret 8", "secret 9"}))
	show("JSON", rowsOf("SELECT row_to_json(m)::text FROM message AS m ORDER BY id LIMIT 3"))
	showTransaction()
	show("an error of uniqueness", rowsOf("INSERT INTO message (id, chat_id, body) VALUES (1, 1, 'double')"))
	show("delete by the body", rowsOf("WITH d AS (DELETE FROM message WHERE body LIKE 'secret 2% of many' RETURNING *) SELECT * FROM d ORDER BY id"))
	show("rows in the end", rowsOf(allRows))
}

func showBatch() {
	batch := &pgx.Batch{}
	for n := 0; n < 40; n++ {
		batch.Queue("INSERT INTO message (chat_id, body) VALUES ($1, $2)", 1+n%3, fmt.Sprintf("secret %d of many", n))
	}
	show("batch", pool.SendBatch(ctx, batch).Close())
}

func showCopy() {
	rows := make([][]any, 60)
	for n := range rows {
		rows[n] = []any{2, fmt.Sprintf("secret copied %d", n)}
	}
	count, err := pool.CopyFrom(ctx, pgx.Identifier{"message"}, []string{"chat_id", "body"}, pgx.CopyFromRows(rows))
	show("COPY", []any{count, err})
}

func showTransaction() {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var held string
		if err := tx.QueryRow(ctx, "SELECT body FROM message WHERE id = 7 FOR UPDATE").Scan(&held); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE message SET body = $1 WHERE id = 7", held+" held"); err != nil {
			return err
		}
		nested, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err = nested.Exec(ctx, "UPDATE message SET body = 'lost' WHERE id = 8"); err != nil {
			return err
		}
		return nested.Rollback(ctx)
	})
	show("lock and savepoint", []any{err, rowsOf("SELECT id, body FROM message WHERE id IN (7, 8) ORDER BY id")})
}
