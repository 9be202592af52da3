"""MagnifierNet's recipes hold the paper's numbers and differ where its rows differ."""

import pytest

from partreid.methods.magnifier import recipes
from partreid.recipes import find

GLOBAL = ("id_global", "triplet_global")
ROWS = {r.name.removeprefix("magnifier/"): r for r in recipes.ROWS}


def test_two_stages_with_the_paper_s_numbers() -> None:
    first, second = ROWS["table1/market1501"].stages
    assert (first.epochs, first.lr, first.warmup, first.drop_at) == (460, 3.5e-4, 10, (153, 268))
    assert (second.epochs, second.lr, second.warmup, second.drop_at) == (40, 1e-3, 0, ())
    assert (first.weights["diversity"], second.weights["diversity"]) == (0.0, 2e-3)
    assert first.weights["mask"] == second.weights["mask"] == 2.0
    assert ROWS["table1/market1501"].size == (384, 192)
    assert ROWS["literal"].stages[0].drop_at == (40, 70) and ROWS["safe"].stages[1].lr == 3.5e-5


def test_table_1_with_and_without_re_ranking() -> None:
    for data in ("cuhk03_labeled", "cuhk03_detected", "dukemtmc", "market1501"):
        plain, reranked = ROWS[f"table1/{data}"], ROWS[f"table1/{data}/reranked"]
        assert plain.expect is not None and reranked.expect is not None
        assert (reranked.expect.mAP or 0) > (
            plain.expect.mAP or 0
        ) and plain.digest == reranked.digest
        assert "--rerank" in reranked.notes[0]


@pytest.mark.parametrize("data", ["cuhk03_labeled", "dukemtmc"])
def test_table_2_adds_one_thing_at_a_time(data: str) -> None:
    rows = [
        ROWS[f"table2/{data}/{name}"]
        for name in ("g", "g+m", "g+m+sab", "g+m+sfb", "g+m+sab+sfb", "g+m+sab+sfb+sd")
    ]
    terms = [set(r.terms) for r in rows]
    assert terms[0] == set(GLOBAL) and rows[0].method.name == "bot" and not rows[0].cues
    assert terms[1] - terms[0] == {"mask"}
    assert terms[2] - terms[1] == {"id_adversarial", "triplet_adversarial"}
    assert terms[3] - terms[1] == {"id_fusion", "triplet_fusion", "id_parts", "triplet_parts"}
    assert terms[4] == terms[2] | terms[3] and terms[5] - terms[4] == {"diversity"}
    assert [len(r.stages) for r in rows] == [1, 1, 1, 1, 1, 2] and len(
        {r.digest for r in rows}
    ) == 6
    best = [r.expect.mAP for r in rows if r.expect is not None and r.expect.mAP is not None]
    assert len(best) == 6 and max(best) == best[5] and min(best) == best[0]


def test_figures_without_numbers_expect_none() -> None:
    figures = [r for name, r in ROWS.items() if name.startswith("figure")]
    assert len(figures) == 8 and all(
        r.expect is None and "diversity" not in r.terms for r in figures
    )
    settings = {
        (r.method.args.get("sampling", "random_torso"), r.method.args.get("keep", 4))
        for r in figures
        if r.name.startswith("magnifier/figure5")
    }
    assert settings == {(s, k) for s in ("random_torso", "random_baseline") for k in (2, 4, 6)}


def test_the_synthetic_rows_train_as_they_test_and_one_row_does_as_the_paper() -> None:
    as_at_test = {"train_source": "predicted", "infer": "soft", "infer_background": False}
    for name in ("synthetic/small/magnifier", "magnifier/table2/cuhk03_labeled/g+m+sab@small"):
        assert dict(find(name).method.args) == as_at_test
        assert "probabilities in training too" in " ".join(find(name).notes)
    assert dict(ROWS["control/as-at-test"].method.args) == as_at_test
    assert dict(find("magnifier/control/as-written@small").method.args) == {
        "train_source": "pseudo", "infer": "hard", "infer_background": True,
    }  # fmt: skip
    assert not ROWS["table1/market1501"].method.args
