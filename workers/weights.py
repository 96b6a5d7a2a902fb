"""Bundles: a folder with `config.json` and `model.safetensors` that together are one trained model.

Works on: bundle folders and upstream state dicts. Knows nothing about pictures, points or actors. Nothing is ever
unpickled here except by `import_state_dict`, which reads tensors only (`weights_only=True`).
"""

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import torch
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from cluster.errors import RequestError
from cluster.store import StoreError, Stores, join
from workers.decoder import Decoder, Family
from workers.encoder import Encoder
from workers.images import Framing

EMBEDDED = "embedded"  # the name of the bundle that ships with the project
CONFIG, TENSORS = "config.json", "model.safetensors"
_MAX_CONFIG_BYTES = 1 << 20
_MAX_TENSOR_BYTES = 4 << 30

# The frame in which every bundle's shapes lie: the project's only one.
FRAME: Final = "right-handed, +Y up, front -Z, centred, bounding-box diagonal 1"


class BundleConfig(BaseModel):
    """`config.json`: all that is needed to use the tensors, and where they come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    family: Family
    latent_size: int = Field(ge=1, le=4096)
    decoder_width: int = Field(ge=1, le=1024)
    encoder_width: int = Field(ge=1, le=1024)
    framing: Framing
    threshold: float = Field(default=0.5, gt=0, lt=1)
    categories: tuple[str, ...] = ()
    frame: Literal["right-handed, +Y up, front -Z, centred, bounding-box diagonal 1"] = FRAME
    provenance: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A model ready for use, in evaluation mode and float32. `digest` is the SHA-256 over both files."""

    config: BundleConfig
    encoder: Encoder
    decoder: Decoder
    digest: str


def save(folder: Path, config: BundleConfig, encoder: Encoder, decoder: Decoder, *, half: bool = False) -> str:
    """Write a bundle and return its digest. `half` stores float16: half the size, ~3 decimal digits a weight."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    kept = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")  # training's bookkeeping
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = (json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n").encode()
    data = save_tensors(kept)
    (folder / TENSORS).write_bytes(data)
    (folder / CONFIG).write_bytes(text)
    return _digest(text, data)


def digest(uri: str, stores: Stores) -> str:
    """SHA-256, in hexadecimal, over `config.json` and then `model.safetensors` of the bundle at `uri`."""
    return _digest(*_read(uri, stores))


def load(uri: str, stores: Stores, *, device: str = "cpu") -> Bundle:
    """The bundle at `uri`: a folder, an `s3://` prefix, or `embedded`.

    Raises RequestError, in one sentence, for a bundle that is absent, malformed, of another architecture than its
    configuration says, or not finite.
    """
    text, data = _read(uri, stores)
    config = _parse(text, uri)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise RequestError(f"weights {uri}: {TENSORS} is not a safetensors file ({error}).") from error
    encoder, decoder = _modules(config, tensors, "encoder.", "decoder.", f"weights {uri}: ")
    if strangers := [name for name in tensors if not name.startswith(("encoder.", "decoder."))]:
        raise RequestError(f"weights {uri}: {TENSORS} holds {_name(strangers[0])}, which no part of the model has.")
    return Bundle(config, encoder.to(device).eval(), decoder.to(device).eval(), _digest(text, data))


def cache_folder() -> Path:
    """Where this node keeps bundles: `isofleet/weights` in XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isofleet" / "weights"


def load_cached(uri: str, expected: str, stores: Stores, cache: Path, *, device: str) -> Bundle:
    """Like `load`, through a cache on this node that is addressed by content: one download a node, not one an actor.

    Raises RequestError when the bundle's digest is not `expected`: it was replaced after the run had begun.
    """
    folder = cache / expected
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{expected}.lock"):
        if not folder.exists():
            text, data = _read(uri, stores)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                part = Path(scratch) / "bundle"
                part.mkdir()
                (part / CONFIG).write_bytes(text)
                (part / TENSORS).write_bytes(data)
                part.rename(folder)  # whole or not at all
    bundle = load(str(folder), stores, device=device)
    if bundle.digest != expected:
        raise RequestError(
            f"weights {uri}: the digest is {bundle.digest[:12]}…, not the run's {expected[:12]}…; "
            "start a new run, with another output, for the new weights."
        )
    return bundle


def import_state_dict(
    source: Path, *, name: str, family: Family, framing: Framing, categories: tuple[str, ...]
) -> tuple[BundleConfig, Encoder, Decoder]:
    """A model from a state dict of the IM-NET-pytorch layout (`img_encoder.*` and `generator.*`).

    Sizes are read off the tensors. A checkpoint that wraps the state dict, or prefixes its names with `module.`,
    is unwrapped. Other tensors (the voxel encoder's) are left out. Raises RequestError.
    """
    tensors = _state_dict(source)
    generator = {
        key.removeprefix("generator."): value for key, value in tensors.items() if key.startswith("generator.")
    }
    image = {
        key.removeprefix("img_encoder."): value for key, value in tensors.items() if key.startswith("img_encoder.")
    }
    if not generator or not image:
        missing = "generator" if not generator else "img_encoder"
        raise RequestError(f"{source}: has no {missing}.* tensors; give a single-view (SVR) IM-NET-pytorch state dict.")
    try:
        latent_size = image["conv_10.weight"].shape[0]
        encoder_width = image["conv_0.weight"].shape[0]
        first_hidden = generator["linear_1.weight"].shape[0]
    except KeyError as error:
        raise RequestError(f"{source}: has no tensor {error.args[0]}; give an IM-NET-pytorch state dict.") from error
    config = BundleConfig(
        name=name,
        family=family,
        latent_size=latent_size,
        decoder_width=max(1, first_hidden // (16 if family == "imnet-2019" else 8)),
        encoder_width=encoder_width,
        framing=framing,
        categories=categories,
        provenance={"imported_from": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()},
    )
    parts = {f"img_encoder.{_encoder_name(key)}": value for key, value in image.items()}
    parts |= {f"generator.{key}": value for key, value in generator.items()}
    encoder, decoder = _modules(config, parts, "img_encoder.", "generator.", f"{source}: ")
    return config, encoder.eval(), decoder.eval()


def _encoder_name(upstream: str) -> str:
    """The name in `Encoder` of an upstream tensor, e.g. `res_3.conv_s.weight` → `blocks.2.downsample.0.weight`."""
    parts = upstream.split(".")
    whole = {"conv_0": "stem.0", "bn_0": "stem.1", "conv_9": "head.0", "bn_9": "head.1", "conv_10": "head.3"}
    inner = {"conv_1": "conv1", "bn_1": "bn1", "conv_2": "conv2", "bn_2": "bn2"}
    inner |= {"conv_s": "downsample.0", "bn_s": "downsample.1"}
    if parts[0] in whole:
        return ".".join([whole[parts[0]], *parts[1:]])
    if (match := re.fullmatch(r"res_([1-8])", parts[0])) and len(parts) > 2 and parts[1] in inner:
        return ".".join([f"blocks.{int(match[1]) - 1}", inner[parts[1]], *parts[2:]])
    return upstream


def _state_dict(source: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RequestError(f"{source}: there is no such file.") from error
    except Exception as error:  # torch.load raises whatever the bytes provoke in pickle and zip readers
        reason = "".join(letter for letter in str(error).split("\n")[0][:160] if letter.isprintable())
        raise RequestError(f"{source}: is not a PyTorch file that holds tensors only ({reason}).") from error
    for wrapper in ("state_dict", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RequestError(f"{source}: holds no state dict.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _modules(
    config: BundleConfig, tensors: dict[str, Tensor], encoder_prefix: str, decoder_prefix: str, where: str
) -> tuple[Encoder, Decoder]:
    """The two networks with `tensors`, which are compared with the configuration before it makes us allocate: the
    largest sizes that it may name come to 20 GB."""
    prefixes, parts = (encoder_prefix, decoder_prefix), []
    with torch.device("meta"):
        planned = _empty(config)
    for prefix, module in zip(prefixes, planned, strict=True):
        part = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        part = {name: value for name, value in part.items() if not name.endswith("num_batches_tracked")}
        _compare(module, part, f"{where}{prefix[:-1]}")
        parts.append(part)
    modules = _empty(config)
    for module, part in zip(modules, parts, strict=True):
        module.load_state_dict({name: value.float() for name, value in part.items()}, strict=False)
    return modules


def _empty(config: BundleConfig) -> tuple[Encoder, Decoder]:
    encoder = Encoder(config.latent_size, config.encoder_width)
    return encoder, Decoder(config.family, config.latent_size, config.decoder_width)


def _compare(module: torch.nn.Module, given: dict[str, Tensor], where: str) -> None:
    """Say in one sentence which tensor does not fit."""
    expected = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    for name in expected:
        if name not in given:
            raise RequestError(f"{where} has no tensor {name!r}; the configuration does not fit the tensors.")
    for name, value in given.items():
        if name not in expected:
            raise RequestError(f"{where} has the tensor {_name(name)}, which this family does not know.")
        if value.shape != expected[name].shape:
            raise RequestError(
                f"{where}: {name!r} has the shape {tuple(value.shape)}, not {tuple(expected[name].shape)}."
            )
        if not value.is_floating_point():
            raise RequestError(f"{where}: {name!r} holds {value.dtype}, not real numbers.")
        if not torch.isfinite(value.float()).all():
            raise RequestError(f"{where}: {name!r} holds values that are not finite.")


def _name(name: str) -> str:
    """A stranger's name of a tensor, fit for a sentence."""
    return repr(name if len(name) <= 80 else name[:79] + "…")


def _parse(text: bytes, uri: str) -> BundleConfig:
    try:
        return BundleConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RequestError(f"weights {uri}: {CONFIG}: {key}: {first['msg']}.") from error


def _read(uri: str, stores: Stores) -> tuple[bytes, bytes]:
    root = str(files("workers.pretrained") / EMBEDDED) if uri == EMBEDDED else uri
    try:
        store = stores.open(root)
        text = store.get(join(root, CONFIG), max_bytes=_MAX_CONFIG_BYTES).data
        return text, store.get(join(root, TENSORS), max_bytes=_MAX_TENSOR_BYTES).data
    except StoreError as error:
        raise RequestError(f"weights {uri}: cannot be read as a bundle: {error}") from error


def _digest(text: bytes, data: bytes) -> str:
    return hashlib.sha256(text + data).hexdigest()
