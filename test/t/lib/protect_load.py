"""Sessions that read and write a table while it is protected, and check every value that they see.

    protect_load.py CONNINFO MARKER ROWS SESSIONS

The table app.message (id, chat_id, body, n): a body is a function of its id and of n, which counts the changes of the
row, so that whoever reads a row can tell whether it is right.  A session changes rows of its own alone, and knows the n
of each: a change that is lost is seen too.  Takes commands, a line each, and answers each with a line of JSON:

    seen        operations, problems, and the longest statement since the last time, in seconds
    stop        ends; the same, and how many rows there are more than in the beginning
"""

import hashlib
import json
import random
import sys
import threading
import time

import libpq

CHATS = 20


def body(marker, number, n):
    text = f"{marker} {number} {n} {hashlib.md5(f'{number} {n}'.encode()).hexdigest()}"
    return text + " and on and on" * 500 if number % 500 == 0 else text


class Session(threading.Thread):
    def __init__(self, load, own):
        super().__init__(daemon=True)
        self.load = load
        self.own = own
        self.random = random.Random(own)
        self.known = {}
        self.added = {}
        self.next_id = load.rows + 1 + own
        self.connection = None

    def connect(self):
        while self.connection is None and not self.load.ended:
            try:
                self.connection = libpq.Connection(self.load.conninfo)
            except libpq.Error:
                time.sleep(0.1)

    def ask(self, sql, *args):
        """Rows, or None where the connection was lost."""
        self.connect()
        begin = time.monotonic()
        try:
            rows = self.connection.execute(sql, args)
        except (libpq.Error, AttributeError) as error:
            if getattr(error, "sqlstate", None) in (None, "57P01", "57P02", "57P03"):
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
                self.load.count("interrupted")
                return None
            self.load.problem(f"{error.sqlstate} {error}: {sql}")
            return []
        self.load.took(time.monotonic() - begin, sql)
        return rows

    def check(self, rows):
        for number, n, text in rows or []:
            if text != body(self.load.marker, number, n):
                self.load.problem(f"row {number}, change {n}, shows {str(text)[:80]!r}")
            if number in self.known and self.known[number] is not None and self.known[number] != n:
                self.load.problem(f"row {number} has {n} changes instead of {self.known[number]}")

    def any_id(self):
        return 1 + self.random.randrange(self.load.rows)

    def own_id(self):
        if self.added and self.random.random() < 0.2:
            return self.random.choice(list(self.added))
        return 1 + self.random.randrange(self.load.rows // self.load.sessions) * self.load.sessions + self.own

    def wrote(self, number, n, rows):
        """Where the session does not know whether it was done, the row itself will say."""
        if rows is None:
            self.known.pop(number, None)
            return
        self.check(rows)
        if len(rows) != 1:
            self.load.problem(f"{len(rows)} rows were written instead of row {number}")
        self.known[number] = n

    def current(self, number):
        rows = self.ask("SELECT id, n, body FROM app.message WHERE id = %s", number)
        self.check(rows)
        return rows[0][1] if rows else None

    def read(self):
        self.check(self.ask("SELECT id, n, body FROM app.message WHERE id = %s", self.any_id()))

    def read_page(self):
        rows = self.ask("SELECT id, n, body FROM app.message WHERE chat_id = %s AND id > %s ORDER BY id LIMIT 50", 1 + self.random.randrange(CHATS), self.any_id())
        for row in rows or []:
            if row[0] % self.load.sessions != (self.own + 1) % self.load.sessions:
                self.check([row])
            elif row[2] != body(self.load.marker, row[0], row[1]):
                self.load.problem(f"row {row[0]}, change {row[1]}, shows {row[2][:80]!r}")

    def update(self):
        number = self.own_id()
        n = self.known.get(number)
        if n is None:
            n = self.current(number)
        if n is None:
            return
        self.known[number] = None
        rows = self.ask("UPDATE app.message SET body = %s, n = %s WHERE id = %s RETURNING id, n, body", body(self.load.marker, number, n + 1), n + 1, number)
        self.wrote(number, n + 1, rows)

    def touch(self):
        self.check(self.ask("UPDATE app.message SET seen = seen + 1 WHERE id = %s RETURNING id, n, body", self.own_id()))

    def upsert(self):
        number = self.own_id()
        n = self.known.get(number)
        if n is None:
            n = self.current(number)
        if n is None:
            return
        self.known[number] = None
        rows = self.ask("INSERT INTO app.message (id, chat_id, body, n) VALUES (%s, 1, %s, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body, n = excluded.n RETURNING id, n, body",
                        number, body(self.load.marker, number, n + 1), n + 1)
        self.wrote(number, n + 1, rows)

    def insert(self):
        number = self.next_id
        self.next_id += self.load.sessions
        rows = self.ask("INSERT INTO app.message (id, chat_id, body, n) VALUES (%s, %s, %s, 0) RETURNING id, n, body", number, 1 + number % CHATS, body(self.load.marker, number, 0))
        if rows is None:
            rows = self.ask("SELECT id, n, body FROM app.message WHERE id = %s", number)
        self.check(rows)
        if rows:
            self.added[number] = True
        elif rows is None:
            self.load.count("unknown insert")

    def delete(self):
        if not self.added:
            return
        number = self.random.choice(list(self.added))
        rows = self.ask("DELETE FROM app.message WHERE id = %s RETURNING id, n, body", number)
        self.check(rows)
        if rows is None:
            gone = self.ask("SELECT id, n, body FROM app.message WHERE id = %s", number)
            if gone is None:
                self.load.count("unknown delete")
            elif gone:
                return
        del self.added[number]
        self.known.pop(number, None)

    def run(self):
        operations = [self.read] * 6 + [self.read_page] * 3 + [self.update] * 4 + [self.touch, self.upsert, self.insert, self.insert, self.delete]
        while not self.load.ended:
            try:
                self.random.choice(operations)()
                self.load.count("done")
            except Exception as error:      # a mistake of this program
                self.load.problem(f"{error!r}")
            time.sleep(self.load.pause)


class Load:
    def __init__(self, conninfo, marker, rows, sessions):
        self.conninfo, self.marker, self.rows, self.sessions = conninfo, marker, rows, sessions
        self.lock = threading.Lock()
        self.ended = False
        self.pause = 0.002
        self.counts = {}
        self.problems = []
        self.longest = (0, "")

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def problem(self, what):
        with self.lock:
            if len(self.problems) < 20:
                self.problems.append(what)

    def took(self, seconds, sql):
        with self.lock:
            self.longest = max(self.longest, (round(seconds, 3), sql))

    def seen(self):
        with self.lock:
            longest, self.longest = self.longest, (0, "")
            return {"counts": dict(self.counts), "problems": list(self.problems), "longest": longest}


def main():
    conninfo, marker, rows, sessions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    load = Load(conninfo, marker, rows, sessions)
    threads = [Session(load, own) for own in range(sessions)]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        if line.strip() == "stop":
            load.ended = True
            for thread in threads:
                thread.join(30)
            print(json.dumps({**load.seen(), "added": sum(len(thread.added) for thread in threads)}), flush=True)
            return
        print(json.dumps(load.seen()), flush=True)


main()
