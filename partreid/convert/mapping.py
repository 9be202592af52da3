"""Their names to ours: rules tried in order, the first that fits wins."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from partreid.convert.report import Matched
from partreid.utils.arguments import door

Rules = Sequence[tuple[str, str]]  # (pattern that their whole name must fit, our name or a reason)
# ours that another choice of the recipe leaves out: theirs have no place then, and need none
UNUSED: Rules = (
    (r"id\..*", "heads that no loss of the recipe uses"),
    (r"part_head\..*", "a pixel classifier, where part maps are given"),
    (r"trunk\.reduce\..*|before\..*", "a reducer that the release makes and skips"),
)
# of batch norms, absent before PyTorch 0.4.1; nothing reads it here
COUNTER = "num_batches_tracked"


@door
def first(name: str, rules: Rules) -> str | None:
    """What the first rule that fits makes of a name, groups filled in."""
    for pattern, result in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(result)
    return None


@door
def match(
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    rules: Rules,
    dropped: Rules = (),
    optional: Sequence[str] = (),
) -> Matched:
    """Put every tensor where it belongs.

    A rule's result may give several of our names, ``a|b``: the first that exists is meant.
    ``name#3`` is row 3 of one of our tensors, which stacks what is several tensors there. Shapes
    may differ by dimensions of length 1. optional: patterns of our names that may stay as they are.
    """
    left = {name: first(name, dropped) for name in theirs}
    rows: dict[str, dict[int, str]] = {}
    unexpected = []
    for name in (n for n in theirs if left[n] is None):
        targets = (first(name, rules) or "").split("|")
        target = next((t for t in targets if t.partition("#")[0] in ours), targets[0])
        home, _, row = target.partition("#")
        if home in ours and int(row or 0) not in rows.get(home, {}):
            rows.setdefault(home, {})[int(row or 0)] = name
        elif home in ours or first(home, UNUSED) is None:
            unexpected.append(name)
        else:
            left[name] = first(home, UNUSED)

    filled: dict[str, Tensor] = {}
    used, misshaped = [], []
    for home, parts in rows.items():
        pieces = [theirs[parts[row]] for row in sorted(parts)]
        shaped = _joined(pieces, ours[home]) if sorted(parts) == list(range(len(parts))) else None
        if shaped is None:
            shape = tuple(pieces[0].shape) if len(pieces) == 1 else (len(pieces), *pieces[0].shape)
            misshaped.append((parts[min(parts)], shape, home, tuple(ours[home].shape)))
            continue
        filled[home] = shaped
        used += [(name, home) for _, name in sorted(parts.items())]

    may = [*optional, rf"(?:.*\.)?{COUNTER}"]
    free = {name for name in ours if any(re.fullmatch(pattern, name) for pattern in may)}
    wrong = {home for _, _, home, _ in misshaped}
    absent = [name for name in ours if name not in filled and name not in wrong]
    kept = {name for name, reason in left.items() if reason is None}
    taken = {name for name, _ in used}
    return Matched(
        filled,
        tuple(used),
        tuple(n for n in absent if n not in free),
        tuple(n for n in absent if n in free and not n.endswith(COUNTER)),
        {name: reason for name, reason in left.items() if reason is not None},
        tuple(unexpected),
        tuple(misshaped),
        _share(ours, set(filled), set(ours) - (free - set(filled))),
        _share(theirs, taken, kept),
    )


def _joined(pieces: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """One tensor of our shape and dtype, None if the pieces do not make one."""
    if like.dim() == 0:  # a counter that several batch norms have each
        return pieces[0].to(like.dtype) if pieces[0].numel() == 1 else None
    if len(pieces) == 1 and _long(pieces[0]) != _long(like):
        return None
    if (
        any(piece.shape != pieces[0].shape for piece in pieces)
        or sum(p.numel() for p in pieces) != like.numel()
    ):
        return None
    if len(pieces) > 1 and _long(pieces[0]) not in (_long(like[0]), [like.numel() // len(pieces)]):
        return None
    whole = pieces[0] if len(pieces) == 1 else torch.cat([piece.reshape(-1) for piece in pieces])
    return whole.reshape(like.shape).to(like.dtype)


def _long(t: Tensor) -> list[int]:
    return [n for n in t.shape if n != 1]


def _share(tensors: Mapping[str, Tensor], part: set[str], whole: set[str]) -> float:
    total = sum(tensors[name].numel() for name in whole)
    return sum(tensors[name].numel() for name in part & whole) / total if total else 1.0
