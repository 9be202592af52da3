"""What one file may ask for: bounded by its length before anything is made."""

from dataclasses import dataclass, field
from typing import Any, Final

import torch

OPERATIONS: Final = 2_000_000
TENSORS: Final = 4
SPARE: Final = 64 * 2**20
ODD_KEYS: Final = 1000


@dataclass
class Budget:
    """What a file may still ask for."""

    length: int
    operations: int = field(init=False)
    storages: int = field(init=False)
    inner: int = field(init=False)
    tensors: int = field(init=False)
    keys: int = ODD_KEYS

    def __post_init__(self) -> None:
        self.operations = OPERATIONS + self.length // 8
        self.storages = self.inner = self.length
        self.tensors = TENSORS * self.length + SPARE

    def spend(self, operations: int) -> None:
        self.operations -= operations
        if self.operations < 0:
            raise ValueError(f"more operations than a file of {self.length:,} bytes needs")

    def store(self, numel: Any, dtype: torch.dtype) -> int:
        """Bytes of a storage. They count once."""
        if type(numel) is not int or not 0 <= numel * dtype.itemsize <= self.storages:
            raise ValueError(
                f"storages of more numbers than a file of {self.length:,} bytes can hold"
            )
        self.storages -= numel * dtype.itemsize
        return numel * dtype.itemsize

    def view(self, size: int) -> None:
        self.tensors -= size
        if self.tensors < 0:
            raise ValueError(
                f"tensors far larger than a file of {self.length:,} bytes: they repeat their "
                "numbers"
            )
