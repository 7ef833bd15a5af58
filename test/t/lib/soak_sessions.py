"""Sessions that write, read, rotate, shred, search and upload at random, and compare all that they see with an oracle.

    soak_sessions.py CONNINFO SEED SESSIONS

Takes commands, a line each, and answers each with a line of JSON:

    run                 sessions work from now on
    pause               none is in a statement any more; [] or those that hang
    allow CODE SECONDS  errors of this SQLSTATE are no surprise for so long
    check               compares everything, while nothing is written: counts and problems
    long                the pid of the session that stays connected as long as the server lets it
    counts              operations and errors so far
    vanish              problems with an upload whose chat is shredded in the middle, and with one that is deleted by itself

It ends when its standard input does.
"""

import json
import random
import sys
import threading
import time
import uuid

import libpq
from soak_oracle import ABSENT, FOREVER, Chat, Oracle, Thing, digest

WORDS = "lighthouse harbour anchor pilot ferry lantern signal breeze tide compass".split()
CHATS = 400         # three times as many as the cache holds
PATIENCE_S = 90

# An outage (58030) may meet any statement, and so may the end of a session or of the server.
ENDED = ("57P01", "57P02", "57P03")
ALWAYS_ALLOWED = ("58030",)


class Interrupted(Exception):
    """The connection was lost: the statement may have committed or not."""


class Refused(Exception):
    """An error of the documented set: the statement changed nothing."""


class Session(threading.Thread):
    """One connection, and the operations that it does one after the other."""

    def __init__(self, soak, number, user, operations):
        super().__init__(daemon=True)
        self.soak = soak
        self.oracle = soak.oracle
        self.random = random.Random(f"{soak.seed} {number}")
        self.name = f"{user} {number}"
        self.conninfo = f"{soak.conninfo} user={user} application_name=soak_{number} connect_timeout=10"
        self.connection = None
        self.operations = [operation for operation, weight in operations for _ in range(weight)]
        self.doing = None
        self.own = []
        self.next_round = 0

    # Requests to the server, and the replies that are allowed ---------------------------------

    def connect(self):
        while self.connection is None:
            try:
                self.connection = libpq.Connection(self.conninfo)
                self.connection.execute("SET client_min_messages = error")
            except libpq.Error as error:
                self.drop()
                self.oracle.count("could not connect")
                if "recovery mode" not in str(error) and "starting up" not in str(error) and \
                        "shutting down" not in str(error) and "terminating" not in str(error) and \
                        "server closed" not in str(error) and "not yet accepting" not in str(error):
                    self.oracle.problem(f"{self.name} cannot connect: {error}")
                time.sleep(0.5)

    def drop(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, sql, *args, file=None, since=None):
        """What the server says of a file that existed, or was being made, at the moment since."""
        self.connect()
        try:
            return self.connection.execute(sql, args)
        except libpq.Error as error:
            self.oracle.count(f"error {error.sqlstate}")
            if error.sqlstate is None or error.sqlstate in ENDED:
                self.drop()
                raise Interrupted from error
            if not self.soak.is_allowed(error.sqlstate) and not (file and self.went_with_its_chat(file, since, error)):
                self.oracle.problem(f"{self.name}, {self.doing}: {error.sqlstate} {error}")
            raise Refused from error

    def went_with_its_chat(self, file, since, error):
        """A file that does not exist because its chat was shredded since.  There is no other reason in this soak: no file
        names a message, and no upload is a day old.  A shred that is under way may fail: the next check looks."""
        chat = file.chat
        if error.sqlstate != "42704" or f"attachment {file.name} does not exist" not in str(error):
            return False
        if chat.shred_begin > time.monotonic() or chat.shred_end < since:
            return False
        chat.excused.append(f"{self.name}, {self.doing}: {error}")
        return True

    def write(self, things, contents, sql, *args, **options):
        """A statement that writes these things, or none of them."""
        for thing, content in zip(things, contents):
            thing.write(content)
        try:
            rows = self.ask(sql, *args, **options)
        except Refused:
            for thing in things:
                thing.failed()
            raise
        for thing in things:
            thing.done()
        return rows

    def run(self):
        while True:
            self.soak.may_work.wait()
            operation = self.random.choice(self.operations)
            self.doing = operation.__name__
            try:
                operation(self)
                self.oracle.count(operation.__name__)
            except (Refused, Interrupted):
                pass
            except Exception as error:      # a mistake of the soak itself
                self.oracle.problem(f"{self.name}, {operation.__name__}: {error!r}")
            self.doing = None
            time.sleep(self.random.uniform(0, 0.04))

    # The operations of a session ---------------------------------------------------------------------

    def any_chat(self):
        return self.random.choice(self.oracle.alive())

    def text(self, word):
        return f"{word} {' '.join(self.random.choices(WORDS, k=self.random.randint(1, 12)))} {self.random.random()}"

    def new_message(self, chat):
        name = uuid.UUID(int=self.random.getrandbits(128), version=4)
        thing = Thing(name, chat, f"w{name.hex}")
        chat.messages[name] = thing
        return thing

    def insert(self):
        thing = self.new_message(self.any_chat())
        body = self.text(thing.word)
        self.write([thing], [body], "INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (%s, %s, %s)",
                   thing.name, thing.chat.name, body)
        self.own.append(thing)

    def insert_expiring(self):
        thing = self.new_message(self.any_chat())
        body = self.text(thing.word)
        seconds = self.random.randint(5, 60)
        thing.expires = time.monotonic() + seconds
        self.write([thing], [body], "INSERT INTO chatcrypt.messages (message_id, chat_id, body, expires_at) "
                   "VALUES (%s, %s, %s, now() + make_interval(secs => %s))", thing.name, thing.chat.name, body, seconds)

    def put_many(self):
        things = [self.new_message(self.any_chat()) for _ in range(self.random.randint(2, 8))]
        bodies = [self.text(thing.word) for thing in things]
        self.write(things, bodies, "SELECT inserted FROM chatcrypt.put_messages(%s::uuid[]::chatcrypt.any_id[], "
                   "%s::uuid[]::chatcrypt.any_id[], %s)", array(thing.chat.name for thing in things),
                   array(thing.name for thing in things), array(bodies))
        self.own.extend(things)

    def insert_in_a_transaction(self):
        chat = self.any_chat()
        things = [self.new_message(chat) for _ in range(3)]
        bodies = [self.text(thing.word) for thing in things]
        for thing, body in zip(things, bodies):
            thing.write(body)
        try:
            self.ask("BEGIN")
            for thing, body in zip(things, bodies):
                self.ask("INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (%s, %s, %s)",
                         thing.name, chat.name, body)
            committed = self.random.random() < 0.7
            self.ask("COMMIT" if committed else "ROLLBACK")
        except Refused:
            self.ask("ROLLBACK")
            committed = False
        for thing in things:
            thing.done() if committed else thing.failed()

    def own_message(self):
        if not self.own:
            raise Refused
        thing = self.own[self.random.randrange(len(self.own))]
        if not thing.chat.is_alive():
            self.own.remove(thing)
            raise Refused
        return thing

    def update(self):
        thing = self.own_message()
        body = self.text(thing.word)
        self.change(thing, body, "UPDATE chatcrypt.messages SET body = %s WHERE chat_id = %s AND message_id = %s RETURNING 1",
                    body, thing.chat.name, thing.name)

    def delete(self):
        thing = self.own_message()
        self.own.remove(thing)
        self.change(thing, None, "DELETE FROM chatcrypt.messages WHERE chat_id = %s AND message_id = %s RETURNING 1",
                    thing.chat.name, thing.name)

    def change(self, thing, content, sql, *args):
        rows = self.write([thing], [content], sql, *args)
        if len(rows) != 1:
            self.oracle.problem(f"{self.doing}: {thing.name} of chat {thing.chat.name} is {len(rows)} rows")

    def read(self):
        chat = self.random.choice(list(self.oracle.chats.values()))
        begin = time.monotonic()
        rows = self.ask("SELECT message_id, body FROM chatcrypt.messages WHERE chat_id = %s", chat.name)
        self.oracle.compare_chat("read", chat, rows, begin, time.monotonic())

    def read_many(self):
        chats = {chat.name: chat for chat in self.random.choices(list(self.oracle.chats.values()), k=8)}
        begin = time.monotonic()
        rows = self.ask("SELECT chat_id, message_id, body FROM chatcrypt.messages WHERE chat_id = ANY (%s)", array(chats))
        end = time.monotonic()
        for chat in chats.values():
            self.oracle.compare_chat("read many", chat, [row[1:] for row in rows if row[0] == chat.name], begin, end)

    def search(self):
        chats = [chat for chat in self.oracle.alive() if chat.searched and chat.messages]
        chat = self.random.choice(chats)
        thing = self.random.choice(list(chat.messages.values()))
        begin = time.monotonic()
        rows = self.ask("SELECT message_id, body FROM chatcrypt.search(%s::uuid::chatcrypt.any_id, %s)", chat.name, thing.word)
        end = time.monotonic()
        found = dict(rows)
        self.oracle.compare("search", thing, found.pop(thing.name, ABSENT), begin, end)
        if found:
            self.oracle.problem(f"search: chat {chat.name} has {len(found)} messages more with {thing.word}")

    def make_chat(self):
        self.make_chats([self.new_chat()])

    def make_many_chats(self):
        self.make_chats([self.new_chat() for _ in range(self.random.randint(2, 12))])

    def new_chat(self):
        name = uuid.UUID(int=self.random.getrandbits(128), version=4)
        busy = self.random.random() < 0.5
        return Chat(name, busy, not busy)

    def make_chats(self, chats):
        if len(self.oracle.alive()) > CHATS:
            raise Refused
        tenant = "busy" if chats[0].searched else "default"
        for chat in chats:
            chat.searched, chat.outside = chats[0].searched, chats[0].outside
        names = array(chat.name for chat in chats)
        self.oracle.chats.update((chat.name, chat) for chat in chats)
        if len(chats) == 1:
            self.ask("SELECT chatcrypt.create_chat(%s::uuid, tenant => %s)", chats[0].name, tenant)
        else:
            self.ask("SELECT chatcrypt.create_chats(%s::uuid[]::chatcrypt.any_id[], tenant => %s)", names, tenant)
        for chat in chats:
            chat.exists = True

    def new_file(self, chat):
        name = uuid.UUID(int=self.random.getrandbits(128), version=4)
        thing = Thing(name, chat)
        chat.files[name] = thing
        return thing

    def upload(self):
        thing = self.new_file(self.any_chat())
        content = self.random.randbytes(self.random.randint(0, 200_000))
        self.write([thing], [content], "SELECT chatcrypt.put_attachment(%s::uuid, %s::uuid, %s, 'a file')",
                   thing.chat.name, thing.name, content)

    def upload_in_parts(self, meanwhile=None):
        thing = self.new_file(self.any_chat())
        parts = [self.random.randbytes(65536) for _ in range(self.random.randint(1, 4))]
        begin = time.monotonic()
        self.ask("SELECT chatcrypt.begin_attachment(%s::uuid, %s::uuid, 'a file', part_size => 65536)", thing.chat.name, thing.name)
        if meanwhile:
            meanwhile(thing)
        for number, part in enumerate(parts):
            self.ask("SELECT chatcrypt.put_attachment_part(%s::uuid, %s, %s, %s)", thing.name, number, part,
                     str(number == len(parts) - 1), file=thing, since=begin)
        self.write([thing], [b"".join(parts)], "SELECT chatcrypt.finish_attachment(%s::uuid)", thing.name,
                   file=thing, since=begin)

    def download(self):
        chat = self.random.choice([chat for chat in self.oracle.chats.values() if chat.files])
        self.read_file("download", self.random.choice(list(chat.files.values())))

    def read_file(self, what, thing):
        begin = time.monotonic()
        if self.ask("SELECT 1 FROM chatcrypt.sealed_attachment WHERE file_id = %s AND completed_at IS NOT NULL", thing.name) == []:
            self.oracle.compare(what, thing, ABSENT, begin, time.monotonic())
            return
        destroyed = thing.chat.shred_begin <= time.monotonic()
        if destroyed:
            self.soak.expect_destroyed(self, thing)
            return
        rows = self.ask("SELECT chatcrypt.read_attachment(%s::uuid)", thing.name, file=thing, since=begin)
        self.oracle.compare(what, thing, rows[0][0], begin, time.monotonic())

    def seal(self):
        chat = self.random.choice([chat for chat in self.oracle.alive() if chat.outside])
        thing = Thing(uuid.UUID(int=self.random.getrandbits(128), version=4), chat)
        body = self.text("outside")
        rows = self.ask("SELECT chatcrypt.encrypt(%s::uuid, %s::uuid, %s::text)", chat.name, thing.name, body)
        thing.write(body)
        thing.done()
        chat.envelopes.append((rows[0][0], thing))

    def open(self):
        chat = self.random.choice([chat for chat in self.oracle.alive() if chat.envelopes])
        self.open_envelope("open", *self.random.choice(chat.envelopes))

    def open_envelope(self, what, envelope, thing):
        begin = time.monotonic()
        rows = self.ask("SELECT chatcrypt.decrypt(%s::uuid, %s::uuid, %s)", thing.chat.name, thing.name, envelope)
        self.oracle.compare(what, thing, rows[0][0], begin, time.monotonic())

    def reconnect(self):
        self.drop()

    # What an administrator does -------------------------------------------------------

    def rotate(self):
        self.ask("SELECT chatcrypt.rotate_chat(%s::uuid)", self.any_chat().name)

    def shred(self):
        chats = [chat for chat in self.oracle.alive() if len(chat.messages) > 3]
        if len(chats) < 50:
            raise Refused
        self.shred_chat(self.random.choice(chats))

    def shred_chat(self, chat):
        self.soak.do_allow("55000", 5)
        chat.shred_begin = time.monotonic()
        try:
            self.ask("SELECT chatcrypt.shred_chat(%s::uuid, confirm => 'irreversible')", chat.name)
        except Refused:
            chat.shred_begin = FOREVER
            raise
        chat.shred_end = time.monotonic()

    def keep_no_envelopes_outside(self):
        chat = self.random.choice([chat for chat in self.oracle.alive() if not chat.outside])
        self.ask("UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = %s", chat.name)

    def rewrap(self):
        self.ask('CALL chatcrypt.rewrap(max_keys => 100)')

    def reencrypt(self):
        self.ask("CALL chatcrypt.reencrypt_chat(%s::uuid)", self.any_chat().name)

    def rotate_due(self):
        self.ask('CALL chatcrypt.rotate_due(max_chats => 20)')

    def purge(self):
        self.ask("CALL chatcrypt.purge_unused_keys(20, '1 second')")

    def retain(self):
        self.ask("CALL chatcrypt.apply_retention()")

    def maintain(self):
        """No more often than an administrator would: each round in which anything was done is a line of the log."""
        if time.monotonic() >= self.next_round:
            self.next_round = time.monotonic() + BETWEEN_ROUNDS
            self.ask("CALL chatcrypt.run_maintenance()")

    def look(self):
        self.ask("SELECT count(*) FROM chatcrypt.kms_status, chatcrypt.cache_status, chatcrypt.kms_worker")
        self.ask("SELECT count(*) FROM chatcrypt.kms_check('vault:transit/chat')")

    def diagnose(self):
        self.ask("SELECT count(*) FROM chatcrypt.doctor()")


def array(elements):
    return "{" + ",".join('"' + str(element) + '"' for element in elements) + "}"


APPLICATION = ((Session.insert, 30), (Session.insert_expiring, 3), (Session.put_many, 8), (Session.insert_in_a_transaction, 4),
               (Session.update, 8), (Session.delete, 3), (Session.read, 25), (Session.read_many, 6), (Session.search, 6),
               (Session.make_chat, 3), (Session.make_many_chats, 1), (Session.upload, 2), (Session.upload_in_parts, 2),
               (Session.download, 4), (Session.seal, 3), (Session.open, 3))
BETWEEN_ROUNDS = 45
ADMINISTRATOR = ((Session.rotate, 20), (Session.shred, 2), (Session.keep_no_envelopes_outside, 4), (Session.rewrap, 2),
                 (Session.reencrypt, 6), (Session.rotate_due, 2), (Session.purge, 2), (Session.retain, 2), (Session.maintain, 1),
                 (Session.look, 6), (Session.diagnose, 1))


class Soak:
    def __init__(self, conninfo, seed, sessions):
        self.conninfo = conninfo
        self.seed = seed
        self.oracle = Oracle()
        self.may_work = threading.Event()
        self.allowed = {}
        self.checker = Session(self, "check", "postgres", APPLICATION)
        self.set_up()
        self.long = Session(self, "long", "app", APPLICATION)
        others = [Session(self, number, "app", APPLICATION + ((Session.reconnect, 3),)) for number in range(sessions)]
        self.sessions = [self.long, Session(self, "admin", "keeper", ADMINISTRATOR), *others]
        for session in self.sessions:
            session.start()

    def set_up(self):
        for _ in range(12):
            self.checker.make_chats([self.checker.new_chat() for _ in range(10)])
        for _ in range(300):
            self.checker.insert()
        for _ in range(10):
            self.checker.upload()
            self.checker.seal()

    def is_allowed(self, sqlstate):
        if self.checker.doing == "check":
            return False
        return sqlstate in ALWAYS_ALLOWED or self.allowed.get(sqlstate, 0) > time.monotonic()

    def expect_destroyed(self, session, thing):
        """A file of a chat that is being shredded, or was."""
        begin = time.monotonic()
        gone = thing.chat.shred_end < begin
        try:
            session.connect()
            session.connection.value("SELECT chatcrypt.read_attachment($1::uuid)", str(thing.name))
            if gone:
                self.oracle.problem(f"file {thing.name} of chat {thing.chat.name} opens after the chat was shredded")
        except libpq.Error as error:
            if error.sqlstate is None or error.sqlstate in ENDED:
                session.drop()

    # Commands ---------------------------------------------------------------------------

    def do_run(self):
        self.checker.doing = None
        self.may_work.set()
        return {}

    def do_pause(self):
        self.may_work.clear()
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and any(session.doing for session in self.sessions):
            time.sleep(0.05)
        return {"hanging": [f"{session.name}: {session.doing}" for session in self.sessions if session.doing]}

    def do_allow(self, sqlstate, seconds):
        self.allowed[sqlstate] = max(self.allowed.get(sqlstate, 0), time.monotonic() + float(seconds))
        return {}

    def do_long(self):
        connection = self.long.connection
        return {"pid": connection.pid if connection else None}

    def do_counts(self):
        with self.oracle.lock:
            return {"counts": dict(self.oracle.counts), "problems": list(self.oracle.problems)}

    def do_check(self):
        """No session writes, and no fault is left: every message and file is as expected, and no statement fails."""
        self.checker.drop()
        self.checker.doing = "check"
        messages = files = envelopes = 0
        try:
            for chat in list(self.oracle.chats.values()):
                messages += self.check_chat(chat)
                for thing in chat.files.values():
                    self.checker.read_file("check", thing)
                    files += 1
                if chat.is_alive():
                    for envelope, thing in chat.envelopes:
                        self.checker.open_envelope("check", envelope, thing)
                        envelopes += 1
            self.check_nothing_else()
        except (Refused, Interrupted) as error:
            self.oracle.problem(f"check: {error.__cause__}")
        return {"messages": messages, "files": files, "envelopes": envelopes, "chats": len(self.oracle.chats),
                "shredded": len([chat for chat in self.oracle.chats.values() if chat.shred_begin != FOREVER]),
                "problems": list(self.oracle.problems)}

    def check_chat(self, chat):
        begin = time.monotonic()
        rows = self.checker.ask("SELECT message_id, body FROM chatcrypt.messages WHERE chat_id = %s", chat.name)
        self.oracle.compare_chat("check", chat, rows, begin, time.monotonic())
        if chat.is_alive():
            seen = dict(rows)
            for thing in list(chat.messages.values()):
                thing.settle(digest_of(seen.get(thing.name, ABSENT)))
        elif chat.shred_end == FOREVER:
            self.settle_shred(chat)
        if chat.is_alive():
            for error in chat.excused:
                self.oracle.problem(f"{error}, and chat {chat.name} was not shredded")
        return len(rows)

    def settle_shred(self, chat):
        """The session that shredded the chat was ended: the catalog says whether the shred was committed."""
        rows = self.checker.ask("SELECT count(*) FROM chatcrypt.key_event WHERE chat_id = %s AND event = 'shred'", chat.name)
        if rows[0][0]:
            chat.shred_end = time.monotonic()
        else:
            chat.shred_begin = FOREVER

    def do_vanish(self):
        """Uploads whose file vanishes: problems where the chat is shredded, and where only the file is deleted."""
        def delete(thing):
            self.checker.ask("SELECT chatcrypt.delete_attachment(%s::uuid)", thing.name)

        def problems_of(meanwhile):
            before = len(self.oracle.problems)
            try:
                self.checker.upload_in_parts(meanwhile)
                self.oracle.problem("the upload comes to its end")
            except Refused:
                pass
            return self.oracle.problems[before:]

        self.checker.doing = "vanish"
        return {"shredded": problems_of(lambda thing: self.checker.shred_chat(thing.chat)), "deleted": problems_of(delete)}

    def check_nothing_else(self):
        for (name,) in self.checker.ask("SELECT chat_id FROM chatcrypt.chat"):
            if name not in self.oracle.chats:
                self.oracle.problem(f"check: chat {name} was made by nobody")
            else:
                self.oracle.chats[name].exists = True
        for (name,) in self.checker.ask("SELECT message_id FROM chatcrypt.sealed_message AS m WHERE NOT EXISTS "
                                        "(SELECT FROM chatcrypt.chat AS c WHERE c.chat_id = m.chat_id)"):
            self.oracle.problem(f"check: message {name} has no chat")


def digest_of(content):
    return None if content is ABSENT or content is None else digest(content)


def main():
    soak = Soak(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print("{}", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps(getattr(soak, "do_" + command)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
