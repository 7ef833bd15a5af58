"""A file of many parts of 1 MiB, up and down as a driver would; content is made from the number of a part.

    transfer.py begin CONNINFO CHAT FILE
    transfer.py upload CONNINFO FILE PARTS       what attachment_progress() does not list; then finishes
    transfer.py download CONNINFO FILE PARTS     compares every byte
    transfer.py example CONNINFO CHAT PROGRAM    runs upload() and download() of docs/attachments.md

The two in the middle print how many MiB more the session's process had in memory, at most, than after a small file.
"""

import hashlib
import io
import re
import sys
import uuid

import libpq

MIB = 1 << 20


def content(part):
    """Pseudo-random bytes that are the same each time."""
    return hashlib.shake_128(part.to_bytes(4, "big")).digest(MIB)


class Peak:
    """The peak memory of a process, including the shared buffers that it touched."""

    def __init__(self, pid):
        self.folder = f"/proc/{pid}"
        with open(f"{self.folder}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        self.before = self.now()

    def now(self):
        with open(f"{self.folder}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) / 1024

    def above(self):
        return self.now() - self.before


def begin(connection, chat, file):
    connection.value("SELECT chatcrypt.begin_attachment($1, $2, 'large')", chat, file)


def warm(connection):
    """Makes the session allocate what it keeps from its first file on."""
    connection.value("SELECT chatcrypt.create_chat(424242)")
    begin(connection, 424242, 424242)
    connection.value("SELECT chatcrypt.put_attachment_part(424242, 0, $1, true)", b"small")
    connection.value("SELECT chatcrypt.finish_attachment(424242)")
    connection.value("SELECT chatcrypt.read_attachment_part(424242, 0)")


def upload(connection, file, parts):
    for part in range(parts):
        if connection.value("SELECT 1 FROM chatcrypt.attachment_progress($1) WHERE part = $2", file, part) is None:
            connection.value("SELECT chatcrypt.put_attachment_part($1, $2, $3, $4)", file, part, content(part),
                             "t" if part + 1 == parts else "f")
            print(f"put {part}", flush=True)
    size = int.from_bytes(connection.value("SELECT chatcrypt.finish_attachment($1)", file), "big")
    if size != parts * MIB:
        sys.exit(f"the file has {size} bytes")


def download(connection, file, parts):
    for part in range(parts):
        if connection.value("SELECT chatcrypt.read_attachment_part($1, $2)", file, part) != content(part):
            sys.exit(f"part {part} is another one")
    if connection.value("SELECT chatcrypt.read_attachment_part($1, $2)", file, parts) is not None:
        sys.exit("there is more of it")


class Interrupted(Exception):
    pass


class Cut(io.BytesIO):
    """A source that fails after a number of reads."""

    def __init__(self, content, reads):
        super().__init__(content)
        self.left = reads

    def read(self, size=-1):
        if self.left == 0:
            raise Interrupted
        self.left -= 1
        return super().read(size)


def example(connection, chat, program):
    """Files that end in the middle of a part, at the end of a part, and at once; one of them is interrupted."""
    names = {}
    with open(program, encoding="utf-8") as source:
        exec(compile(source.read(), program, "exec"), names)  # pylint: disable=exec-used
    for length in (5 * MIB + 7, 2 * MIB, 0):
        file, wanted = uuid.uuid4(), b"".join(content(part) for part in range(length // MIB + 1))[:length]
        try:
            names["upload"](connection, chat, file, Cut(wanted, 3), "example")
        except Interrupted:
            print(f"interrupted with {len(connection.execute('SELECT part FROM chatcrypt.attachment_progress(%s)', (file,)))} parts")
        size = names["upload"](connection, chat, file, io.BytesIO(wanted), "example")
        got = io.BytesIO()
        names["download"](connection, file, got)
        print(size, got.getvalue() == wanted)


def main():
    what, conninfo, *arguments = sys.argv[1:]
    try:
        connection = libpq.Connection(conninfo)
        if what == "example":
            example(connection, *arguments)
            return
        numbers = [int(argument) for argument in arguments]
        if what == "begin":
            begin(connection, *numbers)
        else:
            peak = None
            if what == "upload":
                connection.value("BEGIN")
                warm(connection)
                connection.value("ROLLBACK")
            peak = Peak(connection.pid)
            {"upload": upload, "download": download}[what](connection, *numbers)
            print(f"{peak.above():.1f}")
    except libpq.Error as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
