"""Cars: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.procedural import car_modern as modern
from jobs.training.procedural import car_other as other
from jobs.training.procedural import car_vintage as vintage
from jobs.training.procedural.profiles import pick
from jobs.training.shape import Shape

FAMILIES = [
    (13, modern.sedan), (9, modern.hatchback), (3, modern.city), (5, modern.wagon), (6, modern.coupe),
    (9, modern.sports), (9, modern.offroader), (4, modern.carrier), (6, modern.muscle), (3, modern.limousine),
    (6, modern.convertible), (6, other.van), (6, other.pickup), (5, other.jeep), (4, vintage.vintage),
    (4, vintage.rounded), (2, other.formula),
]  # fmt: skip


def car(random: Generator) -> Shape:
    """A car of one of the `FAMILIES`; the front is at −Z."""
    return pick(random, FAMILIES)
