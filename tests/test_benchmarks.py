"""What benchmarks compare with does what it is said to do: otherwise their ratios mean nothing."""

import numpy as np
import pytest
import torch

from benchmarks import driver, published, schemes
from benchmarks.measure import Stopwatch, alone
from workers.decoder import Decoder

SCHEMES = {
    "imnet": schemes.imnet,
    "mise": schemes.mise,
    "plain": lambda ask, n: schemes.mise(ask, n, dilate=True),
}


class Ball:
    """A distance, and how often it was asked."""

    def __init__(self, centre: tuple[float, float, float], radius: float) -> None:
        self.centre, self.radius, self.asked = np.array(centre), radius, 0

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        self.asked += len(positions)
        return (self.radius - np.linalg.norm(positions - self.centre, axis=1)).astype(np.float32)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_finds_a_ball_and_counts_what_it_asks(name):
    ball = Ball((30.2, 33.7, 29.1), 17.3)
    found = SCHEMES[name](ball, 64)
    assert found.points == ball.asked < 64**3
    np.testing.assert_array_equal(found.values > 0, schemes.dense(ball, 64).values > 0)


def test_mise_loses_a_small_ball_between_its_corners_and_the_authors_find_one_that_holds_a_centre():
    between = Ball((66.0, 66.0, 66.0), 1.6)  # in a voxel of 4 samples that begins at 64; a frame's centre is at 65.5
    truth = schemes.dense(between, 128).values > 0
    assert truth.any()
    assert not (schemes.mise(between, 128).values > 0).any()
    np.testing.assert_array_equal(schemes.imnet(between, 128).values > 0, truth)


@pytest.mark.parametrize("family", ["imnet-2019", "imnet-improved"])
def test_the_published_decoder_is_ours(family):
    torch.manual_seed(3)
    decoder = Decoder(family, 16, 4).eval()
    points, latent = torch.rand(50, 3) - 0.5, torch.rand(16)
    with torch.inference_mode():
        ours = decoder(points[None], latent[None])[0]
    torch.testing.assert_close(published.field(decoder, points, latent), ours, atol=1e-5, rtol=1e-5)


def test_the_driver_runs_with_sleepers(ray_session: None) -> None:
    row = driver.run(decoders=2, images=96)
    assert row["images"] == 96
    assert row["images_per_second"] > 0


def spike() -> Stopwatch:
    with Stopwatch() as watch:
        np.ones(40 * 1024 * 1024 // 8).sum()
    return watch


def test_a_stopwatch_sees_the_memory_that_was_freed_again():
    watch = alone(spike)  # in this process, memory that earlier tests gave back could serve it
    assert 35 * 1024 * 1024 < watch.peak_bytes < 80 * 1024 * 1024
    assert watch.seconds > 0
