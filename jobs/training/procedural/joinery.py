"""What furniture is joined from: legs, stretchers, bent tubes, outlines and cushions.

Works on: shapes being put together, in metres with the floor at y = 0. Knows nothing about which piece of furniture
they become.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.shape import Shape

Point = NDArray[np.float64]
Outline = list[tuple[float, float]]
Color = tuple[float, float, float]

LYING = tilt(90)  # local x, y, z → x, z, −y: an outline seen from below, a bend whose ends rise
SIDEWAYS = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # local x, y, z → −z, y, x: an outline seen from the +x side


def finish(random: Generator) -> Color:
    """The colour of a frame: wood from pale to dark, black, metal or a painted one."""
    kind = random.choice(["wood", "wood", "black", "metal", "painted"])
    if kind == "wood":
        wood = np.array([1.0, between(random, 0.62, 0.8), between(random, 0.35, 0.6)]) * between(random, 0.18, 0.85)
    elif kind == "painted":
        wood = random.uniform(0.1, 0.95, 3)
    else:
        wood = np.full(3, between(random, 0.02, 0.15) if kind == "black" else between(random, 0.5, 0.9))
    return float(wood[0]), float(wood[1]), float(wood[2])


@dataclass(frozen=True)
class LegStyle:
    """How each leg of a piece is made, `foot` being its thickness at the floor as a share of that at the top.

    `kind`: straight (also tapered, where `foot` < 1), turned (on a lathe: `radii`, shares, from the foot up), sabre
    (curved outward at the foot) or cabriole (out at the knee, in at the ankle).
    """

    kind: str
    exponent: float
    foot: float
    curve: float
    radii: tuple[float, ...] = ()

    def add(self, shape: Shape, head: ArrayLike, toe: ArrayLike, thickness: float) -> None:
        """A leg from `head` down to `toe`; those that curve do so away from the y axis."""
        head, toe = np.asarray(head, float), np.asarray(toe, float)
        away = np.array([np.sign(toe[0]), 0.0, np.sign(toe[2])]) * self.curve * (head[1] - toe[1])
        middle = (head + toe) / 2
        tip = min(thickness, max(thickness * self.foot, 0.014))
        if self.kind == "turned":
            tall = head[1] - toe[1]
            levels = np.linspace(0, 1, len(self.radii)) * tall
            profile = [(0.0, 0.0), *((r * thickness / 2, y) for r, y in zip(self.radii, levels, strict=True))]
            shape.revolve([*profile, (0.0, tall)], toe)
        elif self.kind == "sabre":
            shape.tube(head, middle - away * 0.6, toe + away, thickness, end_thickness=tip)
        elif self.kind == "cabriole":
            knee = head * 0.55 + toe * 0.45
            shape.tube(head, head * 0.85 + toe * 0.15 + away * 1.4, knee, thickness * 1.25, end_thickness=thickness)
            shape.tube(knee, toe * 0.8 + head * 0.2 - away * 0.9, toe + away * 0.4, thickness, end_thickness=tip)
        else:
            shape.rod(head, toe, thickness, end_thickness=tip, exponent=self.exponent)


def leg_style(random: Generator, kind: str | None = None) -> LegStyle:
    kind = kind or str(random.choice(["straight"] * 5 + ["tapered"] * 4 + ["turned", "turned", "sabre", "cabriole"]))
    radii: list[float] = []
    if kind == "turned":
        rings = int(random.integers(6, 12))
        radii = [between(random, 0.45, 1.0) for _ in range(rings)]
        radii[-2:] = [1.0, 1.0]
    exponent = float(random.choice([2.0, np.inf, np.inf, 4.0]))
    foot = between(random, 0.5, 0.85) if kind in ("tapered", "cabriole", "sabre") else 1.0
    return LegStyle(kind, exponent, foot, between(random, 0.06, 0.14), tuple(radii))


def four_legs(
    shape: Shape,
    random: Generator,
    half_x: float,
    half_z: float,
    top: float,
    thickness: float,
    *,
    style: LegStyle | None = None,
    rear: LegStyle | None = None,
    splay: tuple[float, float] | None = None,
    stretched: float = 0.4,
    floor: float = 0.0,
) -> dict[tuple[int, int], tuple[Point, Point]]:
    """Legs at the corners of a rectangle, from `top` down to `floor`, perhaps with rails between them.

    `stretched` is the chance of those. `splay` (x, z) is how far the feet stand outside the heads; a random one, often
    none, by default. Answers the head and toe of each leg by the signs of its x and z.
    """
    style = style or leg_style(random)
    rear = rear or style
    if splay is None:
        splay = (0.0, 0.0)
        if style.kind in ("straight", "tapered") and chance(random, 0.4):
            splay = (between(random, 0.0, 0.18) * top, between(random, 0.03, 0.2) * top)
    ends = {}
    for x in (-1, 1):
        for z in (-1, 1):
            used = style if z < 0 else rear
            out = np.zeros(2) if used.kind == "turned" else np.asarray(splay)
            spot = np.array([x * (half_x - thickness / 2), z * (half_z - thickness / 2)])
            head = np.array([spot[0] - x * out[0] * 0.5, top, spot[1] - z * out[1] * 0.5])
            toe = np.array([spot[0] + x * out[0] * 0.5, floor, spot[1] + z * out[1] * 0.5])
            used.add(shape, head, toe, thickness)
            ends[x, z] = (head, toe)
    curved = {style.kind, rear.kind} & {"sabre", "cabriole"}
    if not curved and chance(random, stretched):
        stretchers(shape, random, ends, thickness * between(random, 0.5, 0.8))
    return ends


def stretchers(
    shape: Shape, random: Generator, ends: dict[tuple[int, int], tuple[Point, Point]], thickness: float
) -> None:
    """Rails between four legs: at the sides, an H, a box, a cross or a high front rail."""
    exponent = float(random.choice([2.0, np.inf]))
    level = between(random, 0.12, 0.6)

    def at(x: int, z: int, share: float) -> Point:
        head, toe = ends[x, z]
        return toe + share * (head - toe)

    def rail(start: Point, end: Point) -> None:
        shape.rod(start, end, thickness, exponent=exponent)

    kind = random.choice(["sides", "h", "h", "box", "box", "cross", "ladder"])
    if kind == "cross":
        rail(at(-1, -1, level), at(1, 1, level))
        rail(at(-1, 1, level), at(1, -1, level))
        return
    for x in (-1, 1):
        rail(at(x, -1, level), at(x, 1, level))
        if kind == "ladder":
            rail(at(x, -1, level * 0.5), at(x, 1, level * 0.5))
    step = between(random, -0.08, 0.12)
    if kind == "h":
        share = between(random, 0.3, 0.7)
        rail(*(at(x, -1, level) * share + at(x, 1, level) * (1 - share) for x in (-1, 1)))
    elif kind == "box":
        rail(*(at(x, 1, level + step) for x in (-1, 1)))
        rail(*(at(x, -1, level + step) for x in (-1, 1)))
    elif kind == "ladder":
        rail(*(at(x, -1, level * 0.75) for x in (-1, 1)))


def path(
    shape: Shape, points: Sequence[ArrayLike], thickness: float, radius: float, *, flat: float | None = None
) -> None:
    """A tube through `points`, its corners rounded by `radius`; with `flat`, a bar that wide along x (corners sharp).

    A flat bar stands in a plane of constant x: `thickness` is across it.
    """
    knots = [np.asarray(point, float) for point in points]
    begin = knots[0]
    for n, (here, there) in enumerate(pairwise(knots)):
        along = there - here
        length = float(np.linalg.norm(along))
        along = along / length
        last = n == len(knots) - 2
        if flat is not None:
            middle, tall = (here + there) / 2, length + thickness
            side = np.array([1.0, 0, 0])
            shape.box(middle, (flat, tall, thickness), turn=np.stack([side, along, np.cross(side, along)], axis=1))
            continue
        cut = 0.0 if last else min(radius, 0.45 * length, 0.45 * float(np.linalg.norm(knots[n + 2] - there)))
        corner = there - along * cut
        shape.rod(begin, corner + along * 0.15 * thickness, thickness)
        if not last:
            after = knots[n + 2] - there
            begin = there + after / np.linalg.norm(after) * cut
            shape.tube(corner, there, begin, thickness)


def silhouette(random: Generator, width: float, height: float) -> Outline:
    """A symmetric outline standing on y = 0: waisted, flared, shouldered, pointed or round at the top."""
    kind = random.choice(["flared", "waisted", "keystone", "shouldered", "arched", "drop"])
    shapes: dict[str, tuple[list[float], list[float]]] = {
        "flared": ([0, 0.25, 0.55, 0.85, 1], [0.62, 0.66, 0.95, 1.0, 0.92]),
        "waisted": ([0, 0.15, 0.4, 0.7, 0.9, 1], [0.9, 0.8, 0.6, 0.85, 1.0, 0.8]),
        "keystone": ([0, 1], [0.7, 1.0]),
        "shouldered": ([0, 0.7, 0.72, 1], [0.6, 0.6, 1.0, 1.0]),
        "arched": ([0, 0.5, 0.7, 0.85, 0.95, 1], [0.95, 1.0, 0.93, 0.75, 0.45, 0.15]),
        "drop": ([0, 0.2, 0.45, 0.7, 0.9, 1], [0.5, 0.8, 1.0, 0.9, 0.55, 0.2]),
    }
    levels, shares = shapes[str(kind)]
    wobble = 1 + random.uniform(-0.1, 0.1, len(shares))
    right = [(float(s * w) * width / 2, y * height) for s, w, y in zip(shares, wobble, levels, strict=True)]
    return right + [(-x, y) for x, y in reversed(right)]


def rounded(width: float, depth: float, *, rear: float = 1.0, corner: float = 0.0, rear_corner: float = 0.3) -> Outline:
    """A seat or table top about the origin: `rear` is the width at +y as a share, `corner` the part cut off corners.

    Of that the corners at +y, where a seat's posts stand, lose the share `rear_corner`.
    """
    half, back, deep = width / 2, width / 2 * rear, depth / 2
    if corner <= 0:
        return [(-half, -deep), (half, -deep), (back, deep), (-back, deep)]
    right = [(half - corner, -deep), (half - corner * 0.3, -deep + corner * 0.3), (half, -deep + corner)]
    corner *= rear_corner
    right += [(back, deep - corner), (back - corner * 0.3, deep - corner * 0.3), (back - corner, deep)]
    return right + [(-x, y) for x, y in reversed(right)]


def cushion(
    shape: Shape, random: Generator, center: ArrayLike, size: ArrayLike, *, turn: NDArray | None = None
) -> None:
    """A soft block of full `size`: rounded edges, or (thin or fat) pillowed."""
    small = float(np.min(size))
    shape.box(center, size, turn=turn, round=between(random, 0.25, 0.48) * small)
