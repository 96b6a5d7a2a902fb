"""What a person sits on: the measures of a seat, the seat itself and its arms.

Works on: shapes being put together, in metres, the floor at y = 0, the seat's middle on the y axis, the front towards
−Z. Knows nothing about what carries the seat.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import LYING, SIDEWAYS, Point, cushion, path, rounded
from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.shape import Shape


@dataclass
class Measures:
    """Of a seat: its top is at `height` and its bottom `thick` below; `rear` is its width behind as a share.

    The back leans by `lean` degrees, reaches `rise` above the seat's top and is `bar` thick; frames too are `bar`
    thick. `round` tells that the seat has no corners.
    """

    width: float
    depth: float
    height: float
    thick: float
    rise: float
    lean: float
    bar: float
    rear: float = 1.0
    round: bool = False

    @property
    def under(self) -> float:
        return self.height - self.thick

    def on_back(self, x: float, height: float, z: float = 0.0) -> Point:
        """A point of the back's middle plane, `height` along it above the seat's middle, `z` behind it."""
        edge = 0.3 * self.depth if self.round else self.depth / 2 - self.bar / 2
        foot = np.array([0, self.height - self.thick / 2, edge])
        return foot + tilt(self.lean) @ np.array([x, height, z])

    def span(self) -> float:
        """How far the back reaches along itself, from the seat's middle."""
        return float((self.rise + self.thick / 2) / np.cos(np.radians(self.lean)))


def measures(random: Generator, **fixed: Any) -> Measures:
    """Those of a common chair, with some of them `fixed`."""
    width = between(random, 0.40, 0.60)
    m = Measures(
        width=width,
        depth=width * between(random, 0.82, 1.15),
        height=between(random, 0.40, 0.50),
        thick=between(random, 0.025, 0.10),
        rise=between(random, 0.30, 0.64),
        lean=between(random, 0, 16),
        bar=between(random, 0.022, 0.055),
        rear=between(random, 0.75, 1.0) if chance(random, 0.4) else 1.0,
    )
    return replace(m, **fixed)


def add_seat(shape: Shape, random: Generator, m: Measures, kind: str | None = None) -> None:
    """The seat between `m.under` and `m.height`: flat, shaped, dished, upholstered or slatted."""
    kind = kind or str(
        random.choice(["flat", "flat", "shaped", "shaped", "soft", "soft", "soft", "topped", "dished", "fall", "slats"])
    )
    middle, size = (0, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth)
    edge = between(random, 0.1, 0.45) * m.thick
    if m.round:
        shape.box(middle, size, exponent=2.0, round=edge)
        if chance(random, 0.3):
            pad = between(random, 0.02, 0.05)
            shape.box(
                (0, m.height + pad / 2 - 0.01, 0),
                (m.width * 0.92, pad + 0.02, m.depth * 0.92),
                exponent=2.0,
                round=0.4 * pad,
            )
    elif kind == "flat":
        shape.box(middle, size, round=edge if chance(random, 0.5) else 0.0)
    elif kind == "shaped" or m.rear < 0.98:
        corner = between(random, 0.03, 0.065) if chance(random, 0.6) else 0.0
        outline = rounded(m.width, m.depth, rear=m.rear, corner=corner)
        shape.extrude(outline, middle, m.thick, turn=LYING, round=edge * 0.6)
        if chance(random, 0.35):
            pad = between(random, 0.02, 0.06)
            soft = rounded(m.width * 0.92, m.depth * 0.88, rear=m.rear, corner=0.05)
            shape.extrude(soft, (0, m.height + pad / 2 - 0.01, -0.01), pad + 0.02, turn=LYING, round=pad * 0.45)
    elif kind == "soft":
        cushion(shape, random, middle, size)
    elif kind == "topped":
        shape.box(middle, size)
        pad = between(random, 0.03, 0.09)
        cushion(shape, random, (0, m.height + pad / 2 - 0.01, -0.01), (m.width * 0.95, pad + 0.02, m.depth * 0.9))
    elif kind == "dished":  # its sides rise
        shape.box(
            middle,
            (m.width, m.depth, m.thick),
            turn=LYING,
            bend=between(random, 1, 4) * m.thick / m.width**2,
            round=edge,
        )
    elif kind == "fall":  # its front falls, as its rear does a little
        waterfall = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
        shape.box(
            middle,
            (m.depth, m.width, m.thick),
            turn=waterfall,
            bend=between(random, 1, 3.5) * m.thick / m.depth**2,
            round=edge,
        )
    else:
        slats(shape, random, m)


def slats(
    shape: Shape, random: Generator, m: Measures, count: int | None = None, *, across: bool | None = None
) -> None:
    """A seat of slats from side to side (`across`, or by chance from front to rear) on two bearers."""
    count = count or int(random.integers(4, 8))
    bar = min(m.thick, 0.03)
    across = chance(random, 0.7) if across is None else across
    long, short = (m.width, m.depth) if across else (m.depth, m.width)
    pitch = short / count
    board = pitch * between(random, 0.6, 0.82)
    for n in range(count):
        where = (n + 0.5) * pitch - short / 2
        center = (0, m.height - bar / 2, where) if across else (where, m.height - bar / 2, 0)
        shape.box(center, (long, bar, board) if across else (board, bar, long))
    deep = max(m.thick - bar, 0.02) + 0.01
    for side in (-1, 1):
        at = side * (long / 2 - 0.03)
        center = (at, m.height - bar - deep / 2 + 0.01, 0) if across else (0, m.height - bar - deep / 2 + 0.01, at)
        shape.box(center, (0.035, deep, short) if across else (short, deep, 0.035))
    if not across:
        for side in (-1, 1):
            shape.box((side * (short / 2 - pitch / 2), m.height - bar - deep / 2, 0), (board, deep, long))


def add_arms(shape: Shape, random: Generator, m: Measures, kind: str | None = None) -> None:
    """A pair of arms between the seat's sides and the back."""
    kind = kind or str(
        random.choice(["post", "post", "post", "post", "raked", "loop", "loop", "panel", "tee", "swept", "hoop"])
    )
    if chance(random, 0.3):
        shape.color = (0.06, 0.06, 0.07)
    rise = between(random, 0.15, 0.26)
    wide, bar = between(random, 0.035, 0.075), max(between(random, 0.024, 0.045), 0.8 * m.bar)
    outside = m.width / 2 + (between(random, -0.3, 0.9) * wide if chance(random, 0.7) else 0.0)
    at_back = min(rise + m.thick / 2 + between(random, 0.0, 0.05), m.span() * 0.85)
    front = -m.depth / 2 + between(random, 0.02, 0.3) * m.depth
    level = m.height + rise
    square = float(random.choice([2.0, np.inf, np.inf]))
    edge = between(random, 0.0, 0.45) * bar
    for x in (-1, 1):
        side = x * outside
        rear = m.on_back(side, at_back)
        inner = x * (m.width / 2 - bar / 2) * (m.rear if m.rear < 0.98 else 1)
        foot = np.array([x * (m.width / 2 - bar / 2), m.under + m.thick * 0.3, front + bar])
        if kind == "panel":
            side = x * min(outside, (m.width + 0.8 * wide) / 2)
            tall = level - m.under
            shape.box(
                (side, m.under + tall / 2, (rear[2] + front) / 2), (wide, tall, rear[2] - front + 0.02), round=0.3 * bar
            )
            continue
        if kind == "loop":
            tip = np.array([side * 1.02, level, front + 0.06])
            low = np.array([x * m.width / 2 * 0.97, m.height - m.thick / 2, front + between(random, 0.1, 0.3)])
            nose = np.array([side * 1.04, (level + low[1]) / 2, front - 0.03])
            begin = m.on_back(inner * 0.9, at_back)
            shape.tube(begin, np.array([side * 1.05, level + 0.03, (begin[2] + front) / 2]), tip, bar)
            shape.tube(tip, np.array([side * 1.02, level, front - 0.03]), nose, bar)
            shape.tube(nose, np.array([side * 1.04, low[1], front]), low, bar)
            continue
        if kind == "hoop":  # a closed frame of tube from the seat up, forward and down again
            back_foot = np.array([x * (m.width / 2 - bar / 2), m.under + m.thick * 0.3, rear[2] - 0.04])
            path(
                shape,
                [back_foot, (side, level, rear[2] - 0.02), (side, level, front), foot],
                bar,
                between(random, 0.03, 0.1),
            )
            continue
        drop = between(random, 0.03, 0.1) if kind == "swept" else 0.0
        tip = np.array([side, level - drop, front - between(random, 0.0, 0.05)])
        start = m.on_back(inner if kind == "swept" else side, at_back)
        if abs(start[0]) > m.width / 2 * m.rear - bar / 2:  # else the back would end short of the arm
            shape.rod(start, (inner * 0.97, start[1], start[2] + 0.003), bar, exponent=square)
        if kind == "swept":
            shape.tube(start, (side, level + drop, (start[2] + front) / 2), tip, bar * 1.2)
        else:
            along = tip - start
            length = float(np.linalg.norm(along))
            slope = np.degrees(np.arctan2(-along[1], -along[2]))
            shape.box(
                (start + tip) / 2, (wide, bar, length + 0.03), turn=tilt(float(-slope)), round=edge,
                exponent=float(random.choice([4.0, np.inf])),
            )  # fmt: skip
        if kind == "tee":
            post = np.array([0, 0, between(random, 0.35, 0.6)]) * m.depth
            shape.rod(
                (x * (m.width / 2 - 0.01), m.under + m.thick / 2, front + post[2]),
                (side, level - drop, front + post[2]),
                bar * 1.3,
                exponent=np.inf,
            )
        else:
            head = tip + np.array([0, 0, 0.03])
            foot[2] += between(random, 0.06, 0.16) if kind == "raked" else 0.0
            shape.rod(foot, head, bar, exponent=square)


def side_panels(shape: Shape, m: Measures, outline: list[tuple[float, float]], wide: float) -> None:
    """Two upright boards at the seat's sides, of an outline (forward, up)."""
    for x in (-1, 1):
        shape.extrude(outline, (x * (m.width / 2 + wide / 2 - 0.005), 0, 0), wide, turn=SIDEWAYS)
