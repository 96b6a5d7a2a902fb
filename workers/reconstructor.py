"""The GPU actor: from the addresses of pictures to the sparse fields of the objects in them.

Works on: batches of sources, read from the store. Knows nothing about catalogs, manifests or which cluster it is on.
It runs with two calls at once: while one holds the device, the next already fetches and decodes its pictures.
"""

import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cluster import memory
from cluster.config import ImageSettings, StoreSettings
from cluster.errors import RequestError
from cluster.store import AccessDenied, CredentialsError, NotFound, StoreError, Stores, TooLarge
from workers.decoder import CHUNK_POINTS, LatticeField
from workers.encoder import IMAGE_SIZE, encode, fuse
from workers.failure import ErrorCode, ItemError
from workers.fan_out import Asked, FanOut
from workers.field import SparseField
from workers.grid import Lattice
from workers.images import Framing, count_pixels, decode, key_out, prepare
from workers.isosurface import extract
from workers.messages import CALLS_AT_ONCE, Batch, Failure, Reading, Recipe, Reconstruction, Source
from workers.precision import choose, is_native
from workers.regions import Prepared
from workers.symmetry import Mirrored
from workers.tally import Tally
from workers.views import ViewFailure, fingerprint
from workers.weights import Bundle, cache_folder, load_cached

_FETCHERS = 8  # threads a call; a fetch waits for the network, so they are not tied to cores


# What reading told, and the network's input float32[V, 128, 128].
_Taken = tuple[Reading, np.ndarray]


class _Ration:
    """An amount that threads share, each holding its part for a while. More than there is counts as all of it."""

    def __init__(self, amount: int) -> None:
        self._amount = self._left = amount
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, part: int) -> Iterator[None]:
        part = min(part, self._amount)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= part)
            self._left -= part
        try:
            yield
        finally:
            with self._changed:
                self._left += part
                self._changed.notify_all()


class _Turns:
    """Who computes: one at a time, and what other actors ask for only while there is nothing of one's own."""

    def __init__(self) -> None:
        self._computing, self._lending = threading.Lock(), threading.Lock()
        self._counting, self._waiting = threading.Lock(), 0

    @contextmanager
    def own(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        try:
            with self._computing:
                yield
        finally:
            with self._counting:
                self._waiting -= 1

    @contextmanager
    def lent(self) -> Iterator[bool]:
        """Whether the turn is the other actor's. Never waits for an own computation: the other one has better to do."""
        with self._lending:
            free = not self._waiting and self._computing.acquire(blocking=False)
            try:
                yield free
            finally:
                if free:
                    self._computing.release()


@dataclass(frozen=True, slots=True)
class _Input:
    """A source, what is known of reading it, and the network's input float32[V, 128, 128]: a picture, an object's
    views, or nothing where the latent is known."""

    source: Source
    reading: Reading
    images: np.ndarray


class Reconstructor:
    """Holds the weights; `reconstruct` is its one job."""

    def __init__(
        self,
        stores: StoreSettings,
        images: ImageSettings,
        weights: dict[str, str],
        recipe: Recipe,
        threads: int,
    ) -> None:
        """`weights` maps a bundle's digest to its URI; a bundle is loaded when first needed. `threads` is how many
        cores the decoder may use where there is no GPU."""
        self._tally = Tally()
        self._stores = Stores(stores, self._tally)
        self._images = images
        self._weights = weights
        self._recipe = recipe
        self._bundles: dict[str, Bundle] = {}
        self._prepared: dict[str, Prepared] = {}  # each bundle's decoder
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device_name = torch.cuda.get_device_name() if self._device == "cuda" else "CPU"
        # Another kind of processor, or of library, may round otherwise.
        processor = torch.cpu.get_capabilities().get("cpu_name", "")
        capability = f"{torch.backends.cpu.get_cpu_capability()} {is_native(self._device)}"
        self._kind = f"{self._device_name} {processor} {capability} {torch.__version__}"
        # On a GPU many pictures make one launch; on a CPU a picture alone is as fast, and nothing is padded.
        self._encoder_batch = recipe.batch_size if self._device == "cuda" else 1
        self._chunk_points = recipe.chunk_points or CHUNK_POINTS[self._device]
        self._turns, self._loading = _Turns(), threading.Lock()
        self._helpers: Sequence[Any] = ()
        self._shared = 0  # points of the own computation that helpers evaluated
        self._asked: tuple[str, LatticeField] | None = None  # the field that was last evaluated for another actor
        # One picture of the largest size at a time, or many small ones: memory does not depend on what comes together.
        self._pixels = _Ration(images.max_pixels)
        self._fetchers = ThreadPoolExecutor(_FETCHERS * CALLS_AT_ONCE, "fetch")
        # A file can have Pillow warn ten thousand times, each in other words: into the log, and into memory for ever.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        torch.set_num_threads(threads)
        # The same picture must give the same bytes alone, in a crowd and after a retry.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False

    def reconstruct(self, sources: tuple[Source, ...]) -> tuple[Batch, list[SparseField]]:
        """Results for `sources`, all of the same weights, and the fields that they refer to.

        Whatever is wrong with one picture is its own `Failure`. Raises RequestError for what is wrong with all of
        them: weights that are not those that the run began with, a cache or a store that this node cannot use. Raises
        what `memory.exhausted` knows when memory runs out.
        """
        bundle = self._bundle(sources[0].weights_digest)
        results: dict[str, Reconstruction | Failure] = {}
        inputs: list[_Input] = []
        framing = bundle.config.framing
        pictures = [(source, uri) for source in sources for uri in source.pictures]
        read = self._fetchers.map(lambda picture: self._read(picture[0], picture[1], framing), pictures)
        for source in sources:
            taken = _gather(source, [next(read) for _ in source.pictures])
            if isinstance(taken, Failure):
                results[source.item_id] = taken
            else:
                inputs.append(_Input(source, *taken))
        fields: list[SparseField] = []
        shared = 0
        if inputs:
            with self._turns.own():
                self._shared = 0
                self._compute(bundle, inputs, results, fields)
                shared = self._shared
        ordered = tuple(results[source.item_id] for source in sources)
        return Batch(ordered, self._tally.take(), self._device_name, shared), fields

    def assist(self, helpers: Sequence[Any]) -> None:
        """From now on these reconstructors are lent to this one."""
        self._helpers = helpers

    def evaluate(self, asked: Asked, keys: np.ndarray) -> np.ndarray | None:
        """For another reconstructor: the field float32[P] at `keys` int64[P]; None when this one has work of its own,
        or is of another kind. Raises RequestError as `reconstruct` does."""
        with self._turns.lent() as free:
            if not free or asked.kind != self._kind:
                return None
            if self._asked is None or self._asked[0] != asked.name:
                latents = torch.tensor(asked.latents, device=self._device)
                self._asked = asked.name, self._field(self._bundle(asked.weights_digest), latents)
            return self._asked[1](torch.tensor(keys, device=self._device)).cpu().numpy()

    def _read(self, source: Source, uri: str, framing: Framing) -> _Taken | Failure:
        """The network's input float32[1, 128, 128] of one picture of the source."""
        reading = Reading(etag=source.etag)
        try:
            started = time.perf_counter()
            try:
                found = self._stores.open(uri).get(uri, max_bytes=self._images.max_bytes)
            except CredentialsError as error:
                raise RequestError(str(error)) from error
            except StoreError as error:
                raise _unread(error) from error
            fetch_ms = _milliseconds(started)
            reading = Reading(found.info.etag, found.info.size, fetch_ms=fetch_ms)
            if source.etag is not None and found.info.etag != source.etag:
                raise ItemError(
                    ErrorCode.SOURCE_CHANGED,
                    f"The image's ETag was {source.etag} when the catalog was read and is {found.info.etag} now.",
                )
            with self._pixels.hold(count_pixels(found.data, max_pixels=self._images.max_pixels)):
                picture = decode(found.data, max_pixels=self._images.max_pixels)
                reading = Reading(found.info.etag, found.info.size, picture.width, picture.height, fetch_ms)
                return reading, prepare(key_out(picture), framing, IMAGE_SIZE)[None]
        except RequestError:
            raise
        except Exception as error:
            if memory.exhausted(error):
                raise  # whose fault it is, the pool finds out
            return _failure(source, error, reading)

    def _compute(
        self,
        bundle: Bundle,
        inputs: list[_Input],
        results: dict[str, Reconstruction | Failure],
        fields: list[SparseField],
    ) -> None:
        started = time.perf_counter()
        latents = self._encode(bundle, inputs)
        vectors = latents.cpu().tolist()
        encode_ms = _milliseconds(started) / max(1, sum(len(given.images) for given in inputs))

        started = time.perf_counter()
        found = self._extract(bundle, latents)
        points = sum(field.points_evaluated for field in found if isinstance(field, SparseField))
        decode_ms = _milliseconds(started)
        for given, vector, field in zip(inputs, vectors, found, strict=True):
            source = given.source
            if isinstance(field, Exception):
                results[source.item_id] = _failure(source, field, given.reading)
                continue
            results[source.item_id] = Reconstruction(
                source.item_id,
                given.reading,
                tuple(vector),
                field.points_evaluated,
                None if source.encoded else encode_ms * len(given.images),
                decode_ms * field.points_evaluated / points,  # a batch is decoded at once: its share by points
                self._prepared[bundle.digest].precision,
                len(fields),
            )
            fields.append(field)

    def _encode(self, bundle: Bundle, inputs: Sequence[_Input]) -> torch.Tensor:
        """The latents float32[B, latent_size]: those that are known, and of each source that was read one."""
        latents = torch.empty(len(inputs), bundle.config.latent_size, device=self._device)
        read = {place: given.images for place, given in enumerate(inputs) if len(given.images)}
        if read:
            stack = torch.from_numpy(np.concatenate(list(read.values()))).to(self._device)
            found = encode(bundle.encoder, stack, self._encoder_batch)
            latents[list(read)] = fuse(found, [len(images) for images in read.values()])
        for place, given in enumerate(inputs):
            if given.source.encoded:
                latents[place] = torch.tensor(given.source.encoded.latent, device=self._device)
        return latents

    def _extract(self, bundle: Bundle, latents: torch.Tensor) -> Sequence[SparseField | Exception]:
        """The field of each latent. If the batch fails, each alone, so that one bad latent spoils no other's."""
        lattice = Lattice(self._recipe.resolution)
        asked = Asked(uuid.uuid4().hex, self._kind, bundle.digest, latents.cpu().numpy())
        own = self._field(bundle, latents)
        field = FanOut(own, own.together, asked, self._chunk_points, lambda: self._helpers)
        try:
            recipe = self._recipe
            evaluate = Mirrored(field, lattice, self._device) if recipe.mesh.symmetry else field
            return extract(
                evaluate, lattice, len(latents), exact=recipe.exact, refine=recipe.refine, device=self._device
            )
        except Exception as error:
            if len(latents) == 1:
                if memory.exhausted(error):
                    raise
                return [error]
            return [self._extract(bundle, latent)[0] for latent in latents.split(1)]
        finally:
            self._shared += field.shared

    def _field(self, bundle: Bundle, latents: torch.Tensor) -> LatticeField:
        lattice = Lattice(self._recipe.resolution)
        prepared = self._prepared[bundle.digest]
        return LatticeField(bundle.decoder, latents, lattice, bundle.config.threshold, self._chunk_points, prepared)

    def _bundle(self, digest: str) -> Bundle:
        with self._loading:
            if digest not in self._bundles:
                uri, cache = self._weights[digest], cache_folder()
                try:
                    loaded = load_cached(uri, digest, self._stores, cache, device=self._device)
                except OSError as error:
                    raise RequestError(
                        f"the weights cannot be kept in {cache} ({error.strerror}); set XDG_CACHE_HOME on the "
                        "cluster's nodes to a folder that can be written"
                    ) from error
                precision = choose(self._recipe.precision, self._device, loaded.config.decoder_width)
                self._prepared[digest] = Prepared(loaded.decoder, precision)
                self._bundles[digest] = loaded
            return self._bundles[digest]


def _gather(source: Source, views: Sequence[_Taken | Failure]) -> _Taken | Failure:
    """A source, of what was read of its pictures in order. An object fails only if none of its views can be used."""
    if source.encoded:
        return source.encoded.reading, np.empty((0, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    if not source.views:
        return views[0]
    readings = [view.reading if isinstance(view, Failure) else view[0] for view in views]
    images = [view[1] for view in views if not isinstance(view, Failure)]
    failed = [(uri, view) for uri, view in zip(source.views, views, strict=True) if isinstance(view, Failure)]
    # What failed for reasons that are not the picture's own may go well the next time.
    unread = {uri for uri, view in failed if view.code is ErrorCode.INTERNAL_ERROR}
    etags = [(uri, None if uri in unread else one.etag) for uri, one in zip(source.views, readings, strict=True)]
    reading = Reading(
        etag=fingerprint(etags),
        source_bytes=sum(one.source_bytes or 0 for one in readings),
        width=readings[0].width,
        height=readings[0].height,
        fetch_ms=sum(one.fetch_ms or 0 for one in readings),
        views_used=len(images),
        views_failed=tuple(ViewFailure(uri, view.code.value, view.message) for uri, view in failed),
    )
    if images:
        return reading, np.concatenate(images)
    first = failed[0][1]
    message = f"None of the object's {len(views)} pictures can be used. The first: {first.message}"
    return Failure(source.item_id, first.code, message, reading)


def _unread(error: StoreError) -> ItemError:
    codes: list[tuple[type[StoreError], ErrorCode]] = [
        (NotFound, ErrorCode.SOURCE_MISSING),
        (AccessDenied, ErrorCode.SOURCE_DENIED),
        (TooLarge, ErrorCode.TOO_MANY_BYTES),
    ]
    code = next((code for kind, code in codes if isinstance(error, kind)), ErrorCode.SOURCE_UNREADABLE)
    return ItemError(code, f"The image could not be read: {error}.")


def _failure(source: Source, error: Exception, reading: Reading) -> Failure:
    if isinstance(error, ItemError):
        return Failure(source.item_id, error.code, error.message, reading)
    message = f"{type(error).__name__}: {error}"
    return Failure(source.item_id, ErrorCode.INTERNAL_ERROR, message, reading)


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000
