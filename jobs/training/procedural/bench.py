"""Benches: planks, park benches, pews, settles, picnic benches, padded benches and rows of seats.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.backs import add_back
from jobs.training.procedural.bench_parts import add_bench_seat, add_long_back, add_support, bench_measures
from jobs.training.procedural.joinery import SIDEWAYS, cushion, finish, four_legs, leg_style, path
from jobs.training.procedural.parts import between, chance, paint, pick, tilt
from jobs.training.procedural.seating import add_arms, measures, side_panels, slats
from jobs.training.procedural.sofa import sofa
from jobs.training.shape import Shape


def bench(random: Generator) -> Shape:
    """Any bench; the front is at −Z."""
    return pick(random, FAMILIES)(random)


def _plank(random: Generator) -> Shape:
    """Without a back; perhaps with a shelf."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    if chance(random, 0.25):
        m.width = between(random, 0.55, 0.9)
    add_bench_seat(shape, random, m)
    add_support(shape, random, m)
    if chance(random, 0.15):
        add_arms(shape, random, m, "hoop")
    return shape


def _park(random: Generator) -> Shape:
    """With a back, and mostly with arms."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    m.rise, m.lean = between(random, 0.28, 0.55), between(random, 4, 22)
    add_long_back(shape, random, m)
    add_bench_seat(shape, random, m)
    if chance(random, 0.65):
        add_arms(shape, random, m, str(random.choice(["post", "post", "post", "raked", "loop", "hoop", "swept"])))
    add_support(shape, random, m)
    return shape


def _cast(random: Generator) -> Shape:
    """Boards between two cast sides, each of a few curved bars."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    m.rise, m.lean, m.thick = between(random, 0.35, 0.5), between(random, 10, 24), 0.03
    count, span = int(random.integers(2, 6)), m.span()
    bar = between(random, 0.028, 0.045)
    pitch = m.depth * 0.9 / count
    for n in range(count):
        shape.box((0, m.height - 0.015, (n + 0.5) * pitch - m.depth * 0.45), (m.width, 0.028, pitch * 0.75))
    rows = int(random.integers(1, 6))
    for n in range(rows):
        low = 0.25 + 0.75 * n / rows
        tall = 0.75 / rows * 0.75 * span
        shape.box(m.on_back(0, low * span + tall / 2, -bar * 0.4), (m.width, tall, 0.026), turn=tilt(m.lean))
    shape.color = finish(random)
    front, rear = -m.depth / 2, m.depth / 2
    arm = m.height + between(random, 0.16, 0.24)
    for x in (-1, 1):
        at = x * (m.width / 2 - between(random, 0.03, 0.12))
        spine, foot = m.on_back(at, span), m.on_back(at, -m.thick)
        shape.rod(foot, spine, bar)
        shape.box((at, m.under, 0), (bar, bar, m.depth))
        shape.tube((at, m.under, front + 0.04), (at, m.under * 0.4, front + 0.1), (at, bar / 2, front - 0.02), bar)
        shape.tube((at, m.under, rear - 0.02), (at, m.under * 0.5, rear - 0.08), (at, bar / 2, rear + 0.1), bar)
        if chance(random, 0.7):
            begin = m.on_back(at, (arm - m.height) * 1.1)
            shape.tube(begin, (at, arm + 0.03, 0), (at, arm - 0.02, front), bar)
            shape.tube((at, arm - 0.02, front), (at, arm - 0.1, front - 0.1), (at, m.under, front + 0.03), bar)
    return shape


def _pew(random: Generator) -> Shape:
    """A seat and a back between two end boards; perhaps a chest below."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    m.rise, m.lean, m.thick = between(random, 0.3, 0.8), between(random, 0, 12), between(random, 0.025, 0.05)
    add_back(shape, random, m, str(random.choice(["panel", "framed", "ladder"])))
    shape.box((0, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth))
    board, deep = between(random, 0.025, 0.07), m.depth / 2
    lean = float(m.on_back(0, m.span())[2])
    arm = m.height + between(random, -0.02, 0.25)
    top = m.height + m.rise * between(random, 0.7, 1.05)
    full = [(-lean - 0.03, 0), (deep, 0), (deep, arm - 0.05), (deep - 0.05, arm), (0, arm), (-deep + 0.06, top),
            (-lean - 0.03, top)]  # fmt: skip
    plain = [(-lean - 0.03, 0), (deep, 0), (deep, arm), (-lean - 0.03, arm)]
    side_panels(shape, m, full if chance(random, 0.55) else plain, board)
    if chance(random, 0.5):
        low = 0.0 if chance(random, 0.5) else m.under * 0.5
        shape.box((0, (m.under + low) / 2 + 0.005, 0.02), (m.width, m.under - low + 0.01, m.depth * 0.9))
    else:
        shape.box((0, m.under - 0.05, deep - 0.06), (m.width, 0.12, 0.03))
    return shape


def _picnic(random: Generator) -> Shape:
    """A table with a bench on either side in one frame."""
    shape = Shape(color=finish(random))
    length, height = between(random, 1.2, 2.0), between(random, 0.68, 0.78)
    depth, seat, reach = between(random, 0.6, 0.8), between(random, 0.4, 0.46), between(random, 0.6, 0.78)
    count = int(random.integers(1, 6))
    for n in range(count):
        z = ((n + 0.5) / count - 0.5) * depth
        shape.box((0, height - 0.02, z), (length, 0.04, depth / count * 0.93))
    for z in (-1, 1):
        shape.box((0, seat - 0.02, z * reach), (length, 0.04, between(random, 0.22, 0.3)))
    frame, at = between(random, 0.04, 0.06), length / 2 * between(random, 0.55, 0.8)
    splay = between(random, 0.45, 0.7)
    for x in (-1, 1):
        shape.box((x * at, height - 0.06, 0), (frame, 0.06, depth * 0.95))
        shape.box((x * at, seat - 0.065, 0), (frame, 0.07, 2 * reach + 0.15))
        for z in (-1, 1):
            shape.rod((x * at, height - 0.05, z * depth * 0.32), (x * at, 0, z * splay), 0.06, exponent=np.inf)
    shape.box((0, seat - 0.06, 0), (2 * at, 0.06, 0.05))
    return shape


def _padded(random: Generator) -> Shape:
    """An upholstered bench, with rolled or square ends or none, on visible legs."""
    shape = Shape(color=paint(random))
    m = bench_measures(random)
    m.width, m.thick = between(random, 0.8, 1.5), between(random, 0.08, 0.2)
    cushion(shape, random, (0, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth))
    if chance(random, 0.35):
        shape.box((0, m.under, 0), (m.width, 0.05, m.depth))
    ends = random.choice(["none", "rolled", "rolled", "square", "curled"])
    high, thick = between(random, 0.12, 0.3), between(random, 0.05, 0.1)
    for x in (-1, 1):
        if ends == "none":
            break
        at = x * (m.width / 2 - thick * 0.3)
        low = m.height - m.thick * 0.6
        tall = m.height + high - low
        shape.box((at, low + tall / 2, 0), (thick, tall, m.depth), shear=(x * between(random, 0, 0.1), 0), round=0.015)
        if ends != "square":
            roll = thick * between(random, 1.3, 2.2)
            out = at + x * (0.05 if ends == "curled" else 0.02)
            level = m.height + high - roll * 0.2
            shape.rod((out, level, -m.depth / 2), (out, level, m.depth / 2), roll)
    if chance(random, 0.25):
        m.bar, m.rise = between(random, 0.05, 0.1), between(random, 0.25, 0.5)
        add_back(shape, random, m, str(random.choice(["panel", "scroll", "pillow"])))
    shape.color = finish(random)
    style = leg_style(random)
    leg = between(random, 0.035, 0.06)
    if chance(random, 0.15):
        bases.crossed(shape, random, m.width * 0.8, m.depth, m.under + 0.02, sideways=chance(random, 0.7))
    else:
        four_legs(
            shape, random, m.width / 2 * 0.95, m.depth / 2 * 0.92, m.under + 0.03, leg, style=style, stretched=0.2
        )
    return shape


def _chest(random: Generator) -> Shape:
    """A box to sit on, with open shelves or closed, with or without a back."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    m.rise, m.lean = between(random, 0.3, 1.2), 0.0
    board, top = between(random, 0.025, 0.05), m.under
    lift = between(random, 0.04, 0.1) if chance(random, 0.4) else 0.0
    bays = int(random.integers(2, 5))
    if chance(random, 0.5):
        shape.box((0, (top + lift) / 2, 0), (m.width * 0.98, top - lift + 0.01, m.depth * 0.96))
    else:
        for n in range(bays + 1):
            x = (m.width - board) * (n / bays - 0.5)
            shape.box((x, (top + lift) / 2, 0), (board, top - lift + 0.01, m.depth))
        shape.box((0, lift + board / 2, 0), (m.width, board, m.depth))
        if chance(random, 0.6):
            shape.box((0, (top + lift) / 2, m.depth / 2 - 0.012), (m.width, top - lift, 0.024))
    if lift:
        for x in (-1, 1):
            for z in (-1, 1):
                at = (x * (m.width / 2 - 0.04), lift / 2 + 0.005, z * (m.depth / 2 - 0.04))
                shape.box(at, (0.05, lift + 0.01, 0.05))
    if chance(random, 0.4):
        add_back(shape, random, m, str(random.choice(["panel", "framed", "slats", "ladder"])))
        if chance(random, 0.5):
            add_arms(shape, random, m, str(random.choice(["panel", "post"])))
    shape.color = paint(random) if chance(random, 0.6) else shape.color
    edge = between(random, 0.25, 0.45) if chance(random, 0.4) else 0.0
    shape.box((0, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth), round=edge * m.thick)
    return shape


def _row(random: Generator) -> Shape:
    """Two to five single seats on one beam, as in waiting rooms."""
    shape = Shape(color=paint(random))
    seats = int(random.integers(2, 6))
    m = measures(random, rear=1.0, thick=between(random, 0.035, 0.07), lean=between(random, 5, 18))
    m.rise = between(random, 0.3, 0.5)
    pitch = m.width + between(random, 0.01, 0.12)
    edge, sheet = between(random, 0, 0.4) * m.thick, between(random, 0.035, 0.06)
    bend = between(random, 0, 0.8)
    span = m.span()
    for n in range(seats):
        x = (n - (seats - 1) / 2) * pitch
        shape.box((x, m.height - m.thick / 2, 0), (m.width, m.thick, m.depth), round=edge)
        shape.box(m.on_back(x, span / 2), (m.width, span, sheet), turn=tilt(m.lean), bend=bend,
                  round=0.3 * sheet)  # fmt: skip
    shape.color = finish(random)
    beam = between(random, 0.04, 0.08)
    long = seats * pitch
    shape.box((0, m.under - beam / 2 + 0.01, 0.03), (long * 0.97, beam, beam))
    columns = 2 if seats < 5 else 3
    for n in range(columns):
        x = (n / (columns - 1) - 0.5) * long * between(random, 0.6, 0.62)
        shape.box((x, m.under / 2, 0.03), (beam * 0.9, m.under, beam * 0.9))
        shape.box((x, 0.02, 0), (beam, 0.04, m.depth * 1.05))
    if chance(random, 0.5):
        arm = m.height + between(random, 0.15, 0.22)
        for n in range(seats + 1):
            x = (n - seats / 2) * pitch
            shape.box((x, arm, 0.02), (0.04, 0.03, m.depth * 0.8))
            shape.rod((x, m.under - beam / 2, 0.06), (x, arm, 0.06), 0.032, exponent=np.inf)
        shape.box((0, m.under - beam / 2 + 0.01, 0.06), (long + 0.03, beam * 0.8, beam * 0.8))
    return shape


def _swept(random: Generator) -> Shape:
    """One sheet or slab: a folded profile along the whole length, or a curved plan."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    t = between(random, 0.03, 0.09)
    kind = random.choice(["folded", "curved", "profile"])
    if kind == "folded":
        half, slope = m.width / 2, between(random, 0.0, 0.12)
        outline = [
            (-half, m.height),
            (half, m.height),
            (half + slope, 0),
            (half + slope - t, 0),
            (half - t, m.height - t),
            (-half + t, m.height - t),
            (-half - slope + t, 0),
            (-half - slope, 0),
        ]
        shape.extrude(outline[::-1], (0, 0, 0), m.depth)
    elif kind == "curved":
        bend = between(random, 0.3, 1.1) / m.width
        shape.box((0, m.height - t / 2, 0), (m.width, t, m.depth), bend=bend)
        if chance(random, 0.4):
            outer = m.depth / 2 - 0.02
            wide = m.width * (1 + outer * bend)
            shape.box((0, m.height + 0.2, outer), (wide, 0.42, 0.04), bend=bend / (1 + outer * bend))
        for n in range(3):
            angle = (n - 1) * m.width * bend * 0.38
            x, z = np.sin(angle) / bend, (np.cos(angle) - 1) / bend
            shape.box((x, m.height / 2 - t / 4, z), (0.07, m.height - t / 2, m.depth * 0.8),
                      turn=tilt(float(np.degrees(-angle)), "y"))  # fmt: skip
    else:
        lean, deep, high = between(random, 0.05, 0.2), m.depth / 2, m.height
        rise = between(random, 0.25, 0.5)
        slab = [(-deep - lean, high + rise), (-deep - lean - t, high + rise), (-deep - t, high - t), (-deep, 0),
                (deep - 0.1, 0), (deep, high), (-deep, high)]  # fmt: skip
        shape.extrude(slab, (0, 0, 0), m.width, turn=SIDEWAYS)
        if chance(random, 0.4):
            shape.box((0, high * 0.4, -deep), (m.width * 0.8, high * 0.8, deep * 1.2), cut=True)
    return shape


def _tube_frame(random: Generator) -> Shape:
    """Boards on two bent tubes or bars."""
    shape = Shape(color=finish(random))
    m = bench_measures(random)
    m.thick, m.lean, m.rise = 0.03, between(random, 5, 20), between(random, 0.3, 0.45)
    slats(shape, random, m, int(random.integers(2, 6)), across=True)
    span, bar = m.span(), between(random, 0.03, 0.045)
    count = int(random.integers(1, 5))
    board = span * 0.75 / count
    for n in range(count):
        shape.box(m.on_back(0, span * 0.25 + (n + 0.5) * board), (m.width, board * 0.8, 0.025), turn=tilt(m.lean))
    shape.color = finish(random)
    flat = between(random, 0.04, 0.08) if chance(random, 0.5) else None
    for x in (-1, 1):
        at = x * m.width * between(random, 0.3, 0.34)
        top = m.on_back(at, span, 0.02)
        bend = m.on_back(at, -0.02, 0.02)
        level = m.under - 0.005
        front, rear = -m.depth / 2 + 0.02, m.depth / 2 + 0.05
        corners = [(at, level, bend[2]), (at, level, front), (at, bar / 2, front), (at, bar / 2, rear)]
        path(shape, [top, *corners], bar, 0.06, flat=flat)
    return shape


# How often each occurs, in a hundred.
FAMILIES: dict[Callable[[Generator], Shape], float] = {
    _plank: 22,
    _park: 24,
    _cast: 9,
    _pew: 8,
    _picnic: 5,
    _padded: 10,
    _chest: 6,
    _row: 6,
    _swept: 5,
    _tube_frame: 5,
    sofa: 3,
}
