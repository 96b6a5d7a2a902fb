"""What the driver and the actors say to each other.

Works on: nothing; these are values that travel between processes. Knows nothing about who computes what: it imports
no PyTorch, so that whoever only reads an answer need not either.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workers.failure import ErrorCode
from workers.tally import Request
from workers.views import ViewFailure

CALLS_AT_ONCE = 2  # of a reconstructor: one on the device, one fetching; more would only hold decoded pictures


UpAxis = Literal["y", "z"]


@dataclass(frozen=True)
class MeshOptions:
    """What happens to a mesh between marching cubes and its file: config section `mesh`, which describes each."""

    faces: int | None = None
    lod: tuple[int, ...] = ()
    smooth: int = 0
    symmetry: bool = False
    up_axis: UpAxis = "y"
    normals: bool | None = None
    metadata: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a mesh is a function of, beside its picture and weights: the same for every actor of a run."""

    resolution: int
    exact: bool
    format: Literal["glb", "obj", "ply", "stl"]
    batch_size: int
    chunk_points: int | None
    mesh: MeshOptions = MeshOptions()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    refine: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading the picture told; for a failure, as far as it got.

    Of an object, the ETag is the `fingerprint` of its views, bytes and milliseconds are their sums, width and height
    are the first one's, and `views_used` are those that were fused; None for a picture by itself.
    """

    etag: str | None = None
    source_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    fetch_ms: float | None = None
    views_used: int | None = None
    views_failed: tuple[ViewFailure, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What an earlier run made of a picture, which need not be read again: `latent` float32[latent_size]."""

    reading: Reading
    latent: np.ndarray


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to reconstruct, or several `views` of one object, sorted, of which `uri` is the first. `etag` is the
    one that was frozen with the catalog, None where it is not known, as that of an object never is.

    With `encoded` there is nothing to read: the surface is that of the latent, which the same weights gave.
    """

    item_id: str
    uri: str
    etag: str | None
    weights_digest: str
    mesh_uri: str
    encoded: Encoded | None = None
    views: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[str, ...]:
        """The addresses to read."""
        return () if self.encoded else self.views or (self.uri,)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A surface was found: `field` is its index among the fields that the call returned. `encode_ms` is None where
    the latent was given."""

    item_id: str
    reading: Reading
    latent: tuple[float, ...]
    points_evaluated: int
    encode_ms: float | None
    decode_ms: float
    precision: Literal["float32", "bfloat16"]
    field: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The picture, or its mesh, failed."""

    item_id: str
    code: ErrorCode
    message: str
    reading: Reading = Reading()


@dataclass(frozen=True, slots=True)
class Batch:
    """A call's answer: one result for each source, in order, the store requests that it made, on which kind of device
    it ran (the GPU's name, or "CPU"), and how many of its points other actors evaluated."""

    results: tuple[Reconstruction | Failure, ...]
    requests: tuple[Request, ...]
    device: str
    points_shared: int
