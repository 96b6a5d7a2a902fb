"""Lamps: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural import lamp_floor as floor
from jobs.training.procedural import lamp_hanging as hanging
from jobs.training.procedural import lamp_table as low
from jobs.training.procedural.profiles import pick

FAMILIES = [
    (28, low.table), (5, low.glowing), (11, low.desk), (2, low.banker), (12, floor.floor),
    (5, floor.tripod), (4, floor.arc), (4, floor.several), (4, floor.street), (12, hanging.pendant),
    (4, hanging.cluster), (7, hanging.chandelier), (2, hanging.ring), (4, hanging.ceiling), (6, hanging.wall),
    (5, hanging.lantern), (2, hanging.neon),
]  # fmt: skip


def lamp(random: Generator) -> Shape:
    """A lamp of one of the `FAMILIES`; +Y is up."""
    return pick(random, FAMILIES)
