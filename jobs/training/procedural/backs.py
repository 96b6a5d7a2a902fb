"""Back rests: panels, frames, slats, ladders, spindles, medallions, hoops and cushions.

Works on: shapes being put together and the measures of a seat. Knows nothing about what carries the seat.

A back that is cut out must be made before what its cutter could touch.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import cushion, silhouette
from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.procedural.seating import Measures
from jobs.training.shape import Shape

KINDS = (
    *["panel"] * 3, *["curved"] * 3, *["outlined"] * 2, *["framed"] * 2, *["slats"] * 2, *["ladder"] * 2,
    *["floating"] * 2, "crest", "spindles", "bow", "oval", "window", "fan", "splat", "lattice", "pillow", "scroll",
)  # fmt: skip


def add_back(shape: Shape, random: Generator, m: Measures, kind: str | None = None) -> None:
    """A back of a `kind` in `KINDS`, from the seat's rear edge up."""
    kind = kind or str(random.choice(KINDS))
    turn, span, width = tilt(m.lean), m.span(), m.width * m.rear
    thick = m.bar * between(random, 0.8, 1.3)
    edge = between(random, 0.0, 0.45) * thick
    bend = between(random, 0.4, 2.0) * min(1.0, 0.5 / m.width) ** 2 if chance(random, 0.5) else 0.0
    if m.round:
        width *= 0.78

    def plate(low: float, high: float, wide: float, thick: float, *, round: float = 0.0, bend: float = 0.0) -> None:
        shape.box(m.on_back(0, (low + high) / 2), (wide, high - low, thick), turn=turn, round=round, bend=bend)

    def posts(to: float, size: float | None = None, inward: float = 0.0) -> None:
        size = size or max(m.bar, 0.024)
        exponent = float(random.choice([2.0, np.inf, np.inf]))
        tip = size * between(random, 0.6, 1.0)
        for x in (-1, 1):
            side = x * (width - size) / 2
            shape.rod(
                m.on_back(side, -m.thick * 0.3), m.on_back(side - x * inward, to), size,
                end_thickness=tip, exponent=exponent,
            )  # fmt: skip

    def sag(x: float, curve: float) -> float:
        return -curve * x * x / 2

    if span < 0.25 and kind in ("framed", "window", "oval"):  # a stool's, too low for an opening
        kind = "panel"
    if kind == "panel":
        shape.box(
            m.on_back(0, span / 2), (width, span, thick),
            turn=turn, taper=(between(random, 0, 0.3), between(random, 0, 0.5)), round=edge,
        )  # fmt: skip
    elif kind == "curved":
        flip = chance(random, 0.4)  # wider above than below
        shape.box(
            m.on_back(0, span / 2), (width, span, thick), turn=turn @ tilt(180, "z") if flip else turn,
            taper=(between(random, 0, 0.3), 0), bend=between(random, 0.8, 2.6), round=edge,
        )  # fmt: skip
    elif kind == "outlined":
        shape.extrude(silhouette(random, width, span), m.on_back(0, 0), thick, turn=turn, round=edge)
    elif kind in ("framed", "window"):
        shape.box(m.on_back(0, span / 2), (width, span, thick), turn=turn, taper=(between(random, 0, 0.2), 0))
        rim = max(between(random, 0.035, 0.08), m.bar)
        low = rim if kind == "framed" else between(random, 0.12, 0.4) * span
        low = max(low, m.thick / 2 + 0.015)
        high = span - rim * between(random, 1, 2)
        shape.box(
            m.on_back(0, (low + high) / 2), (width * 0.9 - 2 * rim, high - low, 4 * thick), turn=turn, cut=True,
        )  # fmt: skip
        if kind == "framed":
            if chance(random, 0.5):
                shape.color = (0.75, 0.72, 0.66)
            gap = between(random, 0, 0.2) * span if chance(random, 0.4) else -0.02
            soft = thick * between(random, 0.7, 1.8)
            plate(low + gap, high + 0.02, width - 1.6 * rim, soft, round=0.4 * soft)
    elif kind in ("slats", "fan"):
        inward = between(random, -0.06, 0.05)
        posts(span, inward=inward)
        rail = between(random, 0.04, 0.11)
        plate(span - rail, span, width - 2 * inward + 0.01, thick, round=edge)
        low = between(random, 0.08, 0.25) * span if chance(random, 0.5) else 0.0
        if low > 0:
            plate(low, low + 0.04, width - 2 * m.bar * 0.4, thick * 0.9)
        count = int(random.integers(3, 8))
        wide = between(random, 0.35, 0.75) * width / (count + 1) if chance(random, 0.5) else max(0.018, thick * 0.6)
        squeeze = between(random, 0.2, 0.6) if kind == "fan" else 1.0
        for n in range(count):
            across = (width - 2 * inward) * ((n + 1) / (count + 1) - 0.5)
            start, end = m.on_back(across * squeeze, low), m.on_back(across, span - rail / 2)
            if kind == "fan":
                shape.rod(start, end, wide * 0.8, exponent=np.inf)
            else:
                shape.box((start + end) / 2, (wide, span - rail / 2 - low, thick * 0.7), turn=turn)
    elif kind == "ladder":
        posts(span + between(random, 0, 0.05))
        count = int(random.integers(2, 7))
        board = between(random, 0.35, 0.7) * span / count
        for n in range(count):
            top = span * (n + 1) / count
            plate(top - board, top, width - m.bar * 0.6, thick * 0.8, bend=bend * 0.4, round=edge * 0.6)
    elif kind == "floating":  # a rest between posts, off the seat
        posts(span - 0.01)
        low = between(random, 0.3, 0.65) * span
        wide = width + (between(random, 0, 0.06) if chance(random, 0.3) else 0)
        plate(low, span, wide, max(thick, m.bar * 0.9), round=edge, bend=bend * 0.3)
    elif kind == "crest":  # one bar above
        posts(span - 0.01)
        board = between(random, 0.06, 0.14)
        plate(span - board, span, width + 0.02, thick, bend=bend * 0.3, round=edge)
    elif kind == "spindles":
        _spindles(shape, random, m, span, width)
    elif kind == "bow":
        tube = max(m.bar * 0.8, 0.02)
        for x in (-1, 1):
            foot = m.on_back(x * width * 0.42, -m.thick * 0.3, sag(width * 0.42, bend))
            shape.tube(foot, m.on_back(x * width * 0.56, span, sag(width * 0.5, bend) / 2), m.on_back(0, span), tube)
        count = int(random.integers(3, 8))
        for n in range(count):
            u = ((n + 1) / (count + 1) - 0.5) * 0.8
            high = span * np.sqrt(1 - (1.9 * u) ** 2 * 0.9)
            shape.rod(
                m.on_back(u * width, -0.01, sag(u * width, bend)),
                m.on_back(u * width * 1.05, high * 0.985, sag(u * width, bend) / 2),
                max(0.018, tube * 0.6),
            )
    elif kind == "oval":
        low = between(random, 0.08, 0.2)
        tall = span - low
        flat = turn @ tilt(90)  # the prism's axis now runs through the back
        exponent = float(random.choice([2.0, 2.0, 4.0]))
        center, wide = m.on_back(0, low + tall / 2), width * between(random, 0.85, 1.05)
        shape.box(center, (wide, thick, tall), turn=flat, exponent=exponent, round=edge)
        if chance(random, 0.6):
            rim = between(random, 0.03, 0.06)
            shape.box(center, (wide - 2 * rim, 5 * thick, tall - 2 * rim), turn=flat, exponent=exponent, cut=True)
            if chance(random, 0.7):
                shape.color = (0.8, 0.78, 0.72)
                soft = thick * between(random, 0.6, 1.4)
                shape.box(center, (wide - 1.4 * rim, soft, tall - 1.4 * rim), turn=flat, exponent=exponent)
            else:
                plate(low, span - 0.01, between(random, 0.07, 0.14), thick * 0.7)
        for x in (-1, 1):
            side = x * wide * between(random, 0.2, 0.35)
            shape.rod(m.on_back(side, -m.thick * 0.3), m.on_back(side, low + 0.3 * tall), m.bar * 0.8)
    elif kind == "splat":  # a shaped board between posts
        inward = between(random, -0.03, 0.03)
        posts(span, inward=inward)
        rail = between(random, 0.05, 0.1)
        plate(span - rail, span, width - 2 * inward + 0.01, thick, round=edge)
        shape.extrude(
            silhouette(random, width * between(random, 0.35, 0.6), span - rail / 2), m.on_back(0, 0), thick * 0.7,
            turn=turn,
        )  # fmt: skip
        shape.box(m.on_back(0, span - rail * 0.9), (width * 0.12, rail * 1.2, thick * 0.7), turn=turn)
    elif kind == "lattice":
        posts(span)
        low = between(random, 0.1, 0.35) * span
        plate(span - 0.05, span, width, thick)
        plate(low, low + 0.04, width * 0.98, thick * 0.9)
        inside = (width - m.bar) / 2
        shape.rod(m.on_back(-inside, low + 0.02), m.on_back(inside, span - 0.03), thick * 0.8, exponent=np.inf)
        shape.rod(m.on_back(inside, low + 0.02), m.on_back(-inside, span - 0.03), thick * 0.8, exponent=np.inf)
    elif kind == "pillow":
        soft = between(random, 0.06, 0.12)
        low = between(random, 0, 0.12)
        cushion(shape, random, m.on_back(0, (low + span) / 2, soft * 0.3), (width, span - low, soft), turn=turn)
        if low > 0.02:
            shape.box(m.on_back(0, low / 2), (width * 0.5, low + 0.06, max(soft * 0.4, 0.03)), turn=turn)
    else:  # scroll: a board, rolled backwards above
        plate(0, span, width, thick, round=edge)
        shape.rod(
            m.on_back(-width / 2, span - thick / 2, thick * 0.8), m.on_back(width / 2, span - thick / 2, thick * 0.8),
            thick * between(random, 1.4, 2.4),
        )  # fmt: skip


def _spindles(shape: Shape, random: Generator, m: Measures, span: float, width: float) -> None:
    """Thin rods under a curved crest rail, fanning out a little."""
    curve, count = 0.0 if m.round else between(random, 0, 1.5), int(random.integers(5, 10))
    rail, fan = between(random, 0.05, 0.1), between(random, 1.0, 1.25)
    thick = between(random, 0.018, 0.025)
    for n in range(count):
        x = ((n + 0.5) / count - 0.5) * width * 0.86
        size = thick * 1.6 if n in (0, count - 1) else thick
        top = m.on_back(x * fan, span - rail / 2, -curve * (x * fan) ** 2 / 2)
        shape.rod(m.on_back(x, -m.thick * 0.3, -curve * x * x / 2), top, size)
    crest = max(m.bar * 0.8, 0.025)
    shape.box(
        m.on_back(0, span - rail / 2), (width * 0.92 * fan, rail, crest),
        turn=tilt(m.lean), bend=curve, round=between(random, 0, 0.45) * crest,
    )  # fmt: skip
