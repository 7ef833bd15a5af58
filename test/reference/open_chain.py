#!/usr/bin/python3
"""Opens the event chain of a database with the reference alone.

    open_chain.py main.key < what-the-database-holds.json

The key of the chain is wrapped by a local master key.  It prints what it found, one
line each: the key's check value, and each seal.
"""
import json
import pathlib
import sys

import chatcrypt_formats as cc


def seal_of(row):
    fields = {name: row[name] for name in ("number", "system_id", "horizon", "sealed_at", "event_ids")}
    return dict(fields, previous_mac=bytes.fromhex(row["previous_mac"]),
                digests=bytes.fromhex(row["digests"]))


def main(key_file):
    held = json.load(sys.stdin)
    context = cc.wrap_context(bytes.fromhex(held["deployment"]), cc.NO_CHAT, cc.EVENTS, 1)
    master = bytes.fromhex(pathlib.Path(key_file).read_text("ascii"))
    key = cc.local_open(master, 1, context, bytes.fromhex(held["wrapped"]))
    print("kcv", cc.kcv(key, cc.NO_CHAT, 1).hex() == held["kcv"])
    for row in held["seals"]:
        print("seal", row["number"], cc.seal_mac(key, **seal_of(row)).hex() == row["mac"])


if __name__ == "__main__":
    main(*sys.argv[1:])
