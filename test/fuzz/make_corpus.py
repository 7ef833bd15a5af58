#!/usr/bin/python3
"""Makes what the fuzzers of src/core begin with, from test/vectors: make_corpus.py FOLDER

One input for each vector that is short, in a folder for each target.

The layouts are those in the headers of test/fuzz/fuzz_*.c.  An input of the core
begins with 00 (open this) or 01 (seal, open, change a bit, open).
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))

# pylint: disable=wrong-import-position
import chatcrypt_formats as cc
import vectors

LONGEST = 1200


def counted(data):
    return len(data).to_bytes(2, "big") + data


def envelope(v):
    head = v["dek"] + v["chat_id"] + cc.u32(v["dek_version"]) + v["message_id"]
    aad = counted(v["aad"])
    yield "open", b"\0" + head + bytes(12 + 4) + aad + v["envelope"]
    if "plaintext" in v:
        yield "seal", b"\1" + head + v["salt"] + cc.u32(8 * 20) + aad + v["plaintext"]


def part(v):
    head = (v["dek"] + v["chat_id"] + cc.u32(v["dek_version"]) + v["file_id"] + cc.u32(v["part"])
            + bytes([v["last"]]))
    aad = counted(v["aad"])
    if "sealed" in v:
        yield "open", b"\0" + head + bytes(24 + 4) + aad + v["sealed"]
    length = v.get("plaintext_len", len(v.get("plaintext", b"")))
    if "salt" in v and length < 1 << 16:
        yield "seal", (b"\1" + head + v["salt"] + cc.u32(8 * (cc.PART_HEADER_LEN + length // 2))
                       + aad + length.to_bytes(2, "big") + b"\x61")


def secretbox(v):
    head = v["dek"] + cc.u32(v["dek_version"])
    yield "open", b"\0" + head + bytes(24 + 4) + v["message"]
    if "plaintext" in v:
        yield "seal", b"\1" + head + v["nonce"] + cc.u32(8 * 30) + v["plaintext"]


def localwrap(v):
    head = v["master"] + cc.u32(v["master_version"]) + v["context"]
    yield "open", b"\0" + head + bytes(16 + 32 + 4) + v["wrapped"]
    if "dek" in v:
        yield "seal", b"\1" + head + v["salt"] + v["dek"] + cc.u32(8 * 25)


def bigint_id(v):
    space, number = v.get("space", 0), v.get("bigint", 0) & (1 << 64) - 1
    yield "both", v.get("uuid", bytes(16)) + space.to_bytes(8, "big") + number.to_bytes(8, "big")


def hex_text(v):
    text = v["envelope"].hex().encode()
    yield "exact", (len(text) // 2).to_bytes(2, "big") + text
    yield "upper", (len(text) // 2).to_bytes(2, "big") + text.upper()
    yield "odd", (len(text) // 2).to_bytes(2, "big") + text[:-1]
    yield "not", b"\0\2" + b"0x0g"


def reader(v):
    """The fields of an envelope read as its parser does, and once beyond the end."""
    steps = bytes([0, 1]) + b"".join(b"\2" + n.to_bytes(2, "big") for n in (12, 16))
    rest = len(v["envelope"]) - 33
    for name, length in (("whole", rest), ("beyond", rest + 1)):
        yield name, counted(v["envelope"]) + steps + b"\2" + length.to_bytes(2, "big")


SOURCES = {"fuzz_envelope": ("message", envelope), "fuzz_part": ("attachment", part),
           "fuzz_secretbox": ("secretbox", secretbox), "fuzz_localwrap": ("local", localwrap),
           "fuzz_id": ("bigint_id", bigint_id), "fuzz_hex": ("message", hex_text),
           "fuzz_reader": ("message", reader)}
FEW = ("fuzz_hex", "fuzz_reader")           # where the vectors differ in nothing that matters


def inputs(target):
    """(file name, bytes) of every input of a target."""
    source, make = SOURCES[target]
    good, refused = vectors.load(source)
    if target in FEW:
        good, refused = good[:2], []
    for kind, rows in (("good", good), ("refused", refused)):
        for number, vector in enumerate(row for row in rows if "of" not in row):
            slug = re.sub("[^a-z0-9]+", "-", vector.get("name", "").lower()).strip("-")
            for how, data in make(vector):
                if len(data) <= LONGEST:
                    yield "-".join(filter(None, (kind, "%02d" % number, slug, how))), data


def main():
    for target in SOURCES:
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs(target):
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
