"""Bundles and upstream weights, against a transcription of the published formulas that shares no code with ours."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from workers import weights
from workers.decoder import Decoder, LatticeField
from workers.encoder import Encoder, encode
from workers.grid import Lattice
from workers.images import Framing

LATENT, WIDTH = 24, 8
FAMILIES = {
    "imnet-2019": ([16, 8, 4, 2, 1], True),
    "imnet-improved": ([8, 8, 8, 4, 2, 1], False),
}


@pytest.fixture
def stores() -> Stores:
    return Stores(StoreSettings())


def upstream(family: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A random state dict with the names and shapes of IM-NET-pytorch."""
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}

    def make(name: str, *shape: int) -> None:
        spread = float(np.prod(shape[1:])) ** -0.5 if len(shape) > 1 else 0.3
        tensors[name] = torch.randn(shape, generator=random) * spread

    def norm(name: str, channels: int) -> None:
        make(f"{name}.weight", channels)
        make(f"{name}.bias", channels)
        make(f"{name}.running_mean", channels)
        tensors[f"{name}.running_var"] = torch.rand(channels, generator=random) + 0.5
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    root = "img_encoder."
    make(f"{root}conv_0.weight", WIDTH, 1, 7, 7)
    norm(f"{root}bn_0", WIDTH)
    inputs = WIDTH
    for number, outputs in enumerate([WIDTH * 2 ** (block // 2) for block in range(8)], start=1):
        block = f"{root}res_{number}."
        make(f"{block}conv_1.weight", outputs, inputs, 3, 3)
        norm(f"{block}bn_1", outputs)
        make(f"{block}conv_2.weight", outputs, outputs, 3, 3)
        norm(f"{block}bn_2", outputs)
        if inputs != outputs:
            make(f"{block}conv_s.weight", outputs, inputs, 1, 1)
            norm(f"{block}bn_s", outputs)
        inputs = outputs
    make(f"{root}conv_9.weight", inputs, inputs, 4, 4)
    norm(f"{root}bn_9", inputs)
    make(f"{root}conv_10.weight", LATENT, inputs, 4, 4)
    make(f"{root}conv_10.bias", LATENT)

    sizes, skips = FAMILIES[family]
    previous = 0
    for number, size in enumerate([WIDTH * factor for factor in sizes] + [1], start=1):
        again = number == 1 or (skips and number <= len(sizes))
        make(f"generator.linear_{number}.weight", size, previous + (3 + LATENT if again else 0))
        make(f"generator.linear_{number}.bias", size)
        previous = size
    return tensors


def leaky(value: torch.Tensor) -> torch.Tensor:
    return torch.where(value > 0, value, 0.02 * value)


def formula_latent(tensors: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The image encoder in float64, from the paper's layout."""
    t = {name.removeprefix("img_encoder."): value.double() for name, value in tensors.items()}

    def norm(value: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, gain, shift = (
            t[f"{name}.{part}"][None, :, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (value - mean) / torch.sqrt(variance + 1e-5) * gain + shift

    h = leaky(norm(conv2d(images.double(), t["conv_0.weight"], stride=2, padding=3), "bn_0"))
    for number in range(1, 9):
        block = f"res_{number}"
        stride = 2 if f"{block}.conv_s.weight" in t else 1
        inner = leaky(norm(conv2d(h, t[f"{block}.conv_1.weight"], stride=stride, padding=1), f"{block}.bn_1"))
        inner = norm(conv2d(inner, t[f"{block}.conv_2.weight"], padding=1), f"{block}.bn_2")
        if stride == 2:
            h = norm(conv2d(h, t[f"{block}.conv_s.weight"], stride=2), f"{block}.bn_s")
        h = leaky(inner + h)
    h = leaky(norm(conv2d(h, t["conv_9.weight"], stride=2, padding=1), "bn_9"))
    return torch.sigmoid(conv2d(h, t["conv_10.weight"], t["conv_10.bias"])).flatten(1)


def formula_occupancy(
    tensors: dict[str, torch.Tensor], family: str, points: torch.Tensor, latent: torch.Tensor
) -> torch.Tensor:
    """The decoder in float64: the whole input concatenated, as the papers write it."""
    t = {name.removeprefix("generator."): value.double() for name, value in tensors.items()}
    sizes, skips = FAMILIES[family]
    given = torch.cat([points.double(), latent.double().expand(len(points), -1)], dim=1)
    h = given
    for number in range(1, len(sizes) + 2):
        if number > 1 and skips and number <= len(sizes):
            h = torch.cat([h, given], dim=1)
        h = h @ t[f"linear_{number}.weight"].T + t[f"linear_{number}.bias"]
        if number <= len(sizes):
            h = leaky(h)
    h = h[:, 0]
    return torch.sigmoid(h) if family == "imnet-2019" else torch.maximum(torch.minimum(h, 0.01 * h + 0.99), 0.01 * h)


@pytest.mark.parametrize("family", FAMILIES)
def test_imported_weights_compute_the_published_formulas(family: str, tmp_path: Path, stores: Stores) -> None:
    tensors = upstream(family)
    torch.save(tensors, tmp_path / "model.pth")
    bundle_folder = tmp_path / "bundle"
    command = [sys.executable, "-m", "jobs.cli", "weights", "import", str(tmp_path / "model.pth"), str(bundle_folder)]
    done = subprocess.run([*command, "--family", family], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    bundle = weights.load(str(bundle_folder), stores)
    images = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1))
    latents = encode(bundle.encoder, images, batch=2)
    expected = formula_latent(tensors, images[:, None])
    assert (latents.double() - expected).abs().max() < 1e-5

    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(2)) - 0.5
    values = bundle.decoder.occupancy(bundle.decoder(points[None], expected[:1].float()))[0]
    assert (values.double() - formula_occupancy(tensors, family, points, expected[0])).abs().max() < 1e-5
    assert expected.std() > 0.01
    assert values.std() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_the_field_is_zero_where_the_occupancy_is_the_threshold(family: str) -> None:
    torch.manual_seed(0)
    decoder = Decoder(family, LATENT, WIDTH).eval()
    lattice = Lattice(16)
    latents = torch.rand(3, LATENT)
    keys = torch.cat([lattice.keys(shape, torch.randint(0, 16, (200, 3))).unique() for shape in range(3)])
    shape, _ = lattice.split(keys)
    threshold = 0.4
    field = LatticeField(decoder, latents, lattice, threshold, chunk_points=64)(keys)
    for number in range(3):
        mine = shape == number
        occupancy = decoder.occupancy(decoder(lattice.positions(keys[mine])[None], latents[number : number + 1]))[0]
        assert torch.equal(field[mine] > 0, occupancy > threshold)
        assert torch.allclose(decoder.occupancy(field[mine] + decoder.level(threshold)), occupancy, atol=1e-6)


def test_a_value_does_not_depend_on_its_neighbours_in_a_chunk() -> None:
    torch.manual_seed(0)
    decoder, lattice = Decoder("imnet-2019", 128, 32).eval(), Lattice(64)
    latents = torch.rand(4, 128)
    keys = torch.cat([lattice.keys(shape, torch.randint(0, 64, (3000, 3))).unique() for shape in range(4)])
    together = LatticeField(decoder, latents, lattice, 0.5, 4096)(keys)
    for shape in range(4):
        mine = keys // lattice.points == shape
        alone = LatticeField(decoder, latents[shape : shape + 1], lattice, 0.5, 4096)(
            keys[mine] - shape * lattice.points
        )
        assert torch.equal(alone, together[mine])


def test_a_latent_does_not_depend_on_its_neighbours_in_a_batch() -> None:
    torch.manual_seed(0)
    encoder, images = Encoder(32, 8).eval(), torch.rand(5, 128, 128)
    crowd = encode(encoder, images, batch=4)
    for row in range(5):
        assert torch.equal(encode(encoder, images[row : row + 1], batch=4)[0], crowd[row])


def small_bundle(folder: Path, **changes: object) -> weights.BundleConfig:
    config = weights.BundleConfig.model_validate(
        {
            "name": "small", "family": "imnet-2019", "latent_size": LATENT, "decoder_width": WIDTH,
            "encoder_width": WIDTH, "framing": {"mode": "fit"}, **changes,
        }
    )  # fmt: skip
    torch.manual_seed(0)
    weights.save(folder, config, Encoder(LATENT, WIDTH), Decoder(config.family, LATENT, WIDTH))
    return config


def test_a_bundle_survives_a_round_trip_and_its_digest_names_its_content(tmp_path: Path, stores: Stores) -> None:
    config = small_bundle(tmp_path / "a", categories=("chair",))
    loaded = weights.load(str(tmp_path / "a"), stores)
    assert loaded.config == config
    small_bundle(tmp_path / "b", categories=("chair",))
    small_bundle(tmp_path / "c", categories=("table",))
    assert weights.digest(str(tmp_path / "b"), stores) == loaded.digest
    assert weights.digest(str(tmp_path / "c"), stores) != loaded.digest


def test_the_cache_is_filled_once_and_refuses_a_replaced_bundle(tmp_path: Path, stores: Stores) -> None:
    small_bundle(tmp_path / "a")
    uri, digest = str(tmp_path / "a"), weights.digest(str(tmp_path / "a"), stores)
    weights.load_cached(uri, digest, stores, tmp_path / "cache", device="cpu")
    small_bundle(tmp_path / "a", categories=("table",))
    assert weights.load_cached(uri, digest, stores, tmp_path / "cache", device="cpu").digest == digest
    with pytest.raises(RequestError, match="new run"):
        weights.load_cached(uri, digest, stores, tmp_path / "other cache", device="cpu")
    with pytest.raises(RequestError, match="new run"):
        weights.load_cached(uri, digest, stores, tmp_path / "other cache", device="cpu")


def _break_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "cannot be read as a bundle"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: _break_config(folder, latent_size="many"), "latent_size"),
        (lambda folder: _break_config(folder, colour="red"), "colour"),
        (lambda folder: _break_config(folder, latent_size=LATENT + 1), "shape"),
        (lambda folder: _break_config(folder, family="imnet-improved"), "linear_"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04pickle"), "not a safetensors file"),
    ],
)
def test_a_bad_bundle_is_one_sentence(damage, sentence: str, tmp_path: Path, stores: Stores) -> None:  # type: ignore[no-untyped-def]
    small_bundle(tmp_path / "bundle")
    damage(tmp_path / "bundle")
    with pytest.raises(RequestError, match=sentence) as caught:
        weights.load(str(tmp_path / "bundle"), stores)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, stores: Stores) -> None:
    config = small_bundle(tmp_path / "a")
    decoder = Decoder("imnet-2019", LATENT, WIDTH)
    with torch.no_grad():
        decoder.linear_1.bias[3] = torch.nan
    weights.save(tmp_path / "b", config, Encoder(LATENT, WIDTH), decoder)
    with pytest.raises(RequestError, match="not finite"):
        weights.load(str(tmp_path / "b"), stores)


def test_a_pickle_in_disguise_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    torch.save({"generator.linear_1.weight": Trap()}, tmp_path / "model.pth")
    with pytest.raises(RequestError, match="holds tensors only"):
        weights.import_state_dict(
            tmp_path / "model.pth", name="x", family="imnet-2019", framing=Framing(), categories=()
        )
    assert not (tmp_path / "sprung").exists()


def test_an_incomplete_state_dict_names_what_is_missing(tmp_path: Path) -> None:
    tensors = upstream("imnet-improved")
    del tensors["img_encoder.res_3.bn_s.bias"]
    torch.save({"state_dict": tensors}, tmp_path / "model.pth")
    with pytest.raises(RequestError, match=r"blocks\.2\.downsample\.1\.bias"):
        weights.import_state_dict(
            tmp_path / "model.pth", name="x", family="imnet-improved", framing=Framing(), categories=()
        )
