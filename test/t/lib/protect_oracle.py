"""Random statements, from a seed, on a protected table and on its plain twin, which must answer alike.

    protect_oracle.py CONNINFO SEED SECONDS [twins | wrong]

Rounds of a few hundred steps; each round makes another pair of tables: other types, another order of columns, with
triggers or partitions or without, protected before or after its rows came.  A step is one statement on either table,
in the same session, or something that must not be seen: protect_rows(), unprotect(), VACUUM, a restart of the session.
After each step both tables have the same rows.  Prints a line of TAP for each round.

Two plain tables (twins) are alike, and two that differ (wrong) are found out: that the comparison is sound.
"""

import random
import sys
import time

import libpq

CHATS = 5
STEPS = 250
PARTITIONED = 0      # how often tables are partitioned: protect() refuses those yet
STATES = ("plain", "mixed", "sealed", "opening")


def uuid_of(number, kind):
    return f"00000000-0000-{'8' if kind == 'chat' else '4'}000-8000-{number:012x}"


class Shape:
    """What a pair of tables looks like, and expressions of its types."""

    def __init__(self, rng):
        self.rng = rng
        self.uuid = rng.random() < 0.4
        self.type = rng.choice(["text", "text", "text", "varchar(60)", "varchar", "jsonb", "json", "bytea"])
        self.partitioned = rng.random() < PARTITIONED
        self.trigger = rng.random() < 0.3
        self.subject = rng.random() < 0.3
        self.columns = ["id", "chat", "body", "n", "tag"] + (["subject"] if self.subject else [])
        rng.shuffle(self.columns)

    def __str__(self):
        return f"{self.type}, ids of {'uuid' if self.uuid else 'bigint'}" + \
            "".join(f", {what}" for what in ("partitioned", "trigger", "subject") if getattr(self, what))

    def type_of(self, column):
        if column in ("id", "chat"):
            return ("uuid" if self.uuid else "bigint") + " NOT NULL"
        return {"body": self.type, "n": "integer", "tag": "text", "subject": "text"}[column]

    def define(self, table):
        parts = ", ".join(f"{column} {self.type_of(column)}" for column in self.columns)
        if not self.partitioned:
            yield f"CREATE TABLE {table} ({parts}, PRIMARY KEY (id))"
        else:
            yield f"CREATE TABLE {table} ({parts}, PRIMARY KEY (id, chat)) PARTITION BY HASH (chat)"
            for part in range(2):
                yield f"CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        yield f"CREATE INDEX ON {table} (chat, n)"
        if self.trigger:
            yield f"CREATE TRIGGER touch BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION touch()"
            yield f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note('{table}_log')"
        yield f"CREATE TABLE {table}_log (at serial, what text)"

    @property
    def key(self):
        return "id, chat" if self.partitioned else "id"

    # Values, as SQL.  Few ids, so that statements meet the same rows.

    def id(self):
        number = self.rng.randrange(60)
        return f"'{uuid_of(number, 'message')}'" if self.uuid else str(number)

    def chat(self):
        number = 1 + self.rng.randrange(CHATS)
        return f"'{uuid_of(number, 'chat')}'" if self.uuid else str(number)

    def words(self):
        rng = self.rng
        return rng.choice([
            lambda: f"secret {rng.randrange(40)}", lambda: "", lambda: f"cc1:{rng.getrandbits(300):x}",
            lambda: "sécret \U0001F600 " + "x" * rng.randrange(20), lambda: f"{rng.getrandbits(200):x}",
        ])()

    def body(self):
        rng = self.rng
        if rng.random() < 0.08:
            return f"NULL::{self.type}"
        long = rng.random() < 0.08 and self.type != "varchar(60)"
        text = f"long('{rng.randrange(9)}', {rng.randrange(10, 400)})" if long else f"'{self.words()}'::text"
        if self.type == "jsonb":
            return f"jsonb_build_object('text', {text}, 'n', {rng.randrange(9)})"
        if self.type == "json":
            return f"json_build_object('text', {text}, 'n', {rng.randrange(9)})"
        if self.type == "bytea":
            return f"convert_to({text}, 'UTF8')"
        return f"({text})::{self.type}"

    def as_text(self, value):
        return f"encode({value}, 'hex')" if self.type == "bytea" else f"({value})::text"

    def changed(self, value, other=None):
        """Another value of the same type, made from one or two."""
        rng = self.rng
        if self.type == "jsonb":
            return rng.choice([f"{value} || '{{\"n\": {rng.randrange(9)}}}'", f"{value} - 'n'", f"jsonb_set({value}, '{{text}}', '\"secret\"')"])
        if self.type == "json":
            return f"({value})::jsonb::json"
        if self.type == "bytea":
            return f"{value} || {other or chr(39) + chr(92) + 'x00' + chr(39)}"
        return f"left({value} || {other or repr(rng.choice(['!', ' and', '']))}, 60)"

    def condition(self, alias):
        rng = self.rng
        body = self.as_text(f"{alias}.body")
        return rng.choice([
            lambda: f"{alias}.id = {self.id()}", lambda: f"{alias}.id = {self.id()}", lambda: f"{alias}.chat = {self.chat()} AND {alias}.n % 3 = {rng.randrange(3)}",
            lambda: f"{body} LIKE '%{rng.randrange(10)}%' AND {alias}.n < 20", lambda: f"{body} = {self.as_text(self.body())}",
            lambda: f"{alias}.body IS NULL", lambda: f"length({body}) > {rng.randrange(200)} AND {alias}.chat = {self.chat()}",
            lambda: f"{alias}.id IN ({self.id()}, {self.id()}, {self.id()})", lambda: f"{alias}.tag = 'tag {rng.randrange(6)}'",
        ])()

    def row(self):
        return {"id": self.id(), "chat": self.chat(), "body": self.body(), "n": str(self.rng.randrange(40)),
                "tag": f"'tag {self.rng.randrange(6)}'", "subject": f"'{self.words()}'"}

    def values(self, count):
        rows = [self.row() for _ in range(count)]
        columns = self.columns
        return f"({', '.join(columns)})", ", ".join(f"({', '.join(row[column] for column in columns)})" for row in rows)

    def shown(self, alias):
        return f"{alias}.id::text, {self.as_text(alias + '.body')}, {alias}.n::text, {alias}::text"


class Statements:
    """Each method gives a statement with {t} where the table's name is to be."""

    def __init__(self, shape):
        self.shape = shape
        self.rng = shape.rng

    def any(self):
        return self.rng.choice([name for name in dir(self) if name.startswith("s_")])

    def make(self):
        return getattr(self, self.any())()

    def returning(self, alias="x"):
        return f" RETURNING {self.shape.shown(alias)}"

    def assignments(self, alias="x"):
        shape, rng = self.shape, self.rng
        new = {"body": rng.choice([shape.body(), shape.changed(f"{alias}.body"), f"{alias}.body"]), "n": f"{alias}.n + 1",
               "tag": f"'tag {rng.randrange(6)}'", "chat": shape.chat()}
        if shape.subject:
            new["subject"] = "tag" if rng.random() < 0.5 else f"left(subject || '!', 50)"
        chosen = rng.sample(sorted(new), rng.randint(1, min(3, len(new))))
        return ", ".join(f"{column} = {new[column]}" for column in chosen)

    def s_insert(self):
        columns, values = self.shape.values(self.rng.choice([1, 1, 1, 5]))
        return f"INSERT INTO {{t}} AS x {columns} VALUES {values}{self.returning()}"

    s_insert_too = s_insert

    def s_insert_select(self):
        id = f"gen(x.id, {self.rng.randrange(1000)})"
        columns = ", ".join(self.shape.columns)
        chosen = ", ".join(id if column == "id" else f"x.{column}" for column in self.shape.columns)
        return f"INSERT INTO {{t}} AS y ({columns}) SELECT {chosen} FROM {{t}} AS x WHERE {self.shape.condition('x')} ORDER BY x.id LIMIT 4 ON CONFLICT DO NOTHING{self.returning('y')}"

    def s_upsert(self):
        columns, values = self.shape.values(self.rng.choice([1, 1, 3]))
        shape, rng = self.shape, self.rng
        action = rng.choice(["DO NOTHING", f"({shape.key}) DO UPDATE SET body = excluded.body",
                             f"({shape.key}) DO UPDATE SET body = {shape.changed('x.body')}, n = excluded.n",
                             f"({shape.key}) DO UPDATE SET n = x.n + 1, tag = excluded.tag",
                             f"({shape.key}) DO UPDATE SET body = excluded.body WHERE {shape.as_text('x.body')} IS DISTINCT FROM {shape.as_text('excluded.body')}"]
                            + ([] if shape.partitioned else ["(id) DO UPDATE SET chat = excluded.chat", "(id) DO UPDATE SET chat = excluded.chat, body = excluded.body"]))
        return f"INSERT INTO {{t}} AS x {columns} VALUES {values} ON CONFLICT {action}{self.returning()}"

    s_upsert_too = s_upsert

    def s_update(self):
        return f"UPDATE {{t}} AS x SET {self.assignments()} WHERE {self.shape.condition('x')}{self.returning()}"

    s_update_too = s_update

    def s_update_id(self):
        return f"UPDATE {{t}} AS x SET id = {self.shape.id()} WHERE x.id = {self.shape.id()}{self.returning()}"

    def s_update_from(self):
        shape = self.shape
        other = shape.changed("x.body", "y.body") if shape.type in ("text", "varchar", "varchar(60)", "bytea") else "y.body"
        return f"UPDATE {{t}} AS x SET body = {other} FROM {{t}} AS y WHERE y.id = {shape.id()} AND {shape.condition('x')}{self.returning()}"

    def s_update_subquery(self):
        return f"UPDATE {{t}} AS x SET (body, n) = (SELECT y.body, y.n + 1 FROM {{t}} AS y WHERE y.chat = x.chat ORDER BY y.id LIMIT 1) WHERE x.id = {self.shape.id()}{self.returning()}"

    def s_delete(self):
        return f"DELETE FROM {{t}} AS x WHERE x.id IN ({self.shape.id()}, {self.shape.id()}){self.returning()}"

    def s_delete_some(self):
        return f"DELETE FROM {{t}} AS x WHERE {self.shape.condition('x')} AND x.n > 30{self.returning()}"

    def s_move(self):
        shape = self.shape
        columns = ", ".join(shape.columns)
        chosen = ", ".join("gen(id, 7)" if column == "id" else column for column in shape.columns)
        return f"WITH gone AS (DELETE FROM {{t}} AS x WHERE x.id = {shape.id()} RETURNING *) INSERT INTO {{t}} AS y ({columns}) SELECT {chosen} FROM gone{self.returning('y')}"

    def s_merge(self):
        shape, rng = self.shape, self.rng
        row = shape.row()
        columns, values = shape.values(1)
        on = "x.id = s.id" + (" AND x.chat = s.chat" if shape.partitioned else "")
        matched = rng.choice([f"UPDATE SET body = {shape.changed('x.body')}, n = x.n + 1", f"UPDATE SET body = {shape.body()}", "DELETE", "DO NOTHING"])
        insert = ", ".join(f"s.{column}" if column in ("id", "chat") else row[column] for column in shape.columns)
        return f"MERGE INTO {{t}} AS x USING (SELECT {row['id']}{'::uuid' if shape.uuid else '::bigint'} AS id, {row['chat']}{'::uuid' if shape.uuid else '::bigint'} AS chat) AS s ON {on} " \
            f"WHEN MATCHED AND {shape.as_text('x.body')} LIKE '%e%' THEN {matched} WHEN NOT MATCHED THEN INSERT ({', '.join(shape.columns)}) VALUES ({insert})"

    def s_select(self):
        return f"SELECT {self.shape.shown('x')} FROM {{t}} AS x WHERE {self.shape.condition('x')} ORDER BY x.id"

    def s_aggregate(self):
        body = self.shape.as_text("x.body")
        return f"SELECT x.chat::text, count(*), count(x.body), min({body}), md5(string_agg({body}, ',' ORDER BY x.id)), sum(length({body})) FROM {{t}} AS x GROUP BY x.chat ORDER BY 1"

    def s_join(self):
        return f"SELECT x.id::text, y.id::text FROM {{t}} AS x JOIN {{t}} AS y ON {self.shape.as_text('x.body')} = {self.shape.as_text('y.body')} AND x.id < y.id ORDER BY 1, 2"

    def s_lock(self):
        return f"SELECT {self.shape.shown('x')} FROM {{t}} AS x WHERE {self.shape.condition('x')} ORDER BY x.id FOR UPDATE"

    def s_json(self):
        return f"SELECT row_to_json(x)::text FROM {{t}} AS x WHERE {self.shape.condition('x')} ORDER BY x.id"


class Round:
    def __init__(self, oracle, seed):
        self.oracle = oracle
        self.seed = seed
        self.rng = random.Random(seed)
        self.shape = Shape(self.rng)
        self.statements = Statements(self.shape)
        self.state = "plain"
        self.depth = 0
        self.done = []

    def both(self, sql):
        return [self.answer(sql.replace("{t}", table)) for table in ("plain", "sealed")]

    def answer(self, sql):
        try:
            return sorted(map(repr, self.oracle.db.execute(sql)))
        except libpq.Error as error:
            return [f"error {error.sqlstate}"]

    def must(self, sql):
        self.done.append(sql)
        self.oracle.db.execute(sql)

    def compare(self, sql):
        self.done.append(sql)
        if self.depth:
            self.must("SAVEPOINT step")
            plain = self.answer(sql.replace("{t}", "plain"))
            if plain[:1] and plain[0].startswith("error"):
                self.must("ROLLBACK TO step")
            self.must("SAVEPOINT step")
            sealed = self.answer(sql.replace("{t}", "sealed"))
            if sealed[:1] and sealed[0].startswith("error"):
                self.must("ROLLBACK TO step")
        else:
            plain, sealed = self.both(sql)
        if plain != sealed:
            raise AssertionError(f"{sql}\nplain  {plain}\nsealed {sealed}")
        self.oracle.errors += plain[:1] != [] and plain[0].startswith("error")

    def compare_rows(self):
        body = self.shape.as_text("x.body")
        columns = ", ".join(f"x.{column}::text" for column in self.shape.columns if column != "body")
        for rows in (f"SELECT {columns}, {body} FROM {{t}} AS x", "SELECT what FROM {t}_log AS x"):
            plain, sealed = self.both(rows)
            if plain != sealed:
                raise AssertionError(f"the rows differ after {self.done[-1]}\nplain alone  {sorted(set(plain) - set(sealed))}\n"
                                     f"sealed alone {sorted(set(sealed) - set(plain))}\n{len(plain)} and {len(sealed)} rows")

    # What must not be seen ------------------------------------------------------------

    def columns_to_protect(self):
        return ["body"] + (["subject"] if self.shape.subject else [])

    def protect(self):
        # a table without a block has no row to seal
        empty = self.oracle.db.execute("SELECT (pg_relation_size('sealed') = 0)::text")[0][0] == "true"
        for column in self.columns_to_protect():
            self.must(f"SELECT chatcrypt.protect('sealed', '{column}', 'chat', 'id')")
        self.state = "sealed" if empty else "mixed"

    def seal(self):
        self.must("CALL chatcrypt.protect_rows('sealed')")
        self.state = "sealed"

    def open(self):
        for column in self.columns_to_protect():
            self.must(f"SELECT chatcrypt.unprotect('sealed', '{column}')")
        self.state = "opening"

    def undo(self):
        self.must("CALL chatcrypt.protect_rows('sealed')")
        self.state = "plain"

    def next_state(self):
        if self.oracle.trial:
            return
        self.change_state()
        seen = self.oracle.db.execute("SELECT DISTINCT state::text FROM chatcrypt.protected WHERE relation = 'sealed'::regclass")
        if [row[0] for row in seen] != ([] if self.state == "plain" else [self.state]):
            raise AssertionError(f"it is {seen} instead of {self.state}")

    def change_state(self):
        {"plain": self.protect, "mixed": self.rng.choice([self.seal, self.open]), "sealed": self.open,
         "opening": self.undo}[self.state]()

    def upkeep(self):
        leaf = "sealed_0" if self.shape.partitioned else "sealed"
        self.must(self.rng.choice([f"VACUUM {leaf}", f"VACUUM FULL {leaf}", f"VACUUM (FREEZE, ANALYZE) {leaf}", f"ANALYZE {leaf}", f"REINDEX TABLE {leaf}",
                                   f"CLUSTER {leaf} USING {leaf}_pkey"]))

    def settings(self):
        name, values = self.rng.choice([("enable_seqscan", "on off"), ("enable_indexscan", "on off"), ("enable_bitmapscan", "on off"), ("enable_hashjoin", "on off"),
                                        ("enable_mergejoin", "on off"), ("enable_sort", "on off"), ("jit_above_cost", "0 100000"), ("work_mem", "64kB 4MB"),
                                        ("parallel_setup_cost", "0 1000"), ("parallel_tuple_cost", "0 0.1"), ("min_parallel_table_scan_size", "0 8MB")])
        self.must(f"SET {name} = '{self.rng.choice(values.split())}'")

    def step(self):
        rng = self.rng
        if self.depth:
            if rng.random() < 0.2:
                self.must(rng.choice(["COMMIT", "ROLLBACK"]))
                self.depth = 0
            else:
                self.compare(self.statements.make())
            return
        chance = rng.random()
        if chance < 0.02:
            self.next_state()
        elif chance < 0.04:
            self.upkeep()
        elif chance < 0.07:
            self.settings()
        elif chance < 0.12:
            self.must("BEGIN")
            self.depth = 1
        elif chance < 0.13:
            self.oracle.connect()
        else:
            self.compare(self.statements.make())

    def run(self, end):
        for table in ("plain", "sealed"):
            for one in self.shape.define(table):
                self.must(one)
        if self.oracle.trial == "wrong":
            self.must("CREATE TRIGGER zz_wrong BEFORE UPDATE ON sealed FOR EACH ROW EXECUTE FUNCTION touch()")
        elif self.rng.random() < 0.5 and not self.oracle.trial:
            self.protect()
            if self.rng.random() < 0.5:
                self.seal()
        for number in range(STEPS):
            if number > 20 and time.monotonic() > end:
                break
            self.step()
            self.compare_rows()
            self.oracle.steps += 1
        if self.depth:
            self.must("COMMIT")
        self.compare_rows()
        if self.state in ("sealed", "mixed"):
            self.must("CALL chatcrypt.protect_rows('sealed')")
            found = self.oracle.db.execute("SELECT count(*) FROM chatcrypt.verify_protected('sealed')").fetchone()
            if found[0] != 0:
                raise AssertionError(f"verify_protected() has {found[0]} findings")


class Oracle:
    def __init__(self, conninfo, trial):
        self.conninfo = conninfo
        self.trial = trial
        self.db = None
        self.steps = self.errors = 0
        self.connect()

    def connect(self):
        if self.db is not None:
            self.db.close()
        self.db = libpq.Connection(self.conninfo)
        self.db.execute("SET client_min_messages = error")
        self.db.execute("SET statement_timeout = '30s'")

    def fresh_schema(self):
        self.connect()
        for sql in ("DROP SCHEMA IF EXISTS app CASCADE", "CREATE SCHEMA app",
                    "CREATE FUNCTION long(seed text, n int) RETURNS text LANGUAGE sql IMMUTABLE RETURN (SELECT string_agg(md5(seed || i), '') FROM generate_series(1, n) AS i)",
                    "CREATE FUNCTION gen(bigint, int) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN ($1 * 31 + $2) % 60",
                    "CREATE FUNCTION gen(uuid, int) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN overlay($1::text PLACING substr(md5($1::text || $2), 1, 6) FROM 31)::uuid",
                    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.n := new.n + 1; RETURN new; END $$",
                    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('INSERT INTO %I (what) VALUES ($1)', TG_ARGV[0]) "
                    "USING TG_OP || ' ' || coalesce(CASE WHEN TG_OP <> 'INSERT' THEN old.body END::text, '-') || ' ' || coalesce(CASE WHEN TG_OP <> 'DELETE' THEN new.body END::text, '-'); RETURN NULL; END $$"):
            self.db.execute(sql)


def main():
    conninfo, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    end = time.monotonic() + seconds
    oracle = Oracle(conninfo, sys.argv[4] if len(sys.argv) > 4 else None)
    number = 0
    while number == 0 or time.monotonic() < end:
        oracle.fresh_schema()
        one = Round(oracle, f"{seed} {number}")
        failure = None
        try:
            one.run(end)
        except (AssertionError, libpq.Error) as error:
            failure = f"{error}\nin state {one.state}, after\n" + ";\n".join(one.done[-12:])
        print(f"{'not ' if failure else ''}ok - round {number} of seed {seed}: {one.shape}")
        if failure:
            print("\n".join("# " + line for line in failure.splitlines()))
        sys.stdout.flush()
        number += 1
    print(f"# {oracle.steps} steps, {oracle.errors} of them errors on both sides")


main()
