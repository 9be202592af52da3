"""P identities x K images a step, the same on one process or many."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from partreid.errors import DataError
from partreid.utils.arguments import door

# (index of the sample, epoch, position in the epoch): seeds the augmentation
Draw = tuple[int, int, int]


class IdentitySampler(Sampler[list[Draw]]):
    """Batches of P identities with K images each; no identity twice in a step, over all ranks
    together.

    An epoch deals every identity's images out in groups of K (those with fewer are drawn with
    replacement) until fewer than P identities have a group left. Everything follows from (seed,
    epoch): any step of any epoch can be entered again, and each rank takes every ``world``-th
    identity of a step. DataError if there are fewer than P identities, or P cannot be shared out.
    """

    @door
    def __init__(
        self, ids: Sequence[int], P: int, K: int, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.rows: dict[int, list[int]] = defaultdict(list)
        for index, identity in enumerate(ids):
            self.rows[identity].append(index)
        if len(self.rows) < P:
            raise DataError(
                f"a step needs {P} identities, the training set has {len(self.rows)}; lower P: "
                f"--set stages.batch=[{len(self.rows)},{K}]"
            )
        if P % world:
            raise DataError(
                f"{P} identities a step cannot be shared out evenly over {world} processes; choose "
                f"a multiple of {world}: --set stages.batch=[{P + world - P % world},{K}]"
            )
        self.P, self.K, self.seed, self.rank, self.world = P, K, seed, rank, world
        self.epoch, self.start = 0, 0
        self._plan = self._deal(0)

    def enter(self, epoch: int, step: int = 0) -> None:
        """The next iteration gives the batches of ``epoch`` from ``step`` on."""
        self.epoch, self.start = epoch, step
        self._plan = self._deal(epoch)

    def _deal(self, epoch: int) -> list[list[tuple[int, int]]]:
        random = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self.seed, 17, epoch]))
        )
        groups: dict[int, list[list[int]]] = {}
        for identity, rows in self.rows.items():
            if len(rows) < self.K:
                groups[identity] = [random.choice(rows, self.K, replace=True).tolist()]
            else:
                dealt = random.permutation(rows).tolist()
                groups[identity] = [
                    dealt[i : i + self.K] for i in range(0, len(dealt) - self.K + 1, self.K)
                ]
        left, steps, position = list(groups), [], 0
        while len(left) >= self.P:
            step = []
            for which in random.choice(len(left), self.P, replace=False).tolist():
                for index in groups[left[which]].pop():
                    step.append((index, position))
                    position += 1
            steps.append(step)
            left = [identity for identity in left if groups[identity]]
        return steps

    def __len__(self) -> int:
        """Steps in the current epoch, also when it is entered half-way."""
        return len(self._plan)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in self._plan[self.start :]:
            groups = [step[i : i + self.K] for i in range(0, len(step), self.K)]
            yield [
                (index, self.epoch, position)
                for group in groups[self.rank :: self.world]
                for index, position in group
            ]
