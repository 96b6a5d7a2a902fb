"""Does an output hold what its manifest says? Every object is looked at again.

Works on: the record, the frozen catalog, the manifest and the meshes of one output. Knows nothing about how they
were made: it trusts nothing but what it reads. Memory does not grow with the output, only a temporary file does.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cluster.errors import RunError
from cluster.store import NotFound, StoreError, Stores, canonical, join
from jobs import manifest, run, scratch, worklist

_READERS = 32  # threads: they wait for the network; SHA-256 lets the others run meanwhile
# What a mesh can be traced by.
_PROVENANCE = ("source_uri", "etag", "weights_digest", "code_version", "resolution", "format", "mesh_sha256")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: what kind, which object, and a sentence."""

    kind: str
    uri: str
    message: str


@dataclass
class Verification:
    """What was looked at and found. `unreferenced` counts meshes that no row names: harmless leftovers of work that
    was done twice or not committed."""

    run_id: str
    shards: int = 0
    images: int = 0
    meshes: int = 0
    bytes_read: int = 0
    unreferenced: int = 0
    findings: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing is missing, damaged or untraceable."""
        return not self.findings


def verify(stores: Stores, output: str, on_finding: Callable[[Finding], None], *, quick: bool = False) -> Verification:
    """Check every shard, row and mesh of `output`; each thing that is wrong goes to `on_finding`.

    With `quick`, meshes are compared by size alone, from a listing, and those that lie elsewhere (carried ones) by
    one request each; without, each is read and its SHA-256 compared.

    Raises RequestError when there is no run; RunError when the store fails.
    """
    try:
        return _verify(stores, output, on_finding, quick)
    except StoreError as error:
        raise RunError(f"{output} could not be verified: {error}; try again.") from error


def _verify(stores: Stores, output: str, on_finding: Callable[[Finding], None], quick: bool) -> Verification:
    record = run.read(stores, output)
    checker = _Checker(stores, canonical(output), record, on_finding)
    with contextlib.closing(checker), ThreadPoolExecutor(_READERS) as readers:
        checker.shards()
        checker.list_meshes()
        for meshes in checker.batches():
            for found, size in readers.map(checker.compare if quick else checker.read, meshes):
                checker.result.bytes_read += size
                if found:
                    checker.say(found)
        checker.totals()
    return checker.result


@dataclass(frozen=True, slots=True)
class _Mesh:
    uri: str
    size: int
    sha256: str
    listed: int | None  # the size in the listing of OUTPUT/meshes; None if it is not there


class _Checker:
    """One verification. Meshes that rows name, and those that lie there, meet in a temporary database."""

    def __init__(
        self, stores: Stores, output: str, record: run.RunRecord, on_finding: Callable[[Finding], None]
    ) -> None:
        self._stores = stores
        self._output = output
        self._record = record
        self._on_finding = on_finding
        self._digests = {bundle.digest for bundle in record.request.weights.values()}
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self.result = Verification(record.run_id)
        self._database = scratch.database(
            "CREATE TABLE meshes (uri TEXT PRIMARY KEY, size INT, sha256 TEXT, listed INT) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._database.close()

    def say(self, finding: Finding) -> None:
        self.result.findings[finding.kind] = self.result.findings.get(finding.kind, 0) + 1
        self._on_finding(finding)

    def shards(self) -> None:
        """Each frozen shard against the part that is its commit."""
        committed = manifest.committed(self._stores, self._output)
        final = False
        for shard in worklist.frozen(self._stores, self._output):
            final = shard.final
            part = manifest.part_uri(self._output, shard.index)
            if shard.index not in committed:
                self.say(Finding("not_committed", part, "The shard has no manifest part: run the same command again."))
                continue
            committed.remove(shard.index)
            try:
                rows = manifest.read_part(self._stores, self._output, shard.index).to_pylist()
            except RunError as error:
                self.say(Finding("damaged_part", part, f"{error}."))
                continue
            self.result.shards += 1
            if [row["item_id"] for row in rows] != [item.item_id for item in shard.items]:
                self.say(Finding("rows_differ", part, "Its rows are not those of the shard's items, one each."))
            for row in rows:
                self._row(row, shard.index, part)
        if not final:
            self.say(Finding("not_planned", self._output, "The catalog is not frozen to its end: run it again."))
        for index in sorted(committed):
            part = manifest.part_uri(self._output, index)
            self.say(Finding("unknown_part", part, "There is no shard of the frozen catalog that it belongs to."))

    def _row(self, row: dict[str, Any], shard: int, part: str) -> None:
        self.result.images += 1
        self._counts[row["status"]] += 1
        if row["shard"] != shard or row["run_id"] != self._record.run_id:
            message = f"The row of {row['item_id']} says shard {row['shard']} of the run {row['run_id']}."
            self.say(Finding("foreign_row", part, message))
        if row["status"] != "ok":
            self._errors[row["error_code"]] += 1
            return
        missing = [name for name in _PROVENANCE if row[name] is None]
        request = self._record.request
        if missing:
            self.say(Finding("untraceable", row["mesh_uri"], f"Its row does not say {', '.join(missing)}."))
        elif (row["weights_digest"], row["resolution"], row["format"]) not in {
            (digest, request.resolution, request.format) for digest in self._digests
        }:
            message = "Its weights, resolution or format are not those that the run was asked for."
            self.say(Finding("foreign_row", row["mesh_uri"], message))
        named = [(row["mesh_uri"], row["mesh_bytes"], row["mesh_sha256"])]
        named += [(level["uri"], level["bytes"], level["sha256"]) for level in row["lods"] or ()]
        for mesh in named:
            insert = "INSERT OR IGNORE INTO meshes VALUES (?, ?, ?, NULL)"
            if not self._database.execute(insert, mesh).rowcount:
                self.say(Finding("named_twice", mesh[0], "Two rows name this mesh."))

    def list_meshes(self) -> None:
        """What lies below OUTPUT/meshes, and how much of it no row names."""
        folder = join(self._output, "meshes")
        for info in self._stores.open(folder).list(folder):
            found = self._database.execute("UPDATE meshes SET listed = ? WHERE uri = ?", (info.size, info.uri))
            self.result.unreferenced += not found.rowcount

    def batches(self) -> Iterator[tuple[_Mesh, ...]]:
        """All meshes that rows name, some at a time: an executor's `map` takes in all that it is given."""
        meshes = self._database.execute("SELECT uri, size, sha256, listed FROM meshes ORDER BY uri")
        while batch := meshes.fetchmany(16 * _READERS):
            self.result.meshes += len(batch)
            yield tuple(_Mesh(*values) for values in batch)

    def compare(self, mesh: _Mesh) -> tuple[Finding | None, int]:
        """By size alone."""
        size = mesh.listed
        if size is None:
            try:
                size = self._stores.open(mesh.uri).head(mesh.uri).size
            except NotFound:
                return Finding("mesh_missing", mesh.uri, "It does not exist."), 0
        if size != mesh.size:
            return Finding("mesh_differs", mesh.uri, f"It has {size} bytes, its row says {mesh.size}."), 0
        return None, 0

    def read(self, mesh: _Mesh) -> tuple[Finding | None, int]:
        """By content."""
        try:
            data = self._stores.open(mesh.uri).get(mesh.uri).data
        except NotFound:
            return Finding("mesh_missing", mesh.uri, "It does not exist."), 0
        digest = hashlib.sha256(data).hexdigest()
        if len(data) != mesh.size or digest != mesh.sha256:
            message = f"It has {len(data)} bytes and SHA-256 {digest}, its row says {mesh.size} and {mesh.sha256}."
            return Finding("mesh_differs", mesh.uri, message), len(data)
        return None, len(data)

    def totals(self) -> None:
        """`_SUCCESS.json`, if the run came so far, against what was counted here."""
        uri = join(self._output, run.SUCCESS)
        try:
            said = json.loads(self._stores.open(uri).get(uri, max_bytes=1 << 20).data)
            said = {name: said[name] for name in ("run_id", "images", "ok", "failed", "errors", "shards")}
        except NotFound:
            return  # it failed its error budget, or is not over: `not_committed` tells these apart
        except (ValueError, KeyError, TypeError) as error:
            self.say(Finding("totals_differ", uri, f"It cannot be read ({type(error).__name__})."))
            return
        counted = {
            "run_id": self._record.run_id,
            "images": self.result.images,
            "ok": self._counts["ok"],
            "failed": self._counts["failed"],
            "errors": dict(self._errors),
            "shards": self.result.shards,
        }
        for name, value in counted.items():
            if said[name] != value:
                self.say(Finding("totals_differ", uri, f"It says {name} {said[name]}, but there are {value}."))
