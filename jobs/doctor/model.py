"""PyTorch, the GPUs, the weights and their cache: one picture taken through a reconstructor, at the coarsest.

Works on: a configuration. Knows nothing about Ray. Runs in a process apart, because it imports PyTorch, and holds a
GPU's memory for a moment.
"""

import shutil
import tempfile
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pynvml
import torch

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import Stores
from jobs import run
from jobs.doctor.finding import Finding, failure, ok, sentence, warning
from jobs.doctor.stores import impatient
from workers.messages import Failure, Source
from workers.reconstructor import Reconstructor
from workers.weights import cache_folder

_PICTURE = "images/chair/chair-0.png"  # of the demo
_RESOLUTION = 16
_CACHE_BYTES = 2**30  # a bundle of the paper's size has some 200 MB
_BFLOAT16_CAPABILITY = (8, 0)  # Ampere ("CUDA C++ Programming Guide", compute capabilities)


def look(config: dict[str, Any]) -> list[Finding]:
    """GPUs, cache and weights."""
    chosen = Config.model_validate(config)
    return [graphics(), cache(), *weights(chosen)]


def graphics() -> Finding:
    """Whether PyTorch sees the GPUs that the driver has."""
    driver, names = _nvml()
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not names and not seen:
        return ok("gpu", "no NVIDIA driver has any here, so the CPUs do the work")
    if not seen:
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        return failure(
            "gpu",
            f"driver {driver} has {', '.join(names)}, but PyTorch {torch.__version__} sees none and {built}: check "
            "CUDA_VISIBLE_DEVICES, and install a build for this driver",
        )
    memory = [torch.cuda.mem_get_info(index) for index in range(seen)]
    said = ", ".join(
        f"{torch.cuda.get_device_name(index)} with {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        for index, (free, total) in enumerate(memory)
    )
    said += f", driver {driver}" if driver else ""
    if seen < len(names):
        return warning("gpu", f"PyTorch sees {seen} of {len(names)}: {said}; check CUDA_VISIBLE_DEVICES")
    if any(torch.cuda.get_device_capability(index) < _BFLOAT16_CAPABILITY for index in range(seen)):
        said += ", without bfloat16 of their own"
    return ok("gpu", said)


def _nvml() -> tuple[str, list[str]]:
    """The driver's version and the names of its GPUs; nothing where there is no driver."""
    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return str(pynvml.nvmlSystemGetDriverVersion()), [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except pynvml.NVMLError:
        return "", []


def cache() -> Finding:
    """Whether weights can be kept on this machine."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        cure = "set XDG_CACHE_HOME to a folder that can"
        return failure("cache", f"weights cannot be kept in {folder} ({error.strerror}): {cure}")
    free = shutil.disk_usage(folder).free
    if free < _CACHE_BYTES:
        return warning("cache", f"{folder} has {free / 1e9:.1f} GB free: free some, or set XDG_CACHE_HOME")
    return ok("cache", f"weights are kept in {folder}, which has {free / 1e9:.1f} GB free")


def weights(config: Config) -> list[Finding]:
    """Whether each bundle loads, and finds a surface in a picture of a chair."""
    settings = config.model_copy(update={"reconstruct": config.reconstruct.model_copy(update={"previous": []})})
    stores = impatient(config.store)
    with as_file(files("jobs.demo") / _PICTURE) as picture:
        try:
            request = run.request_for(str(picture.parent), str(picture.parent), settings, Stores(stores))
            recipe = replace(request.recipe(), resolution=_RESOLUTION, exact=False)
            bundles = {used.digest: used.uri for used in request.weights.values()}
            reconstructor = Reconstructor(stores, config.images, bundles, recipe, 1)
            return [_tried(reconstructor, picture, digest, uri) for digest, uri in bundles.items()]
        except RequestError as error:
            return [failure("weights", sentence(error))]


def _tried(reconstructor: Reconstructor, picture: Path, digest: str, uri: str) -> Finding:
    source = Source("doctor", str(picture), None, digest, "")
    batch, _ = reconstructor.reconstruct((source,))
    (result,) = batch.results
    if isinstance(result, Failure):
        # Weights for other objects may see nothing in a chair.
        said = f"{uri} loads (digest {digest[:12]}), but gives no surface for a picture of a chair"
        return warning("weights", f"{said} ({sentence(Exception(result.message))}): try it on a picture of yours")
    where = "on the CPU" if batch.device == "CPU" else f"on {batch.device}"
    points = result.points_evaluated
    return ok("weights", f"{uri} loads (digest {digest[:12]}) and finds a surface with {points} points {where}")
