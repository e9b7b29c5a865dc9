"""Draw curves as SVG text, so that the pictures need no plotting library and can be compared line by line. Pure."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 32, 56
COLOURS = ("#1b6ca8", "#c8553d", "#2e8b57", "#8e5ea2", "#b8860b", "#444444")
TICKS = 5


def chart(title: str, lines: Mapping[str, Points], *, across: str, marks: Sequence[str] = ()) -> str:
    """Draw named lines of (x, y), at least one point; `marks` names the whole numbers of x, from 0 on."""
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError(f"nothing to draw for {title!r}")
    xs, ys = _bounds([x for x, _ in points]), _bounds([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(title, x=LEFT, y=18, anchor="start"),
        _text(across, x=WIDTH / 2, y=HEIGHT - 26, anchor="middle"),
    ]
    for tick in range(TICKS):
        share = tick / (TICKS - 1)
        value = ys[0] + share * (ys[1] - ys[0])
        _, y = place(xs[0], value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(f"{value:.3g}", x=LEFT - 6, y=y + 4, anchor="end"))
        if not marks:
            value = xs[0] + share * (xs[1] - xs[0])
            parts.append(_text(f"{value:.3g}", x=place(value, ys[0])[0], y=HEIGHT - BOTTOM + 14, anchor="middle"))
    for number, mark in enumerate(marks):
        parts.append(_text(mark, x=place(float(number), ys[0])[0], y=HEIGHT - BOTTOM + 14, anchor="middle"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(name, x=LEFT + 110 * number, y=HEIGHT - 8, anchor="start", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _text(words: str, *, x: float, y: float, anchor: str, colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
