"""The CPU actor: from sparse fields to checked meshes in the store.

Works on: fields that a `Reconstructor` found. Knows nothing about pictures, weights or manifests.
"""

import hashlib
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cluster import memory
from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import CredentialsError, ObjectInfo, StoreError, Stores
from workers.failure import ErrorCode, ItemError
from workers.field import SparseField
from workers.finish import finish
from workers.mesh import Mesh, MeshReport, build, check, export, verify
from workers.messages import Failure, Recipe
from workers.tally import Request, Tally

_UPLOADERS = 4  # uploads that wait for the network while the next mesh is made
_CONTENT_TYPES = {
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "ply": "application/octet-stream",
    "stl": "model/stl",
}


@dataclass(frozen=True, slots=True)
class Order:
    """Mesh the `field`-th field of the call and put it at `mesh_uri`.

    `size_m` is the object's longest side in metres, where it is known; `extras` go into a GLB as they are.
    """

    item_id: str
    mesh_uri: str
    field: int
    size_m: float | None = None
    extras: Mapping[str, str | int | None] | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A level of detail that passed the same checks and lies beside its mesh; the manifest has it as it is here."""

    uri: str
    bytes: int
    sha256: str
    vertices: int
    faces: int
    face_budget: int


@dataclass(frozen=True, slots=True)
class Meshed:
    """A mesh that passed its checks and lies in the store, and its levels of detail.

    `volume_change` is by which share smoothing and simplification changed its volume, None without them.
    """

    item_id: str
    report: MeshReport
    volume_change: float | None
    mesh_bytes: int
    mesh_sha256: str
    levels: tuple[Level, ...]
    mesh_ms: float
    upload_ms: float


@dataclass(frozen=True, slots=True)
class Shipment:
    """A call's answer: one result for each order, in order, and the store requests that it made."""

    results: tuple[Meshed | Failure, ...]
    requests: tuple[Request, ...]


class Mesher:
    """Marching cubes, checks, export and upload."""

    def __init__(self, stores: StoreSettings, recipe: Recipe) -> None:
        self._tally = Tally()
        self._stores = Stores(stores, self._tally)
        self._recipe = recipe
        self._uploaders = ThreadPoolExecutor(_UPLOADERS, "upload")

    def mesh(self, orders: tuple[Order, ...], fields: list[SparseField]) -> Shipment:
        """Results for `orders`; whatever is wrong with one mesh is its own `Failure`.

        Raises RequestError for what is wrong with all of them: a store that nobody is signed in to. Raises
        what `memory.exhausted` knows when memory runs out.
        """
        pending = [self._start(order, fields[order.field]) for order in orders]
        results = tuple(part.result() if isinstance(part, Future) else part for part in pending)
        return Shipment(results, self._tally.take())

    def _start(self, order: Order, field: SparseField) -> "Future[Meshed | Failure] | Failure":
        try:
            started = time.perf_counter()
            finished = finish(build(field), self._recipe.mesh, order.size_m)
            files = [self._file(made, order) for made in finished.meshes]
            mesh_ms = (time.perf_counter() - started) * 1000
        except ItemError as error:
            return Failure(order.item_id, error.code, error.message)
        except Exception as error:
            if memory.exhausted(error):
                raise  # whose fault it is, the pool finds out
            return Failure(order.item_id, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        return self._uploaders.submit(self._upload, order, finished.volume_change, files, mesh_ms)

    def _file(self, made: Mesh, order: Order) -> tuple[MeshReport, bytes]:
        report = check(made)
        verify(report)
        return report, export(made, self._recipe.format, normals=self._recipe.mesh.normals, extras=order.extras)

    def _upload(
        self, order: Order, volume_change: float | None, files: list[tuple[MeshReport, bytes]], mesh_ms: float
    ) -> Meshed | Failure:
        """Write the mesh, after its levels: whoever sees it finds them there."""
        started = time.perf_counter()
        format, store = self._recipe.format, self._stores.open(order.mesh_uri)
        (report, data), *coarser = files
        levels = []
        try:
            for number, (budget, (level, content)) in enumerate(zip(self._recipe.mesh.lod, coarser, strict=True), 1):
                uri = f"{order.mesh_uri.removesuffix(format)}lod{number}.{format}"
                store.put(uri, content, content_type=_CONTENT_TYPES[format])
                digest = hashlib.sha256(content).hexdigest()
                levels.append(Level(uri, len(content), digest, level.vertices, level.faces, budget))
            put: ObjectInfo = store.put(order.mesh_uri, data, content_type=_CONTENT_TYPES[format])
        except CredentialsError as error:
            raise RequestError(str(error)) from error
        except StoreError as error:
            return Failure(order.item_id, ErrorCode.UPLOAD_FAILED, f"The mesh could not be written: {error}.")
        upload_ms = (time.perf_counter() - started) * 1000
        digest = hashlib.sha256(data).hexdigest()
        return Meshed(order.item_id, report, volume_change, put.size, digest, tuple(levels), mesh_ms, upload_ms)
