"""What every source of shapes offers.

Works on: entries, and what one entry's files say of its shape. Knows nothing about any format.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cluster.store import Stores

Split = Literal["train", "validation", "test"]
AXES = {f"{sign}{axis}": number for number, axis in enumerate("xyz") for sign in "+-"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may say of a source: which axes point up and to the front of its shapes, where pictures of them
    lie, and how much of a file or mesh is too much. Axes are those of the source's own frame, unless it has one."""

    up: str = "+y"
    front: str = "-z"
    renderings: str | None = None
    max_bytes: int = 512 << 20
    max_faces: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One shape. `id` is unique in its source and safe as a path, `category` too; `address` is for `Source.load`."""

    id: str
    category: str
    address: str
    size: int | None = None
    etag: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Geometry:
    """A triangle soup: vertices float64[V, 3], faces int64[F, 3], and colours float64[F, 3] in [0, 1] if it has any.

    Axes are the project's (+Y up, front −Z); place and size are the file's. `views` are PNG files, if there are some.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    colors: NDArray[np.float64] | None = None
    views: tuple[bytes, ...] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """A shape that somebody has prepared: views as PNG files, occupancy bool[64, 64, 64] at the samples of the 64³
    lattice, and labelled points, each float32[N, 3] and bool[N]: anywhere in the cube, and near the surface."""

    views: tuple[bytes, ...]
    voxels: NDArray[np.bool_]
    anywhere: NDArray[np.float32]
    anywhere_inside: NDArray[np.bool_]
    near: NDArray[np.float32]
    near_inside: NDArray[np.bool_]


class Source(ABC):
    """A collection of shapes: a stream of entries, and each entry's shape."""

    kind: ClassVar[str]

    def __init__(self, uri: str, stores: Stores, options: Options) -> None:
        self.uri = uri
        self.stores = stores
        self.options = options

    @staticmethod
    @abstractmethod
    def recognises(key: str) -> bool:
        """Whether a file of this name says that the collection is of this kind."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """All shapes, in the same order as long as the collection stays as it is. Raises RequestError, StoreError."""

    @abstractmethod
    def load(self, entry_id: str, address: str) -> Geometry | Examples:
        """An entry's shape. Raises ShapeError."""

    def split(self, address: str) -> Split | None:
        """Where the source itself puts the entry, if it says so."""
        return None


def rotation(up: str, front: str) -> NDArray[np.float64]:
    """float64[3, 3]: from a right-handed frame with these axes to the project's, +Y up and −Z in front.

    Raises ValueError where the two lie along one line.
    """
    upward, forward = (_direction(name) for name in (up, front))
    side = np.cross(forward, upward)
    if not side.any():
        raise ValueError(f"up {up} and front {front} lie along one line")
    return np.stack([side, upward, -forward])


def _direction(name: str) -> NDArray[np.float64]:
    direction = np.zeros(3)
    direction[AXES[name]] = -1.0 if name.startswith("-") else 1.0
    return direction
