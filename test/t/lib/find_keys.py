#!/usr/bin/python3
"""Searches files for keys of chats, and for whatever is derived from them.

    find_keys.py FILE... < description

The description is JSON: {"master": "64 hex digits", "deployment": "hex", "marker": "a text",
"deks": [{"name": "chat 1", "chat": "hex", "version": 1, "wrapped": "hex", "envelope": "hex",
"message": "hex"}]}.  DEKs are unwrapped here, with the master key, so that nobody else holds
them.  Prints one line of JSON: {FILE: [what was found, ...], ...}.

Searched for are each DEK, PRK, K(use), the key of the one message, the keys of the wrapping, and
the HMAC states of PRK, K(message) and K(commit), as bytes and as words of this machine.  Every
run of eight bytes of these that begins on a multiple of eight in the file counts: any copy of
fifteen bytes or more is found wherever it lies.  The marker is sought in the same way.
"""
import json
import mmap
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "reference"))

import chatcrypt_formats as formats  # noqa: E402

BLOCK = 64


# The state of SHA-256 after one block, which hashlib does not show -------------------------------

def primes(count):
    found = []
    number = 2
    while len(found) < count:
        if all(number % p for p in found):
            found.append(number)
        number += 1
    return found


def root_bits(number, root):
    """The first 32 fractional bits of a square or cube root."""
    low, high = 0, number << 40
    while high - low > 1:
        middle = (low + high) // 2
        if middle ** root <= number << (32 * root):
            low = middle
        else:
            high = middle
    return low & 0xffffffff


START = [root_bits(p, 2) for p in primes(8)]
ROUND = [root_bits(p, 3) for p in primes(64)]


def rotate(word, bits):
    return (word >> bits | word << (32 - bits)) & 0xffffffff


def compress(block):
    words = list(struct.unpack(">16I", block))
    for i in range(16, 64):
        a, b = words[i - 15], words[i - 2]
        words.append((words[i - 16] + words[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3)
                      + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10)) & 0xffffffff)
    a, b, c, d, e, f, g, h = START
    for i in range(64):
        first = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + ROUND[i] + words[i]) & 0xffffffff
        second = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c)) & 0xffffffff
        a, b, c, d, e, f, g, h = (first + second) & 0xffffffff, a, b, c, (d + first) & 0xffffffff, e, f, g
    return [(x + y) & 0xffffffff for x, y in zip(START, (a, b, c, d, e, f, g, h))]


def hmac_states(key):
    """The states after the inner and the outer pad; checked against hashlib on the way."""
    padded = key + bytes(BLOCK - len(key))
    inner = compress(bytes(b ^ 0x36 for b in padded))
    outer = compress(bytes(b ^ 0x5c for b in padded))
    return inner, outer


def check_compress():
    import hashlib
    padding = b"\x80" + bytes(BLOCK - 9) + struct.pack(">Q", 0)
    assert struct.pack(">8I", *compress(padding)) == hashlib.sha256(b"").digest()


# What to look for --------------------------------------------------------------------------------

class Needles:
    def __init__(self):
        self.words = {}

    def add(self, name, secret):
        for at in range(len(secret) - 7):
            word = struct.unpack("=Q", secret[at:at + 8])[0]
            self.words[word] = name

    def add_states(self, name, key):
        for which, state in zip(("inner", "outer"), hmac_states(key)):
            self.add("%s state of %s" % (which, name), struct.pack("=8I", *state))
            self.add("%s state of %s" % (which, name), struct.pack(">8I", *state))

    def add_dek(self, one, master, deployment):
        name, chat, version = one["name"], bytes.fromhex(one["chat"]), one["version"]
        wrapped = bytes.fromhex(one["wrapped"])
        context = formats.wrap_context(deployment, chat, "data", version)
        dek = formats.local_open(master, 1, context, wrapped)
        for secret, what in zip(formats.local_secrets(master, context, wrapped[5:21]), ("key", "nonce")):
            self.add("%s of the wrapping of %s" % (what, name), secret)
        self.add("DEK of " + name, dek)
        self.add("PRK of " + name, formats.prk_of(dek))
        self.add_states("PRK of " + name, formats.prk_of(dek))
        for use in ("message", "commit", "attachment", "search"):
            secret = formats.derive(dek, chat, version, use)
            self.add("K(%s) of %s" % (use, name), secret)
            if use in ("message", "commit"):
                self.add_states("K(%s) of %s" % (use, name), secret)
        if "envelope" in one:
            envelope = bytes.fromhex(one["envelope"])
            key, _, _, _ = formats.message_secrets(dek, chat, version, bytes.fromhex(one["message"]), envelope[5:17])
            self.add("key of a message of " + name, key)


def search(path, words):
    size = os.path.getsize(path) // 8 * 8
    if size == 0:
        return []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)[:size].cast("Q")
        found = set(words).intersection(view)
        view.release()
    return sorted({words[word] for word in found})


def main():
    check_compress()
    description = json.load(sys.stdin)
    master = bytes.fromhex(description["master"])
    needles = Needles()
    needles.add("the marker", description["marker"].encode())
    needles.add("the master key", master)
    needles.add("the master key in digits", description["master"].encode())
    for one in description["deks"]:
        needles.add_dek(one, master, bytes.fromhex(description["deployment"]))
    print(json.dumps({path: search(path, needles.words) for path in sys.argv[1:]}))


main()
