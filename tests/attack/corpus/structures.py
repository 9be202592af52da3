"""JSON with one thing wrong: every value replaced by whatever JSON can hold, and texts that are
no JSON at all.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.attack.corpus.base import Bad

DEEP = "@deep@"  # stands for a hundred thousand brackets, which json.dumps could not write
HUGE = "@huge@"  # for 10^400
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**15,
    2**64,
    10**30,
    HUGE,
    1e308,
    float("nan"),
    float("inf"),
    -0.5,
    "",
    "text",
    "\x1b[31mred",
    "\ud800",
    "../../etc/passwd",
    "[/red]",
    "x" * 5000,
    [],
    {},
    [[1], [2, 3]],
    [None],
    ["a"],
    {"a": 1},
    DEEP,
)
Path_ = tuple[Any, ...]


def text(value: Any) -> str:
    """JSON with the stand-ins put in."""
    return (
        json.dumps(value)
        .replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)
        .replace(f'"{HUGE}"', "1" + "0" * 400)
    )


def paths(value: Any, here: Path_ = (), first: int = 2) -> Iterator[Path_]:
    """Every place in a value; of long lists the first few and the last."""
    yield here
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*here, key), first)
    elif isinstance(value, list):
        for i in sorted({*range(min(first, len(value))), max(len(value) - 1, 0)} if value else ()):
            yield from paths(value[i], (*here, i), first)


def replaced(value: Any, path: Path_, by: Any) -> Any:
    """The same with one place changed; the rest is shared."""
    if not path:
        return by
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: replaced(value[key], tuple(rest), by)}
    return [*value[:key], replaced(value[key], tuple(rest), by), *value[key + 1 :]]


def without(value: Any, path: Path_) -> Any:
    *above, key = path
    inner = value
    for step in above:
        inner = inner[step]
    less = (
        {k: v for k, v in inner.items() if k != key}
        if isinstance(inner, dict)
        else inner[:key] + inner[key + 1 :]
    )
    return replaced(value, tuple(above), less)


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Every place with every junk, or gone, doubled or wrapped; named."""
    for path in paths(value):
        name = "/".join(map(str, path)) or "all"
        for junk in JUNK:
            yield f"{name} is {str(junk)[:20]!r}", replaced(value, path, junk)
        inner = value
        for step in path:
            inner = inner[step]
        yield f"{name} in a list", replaced(value, path, [inner])
        if path:
            yield f"{name} is gone", without(value, path)
        if isinstance(inner, dict):
            yield f"{name} has more", replaced(value, path, {**inner, "x": 1})
        if isinstance(inner, list):
            yield f"{name} twice", replaced(value, path, inner + inner)
        if isinstance(inner, (int, float)) and not isinstance(inner, bool):
            yield f"{name} negative", replaced(value, path, -inner)
            yield f"{name} as text", replaced(value, path, str(inner))
        if isinstance(inner, str):
            yield f"{name} as bytes of another", replaced(value, path, inner.swapcase() + "ß")


def no_json() -> Iterator[Bad]:
    for name, data in (
        ("null", "null"),
        ("a number", "17"),
        ("a text", '"text"'),
        ("true", "true"),
        ("a list", "[]"),
        ("a table", "{}"),
        ("NaN", "NaN"),
        ("10^400", "1" + "0" * 400),
        ("10^5000", "1" + "0" * 5000),
        ("1e400", "1e400"),
        ("10^(10^6)", "1" + "0" * 1_000_000),
        ("100,000 brackets", "[" * 100_000),
        ("100,000 brackets, closed", "[" * 100_000 + "]" * 100_000),
        ("100,000 tables", '{"a":' * 100_000 + "1" + "}" * 100_000),
        ("half", '{"a": [1, 2'),
        ("a comma too many", "[1, 2,]"),
        ("two", "{} {}"),
        ("a comment", "// x\n{}"),
        ("single quotes", "{'a': 1}"),
        ("doubled keys", '{"a": 1, "a": 2}'),
        ("a lone surrogate", '["\\ud800"]'),
        ("escapes", '["\\u001b[31m"]'),
        ("a control character", '["\x01"]'),
        ("numbers", "[1, 2, 3]"),
        ("texts", '["a", "b"]'),
        ("nulls", "[null, null]"),
        ("tables of nothing", "[{}, {}]"),
        ("a million nulls", "[" + "null," * 1_000_000 + "null]"),
        ("a million keys", "{" + ",".join(f'"{i}": 0' for i in range(300_000)) + "}"),
    ):
        yield Bad.of(name, data, refused=False)
    yield Bad.of("UTF-16", '{"a": 1}'.encode("utf-16"), refused=False)
    yield Bad.of("UTF-32", '{"a": 1}'.encode("utf-32"), refused=False)
    yield Bad.of("Latin-1", '{"é": "ä"}'.encode("latin-1"))
    yield Bad.of("NUL", b'{"a": "\x00"}', refused=False)
    yield Bad.of("a byte order mark alone", "\ufeff", refused=False)


def json_(valid: bytes) -> Iterator[Bad]:
    yield from no_json()
    value = json.loads(valid)
    yield Bad.of("with a byte order mark", "\ufeff" + valid.decode(), refused=False)
    yield Bad.of("as UTF-16", valid.decode().encode("utf-16"), refused=False)
    for junk in JUNK:
        yield Bad.of(f"all is {str(junk)[:20]!r}", text(junk), refused=False)
    if isinstance(value, dict):
        for key in value:
            yield Bad.of(f"{key} is null", text({**value, key: None}), refused=False)


def lines(valid: bytes) -> Iterator[Bad]:
    """Of a file with a JSON value on every line."""
    yield from no_json()
    good = valid.decode().splitlines()
    for name, more in (
        ("an empty line", ""),
        ("half a line", good[0][: len(good[0]) // 2]),
        ("a number", "3"),
        ("a null", "null"),
        ("a list", "[]"),
        ("a table", "{}"),
        ("brackets", "[" * 100_000),
        ("10^5000", "1" + "0" * 5000),
        ("NUL", "\0" * 40),
    ):
        yield Bad.of(f"{name} in front", "\n".join([more, *good]) + "\n", refused=False)
        yield Bad.of(f"{name} between", "\n".join([good[0], more, *good[1:]]) + "\n", refused=False)
        yield Bad.of(f"{name} behind", "\n".join([*good, more]), refused=False)
    yield Bad.of("two on a line", "".join(good[:2]) + "\n", refused=False)
    yield Bad.of("no last newline", "\n".join(good), refused=False)
    yield Bad.of("of Windows", "\r\n".join(good) + "\r\n", refused=False)
    yield Bad.of("of old Macs", "\r".join(good), refused=False)
    yield Bad.of(
        "with U+2028 in a text", valid.replace(b'": "', '": "\u2028'.encode(), 1), refused=False
    )


def people(valid: bytes) -> Iterator[Bad]:
    """Keypoints of one image."""
    yield from json_(valid)
    good = json.loads(valid)[0]
    numbers = good["keypoints"]

    def with_(name: str, refused: bool = True, **fields: Any) -> Bad:
        return Bad.of(name, text([{**good, **fields}]), refused)

    yield with_("keypoints as text", keypoints=" ".join(map(str, numbers)))
    yield with_("keypoints of texts", keypoints=[str(v) for v in numbers], refused=False)
    yield with_("keypoints as tables", keypoints=[{"x": 1, "y": 2, "score": 1}] * 17)
    yield with_("keypoints as a table", keypoints={str(i): v for i, v in enumerate(numbers)})
    yield with_("ragged keypoints", keypoints=[[1, 2, 3]] * 16 + [[1, 2]])
    yield with_("50 numbers", keypoints=numbers[:-1])
    yield with_("no keypoints", keypoints=[], refused=False)
    yield with_("null keypoints", keypoints=None, refused=False)
    yield with_("a null among them", keypoints=[None, *numbers[1:]])
    yield with_("NaN among them", keypoints=[float("nan"), *numbers[1:]])
    yield with_("10^400 among them", keypoints=[HUGE, *numbers[1:]])
    yield with_("1e308 throughout", keypoints=[1e308] * 51)
    yield with_("minus 10^9 throughout", keypoints=[-1e9, -1e9, 1] * 17, refused=False)
    yield with_(
        "confidence 255", keypoints=[255 if i % 3 == 2 else v for i, v in enumerate(numbers)]
    )
    yield with_("confidence -1", keypoints=[-1 if i % 3 == 2 else v for i, v in enumerate(numbers)])
    yield with_("complex", keypoints="1+2j")
    yield with_("nested", keypoints=DEEP)
    yield with_("true", keypoints=[True] * 51, refused=False)
    yield with_("score null", score=None, refused=False)
    yield with_("score text", score="high")
    yield with_("score NaN", score=float("nan"))
    yield with_("score infinite", score=float("inf"))
    yield with_("score a list", score=[0.5], refused=False)
    yield with_("score 10^400", score=HUGE)
    yield with_("target a text", is_target="no", refused=False)
    yield Bad.of("a list of numbers", "[1, 2, 3]")
    yield Bad.of("a list of lists", text([[good]]))
    yield Bad.of("a million people", "[" + ",".join(["{}"] * 200_000) + "]")
    yield Bad.of("annotations null", '{"annotations": null}')
    yield Bad.of("annotations a number", '{"annotations": 5}')
    yield Bad.of("annotations a table", '{"annotations": {"a": 1}}')


def coco(valid: bytes) -> Iterator[Bad]:
    """COCO's file for all images."""
    yield from json_(valid)
    good = json.loads(valid)
    image, row = good["images"][0], good["annotations"][0]

    def with_(name: str, refused: bool = True, images: Any = None, rows: Any = None) -> Bad:
        return Bad.of(
            name,
            text(
                {
                    **good,
                    "images": good["images"] if images is None else images,
                    "annotations": good["annotations"] if rows is None else rows,
                }
            ),
            refused,
        )

    yield with_("images that are numbers", images=[1, 2])
    yield with_("images that are null", images=[None])
    yield with_("rows that are numbers", rows=[1, 2])
    yield with_("rows that are texts", rows=["a"])
    yield with_("rows that are lists", rows=[[1]])
    yield with_("ids that are lists", images=[{**image, "id": [1]}, {**image, "id": [2]}])
    yield with_("ids that are tables", images=[{**image, "id": {}}])
    yield with_("an id that is a list in a row", rows=[{**row, "image_id": [1]}])
    yield with_("an id that is a table in a row", rows=[{**row, "image_id": {"a": 1}}])
    yield with_("ids as text", rows=[{**row, "image_id": "1"}], refused=False)
    yield with_("an id of nobody", rows=[{**row, "image_id": 77}])
    yield with_("an id that is null", rows=[{**row, "image_id": None}])
    yield with_("an empty file name", images=[{**image, "file_name": ""}], refused=False)
    yield with_("a file name of dots", images=[{**image, "file_name": ".."}], refused=False)
    yield with_("a file name of a slash", images=[{**image, "file_name": "/"}], refused=False)
    yield with_("a file name that is null", images=[{**image, "file_name": None}], refused=False)
    yield with_("a file name that is a number", images=[{**image, "file_name": 5}], refused=False)
    yield with_("a file name with NUL", images=[{**image, "file_name": "a\0b.jpg"}], refused=False)
    yield with_(
        "a file name of 100,000 characters",
        images=[{**image, "file_name": "x" * 100_000}],
        refused=False,
    )
    yield with_("two images of one name", images=[image, {**image, "id": 9}], refused=False)
    yield with_(
        "two images of one id", images=[image, {**image, "file_name": "other.jpg"}], refused=False
    )
    yield with_("keypoints as text", rows=[{**row, "keypoints": "a"}])
    yield with_("keypoints as tables", rows=[{**row, "keypoints": [{}] * 17}])
    yield with_("ragged keypoints", rows=[{**row, "keypoints": [[1, 2, 3], [1]]}])
    yield with_(
        "10^400 among the keypoints", rows=[{**row, "keypoints": [HUGE, *row["keypoints"][1:]]}]
    )
    yield with_("a score that is text", rows=[{**row, "score": "x"}])
    many = [{"id": i, "file_name": f"bounding_box_train/{i:07d}.jpg"} for i in range(40_000)]
    yield with_(
        "40,000 images",
        images=[*good["images"], *[{**m, "id": m["id"] + 100} for m in many]],
        refused=False,
    )
    yield with_(
        "40,000 images of one name",
        images=[{"id": i, "file_name": f"{i}/a.jpg"} for i in range(40_000)],
        rows=[],
        refused=False,
    )


def results(valid: bytes) -> Iterator[Bad]:
    """A list of results whose image_id is a file name."""
    yield from json_(valid)
    good = json.loads(valid)[0]
    for value in (None, 1, [], {}, ["a.jpg"], "", "..", "/", "a\0b", "x" * 100_000, True, 1.5):
        yield Bad.of(
            f"image_id {str(value)[:20]!r}", text([{**good, "image_id": value}]), refused=False
        )
    yield Bad.of("a list of lists", text([[good]]))
    yield Bad.of(
        "40,000 results",
        text([{**good, "image_id": f"x/{i}.jpg", "keypoints": [0] * 51} for i in range(40_000)]),
        refused=False,
    )
