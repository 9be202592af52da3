"""From a run to a file that proves itself."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import __version__, build
from partreid.data.synthetic import PRESETS, render
from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation import decision
from partreid.evaluation.copies import without_copies
from partreid.evaluation.doubt import labelled_crops
from partreid.evaluation.score import embed_benchmark, score
from partreid.export.graph import require_packages, traced
from partreid.export.proof import FLOAT, INT8, Proof, prove
from partreid.export.quantise import MOST, quantised
from partreid.inference import Model, load
from partreid.metrics.calibration import calibrate
from partreid.recipes.base import to_plain
from partreid.runtime import Model as Exported
from partreid.runtime import PartDistance as Rule
from partreid.runtime.file import Card, Checks, card_of, graph_hash, written
from partreid.runtime.model import opened
from partreid.types import Benchmark, Embeddings
from partreid.utils.arguments import door
from partreid.utils.crops import AnyCrops, Crop, crops_of
from partreid.utils.files import writable, write_atomically, write_json
from partreid.utils.looks import LOOKS

_PEOPLE, _CAMERAS = 6, 3  # of the drawn crops that a file is proved on
_CHECKS = 4  # of them, that it holds
_SLACK = 0.005  # cosine that another machine may be farther off than this one


@dataclass(frozen=True)
class Labelled:
    """Labelled crops to calibrate and score a file on.

    Args:
        data: Their root folder.
        dataset: Which data set that is; None: what the recipe names.
        rate: Of false matches, which the threshold is put for.
        seed: Which people the calibration is fitted on.
    """

    data: Path
    dataset: str | None = None
    rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Scores:
    """Rank-1 and mAP of one query set, in PyTorch and of the file, from 0 to 1."""

    queries: str
    rank1: tuple[float, float]
    mAP: tuple[float, float]


@dataclass(frozen=True)
class Result:
    """What :func:`export` made.

    Args:
        file: The exported model.
        report: The proof as JSON, beside it.
        proof: What was found.
        card: What the file says of itself.
        scores: On labelled crops, () without.
    """

    file: Path
    report: Path
    proof: Proof
    card: Card
    scores: tuple[Scores, ...] = ()


@door
def export(
    run: str | Path,
    out: str | Path,
    *,
    with_parts: bool = False,
    check: AnyCrops | None = None,
    int8: AnyCrops | None = None,
    labelled: Labelled | None = None,
    calibration: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Write a trained run as one ONNX file, run that with onnxruntime, and hold it against the run.

    Args:
        run: Run folder or model.safetensors.
        out: The file, whose name ends in .onnx; its report is called the same and ends in .json.
        with_parts: Put part maps in as a third output, so that evidence can be drawn.
        check: Crops to prove it on; None: some drawn people.
        int8: Crops, like those that it is to see, to quantise its convolutions by; None: it stays
            in float.
        labelled: Labelled crops to calibrate the file itself on, and to score it on beside the run.
        calibration: What the file decides by; default calibration.json beside the run.
        progress: Called with a sentence before each step that takes long.

    Returns:
        What was written and what was found.

    Raises:
        DataError: The run or a crop cannot be read, the method cannot be exported, or the file
            misses its tolerance: then there is no file under that name, and the report says what is
            wrong.
    """
    require_packages()
    file = Path(out)
    if file.suffix.lower() != ".onnx":
        raise DataError(f"{file} has no ending of an ONNX file; name it .onnx")
    report = file.with_suffix(".json")
    writable(file, report)
    model = load(run, "cpu", calibration)
    if model.method.needs_at_test:
        raise DataError(
            f"{run} needs {', '.join(sorted(model.method.needs_at_test))} with every image at test "
            "time, which a file that takes images alone cannot be given; train it without"
        )
    _ = model.calibration  # refused before the work, if at all
    drawn = drawn_crops()
    crops = drawn if check is None else crops_of(check)
    if len(crops) < 2:
        raise DataError("--check needs two crops or more, to rank one among the others; got 1")
    ranges = None if int8 is None else crops_of(int8)
    benchmark = None if labelled is None else _benchmark(model, labelled)
    say = progress or (lambda sentence: None)

    say(f"tracing {model.recipe.method.name}")
    data = traced(model.method, model.recipe.size, with_parts)
    if ranges is not None:
        say(f"quantising on {min(len(ranges), MOST)} of {len(ranges)} crops")
        data = quantised(data, ranges, model.recipe.size)
    card = _card(model, data, with_parts, ranges is not None, drawn[:_CHECKS])
    exported = opened(data, card, file)
    scores: tuple[Scores, ...] = ()
    if labelled is not None and benchmark is not None:
        say(f"calibrating on {len(benchmark.gallery)} images")
        card, scores = _calibrated(model, exported, labelled, benchmark)
    whole = written(data, replace(card, checks=_promised(exported)))
    say(f"proving on {len(crops)} crops")
    exported = opened(whole, card_of(whole, file), file)
    proof = prove(model, exported, crops, FLOAT if ranges is None else INT8)
    write_json(report, _plain(proof, exported.card, scores))
    if proof.missed:
        file.unlink(missing_ok=True)  # an older one would be taken for this
        raise DataError(
            f"the exported file is not the model: {'; '.join(proof.missed[:3])}. Nothing lies "
            f"under {file}, the report is {report}"
            + ("; export without --int8" if ranges is not None else "")
        )
    write_atomically(file, whole)
    card = exported.card
    return Result(file, report, proof, card, scores)


@door
def drawn_crops() -> list[Crop]:
    """Crops of people who do not exist, seen by several cameras and partly hidden."""
    world = PRESETS["tiny"]
    crops = []
    for identity in range(1, _PEOPLE + 1):
        for camera in range(1, _CAMERAS + 1):
            image = render(world, identity, camera, 0, camera == _CAMERAS).image
            crops.append(Crop(f"drawn person {identity}, camera {camera}", picture=image))
    return crops


def _card(model: Model, data: bytes, with_parts: bool, is_int8: bool, drawn: list[Crop]) -> Card:
    e = model.embed(drawn)
    bound, scheme = model.bound, ()
    if with_parts:
        with torch.inference_mode():
            parts = model.method(torch.zeros(1, 3, *model.recipe.size)).parts
        scheme = parts.names
    calibration = model.calibration
    graph = graph_hash(data)
    return Card(
        names=e.names,
        width=e.vectors.shape[2],
        size=model.recipe.size,
        distance=_rule(model.method.distance),
        recipe=to_plain(model.recipe),
        digest=bound.recipe,
        weights=graph if is_int8 else bound.weights,
        precision="int8" if is_int8 else "float32",
        origin=bound.model,
        scheme=scheme,
        calibration=None if calibration is None else decision.sealed(calibration),
        checks=Checks(
            np.stack([crop.pixels(model.recipe.size) for crop in drawn]),
            e.vectors.numpy(),
            e.visibility.numpy(),
            -1.0,
        ),
        graph=graph,
        version=__version__,
    )


def _rule(d: PartDistance) -> Rule:
    return Rule(d.metric, d.weights, d.shrink, d.far)


def _promised(exported: Exported) -> Checks:
    """The check pictures of a file, which promise what it reaches here, less a little."""
    checks = exported.card.checks
    return replace(checks, cosine=round(max(exported.likeness() - _SLACK, -1.0), 4))


def _benchmark(model: Model, labelled: Labelled) -> Benchmark:
    """The labelled crops, after checking that they can carry the rate."""
    called = labelled.dataset or model.recipe.test[0]
    whole = build.benchmark(called, labelled.data)
    protocol = build.protocol(whole)
    whole, _ = without_copies(whole, protocol)
    benchmark, _ = decision.sampled(whole, seed=labelled.seed)
    decision.require_slice(benchmark, protocol, labelled.rate, 0.5, labelled.seed)
    return benchmark


def _calibrated(
    model: Model, exported: Exported, labelled: Labelled, benchmark: Benchmark
) -> tuple[Card, tuple[Scores, ...]]:
    """The card with a calibration of the file's own, and the scores of both on the same images."""
    protocol, card = build.protocol(benchmark), exported.card

    def mine(samples: Any) -> Embeddings:
        e = exported.embed([sample.path for sample in samples])
        return Embeddings(torch.from_numpy(e.vectors), torch.from_numpy(e.visibility), e.names)

    def there(samples: Any) -> Embeddings:
        return model.embed([sample.path for sample in samples])

    both = [embed_benchmark(benchmark, extract) for extract in (there, mine)]
    distance = model.method.distance
    results = [score(distance, described, benchmark, protocol) for described in both]
    scores = tuple(
        Scores(
            a.queries,
            (float(a.ranking.cmc[1]), float(b.ranking.cmc[1])),
            (float(a.ranking.mAP), float(b.ranking.mAP)),
        )
        for a, b in zip(*results, strict=True)
    )
    bound = decision.Bound(card.model, card.weights, card.distance.rule, card.names, card.digest)
    called = labelled.dataset or model.recipe.test[0]
    pairs = decision.known_pairs(distance, both[1].queries, both[1].gallery, benchmark, protocol)
    size = model.recipe.size
    crops = labelled_crops(both[1].queries, both[1].gallery, benchmark, size)
    source = decision.source_of(bound, benchmark, called)
    made = calibrate(pairs, source, labelled.rate, 0.5, labelled.seed, crops, LOOKS)
    return replace(card, calibration=decision.sealed(made)), scores


def _plain(proof: Proof, card: Card, scores: tuple[Scores, ...]) -> dict[str, Any]:
    return {
        **proof.plain(),
        "recipe": card.recipe["name"],
        "digest": card.digest,
        "weights": card.weights,
        "model": card.model,
        "precision": card.precision,
        "version": card.version,
        "scores": [asdict(s) for s in scores],
    }
