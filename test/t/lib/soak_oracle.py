"""What a soak knows of the messages and files that it wrote, outside of the database.

A thing (a message, a file, an envelope kept outside) has values: digests of what it may be seen to be, each from the
moment when the statement that wrote it was sent to the moment when a later one was known to be done.  A statement whose
connection was lost may have committed or not, so that both its value and the one before stay possible until the next
look at rest.  None is the value of a thing that is not there.
"""

import hashlib
import threading
import time

FOREVER = float("inf")


def digest(content):
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).digest()


class Value:
    def __init__(self, seen, begin):
        self.seen = seen
        self.begin = begin
        self.end = FOREVER


class Thing:
    def __init__(self, name, chat, word=None):
        self.name = name
        self.chat = chat
        self.word = word        # that a search finds it by
        self.values = [Value(None, -FOREVER)]
        self.expires = FOREVER  # from when on it may be gone

    def write(self, content):
        """To be called before the statement is sent.  None deletes."""
        self.values.append(Value(None if content is None else digest(content), time.monotonic()))

    def done(self):
        """The statement has committed: no earlier value may be seen from now on."""
        now = time.monotonic()
        for value in self.values[:-1]:
            value.end = min(value.end, now)

    def failed(self):
        """The statement has changed nothing."""
        self.values.pop()

    def may_be(self, begin, end):
        """The values that a statement that ran between these moments may have seen."""
        gone = {None} if self.expires <= end else set()
        return gone | {value.seen for value in list(self.values) if value.begin <= end and value.end >= begin}

    def settle(self, seen):
        """No statement is running: the value is this one, and no other."""
        self.values = [value for value in self.values if value.seen == seen]


class Chat:
    def __init__(self, name, searched, outside):
        self.name = name
        self.searched = searched
        self.outside = outside      # whether envelopes of it may be kept outside
        self.exists = False
        self.messages = {}
        self.files = {}
        self.envelopes = []         # (message, envelope, thing)
        self.excused = []           # errors that are none if the chat was shredded
        self.shred_begin = FOREVER  # before the statement was sent
        self.shred_end = FOREVER    # after it was known to be done

    def is_alive(self):
        return self.exists and self.shred_begin == FOREVER


class Oracle:
    def __init__(self):
        self.lock = threading.Lock()
        self.chats = {}
        self.problems = []
        self.counts = {}

    def problem(self, text):
        with self.lock:
            if len(self.problems) < 50:
                self.problems.append(text)

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def alive(self):
        return [chat for chat in list(self.chats.values()) if chat.is_alive()]

    def compare(self, what, thing, content, begin, end):
        """One thing as a statement between these moments saw it: text or bytes, ABSENT, or None if it does not open."""
        chat = thing.chat
        if content is None:
            if chat.shred_begin > end:
                self.problem(f"{what}: {thing.name} of chat {chat.name} does not open")
            return
        if content is ABSENT and thing.name in chat.files and chat.shred_begin <= end:
            return      # files go with the keys
        seen = None if content is ABSENT else digest(content)
        if seen is not None and chat.shred_end < begin:
            self.problem(f"{what}: {thing.name} of chat {chat.name} opens after the chat was shredded")
        may_be = thing.may_be(begin, end)
        if seen not in may_be:
            expected = "not there" if may_be == {None} else f"one of {len(may_be)} other values"
            found = "not there" if seen is None else "there, with a digest of " + seen.hex()[:8]
            self.problem(f"{what}: {thing.name} of chat {chat.name} is {found}, and should be {expected}")

    def compare_chat(self, what, chat, rows, begin, end):
        """All messages of a chat as one statement saw them."""
        rows = dict(rows)
        for thing in list(chat.messages.values()):
            self.compare(what, thing, rows.pop(thing.name, ABSENT), begin, end)
        for name in rows:
            self.problem(f"{what}: {name} of chat {chat.name} was written by nobody")


ABSENT = object()
