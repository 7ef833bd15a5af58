"""The public vectors of chunked encryption, with both implementations.

Wycheproof's file is 10 messages that open and 25 that do not.  33 of them are in
test/vectors/wycheproof.json; WYCHEPROOF may name the whole file, with the two of 4 MiB.
"""
import hashlib
import json
import os
import pathlib
import zlib

import chatcrypt_formats as cc
import vectors

KEPT = vectors.FOLDER / "wycheproof.json"
KEY_LEN = 32


def tests_of(path):
    for group in json.loads(path.read_text())["testGroups"]:
        yield from group["tests"]


def opened(implementation, test):
    """The plaintext; None where it does not open."""
    key = bytes.fromhex(test["key"])
    if len(key) != KEY_LEN:     # no implementation takes another length: there is nothing to call
        return None
    try:
        return implementation.call("chunked_open", {
            "key": key, "context": bytes.fromhex(test["ctx"]),
            "sealed": zlib.decompress(bytes.fromhex(test["ct"]))})["plaintext"]
    except cc.FormatError:
        return None


def is_right(implementation, test):
    plaintext = opened(implementation, test)
    if test["result"] != "valid":
        return plaintext is None
    return (plaintext is not None and len(plaintext) == test["msgLength"]
            and hashlib.sha512(plaintext).hexdigest() == test["msgSha512"])


def check_file(tap, implementations, path, valid, invalid):
    tests = list(tests_of(path))
    results = [test["result"] for test in tests]
    tap.check("%s has %d messages that open and %d that do not" % (path.name, valid, invalid),
              sorted(results) == ["invalid"] * invalid + ["valid"] * valid)
    for test in tests:
        for implementation in implementations:
            tap.check("Wycheproof %d, %s: %s" % (test["tcId"], implementation.name, test["comment"]),
                      is_right(implementation, test))


def check(tap, implementations):
    check_file(tap, implementations, KEPT, 8, 25)
    whole = os.environ.get("WYCHEPROOF")
    if whole:
        check_file(tap, implementations, pathlib.Path(whole), 10, 25)
    else:
        print("# Not run: Wycheproof 7 and 8, messages of 4 MiB; WYCHEPROOF names no file that has them")
