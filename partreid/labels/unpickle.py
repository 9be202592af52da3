"""Dumps of DensePose as objects, read without DensePose or detectron2: see
:mod:`partreid.utils.pickles`.
"""

from itertools import product
from pathlib import Path
from typing import Any, Final

from partreid.errors import DataError
from partreid.utils import pickles

CLASSES: Final = (
    "DensePoseChartResult", "DensePoseChartResultWithConfidences", "DensePoseChartResultQuantized",
    "DensePoseChartResultCompressed", "DensePoseChartPredictorOutput",
    "DensePoseEmbeddingPredictorOutput", "DensePoseResult", "DensePoseOutput", "Instances", "Boxes",
)  # fmt: skip
MODULES: Final = (  # where these classes have lived over the years
    "densepose.structures", "densepose.structures.chart", "densepose.structures.chart_result",
    "densepose.structures.cse", "densepose.data.structures", "detectron2.structures",
    "detectron2.structures.instances", "detectron2.structures.boxes",
)  # fmt: skip
NAMES: Final = frozenset(f"{module}.{name}" for module, name in product(MODULES, CLASSES))


def load(path: Path) -> Any:
    """What ``torch.save`` or ``pickle.dump`` wrote to ``path``; tensors come to the CPU, those of a
    zip mapped.

    Objects of :data:`CLASSES` are :class:`partreid.utils.pickles.Record`. DataError if the file is
    missing, damaged, of another kind, or names anything but these and tensors.
    """
    try:
        return pickles.load(path, NAMES.__contains__)
    except pickles.Refused as refused:
        raise DataError(
            f"{path} asks for '{refused.name}', which no DensePose dump needs, and was not loaded "
            "because a file that names what it likes can run any code. If you trust whoever made "
            "it, have it written again with 'apply_net.py dump' and nothing added"
        ) from None
    except pickles.Damaged as damaged:
        raise DataError(
            f"{path} cannot be read as a dump ({damaged.reason}); copy it again, or write it again "
            "with 'apply_net.py dump'"
        ) from None
    except pickles.Foreign:
        raise DataError(
            f"{path} is no dump: it was written neither by torch.save nor by pickle.dump. Give the "
            "file that 'apply_net.py dump --output' names"
        ) from None
