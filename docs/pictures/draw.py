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

    def write(self, folder):
        head = ('<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                'orient="auto-start-reverse"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker>')
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
                 f'aria-label="{html.escape(self.about)}">',
                 f"<style>{STYLE}</style>", f"<defs>{head}</defs>", *self.parts, "</svg>"]
        (folder / f"{self.name}.svg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def overview():
    p = Picture("overview", "Three processes and three levels of keys", 860, 330)
    p.room(150, 14, 470, 302, "PostgreSQL server")
    p.box(10, 84, 110, 60, "Application", "SQL, plaintext")
    p.box(176, 50, 190, 116, "Session", "encrypts and decrypts", "bodies with message keys,", "which it derives")
    p.box(176, 236, 190, 64, "Tables", "envelopes, wrapped keys", css="sealed")
    p.box(420, 50, 180, 60, "Key cache", "data keys in locked memory", css="secret")
    p.box(420, 128, 180, 60, "KMS worker", "has the credentials")
    p.box(420, 236, 180, 64, "Maintenance", "rotates, re-encrypts, purges,", "seals the history")
    p.box(690, 100, 150, 90, "KMS", "wraps data keys with", "a key that never", "leaves it", css="secret")
    p.arrow((120, 114), (176, 114))
    p.arrow((270, 166), (270, 236), label="envelope", at=(278, 206), anchor="start")
    p.arrow((366, 80), (420, 80), label="hit")
    p.arrow((366, 150), (420, 150), label="miss")
    p.arrow((510, 128), (510, 110))
    p.arrow((600, 158), (690, 150), label="TLS", at=(655, 142))
    p.arrow((420, 268), (366, 268))
    p.text(640, 240, "Three levels of keys", "title", "start")
    p.text(640, 258, "The KMS key wraps a data key", "small", "start")
    p.text(640, 275, "of each chat; from that comes", "small", "start")
    p.text(640, 292, "a key of each message.", "small", "start")
    return p


def message():
    p = Picture("message", "A message's way to disk and back", 860, 360)
    p.text(20, 26, "INSERT INTO chatcrypt.messages", "title", "start")
    steps = [("view's trigger", "checks the chat, the", "sender and the actor"),
             ("keyring", "the chat's active", "data key"),
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
             ("keyring", "the data key of the", "envelope's version"),
             ("AES-256-GCM", "checks key and tag", "before it decrypts"),
             ("text", "only in the memory", "of this statement")]
    x = 20
    for n, (title, *lines) in enumerate(steps):
        css = "sealed" if n == 0 else "secret" if n == 2 else "box"
        p.box(x, 214, 148, 92, title, *lines, css=css)
        if n:
            p.arrow((x - 20, 260), (x, 260))
        x += 168
    p.text(20, 340, "Orange boxes hold a key in plaintext. Blue boxes are on disk: a thief of the disk has only these.", "small", "start")
    return p


def cold_key():
    p = Picture("cold-key", "A cold key's way to the KMS and back", 860, 400)
    p.room(14, 14, 270, 370, "Session")
    p.room(300, 14, 360, 370, "KMS worker")
    p.box(34, 48, 230, 58, "key is not in memory", "not in the keyring, not in the cache")
    p.box(34, 142, 230, 58, "row of chatcrypt.dek", "wrapped key and its check value", css="sealed")
    p.box(34, 236, 230, 58, "request slot", "the session sleeps until it is filled")
    p.box(34, 314, 230, 58, "key is ready for use", "in the keyring and in the key cache", css="secret")
    p.arrow((149, 106), (149, 142))
    p.arrow((149, 200), (149, 236))
    p.box(320, 48, 320, 58, "flight", "one for each key that sessions wait for")
    p.box(320, 128, 320, 58, "line", "one for each KMS key: queues, refusals, breaker")
    p.box(320, 208, 320, 58, "batch", "up to 256 keys in one call, after a short delay")
    p.box(320, 314, 320, 58, "check value is compared", "a key that the row does not pin is refused", css="secret")
    p.arrow((264, 265), (292, 265), (292, 77), (320, 77))
    p.arrow((480, 106), (480, 128))
    p.arrow((480, 186), (480, 208))
    p.box(700, 200, 146, 74, "KMS", "unwraps them", css="secret")
    p.arrow((640, 230), (700, 230), label="wrapped", at=(670, 222))
    p.arrow((773, 274), (773, 343), (640, 343), label="data keys", at=(766, 312), anchor="end")
    p.arrow((320, 343), (264, 343))
    return p


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for picture in (overview(), message(), cold_key()):
        picture.write(folder)


if __name__ == "__main__":
    main()
