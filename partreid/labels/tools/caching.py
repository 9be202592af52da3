"""A cue's labels of all training images in one file, which the cue ``cached`` reads."""

from pathlib import Path

from partreid import build
from partreid.data.transforms import resize_nearest
from partreid.errors import DataError, RecipeError
from partreid.labels.cached import cache_name, write_cache
from partreid.labels.pseudo import PseudoLabels
from partreid.labels.tools.base import Progress, Written, in_order
from partreid.recipes.base import Spec
from partreid.types import Benchmark
from partreid.utils.files import real, writable

FILE = "labels.safetensors"  # where the cue ``cached`` looks first


def cache(
    spec: Spec,
    of: Benchmark,
    size: tuple[int, int] = (256, 128),
    out: Path | None = None,
    progress: Progress | None = None,
) -> Written:
    """Writes what the cue ``spec`` gives on the training images, at ``size`` (height, width),
    default to ``labels.safetensors`` in the data set's root.

    At the size of a recipe's images training sees exactly what it would see without the cache:
    there cues are brought to that size, nearest label by nearest label, before anything else.
    RecipeError for cues without fixed part labels.
    """
    if "masks" in spec.args:
        raise RecipeError(
            "a cache holds labels, and this cue gives soft masks, which would not be the same "
            "training; leave cues.parts.masks out"
        )
    cue = build.cue(spec, of)
    if cue.scheme is None or isinstance(cue, PseudoLabels):
        raise RecipeError(
            f"the cue '{spec.name}' has no part labels that could be kept: "
            f"{'it makes them while training' if cue.scheme else 'uv_tiles has a cache of its own'}"
        )
    path = out or of.root / FILE
    writable(path)
    rows = in_order(lambda i: resize_nearest(cue[i], size), len(of.train), progress)
    names = [cache_name(of.root, sample.path) for sample in of.train]
    if len(set(names)) < len(names):
        raise DataError(
            "two training images have the same folder and name, so their labels could not be told "
            "apart in one file; rename one of them"
        )
    about = f"{spec.name}({', '.join(f'{name}={value}' for name, value in spec.args.items())})"
    # cues of labels give uint8, which the protocol of all cues does not say
    digest = write_cache(path, rows, names, size, cue.scheme, about)  # type: ignore[arg-type]
    inside = (
        path.relative_to(of.root).as_posix() if path.is_relative_to(of.root) else str(real(path))
    )
    where = {} if inside == FILE else {"file": inside}
    return Written(
        f"Labels of {len(names):,} images at {size[0]} x {size[1]} in {path} "
        f"({path.stat().st_size / 2**20:.1f} MiB).",
        Spec("cached", **where, digest=digest),
    )
