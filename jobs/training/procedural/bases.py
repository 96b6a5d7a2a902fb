"""What carries a seat or a small table other than four legs: pedestals, stars, tubes, sleds, rockers, crossed legs.

Works on: shapes being put together, in metres, the floor at y = 0. Knows nothing about what they carry.

`top` is the height that each of them reaches: a little inside of what it carries.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import Outline, path
from jobs.training.procedural.parts import between, chance
from jobs.training.shape import Shape


def turned(random: Generator, height: float, thin: float, thick: float, rings: int) -> Outline:
    """A column's profile from a lathe, its radius between `thin` and `thick` from the floor to `height`."""
    radii = random.uniform(thin, thick, rings)
    levels = np.linspace(0, height, rings)
    return [(0.0, 0.0), *((float(r), float(y)) for r, y in zip(radii, levels, strict=True)), (0.0, height)]


def disc(shape: Shape, random: Generator, top: float, radius: float) -> None:
    """A column on a plate, a dome or a trumpet-shaped foot."""
    kind = random.choice(["plate", "plate", "dome", "trumpet", "trumpet", "drum", "turned"])
    column = between(random, 0.02, 0.05)
    if kind == "trumpet":
        neck = between(random, 0.022, 0.05)
        levels = np.array([0, 0.02, 0.06, 0.15, 0.35, 0.6, 0.85, 1.0])
        flare = between(random, 2.0, 5.0)
        radii = neck + (radius - neck) * np.exp(-flare * levels * 3)
        if chance(random, 0.6):
            radii = radii + np.clip(levels - 0.6, 0, 1) ** 2 * between(random, 0, 0.8)
        shape.revolve([(0, 0), *zip(radii.tolist(), (levels * top).tolist(), strict=True), (0, top)], (0, 0, 0))
        return
    if kind == "drum":
        waist = radius * between(random, 0.5, 0.9)
        upper = radius * between(random, 0.6, 1.0)
        shape.revolve(
            [(0, 0), (radius, 0), (waist, top * between(random, 0.4, 0.6)), (upper, top), (0, top)], (0, 0, 0)
        )
        return
    if kind == "turned":
        shape.revolve(turned(random, top, column, 2.2 * column, int(random.integers(6, 12))), (0, 0, 0))
    else:
        shape.rod((0, 0.01, 0), (0, top, 0), 2 * column, exponent=float(random.choice([2.0, 2.0, np.inf])))
    plate = between(random, 0.015, 0.035)
    if kind == "dome":
        shape.revolve([(0, 0), (radius, 0), (radius * 0.95, plate), (column, plate + between(random, 0.02, 0.08)),
                       (0, plate + 0.08)], (0, 0, 0))  # fmt: skip
    else:
        shape.box((0, plate / 2, 0), (2 * radius, plate, 2 * radius), exponent=float(random.choice([2.0, 2.0, np.inf])))
    if chance(random, 0.25) and top > 0.55:  # a foot rest around a bar stool's column
        level, ring = top * between(random, 0.3, 0.45), radius * between(random, 0.6, 0.9)
        _ring(shape, level, ring, 0.022)
        shape.box((0, level, 0), (2 * ring, 0.02, 0.02))


def _ring(shape: Shape, level: float, radius: float, thickness: float) -> None:
    """A ring of tube around the y axis."""
    t = thickness / 2
    shape.revolve([(radius - t, level - t), (radius + t, level - t), (radius + t, level + t), (radius - t, level + t)],
                  (0, 0, 0))  # fmt: skip


def star(shape: Shape, random: Generator, top: float, radius: float, *, casters: bool = True) -> None:
    """A column on three to six arms, with casters or glides: an office chair's."""
    arms = int(random.choice([4, 4, 5, 5, 5, 5, 3, 6]))
    turn = between(random, 0, 2 * np.pi / arms) if chance(random, 0.3) else np.pi / 2
    casters = casters and arms >= 5 and chance(random, 0.8)
    floor = between(random, 0.045, 0.065) if casters else 0.012
    hub = floor + between(random, 0.02, 0.09)
    large = max(1.0, radius / 0.35)
    arm, tip = between(random, 0.03, 0.05) * large, between(random, 0.02, 0.032) * large
    square = float(random.choice([2.0, np.inf]))
    curved = chance(random, 0.25)
    for n in range(arms):
        angle = turn + 2 * np.pi * n / arms
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        end = out * radius + [0, floor + tip / 2, 0]
        if curved:
            shape.tube((0, hub + 0.06, 0), out * radius * 0.5 + [0, hub + 0.07, 0], end, arm, end_thickness=tip)
        else:
            shape.rod((0, hub, 0), end, arm, end_thickness=tip, exponent=square)
        if casters:
            wheel = floor + 0.012
            axle = np.array([-out[2], 0, out[0]]) * between(random, 0.012, 0.022)
            hold = out * (radius - 0.01) + [0, wheel / 2, 0]
            shape.rod(hold - axle, hold + axle, wheel)
        else:
            shape.rod(out * (radius - 0.015) + [0, floor + tip / 2, 0], out * (radius - 0.015), 0.03)
    lower = between(random, 0.045, 0.07) * large
    shape.rod((0, hub - 0.02, 0), (0, top, 0), lower, end_thickness=lower * between(random, 0.5, 1))
    if chance(random, 0.6):
        plate = between(random, 0.03, 0.06)
        shape.box((0, top - plate / 2, 0), (between(random, 0.12, 0.28), plate, between(random, 0.15, 0.3)))


def cantilever(
    shape: Shape, random: Generator, width: float, depth: float, top: float, *, uprights: list | None = None
) -> float:
    """Two runners that turn up at the front only, from one bent tube or flat bar; answers its thickness.

    `uprights`: points [(y, z), …] on which the bar goes on from the rear of the seat, to be the frame of a back.
    """
    bar = between(random, 0.018, 0.034)
    flat = between(random, 0.035, 0.06) if chance(random, 0.22) else None
    bend = between(random, 0.03, 0.12)
    side = width / 2 - (flat or bar) / 2
    front = -depth / 2 + between(random, -0.04, 0.05)
    toe = front + between(random, -0.06, 0.16)
    rear = depth / 2 + between(random, -0.12, 0.08)
    low = bar / 2
    seat_rear = depth / 2 - between(random, 0.0, 0.08)
    spread = between(random, 0.0, 0.03) if chance(random, 0.3) else 0.0
    for x in (-1, 1):
        above = [(x * side, y, z) for y, z in reversed(uprights or [])]
        points = [*above, (x * side, top - low, seat_rear), (x * side, top - low, front),
                  (x * (side + spread), low, toe), (x * (side + spread), low, rear)]  # fmt: skip
        path(shape, points, bar, bend, flat=flat)
    closed = random.choice(["rear", "rear", "rear", "front", "none"])
    if closed != "none":
        z = rear - bar / 2 if closed == "rear" else toe + bend
        shape.rod((-side - spread, low, z), (side + spread, low, z), bar, exponent=2.0 if flat is None else np.inf)
    for z in (front + bend, seat_rear):
        if chance(random, 0.5) or z > 0:
            shape.rod((-side, top - low, z), (side, top - low, z), bar)
    return bar


def sled(shape: Shape, random: Generator, width: float, depth: float, top: float) -> None:
    """A closed loop on either side, of tube or flat bar, upright or raked, tied across."""
    bar = between(random, 0.016, 0.04) * max(1.0, (width + depth) / 1.5)
    flat = between(random, 0.035, 0.07) if chance(random, 0.3) else None
    side = width / 2 - (flat or bar) / 2 - between(random, 0.0, 0.04)
    rake_front, rake_rear = between(random, -0.1, 0.08), between(random, -0.08, 0.1)
    bend = between(random, 0.02, 0.07)
    low = bar / 2
    front, rear = -depth / 2 + 0.02, depth / 2 - 0.02
    for x in (-1, 1):
        at = x * side
        toes = [(at, low, front - rake_front), (at, low, rear + rake_rear)]
        path(shape, [(at, top - low, front), *toes, (at, top - low, rear)], bar, bend, flat=flat)
        if chance(random, 0.5):
            shape.rod((at, top - low, front), (at, top - low, rear), bar)
    for z, share in ((rear + rake_rear * 0.5, 0.5), (front - rake_front + bend, 0.0), (front, 1.0), (rear, 1.0)):
        if chance(random, 0.4):
            level = low + share * (top - 2 * low)
            shape.rod((-side, level, z), (side, level, z), bar * 0.9)


def crossed(shape: Shape, random: Generator, width: float, depth: float, top: float, *, sideways: bool) -> None:
    """Two pairs of legs that cross, in the planes of the sides or (`sideways`) of the front and rear."""
    bar = between(random, 0.022, 0.045) * max(1.0, (width + depth) / 1.5)
    square = float(random.choice([2.0, np.inf, np.inf]))
    if chance(random, 0.25):  # curved as an ancient folding stool's
        for z in (-1, 1):
            for x in (-1, 1):
                end = np.array([x * width / 2, top, z * (depth / 2 - bar)])
                start = np.array([-x * width / 2 * 0.9, 0, z * (depth / 2 - bar)])
                shape.tube(start, (0, top * between(random, 0.6, 0.75), start[2]), (0, top * 0.5, start[2]), bar)
                shape.tube((0, top * 0.5, start[2]), (0, top * 0.3, start[2]), end, bar)
        shape.rod((0, top * 0.5, -depth / 2 + bar), (0, top * 0.5, depth / 2 - bar), bar)
        return
    long = (width if sideways else depth) / 2 - bar
    other = (depth if sideways else width) / 2 - bar / 2
    for n in (-1, 1):
        for side in (-1, 1):
            offset = (other - (0.8 * bar if side > 0 else 0)) * n
            low, high = np.array([-side * long, 0, offset]), np.array([side * long, top, offset])
            if not sideways:
                low, high = low[[2, 1, 0]], high[[2, 1, 0]]
            shape.rod(low, high, bar, exponent=square)
    for level, way in ((0.5, 0.0), (0.06, 1.0), (0.06, -1.0), (0.95, 1.0), (0.95, -1.0)):
        if not way or chance(random, 0.6):
            run = way * long * abs(2 * level - 1)
            deep = other - (0.8 * bar if run * (2 * level - 1) > 0 else 0)
            start, end = np.array([run, level * top, -deep]), np.array([run, level * top, deep])
            if not sideways:
                start, end = start[[2, 1, 0]], end[[2, 1, 0]]
            shape.rod(start, end, bar * 0.8)


def rockers(shape: Shape, random: Generator, half_x: float, half_z: float) -> None:
    """Curved runners on the floor under feet at (±half_x, y, ±half_z), which must reach down to 0.05."""
    bar = between(random, 0.025, 0.045)
    reach = half_z + between(random, 0.08, 0.2)
    for x in (-1, 1):
        tip = np.array([x * half_x, 0.05 + between(random, 0.04, 0.08), -reach])
        end = tip * [1, 1, -1] + [0, 0, between(random, 0, 0.1)]
        shape.tube(tip, (x * half_x, -tip[1] + 0.07, 0), end, bar)


def skirt(shape: Shape, random: Generator, width: float, depth: float, top: float) -> None:
    """A solid or hollow block down to the floor."""
    kind = random.choice(["solid", "solid", "tapered", "sides", "u", "back"])
    board = between(random, 0.018, 0.05)
    if kind in ("solid", "tapered"):
        inset = between(random, 0.8, 1.0)
        taper = between(random, 0.1, 0.4) if kind == "tapered" else 0.0
        shape.box((0, top / 2, 0), (width * inset, top, depth * inset), taper=(taper, taper))
        return
    for x in (-1, 1):
        shape.box((x * (width - board) / 2, top / 2, 0), (board, top, depth))
    if kind == "u":
        shape.box((0, board / 2, 0), (width, board, depth))
    elif kind == "back":
        shape.box((0, top / 2, depth / 2 - board / 2), (width, top, board))
