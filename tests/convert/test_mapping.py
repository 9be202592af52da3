"""Rules, rows and shapes of the renaming, and the numbers of its report."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partreid.convert.mapping import first, match
from partreid.convert.report import SHOWN, share, some

OURS = {
    "a.weight": torch.zeros(2, 3),
    "id.neck.num_batches_tracked": torch.tensor(0),
    "id.rows": torch.zeros(2, 3, 4),
    "id.flat": torch.zeros(6),
    "free": torch.zeros(5),
}
RULES = (
    (r"A\.(\w+)", r"nowhere.\1|a.\1"),
    (r"rows\.(\d)", r"id.rows#\1"),
    (r"flat\.(\d)", r"id.flat#\1"),
    (r"head", "id.absent"),
    (r"count", "id.neck.num_batches_tracked"),
)


def test_every_tensor_is_accounted_for() -> None:
    rows = [torch.rand(3, 4), torch.rand(3, 4)]
    theirs = {
        "A.weight": torch.rand(1, 2, 3),
        "rows.1": rows[1],
        "rows.0": rows[0],
        "flat.0": torch.arange(3.0),
        "flat.1": torch.arange(3.0) + 3,
        "head": torch.ones(7),
        "junk.x": torch.ones(9),
        "odd": torch.ones(8),
        "count": torch.tensor([4]),
    }
    mapping = match(theirs, OURS, RULES, ((r"junk\.(\w)", r"junk \1"),), ("free",))
    assert torch.equal(mapping.tensors["a.weight"], theirs["A.weight"][0])
    assert torch.equal(mapping.tensors["id.rows"], torch.stack(rows))
    assert torch.equal(mapping.tensors["id.flat"], torch.arange(6.0))
    assert mapping.tensors["id.neck.num_batches_tracked"] == 4
    assert mapping.dropped == {"head": "heads that no loss of the recipe uses", "junk.x": "junk x"}
    assert (
        mapping.unexpected == ("odd",)
        and mapping.fresh == ("free",)
        and not mapping.missing
        and not mapping.misshaped
    )
    assert mapping.share_of_ours == 1  # what may stay as it is does not count
    assert mapping.share_of_theirs == pytest.approx((6 + 24 + 6 + 1) / (6 + 24 + 6 + 1 + 8))
    assert {name for name, _ in mapping.used} == {
        "A.weight",
        "rows.0",
        "rows.1",
        "flat.0",
        "flat.1",
        "count",
    }
    json.dumps(mapping.to_dict())
    text = "\n".join(mapping.lines())
    for word in ("odd", "free", "head", "junk.x", "6 tensors used"):
        assert word in text


def test_what_does_not_fit() -> None:
    mapping = match(
        {"A.weight": torch.ones(3, 2), "rows.0": torch.ones(3, 4), "flat.1": torch.ones(6)},
        OURS,
        RULES,
    )
    assert {(theirs, ours) for theirs, _, ours, _ in mapping.misshaped} == {
        ("A.weight", "a.weight"),
        ("rows.0", "id.rows"),
        ("flat.1", "id.flat"),
    }
    assert mapping.missing == ("free",) and mapping.share_of_ours == 0 and not mapping.tensors
    assert "of another shape: A.weight [3, 2] for a.weight [2, 3]" in mapping.lines()[-1]
    twice = match(
        {"A.weight": torch.ones(2, 3), "B.weight": torch.ones(2, 3)},
        OURS,
        ((r"\w\.weight", "a.weight"),),
    )
    assert twice.unexpected == ("B.weight",)  # the second is not put over the first in silence
    swapped = match({"rows.0": torch.ones(4, 3), "rows.1": torch.ones(4, 3)}, OURS, RULES)
    assert swapped.misshaped[0][1] == (2, 4, 3)


def test_first_rule_wins_and_must_fit_the_whole_name() -> None:
    rules = ((r"a\.b", "one"), (r"a\..*", "two"))
    assert [first(name, rules) for name in ("a.b", "a.bc", "xa.b")] == ["one", "two", None]


@given(st.floats(0, 1))
def test_a_share_says_all_only_of_all(part: float) -> None:
    assert (share(part) == "100 %") == (part == 1)


def test_long_lists_are_cut() -> None:
    names = [f"n{i}" for i in range(SHOWN + 3)]
    assert some(names).endswith(f"n{SHOWN - 1} and 3 more") and some(names[:2]) == "n0, n1"
