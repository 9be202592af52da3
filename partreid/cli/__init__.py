"""The command line: a thin skin over the library. Nothing heavy is imported before a command runs."""

import os
import sys
from errno import ENOSPC

from cyclopts import CycloptsError

from partreid import ui
from partreid.cli import data, decide, labels, models, papers
from partreid.cli.base import app
from partreid.cli.usage import sentence
from partreid.errors import PartReidError

__all__ = ["app", "data", "decide", "labels", "main", "models", "papers"]


def main() -> None:
    """Run a command. A user's mistake is one sentence and exit status 2; a bug keeps its traceback."""
    # OpenMP's threads spin while they wait for each other, which on cores that others use too made training 3.5 times
    # slower than letting them sleep; read when torch is imported.
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
    except OSError as error:  # the ones that name a file or a full disk; any other is a bug
        if error.filename is None and error.errno != ENOSPC:
            raise
        ui.fail(f"{error.filename or 'the disk'}: {error.strerror}; nothing written before was touched: mend that or "
                f"choose another folder, then give the same command again (train: with --resume)")
    except RuntimeError as error:  # of several processes, one stopped and has said why
        if not any(sign in str(error) for sign in ("closed by peer", "reset by peer", "Broken pipe")):
            raise
        ui.fail("stopped, because another process of this run did; its own message says why")
    except KeyboardInterrupt:
        print("partreid: interrupted; nothing saved so far is lost, go on with the same command (train: --resume)",
              file=sys.stderr)
        raise SystemExit(130) from None
