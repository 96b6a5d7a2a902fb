"""One picture at a time, without a cluster: what a notebook works with.

Works on: bundles, pictures as files, bytes or Pillow images, and latents. Knows nothing about Ray, catalogs or runs.
A mesh has the bytes that a run gives it for the same picture, weights and options on the same kind of device.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pydantic import ValidationError

from cluster.config import ImageSettings, MeshSettings, ReconstructSettings, StoreSettings
from cluster.errors import RequestError
from cluster.store import StoreError, Stores
from workers import weights
from workers.decoder import CHUNK_POINTS, LatticeField
from workers.encoder import IMAGE_SIZE, encode
from workers.failure import ErrorCode, ItemError
from workers.field import SparseField
from workers.finish import finish
from workers.grid import Lattice
from workers.images import decode, key_out, prepare
from workers.isosurface import MAX_REFINE, extract
from workers.mesh import Format, Mesh, MeshReport, build, check, export, verify
from workers.messages import MeshOptions, UpAxis
from workers.precision import choose
from workers.regions import Prepared
from workers.render import Camera, render, vertex_normals
from workers.symmetry import Mirrored

_PICTURE = 320  # pixels of a picture in a notebook


def load_model(
    bundle: str | Path = weights.EMBEDDED,
    *,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    store: StoreSettings | None = None,
) -> "Model":
    """Load weights: `"embedded"`, or the folder or s3:// prefix of a bundle.

    `device` is `"cpu"` or `"cuda"`; None takes the GPU where there is one. `precision` is a run's
    `reconstruct.precision`. `store` says how to reach S3, where boto3's own settings do not. Raises RequestError, one
    sentence that names the bundle or the argument.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen not in CHUNK_POINTS:
        raise RequestError(f"device is {device!r}; choose one of {', '.join(CHUNK_POINTS)}")
    if chosen == "cuda" and not torch.cuda.is_available():
        raise RequestError("device is 'cuda', and PyTorch finds no GPU here; leave it out, or choose cpu")
    stores = Stores(store or StoreSettings())
    loaded = weights.load(str(bundle), stores, device=chosen)
    prepared = Prepared(loaded.decoder, choose(precision, chosen, loaded.config.decoder_width))
    return Model(loaded, chosen, prepared, stores)


@dataclass(frozen=True, eq=False)
class Model:
    """Weights that are ready for use; `bundle` says which they are, and what they were trained on."""

    bundle: weights.Bundle
    device: str
    _prepared: Prepared = field(repr=False)
    _stores: Stores = field(repr=False)

    def __repr__(self) -> str:
        config, known = self.bundle.config, ", ".join(self.bundle.config.categories) or "unknown categories"
        where = f"{self._prepared.precision} on {self.device}"
        return f"Model({config.name}: {known}; {config.family}, latents of {config.latent_size}; {where})"

    def reconstruct(
        self,
        picture: str | Path | bytes | Image.Image,
        *,
        resolution: int = 64,
        exact: bool = False,
        refine: int = 0,
        symmetry: bool = False,
        chunk_points: int | None = None,
    ) -> "Solid":
        """The object in a picture: `mesh(encode(picture))`. Raises what these do."""
        latent = self.encode(picture)
        return self.mesh(
            latent, resolution=resolution, exact=exact, refine=refine, symmetry=symmetry, chunk_points=chunk_points
        )

    def encode(self, picture: str | Path | bytes | Image.Image) -> NDArray[np.float32]:
        """The latent float32[latent_size] of the object in a picture.

        `picture` is the path or s3:// address of an image file, its bytes, or a Pillow image; its background is
        transparent or plain. Raises RequestError for a file that cannot be read, ItemError for one that is no image or
        shows no object, each as one sentence.
        """
        pixels = decode(self._bytes_of(picture), max_pixels=ImageSettings().max_pixels)
        prepared = prepare(key_out(pixels), self.bundle.config.framing, IMAGE_SIZE)
        return self.encode_prepared(prepared[None])[0]

    def encode_prepared(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents float32[B, latent_size] of network inputs float32[B, 128, 128], as `images.prepare` makes them."""
        # As a run does it: on a GPU an image is encoded in a batch of a fixed size, whoever else is in it.
        batch = ReconstructSettings().batch_size if self.device == "cuda" else 1
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            latents = encode(self.bundle.encoder, torch.from_numpy(images).to(self.device), batch)
        return latents.cpu().numpy()

    def mesh(
        self,
        latent: ArrayLike,
        *,
        resolution: int = 64,
        exact: bool = False,
        refine: int = 0,
        symmetry: bool = False,
        chunk_points: int | None = None,
    ) -> "Solid":
        """The surface of a latent float[latent_size]: one of `encode`, of a manifest's column, or between such.

        `resolution` is the samples along each axis, 8 to 1024; `exact` evaluates every one of them, so that no thin
        isolated part is missed; `refine` steps, 0 to 8, bring each vertex closer to the surface; `symmetry` makes left
        and right alike; `chunk_points` are given to the decoder at a time, and None suits the device: another number
        may round otherwise. Raises RequestError for an argument of another shape or size, ItemError where there is no
        surface.
        """
        found = self.surface(
            latent, resolution=resolution, exact=exact, refine=refine, symmetry=symmetry, chunk_points=chunk_points
        )
        made = build(found)
        report = check(made)
        verify(report)
        return Solid(made, report, np.asarray(latent, np.float32), resolution, found.points_evaluated)

    def surface(
        self,
        latent: ArrayLike,
        *,
        resolution: int = 64,
        exact: bool = False,
        refine: int = 0,
        symmetry: bool = False,
        chunk_points: int | None = None,
    ) -> SparseField:
        """What `mesh` makes its mesh of: the field of a latent where the surface is. Takes what that takes, and raises
        RequestError as that does."""
        vector = np.asarray(latent, np.float32)
        size = self.bundle.config.latent_size
        if vector.shape != (size,):
            raise RequestError(f"the latent has the shape {vector.shape}; these weights' latents have ({size},)")
        try:
            lattice = Lattice(resolution)
        except ValueError as error:
            raise RequestError(str(error)) from error
        if not 0 <= refine <= MAX_REFINE:
            raise RequestError(f"refine is {refine}; choose 0 to {MAX_REFINE} steps")
        values = LatticeField(
            self.bundle.decoder,
            torch.from_numpy(vector.copy())[None].to(self.device),
            lattice,
            self.bundle.config.threshold,
            chunk_points or CHUNK_POINTS[self.device],
            self._prepared,
        )
        field = Mirrored(values, lattice, self.device) if symmetry else values
        [found] = extract(field, lattice, 1, exact=exact, refine=refine, device=self.device)
        return found

    def _bytes_of(self, picture: str | Path | bytes | Image.Image) -> bytes:
        if isinstance(picture, bytes):
            return picture
        if isinstance(picture, Image.Image):
            file = io.BytesIO()
            try:
                picture.save(file, "PNG")
            except OSError as error:  # a mode that PNG does not have
                message = f"A Pillow image of mode {picture.mode} is not read here: convert it to RGBA."
                raise ItemError(ErrorCode.NOT_AN_IMAGE, message) from error
            return file.getvalue()
        uri = str(picture)
        try:
            return self._stores.open(uri).get(uri, max_bytes=ImageSettings().max_bytes).data
        except StoreError as error:
            raise RequestError(f"the picture cannot be read: {error}") from error


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed mesh that has passed its checks, and what it was made from. A notebook shows it as a picture.

    `latent` float32[latent_size]; `points_evaluated` is at how many points the decoder was asked.
    """

    mesh: Mesh
    report: MeshReport
    latent: NDArray[np.float32]
    resolution: int
    points_evaluated: int

    @property
    def vertices(self) -> NDArray[np.float32]:
        """float32[V, 3]: right-handed, +Y up, front −Z; a training shape's bounding box has diagonal 1."""
        return self.mesh.vertices

    @property
    def faces(self) -> NDArray[np.int32]:
        """int32[F, 3], counter-clockwise seen from outside."""
        return self.mesh.faces

    def to_bytes(
        self,
        format: Format = "glb",
        *,
        faces: int | None = None,
        smooth: int = 0,
        up_axis: UpAxis = "y",
        normals: bool | None = None,
        size_m: float | None = None,
    ) -> bytes:
        """The mesh as a file's bytes: `glb`, `obj`, `ply` or `stl`.

        The file's axes are right-handed: +Y up with the front to +Z, or with `up_axis` z, which GLB has not, +Z up with
        the front to −Y. With `size_m` the longest side of the bounding box is so many metres. `faces` at most, `smooth`
        steps of a filter, and `normals` are a run's `mesh.faces`, `mesh.smooth` and `mesh.normals`. What comes out is
        checked again. Raises RequestError.
        """
        if format not in get_args(Format):
            raise RequestError(f"the format is {format!r}; choose one of {', '.join(get_args(Format))}")
        if up_axis not in get_args(UpAxis) or (format == "glb" and up_axis != "y"):
            raise RequestError(f"up_axis is {up_axis!r}; a {format} file has {'y' if format == 'glb' else 'y or z'}")
        if size_m is not None and not (np.isfinite(size_m) and size_m > 0):
            raise RequestError(f"size_m is {size_m}; it must be a number of metres above 0")
        try:
            chosen = MeshSettings(faces=faces, smooth=smooth, up_axis=up_axis, normals=normals)
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}") from error
        options = MeshOptions(faces=chosen.faces, smooth=chosen.smooth, up_axis=up_axis, normals=normals)
        [made] = finish(self.mesh, options, size_m).meshes
        verify(check(made))
        return export(made, format, normals=normals)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the mesh to a file, whose name says the format: `chair.glb`. Takes the options of `to_bytes`, and
        raises what that does."""
        target = Path(path)
        format = target.suffix.lower().removeprefix(".")
        if format not in get_args(Format):
            endings = ", ".join(f".{known}" for known in get_args(Format))
            raise RequestError(f"{target}: the name says no format; let it end in one of {endings}")
        data = self.to_bytes(format, **options)  # type: ignore[arg-type]
        try:
            target.write_bytes(data)
        except OSError as error:
            raise RequestError(f"{target}: cannot be written ({error.strerror})") from error
        return target

    def view(self, size: int = _PICTURE, *, azimuth: float = 35.0, elevation: float = 25.0) -> Image.Image:
        """A rendered view, RGBA on a transparent background, `size` pixels a side; the angles are `render.Camera`'s."""
        camera, normals = Camera(azimuth, elevation), vertex_normals(self.vertices, self.faces)
        return Image.fromarray(render(self.vertices, self.faces, camera, size, normals=normals))

    def __repr__(self) -> str:
        return (
            f"Solid({self.report.vertices} vertices, {self.report.faces} faces, volume {self.report.volume:.3g}, "
            f"watertight, from {self.points_evaluated} points at {self.resolution}³)"
        )

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.view().save(file, "PNG", optimize=True)
        return file.getvalue()
