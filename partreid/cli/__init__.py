"""The command line: a thin skin over the library. Nothing heavy is imported before a command
runs.
"""

import os
import sys
from errno import (
    EACCES,
    EDQUOT,
    EFBIG,
    EIO,
    EMFILE,
    ENAMETOOLONG,
    ENFILE,
    ENOENT,
    ENOSPC,
    EPERM,
    EROFS,
)

from cyclopts import CycloptsError

from partreid.cli import data, decide, export, gallery, labels, link, models, papers, serve
from partreid.cli.base import app
from partreid.cli.usage import sentence
from partreid.errors import PartReidError
from partreid.utils import ui

ROOM = "free some space or choose another disk"
RIGHTS = "change its permissions (chmod), give another path or run as its owner"
REMEDIES = {
    ENOSPC: ROOM,
    EDQUOT: ROOM,
    EFBIG: ROOM,
    EACCES: RIGHTS,
    EPERM: RIGHTS,
    ENOENT: "check the path",
    EROFS: "choose a folder that can be written",
    ENAMETOOLONG: "choose a shorter name",
    EMFILE: "raise the limit of open files (ulimit -n 65536)",
    ENFILE: "close other programs",
    EIO: "the disk reports a fault: copy what is on it to another",
}
SMALLER = (
    "train with smaller batches (--set stages.batch=[8,4], with --set stages.accumulate=2 for the "
    "same steps) or smaller images (--set size=[256,128]); other commands: fewer files at once"
)

__all__ = [
    "app",
    "data",
    "decide",
    "export",
    "gallery",
    "labels",
    "link",
    "main",
    "models",
    "papers",
    "serve",
]


def main() -> None:
    """Run a command. A user's mistake is one sentence and exit status 2; a bug keeps its
    traceback.
    """
    # OpenMP's threads spin while they wait for each other, which on cores that others use too made
    # training 3.5 times slower than letting them sleep; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    ui.forgiving()
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        ui.fail(sentence(error, app))
    except PartReidError as error:
        ui.fail(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:  # the ones that name a file or have a known remedy; any other is a bug
        remedy = REMEDIES.get(error.errno or 0)
        if error.filename is None and remedy is None:
            raise
        ui.fail(
            f"{error.filename or 'the disk'}: {error.strerror}; nothing written before was "
            f"touched: {remedy or 'mend that or choose another folder'}, then give the same "
            "command again (train: with --resume)"
        )
    except MemoryError:
        ui.fail(f"the memory of this machine is used up; {SMALLER}")
    except RuntimeError as error:  # of several processes, one stopped and has said why
        text = str(error)
        if any(
            sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
        ):
            ui.fail(f"the memory is used up ({text.splitlines()[0][:160]}); {SMALLER}")
        if "DataLoader worker" in text:  # told a second time, outside the training
            ui.fail(
                "a process that loads images was ended from outside; give fewer --workers (0: "
                "none), then go on with --resume"
            )
        if not any(sign in text for sign in ("closed by peer", "reset by peer", "Broken pipe")):
            raise
        ui.fail("stopped, because another process of this run did; its own message says why")
    except KeyboardInterrupt:
        print(
            "partreid: interrupted; nothing saved so far is lost, go on with the same command "
            "(train: --resume)",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
