"""What a newcomer gets: the shipped pictures, through the shipped weights, by the shipped command."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from chromium import Browser, browser  # noqa: F401
from PIL import Image
from ray_fixtures import ray_session  # noqa: F401

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest
from jobs.cli import main
from workers import mesh, weights
from workers.decoder import LatticeField
from workers.encoder import IMAGE_SIZE, encode
from workers.grid import Lattice
from workers.images import decode, key_out, prepare
from workers.isosurface import extract

PICTURES = sorted(path for path in Path(str(files("jobs.demo") / "images")).rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def demo(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:  # noqa: F811
    """Where the command `isofleet demo --json` wrote, and what it said on standard output and error."""
    output = tmp_path_factory.mktemp("demo") / "demo-output"
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["isofleet", "demo", str(output), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0, stderr.getvalue()
    return output, stdout.getvalue(), stderr.getvalue()


def test_the_demo_makes_a_checked_mesh_of_every_picture(demo: tuple[Path, str, str]) -> None:
    output, stdout, stderr = demo
    assert str(output / "report" / "index.html") in stderr
    assert (output / "report" / "index.html").is_file()

    rows = manifest.read(Stores(StoreSettings()), str(output)).to_pylist()
    assert len(rows) == len(PICTURES) >= 12
    assert len({row["category"] for row in rows}) >= 3
    for row in rows:
        assert row["status"] == "ok", row["error_message"]
        made = trimesh.load_mesh(io.BytesIO(Path(row["mesh_uri"]).read_bytes()), file_type="glb")
        assert made.is_watertight
        assert made.volume > 0
        assert (np.abs(made.vertices) < 0.5 + 1 / row["resolution"]).all()
    counts = json.loads(stdout)
    assert (counts["images"], counts["ok"], counts["failed"]) == (len(rows), len(rows), 0)
    with Image.open(output / "preview.png") as sheet:
        assert sheet.width > sheet.height > 300
        assert np.asarray(sheet).std() > 10


def test_the_demo_is_seen_in_a_browser_without_a_network(demo: tuple[Path, str, str], browser: Browser) -> None:  # noqa: F811
    browser.open((demo[0] / "report" / "index.html").as_uri())
    assert browser.texts("#figures dd")[:2] == [str(len(PICTURES)), "0"]
    browser.choose("category", "chair")
    browser.click("#grid .card")
    browser.until("document.getElementById('viewer-note').textContent.startsWith('All ')")
    assert all(address.startswith(("file:", "data:")) for address in browser.requests())
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def shipped() -> tuple[weights.Bundle, torch.Tensor]:
    """The embedded bundle, and the latents of one picture of each category."""
    bundle = weights.load(weights.EMBEDDED, Stores(StoreSettings()))
    inputs = [
        prepare(key_out(decode(path.read_bytes(), max_pixels=10**7)), bundle.config.framing, IMAGE_SIZE)
        for path in PICTURES[::4]
    ]
    return bundle, encode(bundle.encoder, torch.from_numpy(np.stack(inputs)), batch=1)


def test_the_shipped_bundle_is_small() -> None:
    folder = Path(str(files("workers.pretrained") / "embedded"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12_000_000


def test_one_bundle_serves_every_resolution(shipped) -> None:
    """Boxes agree within a cell of the coarser lattice. Volumes converge: what is thinner than a cell, such as an
    airplane's wing at 64³, is partly lost on the coarser one."""
    bundle, latents = shipped
    reports = {}
    for resolution in (64, 128, 256):
        lattice = Lattice(resolution)
        field = LatticeField(bundle.decoder, latents, lattice, bundle.config.threshold, 1024)
        reports[resolution] = [mesh.check(mesh.build(one)) for one in extract(field, lattice, len(latents))]
    for coarse, middle, fine in zip(*reports.values(), strict=True):
        assert all(report.watertight and report.volume > 0 for report in (coarse, middle, fine))
        assert np.abs(np.subtract(middle.bounds, fine.bounds)).max() < 1 / 128
        assert abs(middle.volume / fine.volume - 1) < 0.03
        assert abs(coarse.volume / fine.volume - 1) < 0.1


def test_the_default_agrees_with_dense_evaluation(shipped) -> None:
    bundle, latents = shipped
    lattice = Lattice(64)

    def field(rows: torch.Tensor) -> LatticeField:
        return LatticeField(bundle.decoder, rows, lattice, bundle.config.threshold, 1024)

    fast = extract(field(latents), lattice, len(latents))
    for latent, one in zip(latents.split(1), fast, strict=True):
        dense = extract(field(latent), lattice, 1, exact=True)[0]
        assert np.isin(one.indices, dense.indices).all()
        missed = ~np.isin(dense.indices, one.indices)
        assert (dense.values[missed] > 0).sum() <= 2  # a crumb beside the object: docs/extraction.md
        _, mine, theirs = np.intersect1d(one.indices, dense.indices, return_indices=True)
        assert np.array_equal(one.values[mine], dense.values[theirs])
        assert one.points_evaluated < dense.points_evaluated / 5
