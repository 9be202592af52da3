"""``python -m tests.attack.show DOOR [BAD]``: one bad file at one door, with its traceback and the
file to look at.

Without BAD it lists the bad files of the door, without DOOR the doors. BAD may be the number of a
mutant.
"""

import sys
import tempfile
from pathlib import Path

from tests.attack.corpus import bad
from tests.attack.mutate import mutant
from tests.attack.readers import DOORS


def main() -> None:
    name, *which = sys.argv[1:] or [""]
    if name not in DOORS:
        print("\n".join(DOORS))
        return
    door, root = DOORS[name], Path(tempfile.mkdtemp(prefix="attack-"))
    door.lay(root)
    path = root / door.place
    valid = path.read_bytes()
    if not which:
        print("\n".join(one.name for one in bad(door.kind, valid)))
        return
    path.unlink()
    if which[0].isdigit():
        path.write_bytes(mutant(valid, door.kind, int(which[0])))
    else:
        next(one for one in bad(door.kind, valid) if one.name == which[0]).write(path)
    print(f"reading {path}", flush=True)
    output = door.read(root)
    print(f"result: {output!r:.1000}")
    door.sound(output)


if __name__ == "__main__":
    main()
