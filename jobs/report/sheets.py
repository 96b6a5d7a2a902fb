"""A sheet: some rows, their pictures, views of their meshes, and all that the page needs to show them.

Works on: rows of a manifest, and what they name in the store. Knows nothing about the page but the form of its data
files. A sheet is made in a process of its own (`make`), which decodes files of strangers and may take long.
"""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cluster.store import AccessDenied, NotFound, Object, StoreError, Stores, canonical, join
from jobs.report import compact
from workers.failure import ItemError
from workers.finish import turned
from workers.images import decode
from workers.messages import UpAxis
from workers.render import Camera, render, vertex_normals

ROWS = 24  # of a sheet: its picture stays below 5,000 pixels high, which every browser decodes
TILE = 176  # pixels: half as much again as the page shows, for fine displays
AZIMUTHS = (35.0, 215.0)  # the front from its right, and the back
# In these a ball of radius ½, which every mesh is scaled to fit, fills 97 % of the tile.
_CAMERAS = [Camera(azimuth, elevation=20.0, distance=2.38) for azimuth in AZIMUTHS]
_VERSION = 1  # of what a sheet looks like: a sheet of another is made again
_READERS = 4  # a process: each may hold a picture as large as images.max_bytes
_QUALITY = 82  # of WebP: no difference to lossless is seen at this size, and a ninth of its bytes

_SHOWN = (
    "item_id", "category", "status", "error_code", "error_message", "source_uri", "source_bytes", "width", "height",
    "attempts", "carried_from", "mesh_uri", "mesh_bytes", "mesh_sha256", "format", "vertices", "faces", "watertight",
    "volume", "euler_number", "resolution", "points_evaluated",
    "fetch_ms", "encode_ms", "decode_ms", "mesh_ms", "upload_ms",
)  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """A piece of work: rows that are shown together, at most `ROWS`."""

    index: int
    rows: Sequence[dict[str, Any]]
    output: str
    folder: str  # of the report
    max_bytes: int
    max_pixels: int

    @property
    def uri(self) -> str:
        """Where its data lies. It is written last: what it names is there."""
        return join(self.folder, "data", f"{self.index:05d}.js")

    @property
    def key(self) -> str:
        """What its content is a function of, but for what became of the pictures since."""
        facts = json.dumps([_VERSION, TILE, AZIMUTHS, self.output, self.rows], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """What a sheet came to: items, and how many of them have no picture or no view of their mesh, by reason."""

    index: int
    items: int
    again: bool  # it lay there already
    missing: dict[str, int]


def make(sheet: Sheet, stores: Stores) -> Made:
    """Write a sheet, unless the same lies there whole. Raises StoreError where the report cannot be written."""
    found = _standing(sheet, stores)
    if found is not None:
        return found
    pictures, columns, missing, passing = [], [], Counter[str](), False
    for place, (row, picture, mesh) in enumerate(fetched(sheet, stores)):
        tile, why = picture_of(picture, row, sheet.max_pixels)
        drawn = views_of(mesh, row)
        if drawn.compact is not None:
            uri = join(sheet.folder, "meshes", f"{sheet.index:05d}-{place:02d}.js")
            write_script(stores, uri, "mesh", base64.b64encode(drawn.compact).decode())
        passing |= any(isinstance(got, StoreError) and _may_pass(got) for got in (picture, mesh))
        missing.update(reason for reason in (why, drawn.why) if reason)
        pictures.append(np.concatenate([tile, *drawn.tiles], axis=1))
        facts = {"views": drawn.why, "components": drawn.components, "shown_faces": drawn.shown_faces}
        shown = {name: _short(row[name]) for name in _SHOWN}
        columns.append(shown | facts | {"picture": why, "link": _link(row, sheet.output)})
    image = io.BytesIO()
    Image.fromarray(np.concatenate(pictures)).save(image, "WEBP", quality=_QUALITY, method=4)
    uri = join(sheet.folder, "sheets", f"{sheet.index:05d}.webp")
    stores.open(uri).put(uri, image.getvalue(), content_type="image/webp")
    # What may be there next time is asked for again.
    content = {"key": "" if passing else sheet.key, "missing": missing, "items": _columns(columns)}
    write_script(stores, sheet.uri, "sheet", sheet.index, content)
    return Made(sheet.index, len(columns), False, dict(missing))


def write_script(stores: Stores, uri: str, function: str, *arguments: Any) -> None:
    """A script that calls `isofleet.function` with the arguments. From file:// a page may read nothing else."""
    # ASCII, and no `<`: whatever a stranger's text is, it ends neither the string nor a script element.
    written = ",".join(json.dumps(argument, separators=(",", ":")) for argument in arguments).replace("<", "\\u003c")
    data = f"isofleet.{function}({written});\n".encode()
    stores.open(uri).put(uri, data, content_type="text/javascript")


def _standing(sheet: Sheet, stores: Stores) -> Made | None:
    try:
        text = stores.open(sheet.uri).get(sheet.uri).data.decode()
        _, facts = json.loads(f"[{text.partition('(')[2].rpartition(')')[0]}]")
        if facts["key"] == sheet.key:
            return Made(sheet.index, len(sheet.rows), True, facts["missing"])
    except (NotFound, ValueError, KeyError, TypeError):  # none, or none of ours
        pass
    return None


def _short(value: Any) -> Any:
    """Numbers to four digits: nobody sees more of them."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _columns(items: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [item[name] for item in items] for name in items[0]}


_Got = Object | StoreError | None


def fetched(sheet: Sheet, stores: Stores) -> Iterator[tuple[dict[str, Any], _Got, _Got]]:
    """Each row with its picture and its mesh, read a few rows ahead."""

    def read(uri: str | None, most: int) -> _Got:
        try:
            return stores.open(uri).get(uri, max_bytes=most) if uri else None
        except StoreError as error:
            return error

    def both(row: dict[str, Any]) -> tuple[dict[str, Any], _Got, _Got]:
        return row, read(row["source_uri"], sheet.max_bytes), read(row["mesh_uri"], row["mesh_bytes"] or 0)

    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(sheet.rows), _READERS):
            yield from readers.map(both, sheet.rows[start : start + _READERS])


def _may_pass(error: StoreError) -> bool:
    return not isinstance(error, NotFound | AccessDenied)


def picture_of(got: _Got, row: dict[str, Any], max_pixels: int) -> tuple[NDArray[np.uint8], str | None]:
    """The picture as a tile uint8[TILE, TILE, 4], or an empty one and why."""
    empty = np.zeros((TILE, TILE, 4), np.uint8)
    if not isinstance(got, Object):
        return empty, _reason(got)
    if row["etag"] is not None and got.info.etag != row["etag"]:
        return empty, "changed since"
    try:
        rgba = decode(got.data, max_pixels=max_pixels).rgba
    except (ItemError, MemoryError):
        return empty, "not readable"
    height, width = rgba.shape[:2]
    scale = TILE / max(height, width)
    # Premultiplied, so that the colours of transparent pixels do not bleed into the others.
    small = (
        Image.fromarray(rgba)
        .convert("RGBa")
        .resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS, reducing_gap=2.0
        )
    )
    tile = Image.new("RGBa", (TILE, TILE))
    tile.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
    return np.asarray(tile.convert("RGBA")), None


def _reason(got: _Got) -> str:
    match got:
        case NotFound() | None:
            return "no longer there"
        case AccessDenied():
            return "may not be read"
        case _:
            return "not readable"


@dataclass(frozen=True)
class Views:
    """Tiles uint8[TILE, TILE, 4] of a mesh, empty ones where there is no mesh, or none that can be shown, and `why`;
    pieces that do not hang together; `compact.encode` of at most `shown_faces`."""

    tiles: list[NDArray[np.uint8]]
    why: str | None = None
    components: int | None = None
    shown_faces: int | None = None
    compact: bytes | None = None


def views_of(got: _Got, row: dict[str, Any]) -> Views:
    """A row's mesh from the front and from behind."""
    empty = [np.zeros((TILE, TILE, 4), np.uint8)] * len(AZIMUTHS)
    if row["mesh_uri"] is None:
        return Views(empty)
    if not isinstance(got, Object):
        return Views(empty, _reason(got))
    if hashlib.sha256(got.data).hexdigest() != row["mesh_sha256"]:
        return Views(empty, "changed since")  # and so perhaps a stranger's: it is not parsed
    vertices, faces = _read_mesh(got.data, row["format"], row["up_axis"] or "y")
    normals, fitted = vertex_normals(vertices, faces), _fitted(vertices)
    tiles = [render(fitted, faces, camera, TILE, normals=normals) for camera in _CAMERAS]
    small = compact.simplify(vertices, faces)
    return Views(tiles, None, _components(faces, len(vertices)), len(small[1]), compact.encode(*small))


def _read_mesh(data: bytes, format: str, up_axis: UpAxis) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices float64[V, 3], turned into the frame, and faces int64[F, 3] of a mesh file that this project wrote;
    STL's corners are joined."""
    mesh = trimesh.load_mesh(io.BytesIO(data), file_type=format, process=format == "stl")
    return turned(np.asarray(mesh.vertices, np.float64), up_axis), np.asarray(mesh.faces, np.int64)


def _fitted(vertices: NDArray) -> NDArray:
    """Vertices around the origin, the farthest ½ away: a mesh may have any scale."""
    around = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    return around / (2 * np.linalg.norm(around, axis=1).max())


def _components(faces: NDArray, vertices: int) -> int:
    """Pieces that do not hang together."""
    ends = faces[:, :2].ravel(), faces[:, 1:].ravel()
    joined = coo_array((np.ones(len(ends[0]), bool), ends), (vertices, vertices))
    _, piece = connected_components(joined, directed=False)
    return len(np.unique(piece[faces[:, 0]]))


def _link(row: dict[str, Any], output: str) -> str | None:
    """The mesh's address relative to the output, None where it lies elsewhere."""
    root = canonical(output).rstrip("/") + "/"
    uri = row["mesh_uri"]
    return uri.removeprefix(root) if uri and uri.startswith(root) else None
