"""The same messages in more and more chats: what a larger set of keys costs."""

import load
import rows
import scan
from keys import has_view, kms_calls
from measure import interleave, median, ratio, say


def fill(bench, admin, app, chats):
    made = load.make_chats(app, chats)
    load.make_source(admin, chats, bench.messages)
    for name in ("plain", "view"):
        app.run(load.FILL[name])
    load.settle(admin)
    return {"chats": chats, "create_us": made * 1e6 / chats}


def scans(bench, app):
    """Nanoseconds a message, read in the order in which they came, with chats at random."""
    cases = {name: (lambda name=name: app.cpu_seconds(scan.SCANS[name], expect=bench.messages) * 1e9 / bench.messages)
             for name in ("copy", "decrypt")}
    taken = interleave(cases, max(1, bench.rounds // 2))
    return median([d - c for d, c in zip(taken["decrypt"], taken["copy"])])


def statements(bench, database, chats, ids):
    options = {"options": "-c synchronous_commit=off"}
    rounds = max(1, bench.turns // 3)
    return {
        "insert": rows.compare(rows.insert_cases(bench, database, chats, ids, names=("plain", "view"), **options), rounds),
        "point": rows.compare(rows.read_cases(bench, database, rows.POINT, bench.messages, chats), rounds),
        "page": rows.compare(rows.read_cases(bench, database, rows.PAGES, bench.messages, chats,
                                             transactions=bench.turn // 4), rounds),
    }


def one_size(bench, chats, ids):
    say(f"scale: {bench.messages} messages in {chats} chats")
    database = f"chats_{chats}"
    with load.open_database(bench.server, database, bench.module) as admin:
        with bench.server.session(database, "app") as app:
            result = fill(bench, admin, app, chats)
    bench.server.restart(**bench.settings)
    with bench.server.session(database, "app") as app:
        result["warm_us"] = load.warm(app, chats) * 1e6 / chats
        result["added_ns"] = scans(bench, app)
        result.update(statements(bench, database, chats, ids))
    return result


def small_cache(bench, chats):
    """A cache that holds half of the keys: point reads find their key there, or ask the KMS."""
    size = chats // 2
    say(f"scale: {chats} chats, and a cache for {size}")
    database = f"chats_{chats}"
    result = {"chats": chats, "cache_size": size}
    for name, settings in (("whole", bench.settings), ("half", {**bench.settings, "chatcrypt__cache_size": size})):
        bench.server.restart(**settings)
        with bench.server.session(database, "app") as app, bench.server.session(database) as admin:
            load.warm(app, chats)
            counted = has_view(admin, "kms_status")
            calls = kms_calls(admin) if counted else 0
            cases = rows.read_cases(bench, database, rows.POINT, bench.messages, chats)
            result[f"{name}_tps"] = median(interleave({"view": cases["view"]}, max(1, bench.turns // 3))["view"])
            if counted:
                result[f"{name}_calls"] = kms_calls(admin) - calls
    return result


def run(bench):
    ids = rows.Ids(2 * 10**15)
    sizes = [one_size(bench, chats, ids) for chats in bench.sizes]
    result = {"messages": bench.messages, "sizes": sizes, "small_cache": small_cache(bench, bench.sizes[1])}
    bench.server.restart(**bench.settings)
    with bench.server.session("postgres") as admin:
        for chats in bench.sizes:
            admin.run(f"DROP DATABASE chats_{chats}")
    return result
