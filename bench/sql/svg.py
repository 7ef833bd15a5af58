"""Horizontal bars as SVG, legible on light and on dark pages, with nothing but text and rects."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP = 720, 190, 120, 18, 6, 12

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.note { font-size: 12px; fill: #57606a }
.axis { stroke: #d0d7de }
.goal { stroke: #cf222e; stroke-dasharray: 4 3 }
.c0 { fill: #8c959f } .c1 { fill: #2f6fdb } .c2 { fill: #1a9e8f } .c3 { fill: #b9770e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .axis { stroke: #3d444d } .goal { stroke: #ff7b72 }
  .c0 { fill: #7d8590 } .c1 { fill: #5b9bff } .c2 { fill: #35c9b5 } .c3 { fill: #e3a341 }
}
"""


def bars(title, note, groups, goal=None):
    """groups: (label, [(color 0 to 3, value, text), ...]); goal: (value, text) or None."""
    values = [value for _, row in groups for _, value, _ in row] + ([goal[0]] if goal else [])
    scale = (WIDTH - LEFT - RIGHT) / max(values)
    y, parts = 62, []
    for label, row in groups:
        height = len(row) * (BAR + GAP) - GAP
        parts.append(f'<text x="{LEFT - 10}" y="{y + height / 2 + 4.5:.1f}" text-anchor="end">{escape(label)}</text>')
        for colour, value, text in row:
            length = max(1.0, value * scale)
            parts.append(f'<rect class="c{colour}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 13.5}">{escape(text)}</text>')
            y += BAR + GAP
        y += GROUP
    parts.append(f'<line class="axis" x1="{LEFT}" y1="56" x2="{LEFT}" y2="{y - GROUP}"/>')
    if goal:
        x = LEFT + goal[0] * scale
        parts.append(f'<line class="goal" x1="{x:.1f}" y1="56" x2="{x:.1f}" y2="{y - GROUP}"/>')
        parts.append(f'<text class="note" x="{x:.1f}" y="{y + 4}" text-anchor="middle">{escape(goal[1])}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14}" role="img" '
            f'aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
            f'<text class="title" x="16" y="24">{escape(title)}</text>\n'
            f'<text class="note" x="16" y="43">{escape(note)}</text>\n' + "\n".join(parts) + "\n</svg>\n")
