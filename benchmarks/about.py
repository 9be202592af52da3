"""What a result file says besides its numbers, so that they can be made again."""

import platform
from typing import Any

import numpy as np
import torch

from partreid import __version__
from partreid.evaluation.ledger import own_commit


def about(command: str) -> dict[str, Any]:
    """The command, the commit (with a + if files were changed), and on what it ran."""
    return {
        "command": command,
        "commit": own_commit(),
        "version": __version__,
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
