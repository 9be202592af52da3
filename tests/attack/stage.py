"""A door with its tree laid out, and bad files put into it one after the other."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.corpus import Bad
from tests.attack.harness import Outcome, Warden
from tests.attack.readers import DOORS, Door


@dataclass
class Stage:
    """One door in ``folder``: a tree that stays good, and one in which its file is replaced."""

    name: str
    warden: Warden
    folder: Path
    valid: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.good, self.root = self.folder / "good", self.folder / "bad"
        self.good.mkdir(parents=True)
        self.door.lay(self.good)
        self.valid = (self.good / self.door.place).read_bytes()
        shutil.copytree(self.good, self.root, symlinks=True)
        warm = self.warden.read(self.name, self.fresh("warm"), warm=True)
        assert warm.kind == "result", f"{self.name}: the good example is not read: {warm}"

    @property
    def door(self) -> Door:
        return DOORS[self.name]

    def fresh(self, name: str) -> Path:
        """A copy of the good tree, which the first reading of every new worker may change as it
        likes.
        """
        root = self.folder / name
        shutil.rmtree(root, ignore_errors=True)
        return Path(shutil.copytree(self.good, root, symlinks=True))

    def attack(self, bad: Bad) -> Outcome:
        """What comes of reading it; nothing where that could do harm."""
        if bad.device and not self.warden.fenced:
            return Outcome("refused", "left out: there is no fence around the reader")
        if self.door.fresh:
            self.root = self.fresh("bad")
        path = self.root / self.door.place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        bad.write(path)
        outcome = self.warden.read(self.name, self.root)
        if (
            outcome.kind == "result"
            and bad.refused
            and not self.door.tolerant
            and bad.name not in self.door.fine
        ):
            return Outcome("accepted", outcome.message, outcome.seconds, outcome.grown)
        return outcome
