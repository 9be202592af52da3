"""Tables as link reads and writes them: CSV, or Parquet with pyarrow."""

import csv
import io
from pathlib import Path

from partreid.data.folders import needed
from partreid.link.associate import Linked
from partreid.link.tracklets import Tracklets
from partreid.utils.arguments import door
from partreid.utils.files import write_atomically

IDENTITIES = ("tracklet", "camera", "start", "end", "crops", "identity", "probability")


@door
def write_identities(tracklets: Tracklets, linked: Linked, file: str | Path) -> Path:
    """The result as a table: a line for every tracklet, in the order of identities and times.

    Args:
        tracklets: T of them.
        linked: What :func:`partreid.link.link` found about them.
        file: Ends in .csv, or in .parquet, which needs pyarrow.

    Returns:
        The file; columns tracklet, camera, start, end, crops, identity, probability. A time that
        nobody knows is empty.

    Raises:
        DataError: The file cannot be written, or pyarrow is missing.

    Examples:
        >>> from partreid.link import TrackedCrop
        >>> crops = [TrackedCrop("a.jpg", "t1", "c1", 0.0), TrackedCrop("b.jpg", "t2", "c1", 4.0)]
        >>> two, file = Tracklets.of(crops), "identities.csv"
        >>> print(write_identities(two, Linked.alone(2), file).read_text().splitlines()[1])
        t1,c1,0.0,0.0,1,1,1.0
    """
    file = Path(file)
    counts = tracklets.counts
    order = sorted(
        range(len(tracklets)),
        key=lambda t: (linked.identity[t], tracklets.start[t], tracklets.names[t]),
    )
    columns: dict[str, list[object]] = {name: [] for name in IDENTITIES}
    for t in order:
        start, end = float(tracklets.start[t]), float(tracklets.end[t])
        row = (
            tracklets.names[t],
            tracklets.cameras[t],
            None if start != start else start,
            None if end != end else end,
            int(counts[t]),
            int(linked.identity[t]),
            round(float(linked.probability[t]), 6),
        )
        for name, value in zip(IDENTITIES, row, strict=True):
            columns[name].append(value)
    if file.suffix.lower() == ".parquet":
        write_atomically(file, _parquet(columns))
    else:
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(IDENTITIES)
        writer.writerows(zip(*columns.values(), strict=True))
        write_atomically(file, out.getvalue().encode())
    return file


def _parquet(columns: dict[str, list[object]]) -> bytes:
    needed("pyarrow", "parquet", "writing Parquet (CSV needs nothing)")
    import pyarrow
    from pyarrow import parquet

    kinds = {
        "tracklet": pyarrow.string(), "camera": pyarrow.string(), "start": pyarrow.float64(),
        "end": pyarrow.float64(), "crops": pyarrow.int64(), "identity": pyarrow.int64(),
        "probability": pyarrow.float64(),
    }  # fmt: skip
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns, pyarrow.schema(list(kinds.items()))), sink)
    out: bytes = sink.getvalue().to_pybytes()
    return out
