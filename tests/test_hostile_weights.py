"""Weights from people who mean harm: one sentence each, before anything is run or much is allocated."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # Ray brings it, and puts it on the path when `conftest` imports it
import pytest
import torch
from safetensors.torch import load, save
from test_weights import small_bundle

from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from workers import weights
from workers.images import Framing

STORES = Stores(StoreSettings())


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.sprung,)


def header(**entries: object) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def configure(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = load(path.read_bytes())
        change(content)
        path.write_bytes(save(content))

    return rewrite


def content(data: bytes, name: str = "model.safetensors") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def linked(folder: Path, target: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(target)


NAME = "decoder.linear_1.bias"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a decoder of 2 TB": (configure(decoder_width=10**9), "decoder_width"),
    "a decoder of the largest width": (configure(decoder_width=1024), "shape"),
    "all sizes the largest": (configure(decoder_width=1024, encoder_width=1024, latent_size=4096), "shape"),
    "a negative size": (configure(latent_size=-1), "latent_size"),
    "a size that is a fraction": (configure(latent_size=1e308), "latent_size"),
    "a threshold that is no number": (content(b'{"threshold": NaN}', "config.json"), "config.json"),
    "a deep configuration": (content(b'{"provenance":' * 100_000, "config.json"), "config.json"),
    "a large configuration": (content(b" " * (2 << 20), "config.json"), "cannot be read as a bundle"),
    "a configuration of bytes": (content(b"\xff\xfe\x00", "config.json"), "config.json"),
    "nothing": (content(b""), "not a safetensors file"),
    "a header of 2^63 bytes": (content(struct.pack("<Q", 2**63) + b"{}"), "not a safetensors file"),
    "a header of 90 MB": (content(struct.pack("<Q", 90 << 20) + b"{"), "not a safetensors file"),
    "a tensor of 2^60 values": (
        content(header(x={"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 4]}) + b"0000"),
        "not a safetensors file",
    ),
    "tensors that overlap": (
        content(header(x={"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, y={"dtype": "U8", "shape": [4],
                       "data_offsets": [0, 4]}) + b"0000"),
        "not a safetensors file",
    ),
    "a name of control characters": (tensors(lambda t: t.update({"\x1b[31m\n": torch.zeros(1)})), "no part"),
    "a name of a million letters": (tensors(lambda t: t.update({"decoder." + "x" * 10**6: torch.ones(1)})), "tensor"),
    "infinity": (tensors(lambda t: t[NAME].fill_(torch.inf)), "not finite"),
    "no number": (tensors(lambda t: t[NAME].fill_(torch.nan)), "not finite"),
    "infinity once it is 32 bits": (tensors(lambda t: t.update({NAME: t[NAME].double().fill_(1e300)})), "not finite"),
    "another shape": (tensors(lambda t: t.update({NAME: t[NAME][:-1].clone()})), "shape"),
    "a missing tensor": (tensors(lambda t: t.pop(NAME)), "has no tensor"),
    "complex numbers": (tensors(lambda t: t.update({NAME: t[NAME].to(torch.complex64)})), "real numbers"),
    "booleans": (tensors(lambda t: t.update({NAME: t[NAME].bool()})), "real numbers"),
    "a folder": (lambda folder: [(folder / "config.json").unlink(), (folder / "config.json").mkdir()], "be read"),
    "a device": (lambda folder: linked(folder, "/dev/zero"), "cannot be read as a bundle"),
    "a link in a circle": (lambda folder: linked(folder, "model.safetensors"), "cannot be read as a bundle"),
    "a pipe": (lambda folder: [(folder / "config.json").unlink(), os.mkfifo(folder / "config.json")], "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_hostile_weights_are_one_sentence(damage: str, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    harm, sentence = DAMAGES[damage]
    harm(tmp_path / "bundle")
    before = psutil.Process().memory_info().rss
    with pytest.raises(RequestError, match=sentence) as caught:
        weights.load(str(tmp_path / "bundle"), STORES)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert psutil.Process().memory_info().rss - before < 500 << 20


def as_protocol(number: int) -> Callable[[Any], bytes]:
    return lambda trap: pickle.dumps({"generator.linear_1.weight": trap}, protocol=number)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_is_run_under_no_name(protocol: int, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    data = as_protocol(protocol)(trap)
    pickle.loads(data)  # it is a working one
    assert trap.sprung.exists()
    trap.sprung.unlink()

    small_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.safetensors").write_bytes(data)
    with pytest.raises(RequestError, match="not a safetensors file"):
        weights.load(str(tmp_path / "bundle"), STORES)
    for name in ("model.pth", "model.pt", "model.bin"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RequestError, match="tensors only") as caught:
            weights.import_state_dict(tmp_path / name, name="x", family="imnet-2019", framing=Framing(), categories=())
        assert str(caught.value).isprintable()
    assert not trap.sprung.exists()


def test_a_bundle_that_changes_between_its_digest_and_its_use_is_refused(tmp_path: Path) -> None:
    """The node's cache is trusted by its name only after its content was looked at, each time."""
    small_bundle(tmp_path / "bundle")
    digest, cache = weights.digest(str(tmp_path / "bundle"), STORES), tmp_path / "cache"
    weights.load_cached(str(tmp_path / "bundle"), digest, STORES, cache, device="cpu")
    small_bundle(cache / digest, categories=("table",))  # somebody writes into the cache
    with pytest.raises(RequestError, match="the digest is"):
        weights.load_cached(str(tmp_path / "bundle"), digest, STORES, cache, device="cpu")


def test_no_byte_can_move_from_one_file_to_the_other_under_the_same_digest(tmp_path: Path) -> None:
    """The digest is over both files in a row; with the border elsewhere, the first is no JSON."""
    small_bundle(tmp_path / "a")
    small_bundle(tmp_path / "b")
    text, data = ((tmp_path / "a" / name).read_bytes() for name in ("config.json", "model.safetensors"))
    (tmp_path / "b" / "config.json").write_bytes(text + data[:1])
    (tmp_path / "b" / "model.safetensors").write_bytes(data[1:])
    with pytest.raises(RequestError, match=r"config\.json"):
        weights.load(str(tmp_path / "b"), STORES)


@pytest.mark.parametrize("uri", ["../../etc", "/etc/passwd", "file:///etc/../etc", "embedded/../embedded", ""])
def test_an_address_that_leads_elsewhere_is_no_bundle(uri: str) -> None:
    with pytest.raises(RequestError) as caught:
        weights.load(uri, STORES)
    assert "root:" not in str(caught.value)
    assert str(caught.value).isprintable()
