"""Tables: dining tables, desks, coffee and side tables, consoles, workbenches.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from collections.abc import Callable

from numpy.random import Generator

from jobs.training.procedural import desk, table_legged, table_other
from jobs.training.procedural.parts import pick
from jobs.training.shape import Shape

# How often each occurs, in a hundred.
FAMILIES: dict[Callable[[Generator], Shape], float] = {
    table_legged.legged: 32,
    table_legged.columned: 14,
    table_other.boarded: 8,
    table_legged.trestle: 9,
    table_legged.barred: 9,
    table_other.tiered: 4,
    table_other.chested: 5,
    table_other.slab: 3,
    table_other.sports: 3,
    table_other.gathered: 3,
    desk.cupboard_desk: 7,
    desk.corner_desk: 2,
    desk.workbench: 2,
}


def table(random: Generator) -> Shape:
    """Any table; the front is at −Z."""
    return pick(random, FAMILIES)(random)
