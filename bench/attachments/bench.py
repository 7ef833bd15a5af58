"""Files: SQL against the core, stored files against plain bytea, ranges and memory; see ./run, which calls this."""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time

import libpq
import load
from measure import interleave, median, ratio, say
from server import APP, Failed, Server, on_cpu

MIB = 1024 * 1024
PART = 16 * MIB

SCHEMA = f"""
CREATE TABLE bench.files (file integer, part integer, content bytea, PRIMARY KEY (file, part));
ALTER TABLE bench.files ALTER content SET STORAGE EXTERNAL;
ALTER TABLE bench.files OWNER TO {APP};
CREATE TABLE bench.part AS SELECT convert_to(repeat('0123456789abcdef', {PART // 16}), 'UTF8') AS content;
ALTER TABLE bench.part OWNER TO {APP};
CREATE SEQUENCE bench.file; GRANT ALL ON bench.file TO {APP};
"""

# Each does one thing often, with the bytes in a variable; later rounds find the memory that the
# first one allocated.
LOOP = """
DO $$
DECLARE
    chat uuid := chatcrypt.to_uuid(1);
    content bytea := (SELECT p.content || ''::bytea FROM bench.part AS p);
    sealed bytea := chatcrypt.encrypt_attachment(chat, chat, content);
    taken integer;
BEGIN
    FOR i IN 1..{times} LOOP
        taken := length({what});
    END LOOP;
END
$$
"""

IN_MEMORY = {
    "nothing": "content",
    "encrypt": "chatcrypt.encrypt_attachment(chat, chat, content)",
    "decrypt": "chatcrypt.decrypt_attachment(chat, chat, sealed)",
}


class Core:
    """The core's own rate, in a process that does nothing else."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def seconds(self, what):
        self.process.stdin.write(what + "\n")
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def in_memory(session, core, times, rounds):
    """Processor seconds for a part of 16 MiB, less those of the loop and of making the bytes."""
    def sql(name):
        return lambda: session.cpu_seconds(LOOP.format(times=times, what=IN_MEMORY[name])) / times

    def own(what):
        return lambda: statistics.mean(core.seconds(what) for _ in range(times))

    taken = interleave({"core seal": own("seal"), "core open": own("open"), **{name: sql(name) for name in IN_MEMORY}}, rounds)
    for name in ("encrypt", "decrypt"):
        taken[name] = [a - b for a, b in zip(taken[name], taken["nothing"])]
    return taken


def stored(session, rounds):
    """Processor seconds and seconds of the clock to store and to read 16 MiB."""
    pid = session.value("SELECT pg_backend_pid()")
    cpu = {}

    def timed(name, sql, expect=None):
        def run():
            session.run("CHECKPOINT")
            before = on_cpu(pid)
            clock = session.seconds(sql, expect)
            cpu.setdefault(name, []).append(on_cpu(pid) - before)
            return clock
        return run

    cases = {
        "plain insert": timed("plain insert", "INSERT INTO bench.files SELECT f.file, n, substr(content, n * 1048576 + 1, 1048576) "
                              "FROM bench.part, (SELECT nextval('bench.file') OFFSET 0) AS f (file), generate_series(0, 15) AS n"),
        "put": timed("put", "SELECT length(chatcrypt.put_attachment(1, currval('bench.file'), content)::text) FROM bench.part", 36),
        "plain read": timed("plain read", "SELECT sum(length(content || ''::bytea)) FROM bench.files WHERE file = currval('bench.file')", PART),
        "read": timed("read", "SELECT length(chatcrypt.read_attachment(currval('bench.file')))", PART),
    }
    taken = interleave(cases, rounds)
    return taken, cpu


def upload(connection, size):
    connection.value("SELECT chatcrypt.begin_attachment(1, 1000000, 'large')")
    parts = size // MIB
    content = random.Random(1).randbytes(MIB)
    for part in range(parts):
        connection.value("SELECT chatcrypt.put_attachment_part(1000000, $1, $2, $3)", part,
                         part.to_bytes(4, "big") + content[4:], "t" if part + 1 == parts else "f")
    if int.from_bytes(connection.value("SELECT chatcrypt.finish_attachment(1000000)"), "big") != size:
        raise Failed("the file has another size")


def download(connection, size):
    for part in range(size // MIB):
        got = connection.value("SELECT chatcrypt.read_attachment_part(1000000, $1)", part)
        if len(got) != MIB or got[:4] != part.to_bytes(4, "big"):
            raise Failed("another part came back")


class Memory:
    """A process's peak memory since reset(); with few shared buffers most of it is its own."""

    def __init__(self, pid):
        self.folder = f"/proc/{pid}"
        self.reset()

    def reset(self):
        with open(f"{self.folder}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def peak(self):
        with open(f"{self.folder}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) / 1024


def memory(server, size):
    """The MiB that upload and download add to the session's memory after a small file."""
    connection = libpq.Connection(f"host={server.sockets} dbname=bench user={APP}")
    connection.value("SELECT chatcrypt.put_attachment(1, 999999, $1)", b"small")
    connection.value("SELECT chatcrypt.read_attachment_part(999999, 0)")
    watch = Memory(connection.pid)
    baseline = watch.peak()
    seconds = {}
    above = {}
    for name, run in (("upload", upload), ("download", download)):
        watch.reset()
        start = time.perf_counter()
        run(connection, size)
        seconds[name] = time.perf_counter() - start
        above[name] = watch.peak() - baseline
    connection.close()
    return above, seconds


def ranges(server, size, reads):
    """Seconds of the clock for each of many random reads of 4 KiB, measured at the client."""
    connection = libpq.Connection(f"host={server.sockets} dbname=bench user={APP}")
    chosen = random.Random(2)
    download(connection, size)      # so that its pages are cached
    taken = []
    for _ in range(reads):
        offset = chosen.randrange(0, size - 4096)
        start = time.perf_counter()
        got = connection.value("SELECT chatcrypt.read_attachment(1000000, $1, 4096)", offset)
        taken.append(time.perf_counter() - start)
        if len(got) != 4096:
            raise Failed("a range has another length")
    connection.close()
    return taken


def rate(seconds):
    return f"{PART / MIB / median(seconds):,.0f}"


def report(size, taken, moved, cpu, above, seconds, read):
    print("| 16 MiB, processor's time | MiB a second | share |")
    print("| --- | ---: | ---: |")
    for name, own, sql in (("seal", "core seal", "encrypt"), ("open", "core open", "decrypt")):
        print(f"| the core, {name} | {rate(taken[own])} | |")
        print(f"| `{sql}_attachment` | {rate(taken[sql])} | {ratio(taken[own], taken[sql]):.0%} |")
    print("\n| 16 MiB in 16 parts, stored | MiB a second | processor's time | share of that |")
    print("| --- | ---: | ---: | ---: |")
    for plain, ours, label in (("plain insert", "put", "put_attachment"), ("plain read", "read", "read_attachment")):
        print(f"| {plain}, `bytea` | {rate(moved[plain])} | {rate(cpu[plain])} | |")
        print(f"| `{label}` | {rate(moved[ours])} | {rate(cpu[ours])} | {ratio(cpu[plain], cpu[ours]):.0%} |")
    print(f"\n| a file of {size // MIB} MiB in parts of 1 MiB | |\n| --- | ---: |")
    for name in ("upload", "download"):
        print(f"| {name}, MiB a second | {size / MIB / seconds[name]:,.0f} |")
        print(f"| memory of the session above that after a small file, {name} | {above[name]:.1f} MiB |")
    quarters = statistics.quantiles(read, n=100)
    print(f"| a random read of 4 KiB, median | {1000 * median(read):.2f} ms |")
    print(f"| the same, 99 of 100 | {1000 * quarters[98]:.2f} ms |")


def check(taken, above, read):
    missed = [f"{name}_attachment has {ratio(taken[own], taken[name]):.0%} of the core's rate"
              for name, own in (("encrypt", "core seal"), ("decrypt", "core open")) if ratio(taken[own], taken[name]) < 0.6]
    missed += [f"{name} took {above[name]:.1f} MiB" for name in above if above[name] > 8]
    if median(read) >= 0.003:
        missed.append(f"a range took {1000 * median(read):.2f} ms")
    if missed:
        raise Failed("; ".join(missed))


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets", "module", "core"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    times, rounds, size, reads = (1, 1, 16 * MIB, 50) if options.quick else (20, 15, 1024 * MIB, 2000)
    server = Server(options.bin, options.home, options.sockets)
    core = Core(options.core)
    try:
        server.restart()
        with load.open_database(server, "bench", options.module) as admin, server.session("bench", APP) as app:
            admin.run(SCHEMA)
            app.run("SELECT chatcrypt.create_chat(1)")
            say("encrypt_attachment and decrypt_attachment against the core")
            taken = in_memory(app, core, times, rounds)
            admin.run(f"GRANT pg_checkpoint TO {APP}")
            say("stored files against bytea")
            moved, cpu = stored(app, rounds)
        say(f"a file of {size // MIB} MiB")
        server.restart(shared_buffers="1MB")
        above, seconds = memory(server, size)
        server.restart()
        read = ranges(server, size, reads)
        if not options.quick:
            report(size, taken, moved, cpu, above, seconds, read)
            check(taken, above, read)
    except (Failed, libpq.Error) as failure:
        sys.exit(f"bench: {failure}")
    finally:
        core.close()
        server.stop()


if __name__ == "__main__":
    main()
