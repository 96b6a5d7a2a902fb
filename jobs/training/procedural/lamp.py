"""Lamps: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.procedural import lamp_floor as floor
from jobs.training.procedural import lamp_hanging as hanging
from jobs.training.procedural import lamp_table as low
from jobs.training.procedural.profiles import pick
from jobs.training.shape import Shape

FAMILIES = [
    (24, low.table), (4, low.glowing), (10, low.desk), (2, low.banker), (11, floor.floor),
    (4, floor.tripod), (4, floor.arc), (4, floor.several), (3, floor.street), (10, hanging.pendant),
    (4, hanging.cluster), (6, hanging.chandelier), (1, hanging.ring), (3, hanging.ceiling), (5, hanging.wall),
    (4, hanging.lantern), (1, hanging.neon),
]  # fmt: skip


def lamp(random: Generator) -> Shape:
    """A lamp of one of the `FAMILIES`; +Y is up."""
    return pick(random, FAMILIES)
