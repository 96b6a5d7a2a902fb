"""What airplanes are put together from: fuselages, wings, fins, engines, propellers and landing gears.

Works on: shapes being put together. Knows nothing about which airplane they become.

The nose is at −Z, +Y is up. `grain` is the least that a thin part measures: a 64³ lattice, which networks learn on, has
cells of 1.6 % of the diagonal, and what is much thinner is lost on it. Wings are thickened to that where real ones are
thinner still.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.procedural.profiles import FLAT, disc
from jobs.training.shape import Shape

DARK = (0.1, 0.11, 0.13)


def grains(*size: float) -> float:
    """The grain, 1.5 % of the diagonal, of an airplane of about that size (x, y, z in any order)."""
    return 0.015 * float(np.linalg.norm(size))


def section(random: Generator) -> float:
    """The exponent of a wing's section: flat with rounded edges, or round all over."""
    return float(random.choice([np.inf, np.inf, 4.0, 2.0]))


def hull(
    shape: Shape, random: Generator, length: float, body: float, *, nose: float, tail: float, rise: float,
    end: float = 0.15, blunt: float = 0.5,
) -> None:  # fmt: skip
    """A round fuselage of diameter `body`: a nose `nose` long, from pointed (`blunt` 1) to round (0.4), a barrel, and a
    tail cone `tail` long that ends `rise` higher, with the share `end` of the diameter.
    """
    low, high = -length / 2, length / 2
    steps = np.array([0.04, 0.14, 0.32, 0.6, 1.0])
    profile = [(0.0, low), *[(body / 2 * float(np.sin(s * np.pi / 2)) ** blunt, low + nose * float(s)) for s in steps]]
    start = high - tail
    shape.revolve([*profile, (body / 2, start), (0.0, start + body * 0.1)], (0, 0, 0), turn=FLAT)
    shape.tube((0, 0, start - 0.05), (0, 0, start + tail * 0.35), (0, rise, high), body, end_thickness=body * end)


def wings(
    shape: Shape, root: tuple[float, float, float], *, span: float, chord: float, tip: float, sweep: float,
    thick: float, thin: float, dihedral: float = 0.0, exponent: float = np.inf,
) -> tuple[float, float, float]:  # fmt: skip
    """A wing to each side of `root` (x of the right one's start, y, z of its middle), each `span` long.

    `tip` is the share of the `chord` left at the tip, `sweep` how far behind it is, `thick` and `thin` are the
    thickness at the root and at the tip, `dihedral` is in degrees. Returns the middle of the right tip.
    """
    end = np.zeros(3)
    if exponent == 2:  # thick in the middle only
        thick, thin = 1.25 * thick, 1.25 * thin
    for x in (1, -1):
        lay = tilt(x * (dihedral - 90), "z")
        start = np.array([x * root[0], root[1], root[2]])
        shape.box(
            start + lay @ [0, span / 2, sweep / 2], (thick, span, chord), taper=(1 - thin / thick, 1 - tip),
            shear=(0, sweep), turn=lay, exponent=exponent, round=thin * 0.4 if np.isinf(exponent) else 0.0,
        )  # fmt: skip
        if x == 1:
            end = start + lay @ [0, span, sweep]
    return float(end[0]), float(end[1]), float(end[2])


def planform(
    shape: Shape, root: tuple[float, float, float], outline: list[tuple[float, float]], thick: float, *,
    dihedral: float = 0.0,
) -> None:  # fmt: skip
    """A wing to each side with any outline [(outward, z), …] seen from above, about `root`; equally thick all over."""
    for x in (1, -1):
        turn = tilt(x * dihedral, "z") @ FLAT
        points = [(x * out, z) for out, z in outline]
        shape.extrude(points, (x * root[0], root[1], root[2]), thick, turn=turn, round=thick * 0.4)


def fin(
    shape: Shape, foot: tuple[float, float, float], *, height: float, chord: float, tip: float, sweep: float,
    thick: float, lean: float = 0.0,
) -> None:  # fmt: skip
    """An upright fin on `foot` (the middle of its chord); `lean` in degrees towards +X."""
    turn = tilt(-lean, "z")
    center = np.asarray(foot) + turn @ [0, height / 2, sweep / 2]
    shape.box(center, (thick, height, chord), taper=(0.25, 1 - tip), shear=(0, sweep), turn=turn, round=thick * 0.3)


def nacelle(
    shape: Shape, center: tuple[float, float, float], diameter: float, long: float, *, slim: float = 0.6
) -> None:
    """A jet engine along z: an intake lip, a dark front, a nozzle of the share `slim` of the diameter."""
    r, h = diameter / 2, long / 2
    color = shape.color
    shape.revolve(
        [
            (0, -h * 0.8), (r * 0.72, -h * 0.8), (r * 0.82, -h), (r, -h * 0.75), (r * 0.98, h * 0.2), (r * slim, h),
            (0, h),
        ],
        center, turn=FLAT,
    )  # fmt: skip
    shape.color = DARK
    x, y, z = center
    shape.rod((x, y, z - h * 0.83), (x, y, z - h * 0.6), diameter * 0.7)
    shape.color = color


def propeller(shape: Shape, random: Generator, hub: tuple[float, float, float], diameter: float, grain: float) -> None:
    """Two to four blades, or the disc that they seem when they turn, and a spinner before them."""
    x, y, z = hub
    color = shape.color
    blades = int(random.choice([0, 2, 2, 3, 4], p=[0.12, 0.22, 0.22, 0.22, 0.22]))
    shape.ellipsoid((x, y, z), (diameter * 0.16, diameter * 0.16, diameter * between(random, 0.2, 0.35)))
    shape.color = DARK
    if blades == 0:
        shape.rod((x, y, z - grain * 0.5), (x, y, z + grain * 0.5), diameter)
    start, broad = between(random, 0, 180), max(diameter * between(random, 0.08, 0.14), 1.2 * grain)
    if blades in (2, 4):
        for quarter in range(blades // 2):
            shape.box((x, y, z), (broad, diameter, grain), turn=tilt(start + 90 * quarter, "z"), exponent=4.0)
    elif blades == 3:
        for third in range(3):
            turn = tilt(start + 120 * third, "z")
            shape.box(
                np.array([x, y, z]) + turn @ [0, diameter / 4, 0], (broad, diameter / 2, grain), turn=turn, exponent=4.0
            )
    shape.color = color


def gear(
    shape: Shape, random: Generator, *, nose: tuple[float, float, float], main: tuple[float, float, float],
    ground: float, wheel: float, leg: float,
) -> None:  # fmt: skip
    """A wheel under `nose` and one under each of ±`main` (where their legs begin), down to y = `ground`.

    Where `nose` is behind, it is a small tail wheel close to the body.
    """
    color = shape.color
    level = ground + wheel / 2
    splay = between(random, 0, 0.3) * (main[1] - level) if chance(random, 0.5) else 0.0
    for top, foot in (
        (nose, (nose[0], level if nose[2] < main[2] else max(level, nose[1] - wheel), nose[2])),
        (main, (main[0] + splay, level, main[2])),
        ((-main[0], main[1], main[2]), (-main[0] - splay, level, main[2])),
    ):
        shape.rod(top, foot, leg)
        shape.color = DARK
        disc(shape, foot, wheel, max(wheel * 0.4, leg * 1.4))
        shape.color = color


def tails(
    shape: Shape, random: Generator, length: float, body: float, rise: float, grain: float, *, high: bool,
    scale: float = 1.0,
) -> None:  # fmt: skip
    """A fin and a tailplane at the end of a hull; `high` puts the tailplane on top of the fin."""
    end = length / 2
    height, chord = between(random, 1.2, 1.75) * scale, between(random, 1.15, 1.6) * scale
    sweep, tip = between(random, 0.6, 1.2) * scale, between(random, 0.3, 0.5)
    z = end - chord * between(random, 0.6, 0.85)
    fin(shape, (0, body * 0.1 + rise * 0.6, z), height=height, chord=chord, tip=tip, sweep=sweep, thick=grain * 1.3)
    y = body * 0.1 + rise * 0.6 + height - grain if high else rise * 0.8 + body * between(random, 0, 0.1)
    back = z + sweep if high else end - chord * between(random, 0.45, 0.7)
    wings(
        shape, (0.0, y, back), span=between(random, 1.4, 2.1) * scale, chord=chord * between(random, 0.65, 0.95),
        tip=between(random, 0.3, 0.6), sweep=between(random, 0.3, 0.9) * scale, thick=grain * 1.3, thin=grain,
        dihedral=0 if high else between(random, 0, 8),
    )  # fmt: skip
