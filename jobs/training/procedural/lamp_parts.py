"""What lamps are put together from: shades, bases that are turned on a lathe, and heads that point somewhere.

Works on: shapes being put together. Knows nothing about which lamp they become.

In metres, +Y up. `grain` is the least that a thin part measures: a 64³ lattice, which networks learn on, has cells of
1.6 % of the diagonal, and what is much thinner is lost on it. Stems and walls are thickened to that where real ones are
thinner still.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from jobs.training.procedural.parts import between, chance, paint
from jobs.training.shape import Shape

BRASS = (0.6, 0.5, 0.3)
METAL = (0.35, 0.35, 0.37)
UP = np.array([0.0, 1.0, 0.0])
LIT = (0.95, 0.92, 0.82)


def grains(*size: float) -> float:
    """The grain, 1.5 % of the diagonal, of a lamp of about that size (x, y, z in any order)."""
    return 0.015 * float(np.linalg.norm(size))


def frustum(shape: Shape, foot: ArrayLike, height: float, lower: float, upper: float) -> None:
    """A cone's part standing on `foot`: its diameters at the bottom and, `height` above (or below), at the top."""
    shape.revolve([(0, 0), (lower / 2, 0), (upper / 2, height), (0, height)], foot)


def shade_paint(random: Generator) -> tuple[float, float, float]:
    """Mostly light cloth or glass, else any colour."""
    if chance(random, 0.55):
        value = between(random, 0.7, 0.97)
        return value, value * between(random, 0.93, 1.0), value * between(random, 0.8, 1.0)
    return paint(random)


def metal_paint(random: Generator) -> tuple[float, float, float]:
    """Brass, steel, black, white or any colour."""
    value = between(random, 0.05, 0.2) if chance(random, 0.5) else between(random, 0.6, 0.9)
    return [BRASS, METAL, (value, value, value), paint(random)][int(random.integers(4))]


def cloth(
    shape: Shape, random: Generator, bottom: float, height: float, diameter: float, grain: float, *,
    kind: str | None = None, closed: float = 0.5,
) -> float:  # fmt: skip
    """A lampshade around the y axis whose lower rim, `diameter` wide, is at `bottom`. Returns how high its inside is
    tied to the axis: a stem that reaches there holds it. `closed` is the chance that it is solid.
    """
    shape.color = shade_paint(random)
    kind = kind or str(random.choice(["cone", "cone", "drum", "drum", "bell", "square", "square", "oblong", "barrel"]))
    r, top = diameter / 2, bottom + height
    small = between(random, 0.25, 0.8)
    wall = grain * between(random, 1.3, 1.8)
    solid = chance(random, closed)
    if kind in ("square", "oblong"):
        deep = between(random, 0.45, 0.75) if kind == "oblong" else 1.0
        shrink = 1 - small if chance(random, 0.75) else 0.0
        exponent = np.inf if chance(random, 0.7) else 4.0
        size = np.array([diameter * 0.9, height, diameter * 0.9 * deep])
        shape.box((0, bottom + height / 2, 0), size, taper=(shrink, shrink), exponent=exponent)
        if not solid:
            hole = size - [2 * wall, -2 * grain, 2 * wall]
            left = (1 - shrink) * size[[0, 2]] - 2 * wall
            if (left > 2 * grain).all():
                taper = 1 - left / hole[[0, 2]]
                shape.box(
                    (0, bottom + height / 2, 0), hole, taper=(float(taper[0]), float(taper[1])), exponent=exponent,
                    cut=True,
                )  # fmt: skip
        reach = diameter * 0.9 * (1 - shrink * 0.85)
    else:
        if kind == "drum":
            small = between(random, 0.85, 1.0)
        t = np.linspace(0, 1, 6)
        if kind == "bell":
            curve = 1 - (1 - small) * t ** between(random, 0.35, 0.6)
        elif kind == "barrel":
            curve = 1 - (1 - small) * (t if chance(random, 0.75) else 1 - t)
            curve += between(random, 0.2, 0.5) * np.sin(np.pi * t)
            curve /= curve.max()
        else:
            curve, t = np.array([1.0, small]), np.array([0.0, 1.0])
        outer = [(r * float(c), bottom + height * float(h)) for c, h in zip(curve, t, strict=True)]
        if solid:
            profile = [(0.0, bottom), *outer, (0.0, top)]
        else:
            profile = [*outer, *[(max(x - wall, grain * 0.2), y) for x, y in outer[::-1]]]
        shape.revolve(profile, (0, 0, 0))
        reach = 2 * r * float(np.interp(0.85, t, curve))
    tie = bottom + height * 0.85
    if not solid:  # the spider that holds the shade
        shape.color = METAL
        thick = grain * 1.3
        shape.box((0, tie, 0), (max(reach - wall, thick), thick, thick))
        if chance(random, 0.5):
            shape.box((0, tie, 0), (thick, thick, max((reach - wall) * (deep if kind == "oblong" else 1.0), thick)))
    return tie


def turned(
    shape: Shape, random: Generator, height: float, diameter: float, stem: float, *, kind: str | None = None
) -> None:
    """A base on y = 0 that ends at `height` with the diameter `stem`, at most `diameter` wide."""
    r, neck = diameter / 2, stem / 2
    kinds = ["vase", "ball", "column", "stick", "gourd", "cone", "stack", "bottle", "block", "pillar", "egg"]
    kind = kind or str(random.choice(kinds))
    if kind in ("block", "pillar"):  # square ones: a cube or plates and a post
        wide = diameter * (between(random, 0.7, 1.0) if kind == "block" else between(random, 0.35, 0.55))
        tall = height * between(random, 0.6, 0.9) if kind == "block" else height
        taper = between(random, -0.6, 0.6)
        square = np.inf if chance(random, 0.75) else 4.0
        if kind == "pillar":
            steps, level = int(random.integers(1, 4)), 0.0
            for step in range(steps):
                plate, thick = diameter * (1 - 0.2 * step), height * between(random, 0.05, 0.1)
                shape.box((0, level + thick / 2, 0), (plate, thick, plate), exponent=square)
                level += thick * 0.98
            if chance(random, 0.5):
                shape.color = paint(random)
            shape.box(
                (0, (level + height) / 2, 0), (wide, height - level, wide), taper=(max(taper, 0), max(taper, 0)),
                exponent=square,
            )  # fmt: skip
            if chance(random, 0.5):
                cap = height * between(random, 0.04, 0.08)
                shape.box((0, height - cap, 0), (wide * 1.3, cap, wide * 1.3), exponent=square)
            return
        if taper >= 0:
            shape.box((0, tall / 2, 0), (wide, tall, wide), taper=(taper, taper), exponent=square)
        else:  # narrow below
            turn = np.diag([1.0, -1.0, -1.0])
            shape.box((0, tall / 2, 0), (wide, tall, wide), taper=(-taper, -taper), exponent=square, turn=turn)
        shape.rod((0, tall * 0.9, 0), (0, height, 0), stem)
        return
    foot = [(0.0, 0.0), (r * between(random, 0.45, 0.85), 0.0)]
    if kind == "vase":
        t = np.linspace(0.05, 1, 9)
        low, wide = between(random, 0.4, 0.7), between(random, 0.4, 0.75)
        swell = np.interp(t, [0, wide * 0.5, wide, 0.9, 1], [low, 0.85, 1, 0.4, 0.3])
        body = [(max(r * float(s), neck), height * float(h)) for s, h in zip(swell, t, strict=True)]
        profile = [*foot, *body]
    elif kind in ("ball", "egg"):
        low = height * between(random, 0.06, 0.14)
        tall = min(
            height - low * 1.2, diameter * (between(random, 0.8, 1.05) if kind == "ball" else between(random, 1.2, 2.0))
        )
        angle = np.linspace(-1.2, 1.25, 9)
        sphere = [(r * float(np.cos(a)), low + tall * (1 + float(np.sin(a))) / 2) for a in angle]
        profile = [*foot, (foot[1][0], low * 0.5), *sphere, (neck, sphere[-1][1] + 0.01 * height)]
        if sphere[-1][1] < height * 0.97:
            profile.append((neck, height))
    elif kind == "column":
        plate, cap = height * between(random, 0.05, 0.12), height * between(random, 0.86, 0.93)
        shaft = r * between(random, 0.3, 0.6)
        profile = [
            (0, 0), (r, 0), (r, plate * 0.6), (shaft * 1.4, plate), (shaft, plate * 1.6),
            (shaft * between(random, 0.75, 1), cap), (shaft * 1.3, (cap + height) / 2),
            (max(neck, shaft * 0.8), height),
        ]  # fmt: skip
    elif kind == "stick":
        plate = height * between(random, 0.04, 0.1)
        profile = [
            (0, 0), (r, 0), (r * between(random, 0.9, 1), plate * 0.5), (neck * 1.2, plate), (neck, plate * 1.5),
            (neck, height),
        ]  # fmt: skip
    elif kind == "gourd":
        waist = between(random, 0.45, 0.6)
        t = np.array([0.04, 0.15, 0.28, 0.42, waist, 0.68, 0.78, 0.9, 1.0])
        swell = np.array([0.6, 0.92, 1.0, 0.8, 0.35, 0.58, 0.6, 0.4, 0.2])
        profile = [*foot, *[(max(r * float(s), neck), height * float(h)) for s, h in zip(swell, t, strict=True)]]
    elif kind == "cone":
        profile = [(0, 0), (r, 0), (r, height * 0.04), (max(r * between(random, 0.1, 0.5), neck), height)]
    elif kind == "stack":  # rings of a lathe
        t = np.linspace(0.08, 0.94, 11)
        swell = np.clip(0.38 + 0.38 * random.uniform(-1, 1, 11), max(0.12, neck / r), 1)
        profile = [
            (0, 0),
            (r, 0),
            *[(r * float(s), height * float(h)) for s, h in zip(swell, t, strict=True)],
            (neck, height),
        ]
    else:  # bottle
        shoulder = height * between(random, 0.45, 0.7)
        profile = [
            (0, 0), (r * 0.9, 0), (r, height * 0.05), (r * between(random, 0.85, 1), shoulder),
            (r * 0.7, shoulder + height * 0.1), (max(r * 0.3, neck), shoulder + height * 0.18),
            (max(r * 0.22, neck), height),
        ]  # fmt: skip
    shape.revolve([*profile, (0.0, profile[-1][1])], (0, 0, 0))
    if profile[-1][1] < height:
        shape.rod((0, profile[-1][1] * 0.98, 0), (0, height, 0), stem)


def facing(direction: np.ndarray) -> np.ndarray:
    """A rotation matrix whose −y axis is the given direction: what hangs down points there."""
    up = -direction / np.linalg.norm(direction)
    across = np.cross([0.0, 0.0, 1.0], up) if abs(up[2]) < 0.9 else np.cross([0.0, 1.0, 0.0], up)
    across /= np.linalg.norm(across)
    return np.stack([across, up, np.cross(across, up)], axis=1)


def head(
    shape: Shape, random: Generator, top: np.ndarray, direction: np.ndarray, size: float, grain: float, *,
    kind: str | None = None,
) -> None:  # fmt: skip
    """A reflector that hangs from `top` and shines towards `direction`: `size` is the diameter of its mouth."""
    turn = facing(direction)
    r = size / 2
    kind = kind or str(random.choice(["cone", "dome", "bell", "can", "globe"]))
    long = size * between(random, 0.6, 1.0)
    wall = grain * 1.4
    if kind == "globe":
        shape.color = LIT if chance(random, 0.7) else shade_paint(random)
        tall = size * between(random, 0.85, 1.1)
        shape.ellipsoid(np.asarray(top) + turn @ [0, -tall * 0.475, 0], (size, tall, size), turn=turn)
        return
    if kind == "cone":
        outer = [(r, -long), (r * between(random, 0.2, 0.4), -long * 0.15), (r * 0.2, 0)]
    elif kind == "can":
        outer = [(r * 0.9, -long * 1.2), (r * 0.9, -long * 0.1), (r * 0.6, 0)]
    elif kind == "bell":
        outer = [(r, -long), (r * 0.75, -long * 0.75), (r * 0.5, -long * 0.55), (r * 0.36, -long * 0.3), (r * 0.3, 0)]
    else:
        long = size * between(random, 0.4, 0.55)
        outer = [(r * float(np.sin(a)), -long * (1 - float(np.cos(a)))) for a in np.linspace(np.pi / 2, 0.2, 6)]
    if chance(random, 0.4):
        profile = [(0.0, outer[0][1]), *outer, (0.0, outer[-1][1])]
    else:  # hollow below its crown
        inner = [(max(x - wall, 0.0), min(y, -1.5 * wall)) for x, y in outer[:-1]][::-1]
        profile = [*outer, (0.0, outer[-1][1]), (0.0, min(-1.5 * wall, inner[0][1] + 0.25 * wall)), *inner]
    shape.revolve(profile, top, turn=turn)
    if chance(random, 0.3):
        shape.color = LIT
        bulb = r * between(random, 0.5, 0.8)
        shape.ellipsoid(
            np.asarray(top) + turn @ [0, outer[0][1] * 0.55, 0], (bulb, abs(outer[0][1]) * 1.1, bulb), turn=turn
        )
