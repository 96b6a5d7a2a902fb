"""What benches are made of: seats of boards, supports, backs of boards and slats.

Works on: shapes being put together, in metres, the floor at y = 0 and the front towards −Z. Knows nothing about which
bench they become.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.backs import add_back
from jobs.training.procedural.joinery import cushion, finish, four_legs
from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.procedural.seating import Measures, measures, slats
from jobs.training.shape import Shape


def bench_measures(random: Generator) -> Measures:
    m = measures(random, width=between(random, 0.9, 1.9), depth=between(random, 0.34, 0.56), rear=1.0)
    m.bar = max(m.bar, 0.03)
    return m


def add_bench_seat(shape: Shape, random: Generator, m: Measures) -> None:
    """The seat: a board, boards along or across it, or a cushion."""
    kind = random.choice(["board", "board", "along", "along", "across", "soft"])
    middle, size = (0, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth)
    if kind == "board":
        shape.box(middle, size, round=between(random, 0, 0.3) * m.thick)
    elif kind == "soft":
        cushion(shape, random, middle, size)
    elif kind == "along":
        m.thick = min(m.thick, 0.05)
        slats(shape, random, m, int(random.integers(2, 7)), across=True)
    else:
        count = int(random.integers(6, 10))
        pitch = m.width / count
        for n in range(count):
            x = (n + 0.5) * pitch - m.width / 2
            shape.box((x, m.height - 0.014, 0), (pitch * 0.75, 0.028, m.depth))
        for z in (-1, 1):
            shape.box((0, m.height - 0.04, z * (m.depth / 2 - 0.04)), (m.width, 0.05, 0.035))
        m.thick = 0.05


def add_support(shape: Shape, random: Generator, m: Measures) -> None:
    """What stands under a bench."""
    shape.color = finish(random)
    top = m.under + min(0.5 * m.thick, 0.03)
    kind = random.choice(["legs", "legs", "legs", "legs", "boards", "boards", "trestle", "sled", "cross", "block", "v"])
    board = between(random, 0.03, 0.08)
    inset = between(random, 0.0, 0.3) * m.width / 2 if chance(random, 0.6) else 0.0
    at = m.width / 2 - board / 2 - inset
    if kind == "legs":
        leg = between(random, 0.035, 0.07)
        four_legs(shape, random, m.width / 2, m.depth / 2, top, leg, stretched=0.4)
        if chance(random, 0.3):
            apron = between(random, 0.04, 0.09)
            shape.box((0, m.under - apron / 2 + 0.005, 0), (m.width - leg, apron + 0.01, m.depth - leg))
        if m.width > 1.5 and chance(random, 0.3):
            for z in (-1, 1):
                shape.box((0, top / 2, z * (m.depth - leg) / 2), (leg, top, leg))
    elif kind == "sled":
        bases.sled(shape, random, m.width, m.depth, top)
    elif kind == "cross":
        ends = {(x, z): (x * at, z * (m.depth / 2 - board)) for x in (-1, 1) for z in (-1, 1)}
        for (_, z), (x, deep) in ends.items():
            shape.rod((x + 0.4 * board * z, 0, deep), (x + 0.4 * board * z, top, -deep), board * 0.8, exponent=np.inf)
        shape.rod((-at, top / 2, 0), (at, top / 2, 0), board * 0.8, exponent=np.inf)
    elif kind == "block":
        wide = between(random, 0.12, 0.35) * m.width
        taper = between(random, -0.3, 0.3)
        for x in (-1, 1):
            shape.box((x * (m.width / 2 - wide / 2 - inset * 0.5), top / 2, 0), (wide, top, m.depth * 0.9),
                      taper=(0, abs(taper)), turn=tilt(180, "z") if taper < 0 else None)  # fmt: skip
    elif kind == "v":
        for x in (-1, 1):
            for z in (-1, 1):
                shape.rod((x * at, top, z * 0.03), (x * at, 0, z * (m.depth / 2 - 0.02)), board * 0.8)
        shape.box((0, top - 0.02, 0), (2 * at, 0.04, 0.06))
    else:
        for x in (-1, 1):
            if kind == "trestle":
                shape.box((x * at, top / 2, 0), (board, top, m.depth * between(random, 0.25, 0.6)))
                shape.box((x * at, board / 2, 0), (board * 1.2, board, m.depth * 0.95))
            else:
                shape.box((x * at, top / 2, 0), (board, top, m.depth * between(random, 0.8, 1.0)))
        if kind == "trestle" or chance(random, 0.4):
            level = between(random, 0.2, 0.85) * top
            shape.box((0, level, 0), (2 * at, between(random, 0.03, 0.1), 0.035))


def add_long_back(shape: Shape, random: Generator, m: Measures) -> None:
    """A back of long boards or of many slats, or one of a chair's."""
    kind = random.choice(["boards", "boards", "boards", "slats", "slats", "chair", "chair", "crosses", "arched"])
    span, turn = m.span(), tilt(m.lean)
    posts = int(random.choice([2, 2, 3]))
    if kind == "chair":
        add_back(shape, random, m, str(random.choice(["panel", "framed", "ladder", "floating", "crest",
                                                      "pillow", "scroll"])))  # fmt: skip
        return
    post = max(m.bar, 0.035)
    edge = (m.width - post) / 2
    for n in range(posts):
        x = edge * (2 * n / (posts - 1) - 1)
        shape.rod(m.on_back(x, -m.thick * 0.4), m.on_back(x, span), post, exponent=np.inf)
    if kind == "boards":
        count = int(random.integers(1, 6))
        low = between(random, 0.1, 0.35) * span
        pitch = (span - low) / count
        board = pitch * between(random, 0.6, 0.85)
        for n in range(count):
            level = low + (n + 1) * pitch - board / 2
            shape.box(m.on_back(0, level, -0.3 * post), (m.width, board, 0.028), turn=turn)
        return
    rail, low = between(random, 0.05, 0.09), between(random, 0.08, 0.25) * span
    top = (m.width, rail, post * 0.9)
    if kind == "arched":
        half, arch = m.width / 2, between(random, 0.06, 0.16)
        crown = [(float(half * x), float(rail + arch * np.cos(x * np.pi / 2))) for x in np.linspace(1, -1, 9)]
        shape.extrude([(-half, 0), (half, 0), *crown], m.on_back(0, span - rail), post * 0.8, turn=turn)
    else:
        shape.box(m.on_back(0, span - rail / 2), top, turn=turn)
    shape.box(m.on_back(0, low), (m.width, 0.045, post * 0.8), turn=turn)
    if kind == "crosses":
        bays = int(random.integers(2, 4))
        for n in range(bays):
            left, right = (edge * (2 * k / bays - 1) for k in (n, n + 1))
            for a, b in ((left, right), (right, left)):
                shape.rod(m.on_back(a, low), m.on_back(b, span - rail / 2), 0.028, exponent=np.inf)
            if n:
                shape.rod(m.on_back(left, low), m.on_back(left, span - rail / 2), post * 0.8, exponent=np.inf)
        return
    count = int(random.integers(6, 11))
    wide = between(random, 0.3, 0.7) * m.width / count
    for n in range(count):
        x = ((n + 1) / (count + 1) - 0.5) * m.width
        shape.box(m.on_back(x, (low + span - rail / 2) / 2), (wide, span - rail / 2 - low, 0.032), turn=turn)
