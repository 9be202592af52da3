"""Re-ranking on part distances: it brings friends of friends nearer, bears hidden parts, and says what it cannot do."""

import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.match import evaluate, rank
from partreid.match.rerank import KReciprocal
from partreid.types import Embeddings


def people(n: int, images: int, noise: float, seed: int) -> tuple[Embeddings, list[int]]:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(n, 1, 2, 8, generator=draw)
    vectors = (centres + noise * torch.randn(n, images, 2, 8, generator=draw)).flatten(0, 1)
    visibility = (torch.rand(n * images, 2, generator=draw) > 0.2).float()
    visibility[:, 0] = 1
    return Embeddings(vectors, visibility, ("a", "b")), [i for i in range(1, n + 1) for _ in range(images)]


def test_it_helps_where_people_have_several_images() -> None:
    e, ids = people(12, 8, 0.6, 3)
    query, gallery = e.rows(slice(0, 96, 8)), e.rows([i for i in range(96) if i % 8])
    q_ids, g_ids = ids[::8], [x for i, x in enumerate(ids) if i % 8]
    args = (q_ids, [1] * 12, g_ids, [2] * 84)
    plain = evaluate(PartDistance("cosine"), query, gallery, *args)
    done: list[tuple[int, int]] = []
    blocks = KReciprocal(k1=7, k2=3)(PartDistance("cosine"), query, gallery, rows=10,
                                     progress=lambda i, n: done.append((i, n)))
    again = rank(blocks, *args, shape=(12, 84))
    assert again.mAP > plain.mAP + 0.02
    assert done[-1] == (192, 192) and done == sorted(done)


def test_images_that_share_nothing_come_last_and_no_number_is_lost() -> None:
    e, _ = people(4, 4, 0.5, 0)
    e.visibility[:] = 1
    e.visibility[3], e.visibility[5] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for weight in (0.3, 1.0):  # 1: the original distance alone
        blocks = KReciprocal(k1=3, k2=2, weight=weight)(PartDistance("euclidean"), e.rows(slice(0, 4)),
                                                        e.rows(slice(4, 16)))
        found = torch.cat([block for _, block in blocks])
        assert found.isfinite().all()
    assert found[3, 1] == found[3].max() == 1


def test_a_gallery_smaller_than_k1() -> None:
    e, _ = people(2, 2, 0.1, 1)
    (_, block), = KReciprocal()(PartDistance("cosine"), e.rows([0]), e.rows([1, 2, 3]))
    assert block.shape == (1, 3) and block.isfinite().all()


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"k2": 30}, {"weight": 1.5}, {"power": 0}])
def test_senseless_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match="re-ranking needs"):
        KReciprocal(**wrong)  # type: ignore[arg-type]
