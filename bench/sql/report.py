"""Writes performance.md and its plots from the measured numbers; measures nothing itself."""

import os

import svg

GOALS_NOT_HERE = (
    "pgsodium is not in Debian and was **not measured here**. "
    "The project's own earlier measurement on such a machine had its deterministic AEAD by key id at 2,230 ns a message."
)


def number(value, digits=0):
    return f"{value:,.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


class Goals:
    """The rows of the first table."""

    def __init__(self):
        self.rows = []

    def at_most(self, what, value, goal):
        self.rows.append((what, self.shown(value), f"at most {goal}", self.verdict(value <= goal)))

    def at_least(self, what, value, goal):
        self.rows.append((what, self.shown(value), f"at least {goal}", self.verdict(value >= goal)))

    def without(self, what, value):
        self.rows.append((what, self.shown(value), "", ""))

    @staticmethod
    def shown(value):
        return str(value) if isinstance(value, int) else number(value, 2 if value < 20 else 0)

    @staticmethod
    def verdict(met):
        return "yes" if met else "**no**"


def scan_goals(goals, scan):
    decrypting = scan["decrypting"]
    goals.at_most("Decrypting in a scan, less the same scan that copies, against the core's own open",
                  decrypting["added_to_core"], 1.25)
    goals.at_most("The core's open, against bare libsodium AES-256-GCM and four SHA-256 compressions",
                  decrypting["core_to_bare"], 1.3)
    goals.at_least("Decrypting: times as fast as pgcrypto `pgp_sym_decrypt`", scan["pgcrypto"]["times"]["pgp"], 200)
    goals.at_least("Decrypting: times as fast as pgcrypto doing the same work", scan["pgcrypto"]["times"]["hmac"], 7)
    parallel = scan["parallel"]
    floor = ", ".join(f"{what}: {number(parallel[name]['times'], 2)}" for name, what in (
        ("sha256", "PostgreSQL's `sha256()` of the same column"), ("plain", "a plain table")) if name in parallel)
    goals.at_least(f"Parallel scan: times as fast with two processes as with one ({floor})",
                   parallel["decrypt"]["times"], 1.6)
    if "side_by_side" in scan:
        goals.at_most("Computing time of a decrypting scan beside another one, against alone "
                      f"(`sha256()`: {number(scan['side_by_side']['sha256'], 2)})",
                      scan["side_by_side"]["decrypt"], 1.05)


def row_goals(goals, rows):
    goals.at_least("INSERT through the view, against the plain table: one client, asynchronous commit",
                   rows["async_simple"]["to_plain"]["view"], 0.77)
    goals.at_least("The same, two clients, synchronous commit", rows["sync"]["to_plain"]["view"], 0.9)
    goals.without("One client, asynchronous commit, prepared statements", rows["async_prepared"]["to_plain"]["view"])


def bulk_goals(goals, bulk):
    goals.at_most(f"INSERT … SELECT of {number(bulk['rows'])} rows, against plain: with the function",
                  bulk["insert_to_plain"]["function"], 2)
    goals.at_most("The same, through the view", bulk["insert_to_plain"]["view"], 3)


def key_goals(goals, keys):
    if "cold_calls" not in keys:
        return
    goals.at_most(f"Calls to the KMS: {keys['backends']} backends, one cold key", keys["flight_calls"], 1)
    goals.at_most(f"Calls to the KMS: `warm_keys()` of {number(keys['cold'])} cold chats", keys["cold_calls"],
                  keys["cold"] // 64)
    goals.at_most(f"Calls to the KMS: {keys['connections']} new connections, warm shared cache",
                  keys["connection_calls"], 0)
    goals.at_most("Memory of the key cache, bytes a key", keys["bytes_a_dek"], 256)


def storage_goals(goals, storage):
    goals.at_most(f"Storage of a message of {storage['body']} bytes with its indexes, against plain "
                  f"(pgcrypto: {number(storage['pgcrypto_to_plain'], 2)})", storage["chatcrypt_to_plain"], 1.3)


def machine_section(machine):
    settings = ", ".join(f"`{name} = {value}`" for name, value in machine["settings"].items())
    return f"""## The machine

{table(["", ""], [
    ["Processor", f"{machine['cpu']}, {machine['cores']} cores"],
    ["Memory", f"{machine['memory_gb']} GB"],
    ["Kernel", machine["kernel"]],
    ["PostgreSQL", machine["postgres"]],
    ["OpenSSL", machine["openssl"]],
    ["Settings", settings],
    ["Load when the run began", number(machine["load"], 2)],
])}
Background work that would affect one case and not the next is off (autovacuum; checkpoints are forced between cases).
Settings that determine the cost of a write are PostgreSQL's defaults (WAL, `fsync`, full pages). Keys come from the provider
`local`.
"""


def scan_section(scan):
    decrypting, pgcrypto, parallel = scan["decrypting"], scan["pgcrypto"], scan["parallel"]
    ns = decrypting["ns"]
    rows = [
        ["plain table", number(ns["plain"]), ""],
        ["`chatcrypt.sealed_message`, a C function that copies the envelope", number(ns["copy"]), ""],
        ["`chatcrypt_internal.message_body()` of the same", number(ns["decrypt"]), number(decrypting["added_ns"])],
        ["the view `chatcrypt.messages`", number(ns["view"]), ""],
        ["the core alone, in a loop", number(ns["core"]), ""],
    ]
    against = [[name, number(pgcrypto["added_ns"][key]), number(times, 1)] for name, key, times in (
        ("chatcrypt", "chatcrypt", 1.0),
        ("pgcrypto, `hmac` for a key, `decrypt_iv`, `hmac` to authenticate", "hmac", pgcrypto["times"]["hmac"]),
        ("pgcrypto, `pgp_sym_decrypt` as it comes", "pgp", pgcrypto["times"]["pgp"]))]
    both = [[name, number(parallel[key]["one_s"], 3), number(parallel[key]["two_s"], 3),
             number(parallel[key]["times"], 2)] for name, key in (
                 ("`chatcrypt_internal.message_body()`", "decrypt"), ("`sha256()` of the same column", "sha256"), ("plain table", "plain"))
            if key in parallel]
    return f"""## Reading a whole table

{number(scan["messages"])} messages of 128 bytes, chats at random, by a role under row-level security.
The table shows nanoseconds for each message. Everything is in memory, and the time is the CPU time of the process.

{table(["scan", "ns a row", "more than copying"], rows)}
![Decrypting a message](performance-decrypt.svg)

The time of a scan that copies is subtracted from each. pgcrypto does not have to find the chat's key, because its keys are
constants of the query. `pgp_sym_decrypt` spends most of its time on stretching the passphrase.

{table(["", "ns a message", "times chatcrypt"], against)}
{GOALS_NOT_HERE}

Times are in seconds; two processes are the leader and one parallel worker. Other work on the machine slows down both: the
other scans show what two processes achieve on it at that time. Decrypting processes share no lock and no counter for a
message, and each of them looks up each key once.

{table(["scan", "one process", "two", "times as fast"], both)}"""


def rates(entry, names):
    cells = [number(entry["tps"]["plain"])]
    for name in names:
        cells.append(f"{number(entry['tps'][name])} ({number(entry['to_plain'][name], 2)})" if name in entry["tps"] else "")
    return cells


def rows_section(rows):
    inserts = [[what, *rates(rows[key], ("function", "view"))] for what, key in (
        ("one client, asynchronous commit", "async_simple"),
        ("the same, prepared statements", "async_prepared"),
        ("two clients, synchronous commit", "sync"),
        ("100 rows a statement (rows a second)", "multi"),
        ("one client, asynchronous, by a superuser", "superuser"))]
    reads = [[what, *rates(rows[key], ("view",))] for what, key in (
        ("one message by its id", "point_simple"),
        ("the same, prepared statements", "point_prepared"),
        ("the last 50 messages of a chat", "page_simple"),
        ("the same, prepared statements", "page_prepared"),
        ("one message by its id, each on a new connection", "connect"))]
    return f"""## Rows and pages

Measured with pgbench: bodies of 128 bytes, given ids, 1,000 chats at random. The table shows transactions for each second,
and in brackets their ratio to the plain table's. The plain table has the columns and indexes of
`chatcrypt.sealed_message`, but neither its constraint nor its row-level security. *Function* is an INSERT into a table of
one's own with `chatcrypt.encrypt(…)`.

{table(["INSERT", "plain", "function", "view"], inserts)}
With prepared statements PostgreSQL itself has less to do, so that the same microseconds of chatcrypt are a larger part of
the whole: for every statement the view's trigger checks the table's constraint, opens the table and its indexes once more,
looks up the key and encrypts.

![INSERT against the plain table](performance-insert.svg)

{table(["SELECT", "plain", "view"], reads)}"""


def bulk_section(bulk):
    inserts = [[what, number(bulk["insert_s"][key], 2),
                number(bulk["insert_to_plain"].get(key, 1), 2)] for what, key in (
        ("plain", "plain"), ("function", "function"), ("view", "view"))]
    copies = [[what, number(bulk["copy_s"][key], 2), number(ratio, 2)] for what, key, ratio in (
        ("plain", "plain", 1), ("view", "view", bulk["copy_to_plain"]))]
    return f"""## Many rows at once

`INSERT … SELECT` of {number(bulk["rows"])} rows, and `COPY` of {number(bulk["copy_rows"])}, into empty tables with the
two indexes that `chatcrypt.sealed_message` has; in seconds, and against the plain table.

{table(["INSERT … SELECT", "seconds", "times plain"], inserts)}
{table(["COPY", "seconds", "times plain"], copies)}"""


def keys_section(keys):
    rows = [
        ["Encrypting a short text: key at hand in the process", f"{number(keys['local_ns'])} ns"],
        ["The same: key in the shared cache", f"{number(keys['shared_ns'])} ns"],
    ]
    if "cold_calls" in keys:
        rows += [
            [f"`warm_keys()` of {number(keys['cold'])} cold chats", f"{number(keys['cold_s'], 2)} s, {keys['cold_calls']} calls"],
            [f"{number(keys['scan_cold'])} cold chats that a statement meets one by one",
             f"{number(keys['scan_cold_ms'], 2)} ms each, {keys['scan_cold_calls']} calls"],
            ["Memory of the key cache", f"{number(keys['cache_bytes'] / 2**20)} MB for "
                                        f"{number(keys['cache_capacity'])} keys, {number(keys['bytes_a_dek'])} bytes each"],
        ]
    return f"""## Keys

{table(["", ""], rows)}
A statement that meets cold chats requests their keys one after the other, and waits `chatcrypt.kms_batch_delay` for each, in
case other sessions have requests too: call `chatcrypt.warm_keys()` before a report over many chats.
"""


def storage_section(storage):
    rows = [[name, number(storage[key]["value"]), number(storage[key]["heap"]), number(storage[key]["row"]),
             number(storage[key]["row"] / storage["plain"]["row"], 2)] for name, key in (
        ("plain text", "plain"), ("chatcrypt", "chatcrypt"), ("pgcrypto, `pgp_sym_encrypt`", "pgcrypto"))]
    return f"""## Storage

Bytes a message of {storage["body"]} bytes, over {number(storage["rows"])} of them: the value itself, the table, and the table
with its two indexes.

{table(["", "value", "table", "with indexes", "times plain"], rows)}"""


def scale_section(scale):
    rows = []
    for size in scale["sizes"]:
        rows.append([number(size["chats"]), number(size["create_us"]), number(size["warm_us"]), number(size["added_ns"]),
                     *(number(size[key]["to_plain"]["view"], 2) for key in ("insert", "point", "page"))])
    small = scale["small_cache"]
    calls = f", with {number(small['half_calls'])} calls to the KMS" if "half_calls" in small else ""
    return f"""## More chats

The same {number(scale["messages"])} messages, in more and more chats, each at random. A process keeps 4,096
keys in its own memory, and takes others from the shared cache. It remembers the identity of up to 131,072 keys (which then
take 14 MB of its memory); beyond that, opening a message reads the row of its key first. The last three columns are ratios
to the plain table, as above.

{table(["chats", "µs to make one", "µs to warm one", "ns a message in a scan, more than copying", "INSERT",
        "one by id", "page of 50"], rows)}
![More chats](performance-scale.svg)

With {number(small["chats"])} chats and room for all keys, {number(small["whole_tps"])} messages a second are read by their ids,
one client; with `chatcrypt.cache_size` for half of them, {number(small["half_tps"])}{calls}. Make the cache large enough.
"""


def plots(numbers):
    made = {}
    if "scan" in numbers:
        added = numbers["scan"]["pgcrypto"]["added_ns"]
        made["decrypt"] = svg.bars(
            "Decrypting a message of 128 bytes", "Nanoseconds in a scan, less a scan that copies. Shorter is better.",
            [("chatcrypt", [(1, added["chatcrypt"], f"{number(added['chatcrypt'])} ns")]),
             ("pgcrypto, same work", [(0, added["hmac"], f"{number(added['hmac'])} ns")]),
             ("the core alone", [(2, numbers["scan"]["decrypting"]["ns"]["core"],
                                  f"{number(numbers['scan']['decrypting']['ns']['core'])} ns")])])
    if "rows" in numbers:
        groups = []
        for what, key in (("one client, async", "async_simple"), ("the same, prepared", "async_prepared"),
                          ("two clients, sync", "sync"), ("100 rows a statement", "multi")):
            to_plain = numbers["rows"][key]["to_plain"]
            groups.append((what, [(2, to_plain["function"], f"function {number(to_plain['function'], 2)}"),
                                  (1, to_plain["view"], f"view {number(to_plain['view'], 2)}")]))
        made["insert"] = svg.bars("INSERT, against the plain table", "Rows a second as a part of the plain table's. Longer is better.",
                                  groups, goal=(1.0, "plain table"))
    if "scale" in numbers:
        made["scale"] = svg.bars(
            "Decrypting in a scan, by the number of chats", "Nanoseconds a message more than copying it. Shorter is better.",
            [(f"{number(size['chats'])} chats", [(1, size["added_ns"], f"{number(size['added_ns'])} ns")])
             for size in numbers["scale"]["sizes"]])
    return made


SECTIONS = [("scan", scan_section), ("rows", rows_section), ("bulk", bulk_section), ("keys", keys_section),
            ("storage", storage_section), ("scale", scale_section)]
GOALS = [("scan", scan_goals), ("rows", row_goals), ("bulk", bulk_goals), ("keys", key_goals), ("storage", storage_goals)]


def markdown(numbers):
    goals = Goals()
    for name, add in GOALS:
        if name in numbers:
            add(goals, numbers[name])
    head = f"""# Performance

`bench/sql/run` writes this page, and repeats all of these measurements on your machine. Cases that are compared take turns
in one run. The tables show medians, and for comparisons the median of the ratios of each turn. Absolute times depend on
the machine; ratios depend on it less.

{table(["what", "value", "goal", "met"], [list(row) for row in goals.rows])}
"""
    parts = [section(numbers[name]) for name, section in SECTIONS if name in numbers]
    return head + "\n".join(parts + [machine_section(numbers["machine"])])


def write(numbers, folder):
    with open(os.path.join(folder, "performance.md"), "w", encoding="utf-8") as file:
        file.write(markdown(numbers))
    for name, picture in plots(numbers).items():
        with open(os.path.join(folder, f"performance-{name}.svg"), "w", encoding="utf-8") as file:
            file.write(picture)
