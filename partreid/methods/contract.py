"""What every method promises, as checks that its author can run: :func:`check` takes the record of
a paper, ours or anybody's.

No data set and no GPU is needed: a trunk of a few thousand parameters sees made-up crops with
labels in which every part appears.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from partreid import build
from partreid.labels.base import example
from partreid.methods.base import Method
from partreid.recipes import RECIPES, SYNTHETIC, Paper, Recipe, Spec
from partreid.recipes.synthetic import SIZES
from partreid.train import bundle
from partreid.train.loop import weighted_sum
from partreid.types import Batch, Embeddings, PartScheme

IDENTITIES, IMAGES, SIZE = 4, 8, (96, 32)
TRUNK = Spec("small", width=4)
Check = Callable[[Recipe], None]


def check(paper: Paper) -> None:
    """Asks of a paper's method what all methods promise: that every row trains every parameter with
    finite losses of the names it weighs, that descriptions are repeatable and know nothing of their
    batch, that weights come back from a file. Some seconds for a few rows.

    Args:
        paper: The record; it must be registered.

    Raises:
        AssertionError: A promise is not kept; the sentence says by which row, and which one.

    Examples:
        >>> from partreid.recipes import PAPERS
        >>> check(PAPERS["bot"])
    """
    for recipe in (*paper.rows, *(RECIPES[f"{SYNTHETIC}/{s}/{paper.name}"] for s in SIZES)):
        for promise in OF_ROWS:
            promise(recipe)
    for promise in OF_METHODS:
        promise(paper.main)


def losses_are_the_recipe_s_and_move_every_parameter(recipe: Recipe) -> None:
    """``losses`` has the terms that the recipe weighs, in its order, and each parameter a
    gradient.
    """
    method, some = built(recipe), batch(recipe)
    terms = method.train().losses(method(some.images, some.cues), some)
    _hold(
        recipe,
        list(terms) == list(recipe.terms),
        f"losses must be named {', '.join(recipe.terms)}, got {', '.join(terms)}",
    )
    for name, term in terms.items():
        _hold(
            recipe,
            term.ndim == 0 and bool(term.isfinite()),
            f"the loss {name} must be one finite number, got {term}",
        )
    # Tensor.backward is untyped
    weighted_sum(terms, recipe.stages[-1].weights).backward()  # type: ignore[no-untyped-call]
    idle = [  # training on several GPUs would wait for them forever
        name
        for name, p in method.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.isfinite().all() or not p.grad.any())
    ]
    _hold(
        recipe,
        not idle,
        f"every parameter must learn, and {', '.join(idle)} get no gradient, or one that is not "
        "finite; build only what the loss terms need",
    )


def needs_are_given(recipe: Recipe) -> None:
    """The recipe's cues are those that its loss terms need, and its terms are the method's."""
    kind = type(built(recipe))
    missing = kind.needed(recipe.terms) - set(recipe.cues)
    _hold(recipe, not missing, f"the method needs the cues {sorted(missing)}; give them in cues")
    other = set(recipe.terms) - set(kind.TERMS)
    _hold(recipe, not other, f"TERMS does not name the loss terms {sorted(other)}")


def distance_fits_the_description(recipe: Recipe) -> None:
    """The method's distance takes what it describes images by."""
    method, some = built(recipe).eval(), batch(recipe)
    e = described(method, some.images, some.cues)
    far = method.distance(e, e)
    _hold(
        recipe,
        tuple(far.shape) == (IMAGES, IMAGES) and not bool(far.isnan().any()),
        f"distances of {IMAGES} images must be [{IMAGES}, {IMAGES}] without NaN, got "
        f"{list(far.shape)}",
    )


def description_is_whole(recipe: Recipe) -> None:
    """One vector at least for each image, all finite, with a name and a visibility of 0..1 each."""
    some = batch(recipe)
    e = described(built(recipe).eval(), some.images, some.cues)
    _hold(recipe, len(e) == IMAGES, f"{IMAGES} images must have {IMAGES} rows, got {len(e)}")
    _hold(recipe, len(set(e.names)) == len(e.names) > 0, f"names must differ, got {e.names}")
    _hold(
        recipe,
        bool(e.vectors.isfinite().all()) and bool(e.vectors.any()),
        "vectors must be finite, and not all 0",
    )
    _hold(
        recipe,
        bool(((e.visibility >= 0) & (e.visibility <= 1)).all()),
        "visibilities must lie in 0..1",
    )


def description_is_repeatable(recipe: Recipe) -> None:
    """The same images give the same vectors, in any order and alone, and no weight changes."""
    method, some = built(recipe).eval(), batch(recipe)
    before = {name: t.clone() for name, t in method.state_dict().items()}
    e, again = (described(method, some.images, some.cues) for _ in range(2))
    _hold(
        recipe,
        torch.equal(e.vectors, again.vectors) and torch.equal(e.visibility, again.visibility),
        "describing the same images twice must give the same numbers",
    )
    for rows in ([3, 1, 7, 0, 2, 6, 5, 4], [5], [2, 2]):
        cues = {name: cue[rows] for name, cue in some.cues.items()}
        part = described(method, some.images[rows], cues)
        _hold(
            recipe,
            torch.allclose(part.vectors, e.vectors[rows], atol=1e-5, rtol=1e-4)
            and torch.allclose(part.visibility, e.visibility[rows], atol=1e-5, rtol=1e-4),
            "an image must be described alike whatever else is in its batch",
        )
    _hold(
        recipe,
        all(torch.equal(t, before[name]) for name, t in method.state_dict().items()),
        "describing must change no weight",
    )


def losses_know_no_order(recipe: Recipe) -> None:
    """The same batch in another order has the same losses."""
    method, some = built(recipe).eval(), batch(recipe)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    turned = Batch(
        some.images[order],
        some.ids[order],
        some.cameras[order],
        {name: cue[order] for name, cue in some.cues.items()},
    )
    with torch.no_grad():
        one, two = (method.losses(method(b.images, b.cues), b) for b in (some, turned))
    for name in one:
        _hold(
            recipe,
            torch.allclose(one[name], two[name], atol=1e-5, rtol=1e-4),
            f"the loss {name} must not depend on the order of the batch",
        )


def optimizers_move_every_parameter_once(recipe: Recipe) -> None:
    """Each parameter that learns is in one optimizer, and in one only."""
    for name in ("adam", "adamw", "sgd"):
        method = built(recipe)
        moved = [
            id(p)
            for optimizer in method.optimizers(name, 0.1, 0.0)
            for group in optimizer.param_groups
            for p in group["params"]
        ]
        learning = {id(p) for p in method.parameters() if p.requires_grad}
        _hold(
            recipe,
            len(moved) == len(set(moved)) and set(moved) == learning,
            f"the optimizers for {name} must have every parameter that learns, once",
        )


def weights_come_back(recipe: Recipe) -> None:
    """What is kept at test time describes the same, and so does a model built from its weights."""
    method, some = built(recipe).eval(), batch(recipe)
    e = described(method, some.images, some.cues)
    kept = deepcopy(method).strip_for_inference()
    _hold(
        recipe,
        torch.equal(described(kept, some.images, some.cues).vectors, e.vectors)
        and kept.strip_for_inference() is kept
        and torch.equal(described(kept, some.images, some.cues).vectors, e.vectors),
        "what is kept at test time must describe images as before",
    )
    torch.manual_seed(99)
    again = bundle.restore(
        replace(recipe, backbone=TRUNK), IDENTITIES, scheme(recipe), kept.state_dict()
    ).eval()
    _hold(
        recipe,
        torch.equal(described(again, some.images, some.cues).vectors, e.vectors),
        "a model built anew with these weights must describe images as before",
    )


OF_ROWS: tuple[Check, ...] = (
    losses_are_the_recipe_s_and_move_every_parameter,
    needs_are_given,
    distance_fits_the_description,
)
OF_METHODS: tuple[Check, ...] = (
    description_is_whole,
    description_is_repeatable,
    losses_know_no_order,
    optimizers_move_every_parameter_once,
    weights_come_back,
)


def scheme(recipe: Recipe) -> PartScheme | None:
    """The part scheme of a recipe's cue "parts", without the data set that it belongs to."""
    cues = build.cues(recipe, build.empty(recipe.train))
    return cues["parts"].scheme if "parts" in cues else None


def built(recipe: Recipe) -> Method:
    """The recipe's method on a tiny trunk; a part head is made sure of most pixels, so that parts
    differ.
    """
    torch.manual_seed(0)
    method = build.method(replace(recipe, backbone=TRUNK), IDENTITIES, scheme(recipe))
    classifier = getattr(getattr(method, "part_head", None), "classifier", None)
    if classifier is not None:
        torch.nn.init.normal_(classifier.weight)
    return method


def batch(recipe: Recipe) -> Batch:
    """Two crops of each of four people with the recipe's cues, made up."""
    draw = torch.Generator().manual_seed(1)
    cues = build.cues(recipe, build.empty(recipe.train))
    return Batch(
        torch.randn(IMAGES, 3, *SIZE, generator=draw),
        torch.arange(IMAGES) // 2,
        torch.arange(IMAGES) % 2,
        {name: example(cue, IMAGES, SIZE) for name, cue in cues.items()},
    )


def described(method: Method, images: Tensor, cues: Mapping[str, Tensor]) -> Embeddings:
    """What a gallery stores of the images; only cues that the method needs then are given."""
    given = {name: cue for name, cue in cues.items() if name in method.needs_at_test}
    with torch.inference_mode():
        return method.embed(method(images, given))


def _hold(recipe: Recipe, true: bool, sentence: str) -> None:
    if not true:
        raise AssertionError(f"{recipe.name}: {sentence}")
