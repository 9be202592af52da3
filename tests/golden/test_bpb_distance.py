"""Distances against vectors made with the released code of BPBreID."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.metrics.official import bpbreid_official
from partreid.types import Embeddings

GOLDEN = np.load(Path(__file__).with_name("bpb_part_distance.npz"))
NAMES = tuple(f"part{m}" for m in range(6))


def side(which: str, seen: str, scale: str = "") -> Embeddings:
    vectors = torch.from_numpy(GOLDEN[f"{which}f{scale}"])
    if seen == "none":
        return Embeddings.visible(vectors, NAMES)
    return Embeddings(vectors, torch.from_numpy(GOLDEN[f"{which}v_{seen}"]).float(), NAMES)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    "seen, combine",
    [("none", "mean"), ("none", "max"), ("bool", "mean"), ("bool", "max"), ("cont", "mean")],
)
def test_released_rules(seen: str, metric: str, combine: str) -> None:
    key = f"norm/{seen}/{combine}/{metric}/dist"
    got = bpbreid_official(
        side("q", seen),
        side("g", seen),
        metric,
        combine,  # type: ignore[arg-type]
        continuous=seen == "cont",
    )
    # gallery 3 is query 2: the square root of what cancellation leaves
    np.testing.assert_allclose(got[2, 3], GOLDEN[key][2, 3], atol=2e-3)
    got[2, 3] = torch.tensor(GOLDEN[key][2, 3])
    np.testing.assert_allclose(got, GOLDEN[key], atol=2e-4)


@pytest.mark.parametrize(
    "metric, scale, prefix",
    [
        ("cosine", "", "norm/{}/mean/cosine"),
        ("unit_euclidean", "", "norm/{}/mean/euclidean"),
        ("euclidean", "_norm", "norm/{}/mean/euclidean"),
        ("euclidean", "", "raw/{}/mean/euclidean"),
    ],
)
@pytest.mark.parametrize("seen", ["none", "bool"])
def test_mean_over_shared_parts(metric: str, scale: str, prefix: str, seen: str) -> None:
    """With binary visibilities our one formula is the released one wherever something is shared."""
    q, g = side("q", seen, scale), side("g", seen, scale)
    got = PartDistance(metric)(q, g).numpy()  # type: ignore[arg-type]
    want = GOLDEN[prefix.format(seen) + "/dist"]
    nothing = (q.visibility @ g.visibility.T == 0).numpy()
    assert np.isinf(got[nothing]).all() and (nothing.any() == (seen == "bool"))
    loose = 2e-3 if metric != "cosine" else 2e-4
    np.testing.assert_allclose(got[2, 3], want[2, 3], atol=loose)
    got[2, 3] = want[2, 3]
    np.testing.assert_allclose(got[~nothing], want[~nothing], atol=2e-4)


@pytest.mark.parametrize(
    "metric, key",
    [
        ("unit_euclidean", "norm/none/mean/euclidean/parts"),
        ("euclidean", "raw/none/mean/euclidean/parts"),
        ("cosine", "norm/none/mean/cosine/parts"),
    ],
)
def test_distances_of_each_part(metric: str, key: str) -> None:
    got = PartDistance(metric).per_part(side("q", "none"), side("g", "none")).numpy()  # type: ignore[arg-type]
    np.testing.assert_allclose(got, GOLDEN[key], atol=2e-3)
    got[:, 2, 3] = GOLDEN[key][:, 2, 3]
    np.testing.assert_allclose(got, GOLDEN[key], atol=2e-4)
