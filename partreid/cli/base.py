"""What all commands share: the application, its groups and the kinds of arguments."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, Token

from partreid import __version__

app = App(
    name="partreid",
    version=__version__,
    help="Part-aligned person re-identification: train, evaluate, compare, "
    "explain. Start with: partreid demo",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
data = App(name="data", help="Make, check and look at data sets.")
app.command(data)
labels = App(name="labels", help="Import, check, look at and make part labels.")
app.command(labels)
gallery = App(name="gallery", help="Enrol crops for good, search them, and forget people.")
app.command(gallery)


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number in decimal digits; 2.7 is none, and is not rounded to one."""
    return int(tokens[0].value)


def _require(fits: Callable[[Any], bool], words: str) -> Callable[[Any, Any], None]:
    """A validator: ValueError with ``words`` unless the value fits; None is nobody's choice."""

    def check(kind: Any, value: Any) -> None:
        if value is not None and not fits(value):
            raise ValueError(words)

    return check


Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]
Picture = Annotated[
    Path,
    Parameter(
        validator=_require(
            lambda path: path.suffix.lower() in (".png", ".jpg", ".jpeg"),
            "must end in .png, .jpg or .jpeg",
        )
    ),
]
Count = Annotated[
    int,
    Parameter(
        converter=_whole,
        validator=_require(lambda n: 1 <= n < 2**31, "must be a whole number from 1 to 2147483647"),
    ),
]
Port = Annotated[
    int,
    Parameter(
        converter=_whole,
        validator=_require(lambda n: 0 <= n < 2**16, "must be a whole number from 0 to 65535"),
    ),
]
Share = Annotated[
    float,
    Parameter(
        validator=_require(lambda share: 0 < share < 1, "must be a number above 0 and below 1")
    ),
]
Methods = Annotated[tuple[str, ...], Parameter(consume_multiple=1, negative="")]
Words = Annotated[tuple[str, ...], Parameter(consume_multiple=1, negative="")]
Papers = Annotated[tuple[str, ...], Parameter(consume_multiple=1, negative="")]
Seeds = Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")]
