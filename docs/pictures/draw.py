#!/usr/bin/python3
"""Draws the pictures of the documents: docs/pictures/draw.py [FOLDER]

The SVG files go to the folder, or to where this file is; a test compares those with what it draws.

A picture is a list of boxes and arrows on a grid of pixels.  Its colours follow the reader's
preference for light or dark.
"""
import html
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.small { font-size: 12px; fill: #57606a }
.box { fill: #f6f8fa; stroke: #8c959f }
.room { fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }
.secret { fill: #fff1e5; stroke: #bc4c00 }
.sealed { fill: #ddf4ff; stroke: #0969da }
.arrow { stroke: #57606a; fill: none }
.head { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .box { fill: #161b22; stroke: #7d8590 } .room { stroke: #7d8590 }
  .secret { fill: #3d2100; stroke: #f0883e } .sealed { fill: #051d4d; stroke: #58a6ff }
  .arrow { stroke: #9198a1 } .head { fill: #9198a1 }
}
"""


class Picture:
    def __init__(self, name, about, width, height):
        self.name, self.about, self.width, self.height = name, about, width, height
        self.parts = []

    def text(self, x, y, words, css="", anchor="middle"):
        self.parts.append(f'<text class="{css}" x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>')

    def box(self, x, y, width, height, title, *lines, css="box"):
        """A box with a title, and smaller lines below it."""
        self.parts.append(f'<rect class="{css}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        middle = x + width / 2
        first = y + height / 2 + 5 - 8.5 * len(lines)
        self.text(middle, first, title, "title")
        for n, line in enumerate(lines, 1):
            self.text(middle, first + 17 * n, line, "small")

    def room(self, x, y, width, height, title):
        """A dashed frame around what belongs together."""
        self.parts.append(f'<rect class="room" x="{x}" y="{y}" width="{width}" height="{height}" rx="10"/>')
        self.text(x + 12, y + 20, title, "title", "start")

    def arrow(self, *points, label=None, at=None, anchor="middle"):
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<polyline class="arrow" points="{path}" marker-end="url(#head)"/>')
        if label:
            (x0, y0), (x1, y1) = points[0], points[-1]
            x, y = at or ((x0 + x1) / 2, (y0 + y1) / 2 - 6)
            self.text(x, y, label, "small", anchor)

    def legend(self, x, y):
        self.text(x, y, "Orange boxes hold a key in plaintext. Blue boxes are in the data directory: a thief of it has only these.",
                  "small", "start")

    def write(self, folder):
        head = ('<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                'orient="auto-start-reverse"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker>')
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
                 f'aria-label="{html.escape(self.about)}">',
                 f"<style>{STYLE}</style>", f"<defs>{head}</defs>", *self.parts, "</svg>"]
        (folder / f"{self.name}.svg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def overview():
    p = Picture("overview", "Three processes and three levels of keys", 910, 360)
    p.room(150, 14, 520, 302, "PostgreSQL server")
    p.box(10, 84, 110, 60, "Application", "SQL, plaintext")
    p.box(176, 50, 190, 116, "Session", "encrypts and decrypts", "bodies with message keys,", "which it derives", css="secret")
    p.box(176, 236, 190, 64, "Tables", "envelopes, wrapped keys", css="sealed")
    p.box(470, 50, 180, 60, "Key cache", "data keys in locked memory", css="secret")
    p.box(470, 128, 180, 60, "KMS worker", "has the credentials")
    p.box(470, 236, 180, 64, "Maintenance", "rotates, re-encrypts, purges,", "seals the history")
    p.box(740, 100, 150, 90, "KMS", "wraps data keys with", "a key that never", "leaves it", css="secret")
    p.arrow((120, 114), (176, 114))
    p.arrow((262, 166), (262, 236))
    p.arrow((280, 236), (280, 166), label="envelopes", at=(288, 206), anchor="start")
    p.arrow((470, 80), (366, 80), label="cached key")
    p.arrow((366, 150), (470, 150), label="key not cached")
    p.arrow((560, 128), (560, 110))
    p.arrow((650, 158), (740, 150), label="TLS", at=(705, 142))
    p.arrow((470, 268), (366, 268))
    p.text(690, 240, "Three levels of keys", "title", "start")
    p.text(690, 258, "The KMS key wraps a data key", "small", "start")
    p.text(690, 275, "of each chat; from that comes", "small", "start")
    p.text(690, 292, "a key of each message.", "small", "start")
    p.legend(20, 344)
    return p


def message():
    p = Picture("message", "A message's way to disk and back", 1016, 360)
    p.text(20, 26, "INSERT INTO chatcrypt.messages", "title", "start")
    steps = [("view's trigger", "checks the chat, the", "sender and the actor"),
             ("keyring", "keys derived from the", "chat's active data key"),
             ("HKDF", "key of this message,", "from its id and a salt"),
             ("AES-256-GCM", "encrypts the body; ids,", "sender, time are bound"),
             ("heap and WAL", "hold the envelope,", "never a plaintext")]
    x = 20
    for n, (title, *lines) in enumerate(steps):
        css = "secret" if n in (1, 2) else "sealed" if n == 4 else "box"
        p.box(x, 44, 148, 92, title, *lines, css=css)
        if n:
            p.arrow((x - 20, 90), (x, 90))
        x += 168
    p.text(20, 196, "SELECT body FROM chatcrypt.messages", "title", "start")
    steps = [("heap", "the rows that the", "query asks for"),
             ("row-level security", "only chats in which the", "actor takes part"),
             ("keyring", "keys derived from the", "version's data key"),
             ("HKDF", "key of this message,", "from its id and salt"),
             ("AES-256-GCM", "commitment, then tag:", "no text without both"),
             ("text", "only in the memory", "of this statement")]
    x = 20
    for n, (title, *lines) in enumerate(steps):
        css = "sealed" if n == 0 else "secret" if n in (2, 3) else "box"
        p.box(x, 214, 148, 92, title, *lines, css=css)
        if n:
            p.arrow((x - 20, 260), (x, 260))
        x += 168
    p.legend(20, 340)
    return p


def cold_key():
    p = Picture("cold-key", "A cold key's way to the KMS and back", 1000, 410)
    p.room(14, 14, 250, 360, "Session")
    p.room(280, 14, 180, 360, "Shared memory")
    p.room(476, 14, 320, 360, "KMS worker")
    p.box(28, 48, 222, 58, "key is not in memory", "not in the keyring, not in the cache")
    p.box(28, 142, 222, 58, "row of chatcrypt.dek", "wrapped key and its check value", css="sealed")
    p.box(28, 236, 222, 58, "session sleeps", "until its slot is filled")
    p.box(28, 308, 222, 58, "key is ready for use", "in the keyring and in the key cache", css="secret")
    p.box(294, 142, 152, 92, "request slot", "the wrapped key, and", "then the plaintext key;", "wiped when it is freed", css="secret")
    p.box(294, 308, 152, 58, "key cache", "of all sessions", css="secret")
    p.arrow((139, 106), (139, 142))
    p.arrow((139, 200), (139, 236))
    p.arrow((250, 171), (294, 171))
    p.box(490, 40, 292, 54, "flight", "one for each key that sessions wait for")
    p.box(490, 110, 292, 54, "line", "one for each KMS key: queues, refusals")
    p.box(490, 180, 292, 54, "batch", "many keys in one call, after a short delay")
    p.box(490, 250, 292, 42, "breaker, one for each provider")
    p.box(490, 308, 292, 58, "check value is compared", "a key that the row does not pin is refused", css="secret")
    p.arrow((446, 160), (468, 160), (468, 67), (490, 67))
    p.arrow((636, 94), (636, 110))
    p.arrow((636, 164), (636, 180))
    p.arrow((636, 234), (636, 250))
    p.box(870, 190, 118, 74, "KMS", "unwraps them", css="secret")
    p.arrow((782, 271), (816, 271), (816, 227), (870, 227), label="wrapped", at=(804, 220), anchor="start")
    p.arrow((929, 264), (929, 337), (782, 337), label="data keys", at=(922, 306), anchor="end")
    p.arrow((490, 337), (446, 337))
    p.arrow((490, 320), (458, 320), (458, 220), (446, 220))
    p.arrow((294, 220), (272, 220), (272, 337), (250, 337))
    p.legend(20, 396)
    return p


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for picture in (overview(), message(), cold_key()):
        picture.write(folder)


if __name__ == "__main__":
    main()
