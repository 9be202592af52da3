"""What all commands share: the application, its groups and the kinds of arguments."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from partreid import __version__

app = App(name="partreid", version=__version__, help="Part-aligned person re-identification: train, evaluate, compare, "
          "explain. Start with: partreid demo", help_format="plaintext", suppress_keyboard_interrupt=False)
data = App(name="data", help="Make, check and look at data sets.")
app.command(data)
labels = App(name="labels", help="Import, check, look at and make part labels.")
app.command(labels)

Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]
Picture = Annotated[Path, Parameter(validator=validators.Path(ext=("png", "jpg", "jpeg")))]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Papers = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
Seeds = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="")]
