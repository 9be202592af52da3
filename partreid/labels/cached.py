"""Part labels of a whole data set in one file, read where they lie: what another cue gave, at one
size.

The file is safetensors: one tensor ``labels``, uint8 [N, h, w], and in its header the images'
names, the parts and a digest of it all. It is mapped into memory, not read, and processes share
what they touch.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from partreid.errors import DataError
from partreid.labels.base import PartLabels
from partreid.types import UNKNOWN, PartScheme, Sample
from partreid.utils.arguments import door
from partreid.utils.files import parse_json, regular
from partreid.utils.tensors import read_header
from partreid.utils.text import brief

FORMAT = "partreid labels 1"
Array = NDArray[np.uint8]


@door
def cached_labels(
    root: Path, samples: Sequence[Sample], file: str = "labels.safetensors", digest: str = ""
) -> PartLabels:
    """Labels out of ``root/file``, which :func:`write_cache` wrote, for any of the images that it
    was written for.

    digest: if given, the file must have this one, so that a recipe that names it always means the
    same labels. DataError if the file is missing, broken, another one, or does not know an image.
    """
    path = root / file
    if path.exists():
        regular(path, "cache of labels")
    else:
        raise DataError(
            f"there is no {path}; write it with 'partreid labels cache', or name another with "
            "--set cues.parts.file=..."
        )
    header = read_header(path, "write it again with 'partreid labels cache'")
    if set(header.shapes) != {"labels"}:
        raise DataError(
            f"{path} holds {brief(', '.join(header.shapes)) or 'nothing'}, where 'labels' alone is "
            "expected; write it again with 'partreid labels cache'"
        )
    try:
        bank: Any = safe_open(str(path), "np")
        meta = bank.metadata() or {}
        if meta.get("format") != FORMAT:
            raise DataError(
                f"{path} holds no labels of ours; write it with 'partreid labels cache'"
            )
        scheme, names = _scheme(path, meta), _names(path, meta)
        labels = bank.get_slice("labels")
        shape = labels.get_shape()
        if (
            labels.get_dtype() != "U8"
            or len(shape) != 3
            or shape[0] != len(names)
            or min(shape[1:]) < 1
        ):
            raise DataError(
                f"{path} holds labels {labels.get_dtype()} {shape} for {len(names)} images, where "
                f"uint8 [{len(names)}, h, w] is expected; write it again with 'partreid labels "
                "cache'"
            )
    except DataError:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is broken ({error}); write it again with 'partreid labels cache'"
        ) from None
    if digest and digest != meta.get("digest"):
        raise DataError(
            f"{path} has the digest {meta.get('digest')}, the recipe asks for {digest}: these are "
            "other labels; find the right file, or leave cues.parts.digest out"
        )
    rows = {name: i for i, name in enumerate(names)}
    lost = [
        name for name in (cache_name(root, sample.path) for sample in samples) if name not in rows
    ]
    if lost:
        raise DataError(
            f"{path} has no labels for {len(lost)} of {len(samples)} training images; the first is "
            f"{lost[0]}. Write it again with 'partreid labels cache'"
        )
    positions = [rows[cache_name(root, sample.path)] for sample in samples]

    def read(index: int) -> Array:
        values: Array = labels[positions[index]]
        strange = values[(values > scheme.K) & (values != UNKNOWN)]
        if len(strange):
            raise DataError(
                f"{path} has the label {strange[0]} for {samples[index].path.name}; its {scheme.K} "
                f"parts are 1 to {scheme.K}. Write it again with 'partreid labels cache'"
            )
        return values

    return PartLabels(scheme, read)


def _scheme(path: Path, meta: dict[str, str]) -> PartScheme:
    parts = parse_json(meta["parts"], f"{path}, its parts")
    names, flip = (
        (parts.get("names"), parts.get("flip")) if isinstance(parts, dict) else (None, None)
    )
    if (
        not isinstance(names, list)
        or not isinstance(flip, list)
        or not 1 <= len(names) < UNKNOWN
        or not all(isinstance(name, str) for name in names)
        or len(flip) != len(names) + 1
        or not all(type(k) is int and 0 <= k < len(flip) for k in flip)
    ):
        raise DataError(
            f"{path} has no parts with names and their mirrored ones; write it again with "
            "'partreid labels cache'"
        )
    return PartScheme(tuple(names), tuple(flip))


def _names(path: Path, meta: dict[str, str]) -> list[str]:
    names = parse_json(meta["images"], f"{path}, its images")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"{path} does not name its images; write it again with 'partreid labels cache'"
        )
    return names


@door
def cache_name(root: Path, image: Path) -> str:
    """What an image is called in a cache: its place below ``root``, wherever that lies."""
    return (
        image.relative_to(root).as_posix()
        if image.is_relative_to(root)
        else f"{image.parent.name}/{image.name}"
    )


@door
def write_cache(
    path: Path,
    labels: Iterable[Array],
    names: Sequence[str],
    size: tuple[int, int],
    scheme: PartScheme,
    about: str = "",
) -> str:
    """Labels uint8 [h, w] of ``size``, one for each name, to a file that appears whole or not at
    all. Its digest.

    They are written as they come; no more than one is held. about: the cue they come from, for
    whoever reads the header. DataError if the file cannot be written.
    """
    parts = json.dumps({"names": scheme.names, "flip": scheme.flip})
    meta = {
        "format": FORMAT,
        "about": about,
        "parts": parts,
        "images": json.dumps(list(names)),
        "digest": f"sha256-{0:016x}",
    }
    shape = [len(names), *size]
    length = int(np.prod(shape))
    total = hashlib.sha256(f"{parts}\n{meta['images']}\n{shape}".encode())
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists():
        regular(path, "cache of labels")  # and a device is not replaced
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(_header(meta, shape, length))
            for item in labels:
                row = np.ascontiguousarray(item, np.uint8).tobytes()
                total.update(row)
                file.write(row)
            # never a number to who reads settings as JSON
            meta["digest"] = f"sha256-{total.hexdigest()[:16]}"
            file.seek(0)
            file.write(_header(meta, shape, length))  # as long as before
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); free some space or choose another file "
            "with --out"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return meta["digest"]


def _header(meta: dict[str, str], shape: list[int], length: int) -> bytes:
    """Of a safetensors file with one tensor: eight bytes of length, then JSON padded to a
    multiple of eight.
    """
    text = json.dumps(
        {
            "__metadata__": meta,
            "labels": {"dtype": "U8", "shape": shape, "data_offsets": [0, length]},
        }
    )
    data = text.encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data
