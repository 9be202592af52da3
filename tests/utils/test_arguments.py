"""What public functions take is said at the door: whatever else comes is refused in one
sentence.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from partreid import build, losses
from partreid.distance import PartDistance, shared, typical
from partreid.errors import ArgumentError, PartReidError
from partreid.inference import Model, crop_paths, listed, load, save_embeddings
from partreid.methods import METHODS
from partreid.methods.bpbreid.model import BPBreID
from partreid.methods.hcga.model import HCGA
from partreid.metrics import (
    average_precision,
    bootstrap_difference,
    bootstrap_ranking,
    bootstrap_roc,
    bootstrap_searches,
    bootstrap_values,
    cumulative_matches,
    difference_over_seeds,
    ece,
    evaluate,
    evaluate_embeddings,
    inverse_negative_penalty,
    match_ranks,
    over_seeds,
    rank,
    reliability,
    risk_coverage,
    roc_curve,
    searches,
)
from partreid.retrieval import Expansion, KReciprocal, nearest, pooled
from partreid.types import Batch, Embeddings, PartMaps, PartScheme
from partreid.utils.arguments import check, fits, integer, number, quoted, words

STRANGE: tuple[Any, ...] = (7, None, b"bytes", {"a": 1}, object(), "text", 1.5)
E = Embeddings(torch.rand(3, 2, 4), torch.ones(3, 2), ("head", "legs"))
IDS = torch.tensor([1, 1, 2])
COSINE = PartDistance("cosine")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, (1, np.int64(3)), (True, 1.0, "1", None)),
        (float, (1, 1.5, np.float32(2)), (True, "1", None)),
        (str, ("a",), (b"a", Path("a"), None)),
        (bool, (True,), (1, "true")),
        (Path, (Path("a"),), ("a", None)),
        (str | Path, ("a", Path("a")), (b"a", 1)),
        (int | None, (1, None), ("",)),
        (Literal["a", "b"], ("a",), ("c", None, 1)),
        (Sequence[int], ([1], (1, 2)), ([1.5], "12", {1: 2}, {1, 2}, 3)),
        (tuple[int, int], ((1, 2), [1, 2]), ((1,), (1, "2"))),
        (tuple[str, ...], ((), ("a",)), ("a", ("a", 1))),
        (Iterable[str | Path], (["a"], (p for p in ["a"])), (b"ab", "ab", {"a": 1}, [1])),
        (Mapping[str, int], ({"a": 1},), ([("a", 1)], None)),
        (Callable[[int], int], (len,), (1, "len")),
        (torch.Tensor, (torch.ones(1),), (np.ones(1), [1.0])),
        (Any, (None, 1), ()),
    ],
)
def test_values_fit_their_annotations(
    kind: Any, good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    assert all(fits(value, kind) for value in good) and not any(fits(value, kind) for value in bad)
    assert words(kind)


def test_a_sentence_says_what_is_taken_and_what_came() -> None:
    def paint(color: Literal["red"], size: int, more: Sequence[str] = ()) -> None:
        check(paint, locals())

    paint("red", 3, ["a"])
    for given, words_ in (
        (("blue", 3), "color must be one of 'red', got 'blue'"),
        (("red", "3"), "size must be a whole number, got '3'"),
        (("red", 3, "abc"), "more must be a list whose entries are each a text, got 'abc'"),
    ):
        with pytest.raises(ArgumentError, match=words_):
            paint(*given)  # type: ignore[arg-type]
    for value in (0, 11, True, 2.0, None, float("nan")):
        with pytest.raises(ArgumentError, match="n must be a whole number from 1 to 10, got"):
            integer("n", value, 1, 10)
    for value in (0, 1, float("nan"), float("inf"), "0.5", None, True):
        with pytest.raises(
            ArgumentError, match="p must be a number from 0 to 1, both excluded, got"
        ):
            number("p", value, 0, 1, open_=True)
    assert issubclass(ArgumentError, TypeError) and issubclass(ArgumentError, ValueError)


def test_values_are_quoted_in_short() -> None:
    assert len(quoted("x" * 10_000)) < 100 and len(quoted(list(range(10_000)))) < 100
    assert quoted(10**5000) == "a whole number of 16610 bits"  # which Python would not print
    assert (
        quoted(torch.zeros(2, 3)) == "Tensor of shape (2, 3)"
        and quoted(object()) == "a value of type object"
    )


def trunk() -> nn.Module:
    made = nn.Conv2d(3, 8, 1)
    made.channels, made.stride = 8, 1  # type: ignore[assignment]
    return made


DOORS: dict[str, Callable[[Any], Any]] = {
    "load": load,
    "load device": lambda x: load("gone", x),
    "crop_paths": crop_paths,
    "listed": listed,
    "save_embeddings": lambda x: save_embeddings(x, [], Path()),
    "Embeddings vectors": lambda x: Embeddings(x, torch.ones(1, 1), ("a",)),
    "Embeddings visibility": lambda x: Embeddings(torch.ones(1, 1, 1), x, ("a",)),
    "Embeddings names": lambda x: Embeddings(torch.ones(1, 1, 1), torch.ones(1, 1), x),
    "Embeddings.single": lambda x: Embeddings.single("a", x),
    "Embeddings.seen": lambda x: Embeddings.visible(x, ("a",)),
    "Embeddings.cat": lambda x: Embeddings.cat(E, x),
    "Embeddings.stack": Embeddings.stack,
    "Embeddings.rows": lambda x: E.rows(x),
    "Embeddings.select": lambda x: E.select(x),
    "PartScheme": PartScheme,
    "PartMaps": lambda x: PartMaps(x, PartScheme(("a",))),
    "Batch": lambda x: Batch(x, IDS, IDS),
    "Batch ids": lambda x: Batch(torch.ones(3, 3, 2, 2), x, IDS),
    "PartDistance": PartDistance,
    "PartDistance weights": lambda x: PartDistance("cosine", 7 if x is None else x),
    "distance": lambda x: COSINE(E, x),
    "distance.blocks": lambda x: list(COSINE.blocks(E, x)),
    "distance.tiles": lambda x: list(COSINE.tiles(x, E)),
    "distance.within": COSINE.within,
    "distance.per_part": lambda x: COSINE.per_part(x, E),
    "distance.terms": lambda x: COSINE.terms(E, x),
    "shared": lambda x: shared(E, x),
    "typical": lambda x: typical(x, E),
    "id_loss": lambda x: losses.id_loss(x, IDS),
    "id_loss ids": lambda x: losses.id_loss(torch.rand(3, 4), x),
    "mine_hardest": lambda x: losses.mine_hardest(x, IDS),
    "margin_loss": lambda x: losses.margin_loss(x, x),
    "hard_triplet": lambda x: losses.hard_triplet(x, IDS),
    "hard_triplet ids": lambda x: losses.hard_triplet(E, x),
    "hard_triplet combine": lambda x: losses.hard_triplet(E, IDS, 0.3, x),
    "part_loss": lambda x: losses.part_loss(x, torch.zeros(1, 2, 2)),
    "mask_loss": lambda x: losses.mask_loss(torch.rand(1, 2, 2, 2), x),
    "diversity_loss": losses.diversity_loss,
    "center_loss": lambda x: losses.center_loss(x, torch.rand(3, 4), IDS, 1.0),
    "evaluate": lambda x: evaluate(x, q_ids=IDS, g_ids=IDS),
    "evaluate distractor": lambda x: evaluate(
        torch.rand(3, 3), q_ids=IDS, g_ids=IDS, distractor=1.5 if x in (7, None) else x
    ),
    "evaluate_embeddings": lambda x: evaluate_embeddings(x, E, E, q_ids=IDS, g_ids=IDS),
    "evaluate_embeddings gallery": lambda x: evaluate_embeddings(
        COSINE, E, x, q_ids=IDS, g_ids=IDS
    ),
    "evaluate_embeddings ids": lambda x: evaluate_embeddings(COSINE, E, E, q_ids=x, g_ids=IDS),
    "evaluate_embeddings ks": lambda x: evaluate_embeddings(
        COSINE, E, E, q_ids=IDS, g_ids=IDS, ks=x
    ),
    "rank": lambda x: rank(x, q_ids=IDS, g_ids=IDS),
    "nearest": lambda x: nearest(COSINE, E, x, 1),
    "nearest k": lambda x: nearest(COSINE, E, E, None if x == 7 else x),  # type: ignore[arg-type]
    "KReciprocal": lambda x: KReciprocal(None if x == 7 else x),
    "KReciprocal(...)": lambda x: KReciprocal()(x, E, E),
    "Expansion": lambda x: Expansion(None if x == 7 else x),
    "pooled": lambda x: pooled(x, q_ids=IDS, q_cams=IDS),
    "bootstrap_ranking": bootstrap_ranking,
    "bootstrap_difference": lambda x: bootstrap_difference(x, x),
    "bootstrap_values": lambda x: bootstrap_values(x, x),
    "bootstrap_roc": lambda x: bootstrap_roc(x, q_ids=x),
    "bootstrap_searches": lambda x: bootstrap_searches(x, q_ids=x),
    "over_seeds": over_seeds,
    "difference_over_seeds": lambda x: difference_over_seeds(x, x),
    "roc_curve": lambda x: roc_curve(x, q_ids=IDS, g_ids=IDS),
    "searches": lambda x: searches(x, q_ids=x, g_ids=IDS),
    "match_ranks": lambda x: match_ranks(x, x, x),
    "average_precision": average_precision,
    "inverse_negative_penalty": inverse_negative_penalty,
    "cumulative_matches": lambda x: cumulative_matches(x, (1,)),
    "reliability": lambda x: reliability(x, [True]),
    "ece": lambda x: ece([0.5], x),
    "risk_coverage": lambda x: risk_coverage(x, [True]),
    "build.look_up": lambda x: build.look_up("thing", {}, x),
    "build.benchmark": lambda x: build.benchmark(x, Path("gone")),
    "build.device": build.device,
    "build.method": lambda x: build.method(x, 3, None),
    "build.cues": lambda x: build.cues(x, x),
    "build.augment": build.augment,
    "build.protocol": build.protocol,
    **{
        f"method {name}": lambda x, kind=kind: (
            kind(x, 3, PartScheme(("a",)), ())
            if "scheme" in kind.__init__.__annotations__
            else kind(x, 3, ())
        )
        for name, kind in METHODS.items()
    },
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_strange_things_in_one_sentence(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for strange in STRANGE:
        with pytest.raises(PartReidError) as refused:
            DOORS[door](strange)
        assert "\n" not in str(refused.value) and 10 < len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("call", "said_"),
    [
        (
            lambda: losses.hard_triplet(E, IDS, combine="avg"),
            "combine must be one of 'mean', .* got 'avg'",
        ),
        (
            lambda: losses.hard_triplet(E, IDS, -1.0),
            "margin must be a number of at least 0, got -1.0",
        ),
        (
            lambda: losses.id_loss(torch.rand(3, 4), IDS, 2.0),
            "smoothing must be a number from 0 to 1, got 2.0",
        ),
        (
            lambda: losses.id_loss(torch.rand(3, 4), IDS[:2]),
            r"identities must be whole numbers \[3\]",
        ),
        (
            lambda: Embeddings(torch.ones(1, 1, 2), torch.tensor([[2.0]]), ("a",)),
            "visibilities lie between .* got 2",
        ),
        (
            lambda: Embeddings(torch.ones(1, 1, 2), torch.tensor([[torch.nan]]), ("a",)),
            "visibilities .* got nan",
        ),
        (
            lambda: Embeddings(torch.ones(1, 1, 2), torch.tensor([[-0.1]]), ("a",)),
            "visibilities .* got -0.1",
        ),
        (lambda: E.rows([5]), "no such rows of 3 embeddings"),
        (lambda: Embeddings.cat(E, E.rows([0])), "as many rows each, got 3, 1"),
        (lambda: Embeddings.stack([]), "no embeddings to put together"),
        (lambda: COSINE(E, E.select("head")), "must have the same embeddings"),
        (
            lambda: BPBreID(trunk(), 3, PartScheme(("a",)), ("id_global",), visibility="argmx"),
            "visibility must be one of 'threshold', 'argmax', 'soft', 'none', got 'argmx'",
        ),
        (
            lambda: BPBreID(trunk(), 3, PartScheme(("a",)), ("id_global",), reduce="befor"),
            "reduce must be .*'befor'",
        ),
        (
            lambda: BPBreID(trunk(), 3, PartScheme(("a",)), ("id_globl",)),
            "no loss term 'id_globl'; it has id_global",
        ),
        (
            lambda: BPBreID(trunk(), 0, PartScheme(("a",)), ("id_global",)),
            "identities must be .* at least 1, got 0",
        ),
        (
            lambda: BPBreID(nn.Linear(1, 1), 3, PartScheme(("a",)), ()),
            "a trunk must be a module with .channels and .stride, of BACKBONES",
        ),
        (
            lambda: HCGA(trunk(), 3, PartScheme(("a",)), ("parsing",), matching="evn"),
            "matching must be one of .*'evn'",
        ),
        (
            lambda: BPBreID(trunk(), 3, PartScheme(("a",)), ("id_global",)).with_visibility(
                visibility="x"
            ),
            "visibility must be",
        ),
        (
            lambda: pooled(E, q_ids=[1, 2, 3], q_cams=[1, 1, 1], how="median"),
            "how must be one of 'mean', 'max'",
        ),
    ],
)
def test_values_that_once_passed_for_others_are_refused(
    call: Callable[[], Any], said_: str
) -> None:
    """hard_triplet(combine="avg") was "min"; BPBreID(visibility="argmx") saw everything."""
    with pytest.raises(PartReidError, match=said_):
        call()


def test_a_model_takes_what_it_says() -> None:
    for strange in STRANGE:
        with pytest.raises(PartReidError):
            Model(strange, strange, None)
