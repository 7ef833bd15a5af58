#!/usr/bin/python3
"""Checks the reference by itself, without the C core.

Against other people's answers first, then against every vector; that the vectors
are the frozen ones and can be made again; and that docs/format.md tells the truth.
"""
import hashlib
import json
import subprocess
import sys

import nacl.bindings

import chatcrypt_formats as cc
import make_vectors
import vectors
import worked_example
from implementations import Reference
from tap import Tap


def third_party(name):
    content = json.loads((vectors.FOLDER / "third_party.json").read_text())[name]
    return [{key: bytes.fromhex(value) if isinstance(value, str) else value
             for key, value in vector.items()} for vector in content["vectors"]]


def check_third_party(tap):
    for number, v in enumerate(third_party("hkdf_sha256"), 1):
        prk = cc.hkdf_extract(v["salt"], v["ikm"])
        tap.check("HKDF-SHA256, RFC 5869 A.%d" % number, (prk, v["okm"]) == (
            v["prk"], cc.hkdf_expand(prk, v["info"], v["length"])))
    for v in third_party("secretbox"):
        box = nacl.bindings.crypto_secretbox(v["plaintext"], v["nonce"], v["key"])
        tap.check("secretbox as in NaCl: tag, then ciphertext", box == v["box"])
    for v in third_party("chunked_encryption"):
        plaintext = bytes(i % 251 for i in range(v["plaintext_len"]))
        sealed = cc.chunked_seal(v["input_key"], v["start"][:24], v["context"], plaintext)
        tap.check("chunked encryption of %d bytes as others do it" % len(plaintext),
                  sealed.startswith(v["start"]) and len(sealed) == v["length"]
                  and hashlib.sha256(sealed).digest() == v["sha256"]
                  and cc.chunked_open(v["input_key"], v["context"], sealed) == plaintext)


def check_key_schedule(tap):
    for v in vectors.load("key_schedule")[0]:
        keys = {use: cc.derive(v["dek"], v["chat_id"], v["dek_version"], use) for use in cc.USES}
        tap.check("every K(use) of version %d" % v["dek_version"],
                  v["prk"] == cc.prk_of(v["dek"])
                  and all(v["key_" + use] == key for use, key in keys.items())
                  and len(set(keys.values())) == len(cc.USES))


def check_frozen(tap):
    """A vector that was edited is a format that was changed."""
    sums = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=vectors.FOLDER,
                          capture_output=True, text=True, check=False)
    tap.check("the vectors are the frozen ones", sums.returncode == 0, sums.stdout + sums.stderr)
    listed = {line.split()[1] for line in (vectors.FOLDER / "SHA256SUMS").read_text().splitlines()}
    present = {path.name for path in vectors.FOLDER.glob("*.json")}
    tap.check("every vector file is frozen", listed == present, listed ^ present)
    for name, make in make_vectors.VECTORS.items():
        path = vectors.FOLDER / (name + ".json")
        tap.check("make_vectors.py makes the same %s" % path.name,
                  path.read_text() == make_vectors.text_of(make))


def main():
    tap = Tap()
    check_third_party(tap)
    check_key_schedule(tap)
    check_frozen(tap)
    vectors.check_all(tap, Reference())
    worked_example.check(tap)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
