#!/usr/bin/python3
"""Holds the C core against the reference: every vector, then random inputs both ways.

    crosscheck.py build/unit/coretool

Each run draws new inputs; CROSSCHECK_SEED, which it prints, repeats one.
CROSSCHECK_ROUNDS (150) says how many inputs of each format.
"""
import os
import random
import sys

import chatcrypt_formats as cc
import vectors
import wycheproof
from implementations import CoreTool, Reference
from tap import Tap

# How a format is drawn, and how it is asked for.
SEALED = {"message": "envelope", "attachment": "sealed", "secretbox": "message",
          "local": "wrapped"}
LEAST = {"message": cc.ENVELOPE_OVERHEAD, "attachment": cc.PART_HEADER_LEN + cc.TAG_LEN,
         "secretbox": cc.SECRETBOX_OVERHEAD, "local": cc.LOCAL_LEN}
CHANGEABLE = {"message": ("dek", "chat_id", "message_id", "aad"),
              "attachment": ("dek", "chat_id", "file_id", "part", "last", "aad"),
              "secretbox": ("dek",), "local": ("master", "context")}


def draw_version(rng):
    return rng.choice((1, 2, 2147483647, 4294967295, rng.randrange(1, 1 << 32)))


def draw_plaintext(rng):
    """Mostly short; sometimes about a block, a chunk or several chunks."""
    around = rng.choice((0, 16, 128, 1024, cc.CHUNK_LEN, 2 * cc.CHUNK_LEN, 65536))
    length = rng.choice((rng.randrange(300), max(0, around + rng.randrange(-2, 3)),
                         rng.randrange(around + 1)))
    return rng.randbytes(length)


def draw(rng, name):
    """A vector of a format without what sealing it gives."""
    if name == "local":
        return {"master": rng.randbytes(32), "master_version": draw_version(rng),
                "context": rng.randbytes(32), "salt": rng.randbytes(16), "dek": rng.randbytes(32)}
    vector = {"dek": rng.randbytes(32), "dek_version": draw_version(rng),
              "plaintext": draw_plaintext(rng)}
    if name == "secretbox":
        return dict(vector, nonce=rng.randbytes(24))
    vector.update(chat_id=rng.randbytes(16), aad=rng.randbytes(rng.choice((0, 0, 5, 21, 400))))
    if name == "message":
        return dict(vector, message_id=rng.randbytes(16), salt=rng.randbytes(12))
    return dict(vector, file_id=rng.randbytes(16), salt=rng.randbytes(24), last=rng.randrange(2),
                part=rng.choice((0, 1, 4294967295, rng.randrange(1 << 32))))


def changed_field(rng, value):
    """The same kind of value, another one."""
    if isinstance(value, bytes) and value:
        at = rng.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1:]
    return b"x" if isinstance(value, bytes) else value ^ 1


def tampered(rng, vector, name):
    """The vector with one thing about it wrong."""
    field, sealed = SEALED[name], vector[SEALED[name]]
    how = rng.randrange(4)
    if how == 0:
        sealed = sealed[:rng.randrange(len(sealed))]
    elif how == 1:
        sealed += rng.randbytes(rng.choice((1, 16, 17)))
    elif how == 2:
        sealed = changed_field(rng, sealed)
    else:
        other = rng.choice(CHANGEABLE[name])
        return dict(vector, **{other: changed_field(rng, vector[other])})
    return dict(vector, **{field: sealed})


class Crosscheck:
    def __init__(self, tap, core, seed, rounds):
        self.tap, self.core, self.reference = tap, core, Reference()
        self.rng, self.rounds = random.Random(seed), rounds

    def same_status(self, name, vector, refused=True):
        """None where both give the same answer, and refuse if they must; else what they gave."""
        opens = vectors.FORMATS[name][1]
        both = [vectors.status_of(one, opens, vector) for one in (self.core, self.reference)]
        if both[0] == both[1] and (both[0] != "OK" or not refused):
            return None
        return "core %s, reference %s: %s" % (*both, vectors_text(vector))

    def one_round(self, name):
        """Seals with each and opens with the other; gives a complaint or None."""
        makes, opens = vectors.FORMATS[name]
        vector = draw(self.rng, name)
        made = [vectors.attempt(one, makes, vector) for one in (self.core, self.reference)]
        if made[0] != made[1] or isinstance(made[0], str):
            return "sealed otherwise: " + vectors_text(vector)
        vector[SEALED[name]] = made[0]
        for one in (self.core, self.reference):
            if vectors.attempt(one, opens, vector) != vector[opens[2]]:
                return "%s opens it otherwise: %s" % (one.name, vectors_text(vector))
        return self.same_status(name, tampered(self.rng, vector, name))

    def random_rounds(self, name):
        complaints = [c for c in (self.one_round(name) for _ in range(self.rounds)) if c]
        self.tap.check("%d random of %s: sealed alike, opened by each other, spoilt ones refused"
                       % (self.rounds, name), not complaints, "\n".join(complaints[:3]))

    def every_position(self, name):
        """A short one with each byte changed in turn, and cut at each length."""
        makes = vectors.FORMATS[name][0]
        vector = draw(self.rng, name)
        if "plaintext" in vector:
            vector["plaintext"] = self.rng.randbytes(20)
        field, sealed = SEALED[name], vectors.ask(self.reference, makes, vector)
        flips = [sealed[:at] + bytes([sealed[at] ^ 1 << at % 8]) + sealed[at + 1:]
                 for at in range(len(sealed))]
        cuts = [sealed[:length] for length in range(len(sealed))]
        for label, spoilt in (("changed at each byte", flips), ("cut at each length", cuts)):
            complaints = [self.same_status(name, dict(vector, **{field: data})) for data in spoilt]
            complaints = [c for c in complaints if c]
            self.tap.check("%s %s (%d): refused alike" % (name, label, len(spoilt)),
                           not complaints, "\n".join(complaints[:3]))

    def inspections(self):
        """Heads of every kind, whole and cut: the same suite, version and length from both."""
        def answer(one, data):
            try:
                return one.call("inspect", {"envelope": data})
            except cc.FormatError as error:
                return error.status
        step = cc.CHUNK_LEN + cc.TAG_LEN
        heads = [(bytes([suite]) + cc.u32(version) + bytes(100))[:length]
                 for suite in (0, 1, 2, 3, 4, 127, 255) for version in (0, 1, 4294967295)
                 for length in range(106)]
        heads += [b"\2" + cc.u32(1) + bytes(cc.PART_HEADER_LEN - 5 + n * step + more)
                  for n in (1, 2) for more in (-1, 0, 1, 15, 16, 17)]
        complaints = []
        for head in heads:
            both = [answer(one, head) for one in (self.core, self.reference)]
            if both[0] != both[1]:
                complaints.append("%d bytes, %s: %s" % (len(head), head[:100].hex(), both))
        self.tap.check("inspect says the same of %d heads" % len(heads), not complaints,
                       "\n".join(complaints[:5]))

    def plain_answers(self):
        """What is derived and not sealed: tokens, check values, contexts, ids."""
        draws = {"blind": self.draw_token, "id": self.draw_number, "kcv": self.draw_key,
                 "row_aad": self.draw_row,
                 "context": lambda: dict(
                     deployment=self.rng.randbytes(16), chat=self.rng.randbytes(16),
                     purpose=self.rng.choice(cc.PURPOSES + (cc.EVENTS,)), version=draw_version(self.rng))}
        for command, make in draws.items():
            inputs = [make() for _ in range(self.rounds)]
            wrong = [i for i in inputs
                     if self.core.call(command, i) != self.reference.call(command, i)]
            self.tap.check("%d random of %s: the same" % (self.rounds, command), not wrong,
                           wrong[:3])

    def draw_key(self):
        return {"dek": self.rng.randbytes(32), "chat": self.rng.randbytes(16),
                "version": draw_version(self.rng)}

    def draw_token(self):
        return dict(self.draw_key(), kind=self.rng.choice("wpt"), bits=self.rng.randrange(1, 65),
                    token=self.rng.randbytes(self.rng.choice((1, 7, 54, 55, 56, 63, 64, 1024))))

    def draw_row(self):
        has_sender, bits = self.rng.randrange(2), self.rng.randrange(1, 64)
        sender = self.rng.randbytes(self.rng.choice((0, 1, 5, 300))) if has_sender else b""
        return {"created_at": self.rng.randrange(-(1 << bits), 1 << bits),
                "has_sender": has_sender, "sender": sender}

    def draw_number(self):
        bits = self.rng.randrange(1, 64)
        return {"space": self.rng.randrange(1 << self.rng.randrange(1, 49)),
                "number": self.rng.randrange(-(1 << bits), 1 << bits)}

    def limits(self):
        """One byte over a limit is refused by both, the limit itself by neither."""
        vector = dict(draw(self.rng, "message"), plaintext=b"hello")
        makes = vectors.FORMATS["message"][0]
        for length, expected in ((cc.AAD_MAX, "OK"), (cc.AAD_MAX + 1, "TOO_LARGE")):
            vector["aad"] = bytes(length)
            both = [vectors.status_of(one, makes, vector) for one in (self.core, self.reference)]
            self.tap.check("aad of %d bytes: %s" % (length, expected), both == [expected] * 2, both)


def vectors_text(vector):
    return ", ".join("%s=%s" % (key, value.hex()[:400] if isinstance(value, bytes) else value)
                     for key, value in vector.items())


def main(path):
    seed = int(os.environ.get("CROSSCHECK_SEED") or random.SystemRandom().randrange(1 << 32))
    rounds = int(os.environ.get("CROSSCHECK_ROUNDS") or 150)
    print("# CROSSCHECK_SEED=%d" % seed, flush=True)
    tap, core = Tap(), CoreTool(path)
    vectors.check_all(tap, core)
    crosscheck = Crosscheck(tap, core, seed, rounds)
    for name in SEALED:
        crosscheck.random_rounds(name)
        crosscheck.every_position(name)
    crosscheck.inspections()
    crosscheck.plain_answers()
    crosscheck.limits()
    wycheproof.check(tap, (core, Reference()))
    tap.check("coretool ended without a complaint of the sanitizers", core.close())
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
