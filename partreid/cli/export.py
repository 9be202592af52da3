"""The command that makes a run a file of its own: export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from partreid.cli.base import Share, app
from partreid.utils import ui

if TYPE_CHECKING:
    from partreid.export import Result


@app.command
def export(
    run: Path,
    *,
    out: Path,
    with_parts: Annotated[bool, Parameter(negative="")] = False,
    check: Path | None = None,
    int8: Annotated[bool, Parameter(negative="")] = False,
    calibrate_on: Path | None = None,
    data: Path | None = None,
    dataset: str | None = None,
    rate: Share = 0.001,
    calibration: Path | None = None,
) -> None:
    """Write a trained run as one ONNX file that needs no PyTorch, and prove that it says the same.

    Args:
        run: Run folder or model.safetensors.
        out: The file, NAME.onnx; the proof is written to NAME.json.
        with_parts: Put part maps in, so that evidence can be drawn.
        check: Crops to prove it on, as embed takes them; default some drawn people.
        int8: Compute convolutions with 8 bits: smaller, faster, a little less exact.
        calibrate_on: With --int8, crops like those that it will see; some hundred are enough.
        data: Labelled crops to put the threshold on the file itself and to score it beside the run.
        dataset: Which data set that is; default what the recipe names.
        rate: With --data, share of impostor pairs that may be taken for one person.
        calibration: What the file decides by; default calibration.json beside the model.
    """
    if int8 and calibrate_on is None:
        ui.fail(
            "--int8 needs --calibrate-on, crops like those that the model will see, a folder or a "
            "list of them"
        )
    if calibrate_on is not None and not int8:
        ui.fail("--calibrate-on says what to quantise by; add --int8, or leave it out")
    if data is None and dataset is not None:
        ui.fail("--dataset says which data set --data is; give both")
    from partreid.export import Labelled
    from partreid.export import export as run_export
    from partreid.inference import crop_paths, listed

    done = run_export(
        run,
        out,
        with_parts=with_parts,
        check=None if check is None else crop_paths(listed(check)),
        int8=None if calibrate_on is None else crop_paths(listed(calibrate_on)),
        labelled=None if data is None else Labelled(data, dataset, rate),
        calibration=calibration,
        progress=ui.say,
    )
    _say(done)


def _say(done: "Result") -> None:
    proof, card = done.proof, done.card
    ui.table(
        "",
        ("embedding", "largest difference", "least cosine", "mean cosine", "visibility flips"),
        [
            (
                row.name,
                f"{row.difference:.1e}",
                f"{row.cosine:.6f}",
                f"{row.mean_cosine:.6f}",
                str(row.flips),
            )
            for row in proof.rows
        ],
    )
    decided = (
        "no calibration, so no decision"
        if card.calibration is None
        else f"{proof.decisions:,} of {proof.pairs:,} pairs decided alike"
    )
    ui.show(
        f"{proof.crops} crops in batches of {' and '.join(map(str, proof.batches))}: nearest crop "
        f"the same for {proof.nearest} of {proof.crops}; {decided}"
    )
    for s in done.scores:
        ui.show(
            f"{s.queries}: Rank-1 {100 * s.rank1[0]:.1f} of the run, {100 * s.rank1[1]:.1f} of the "
            f"file; mAP {100 * s.mAP[0]:.1f} and {100 * s.mAP[1]:.1f}"
        )
    decides = card.decision(done.file)
    if decides is not None and not decides.verified:
        ui.show(
            "the threshold in it is that of the model in float, and not verified for 8 bits; give "
            "labelled crops with --data to put one for this file"
        )
    ui.say(f"exported: {done.file} ({done.file.stat().st_size / 2**20:.1f} MiB), {done.report}")
