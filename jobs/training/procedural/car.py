"""Cars: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural import car_modern as modern
from jobs.training.procedural import car_other as other
from jobs.training.procedural import car_vintage as vintage
from jobs.training.procedural.profiles import pick

FAMILIES = [
    (16, modern.sedan), (11, modern.hatchback), (4, modern.city), (6, modern.wagon), (8, modern.coupe),
    (12, modern.sports), (12, modern.offroader), (5, modern.carrier), (8, modern.muscle), (3, modern.limousine),
    (7, modern.convertible), (8, other.van), (8, other.pickup), (6, other.jeep), (6, vintage.vintage),
    (6, vintage.rounded), (4, other.formula),
]  # fmt: skip


def car(random: Generator) -> Shape:
    """A car of one of the `FAMILIES`; the front is at −Z."""
    return pick(random, FAMILIES)
