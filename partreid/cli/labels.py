"""Commands about part labels: import, check, count, draw, cache and make them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partreid.cli.base import Assignments, Count, Picture, labels
from partreid.utils import ui

if TYPE_CHECKING:
    from partreid.labels.tools.base import Written
    from partreid.recipes import Spec

Source = Literal["densepose", "pifpaf", "keypoints", "parsing", "parts"]


def _cue(cue: str | None, settings: tuple[str, ...]) -> "Spec":
    """A cue from its name and ``key=value``, which may be those of a training,
    ``cues.parts.key=value``.
    """
    from partreid.errors import RecipeError
    from partreid.recipes import Spec, value_of

    args = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise RecipeError(f"--set needs the form key=value, got '{setting}'")
        keys = path.split(".")
        keys = keys[2:] if keys[0] == "cues" and len(keys) > 1 else keys
        if not keys or keys == ["name"]:
            cue = text
        elif len(keys) > 1:
            raise RecipeError(
                f"--set {path} is no argument of a cue; give key=value or cues.parts.key=value"
            )
        else:
            args[keys[0]] = value_of(text)
    if cue is None:
        raise RecipeError(
            "which labels? Name the cue that reads them: --cue parsing, densepose, pifpaf, "
            "keypoints, surfaces, cached, stripes or uv_tiles, or --set cues.parts=..."
        )
    return Spec(cue, **args)


def _say_written(written: "Written") -> None:
    ui.say(written.sentence)
    ui.show(written.settings)


@labels.command(name="import")
def import_(
    source: Source,
    given: Path,
    *,
    data: Path,
    dataset: str | None = None,
    out: Path | None = None,
    parser: str | None = None,
    parts: str | None = None,
    missing: Literal["error", "unknown"] = "error",
    select: Literal["target", "area", "score", "center"] = "target",
    overwrite: bool = False,
    cache: bool = False,
) -> None:
    """Take over label files of another tool: check them all, then write them under the crops' own
    names.

    Ends with the settings for partreid train, on standard output.

    Args:
        source: densepose (a dump, or a folder of IUV pictures), pifpaf (36 fields or raw outputs),
            keypoints (COCO's 17 as JSON), parsing (class images of a human parser) or parts (images
            that hold the parts themselves).
        given: The file or folder of labels.
        data: Root of the data set, or a folder of crops.
        dataset: Which data set it is, see: partreid data list; without it, all crops below the
            folder.
        out: Where to; default iuv, masks/pifpaf, keypoints or parsing in the root.
        parser: Whose classes these are: lip, atr, pascal, sapiens, densepose14 or densepose24.
        parts: Part set to train with; default five, for pifpaf and keypoints eight, for parts
            seven.
        missing: What files that cannot be used are: an error, or their images unknown to the part
            loss.
        select: Whom of several people in a dump: the target (area x nearness to the middle), or by
            box or score.
        overwrite: Replace labels that are there.
        cache: Also write them to one file, as partreid labels cache does.
    """
    from partreid.labels.tools.base import crops
    from partreid.labels.tools.importing import import_labels

    of = crops(data, dataset)
    with ui.progress("checking") as checking, ui.progress("writing") as writing:
        written = import_labels(
            source,
            given,
            of,
            out,
            parser=parser,
            parts=parts,
            missing=missing,
            select=select,
            overwrite=overwrite,
            checking=checking,
            writing=writing,
        )
    if cache:
        from partreid.labels.tools.caching import cache as keep

        ui.say(written.sentence)
        with ui.progress("caching") as step:
            written = keep(written.cue, of, progress=step)
    _say_written(written)


@labels.command(name="check")
def check_labels(
    *, data: Path, dataset: str | None = None, cue: str | None = None, set_: Assignments = ()
) -> None:
    """Read every label of the training images, say what is wrong and how to mend it.

    Args:
        data: Root of the data set, or a folder of crops.
        dataset: Which data set it is; without it, all crops below the folder.
        cue: What reads the labels: parsing, densepose, pifpaf, keypoints, surfaces, cached, stripes
            or uv_tiles.
        set_: An argument of it, e.g. --set parts=eight; settings of a training
            (cues.parts.parts=eight) do as well.
    """
    from partreid.labels.tools.base import crops
    from partreid.labels.tools.check import check

    spec, of = _cue(cue, set_), crops(data, dataset)
    with ui.progress("reading labels") as step:
        report = check(spec, of, step)
    ui.show(report.sentence())
    for problem in report.problems:
        ui.show(problem)
    ui.show(
        "nothing looks wrong" if report.sound else f"{len(report.problems)} thing(s) to look at"
    )


@labels.command
def stats(
    *,
    data: Path,
    dataset: str | None = None,
    cue: str | None = None,
    set_: Assignments = (),
    json: bool = False,
) -> None:
    """Count how often each part is labelled, how large it is, and whether left and right are in
    balance.

    Args:
        data: Root of the data set, or a folder of crops.
        dataset: Which data set it is; without it, all crops below the folder.
        cue: What reads the labels, see: partreid labels check --help
        set_: An argument of it, e.g. --set parts=eight
        json: Print as JSON instead of a table.
    """
    from json import dumps

    from partreid import build
    from partreid.labels.tools.base import as_labels, crops
    from partreid.labels.tools.stats import measure

    spec, of = _cue(cue, set_), crops(data, dataset)
    with ui.progress("reading labels") as step:
        counts = measure(build.cue(as_labels(spec), of), of.train, step)
    if json:
        ui.show(dumps(counts.to_dict()))
        return
    rows = [
        (
            part.name,
            f"{part.images:,}",
            f"{100 * part.images / counts.images:.1f} %",
            f"{100 * part.pixels:.1f} %",
        )
        for part in counts.parts
    ]
    rows.append(
        (
            "any part",
            f"{counts.labelled:,}",
            f"{100 * counts.coverage:.1f} %",
            f"{100 * counts.person:.1f} %",
        )
    )
    ui.table("", ("part", "images", "of all", "of the crop, where shown"), rows)
    for pair, left in counts.balance.items():
        ui.show(f"{pair}: {100 * left:.0f} % left, {100 - 100 * left:.0f} % right")
    if counts.broken:
        ui.say(f"{len(counts.broken)} could not be read, the first: {counts.broken[0][1]}")


@labels.command(name="preview")
def preview_labels(
    *,
    data: Path,
    out: Picture,
    dataset: str | None = None,
    cue: str | None = None,
    set_: Assignments = (),
    rows: Count = 4,
) -> None:
    """Draw crops with their labels on them, to see whether they are right.

    Args:
        data: Root of the data set, or a folder of crops.
        out: PNG or JPEG to write.
        dataset: Which data set it is; without it, all crops below the folder.
        cue: What reads the labels, see: partreid labels check --help
        set_: An argument of it, e.g. --set parts=eight
        rows: Rows of crops.
    """
    from partreid.labels.tools.base import crops
    from partreid.labels.tools.preview import preview
    from partreid.utils.files import writable
    from partreid.utils.images import save_image

    writable(out)
    save_image(preview(_cue(cue, set_), crops(data, dataset), rows), out)
    ui.say(f"preview: {out}")


@labels.command(name="cache")
def cache_labels(
    *,
    data: Path,
    dataset: str | None = None,
    cue: str | None = None,
    set_: Assignments = (),
    size: tuple[Count, Count] = (256, 128),
    out: Path | None = None,
) -> None:
    """Keep the part labels of all training images in one file, which the cue cached reads.

    Ends with the settings for partreid train, on standard output.

    Args:
        data: Root of the data set, or a folder of crops.
        dataset: Which data set it is; without it, all crops below the folder.
        cue: What reads the labels, see: partreid labels check --help
        set_: An argument of it, e.g. --set parts=eight
        size: Height and width; at those of the recipe's images training sees the very same labels.
        out: File to write; default labels.safetensors in the root.
    """
    from partreid.labels.tools.base import crops
    from partreid.labels.tools.caching import cache

    spec, of = _cue(cue, set_), crops(data, dataset)
    with ui.progress("caching") as step:
        written = cache(spec, of, size, out, step)
    _say_written(written)


@labels.command
def quality(
    run: Path,
    *,
    data: Path,
    against: Literal["parsing", "surfaces"] = "parsing",
    dataset: str | None = None,
    on: Literal["train", "test"] = "train",
    set_: Assignments = (),
    json: bool = False,
    device: str = "auto",
) -> None:
    """Compare the parts that a run found with a parser's labels, as ISP's Table 3 does.

    Judged are the labels that the run made for itself (ISP, HCGA) and the parts that it predicts;
    beside them a bell in the middle and stripes, which look at nothing.

    Args:
        run: Run folder.
        data: Root folder of the images.
        against: parsing, class images of a human parser; or surfaces, the exact ones of made-up
            people.
        dataset: Which data set it is; default what the recipe names.
        on: train, the images it was trained on; or test, queries and gallery.
        set_: Where the reference comes from, e.g. --set source=lip --set folder=parsing --set
            missing=unknown
        json: Print as JSON instead of a table.
        device: auto, cpu or cuda.
    """
    from json import dumps

    from partreid.evaluation.quality import quality as measured

    judged = measured(run, data, _cue(against, set_), dataset, on, device)
    if json:
        ui.show(dumps(judged.plain()))
        return
    judged.show()


@labels.command
def make(
    crops: Path,
    *,
    model: str,
    out: Path,
    device: str = "auto",
    download: bool = False,
    parser: str | None = None,
    target: Literal["center", "all"] = "center",
    batch: Count = 16,
    overwrite: bool = False,
) -> None:
    """Label crops with a model that transformers can load; needs pip install 'partreid[labels]'.

    Ends with the settings for partreid train, on standard output.

    Args:
        crops: Folder of crops, folders in it included.
        model: clothes (a SegFormer parser), keypoints (ViTPose), a folder with such a model, or its
            name on the hub.
        out: Folder for the labels, for training parsing or keypoints in the data set's root; goes
            on where it was.
        device: auto, cpu or cuda.
        download: Fetch the model from huggingface.co if it is not here; without this nothing is
            fetched.
        parser: Whose classes a parser of your own has, if their names do not tell: lip, atr,
            pascal, sapiens, ...
        target: Whose pixels a parser's labels keep: the person in the center, or all people.
        batch: Crops at once.
        overwrite: Make labels anew that are there.
    """
    from partreid import build
    from partreid.labels.tools.models import load
    from partreid.labels.tools.predict import make as run

    loaded = load(model, build.device(device), download, parser)
    with ui.progress("labelling") as step:
        written = run(loaded, crops, out, model, target, batch, overwrite, step)
    _say_written(written)
