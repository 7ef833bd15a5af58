"""The formats of chatcrypt, written a second time.

This file was written from docs/format.md's rules and shares nothing with
src/core: it exists so that the C code can be checked against somebody else's
reading of the same rules.  It is slow, keeps keys in ordinary memory, and is
for tests and for reading, never for use.

What it needs ships with Debian: python3-cryptography for AES-256-GCM and
python3-nacl for the secretbox.  HMAC is Python's own, HKDF is written out here.

Every function takes and gives bytes.  What does not open raises FormatError,
whose `status` is the name that the C core has for it without its CC_ERR_.
"""
import hashlib
import hmac
import os
import struct

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE_MESSAGE = 1
SUITE_ATTACHMENT = 2
SUITE_CONVERSATION = 3
LOCAL_WRAPPING = 1

HEADER_LEN = 5                      # suite, version
SALT_LEN = 12
COMMITMENT_LEN = 16
TAG_LEN = 16
ENVELOPE_OVERHEAD = HEADER_LEN + SALT_LEN + COMMITMENT_LEN + TAG_LEN

CHUNK_LEN = 16384
CHUNK_SALT_LEN = 24
CHUNK_COMMITMENT_LEN = 32
PART_HEADER_LEN = HEADER_LEN + CHUNK_SALT_LEN + CHUNK_COMMITMENT_LEN

SECRETBOX_NONCE_LEN = 24
SECRETBOX_OVERHEAD = HEADER_LEN + SECRETBOX_NONCE_LEN + TAG_LEN

LOCAL_SALT_LEN = 16
LOCAL_LEN = HEADER_LEN + LOCAL_SALT_LEN + 32 + TAG_LEN

MESSAGE_MAX = 1 << 30
PART_MAX = 1 << 29
AAD_MAX = 1 << 16
TOKEN_MAX = 1024

USES = ("message", "commit", "attachment", "search", "kcv")
PURPOSES = ("data", "search", "conversation")       # of the keys of a chat
EVENTS = "events"                                   # of the key of the event chain


class FormatError(Exception):
    """What was given does not open, or cannot be sealed."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


def need(condition, status):
    if not condition:
        raise FormatError(status)


def u32(number):
    return struct.pack(">I", number)


def equal(a, b):
    return hmac.compare_digest(a, b)


# --- Keys -------------------------------------------------------------------

def hmac_sha256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf_extract(salt, secret):
    """RFC 5869, section 2.2, with SHA-256."""
    return hmac_sha256(salt or bytes(32), secret)


def hkdf_expand(prk, info, length, hash_function=hashlib.sha256):
    """RFC 5869, section 2.3."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hash_function).digest()
        output += block
        counter += 1
    return output[:length]


def prk_of(dek):
    return hkdf_extract(b"chatcrypt/v1", dek)


def use_info(use, chat_id, version):
    need(use in USES and len(chat_id) == 16, "ARGUMENT")
    return b"chatcrypt/v1/" + use.encode() + b"\0" + chat_id + u32(version)


def derive(dek, chat_id, version, use):
    """K(use) of one DEK."""
    need(len(dek) == 32, "ARGUMENT")
    need(0 < version < 1 << 32, "VERSION")
    return hkdf_expand(prk_of(dek), use_info(use, chat_id, version), 32)


def kcv(dek, chat_id, version):
    return derive(dek, chat_id, version, "kcv")


def wrap_context(deployment_id, chat_id, purpose, version):
    need(purpose in PURPOSES + (EVENTS,), "ARGUMENT")
    need(0 < version < 1 << 32, "VERSION")
    return hashlib.sha256(b"chatcrypt/v1/wrap\0" + deployment_id + chat_id
                          + purpose.encode() + b"\0" + u32(version)).digest()


# --- AES-256-GCM -------------------------------------------------------------

def gcm_seal(key, nonce, plaintext, aad=b""):
    """Ciphertext, then the tag."""
    return AESGCM(key).encrypt(nonce, plaintext, aad)


def gcm_open(key, nonce, sealed, aad=b""):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise FormatError("AUTH") from None


# --- What every format begins with --------------------------------------------

def read_header(data, suite, version, minimum):
    """Checks suite, version and least length; these need no key."""
    need(len(data) >= HEADER_LEN, "TRUNCATED")
    need(data[0] == suite, "SUITE")
    found = struct.unpack(">I", data[1:5])[0]
    need(found != 0 and found == version, "VERSION")
    need(len(data) >= minimum, "TRUNCATED")


def inspect(data):
    """Suite, version and length of the plaintext (0 for an attachment part)."""
    need(len(data) >= 1, "TRUNCATED")
    least = {SUITE_MESSAGE: ENVELOPE_OVERHEAD, SUITE_CONVERSATION: SECRETBOX_OVERHEAD,
             SUITE_ATTACHMENT: PART_HEADER_LEN + TAG_LEN}
    need(data[0] in least, "SUITE")
    need(len(data) >= HEADER_LEN, "TRUNCATED")
    version = struct.unpack(">I", data[1:5])[0]
    need(version != 0, "VERSION")
    need(len(data) >= least[data[0]], "TRUNCATED")
    if data[0] == SUITE_ATTACHMENT:
        check_chunked_len(len(data) - HEADER_LEN)
        return data[0], version, 0
    need(len(data) - least[data[0]] <= MESSAGE_MAX, "TOO_LARGE")
    return data[0], version, len(data) - least[data[0]]


# --- The message envelope ------------------------------------------------------

def message_secrets(dek, chat_id, version, message_id, salt):
    """The key, commitment and nonce of one message, and the info they come from."""
    need(len(message_id) == 16 and len(salt) == SALT_LEN, "ARGUMENT")
    info = b"m1" + salt + message_id
    key = hkdf_expand(derive(dek, chat_id, version, "message"), info, 32)
    both = hkdf_expand(derive(dek, chat_id, version, "commit"), info, COMMITMENT_LEN + 12)
    return key, both[:COMMITMENT_LEN], both[COMMITMENT_LEN:], info


def envelope_seal(dek, chat_id, version, message_id, plaintext, aad=b"", salt=None):
    need(len(plaintext) <= MESSAGE_MAX and len(aad) <= AAD_MAX, "TOO_LARGE")
    salt = os.urandom(SALT_LEN) if salt is None else salt
    key, commitment, nonce, _ = message_secrets(dek, chat_id, version, message_id, salt)
    header = bytes([SUITE_MESSAGE]) + u32(version)
    return header + salt + commitment + gcm_seal(key, nonce, plaintext, header + aad)


def envelope_open(dek, chat_id, version, message_id, envelope, aad=b""):
    read_header(envelope, SUITE_MESSAGE, version, ENVELOPE_OVERHEAD)
    need(len(aad) <= AAD_MAX and len(envelope) - ENVELOPE_OVERHEAD <= MESSAGE_MAX, "TOO_LARGE")
    salt = envelope[5:17]
    key, commitment, nonce, _ = message_secrets(dek, chat_id, version, message_id, salt)
    need(equal(commitment, envelope[17:33]), "AUTH")
    return gcm_open(key, nonce, envelope[33:], envelope[:5] + aad)


def row_aad(created_at, sender):
    """The additional data of a message in a row; sender is None, or its UTF-8."""
    need(-(1 << 63) <= created_at < 1 << 63, "ARGUMENT")
    data = b"row\0" + created_at.to_bytes(8, "big", signed=True)
    data += b"\0" if sender is None else b"\1" + sender
    need(len(data) <= AAD_MAX, "TOO_LARGE")
    return data


# --- Attachment parts: C2SP chunked encryption -----------------------------------

def chunk_secrets(input_key, salt, context):
    """The key, base nonce and commitment of c2sp.org/chunked-encryption."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    output = hkdf_expand(input_key, info, 32 + 12 + CHUNK_COMMITMENT_LEN, hashlib.sha512)
    return output[:32], output[32:44], output[44:]


def chunk_nonce(base_nonce, number):
    counter = number.to_bytes(12, "big")
    return bytes(a ^ b for a, b in zip(base_nonce, counter))


def chunked_seal(input_key, salt, context, plaintext):
    key, base_nonce, commitment = chunk_secrets(input_key, salt, context)
    chunks = [plaintext[at:at + CHUNK_LEN] for at in range(0, len(plaintext) + 1, CHUNK_LEN)]
    return salt + commitment + b"".join(gcm_seal(key, chunk_nonce(base_nonce, n), chunk)
                                        for n, chunk in enumerate(chunks))


def check_chunked_len(length):
    """The last chunk is there, has a tag, and is shorter than the others."""
    least = CHUNK_SALT_LEN + CHUNK_COMMITMENT_LEN + TAG_LEN
    need(length >= least, "TRUNCATED")
    tail = (length - least + TAG_LEN) % (CHUNK_LEN + TAG_LEN)
    need(tail >= TAG_LEN, "TRUNCATED")


def chunked_open(input_key, context, sealed):
    check_chunked_len(len(sealed))
    salt, body = sealed[:CHUNK_SALT_LEN], sealed[CHUNK_SALT_LEN + CHUNK_COMMITMENT_LEN:]
    key, base_nonce, commitment = chunk_secrets(input_key, salt, context)
    need(equal(commitment, sealed[CHUNK_SALT_LEN:CHUNK_SALT_LEN + CHUNK_COMMITMENT_LEN]), "AUTH")
    step = CHUNK_LEN + TAG_LEN
    return b"".join(gcm_open(key, chunk_nonce(base_nonce, at // step), body[at:at + step])
                    for at in range(0, len(body), step))


def part_context(version, file_id, part, last, aad):
    need(len(file_id) == 16 and 0 <= part < 1 << 32, "ARGUMENT")
    need(len(aad) <= AAD_MAX, "TOO_LARGE")
    return (bytes([SUITE_ATTACHMENT]) + u32(version) + file_id + u32(part)
            + bytes([1 if last else 0]) + aad)


def part_seal(dek, chat_id, version, file_id, part, last, plaintext, aad=b"", salt=None):
    need(len(plaintext) <= PART_MAX, "TOO_LARGE")
    salt = os.urandom(CHUNK_SALT_LEN) if salt is None else salt
    context = part_context(version, file_id, part, last, aad)
    input_key = derive(dek, chat_id, version, "attachment")
    return context[:5] + chunked_seal(input_key, salt, context, plaintext)


def part_open(dek, chat_id, version, file_id, part, last, sealed, aad=b""):
    read_header(sealed, SUITE_ATTACHMENT, version, PART_HEADER_LEN + TAG_LEN)
    context = part_context(version, file_id, part, last, aad)
    input_key = derive(dek, chat_id, version, "attachment")
    return chunked_open(input_key, context, sealed[5:])


# --- The conversation message -----------------------------------------------------

def file_metadata(complete, part_size, parts, size, name, content_type):
    def counted(text):
        return len(text).to_bytes(2, "big") + text
    return (bytes([1, complete]) + u32(part_size) + u32(parts) + size.to_bytes(8, "big")
            + counted(name.encode()) + counted(content_type.encode()))


def secretbox_seal(dek, version, plaintext, nonce=None):
    need(len(plaintext) <= MESSAGE_MAX, "TOO_LARGE")
    need(0 < version < 1 << 32, "VERSION")
    nonce = os.urandom(SECRETBOX_NONCE_LEN) if nonce is None else nonce
    header = bytes([SUITE_CONVERSATION]) + u32(version)
    return header + nonce + nacl.bindings.crypto_secretbox(plaintext, nonce, dek)


def secretbox_open(dek, version, message):
    read_header(message, SUITE_CONVERSATION, version, SECRETBOX_OVERHEAD)
    try:
        return nacl.bindings.crypto_secretbox_open(message[29:], message[5:29], dek)
    except nacl.exceptions.CryptoError:
        raise FormatError("AUTH") from None


# --- Local wrapping -----------------------------------------------------------------

def local_secrets(master, context, salt):
    output = hkdf_expand(hkdf_extract(salt, master), b"chatcrypt/v1/local" + context, 44)
    return output[:32], output[32:]


def local_seal(master, master_version, context, dek, salt=None):
    need(0 < master_version < 1 << 32, "VERSION")
    need(len(master) == len(context) == len(dek) == 32, "ARGUMENT")
    salt = os.urandom(LOCAL_SALT_LEN) if salt is None else salt
    key, nonce = local_secrets(master, context, salt)
    return bytes([LOCAL_WRAPPING]) + u32(master_version) + salt + gcm_seal(key, nonce, dek)


def local_open(master, master_version, context, wrapped):
    read_header(wrapped, LOCAL_WRAPPING, master_version, LOCAL_LEN)
    need(len(wrapped) == LOCAL_LEN, "TRAILING")
    key, nonce = local_secrets(master, context, wrapped[5:21])
    return gcm_open(key, nonce, wrapped[21:])


# --- Search tokens and ids ------------------------------------------------------------

def blind_token(dek, chat_id, version, kind, token, bits=64):
    """The first 8 bytes of the MAC, of which the first `bits` bits are kept."""
    need(kind in ("w", "p", "t") and 1 <= bits <= 64, "ARGUMENT")
    need(len(token) <= TOKEN_MAX, "TOO_LARGE")
    mac = hmac_sha256(derive(dek, chat_id, version, "search"), kind.encode() + token)
    number = int.from_bytes(mac[:8], "big") >> (64 - bits) << (64 - bits)
    return number.to_bytes(8, "big")


def mix64(value):
    """The finalizer of SplitMix64."""
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 % (1 << 64)
    value = (value ^ value >> 27) * 0x94d049bb133111eb % (1 << 64)
    return value ^ value >> 31


def chat_mark(chat_id):
    """The public hash of a chat's id that its stored tokens are XORed with."""
    high, low = int.from_bytes(chat_id[:8], "big"), int.from_bytes(chat_id[8:], "big")
    return mix64((mix64(high) + low) % (1 << 64))


def stored_token(chat_id, token8):
    """A token as chatcrypt.search_token and the feed have it: 64 bits, without a sign."""
    return int.from_bytes(token8, "big") ^ chat_mark(chat_id)


def terms_of_word(word, prefixes=0, trigrams=False):
    """[(kind, token)] of a lexeme; prefixes is the shortest beginning that has a token, or 0."""
    terms = [("w", word.encode())] if len(word.encode()) <= TOKEN_MAX else []
    if prefixes:
        terms += [("p", word[:n].encode()) for n in range(prefixes, min(len(word), 16) + 1)]
    if trigrams:
        terms += [("t", word[at:at + 3].encode()) for at in range(len(word) - 2)]
    return terms


# --- The history of keys ----------------------------------------------------------------

NO_CHAT = bytes(16)


def counted32(data):
    return u32(len(data)) + data


def event_value(value):
    """A column of an event: None, text, a number, or the 16 bytes of a uuid."""
    if value is None:
        return b"\xff\xff\xff\xff"
    if isinstance(value, int):
        return counted32(value.to_bytes(8, "big", signed=True))
    return counted32(value.encode() if isinstance(value, str) else value)


def event_digest(columns):
    return hashlib.sha256(b"chatcrypt/v1/key_event\0"
                          + b"".join(event_value(value) for value in columns)).digest()


def seal_bytes(number, previous_mac, system_id, horizon, sealed_at, event_ids, digests):
    """What is authenticated of a row of chatcrypt.event_seal; times in microseconds since 2000."""
    data = b"chatcrypt/v1/event_seal\0" + event_value(number) + counted32(previous_mac)
    data += event_value(system_id) + event_value(horizon) + event_value(sealed_at)
    return data + counted32(event_ids.encode()) + counted32(digests)


def seal_mac(key, **seal):
    return hmac_sha256(key, seal_bytes(**seal))


def id_of_bigint(number, space=0):
    """The UUIDv8 of a bigint in an id space."""
    need(-(1 << 63) <= number < 1 << 63 and space >= 0, "ARGUMENT")
    need(space < 1 << 48, "TOO_LARGE")
    bits = number & (1 << 64) - 1
    custom_b, custom_c = bits >> 62, bits & (1 << 62) - 1
    return (space << 80 | 8 << 76 | custom_b << 64 | 2 << 62 | custom_c).to_bytes(16, "big")


def bigint_of_id(id16):
    """(space, number), or None for an id that no bigint has."""
    number = int.from_bytes(id16, "big")
    custom_b, custom_c = number >> 64 & 0xfff, number & (1 << 62) - 1
    if number >> 76 & 15 != 8 or number >> 62 & 3 != 2 or custom_b > 3:
        return None
    bits = custom_b << 62 | custom_c
    return number >> 80, bits - (1 << 64) if bits >> 63 else bits
