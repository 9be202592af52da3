"""Bad files by kind: ``bad(kind, valid)`` gives those made from a good example, each name once."""

from collections.abc import Callable, Iterator, Mapping

from tests.attack.corpus import arrays, matlab, pickles, pictures, structures, tables, tensors
from tests.attack.corpus.base import Bad, anything

CORPUS: Mapping[str, Callable[[bytes], Iterator[Bad]]] = {
    "picture": pictures.crop,
    "classes": pictures.classes,
    "iuv": pictures.iuv,
    "ids": pictures.ids,
    "npy": arrays.npy,
    "npz": arrays.npz,
    "people": structures.people,
    "coco": structures.coco,
    "results": structures.results,
    "json": structures.json_,
    "lines": structures.lines,
    "ledger": structures.lines,
    "calibration": structures.json_,
    "recipe": structures.json_,
    "model": tensors.model,
    "weights": tensors.weights,
    "cache": tensors.cache,
    "checkpoint safetensors": tensors.checkpoint,
    "csv": tables.csv,
    "parquet": tables.parquet,
    "list": tables.listed,
    "mat5": matlab.mat5,
    "mat73": matlab.mat73,
    **{f"dump {kind}": pickles.dumps(kind) for kind in ("zip", "legacy", "pickle")},
    **{
        f"{what} {kind}": pickles.checkpoints(kind)
        for what in ("checkpoint", "module")
        for kind in ("zip", "legacy")
    },
}


def bad(kind: str, valid: bytes) -> Iterator[Bad]:
    seen: set[str] = set()
    for one in (*anything(valid), *CORPUS[kind](valid)):
        if one.name not in seen:
            seen.add(one.name)
            yield one
