"""The decoder's evaluation: precision, regions and chunks, and that a value is its own key's and shape's alone."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from benchmarks.paper_size import widen
from cluster.errors import RequestError
from workers import precision
from workers.chunks import Chunks
from workers.decoder import Decoder, Family, LatticeField
from workers.grid import Lattice
from workers.precision import Precision
from workers.regions import Prepared, Regions

Evaluate = Callable[[Tensor, Tensor | None], Tensor]

FAMILIES = ["imnet-2019", "imnet-improved"]
EVALUATORS = [Regions, Chunks]
on_native = pytest.mark.skipif(not precision.is_native("cpu"), reason="the processor has no bfloat16")
PRECISIONS = ["float32", pytest.param("bfloat16", marks=on_native)]
SHAPES = 3


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as an actor does; where other processes want the cores, threads wait for each other
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def steep(family: Family, width: int = 16) -> Decoder:
    """A decoder whose output depends on the point: as initialised it hardly does."""
    decoder = Decoder(family, 16, width).eval()
    for weights in decoder.parameters():
        weights *= 2
    return decoder


def some(lattice: Lattice, each: int = 700) -> Tensor:
    """Sorted keys of SHAPES shapes: a crowded corner, and a few anywhere."""
    keys = []
    for shape in range(SHAPES):
        side = min(12, lattice.resolution)
        ijk = torch.cat([torch.randint(0, side, (each, 3)), torch.randint(0, lattice.resolution, (each // 7, 3))])
        keys.append(lattice.keys(shape, ijk))
    return torch.cat(keys).unique()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("width", [8, 13, 24])
def test_a_widened_decoder_is_the_same_function(family: Family, width: int) -> None:
    decoder = steep(family, 8)
    points, latents = torch.rand(2, 200, 3) - 0.5, torch.rand(2, 16)
    wide = widen(decoder, width, seed=1)
    assert wide.layers[-1].in_features == width
    expected = decoder(points, latents)
    assert expected.std() > 0.01
    torch.testing.assert_close(wide(points, latents), expected, rtol=0, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("kind", PRECISIONS)
@pytest.mark.parametrize("resolution", [8, 100])
def test_values_are_those_of_the_decoder_in_float64(
    family: Family, evaluator: type[Regions | Chunks], kind: Precision, resolution: int
) -> None:
    decoder, latents, lattice = steep(family), torch.rand(SHAPES, 16), Lattice(resolution)
    evaluate = evaluator(Prepared(decoder, kind), decoder.biases(latents), lattice, 256)
    keys = some(lattice)
    shape, _ = lattice.split(keys)
    ahead = torch.rand(len(keys), 3)
    double = decoder.double()
    for points, found in (
        (lattice.positions(keys), evaluate(keys, None)),
        (lattice.positions(keys) + ahead / resolution, evaluate(keys, ahead)),
    ):
        expected = torch.empty(len(keys), dtype=torch.float64)
        for number in range(SHAPES):
            mine = shape == number
            expected[mine] = double(points[mine].double()[None], latents[number : number + 1].double())[0]
        allowed = 1e-6 if kind == "float32" else 5e-3
        assert (found - expected).abs().max() < allowed * expected.abs().max()
        assert expected.std() > 10 * allowed * expected.abs().max()


def test_a_region_in_which_no_unit_bends() -> None:
    """All of the first layer's planes lie outside the cube, as those of a narrow decoder may."""
    decoder, latents, lattice = steep("imnet-2019", 1), torch.rand(1, 16), Lattice(8)
    decoder.layers[0].bias += 100
    keys = lattice.keys(0, torch.cartesian_prod(*[torch.arange(8)] * 3))
    found = Regions(Prepared(decoder), decoder.biases(latents), lattice, 256)(keys, None)
    torch.testing.assert_close(found, decoder(lattice.positions(keys)[None], latents)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("kind", PRECISIONS)
def test_a_value_depends_on_its_key_and_shape_alone(evaluator: type[Regions | Chunks], kind: Precision) -> None:
    decoder, latents, lattice = steep("imnet-2019"), torch.rand(SHAPES, 16), Lattice(64)
    prepared = Prepared(decoder, kind)

    def field(which: Tensor) -> Evaluate:
        shares = [decoder.biases(latent) for latent in which.split(1)]
        return evaluator(prepared, [torch.cat(layer) for layer in zip(*shares, strict=True)], lattice, 256)

    keys = some(lattice)
    together = field(latents)
    values = together(keys, None)
    assert torch.equal(together(keys, None), values)  # what was kept of the first time changes nothing
    for number in range(SHAPES):
        mine = keys // lattice.points == number
        few = keys[mine][torch.rand(int(mine.sum())) < 0.2]
        alone = field(latents[number : number + 1])
        assert torch.equal(alone(few - number * lattice.points, None), values[torch.isin(keys, few)])
        assert torch.equal(alone(few[:1] - number * lattice.points, None), values[keys == few[0]])


def test_regions_forgotten_and_prepared_again_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, latents, lattice = steep("imnet-2019"), torch.rand(SHAPES, 16), Lattice(128)
    keys = some(lattice)
    expected = LatticeField(decoder, latents, lattice, 0.5, 256)(keys)
    monkeypatch.setattr("workers.regions._MOST", 6)
    field = LatticeField(decoder, latents, lattice, 0.5, 256)
    assert torch.equal(field(keys), expected)
    assert torch.equal(field(keys), expected)
    assert isinstance(field._evaluate, Regions)
    assert len(field._evaluate._known) <= 6


def test_a_point_between_two_samples() -> None:
    decoder, latents, lattice = steep("imnet-2019"), torch.rand(1, 16), Lattice(64)
    keys = lattice.keys(0, torch.cartesian_prod(*[torch.tensor([0, 14, 15, 31])] * 3))  # also at regions' borders
    field = LatticeField(decoder, latents, lattice, 0.5, 256)
    for axis, step in enumerate(lattice.steps):
        ends = torch.zeros(len(keys)), torch.ones(len(keys))
        torch.testing.assert_close(field.between(keys, axis, ends[0]), field(keys), rtol=0, atol=1e-6)
        torch.testing.assert_close(field.between(keys, axis, ends[1]), field(keys + step), rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_gpu_computes_what_a_cpu_does(kind: Precision) -> None:
    decoder, latents, lattice = steep("imnet-2019", 128), torch.rand(SHAPES, 16), Lattice(64)
    keys = some(lattice)
    expected = LatticeField(decoder, latents, lattice, 0.5, 256)(keys)
    on_gpu = decoder.cuda()
    field = LatticeField(on_gpu, latents.cuda(), lattice, 0.5, 4096, Prepared(on_gpu, kind))
    found = field(keys.cuda()).cpu()
    assert (found - expected).abs().max() < (1e-5 if kind == "float32" else 5e-3) * expected.abs().max()
    assert torch.equal(field(keys[:50].cuda()).cpu(), found[:50])


def test_which_precision_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "is_native", lambda device: True)
    assert [precision.choose(asked, "cpu", 128) for asked in ("auto", "float32", "bfloat16")] == [
        "bfloat16", "float32", "bfloat16",
    ]  # fmt: skip
    assert precision.choose("auto", "cpu", 32) == "float32"
    monkeypatch.setattr(precision, "is_native", lambda device: False)
    assert precision.choose("auto", "cpu", 128) == precision.choose("float32", "cpu", 128) == "float32"
    with pytest.raises(RequestError, match=r"^reconstruct\.precision is bfloat16, which a node's processor does not"):
        precision.choose("bfloat16", "cpu", 128)
