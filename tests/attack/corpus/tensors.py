"""Bad safetensors: headers that lie about sizes, metadata that was edited, tensors that do not
fit.
"""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.attack.corpus.base import Bad, sparse
from tests.attack.corpus.structures import DEEP, HUGE, JUNK, text

SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


def opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def closed(header: Any, body: bytes) -> bytes:
    head = text(header).encode("utf-8", "surrogatepass")
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def headers(valid: bytes) -> Iterator[Bad]:
    """A header that is none, or tells another story than the body."""
    header, body = opened(valid)
    names = [name for name in header if name != "__metadata__"]
    name = max(names, key=lambda n: header[n]["data_offsets"][1] - header[n]["data_offsets"][0])

    def with_(what: str, refused: bool = True, more: bytes = b"", **fields: Any) -> Bad:
        return Bad.of(
            what, closed({**header, name: {**header[name], **fields}}, body + more), refused
        )

    yield Bad.of("a header of 2^63 bytes", struct.pack("<Q", 2**63) + valid[8:])
    yield Bad.of("a header of 10^9 bytes", struct.pack("<Q", 10**9) + valid[8:])
    yield Bad.of("a header of no bytes", struct.pack("<Q", 0) + valid[8:])
    for junk in ([], {}, None, 1, "text", DEEP):
        yield Bad.of(f"the header is {str(junk)[:20]!r}", closed(junk, body))
    for shape in (
        [100_000, 100_000],
        [2**62, 4],
        [-1],
        [],
        [HUGE],
        "text",
        [0],
        [1.5],
        [2**63, 0],
        [1] * 5000,
    ):
        yield with_(f"a tensor of shape {str(shape)[:30]}", shape=shape)
    for offsets in ([0, 2**62], [10, 0], [-8, 8], [0], "text", [2**63, 2**64], [0, 0]):
        yield with_(f"a tensor at {str(offsets)[:30]}", data_offsets=offsets)
    for dtype in ("F128", "", None, 5, "I64", "F8_E4M3", "BOOL"):
        yield with_(f"a tensor of type {dtype}", dtype=dtype)
    yield Bad.of("two tensors in one place", closed({**header, "x": header[name]}, body))
    yield Bad.of(
        "a tensor that nobody knows",
        closed(
            {
                **header,
                "x": {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]},
            },
            body + bytes(8),
        ),
    )
    huge = 10**10
    entry = {"dtype": "F32", "shape": [huge], "data_offsets": [len(body), len(body) + 4 * huge]}
    large = closed({**header, "x": entry}, body)
    yield Bad("a tensor of 40 GB that is there", sparse(len(large) + 4 * huge, large))
    yield Bad.of(
        "20,000 tensors of nothing",
        closed(
            {
                **header,
                **{
                    f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [len(body), len(body)]}
                    for i in range(20_000)
                },
            },
            body,
        ),
    )
    yield Bad.of(
        "no tensors", closed({key: header[key] for key in header if key == "__metadata__"}, b"")
    )
    for kind, value in (
        ("a number", 5),
        ("null", None),
        ("a list", []),
        ("tables", {"partreid": {}}),
        ("numbers", {"partreid": 5}),
    ):
        yield Bad.of(f"metadata that is {kind}", closed({**header, "__metadata__": value}, body))
    yield Bad.of(
        "no metadata", closed({key: header[key] for key in header if key != "__metadata__"}, body)
    )


def tensors(valid: bytes) -> Iterator[Bad]:
    """Whole files with wrong tensors in them."""
    from safetensors.numpy import load, save

    header, _ = opened(valid)
    arrays = {name: value.copy() for name, value in load(valid).items()}
    meta = header.get("__metadata__", {})
    # By name, for the order of a file's tensors is nobody's; model/ comes before the optimizers of
    # a checkpoint.
    first = next(
        name
        for name in sorted(arrays)
        if arrays[name].dtype == np.float32
        and arrays[name].ndim > 1
        and min(arrays[name].shape) > 1
    )

    def with_(what: str, refused: bool = True, **changed: Any) -> Bad:
        return Bad.of(what, save({**arrays, **changed}, meta), refused)

    for number in (np.nan, np.inf, -np.inf):
        wrong = arrays[first].copy()
        wrong.flat[0] = number
        yield with_(f"one weight {number}", **{first: wrong})
    yield Bad.of(
        "all weights NaN",
        save(
            {
                name: np.full_like(value, np.nan) if value.dtype == np.float32 else value
                for name, value in arrays.items()
            },
            meta,
        ),
    )
    for dtype in (np.float64, np.float16, np.int64, np.uint8, np.bool_):
        yield with_(f"a weight of {np.dtype(dtype)}", **{first: arrays[first].astype(dtype)})
    yield with_("a weight of another shape", **{first: arrays[first][..., :1]})
    yield with_("a weight of no size", **{first: arrays[first][:0]})
    yield with_("a weight that is flat", **{first: arrays[first].ravel()})
    yield with_("a weight with one dimension more", **{first: arrays[first][None]})
    yield Bad.of("one weight missing", save({n: v for n, v in arrays.items() if n != first}, meta))
    yield with_("one weight too many", x=np.zeros(3, np.float32))
    yield Bad.of("all names different", save({f"y.{n}": v for n, v in arrays.items()}, meta))


def edited(
    valid: bytes, changes: Callable[[dict[str, Any]], Iterator[tuple[str, Any]]]
) -> Iterator[Bad]:
    """The metadata of ours, under the key partreid, changed."""
    header, body = opened(valid)
    for name, value in changes(json.loads(header["__metadata__"]["partreid"])):
        raw = value if isinstance(value, str) else text(value)
        yield Bad.of(
            f"metadata: {name}",
            closed({**header, "__metadata__": {"partreid": raw}}, body),
            refused=False,
        )


def of_a_model(meta: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What people do to a model's metadata by hand, and worse."""
    for junk in JUNK:
        yield f"all {str(junk)[:20]!r}", text(junk)
    yield from (
        ("no JSON", "{"),
        ("empty", ""),
        ("deep", "[" * 100_000),
        ("NaN", "NaN"),
        ("10^5000", "9" * 5000),
    )
    for key in meta:
        yield f"no {key}", {k: v for k, v in meta.items() if k != key}
        for junk in JUNK:
            yield f"{key} {str(junk)[:20]!r}", {**meta, key: junk}
    for identities in (-1, 0, 10**15, "many", 2.5, None, [3], HUGE, True, 2):
        yield f"identities {str(identities)[:20]!r}", {**meta, "identities": identities}
    recipe = meta["recipe"]
    for key in recipe:
        yield (
            f"recipe without {key}",
            {**meta, "recipe": {k: v for k, v in recipe.items() if k != key}},
        )
        for junk in (None, -1, 10**15, HUGE, "text", [], {}, [1, 2], float("nan"), DEEP):
            yield f"recipe {key} {str(junk)[:20]!r}", {**meta, "recipe": {**recipe, key: junk}}
    for size in (
        [0, 0],
        [-1, 5],
        [100_000, 100_000],
        [10**12, 1],
        [1, 1],
        [3],
        [True, False],
        [HUGE, 1],
    ):
        yield f"size {str(size)[:20]}", {**meta, "recipe": {**recipe, "size": size}}
    for width in (0, -1, 4 * 10**8, 10**15, HUGE, "wide", None, 2.5, True):
        trunk = {**recipe["backbone"], "args": {**recipe["backbone"]["args"], "width": width}}
        yield f"width {str(width)[:20]!r}", {**meta, "recipe": {**recipe, "backbone": trunk}}
    for trunk in ("resnet50", "hrnet_w32", "nothing", "", "resnet50_ibn_a"):
        yield f"trunk {trunk!r}", {**meta, "recipe": {**recipe, "backbone": trunk}}
    for method in ("bot", "pcb", "dsa", "nothing", "__class__"):
        yield f"method {method!r}", {**meta, "recipe": {**recipe, "method": method}}
    if meta.get("parts"):
        parts = meta["parts"]
        for names in (
            [],
            ["a"],
            ["a", "a"],
            [1, 2, 3],
            "abc",
            None,
            ["\x1b[31m"] * 3,
            parts["names"] * 40,
            [[]] * 3,
        ):
            yield f"names {str(names)[:20]!r}", {**meta, "parts": {**parts, "names": names}}
        for flip in (
            [],
            [0],
            [1, 0, 2],
            [0, 0, 0],
            "abc",
            None,
            [-1] * 9,
            [10**15] * 9,
            [HUGE] * 9,
        ):
            yield f"flip {str(flip)[:20]!r}", {**meta, "parts": {**parts, "flip": flip}}


def model(valid: bytes) -> Iterator[Bad]:
    yield from headers(valid)
    yield from tensors(valid)
    yield from edited(valid, of_a_model)


def weights(valid: bytes) -> Iterator[Bad]:
    """Read for its tensors."""
    yield from headers(valid)
    yield from tensors(valid)

    def junk(meta: Any) -> Iterator[tuple[str, Any]]:
        for value in JUNK:
            yield f"all {str(value)[:20]!r}", text(value)
        for key in meta if isinstance(meta, dict) else ():
            yield f"no {key}", {k: v for k, v in meta.items() if k != key}
            for value in JUNK:
                yield f"{key} {str(value)[:20]!r}", {**meta, key: value}

    yield from edited(valid, junk)


def cache(valid: bytes) -> Iterator[Bad]:
    """Of part labels: its metadata are texts of their own."""
    yield from headers(valid)
    header, body = opened(valid)
    meta = header["__metadata__"]
    for key in meta:
        yield Bad.of(
            f"no {key}",
            closed({**header, "__metadata__": {k: v for k, v in meta.items() if k != key}}, body),
            refused=key not in ("about", "digest"),
        )
        for junk in (*JUNK, "not JSON", "[" * 100_000):
            value = junk if isinstance(junk, str) and junk not in (DEEP, HUGE) else text(junk)
            yield Bad.of(
                f"{key} {str(junk)[:20]!r}",
                closed({**header, "__metadata__": {**meta, key: value}}, body),
                refused=False,
            )
    label = header["labels"]
    high, wide = label["shape"][1:]
    for shape in (
        [2, high * wide],
        [2 * high, wide],
        [1, 2 * high, wide],
        [2, high, wide, 1],
        [2 * high * wide],
    ):
        yield Bad.of(
            f"labels of {shape}", closed({**header, "labels": {**label, "shape": shape}}, body)
        )
    yield Bad.of(
        "labels of int8",
        closed({**header, "labels": {**label, "dtype": "I8"}}, body),
        refused=False,
    )
    yield Bad.of(
        "labels of float16",
        closed(
            {**header, "labels": {**label, "dtype": "F16", "shape": [2, high, wide // 2]}}, body
        ),
    )
    yield Bad.of("labels that no part has", closed(header, bytes([200]) * len(body)), refused=True)


def checkpoint(valid: bytes) -> Iterator[Bad]:
    """Another project's safetensors."""
    yield from (
        bad
        for bad in headers(valid)
        if "metadata" not in bad.name and "knows" not in bad.name and bad.name != "no tensors"
    )
