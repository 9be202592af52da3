"""Re-ranking against matrices made with the released code, which holds everything at once."""

from pathlib import Path

import numpy as np
import pytest

from partreid.retrieval.k_reciprocal import KReciprocal

GOLDEN = np.load(Path(__file__).with_name("bpb_rerank.npz"))
CASES = [key for key in GOLDEN.files if "/k1=" in key]


@pytest.mark.parametrize("rows", [7, 100])
@pytest.mark.parametrize("key", CASES)
def test_same_as_the_dense_definition(key: str, rows: int) -> None:
    kind, settings = key.split("/")
    k1, k2, weight = (float(setting.split("=")[1]) for setting in settings.split(","))
    qq, qg, gg = (GOLDEN[f"{kind}/{side}"] for side in ("qq", "qg", "gg"))
    everyone = np.block([[qq, qg], [qg.T, gg]]).astype(np.float32)
    sizes: list[int] = []

    def far(span: slice) -> np.ndarray:
        sizes.append(span.stop - span.start)
        return everyone[span]

    blocks = list(KReciprocal(int(k1), int(k2), weight).blocks(far, len(qq), len(everyone), rows))
    assert [span.start for span, _ in blocks] == list(range(0, len(qq), rows))
    np.testing.assert_allclose(
        np.concatenate([block for _, block in blocks]), GOLDEN[key], atol=1e-5
    )
    assert max(sizes) <= rows  # never the whole matrix at once
