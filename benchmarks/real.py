"""Seven methods on real people, from one ImageNet trunk, with one plan and one budget.

The pictures (CUHK03's camera pair 1, CUHK01), the weights and the pose model are fetched by hand
under their own terms, see docs/real.md, and stay outside the repository; what is written down are
scores. ROOT holds

    labeled/train, labeled/val      crops of CUHK03's pair 1
    CUHK01/campus                   crops of CUHK01, for --cuhk01
    pose/train, pose/val            keypoints and person masks of benchmarks/pose.py
    pose/cuhk01                     those of CUHK01, for --finetune

python -m benchmarks.trunk_weights tf_efficientnet_lite0 efficientnet-lite0-57934424.pth \
lite0.safetensors
python -m benchmarks.real ROOT --weights lite0.safetensors --out real \
--json results/real-seed1.json

DSA-reID's guide gets surfaces fitted to the keypoints (benchmarks/fitted.py), for there is no
DensePose of these crops. Finished trainings are used again and interrupted ones go on. Whole
queries are CUHK03's own; occluded ones are copies of them with an object or another person pasted
over (data occlude).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import fitted
from benchmarks.about import about
from partreid import build
from partreid.data.occlusion import RECORD, write_occluded
from partreid.data.transforms import to_batch
from partreid.distance import PartDistance
from partreid.evaluation import RunResult, evaluate_run
from partreid.evaluation.extract import extract
from partreid.evaluation.parts import Overlap, bell, stripes
from partreid.evaluation.quality import labels_made
from partreid.evaluation.result import Embedded
from partreid.evaluation.run import ignoring_visibility
from partreid.evaluation.score import score
from partreid.evaluation.variant import as_recipe
from partreid.inference import Model, load
from partreid.labels.keypoints import keypoint_labels
from partreid.labels.tools.importing import import_labels
from partreid.metrics import bootstrap_difference
from partreid.recipes import Recipe, Spec, find, papers
from partreid.recipes.base import Frozen
from partreid.recipes.papers import label_sources
from partreid.report.rows import row_to_json, rows
from partreid.train.loop import Options, train
from partreid.train.run import has_checkpoint
from partreid.types import Benchmark, Embeddings, Output, Sample
from partreid.utils import ui
from partreid.utils.files import read_json, write_json
from partreid.utils.images import read_resized

DATA = "cuhk03_pair1"
BASELINES = ("bot", "bot_fine")  # BoT on the map that the network pools, and on the joined one
# A method without what it is known for, or with it where we leave it out: whether that helps.
CONTROLS = {
    "dsa_unguided": ("dsa", "dsa/table3/baseline-two-branches@demo"),
    "dsa_no_guide": ("dsa", "dsa/control/no-guide@demo"),
    "hcga_module": ("hcga", "hcga/control/gam-at-test@demo"),
}
PARTS = "eight"  # of the keypoints
REGIONS = ("foreground", "head", "legs", "shoes")
MADE_OF = {"head": (1,), "legs": (5, 6), "shoes": (7, 8)}  # of the eight, from 1
JUDGED = 400  # training images whose labels are judged
EPOCHS, LR, WARMUP = 4, 1e-3, 0.5
FINE_EPOCHS, FINE_LR = 2, 3e-4  # of CUHK01 after CUHK03
MODEL = "tf_efficientnet_lite0"
LEVELS = (1, 2, 3, 4)  # strides 4, 8, 16 and 32, the last made 16: joined at stride 4
WIDE = 256


def recipe_of(method: str, weights: Path, epochs: int, seed: int) -> Recipe:
    """The method's row of the synthetic benchmark with the plan, the trunk and the labels that all
    share here.
    """
    row = CONTROLS[method][1] if method in CONTROLS else f"synthetic/demo/{method}"
    base = find(row.removesuffix("_fine"))
    total = sum(stage.epochs for stage in base.stages)
    later = [max(1, epochs * stage.epochs // total) for stage in base.stages[1:]]
    stages = [
        replace(stage, epochs=count, lr=LR, warmup=0.0 if number else WARMUP)
        for number, (stage, count) in enumerate(
            zip(base.stages, (epochs - sum(later), *later), strict=True)
        )
    ]
    return replace(
        base,
        name=f"real/{method}",
        method=method_of(base.method),
        backbone=trunk_of(method, weights),
        cues=Frozen({name: label_of(spec) for name, spec in base.cues.items()}),
        train=DATA,
        test=("table",),
        stages=tuple(stages),
        seed=seed,
        expect=None,
        notes=(
            *base.notes,
            f"trained on {DATA} from the ImageNet weights of {MODEL}, {epochs} epochs for every "
            "method.",
        ),
    )


def method_of(spec: Spec) -> Spec:
    """DSA-reID's parts get an eighth of the trunk's channels, as in the paper: the half that they
    have on drawn people is for a trunk of 96.
    """
    return spec.but(part_share=8) if "part_share" in spec.args else spec


def trunk_of(method: str, weights: Path) -> Spec:
    """One trunk, its stride taken from 32 to 16. Methods with part maps get its four levels joined
    at stride 4, the others what the model itself pools.
    """
    trunk = Spec("timm", model=MODEL, weights=str(weights), last_stride=1)
    return trunk.but(levels=LEVELS, reduce=WIDE) if method in FINE else trunk


# The joined map is worth something by itself: who has it is compared with a BoT that has it too.
FINE = ("bot_fine", "bpbreid", "isp", "hcga", "hcga_module", "halfseen")


def label_of(spec: Spec) -> Spec:
    """Keypoints in place of exact surfaces. Labels that a method makes itself stay, but for how
    they find the foreground: a trunk from ImageNet responds to people, so its activation is asked.
    """
    source = label_sources().get(spec.name)
    if spec.name == "surfaces":
        return Spec("keypoints", parts=PARTS, missing="unknown")
    if spec.name == "uv_tiles":
        return spec.but(missing="unknown") if "missing" in spec.args else spec
    if source is not None and source.learns:
        row = 1.0 if spec.name == "isp_clusters" else 0.0
        return spec.but(seeded=False, margin=0, central=True, rim=1, height=row)
    return spec


def prepared(root: Path, out: Path) -> tuple[Benchmark, Benchmark, dict[str, Any]]:
    """The training set with its labels in place, the test set with occluded queries, and what is
    to be told of both.
    """
    learn = build.benchmark(DATA, root)
    if not (root / "keypoints").is_dir():
        import_labels("keypoints", root / "pose" / "train", learn, missing="unknown")
    _fit_surfaces(root, learn)
    folder = out / "occluded"
    if not (folder / "table.csv").is_file():
        with ui.progress("hiding people") as step:
            write_occluded(learn, folder, "pose", progress=step)
    record = read_json(folder / RECORD)
    there = sum(_keypoints(root, s).is_file() for s in learn.train)
    return (
        learn,
        build.benchmark("table", folder),
        {
            "images": len(learn.train),
            "people": len({s.identity for s in learn.train}),
            "label_coverage": round(there / len(learn.train), 4),
            "occluded_by": record["kinds"],
            "hidden_mean": round(statistics.mean(record["hidden"].values()), 3),
            "masks_guessed": len(record["guessed"]),
        },
    )


def _fit_surfaces(root: Path, learn: Benchmark) -> None:
    """An IUV picture beside every training crop that has keypoints; those that are there stay."""
    with ui.progress("fitting surfaces to keypoints") as step:
        fitted.write(
            learn.train,
            lambda s: _keypoints(root, s),
            lambda s: root / "iuv" / s.path.parent.name / f"{s.path.stem}.png",
            step,
        )


def _keypoints(root: Path, sample: Sample) -> Path:
    return root / "keypoints" / sample.path.parent.relative_to(root) / f"{sample.path.stem}.json"


def trained(recipe: Recipe, learn: Benchmark, folder: Path) -> tuple[Model, float]:
    """The model of a run that is there, goes on or is begun, tested as the recipe says now, and
    seconds of training over all sessions.
    """
    if not (folder / "model.safetensors").is_file():
        with ui.progress(f"training {recipe.name}") as step:
            train(
                recipe,
                learn,
                folder,
                Options(
                    resume=has_checkpoint(folder),
                    save_every=46,
                    progress=lambda entry, done, total: step(done, total),
                ),
            )
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    spent = sum(e.get("seconds") or 0.0 for e in entries if "loss" in e)
    spent += sum(e.get("seconds") or 0.0 for e in entries if e.get("event") == "labels")
    return as_recipe(load(folder), folder, recipe), spent


def masks_of(root: Path, learn: Benchmark) -> tuple[list[int], Callable[[int], dict[str, Any]]]:
    """Training images with keypoints and a mask, evenly drawn, and their reference regions: the
    foreground is the mask, the others are limbs drawn around keypoints.
    """
    have = [i for i, s in enumerate(learn.train) if _keypoints(root, s).is_file()]
    rows_ = [have[i] for i in np.linspace(0, len(have) - 1, min(JUDGED, len(have))).astype(int)]
    some = [learn.train[i] for i in rows_]
    limbs = keypoint_labels(root, some, parts=PARTS, missing="unknown")

    def masks(index: int) -> dict[str, Any]:
        sample = some[index]
        file = root / "pose" / sample.path.parent.name / f"{sample.path.stem}_fg.png"
        fore = np.asarray(Image.open(file).convert("L")) > 127
        parts = np.asarray(
            Image.fromarray(limbs[index]).resize(fore.shape[::-1], Image.Resampling.NEAREST)
        )
        return {
            "foreground": fore,
            **{name: np.isin(parts, k) for name, k in MADE_OF.items()},
        }

    return rows_, masks


def label_iou(
    model: Model, folder: Path, root: Path, learn: Benchmark
) -> dict[str, dict[str, float | None]]:
    """IoU of what a method calls parts with the reference, and of two that look at nothing."""
    if model.scheme is None:
        return {}
    rows_, masks = masks_of(root, learn)
    predicted: list[Any] = []
    wins: list[float] = []

    def see(span: slice, out: Output) -> None:
        if out.parts is not None:
            best = out.parts.logits.argmax(1)
            predicted.extend(best.cpu().numpy().astype(np.uint8))
            wins.extend((best > 0).flatten(1).any(1).float().tolist())

    extract(model.method, [learn.train[i] for i in rows_], model.recipe.size, see=see)
    if not predicted:
        return {}
    K, size = model.scheme.K, predicted[0].shape
    judged: dict[str, Callable[[int], Any]] = {"predicted": lambda index: predicted[index]}
    made = labels_made(folder, len(learn.train))
    if made is not None:
        judged["labels it made"] = lambda index: made[rows_[index]]
    judged["bell"] = lambda index: bell(K, size)
    judged["stripes"] = lambda index: stripes(K, size)
    iou: dict[str, dict[str, float | None]] = {}
    for what, labels in judged.items():
        count = Overlap(K, REGIONS)
        for index in range(len(rows_)):
            count.add(labels(index), masks(index))
        stands_for = count.by_overlap()
        iou[what] = {
            region: None if a.inside is None else round(a.inside, 4)
            for region, a in count.agreement(stands_for).items()
        }
    iou["predicted"]["images_in_which_a_part_wins"] = round(statistics.mean(wins), 4)
    return iou


def cuhk01(model: Model, root: Path) -> dict[str, Any]:
    """CUHK01 as it comes, not trained on: the DSA paper's protocol, 486 people, ten draws."""
    everyone = build.benchmark("cuhk01-0", root / "CUHK01")
    samples = sorted({*everyone.train, *everyone.gallery}, key=lambda s: s.path)
    with ui.progress("embedding CUHK01") as step:
        all_ = extract(model.method, samples, model.recipe.size, progress=step)
    row_of = {s.path: i for i, s in enumerate(samples)}

    def embed(some: Sequence[Sample]) -> Embeddings:
        return all_.rows([row_of[s.path] for s in some])

    scores: dict[str, list[float]] = {"rank1": [], "mAP": []}
    for split in range(10):
        of = build.benchmark(f"cuhk01-{split}", root / "CUHK01")
        queries = {name: embed(q) for name, q in of.queries.items()}
        (scored,) = score(
            model.method.distance, Embedded(queries, embed(of.gallery)), of, build.protocol(of)
        )
        scores["rank1"].append(round(float(scored.ranking.cmc[1]), 4))
        scores["mAP"].append(round(float(scored.ranking.mAP), 4))
    return scores


def fine_tuned(
    method: str, recipe: Recipe, begun: Path, root: Path, out: Path, splits: int
) -> dict[str, Any]:
    """CUHK01 as the DSA paper's Table 2 takes it: trained on CUHK03, then on 485 people of CUHK01,
    tested on the other 486, for so many of its ten draws.
    """
    home = root / "CUHK01"
    if recipe.cues and not (home / "keypoints").is_dir():
        everyone = build.benchmark("cuhk01-0", home)
        all_ = replace(everyone, train=tuple({*everyone.train, *everyone.gallery}))
        import_labels("keypoints", root / "pose" / "cuhk01", all_, missing="unknown")
    scores: dict[str, list[float]] = {"rank1": [], "rank5": [], "mAP": []}
    for split in range(splits):
        name = f"cuhk01-{split}"
        learn = build.benchmark(name, home)
        if "uv_tiles" in recipe.cues:
            _fit_surfaces(home, learn)
        stage = replace(recipe.stages[-1], epochs=FINE_EPOCHS, lr=FINE_LR, warmup=0.0)
        model, _ = trained(
            replace(
                recipe,
                name=f"{recipe.name}/cuhk01",
                train=name,
                test=(name,),
                stages=(stage,),
                start=str(begun),
            ),
            learn,
            out / name,
        )
        (scored,) = evaluate_run(model, learn, name=method).query_sets
        for score_, value in (
            ("rank1", scored.ranking.cmc[1]),
            ("rank5", scored.ranking.cmc[5]),
            ("mAP", scored.ranking.mAP),
        ):
            scores[score_].append(round(float(value), 4))
    return {"splits": splits, "epochs": FINE_EPOCHS, **scores}


def peer(file: Path, test: Benchmark) -> list[dict[str, Any]]:
    """What a model of others scores on the same queries: an ONNX file that takes [N, 3, 256, 128],
    normalised by ImageNet's mean and deviation, and gives one vector. Needs onnxruntime.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    takes = session.get_inputs()[0]
    most = takes.shape[0] if isinstance(takes.shape[0], int) else 32

    def embed(samples: Sequence[Sample]) -> Embeddings:
        vectors = []
        for start in range(0, len(samples), most):
            crops = [read_resized(s.path, (256, 128)) for s in samples[start : start + most]]
            batch = to_batch(crops + crops[-1:] * (most - len(crops))).numpy()
            vectors.append(session.run(None, {takes.name: batch})[0][: len(crops)])
        return Embeddings.single("all", torch.from_numpy(np.concatenate(vectors)))

    queries = {name: embed(samples) for name, samples in test.queries.items()}
    scored = score(
        PartDistance("cosine"), Embedded(queries, embed(test.gallery)), test, build.protocol(test)
    )
    return [
        {
            "queries": s.queries,
            "rank1": round(float(s.ranking.cmc[1]), 4),
            "mAP": round(float(s.ranking.mAP), 4),
            "mAP_interval": [round(v, 4) for v in bounds(s.intervals["mAP"])],
        }
        for s in scored
    ]


def bounds(interval: Any) -> tuple[float, float]:
    return float(interval.low), float(interval.high)


def gains(than: RunResult, other: RunResult) -> dict[str, Any]:
    """mAP over another method by query set, with its interval by people."""
    by_queries = {}
    for mine, base in zip(other.query_sets, than.query_sets, strict=True):
        gain = bootstrap_difference(mine.ranking, base.ranking)["mAP"]
        by_queries[mine.queries] = [round(v, 4) for v in (gain.value, gain.low, gain.high)]
    return by_queries


def main() -> None:
    every = [*BASELINES, *(p.name for p in papers() if p.name not in BASELINES), *CONTROLS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=every, default=every)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("real"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peer", type=Path, help="an ONNX file of others, to compare with")
    parser.add_argument("--cuhk01", action="store_true", help="also on CUHK01, not trained on")
    parser.add_argument(
        "--finetune", type=int, default=0, help="of CUHK01's ten draws, so many: trained on, too"
    )
    options = parser.parse_args()
    began = time.perf_counter()
    learn, test, facts = prepared(options.root, options.out)
    ui.say(f"{facts['images']} training images, labels for {100 * facts['label_coverage']:.1f} %")
    others = {options.peer.name: peer(options.peer, test)} if options.peer else {}
    results: list[RunResult] = []
    numbers: dict[str, Any] = {}
    for method in options.methods:
        recipe = recipe_of(method, options.weights.resolve(), options.epochs, options.seed)
        folder = options.out / f"seed{options.seed}" / method
        if method in CONTROLS:  # of one training with the method itself?
            known = CONTROLS[method][0]
            other = recipe_of(known, options.weights.resolve(), options.epochs, options.seed)
            folder = folder.with_name(known) if other.training == recipe.training else folder
        model, seconds = trained(recipe, learn, folder)
        result = evaluate_run(model, test, name=method)
        result = replace(result, training_seconds=seconds)
        results.append(result)
        here = [row_to_json(row) for row in rows((result,))]
        numbers[method] = {
            "scores": here,
            "training_seconds": round(seconds),
            "digest": recipe.digest,
            "iou": label_iou(model, folder, options.root, learn),
        }
        if result.matching.words == "visible parts":
            blind = ignoring_visibility(result)
            numbers[method]["all_parts"] = [row_to_json(row) for row in rows((blind,))]
        if options.cuhk01:
            numbers[method]["cuhk01_not_trained_on"] = cuhk01(model, options.root)
        if options.finetune:
            numbers[method]["cuhk01_fine_tuned"] = fine_tuned(
                method,
                recipe,
                folder,
                options.root,
                folder.with_name(f"{method}-cuhk01"),
                options.finetune,
            )
        for row in here:
            ui.say(
                f"{method} {row['queries']}: Rank-1 {100 * row['rank1']:.1f}, "
                f"mAP {100 * row['mAP']:.1f}"
            )
        against = BASELINES[method in FINE]
        for before in results[:-1]:
            if before.name == against:
                numbers[method]["gain_over_bot"] = gains(before, result)
            if method in CONTROLS and before.name == (whole := CONTROLS[method][0]):
                numbers[method][f"gain_over_{whole}"] = gains(before, result)
            if before.name == "bpbreid":  # the best of the five
                numbers[method]["gain_over_bpbreid"] = gains(before, result)
        if options.json:
            write_json(
                options.json,
                {
                    **about(
                        f"python -m benchmarks.real ROOT --weights {options.weights.name} "
                        f"--epochs {options.epochs} --seed {options.seed}"
                        + (" --cuhk01" if options.cuhk01 else "")
                        + (f" --finetune {options.finetune}" if options.finetune else "")
                    ),
                    "data": DATA,
                    "trunk": MODEL,
                    "seed": options.seed,
                    **facts,
                    "seconds": round(time.perf_counter() - began),
                    "methods": numbers,
                    "others": others,
                },
            )


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
