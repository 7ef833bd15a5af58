"""Writing many rows with one statement: INSERT ... SELECT and COPY."""

import os

import load
from measure import interleave, medians, ratio, say


def run(bench):
    say(f"bulk: {bench.messages} rows with one statement")
    server, rounds = bench.server, max(1, bench.rounds // 2 + 1) if not bench.quick else 1
    with server.session(bench.main) as admin, server.session(bench.main, "app") as app:
        copied = copy_rows(bench, admin, app, max(1, rounds // 2 + 1))
        cases = {name: (lambda sql=sql: app.seconds(sql)) for name, sql in load.FILL.items()}
        taken = interleave(cases, rounds, before=lambda name: load.empty(admin, name))
        for name, table in load.TABLES.items():
            if int(admin.value(f"SELECT count(*) FROM {table}")) != bench.messages:
                raise SystemExit(f"{table} does not hold what was written")
        load.settle(admin)
    return {
        "rows": bench.messages,
        "insert_s": medians(taken),
        "insert_to_plain": {name: ratio(taken[name], taken["plain"]) for name in ("function", "view")},
        **copied,
    }


def copy_rows(bench, admin, app, rounds):
    """COPY of a file into the plain table and into the view."""
    rows = bench.messages // 4
    path = os.path.join(bench.home, "rows.copy")
    app.run(f"\\copy (SELECT {load.GIVEN} FROM bench.source WHERE n <= {rows} ORDER BY n) TO '{path}'")
    cases = {
        "plain": lambda: app.seconds(f"\\copy bench.plain ({load.GIVEN}) FROM '{path}'"),
        "view": lambda: app.seconds(f"\\copy chatcrypt.messages ({load.GIVEN}) FROM '{path}'"),
    }
    taken = interleave(cases, rounds, before=lambda name: load.empty(admin, name))
    os.unlink(path)
    for name in cases:
        if int(admin.value(f"SELECT count(*) FROM {load.TABLES[name]}")) != rows:
            raise SystemExit("COPY did not write what it was given")
    return {"copy_rows": rows, "copy_s": medians(taken), "copy_to_plain": ratio(taken["view"], taken["plain"])}
