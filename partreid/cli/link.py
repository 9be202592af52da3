"""The command that gives one identity over all cameras."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from partreid.cli.base import Count, Share, app
from partreid.errors import DataError
from partreid.utils import ui

if TYPE_CHECKING:
    from partreid.inference import Model, SavedEmbeddings
    from partreid.link import CameraPairs, Linked, LinkScores, Tracklets


@app.command
def link(
    run: Path,
    source: Path,
    *,
    out: Path,
    cameras: Path | None = None,
    apart: bool = False,
    embeddings: Path | None = None,
    rule: Literal["pairs", "mean", "best"] = "pairs",
    prior: Share = 0.5,
    calibration: Path | None = None,
    anyway: bool = False,
    tracks: str = "tracks.txt",
    frames: str = "img1",
    fps: float | None = None,
    every: Count = 1,
    truth: str | None = None,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Tell which tracklets of all cameras show one person, with a probability each.

    Writes identities.csv, a line for every tracklet, and link.html, a page with each identity's way
    over the cameras and the unsure joins first. The number of people is not given. Nobody is put at
    two places of one camera at a time.

    Args:
        run: Run folder or model.safetensors, with a calibration, see: partreid calibrate
        source: A table of crops, CSV or Parquet: path, tracklet, camera, and where known time and
            identity; or a folder with <camera>/tracks.txt in MOT format and frames in
            <camera>/img1.
        out: Folder for the result.
        cameras: CSV with first, second, seconds: the least time from one camera to the other, or
            the word overlap. Nobody is then put at two cameras faster than that.
        apart: No two cameras see one place; instead of --cameras if nobody knows the times.
        embeddings: Those of the crops, if there are any, see: partreid embed; default: embed them.
        rule: What counts of two tracklets: all pairs of their crops; or the mean of each one's
            crops, by visibility; or of the best three for each part.
        prior: How likely two tracklets were one person beforehand, between 0 and 1; lower joins
            fewer.
        calibration: What decides; default calibration.json beside the model.
        anyway: Link crops that do not look like those of the calibration, too.
        tracks: Name of a tracker's file in each camera's folder.
        frames: Name of the folder of frames in it.
        fps: Frames a second; default what seqinfo.ini says.
        every: Take crops from one frame in so many.
        truth: Name of a file of true people in each camera's folder, such as gt/gt.txt, with the
            same number for a person in all cameras; the result is then held against it.
        json: Print what was found as JSON.
        device: auto, cpu or cuda.
    """
    from json import dumps

    from partreid.inference import load
    from partreid.link import CameraPairs, read_cameras, score, write_identities, write_page
    from partreid.link import link as associate
    from partreid.link.associate import NO_CALIBRATION
    from partreid.utils.files import writable

    if cameras is not None and apart:
        ui.fail("--cameras says which cameras see one place; leave --apart away")
    table, page = out / "identities.csv", out / "link.html"
    writable(table, page)
    model = load(run, device, calibration)
    decides = model.calibration
    if decides is None:
        raise DataError(NO_CALIBRATION.replace("RUN", str(run)))
    with ui.progress("cutting crops") as step:
        tracklets = _tracklets(source, out / "crops", tracks, frames, fps, every, truth, step)
    names = sorted(set(tracklets.cameras))
    pairs = (
        read_cameras(cameras, names)
        if cameras is not None
        else CameraPairs.apart(names)
        if apart
        else None
    )
    described = _described(model, tracklets, source.name, embeddings)
    notes, usable = _notes(model, described, tracklets, pairs, anyway)
    linked = associate(
        tracklets, described, decides, model.method.distance,
        pairs=pairs, rule=rule, prior=prior, usable=usable,
    )  # fmt: skip
    scores = score(tracklets, linked) if tracklets.people is not None else None
    write_identities(tracklets, linked, table)
    facts = {
        "model": model.recipe.name,
        "calibration": decides.source.made_of,
        "crops": f"{len(tracklets.paths):,}",
        "rule": rule,
        "prior": f"{linked.prior:g}",
        "constraints violated": str(linked.violated),
    }
    write_page(tracklets, linked, page, notes=notes, facts=facts, scores=scores)
    if json:
        ui.show(dumps(_plain(tracklets, linked, scores, notes)))
    else:
        for note in notes:
            ui.say(f"note: {note}")
        _say(tracklets, linked, scores)
    ui.say(f"identities: {table}; page: {page}")


def _tracklets(
    source: Path,
    crops: Path,
    tracks: str,
    frames: str,
    fps: float | None,
    every: int,
    truth: str | None,
    step: Any,
) -> "Tracklets":
    from partreid.link import read_crops, read_tracks

    if source.is_dir():
        return read_tracks(
            source, crops, tracks=tracks, frames=frames, fps=fps, every=every, truth=truth,
            progress=step,
        )  # fmt: skip
    if truth is not None:
        ui.fail(
            f"--truth is for a folder of tracks, and {source} is a table; its column identity says "
            "who is who: leave --truth away"
        )
    return read_crops(source)


def _described(
    model: "Model", tracklets: "Tracklets", where: str, kept: Path | None
) -> "SavedEmbeddings":
    """Embeddings of the crops, in their order; ``where`` names them."""
    from partreid.data.folders import require_files
    from partreid.inference import load_embeddings

    if kept is None:
        require_files(tracklets.paths, where)
        ui.say(f"embedding {len(tracklets.paths):,} crops with {model.recipe.method.name}")
        return model.index(tracklets.paths)
    saved = load_embeddings(kept)
    if saved.weights != model.bound.weights:
        ui.fail(
            f"{kept} holds embeddings of {saved.model}, not of this run; embed the crops with it, "
            "or leave --embeddings away"
        )
    return saved.of(tracklets.paths)


def _notes(
    model: "Model",
    described: "SavedEmbeddings",
    tracklets: "Tracklets",
    pairs: "CameraPairs | None",
    anyway: bool,
) -> tuple[list[str], Any]:
    """What limits the result, in sentences, and the crops that count as evidence."""
    notes = []
    doubt = model.doubt(described, described)
    usable = None
    if doubt is not None and doubt.every is not None:
        if not anyway:
            ui.fail(f"{doubt.every}; or link them all the same with --anyway")
        notes.append(f"linked all the same: {doubt.every}")
    elif doubt is not None and doubt.query.any() and not anyway:
        usable = ~doubt.query
        notes.append(
            f"{int(doubt.query.sum())} of {len(usable)} crops do not count, as they do not look "
            f"like those of {doubt.made_of}, of which the calibration was made (--anyway counts "
            "them)"
        )
    if len(set(tracklets.cameras)) > 1 and pairs is None:
        notes.append(
            "nothing was said of the cameras, so that a person may be in two of them at once; say "
            "--cameras FILE, or --apart if no two see one place"
        )
    if tracklets.timeless:
        notes.append(
            f"{tracklets.timeless} of {len(tracklets)} tracklets have no time: nothing is "
            "impossible for them"
        )
    return notes, usable


def _say(tracklets: "Tracklets", linked: "Linked", scores: "LinkScores | None") -> None:
    from partreid.evaluation.decision import percent

    unsure = [join for join in linked.joins if join.made][:5]
    ui.show(
        f"{len(tracklets)} tracklets of {len(set(tracklets.cameras))} cameras: {linked.people} "
        f"identities; {linked.violated} constraints violated"
    )
    if unsure:
        ui.table(
            "the least sure joins",
            ("identity", "tracklets", "with", "probability"),
            [
                (
                    str(linked.identity[join.a[0]]),
                    _named(tracklets, join.a),
                    _named(tracklets, join.b),
                    percent(join.probability),
                )
                for join in unsure
            ],
            left=3,
        )
    if scores is not None:
        ui.table(
            "against the truth, in percent",
            ("", "IDF1", "95 %", "pairs: precision", "recall", "B-cubed", "people", "found"),
            [
                (
                    "",
                    f"{100 * scores.idf1.value:.1f}",
                    f"{100 * scores.idf1.low:.1f} to {100 * scores.idf1.high:.1f}",
                    f"{100 * scores.precision:.1f}",
                    f"{100 * scores.recall:.1f}",
                    f"{100 * scores.bcubed:.1f}",
                    str(scores.people),
                    str(scores.identities),
                )
            ],
        )
        if scores.left_out:
            ui.show(
                f"{scores.left_out:,} of {len(tracklets.paths):,} crops are left out, as nobody "
                "says whom they show"
            )


def _named(tracklets: "Tracklets", rows: tuple[int, ...]) -> str:
    names = [f"{tracklets.cameras[t]}/{tracklets.names[t]}" for t in rows[:2]]
    return ", ".join(names) + (f" and {len(rows) - 2} more" if len(rows) > 2 else "")


def _plain(
    tracklets: "Tracklets", linked: "Linked", scores: "LinkScores | None", notes: list[str]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "tracklets": [
            {
                "tracklet": name,
                "camera": camera,
                "identity": int(who),
                "probability": float(p),
            }
            for name, camera, who, p in zip(
                tracklets.names, tracklets.cameras, linked.identity, linked.probability
            )
        ],
        "people": linked.people,
        "prior": linked.prior,
        "violated": linked.violated,
        "scores": None if scores is None else asdict(scores),
        "notes": notes,
    }
