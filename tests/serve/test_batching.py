"""One queue before one model: nothing is lost, mixed up, or held up by others' mistakes."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from partreid.serve.batching import Batcher, Busy


def run(main: "asyncio.Future[object] | object") -> None:
    asyncio.run(main)  # type: ignore[arg-type]


def test_what_waits_is_done_together_and_each_gets_its_own() -> None:
    batches: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def work(entries: Sequence[int]) -> list[int]:
        entered.set()
        go_on.wait(10)
        return [10 * entry for entry in entries]

    async def main() -> None:
        batcher = Batcher(work, most=8, took=batches.append)
        first = asyncio.create_task(batcher([0]))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher([i, i + 1])) for i in range(1, 12, 2)]
        await asyncio.sleep(0.01)
        assert batcher.waiting == 12
        go_on.set()
        assert await first == [0]
        for i, other in zip(range(1, 12, 2), others):
            assert await other == [10 * i, 10 * i + 10]
        await batcher.close()

    run(main())
    assert batches == [1, 8, 4]


def test_a_request_may_be_larger_than_a_batch() -> None:
    async def main() -> None:
        batcher = Batcher(lambda entries: list(entries), most=2, waiting=3)
        assert await batcher(list(range(7))) == list(range(7))
        await batcher.close()

    run(main())


def test_one_bad_entry_fails_its_own_request_alone() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(entries: Sequence[int]) -> list[float]:
        entered.set()
        go_on.wait(10)
        return [1 / entry for entry in entries]

    async def main() -> None:
        batcher = Batcher(work)
        first = asyncio.create_task(batcher([1]))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        bad, good = asyncio.create_task(batcher([4, 0])), asyncio.create_task(batcher([2]))
        await asyncio.sleep(0.01)
        go_on.set()
        assert await first == [1.0] and await good == [0.5]
        with pytest.raises(ZeroDivisionError):
            await bad
        assert await batcher([8]) == [0.125]  # it goes on
        await batcher.close()

    run(main())


def test_more_than_can_wait_is_refused_and_the_rest_is_finished() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(entries: Sequence[int]) -> list[int]:
        entered.set()
        go_on.wait(10)
        return list(entries)

    async def main() -> None:
        batcher = Batcher(work, waiting=3)
        first = asyncio.create_task(batcher([0]))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        waits = asyncio.create_task(batcher([1, 2, 3]))
        await asyncio.sleep(0.01)
        with pytest.raises(Busy, match="in a moment"):
            await batcher([4])
        go_on.set()
        await batcher.close()
        assert await first == [0] and await waits == [1, 2, 3]

    run(main())


def test_who_hangs_up_holds_up_nobody() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(entries: Sequence[int]) -> list[int]:
        entered.set()
        go_on.wait(10)
        return list(entries)

    async def main() -> None:
        batcher = Batcher(work)
        gone = asyncio.create_task(batcher([0]))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        stays = asyncio.create_task(batcher([1]))
        await asyncio.sleep(0.01)
        gone.cancel()
        go_on.set()
        assert await stays == [1]
        await batcher.close()

    run(main())
