"""The file of an exported model: an ONNX model with a card in its metadata that says what it is,
and seals by which a change to either shows.

An ONNX file is a protobuf message. Its outermost fields are walked here, by hand: so a file is held
against its own length, its card is read and its seals are checked before onnxruntime sees a byte.
The seals are plain hashes. They find damage and edits; whoever forges a file on purpose can make
them anew.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, DataError, PartReidError
from partreid.runtime.decision import Decision, bound_model
from partreid.runtime.distance import PartDistance
from partreid.utils.arguments import check_fields, fits, integer, quoted, require
from partreid.utils.files import MIB, parse_json, read_bytes
from partreid.utils.images import read_image

FORMAT = 1
KEY, SEAL = "partreid", "partreid.sha256"
LIMIT = 2048 * MIB  # of a file: no protobuf message is longer
CARD_LIMIT = 64 * MIB
_PIXELS = 2**20  # of an input image
_NUMBERS = 2**20  # of an embedding, and of all embeddings of an image together
_MOST = 4096  # embeddings of an image
_CHECKS = 64  # pictures that a file holds to check itself by
_IR_VERSION, _METADATA, _GRAPH = 1, 14, 7  # numbers of a ModelProto's fields
_LENGTH = {1: 8, 5: 4}  # of fields of fixed length, by wire type
_AGAIN = "export the run again with partreid export"


@dataclass(frozen=True, eq=False)
class Checks:
    """Pictures of drawn people and what the model that was exported makes of them.

    Args:
        pictures: uint8 [n, H, W, 3], of the model's size.
        vectors: float32 [n, M, D], the float model's.
        visibility: float32 [n, M].
        cosine: The least mean cosine over the pictures, of any embedding, that the file is to give.
    """

    pictures: NDArray[np.uint8]
    vectors: NDArray[np.float32]
    visibility: NDArray[np.float32]
    cosine: float

    def plain(self) -> dict[str, Any]:
        """As JSON has it: pictures as PNG, numbers as little-endian float32, all in base64."""
        from PIL import Image

        coded = []
        for picture in self.pictures:
            data = BytesIO()
            Image.fromarray(picture).save(data, format="PNG")
            coded.append(_text(data.getvalue()))
        return {
            "pictures": coded,
            "vectors": _text(self.vectors.astype("<f4").tobytes()),
            "visibility": _text(self.visibility.astype("<f4").tobytes()),
            "cosine": self.cosine,
        }

    @classmethod
    def of(cls, values: Any, size: tuple[int, int], names: int, width: int) -> "Checks":
        """Of the table that :meth:`plain` gives. ArgumentError or DataError if it is none."""
        require(isinstance(values, dict), "checks", "a table", values)
        coded = values.get("pictures")
        require(
            fits(coded, list[str]) and len(coded) <= _CHECKS,
            "checks.pictures",
            f"at most {_CHECKS} pictures",
            coded,
        )
        pictures = np.zeros((len(coded), *size, 3), np.uint8)
        for row, text in enumerate(coded):
            picture = read_image(BytesIO(_bytes("checks.pictures", text)))
            require(
                picture.size == size[::-1], "checks.pictures", "of the input's size", picture.size
            )
            pictures[row] = np.asarray(picture)
        cosine = values.get("cosine")
        require(fits(cosine, float) and -1 <= cosine <= 1, "checks.cosine", "from -1 to 1", cosine)
        return cls(
            pictures,
            _floats("checks.vectors", values.get("vectors"), (len(coded), names, width)),
            _floats("checks.visibility", values.get("visibility"), (len(coded), names)),
            cosine,
        )


@dataclass(frozen=True, eq=False)
class Card:
    """What an exported file says of itself.

    Args:
        names: Of the M embeddings.
        width: D, numbers in each.
        size: (H, W) of the images it takes.
        distance: How its embeddings are compared.
        recipe: The recipe as JSON has it.
        digest: Twelve hex digits of that recipe.
        weights: SHA-256 of the weights; of a quantised file that of its graph.
        precision: "float32" or "int8".
        origin: The SHA-256 of the model that was exported, to which a calibration is bound.
        scheme: Names of the K parts of the third output, () if there is none.
        calibration: As ``partreid calibrate`` wrote it, None if there is none.
        checks: See :class:`Checks`.
        graph: SHA-256 of all of the file but the metadata.
        version: Of partreid.
    """

    names: tuple[str, ...]
    width: int
    size: tuple[int, int]
    distance: PartDistance
    recipe: dict[str, Any]
    digest: str
    weights: str
    precision: str
    origin: str
    scheme: tuple[str, ...]
    calibration: dict[str, Any] | None
    checks: Checks
    graph: str
    version: str

    def __post_init__(self) -> None:
        check_fields(self)
        integer("width", self.width, 1, _NUMBERS)
        require(
            0 < len(self.names) == len(set(self.names)) <= _MOST,
            "names",
            f"1 to {_MOST} distinct names",
            self.names,
        )
        integer("numbers of an image's embeddings", len(self.names) * self.width, 1, _NUMBERS)
        height, width = self.size
        require(
            min(height, width) >= 1 and height * width <= _PIXELS,
            "size",
            f"height and width in pixels, no more than {_PIXELS:,} in all",
            self.size,
        )
        require(
            self.precision in ("float32", "int8"),
            "precision",
            "'float32' or 'int8'",
            self.precision,
        )

    @property
    def model(self) -> str:
        """SHA-256 of weights, distance, names and recipe, to which a calibration is bound."""
        return bound_model(self.weights, self.distance.rule, self.names, self.digest)

    def decision(self, source: object) -> Decision | None:
        """Its calibration as what decides. DataError if that is damaged or of another model."""
        return None if self.calibration is None else self.bound(self.calibration, source)

    def bound(self, calibration: Any, source: object) -> Decision:
        """A calibration as what decides, after checking that it is of this model. A quantised file
        may carry that of the model it comes from: then it is not verified.
        """
        decision = Decision.of(calibration, source)
        if decision.model == self.model:
            return decision
        if decision.model == self.origin and self.precision != "float32":
            return Decision.of(calibration, source, verified=False)
        what = (
            "other weights"
            if decision.weights != self.weights
            else "the same weights with another distance, other parts or another recipe"
        )
        raise DataError(
            f"{source} was made for another model ({decision.model[:12]}, this file is "
            f"{self.model[:12]}): {what}. Its threshold means nothing here: make a calibration for "
            "this model and export it again"
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        d = self.distance
        return {
            "partreid_export": FORMAT,
            **values,
            "distance": {
                "metric": d.metric, "weights": d.weights, "shrink": d.shrink, "far": d.far
            },
            "checks": self.checks.plain(),
        }  # fmt: skip

    @classmethod
    def of(cls, values: Any) -> "Card":
        """Of the table that :meth:`plain` gives. PartReidError names what is not as it is
        written.
        """
        require(isinstance(values, dict), "the card", "a table", values)
        version = values.get("partreid_export")
        if version != FORMAT:
            raise DataError(f"its format is {quoted(version)}, this version reads {FORMAT}")
        wanted = {f.name for f in fields(cls)}
        require(
            wanted == set(values) - {"partreid_export"},
            "the card",
            f"a table of {', '.join(sorted(wanted))}",
            sorted(values),
        )
        given = {name: values[name] for name in wanted}
        for name in ("names", "size", "scheme"):
            given[name] = _tuple(name, given[name])
        rule = given["distance"]
        require(
            isinstance(rule, dict) and set(rule) == set(PartDistance.__dataclass_fields__),
            "distance",
            "a table of a PartDistance's fields",
            rule,
        )
        weights = None if rule["weights"] is None else _tuple("weights", rule["weights"])
        given["distance"] = PartDistance(**{**rule, "weights": weights})
        given["checks"] = Checks(
            np.zeros((0, 1, 1, 3), np.uint8),
            np.zeros((0, 1, 1), np.float32),
            np.zeros((0, 1), np.float32),
            0.0,
        )
        bounded = cls(**given)  # sizes are in range before pictures of that size are made
        checks = Checks.of(values["checks"], bounded.size, len(bounded.names), bounded.width)
        return cls(**{**given, "checks": checks})


def written(model: bytes, card: Card) -> bytes:
    """An ONNX model without metadata as the bytes of a file, with its card and the card's seal."""
    text = json.dumps(card.plain())
    return model + _entry(KEY, text) + _entry(SEAL, hashlib.sha256(text.encode()).hexdigest())


def graph_hash(model: bytes) -> str:
    """SHA-256 of all of a model but its metadata."""
    hasher = hashlib.sha256()
    for number, start, stop in _fields(model):
        if number != _METADATA:
            hasher.update(memoryview(model)[start:stop])
    return hasher.hexdigest()


def read(path: Path) -> tuple[bytes, Card]:
    """The bytes of an exported file and its card.

    Raises:
        DataError: There is no such file, or it is none of ``partreid export``, cut short, too
            long, or was changed since.
    """
    data = read_bytes(path, LIMIT, "exported model")
    return data, card_of(data, path)


def card_of(data: bytes, path: Path) -> Card:
    """The card of an exported file, of its bytes. DataError, which calls it ``path``, as of
    :func:`read`.
    """
    texts: dict[str, bytes] = {}
    numbers = set()
    try:
        for number, start, stop in _fields(data):
            numbers.add(number)
            if number == _METADATA:
                key, value = _pair(data[start:stop])
                texts[key] = value
    except _Broken as error:
        if error.is_cut and _IR_VERSION in numbers:
            raise DataError(
                f"{path} is cut short: it has {len(data):,} bytes and goes on beyond; copy it "
                f"again, or {_AGAIN}"
            ) from None
        raise DataError(
            f"{path} is no ONNX file ({error}); give a file of partreid export"
        ) from None
    if not {_IR_VERSION, _GRAPH} <= numbers:
        raise DataError(
            f"{path} is no ONNX file (it holds no graph), or it is cut short; give a file of "
            "partreid export"
        )
    if KEY not in texts:
        raise DataError(
            f"{path} is an ONNX file of another program: it does not say what its outputs mean; "
            f"{_AGAIN}"
        )
    if len(texts[KEY]) > CARD_LIMIT:
        raise DataError(f"{path} has over {CARD_LIMIT / MIB:.0f} MiB of metadata; {_AGAIN}")
    if texts.get(SEAL, b"") != hashlib.sha256(texts[KEY]).hexdigest().encode():
        raise DataError(
            f"{path} was changed after partreid export had written it: its metadata are not those "
            f"that were sealed; {_AGAIN}"
        )
    try:
        card = Card.of(parse_json(texts[KEY], "its metadata"))
    except PartReidError as error:
        raise damaged(path, error) from None
    if graph_hash(data) != card.graph:
        raise DataError(
            f"{path} was changed after partreid export had written it: its weights or layers are "
            f"not those that its metadata describe; {_AGAIN}"
        )
    return card


def damaged(path: Path, error: Exception) -> DataError:
    """What to say of a file whose metadata are not as they are written."""
    return DataError(f"{path} is damaged or was changed ({error}); {_AGAIN}")


class _Broken(Exception):
    """Bytes that are no message. is_cut: for they end too soon."""

    def __init__(self, why: str, is_cut: bool = False) -> None:
        super().__init__(why)
        self.is_cut = is_cut


def _fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(number, start, stop) of every field of a message, its key included."""
    position = 0
    while position < len(data):
        start = position
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0 or (start == 0 and key != _IR_VERSION << 3):
            raise _Broken("it does not begin like one")
        if wire == 0:
            _, position = _varint(data, position)
        elif wire == 2:
            length, position = _varint(data, position)
            position += length
        elif wire in _LENGTH:
            position += _LENGTH[wire]
        else:
            raise _Broken("it holds what no such file does")
        if position > len(data):
            raise _Broken("it ends too soon", is_cut=True)
        yield number, start, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise _Broken("it ends too soon", is_cut=True)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Broken("a number in it has no end")


def _pair(field: bytes) -> tuple[str, bytes]:
    """Key and value of an entry of the metadata."""
    _, position = _varint(field, 0)
    _, position = _varint(field, position)
    texts = {1: b"", 2: b""}
    while position < len(field):
        key, position = _varint(field, position)
        if key & 7 != 2:
            raise _Broken("its metadata are no texts")
        length, position = _varint(field, position)
        if position + length > len(field):
            raise _Broken("its metadata end too soon")
        texts[key >> 3] = field[position : position + length]
        position += length
    return texts[1].decode("utf-8", "replace"), texts[2]


def _entry(key: str, value: str) -> bytes:
    inner = b"".join(
        _number(n << 3 | 2) + _number(len(text)) + text
        for n, text in ((1, key.encode()), (2, value.encode()))
    )
    return _number(_METADATA << 3 | 2) + _number(len(inner)) + inner


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(name: str, text: Any) -> bytes:
    require(isinstance(text, str), name, "base64", text)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ArgumentError(f"{name} must be base64, got {quoted(text)}") from None


def _floats(name: str, text: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    data = _bytes(name, text)
    require(len(data) == 4 * int(np.prod(shape)), name, f"float32 {list(shape)}", len(data))
    numbers = np.frombuffer(data, "<f4").reshape(shape)
    require(isfinite(float(np.abs(numbers).sum())), name, "finite numbers", "others")
    return numbers


def _tuple(name: str, values: Any) -> tuple[Any, ...]:
    require(isinstance(values, list), name, "a list", values)
    return tuple(values)
