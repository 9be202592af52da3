"""Commands that decide who is whom: calibrate, compare, rank."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.cli.base import Count, Picture, Share, app
from partreid.utils import ui

if TYPE_CHECKING:
    from partreid.evaluation.decision import Bound
    from partreid.evaluation.doubt import Doubt
    from partreid.inference import Comparison, Hit, Model
    from partreid.metrics import Interval
    from partreid.metrics.calibration import Calibration, Check, Reliability

_PROOF = "A threshold is no proof: let a person decide wherever a decision touches one."


@app.command
def calibrate(
    run: Path,
    *,
    data: Path,
    dataset: str | None = None,
    queries: str | None = None,
    rate: Share = 0.001,
    fit_fraction: Share = 0.5,
    seed: int = 0,
    out: Path | None = None,
    check: bool = False,
    calibration: Path | None = None,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Find out which distance means the same person, from labelled crops.

    Args:
        run: Run folder or model.safetensors.
        data: Root folder of labelled crops: query and gallery of any data set, see: partreid data
            list
        dataset: Which data set that is; default what the recipe names. Your own: folders or table.
        queries: One of its query sets; default all.
        rate: Share of impostor pairs that may be taken for one person.
        fit_fraction: Share of the people to fit on; the others are for the check.
        seed: Which people these are.
        out: Where to keep the calibration; default calibration.json beside the model.
        check: Change nothing; measure on these crops how the calibration that there is does.
        calibration: With --check, a calibration other than the one beside the model.
        json: Print what was found as JSON.
        device: auto, cpu or cuda.
    """
    from json import dumps

    from partreid import build
    from partreid.evaluation import decision
    from partreid.evaluation.copies import without_copies
    from partreid.evaluation.doubt import labelled_crops
    from partreid.inference import load
    from partreid.metrics.calibration import calibrate as fit
    from partreid.utils.files import writable
    from partreid.utils.looks import LOOKS

    if calibration is not None and not check:
        ui.fail(
            "--calibration names what --check is to measure; to write to another file say --out"
        )
    if out is not None and check:
        ui.fail("--check writes nothing; leave --out away")
    file = out or (run if run.is_dir() else run.parent) / decision.FILE
    if not check:
        writable(file)
    model = load(run, device, calibration)
    if model.method.needs_at_test:
        ui.fail(
            f"{run} needs {', '.join(sorted(model.method.needs_at_test))} with every image at test "
            "time, which only partreid eval can give it; there is nothing to decide between crops "
            "alone"
        )
    stored = model.calibration if check else None
    if check and stored is None:
        ui.fail(f"there is no calibration beside {run} to check; make one without --check")
    called = dataset or model.recipe.test[0]
    whole = decision.chosen(build.benchmark(called, data), queries)
    protocol = build.protocol(whole)
    whole, left_out = without_copies(whole, protocol)
    if left_out is not None:
        ui.say(f"note: {left_out}")
    benchmark, part = decision.sampled(whole, seed=seed)
    if part < 1:
        ui.say(
            f"note: of {len(whole.gallery)} gallery images those of {part:.0%} of the people are "
            f"taken, which is enough pairs ({decision.MOST:,})"
        )
    if stored is None:
        decision.require_slice(benchmark, protocol, rate, fit_fraction, seed)
    to: Bound = model.bound
    source = decision.source_of(to, whole, called)
    if stored is not None and stored.source.gallery == source.gallery:
        ui.fail(
            "this is the very gallery that the calibration was made on; how it does on the people "
            "it was not fitted on stands in it, under 'checked'. Give other labelled crops with "
            "--data"
        )
    described = _described(model, benchmark)
    pairs = decision.known_pairs(
        model.method.distance, described.queries, described.gallery, benchmark, protocol
    )
    if stored is not None:
        checked = stored.check(pairs, seed)
        if json:
            ui.show(dumps(decision.plain(checked)))
        else:
            _say_check(checked, stored, f"{called}, other images than it was made on")
        return
    crops = labelled_crops(described.queries, described.gallery, benchmark, model.recipe.size)
    made = fit(pairs, source, rate, fit_fraction, seed, crops, LOOKS)
    decision.save(made, file)
    if json:
        ui.show(dumps(decision.plain(made)))
    else:
        _say_calibration(made)
    ui.say(f"calibration: {file}")


@app.command
def compare(
    run: Path,
    a: Path,
    b: Path,
    *,
    picture: Picture | None = None,
    calibration: Path | None = None,
    prior: Share = 0.5,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Compare two crops: the distance, what every body part says about it, and whether it is one
    person.

    Args:
        run: Run folder or model.safetensors.
        a: One crop.
        b: The other.
        picture: Draw both crops, their part maps and the table to this PNG.
        calibration: What decides; default calibration.json beside the model, see: partreid
            calibrate
        prior: How likely one person was beforehand, between 0 and 1.
        json: Print the evidence as JSON instead of a table.
        device: auto, cpu or cuda.
    """
    from json import dumps

    from partreid.explain.evidence import addends
    from partreid.explain.sheets import number
    from partreid.inference import load
    from partreid.utils.files import writable

    writable(picture)
    model = load(run, device, calibration)
    comparison = model.compare(a, b, prior)
    e = comparison.evidence
    if json:
        ui.show(dumps({"a": str(a), "b": str(b), **e.to_dict(), **_plain(comparison)}))
    else:
        counted = e.counted
        adds, total = addends(e.share[counted]) if e.shared.any() else ([], number(e.distance))
        rows = [
            (
                part,
                f"{e.query_visibility[m]:.2f}",
                f"{e.match_visibility[m]:.2f}",
                number(e.parts[m]) if e.shared[m] else "-",
                adds.pop(0) if counted[m] and adds else "-",
            )
            for m, part in enumerate(e.names)
        ]
        rows.append(("total", "", "", "", total))
        ui.table("", ("part", "visible in a", "in b", "distance", "adds"), rows)
        ui.show(e.sentence(hidden_in=("a", "b")))
        ui.show(_decision(comparison, prior, model.calibration))
    if picture is not None:
        from partreid.utils.images import save_image

        save_image(comparison.picture(), picture)
        ui.say(f"picture: {picture}")


@app.command
def rank(
    run: Path,
    query: Path,
    gallery: Path,
    *,
    top: Count = 10,
    sheet: Picture | None = None,
    calibration: Path | None = None,
    prior: Share = 0.5,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Search a gallery of crops for the person in a query, and say if nobody in it is near enough.

    Args:
        run: Run folder or model.safetensors.
        query: A crop, a folder of crops or a text file that lists them.
        gallery: The same: the crops to search.
        top: How many of the nearest to show.
        sheet: Draw each query with its answers to this PNG; a tick marks who is called the same
            person.
        calibration: What decides; default calibration.json beside the model, see: partreid
            calibrate
        prior: How likely one person was beforehand, between 0 and 1, e.g. 1 / people in the
            gallery.
        json: Print the answers as JSON.
        device: auto, cpu or cuda.
    """
    from partreid.evaluation.doubt import matches
    from partreid.inference import crop_paths, listed, load
    from partreid.utils.files import writable

    writable(sheet)
    model = load(run, device, calibration)
    decides = model.calibration
    queries, paths = crop_paths(listed(query)), crop_paths(listed(gallery))
    q, g = model.index(queries), model.index(paths)
    doubt = model.doubt(q, g)
    answers = model.search(q, g, None, top, prior, doubt)
    called = (
        [None] * len(queries)
        if decides is None or doubt is None
        else matches(decides, model.method.distance, q.embeddings, g.embeddings, doubt)
    )
    show_answers(queries, answers, called, len(paths), decides, doubt, prior, json)
    if sheet is not None:
        from partreid.report.examples import answers_picture
        from partreid.utils.images import save_image

        save_image(answers_picture(model, queries, answers), sheet)
        ui.say(f"sheet: {sheet}")


def show_answers(
    queries: Sequence[Path],
    answers: "Sequence[Sequence[Hit]]",
    called: Sequence[int | None],
    crops: int,
    decides: "Calibration | None",
    doubt: "Doubt | None",
    prior: float,
    json: bool,
    details: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Print the answers of each query as a table, or all as JSON.

    called: how many crops of the gallery are called the same person as each query. crops: its size.
    details: of each answer what else is known, in the order of the columns.
    """
    from json import dumps

    from partreid.evaluation.decision import NONE, percent
    from partreid.explain.sheets import number

    more = [[{} for _ in hits] for hits in answers] if details is None else details
    withheld = None if doubt is None else doubt.every
    if doubt is not None and crops and (doubt.query.all() or doubt.gallery.all()):
        withheld = doubt.of(0, 0, ("each query", "each crop of the gallery"))
    if json:
        ui.show(
            dumps(
                [
                    {
                        "query": str(path),
                        "called_same": many,
                        "hits": [
                            {
                                "place": h.place,
                                "path": None if h.path is None else str(h.path),
                                **known,
                                "distance": h.evidence.to_dict()["distance"],
                                **_plain(h),
                            }
                            for h, known in zip(hits, others)
                        ],
                    }
                    for path, hits, many, others in zip(queries, answers, called, more)
                ]
            )
        )
        return
    extra = next((tuple(known) for others in more for known in others), ())
    columns = (
        "place",
        "crop",
        *extra,
        "distance",
        "shared parts",
        f"probability (from {percent(prior)})",
        "same person",
    )
    for path, hits, many, others in zip(queries, answers, called, more):
        ui.table(
            str(path),
            columns,
            [
                (
                    str(h.place),
                    "-" if h.path is None else str(h.path),
                    *("-" if value is None else str(value) for value in known.values()),
                    number(h.distance),
                    str(h.shared_evidence),
                    "-" if h.probability is None else percent(h.probability),
                    "-" if h.same is None else "yes" if h.same else "no",
                )
                for h, known in zip(hits, others)
            ],
            left=2 + len(extra),
        )
        if doubt is not None and withheld is None:
            ui.show(_called(many, crops))
    if decides is None or doubt is None:
        ui.show(NONE)
    elif withheld is not None:
        ui.show(withheld)
    else:
        if odd := int(doubt.query.sum() + doubt.gallery.sum()):
            ui.show(
                f"nothing is decided about {odd} of the {len(queries) + crops} crops: they do "
                f"not look like those of {doubt.made_of}, of which the calibration was made; "
                f"{doubt.remedy}"
            )
        ui.show(_expected(crops, decides))


def _described(model: "Model", benchmark: Any) -> Any:
    from partreid.evaluation.extract import extract
    from partreid.evaluation.score import embed_benchmark

    with ui.progress(f"embedding with {model.recipe.method.name}") as step:
        return embed_benchmark(
            benchmark,
            lambda samples: extract(
                model.method, samples, model.recipe.size, device=model.device, progress=step
            ),
        )


def _say_calibration(made: "Calibration") -> None:
    f, c = made.fitted, made.checked
    ui.show(
        f"fitted on {f.people} people of {made.source.data} ({', '.join(made.source.queries)}): "
        f"{f.genuine:,} genuine pairs, {f.impostors:,} impostor pairs"
    )
    per = made.distances
    far = (
        "a distance that depends on how many parts both show"
        if len(per) > 1
        else "no distance"
        if per[0] is None
        else f"distance {per[0]:.3f}"
    )
    ui.show(
        f"called the same person up to {far}: {_rate(made)} is the aim; on as many other people "
        f"[{_range(made.expected, _scale(made.rate))}] is to be expected"
    )
    if len(per) > 1:
        ui.table(
            "",
            ("parts both show", *map(str, range(1, len(per) + 1))),
            [("distance up to", *("never" if d is None else f"{d:.3f}" for d in per))],
        )
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in made.losses.items())
    ui.show(
        f"probability from '{made.kind}'; log loss on people not fitted: {losses} (a coin has "
        "0.693)"
    )
    _say_check(c, made, f"the {c.slice.people} people that were not fitted")
    ui.show(_PROOF)


def _say_check(check: "Check", made: "Calibration", on: str) -> None:
    low, high = made.expected.low, made.expected.high
    where = (
        "within"
        if low <= check.fmr.value <= high
        else "ABOVE"
        if check.fmr.value > high
        else "below"
    )
    per = _scale(made.rate)
    ui.show(
        f"checked on {on}: {_matches(check.fmr.value * per)} in {per:,} impostor pairs "
        f"[{_range(check.fmr, per)}], {where} the range to be expected "
        f"[{_range(made.expected, per)}]; {check.tpr.value:.0%} of the genuine pairs found "
        f"[{check.tpr.low:.0%}, {check.tpr.high:.0%}]; calibration error {100 * check.ece:.1f} "
        "points"
    )
    if where == "ABOVE":
        ui.show(
            "more false matches than to be expected: these crops are unlike those it was made on; "
            "calibrate on them"
        )
    _say_reliability(check.reliability)


def _say_reliability(r: "Reliability") -> None:
    ui.table(
        "",
        ("said", "true", "pairs"),
        [
            (f"{100 * p:.0f} %", f"{100 * s:.0f} %", f"{n:,}")
            for p, s, n in zip(r.probability, r.same, r.pairs)
        ],
    )


def _called(many: int | None, crops: int) -> str:
    """How many of a gallery are called the person of a query."""
    if many is None:
        return "nothing is decided about this query"
    if many:
        return f"{many} of {crops} crops are near enough to be called the same person"
    return "nobody in this gallery is near enough to be called the same person"


def _decision(result: "Comparison", prior: float, made: "Calibration | None") -> str:
    from partreid.evaluation.decision import percent

    if made is None or result.verdict is None:
        return result.reason or ""
    if result.probability is None:
        return result.verdict
    before = "as likely as not" if prior == 0.5 else percent(prior)
    return (
        f"{result.verdict}, if it was {before} beforehand; threshold for {_rate(made)} "
        f"[{_range(made.true_rate, _scale(made.rate))}], calibrated on {made.source.made_of}"
    )


def _expected(crops: int, made: "Calibration") -> str:
    rate = made.true_rate
    return (
        f"{crops} crops of other people alone would hold {_matches(crops * made.rate)} on average "
        f"for each query [{_range(rate, crops)}] (threshold for {_rate(made)}, calibrated on "
        f"{made.source.data}). {_PROOF}"
    )


def _rate(made: "Calibration") -> str:
    per = _scale(made.rate)
    return f"{_matches(made.rate * per)} in {per:,} impostor pairs"


def _matches(many: float) -> str:
    return "1 false match" if _short(many) == "1" else f"{_short(many)} false matches"


def _short(many: float) -> str:
    return f"{many:.2g}" if many < 99.5 else f"{many:.0f}"


def _scale(rate: float) -> int:
    """10 for a rate of 0.1 and up, 100 for 0.01, ...: so that a rate is said as 1 to 10 in that
    many.
    """
    per = 10
    while rate * per < 1 - 1e-9:
        per *= 10
    return per


def _range(interval: "Interval", per: int) -> str:
    return f"{_short(interval.low * per)}, {_short(interval.high * per)}"


def _plain(result: Any) -> dict[str, Any]:
    return {
        "probability": result.probability,
        "same": result.same,
        "reason": result.reason,
        "shared_evidence": result.shared_evidence,
    }
