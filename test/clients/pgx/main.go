// An application with pgx on the view chatcrypt.messages.  The variables of the environment are
// described in django_app.py; with PREPARE=no, pgx sends no prepared statements, as a pooler by
// transaction needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	ctx  = context.Background()
	chat = os.Getenv("CHAT")
	pool *pgxpool.Pool
)

type situation struct {
	name string
	run  func() error
}

func main() {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		panic(err)
	}
	if os.Getenv("PREPARE") == "no" {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		panic(err)
	}
	if os.Getenv("SHOW") != "" {
		showTable()
		return
	}
	failed := 0
	for _, one := range situations {
		if err := one.run(); err != nil {
			failed++
			fmt.Printf("not ok - %s\n# %s\n", one.name, strings.ReplaceAll(err.Error(), "\n", "\n# "))
			continue
		}
		fmt.Printf("ok - %s\n", one.name)
	}
	pool.Close()
	if failed > 0 {
		os.Exit(1)
	}
}

func actingAs(actor string, run func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT chatcrypt.act_as($1)", actor); err != nil {
			return err
		}
		return run(tx)
	})
}

func alice(run func(pgx.Tx) error) error {
	return actingAs("alice", run)
}

const insertMessage = "INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES ($1, 'alice', $2) RETURNING message_id::text"

func insert(tx pgx.Tx, body string) (id string, err error) {
	err = tx.QueryRow(ctx, insertMessage, chat, body).Scan(&id)
	return
}

func body(tx pgx.Tx, id string) (found string, err error) {
	err = tx.QueryRow(ctx, "SELECT body FROM chatcrypt.messages WHERE message_id = $1", id).Scan(&found)
	return
}

func expect[T comparable](found, wanted T, err error) error {
	if err == nil && found != wanted {
		err = fmt.Errorf("found %v instead of %v", found, wanted)
	}
	return err
}

func expectBody(tx pgx.Tx, id, wanted string) error {
	found, err := body(tx, id)
	return expect(found, wanted, err)
}

var situations = []situation{
	{"pgx creates a message and reads it back", func() error {
		return alice(func(tx pgx.Tx) error {
			id, err := insert(tx, "hello")
			if err != nil {
				return err
			}
			return expectBody(tx, id, "hello")
		})
	}},
	{"pgx creates many messages in one batch", func() error {
		return alice(func(tx pgx.Tx) error {
			batch := &pgx.Batch{}
			for n := 0; n < 60; n++ {
				batch.Queue(insertMessage, chat, fmt.Sprintf("bulk %d", n))
			}
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
			return expectBulk(tx, 60)
		})
	}},
	{"pgx creates many messages by COPY", func() error {
		if os.Getenv("PREPARE") == "no" {
			return nil // CopyFrom describes its table by a prepared statement
		}
		return alice(func(tx pgx.Tx) error {
			rows := make([][]any, 60)
			for n := range rows {
				rows[n] = []any{chat, "alice", fmt.Sprintf("bulk copied %d", n)}
			}
			table := pgx.Identifier{"chatcrypt", "messages"}
			if _, err := tx.CopyFrom(ctx, table, []string{"chat_id", "sender", "body"}, pgx.CopyFromRows(rows)); err != nil {
				return err
			}
			return expectBulk(tx, 120)
		})
	}},
	{"pgx updates the body of a message", func() error {
		return alice(func(tx pgx.Tx) error {
			id, err := insert(tx, "before")
			if err != nil {
				return err
			}
			if _, err = tx.Exec(ctx, "UPDATE chatcrypt.messages SET body = $2 WHERE message_id = $1", id, "after"); err != nil {
				return err
			}
			return expectBody(tx, id, "after")
		})
	}},
	{"ON CONFLICT DO NOTHING from pgx skips a message that exists already", func() error {
		return alice(func(tx pgx.Tx) error {
			id, err := insert(tx, "there")
			if err != nil {
				return err
			}
			done, err := tx.Exec(ctx, "INSERT INTO chatcrypt.messages (chat_id, message_id, sender, body) "+
				"VALUES ($1, $2, 'alice', $3) ON CONFLICT DO NOTHING", chat, id, "again")
			if err = expect(done.RowsAffected(), 0, err); err != nil {
				return err
			}
			return expectBody(tx, id, "there")
		})
	}},
	{"an upsert from pgx fails with a hint that names put_messages()", func() error {
		err := alice(func(tx pgx.Tx) error {
			id, err := insert(tx, "old")
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "INSERT INTO chatcrypt.messages (chat_id, message_id, sender, body) VALUES ($1, $2, 'alice', $3) "+
				"ON CONFLICT (message_id) DO UPDATE SET body = EXCLUDED.body", chat, id, "new")
			return err
		})
		var told *pgconn.PgError
		if !errors.As(err, &told) || !strings.Contains(told.Hint, "put_message") {
			return fmt.Errorf("no such hint: %v", err)
		}
		return nil
	}},
	{"pgx pages through a chat, by offset and by key", func() error {
		return alice(func(tx pgx.Tx) error {
			var same bool
			err := tx.QueryRow(ctx, `
				WITH newest AS (SELECT message_id, created_at FROM chatcrypt.messages WHERE chat_id = $1),
					 last AS (SELECT * FROM newest ORDER BY created_at DESC, message_id DESC OFFSET 9 LIMIT 1)
				SELECT array(SELECT message_id FROM newest ORDER BY created_at DESC, message_id DESC OFFSET 10 LIMIT 10)
					 = array(SELECT message_id FROM newest WHERE (created_at, message_id) < (SELECT created_at, message_id FROM last)
							 ORDER BY created_at DESC, message_id DESC LIMIT 10)`, chat).Scan(&same)
			return expect(same, true, err)
		})
	}},
	{"a savepoint of pgx that is rolled back takes back its message and no other", func() error {
		return alice(func(tx pgx.Tx) error {
			kept, err := insert(tx, "kept")
			if err != nil {
				return err
			}
			nested, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			lost, err := insert(nested, "lost")
			if err != nil {
				return err
			}
			if err = nested.Rollback(ctx); err != nil {
				return err
			}
			if _, err = body(tx, lost); !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("the message of the savepoint is there: %v", err)
			}
			return expectBody(tx, kept, "kept")
		})
	}},
	{"pgx sees the chats of its actor and no others", func() error {
		for actor, wanted := range map[string]string{"alice": chat, "carol": os.Getenv("OTHER_CHAT")} {
			err := actingAs(actor, func(tx pgx.Tx) error {
				var seen string
				err := tx.QueryRow(ctx, "SELECT string_agg(DISTINCT chat_id::text, ' ') FROM chatcrypt.messages").Scan(&seen)
				return expect(seen, wanted, err)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"pgx without an actor sees nothing and writes nothing", func() error {
		var seen int
		if err := pool.QueryRow(ctx, "SELECT count(*) FROM chatcrypt.messages").Scan(&seen); err == nil && seen != 0 {
			return fmt.Errorf("%d messages are seen", seen)
		}
		var id string
		if err := pool.QueryRow(ctx, insertMessage, chat, "nobody").Scan(&id); err == nil {
			return errors.New("a message was written for nobody")
		}
		return nil
	}},
	{"chatcrypt functions take the untyped parameters of pgx", func() error {
		return alice(func(tx pgx.Tx) error {
			const id = "8d7e2f54-6bd2-4c77-8a52-0f4f8a7e6b11"
			var sealed []byte
			err := tx.QueryRow(ctx, "SELECT chatcrypt.encrypt($1, $2, $3)", chat, id, "by hand").Scan(&sealed)
			if err != nil {
				return err
			}
			var opened string
			err = tx.QueryRow(ctx, "SELECT chatcrypt.decrypt($1, $2, $3)", chat, id, sealed).Scan(&opened)
			return expect(opened, "by hand", err)
		})
	}},
	{"pgx deletes messages by a condition", func() error {
		return alice(func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "DELETE FROM chatcrypt.messages WHERE chat_id = $1 AND body LIKE 'bulk %'", chat); err != nil {
				return err
			}
			return expectBulk(tx, 0)
		})
	}},
}

func expectBulk(tx pgx.Tx, wanted int) error {
	var found int
	err := tx.QueryRow(ctx, "SELECT count(*) FROM chatcrypt.messages WHERE chat_id = $1 AND body LIKE 'bulk %'", chat).Scan(&found)
	return expect(found, wanted, err)
}
