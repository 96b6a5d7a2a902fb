"""What a run would do, take and cost: from its catalog, and from what earlier runs were measured to take.

Works on: requests, catalogs and the `measured` of earlier outputs' `_SUCCESS.json`. Knows nothing about how images
are converted, and invents nothing: without a measurement at the same resolution there is no estimate.
"""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from cluster.config import Config
from cluster.errors import RequestError
from cluster.session import ActorNeed
from cluster.store import NotFound, StoreError, Stores, canonical, join
from jobs import manifest, run
from jobs.catalog import open_catalog
from jobs.previous import Kind, Previous
from jobs.worklist import plan

_GENERATIONS = 400  # earlier runs looked at for measurements: a year of nights


class Measured(BaseModel):
    """What the driver that ended a run has measured of its own work; images carried or committed before are not in it.

    `device` is the reconstructors' GPU, or "CPU". `images` are those that reached a reconstructor, whatever became of
    them; `bytes` are of their files, `points` those at which the decoder was asked for them. `seconds` is how long the
    actors were held, from their start to their end. `actor_hours` is that for each reconstructor, `device_hours` for
    each GPU reserved, or on CPUs for each CPU reserved, the meshers' included.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    device: str
    resolution: int
    exact: bool
    reconstructors: int
    images: int
    bytes: int
    points: int
    seconds: float
    actor_hours: float
    device_hours: float


class Meter:
    """Adds up what a driver does."""

    def __init__(self) -> None:
        self._devices: Counter[str] = Counter()
        self._bytes = self._points = 0

    def images(self, count: int, device: str) -> None:
        """A reconstructor on `device` is done with so many images, failed or not."""
        self._devices[device] += count

    def bytes(self, count: int) -> None:
        """An image's file had so many."""
        self._bytes += count

    def points(self, count: int) -> None:
        """The decoder was asked at so many for one image."""
        self._points += count

    def measured(self, request: run.Request, needs: tuple[ActorNeed, ActorNeed], seconds: float) -> Measured | None:
        """The sum, once the actors of `needs` (reconstructors, meshers) were held so long; None without an image."""
        if not self._devices:
            return None
        reconstructors, meshers = needs
        gpus = reconstructors.count * reconstructors.gpus
        cpus = reconstructors.count * reconstructors.cpus + meshers.count * meshers.cpus
        return Measured(
            device=self._devices.most_common(1)[0][0],
            resolution=request.resolution,
            exact=request.exact,
            reconstructors=reconstructors.count,
            images=self._devices.total(),
            bytes=self._bytes,
            points=self._points,
            seconds=round(seconds, 3),
            actor_hours=seconds * reconstructors.count / 3600,
            device_hours=seconds * (gpus or cpus) / 3600,
        )


@dataclass(frozen=True)
class Estimate:
    """What the run would do.

    images = new + changed + carried + unusable + done: `changed` are those that an earlier output has, but not as they
    must be now; `done` are committed already, where the run has begun. `compute` = new + changed: what goes to a
    reconstructor. `bytes` are those of the images to compute whose size the catalog tells; `sizes_unknown` counts the
    others. `points`, `device_hours` and `cost` are None where nothing was measured that they could be estimated from,
    and then `why_not` says so; else `measured_by` are the outputs that were.
    """

    images: int
    new: int
    changed: int
    carried: int
    vanished: int
    unusable: int
    done: int
    compute: int
    shards: int
    bytes: int
    sizes_unknown: int
    resolution: int
    points: int | None = None
    device: str | None = None
    device_hours: float | None = None
    price_per_hour: float | None = None
    cost: float | None = None
    measured_by: tuple[str, ...] = ()
    why_not: str | None = None


def estimate(catalog: str, output: str, config: Config, price: float | None = None) -> Estimate:
    """What `reconstruct` would do with the same arguments; nothing is written. `price` is for one device-hour.

    Raises RequestError as `reconstruct` does, and where the catalog cannot be read.
    """
    stores = Stores(config.store)
    try:
        request = run.request_for(catalog, output, config, stores)
        committed: set[int] = set()
        if run.exists(stores, output):
            request = run.resumed(stores, output, request).request
            committed = manifest.committed(stores, output)
        return _estimate(stores, output, request, committed, price)
    except StoreError as error:
        raise RequestError(f"the run cannot be estimated: {error}.") from error


def _estimate(stores: Stores, output: str, request: run.Request, committed: set[int], price: float | None) -> Estimate:
    source = open_catalog(request.catalog, stores, category=request.category, limit=request.limit)
    kinds: Counter[Kind] = Counter()
    done = size = unknown = shards = 0
    with closing(Previous(stores, request)) as previous:
        for shard in plan(source, output, stores, request.shard_size, write=False):
            shards += 1
            previous.see(shard)
            if shard.index in committed:
                done += len(shard.items)
                continue
            classes = previous.classify(shard)
            for item in shard.items:
                kind, _ = classes[item.item_id]
                kinds[kind] += 1
                if kind in (Kind.NEW, Kind.CHANGED):
                    size += item.size or 0
                    unknown += item.size is None
        gone = previous.count_vanished()
    found = Estimate(
        images=kinds.total() + done,
        new=kinds[Kind.NEW],
        changed=kinds[Kind.CHANGED],
        carried=kinds[Kind.CARRIED],
        vanished=gone,
        unusable=kinds[Kind.UNUSABLE],
        done=done,
        compute=kinds[Kind.NEW] + kinds[Kind.CHANGED],
        shards=shards,
        bytes=size,
        sizes_unknown=unknown,
        resolution=request.resolution,
    )
    return with_rates(found, stores, request, price)


def with_rates(found: Estimate, stores: Stores, request: run.Request, price: float | None) -> Estimate:
    """The estimate with what its images would take: their number times what one took on average."""
    if not found.compute:
        return replace(found, points=0, device_hours=0.0, price_per_hour=price, cost=None if price is None else 0.0)
    by_device: dict[str, list[tuple[str, Measured]]] = defaultdict(list)
    for uri, measured in _measurements(stores, request):
        by_device[measured.device].append((uri, measured))
    if not by_device:
        return replace(found, price_per_hour=price, why_not=_why_not(request))
    device, used = max(by_device.items(), key=lambda entry: sum(measured.images for _, measured in entry[1]))
    share = found.compute / sum(measured.images for _, measured in used)
    hours = share * sum(measured.device_hours for _, measured in used)
    return replace(
        found,
        points=round(share * sum(measured.points for _, measured in used)),
        device=device,
        device_hours=hours,
        price_per_hour=price,
        cost=None if price is None else hours * price,
        measured_by=tuple(uri for uri, _ in used),
    )


def _why_not(request: run.Request) -> str:
    refined = f", refined by {request.refine}" if request.refine else ""
    how = f"at resolution {request.resolution}{', exact' if request.exact else ''}{refined}"
    if request.remesh:
        return f"no rate was measured {how}"
    give = "give --previous an output that was"
    return (
        f"no rate was measured {how}: {give}" if request.previous else f"there is no measured rate: {give} made {how}"
    )


def _measurements(stores: Stores, request: run.Request) -> Iterator[tuple[str, Measured]]:
    """What the previous outputs, and those before them, measured at the request's resolution. All of them count: a
    night's run of a few images is mostly the actors' start, and the first run of all images outweighs it. A run that
    read no picture says nothing of one that does."""
    queue = deque(used.uri for used in request.previous)
    if request.remesh:
        queue.append(request.remesh.uri)
    seen: set[str] = set()
    while queue and len(seen) < _GENERATIONS:
        uri = queue.popleft()
        if uri in seen:
            continue
        seen.add(uri)
        with suppress(RequestError):  # an output that is gone has nothing to say
            earlier = run.read(stores, uri).request
            queue.extend(used.uri for used in earlier.previous)
            measured = None if earlier.remesh and not request.remesh else _measured(stores, uri)
            if measured and (measured.resolution, measured.exact, earlier.refine) == (
                request.resolution,
                request.exact,
                request.refine,
            ):
                yield uri, measured


def _measured(stores: Stores, output: str) -> Measured | None:
    uri = join(canonical(output), run.SUCCESS)
    try:
        said = json.loads(stores.open(uri).get(uri, max_bytes=1 << 20).data).get("measured")
        return Measured.model_validate(said) if said else None
    except NotFound:  # the run exceeded its error budget, or is not over
        return None
    except (ValueError, AttributeError) as error:
        raise RequestError(f"{uri} is damaged ({type(error).__name__}); name another previous output.") from error
