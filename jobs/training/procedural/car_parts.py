"""What cars are put together from: measures, bodies, cabins, wheels and what is fitted to them.

Works on: shapes being put together. Knows nothing about which car they become.

In metres, on the ground at y = 0, the nose at −Z.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import disc, shade, side
from jobs.training.shape import Shape

GLASS = (0.12, 0.13, 0.15)
RUBBER = (0.1, 0.1, 0.11)
CHROME = (0.75, 0.76, 0.78)


@dataclass
class Body:
    """The measures that a car's parts share."""

    length: float
    width: float
    height: float
    floor: float  # ground clearance
    wheel: float  # radius
    hood: float  # height above the front axle
    belt: float  # height where the windows begin
    screen: float  # z of the windscreen's foot
    back: float  # z of the rear window's foot
    rake: float  # metres that the windscreen leans back, a metre of height
    slope: float  # the same for the rear window, leaning forward
    front: float = np.inf  # height of the hood's front edge, where it is lower than `hood`

    @property
    def nose(self) -> float:
        return -self.length / 2

    @property
    def tail(self) -> float:
        return self.length / 2

    def top(self, z: float) -> float:
        """The least height of the body below the windows, at `z`."""
        share = np.clip((z - self.nose) / (self.screen - self.nose), 0, 1)
        front = min(self.front, self.hood)
        return float(front + (self.hood - front) * share)


Range = tuple[float, float]


def car_body(
    random: Generator, *, length: Range, width: Range, height: Range, hood: Range, cabin: Range, trunk: Range,
    rake: Range, slope: Range, wheel: Range = (0.30, 0.35), floor: Range = (0.16, 0.24), low: Range = (0.0, 0.12),
) -> Body:  # fmt: skip
    """Measures at random. `hood` and `trunk` are shares of the length before the windscreen and behind the rear window,
    `cabin` the share of the height above the belt, `low` by how much the hood lies below the belt, in metres.
    """
    long, tall = between(random, *length), between(random, *height)
    belt = tall * (1 - between(random, *cabin))
    return Body(
        length=long, width=between(random, *width), height=tall, floor=between(random, *floor),
        wheel=between(random, *wheel), hood=belt - between(random, *low), belt=belt,
        screen=long * (between(random, *hood) - 0.5), back=long * (0.5 - between(random, *trunk)),
        rake=between(random, *rake), slope=between(random, *slope),
    )  # fmt: skip


def lower(shape: Shape, random: Generator, body: Body) -> None:
    """The body below the windows, seen from the side, from a wedge to an upright box."""
    nose, tail, floor, belt = body.nose, body.tail, body.floor, body.belt
    upright = between(random, 0, 1)
    front = body.hood - between(random, 0.03, 0.16 + 0.22 * (1 - upright))
    body.front = front - 0.04
    chin = floor + (front - floor) * between(random, 0.25, 0.5)
    deck = belt - between(random, -0.03, 0.08)
    hatch = tail - body.back < 0.25
    outline = [
        (nose + between(random, 0.05, 0.25), floor), (nose + between(random, 0, 0.06), chin),
        (nose + between(random, 0.0, 0.12) * (2 - upright), front),
        (nose + (body.screen - nose) * between(random, 0.3, 0.5),
        front + (body.hood - front) * between(random, 0.5, 0.9)),
        (body.screen + 0.1, body.hood + 0.04), (body.screen + 0.5, belt), (body.back, belt),
        (tail - between(random, 0.02, 0.1), belt - 0.05 if hatch else deck),
        (tail, floor + (deck - floor) * between(random, 0.45, 0.7)),
        (tail - between(random, 0, 0.08), floor + (deck - floor) * between(random, 0.2, 0.4)),
        (tail - between(random, 0.1, 0.35), floor + between(random, 0.0, 0.1)),
    ]  # fmt: skip
    side(shape, outline, body.width, round=between(random, 0.04, 0.16))


def cabin(shape: Shape, random: Generator, body: Body, *, glass: bool, blend: float = 0.0) -> None:
    """The windows and roof: an outline with a curved roof, leaning in at the sides, or one tapered box."""
    rise = body.height - body.belt
    color = shape.color
    if glass:
        shape.color = GLASS
    low = body.belt - 0.1
    wide = body.width * between(random, 0.86, 0.93)
    front, rear = body.screen + rise * body.rake, body.back - rise * body.slope
    rear = max(rear, front + 0.25 * (body.back - body.screen))
    lean = between(random, 0.12, 0.3)
    top = wide - 2 * lean * rise
    if chance(random, 0.7):
        peak = front + (rear - front) * between(random, 0.25, 0.5)
        crown = between(random, 0.02, 0.09) * rise / 0.45
        outline = [
            (body.screen - 0.05, low), (body.screen, body.belt - 0.02),
            (body.screen + (front - body.screen) * 0.85, body.belt + rise * 0.82),
            (front + 0.1, body.height - crown * 0.6), (peak, body.height), (rear - 0.05, body.height - crown),
            (body.back - (body.back - rear) * 0.7, body.belt + (rise - crown) * 0.75), (body.back, body.belt - 0.02),
            (body.back, low),
        ]  # fmt: skip
        side(shape, outline, wide, round=between(random, 0.03, 0.1), blend=blend)
        for x in (-1, 1):  # what is outside a plane through the belt line
            turn = tilt(x * np.degrees(np.arctan(lean)), "z")
            foot = np.array([x * wide / 2, body.belt, (body.screen + body.back) / 2])
            shape.box(
                foot + turn @ [x * 0.3, rise, 0], (0.6, 2 * rise, body.back - body.screen + 0.6), turn=turn, cut=True
            )
    else:
        long, roof = body.back - body.screen + 0.1, rear - front
        share = 0.1 / (rise + 0.1)
        shape.box(
            (0, (low + body.height) / 2, (body.screen + body.back + front + rear) / 4), (wide, body.height - low, long),
            taper=(1 - top / wide, 1 - roof / (long + share)), shear=(0, (front + rear - body.screen - body.back) / 2),
            round=between(random, 0.03, 0.1), blend=blend,
        )  # fmt: skip
    shape.color = color
    if glass or chance(random, 0.2):
        thick = between(random, 0.04, 0.08)
        shape.box(
            (0, body.height - thick / 2, (front + rear) / 2),
            (top * 1.02, thick, (rear - front) * between(random, 0.85, 1.0)), round=thick * 0.45,
        )  # fmt: skip


def corners(shape: Shape, random: Generator, body: Body) -> None:
    """Cuts the corners seen from above: the nose always, the tail sometimes."""
    ends = [(-1, between(random, 15, 35), between(random, 0.12, 0.35))]
    if chance(random, 0.5):
        ends.append((1, between(random, 15, 40), between(random, 0.08, 0.2)))
    for end, angle, reach in ends:
        for x in (-1, 1):
            turn = tilt(x * end * angle, "y")
            edge = np.array([x * (body.width / 2 - reach * 0.8), body.height / 2, end * body.length / 2])
            shape.box(edge + turn @ [x * 0.2, 0, end * 0.5], (2.4, 2 * body.height, 1.0), turn=turn, cut=True)


def wheels(
    shape: Shape, random: Generator, body: Body, *, axles: tuple[float, float] | None = None, arches: bool = True
) -> None:
    """Four wheels, in arches cut out of the body where it is high enough above them; `axles` are their z."""
    nose, tail, wheel = body.nose, body.tail, body.wheel
    if axles is None:
        axles = (nose + wheel + between(random, 0.3, 0.6), tail - wheel - between(random, 0.3, 0.65))
    gap = wheel * between(random, 1.08, 1.2)
    thick = between(random, 0.18, 0.26)
    flush = body.width / 2 + between(random, -0.03, 0.03)
    if arches:
        flare = chance(random, 0.35)
        if flare and wheel + gap + 0.06 < body.top(axles[0]):
            reach, wide = gap + between(random, 0.04, 0.07), body.width + between(random, 0.03, 0.1)
            half = np.linspace(0, np.pi, 10)
            for z in axles:
                side(shape, [(z + reach * np.cos(a), wheel + reach * np.sin(a)) for a in half], wide)
        for z in axles:
            disc(shape, (0, wheel, z), 2 * min(gap, body.top(z) - wheel - 0.03), body.width + 0.5, cut=True)
        inner = body.width - 2 * thick + 0.1  # the wheels reach into it
        ends, color = (axles[0] - wheel, axles[1] + wheel), shape.color
        shape.color = shade(color, between(random, 0.3, 0.9))
        low, high = max(ends[0], body.nose + 0.2), min(ends[1], body.tail - 0.2)
        outline = [
            (low, body.floor), (low, min(2 * wheel, body.top(low) - 0.06)),
            (axles[0] + wheel, min(2 * wheel, body.top(axles[0] + wheel) - 0.06)),
            (high, min(2 * wheel, body.belt - 0.1)), (high, body.floor),
        ]  # fmt: skip
        side(shape, outline, inner)
        shape.color = color
    tread(shape, random, [(x * (flush - thick / 2), wheel, z) for z in axles for x in (-1, 1)], wheel, thick)


def tread(
    shape: Shape, random: Generator, centers: list[tuple[float, float, float]], wheel: float, thick: float
) -> None:
    """Wheels at `centers`, plain or with rims of another colour; a short axle ties each to what is inside."""
    color = shape.color
    rims = chance(random, 0.55)
    rim = CHROME if chance(random, 0.7) else paint(random)
    size = between(random, 0.55, 0.75)
    for x, y, z in centers:
        shape.color = RUBBER
        disc(shape, (x, y, z), 2 * wheel, thick)
        if rims:
            shape.color = rim
            disc(shape, (x + np.sign(x) * 0.012, y, z), 2 * wheel * size, thick)
    shape.color = color


def fittings(shape: Shape, random: Generator, body: Body, *, mirrors: float = 0.75, bumpers: float = 0.35) -> None:
    """Mirrors, bumpers and a grille, each by chance."""
    color = shape.color
    if chance(random, mirrors):
        size = np.array([between(random, 0.16, 0.24), between(random, 0.1, 0.15), between(random, 0.07, 0.13)])
        z, y = body.screen + 0.3 + 0.1 * body.rake, body.belt + 0.04
        for x in (-1, 1):
            center = (x * (body.width * 0.46 + size[0] / 2), y, z)
            shape.box(center, size, round=0.03)
    if chance(random, bumpers):
        shape.color = CHROME if chance(random, 0.5) else shade(color, between(random, 0, 0.8))
        level, tall, out = (
            body.floor + between(random, 0.1, 0.25),
            between(random, 0.1, 0.2),
            between(random, 0.03, 0.1),
        )
        for end in (-1, 1):
            shape.box(
                (0, level, end * (body.length / 2 - 0.1 + out / 2)), (body.width * 0.95, tall, 0.2 + out), round=0.05
            )
    if chance(random, 0.25):
        shape.color = RUBBER if chance(random, 0.5) else CHROME
        low = body.floor + 0.15
        tall = (body.hood - low) * between(random, 0.4, 0.7)
        shape.box(
            (0, low + tall / 2, body.nose + 0.09), (body.width * between(random, 0.35, 0.7), tall, 0.2), round=0.02
        )
    shape.color = color


def wing(shape: Shape, random: Generator, body: Body, *, height: float) -> None:
    """A spoiler on two posts over the tail, `height` above the deck."""
    chord, deck = between(random, 0.2, 0.35), body.belt - 0.02
    z = body.tail - chord / 2 - between(random, 0.0, 0.15)
    wide = body.width * between(random, 0.75, 1.0)
    shape.box((0, deck + height, z), (wide, 0.05, chord), turn=tilt(between(random, 0, 12)))
    posts = between(random, 0.25, 0.47) * wide
    for x in (-1, 1):
        shape.box((x * posts, deck + height / 2 - 0.1, z), (0.05, height + 0.2, chord * 0.6))


def rack(shape: Shape, random: Generator, body: Body) -> None:
    """Rails along the roof, or a box on it."""
    rise = body.height - body.belt
    front, rear = body.screen + rise * body.rake + 0.1, body.back - rise * body.slope - 0.1
    shape.color = CHROME if chance(random, 0.5) else RUBBER
    if chance(random, 0.75):
        for x in (-1, 1):
            shape.box((x * body.width * 0.3, body.height + 0.01, (front + rear) / 2), (0.06, 0.1, rear - front))
    else:
        size = (between(random, 0.5, 0.9), between(random, 0.2, 0.35), between(random, 0.6, 0.9) * (rear - front))
        shape.box((0, body.height + size[1] / 2 - 0.03, (front + rear) / 2), size, round=0.08, taper=(0.1, 0.1))


def stretch(random: Generator, body: Body) -> None:
    """Makes the measures a limousine's: all that is added is cabin."""
    more = between(random, 0.8, 3.4)
    body.length += more
    body.screen -= more / 2
    body.back += more / 2
