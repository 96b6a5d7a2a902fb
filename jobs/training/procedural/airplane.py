"""Airplanes: airliners, light propeller planes and jets.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural.parts import between, chance, paint, tilt


def airplane(random: Generator) -> Shape:
    """Airliners, light propeller planes, gliders and jets with swept or delta wings; the nose is at −Z."""
    kind = random.choice(["liner", "liner", "liner", "light", "fighter"])
    shape = Shape(color=paint(random))
    length = 10.0
    body = between(random, 0.9, 1.25) if kind != "fighter" else between(random, 0.8, 1.1)
    nose, tail = -length / 2, length / 2
    front, rear = nose + body * between(random, 0.8, 1.6), tail - length * between(random, 0.25, 0.4)
    shape.rod((0, 0, front), (0, 0, rear), body)
    shape.ellipsoid((0, 0, front), (body, body, 2 * (front - nose)))
    shape.rod((0, 0, rear), (0, body * 0.2, tail), body, end_thickness=body * between(random, 0.2, 0.4))

    def wing(
        root: tuple[float, float, float],
        chord: float,
        span: float,
        sweep: float,
        tip: float,
        thick: float,
        dihedral: float,
    ) -> None:
        """A wing from the body to +X, built standing and then laid down; `tip` is the share of the chord left."""
        lay = tilt(-90 + dihedral, "z")
        center = np.asarray(root) + lay @ np.array([0, span / 2, sweep / 2])
        shape.box(
            center,
            (thick, span, chord),
            taper=(0.4, 1 - tip),
            shear=(0, sweep),
            turn=lay,
            exponent=random.choice([2.0, np.inf]),
        )

    if chance(random, 0.4):
        shape.color = paint(random)
    thick = between(random, 0.26, 0.42)  # stout, so that a 64³ lattice holds them
    wing_z = between(random, -0.6, 0.7)
    if kind == "light":
        level = body * random.choice([-0.35, 0.45])
        chord, span, sweep, tip = (
            between(random, 1.3, 1.8),
            between(random, 4.2, 5.6),
            between(random, -0.2, 0.3),
            between(random, 0.6, 1),
        )
    elif kind == "fighter":
        level = body * between(random, -0.2, 0.1)
        chord, span, sweep, tip = (
            between(random, 3.2, 4.6),
            between(random, 2.6, 3.6),
            between(random, 1.4, 2.2),
            between(random, 0.1, 0.3),
        )
        wing_z += 0.8
    else:
        level = body * between(random, -0.35, -0.1)
        chord, span, sweep, tip = (
            between(random, 1.8, 2.6),
            between(random, 4.0, 5.4),
            between(random, 1.2, 2.8),
            between(random, 0.25, 0.45),
        )
    dihedral = between(random, 0, 7)
    wing((0.1, level, wing_z), chord, span, sweep, tip, thick, dihedral)
    engines = int(random.choice([1, 1, 2])) if kind == "liner" else 0
    for engine in range(engines):
        along = (0.32 if engines == 1 else 0.28 + 0.28 * engine) * span
        size = body * between(random, 0.38, 0.5)
        z = wing_z + sweep * along / span - chord * 0.45
        drop = level - size * 0.6 + along * np.sin(np.radians(dihedral))
        shape.rod((along, drop, z - 0.5), (along, drop, z + 0.7), size, end_thickness=size * 0.75)
    tail_chord = between(random, 1.0, 1.4)
    high_tail = kind == "liner" and chance(random, 0.2)
    fin = between(random, 1.4, 2.0)
    tail_level = body * 0.2 + (fin * 0.95 if high_tail else 0)
    tail_shift = 0.8 if high_tail else 0.0
    wing(
        (0.02, tail_level, tail - tail_chord * 0.6 + tail_shift),
        tail_chord,
        between(random, 1.6, 2.1),
        between(random, 0.4, 1.0),
        0.5,
        thick * 0.8,
        2,
    )
    shape.mirrored(0)
    if chance(random, 0.5):
        shape.color = paint(random)
    rake = between(random, 0.6, 1.2)
    shape.box(
        (0, body * 0.1 + fin / 2, tail - tail_chord * 0.7 + rake / 2), (thick * 0.9, fin, tail_chord * 1.3),
        taper=(0.3, 0.5), shear=(0, rake),
    )  # fmt: skip
    if kind == "light":
        shape.rod((0, 0, nose - 0.05), (0, 0, nose + 0.1), between(random, 0.3, 0.4))
        shape.box((0, 0, nose), (0.25, 2.2, 0.12), turn=tilt(between(random, 0, 180), "z"))
    if kind == "fighter" or chance(random, 0.3):
        shape.ellipsoid((0, body * 0.45, nose + 2.3), (body * 0.6, body * 0.55, 1.9))
    return shape
