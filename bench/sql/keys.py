"""Keys: calls to the KMS, and the memory that the key cache takes.

Every restart of the server empties the cache and sets the counters of its views to zero.
"""

import load
from measure import median, say

POINT = "SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(1);\n"
BACKENDS = 32
KEPT_BY_LOCAL_CACHE = 4096


def has_view(admin, name):
    return admin.value(f"SELECT to_regclass('chatcrypt.{name}') IS NOT NULL") == "t"


def kms_calls(admin):
    """Calls since the server started."""
    return int(admin.value("SELECT coalesce(sum(calls), 0) FROM chatcrypt.kms_status"))


def cold_chats(bench, chats):
    """One warm_keys() for many cold chats, and a scan that requests the same keys one by one."""
    bench.server.restart(**bench.settings)
    with bench.server.session(bench.main) as admin, bench.server.session(bench.main, "app") as app:
        taken = app.seconds(f"SELECT (chatcrypt.warm_keys(ARRAY(SELECT generate_series(1::bigint, {chats})))).warmed", expect=chats)
        result = {"cold": chats, "cold_s": taken, "cold_calls": kms_calls(admin)}

    bench.server.restart(**bench.settings)
    few = min(chats, 200)
    with bench.server.session(bench.main) as admin, bench.server.session(bench.main, "app") as app:
        taken = app.seconds(f"SELECT count(chatcrypt.encrypt(n, n, 'x'::text)) FROM generate_series(1::bigint, {few}) AS n",
                            expect=few)
        result.update(scan_cold=few, scan_cold_ms=taken * 1000 / few, scan_cold_calls=kms_calls(admin))
    return result


def one_flight(bench):
    """Many sessions that need the same cold key at once."""
    bench.server.restart(**bench.settings, max_connections=100)
    bench.server.pgbench(bench.main, POINT, clients=BACKENDS, transactions=1)
    with bench.server.session(bench.main) as admin:
        return {"backends": BACKENDS, "flight_calls": kms_calls(admin)}


def new_connections(bench):
    """New connections that each read one message, while the key cache has its key."""
    with bench.server.session(bench.main) as admin:
        before = kms_calls(admin)
        bench.server.pgbench(bench.main, POINT, transactions=100, connect=True)
        return {"connections": 100, "connection_calls": kms_calls(admin) - before}


def memory(bench, admin):
    """Bytes for each data key, by the size of the cache at start."""
    size, capacity = admin.run("SELECT bytes, capacity FROM chatcrypt.cache_status")[0]
    return {"cache_bytes": int(size), "cache_capacity": int(capacity), "bytes_a_dek": int(size) / int(capacity)}


def looking_up(bench, app, chats):
    """What a message costs with its key in the session's own keyring, or in the key cache."""
    count, again = min(chats, KEPT_BY_LOCAL_CACHE // 4), 20
    first = f"SELECT count(chatcrypt.encrypt(n, n, 'x'::text)) FROM generate_series(1::bigint, {count}) AS n"
    more = f"{first}, generate_series(1, {again})"
    near, far = [], []
    for _ in range(bench.rounds):
        with bench.server.session(bench.main, "app") as fresh:
            fresh.run("SELECT chatcrypt.encrypt(1, 1, 'x'::text) IS NULL")
            far.append(fresh.cpu_seconds(first, expect=count) * 1e9 / count)
            near.append(fresh.cpu_seconds(more, expect=count * again) * 1e9 / (count * again))
    return {"local_ns": median(near), "shared_ns": median(far), "looked_up": count}


def run(bench):
    say("keys: calls to the KMS, and memory")
    with bench.server.session(bench.main) as admin, bench.server.session(bench.main, "app") as app:
        load.warm(app, bench.chats)
        result = looking_up(bench, app, bench.chats)
        views = has_view(admin, "kms_status") and has_view(admin, "cache_status")
        if views:
            result.update(memory(bench, admin))
            have = int(admin.value("SELECT count(*) FROM chatcrypt.chat"))
            if have < bench.cold:
                app.run(f"SELECT chatcrypt.create_chats(ARRAY(SELECT generate_series({have + 1}::bigint, {bench.cold})))")
    if views:
        result.update(one_flight(bench))
        result.update(new_connections(bench))
        result.update(cold_chats(bench, bench.cold))
    bench.server.restart(**bench.settings)
    return result
