"""Table tops and drawers.

Works on: shapes being put together, in metres, the floor at y = 0 and the front towards −Z. Knows nothing about what
carries a top.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import LYING, Point, finish, rounded
from jobs.training.procedural.parts import between, chance, paint
from jobs.training.shape import Shape


@dataclass
class Top:
    """A top of a `plan`: rectangle, rounded, squircle, round (an ellipse), polygon, boat, half (round in front) or
    triangle. Its upper side is at `height`.
    """

    plan: str
    length: float
    depth: float
    height: float
    thick: float

    @property
    def under(self) -> float:
        return self.height - self.thick

    def corner(self) -> tuple[float, float]:
        """Half sizes (x, z) of a rectangle that lies under the top."""
        share = {"rectangle": 1.0, "rounded": 0.95, "squircle": 0.8, "boat": 0.8}.get(self.plan, 0.66)
        return self.length / 2 * share, self.depth / 2 * share


def draw_top(random: Generator, *, rectangular: bool = False, plan: str | None = None) -> Top:
    """That of a dining, coffee, side, console or bar table."""
    use = random.choice(["dining", "dining", "dining", "coffee", "coffee", "side", "console", "bar", "conference"])
    low, high, shortest, longest, narrow, wide = {
        "dining": (0.68, 0.80, 0.8, 1.9, 0.45, 0.95),
        "coffee": (0.25, 0.5, 0.6, 1.4, 0.45, 1.0),
        "side": (0.4, 0.75, 0.32, 0.65, 0.6, 1.0),
        "console": (0.7, 0.95, 0.8, 1.6, 0.22, 0.4),
        "bar": (0.9, 1.15, 0.5, 1.4, 0.4, 1.0),
        "conference": (0.7, 0.78, 1.6, 3.2, 0.3, 0.5),
    }[str(use)]
    length = between(random, shortest, longest)
    depth = length * between(random, narrow, wide)
    plan = plan or str(
        random.choice(
            ["rectangle"] * 9 + ["rounded"] * 3 + ["round"] * 4 + ["squircle", "polygon", "boat", "half", "triangle"]
        )
    )
    if rectangular and plan not in ("rounded", "rectangle"):
        plan = "rectangle"
    if plan == "half":
        depth = min(depth, length * 0.5)
    elif plan in ("round", "polygon", "triangle") and chance(random, 0.75):
        depth = length = min(length, 1.6)
    thin = 0.009 * float(np.hypot(length, depth))  # what a lattice of 64³ can hold at all
    return Top(plan, length, depth, between(random, low, high), max(thin, between(random, 0.014, 0.07)))


def add_top(shape: Shape, random: Generator, top: Top) -> None:
    """The top, sometimes with a rim under its edge or a rounded one."""
    middle, size = np.array([0, top.height - top.thick / 2, 0]), (top.length, top.thick, top.depth)
    edge = between(random, 0.2, 0.45) * top.thick if chance(random, 0.3) else 0.0
    half, deep = top.length / 2, top.depth / 2
    if top.plan == "rectangle":
        shape.box(middle, size, round=edge)
        return
    if top.plan in ("round", "squircle"):
        shape.box(middle, size, exponent=2.0 if top.plan == "round" else 4.0, round=edge)
        return
    if top.plan == "rounded":
        outline = rounded(top.length, top.depth, corner=between(random, 0.05, 0.25) * min(half, deep), rear_corner=1.0)
    elif top.plan == "polygon":
        count = int(random.choice([6, 8]))
        angles = (np.arange(count) + 0.5) * 2 * np.pi / count
        outline = [(float(half * np.cos(a)), float(deep * np.sin(a))) for a in angles]
    elif top.plan == "triangle":
        angles = np.radians([90.0, 210, 330])
        tips = np.stack([np.cos(angles) * half, np.sin(angles) * deep], axis=1)
        cut = between(random, 0.03, 0.3)
        outline = []
        for here, before, after in zip(tips, np.roll(tips, 1, 0), np.roll(tips, -1, 0), strict=True):
            for other in (before, after):
                x, y = here + cut * (other - here)
                outline.append((float(x), float(y)))
    elif top.plan == "boat":
        narrow = between(random, 0.55, 0.85)
        xs = np.linspace(1, -1, 7)
        bow = [(float(x * half), float(deep * (narrow + (1 - narrow) * (1 - x * x)))) for x in xs]
        outline = bow + [(-x, -y) for x, y in bow]
    else:  # half: round in front
        angles = np.linspace(np.pi, 2 * np.pi, 12)
        outline = [(float(half * np.cos(a)), float(2 * deep * np.sin(a) + deep)) for a in angles]
    shape.extrude(outline, middle, top.thick, turn=LYING, round=edge * 0.6)


def add_drawers(
    shape: Shape, random: Generator, front: Point, width: float, height: float, *, rows: int, columns: int = 1
) -> None:
    """Drawer fronts a little ahead of a body whose front's middle is `front`, with knobs, handles or neither."""
    grip = random.choice(["knob", "bar", "none"])
    gap, color = 0.012, shape.color
    for row in range(rows):
        for column in range(columns):
            wide, tall = width / columns - gap, height / rows - gap
            at = front + np.array([
                ((column + 0.5) / columns - 0.5) * width, ((row + 0.5) / rows - 0.5) * height, -0.004,
            ])  # fmt: skip
            shape.box(at, (wide, tall, 0.02))
            if rows * columns > 4:
                continue
            shape.color = (0.25, 0.24, 0.22)
            if grip == "knob":
                shape.ellipsoid(at - [0, 0, 0.02], (0.035, 0.035, 0.035))
            elif grip == "bar":
                shape.box(at - [0, 0, 0.016], (min(0.14, wide * 0.5), 0.018, 0.024))
            shape.color = color


def started(random: Generator, *, rectangular: bool = False, plan: str | None = None) -> tuple[Shape, Top]:
    """A table's top, and the colour of what is to stand under it."""
    shape, top = Shape(color=finish(random)), draw_top(random, rectangular=rectangular, plan=plan)
    if chance(random, 0.2):
        shape.color = paint(random)
    add_top(shape, random, top)
    if chance(random, 0.5):
        shape.color = finish(random)
    return shape, top
