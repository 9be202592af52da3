"""Uploads to pictures, a few at a time."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from partreid.errors import DataError
from partreid.serve.desk import Desk
from partreid.serve.limits import Limits
from partreid.serve.pictures import Picture, picture_of


class Eyes:
    """Uploads to pictures, two at a time: what is decoded is bounded, whoever sends it.

    Args:
        desk: Whose model they are for.
        limits: How large they may be.
    """

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._size, self._limits = desk.model.recipe.size, limits
        self._threads = ThreadPoolExecutor(2, "partreid-pictures")

    async def one(self, upload: Any, name: str = "the crop") -> Picture:
        """The picture of an upload. DataError if it is none."""
        data = await upload.read()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, picture_of, data, name, self._size, self._limits.pixels
        )

    async def all(self, uploads: Sequence[Any]) -> list[Picture]:
        """Those of several; the sentence counts them."""
        if len(uploads) > self._limits.crops:
            raise DataError(
                f"a request has at most {self._limits.crops} crops, got {len(uploads)}; send "
                "several"
            )
        if len(uploads) == 1:
            return [await self.one(uploads[0])]
        return [await self.one(upload, f"crop {i}") for i, upload in enumerate(uploads, 1)]

    def close(self) -> None:
        self._threads.shutdown()
