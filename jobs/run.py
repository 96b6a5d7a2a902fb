"""The record of a run: what was asked of an output, written once, so that resuming asks the same.

Works on: `OUTPUT/_run.json` and `OUTPUT/_SUCCESS.json`. Knows nothing about how the request is carried out.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import AlreadyExists, Stores, canonical, join
from jobs import manifest
from jobs.record import Records
from workers.messages import MeshOptions, Recipe

SUCCESS = "_SUCCESS.json"
ANY_CATEGORY = "*"  # the key of weights that serve every category


class WeightsUsed(BaseModel):
    """A bundle: where it was, and the SHA-256 that says what it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    digest: str


class PreviousUsed(BaseModel):
    """An earlier output, and what its manifest held when the run began: a run that goes on adds to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    run_id: str
    exact: bool
    refine: int
    mesh: MeshOptions
    shards: str  # the committed ones: `0-11,13`

    def indices(self) -> Iterator[int]:
        """The shards, one by one."""
        for span in filter(None, self.shards.split(",")):
            first, _, last = span.partition("-")
            yield from range(int(first), int(last or first) + 1)


class Again(BaseModel):
    """The generation whose failed images are tried again, and the error codes of those that are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    run_id: str
    codes: tuple[str, ...]


class Origin(BaseModel):
    """The output whose latents are meshed again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    run_id: str


class Request(BaseModel):
    """All that the meshes of an output are a function of, beside the pictures, and where they may lie already."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: str
    category: str | None
    limit: int | None
    shard_size: int
    resolution: int
    exact: bool
    format: str
    batch_size: int
    chunk_points: int | None
    mesh: MeshOptions
    precision: Literal["auto", "float32", "bfloat16"]
    refine: int
    weights: dict[str, WeightsUsed]
    previous: tuple[PreviousUsed, ...] = ()
    again: Again | None = None
    remesh: Origin | None = None

    def digest_for(self, category: str) -> str | None:
        """The digest of the bundle that serves `category`, None where none does."""
        used = self.weights.get(category) or self.weights.get(ANY_CATEGORY)
        return used.digest if used else None

    def recipe(self) -> Recipe:
        """What every actor needs to know of it."""
        return Recipe(
            self.resolution,
            self.exact,
            self.format,  # type: ignore[arg-type]
            self.batch_size,
            self.chunk_points,
            self.mesh,
            self.precision,
            self.refine,
        )


class RunRecord(BaseModel):
    """`_run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    created_at: str
    code_version: str
    request: Request


RECORDS = Records(RunRecord, "_run.json", "run", "OUTPUT")
exists, read = RECORDS.exists, RECORDS.read


def request_for(catalog: str, output: str, config: Config, stores: Stores) -> Request:
    """What `config` asks of the images in `catalog`; every bundle is read once for its digest.

    Raises RequestError for weights, previous outputs or mesh options that cannot be used, StoreError for the second.
    """
    settings, mesh = config.reconstruct, _mesh_options(config)
    if settings.previous and settings.limit is not None:
        raise RequestError(
            "reconstruct.limit and reconstruct.previous exclude each other: images beyond the limit would count as "
            "vanished; give one of them."
        )
    from workers import weights  # and with it PyTorch, which readers of a record can do without

    by_category = {ANY_CATEGORY: settings.weights} if isinstance(settings.weights, str) else dict(settings.weights)
    if not by_category:
        raise RequestError("reconstruct.weights names no weights; give a bundle, or one for each category.")
    used = {}
    for category, uri in by_category.items():
        where = uri if uri == weights.EMBEDDED else canonical(uri)
        used[category] = WeightsUsed(uri=where, digest=weights.load(where, stores).digest)
    return Request(
        catalog=canonical(catalog),
        mesh=mesh,
        weights=used,
        previous=tuple(_previous(uri, output, stores) for uri in settings.previous),
        **{
            name: getattr(settings, name)
            for name in Request.model_fields
            if name not in ("catalog", "mesh", "weights", "previous", "again", "remesh")
        },
    )


def _mesh_options(config: Config) -> MeshOptions:
    """Raises RequestError for what the files' format cannot hold."""
    mesh, format = config.mesh, config.reconstruct.format
    if mesh.up_axis == "z" and format == "glb":
        raise RequestError(
            "mesh.up_axis is z, but glTF is +Y up by its specification, and whoever opens a GLB turns it upright; "
            "choose y, or obj, ply or stl as reconstruct.format."
        )
    if mesh.normals and format == "stl":
        raise RequestError("mesh.normals: an STL has normals of faces alone; choose glb, obj or ply, or leave it out.")
    if mesh.metadata and format != "glb":
        raise RequestError(f"mesh.metadata: only a GLB can hold it, not {format}; choose glb, or leave it out.")
    return MeshOptions(**mesh.model_dump() | {"lod": tuple(mesh.lod)})


def _previous(uri: str, output: str, stores: Stores) -> PreviousUsed:
    where = canonical(uri).rstrip("/")
    if where == canonical(output).rstrip("/"):
        raise RequestError(f"--previous {uri} is OUTPUT itself; name an earlier output, or resume without it.")
    try:
        record = read(stores, where)
    except RequestError as error:
        raise RequestError(f"--previous {uri} cannot be used: {error}") from error
    shards = _spans(sorted(manifest.committed(stores, where)))
    asked = record.request
    return PreviousUsed(
        uri=where, run_id=record.run_id, exact=asked.exact, refine=asked.refine, mesh=asked.mesh, shards=shards
    )


def _spans(numbers: Sequence[int]) -> str:
    """`0-11,13` for the numbers 0 to 11 and 13."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def begin(stores: Stores, output: str, request: Request) -> RunRecord:
    """The record of `output`: written now, or the one that stands there, which must ask the same.

    Raises RequestError, naming what differs, where an earlier run of this output was asked something else.
    """
    now = datetime.now(UTC)
    record = RunRecord(
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        created_at=now.isoformat(timespec="seconds"),
        code_version=code_version(),
        request=request,
    )
    return record if RECORDS.add(stores, output, record) else resumed(stores, output, request)


def resumed(stores: Stores, output: str, request: Request) -> RunRecord:
    """The record that stands in `output`. Raises RequestError, naming what differs, unless it was asked the same."""
    record = read(stores, output)
    for name in Request.model_fields:
        stood, asked = getattr(record.request, name), getattr(request, name)
        if name == "weights":
            stood, asked = _digests(stood), _digests(asked)
        if name == "previous":
            stood, asked = _runs(stood), _runs(asked)
        if name == "again":
            stood, asked = _codes(stood), _codes(asked)
        if name == "remesh":
            stood, asked = _origin(stood), _origin(asked)
        if stood != asked:
            label = {"again": "codes to try again:", "remesh": "latents of"}.get(name, name)
            raise RequestError(
                f"{output} holds a run with {label} {_short(stood)}, and this one asks for {_short(asked)}; "
                "ask the same to resume it, or choose another OUTPUT."
            )
    return record


def finish(stores: Stores, output: str, totals: dict[str, Any]) -> None:
    """Write `_SUCCESS.json`, the last object of a run. The first driver to finish writes it; others leave it."""
    uri = join(canonical(output), SUCCESS)
    content = (json.dumps(totals, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        stores.open(uri).put(uri, content, if_absent=True, content_type="application/json")
    except AlreadyExists:
        return


@cache
def code_version() -> str:
    """The package's version and a digest of its source, so that two checkouts of one version differ."""
    root = Path(__file__).parent.parent
    total = hashlib.sha256()
    for folder in ("cluster", "workers", "jobs"):
        for path in sorted((root / folder).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        number = version("isofleet")
    except PackageNotFoundError:  # a submitted job brings the code to a cluster that has only the libraries
        number = "0"
    return f"{number}+{total.hexdigest()[:12]}"


def _digests(used: dict[str, WeightsUsed]) -> dict[str, str]:
    return {category: bundle.digest for category, bundle in sorted(used.items())}


def _codes(again: Again | None) -> str:
    return ", ".join(again.codes) if again else "nothing"


def _origin(remesh: Origin | None) -> str:
    return f"{remesh.uri} ({remesh.run_id})" if remesh else "no other output"


def _runs(used: tuple[PreviousUsed, ...]) -> tuple[str, ...]:
    return tuple(f"{one.uri} ({one.run_id})" for one in used)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if isinstance(value, MeshOptions):
        asked = {key: setting for key, setting in asdict(value).items() if setting != getattr(MeshOptions(), key)}
        return ", ".join(f"{key}={setting}" for key, setting in asked.items()) or "no options"
    if isinstance(value, dict):
        return ", ".join(
            digest[:12] if key == ANY_CATEGORY else f"{key}={digest[:12]}" for key, digest in value.items()
        )
    return str(value)
