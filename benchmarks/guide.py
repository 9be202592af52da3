"""DSA's guiding stream at the paper's size: grouped convolutions, one training step, the warp.

    python -m benchmarks.guide [--json FILE] [--batch N]

The grouped branches are timed in turn with 24 (13, 8) separate little networks of the same weights,
forward and backward, on 8 sets of tiles, and must agree with them. A whole training step
(ResNet-50, guide, 11 classifiers, Adam) runs on a batch of 128 x 64 crops in a process of its own,
whose peak memory is reported; then the warp of as many 256 x 128 maps to tiles is set against it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.match import peak_mib, seconds
from partreid import build
from partreid.layers.memory import FORMAT, arrange
from partreid.layers.warp import MERGE_FB, MERGE_LR, as_tiles
from partreid.methods.dsa.guide import Guide
from partreid.methods.dsa.recipes import MARKET
from partreid.recipes import find, override
from partreid.train.loop import weighted_sum
from partreid.types import Batch

IDENTITIES = 751


class Plain(nn.Module):
    """A basic block of ResNet-18, one branch, as a textbook has it."""

    def __init__(self, C: int, D: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, D, 3, stride, 1, bias=False), nn.BatchNorm2d(D)
        self.conv2, self.bn2 = nn.Conv2d(D, D, 3, 1, 1, bias=False), nn.BatchNorm2d(D)
        if stride > 1 or C != D:
            self.conv3, self.bn3 = nn.Conv2d(C, D, 1, stride, bias=False), nn.BatchNorm2d(D)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.bn3(self.conv3(x)) if hasattr(self, "conv3") else x))


class Separate(nn.Module):
    """The guide of Table 1 with every branch a network of its own, run one after the other;
    weights of a ``Guide``.
    """

    def __init__(self, guide: Guide) -> None:
        super().__init__()
        c = guide.width
        half, quarter = max(1, c // 2), max(1, c // 4)
        self.stem = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, quarter, 5, 1, 2, bias=False),
                nn.BatchNorm2d(quarter),
                nn.ReLU(),
                nn.Conv2d(quarter, half, 3, 1, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(),
            )
            for _ in range(24)
        )
        self.single = nn.ModuleList(
            nn.Sequential(Plain(half, half, 2), Plain(half, half, 1)) for _ in range(24)
        )
        self.paired = nn.ModuleList(
            nn.Sequential(Plain(half, c, 2), Plain(c, c, 1)) for _ in range(13)
        )
        self.parts = nn.ModuleList()
        layers = [(guide.stem, self.stem), (guide.single, self.single), (guide.paired, self.paired)]
        if "parts" in guide.heads:
            d = _learning(guide.heads["parts"])[-1].num_features // 8
            self.parts.extend(nn.Sequential(Plain(c, d, 1), Plain(d, d, 1)) for _ in range(8))
            layers.append((guide.heads["parts"], self.parts))
        for grouped, branches in layers:
            _share_out(grouped, branches)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tiles float [B, 24, 3, S, S] -> D float [B, 8 c, S / 4, S / 4] and, if that head is
        there, d_L.
        """
        x = [
            single(stem(tiles[:, p]))
            for p, (stem, single) in enumerate(zip(self.stem, self.single))
        ]
        x = [net(sum(x[p - 1] for p in charts)) for net, charts in zip(self.paired, MERGE_LR)]
        x = [sum(x[g] for g in groups) for groups in MERGE_FB]
        local = [net(d).mean((2, 3)) for net, d in zip(self.parts, x)]
        return torch.cat(x, 1), torch.stack(local, 1) if local else None


def _learning(module: nn.Module) -> list[Any]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]


def _share_out(grouped: nn.Module, branches: Sequence[nn.Module]) -> None:
    """Branch i gets the i-th share of every weight and running statistic."""
    for i, branch in enumerate(branches):
        for whole, layer in zip(_learning(grouped), _learning(branch), strict=True):
            for name, value in layer.state_dict().items():
                share = getattr(whole, name)
                value.copy_(share.chunk(len(branches))[i] if share.ndim else share)


def compare(batch: int = 8, rounds: int = 3) -> dict[str, Any]:
    """All that has branches, at the paper's widths: everything but conv5_g."""
    torch.manual_seed(0)
    guide = Guide(128, 2048, ("parts",))
    separate = Separate(guide)
    tiles = torch.randn(batch, 24, 3, 32, 32)

    def ours() -> None:
        guide.zero_grad()
        guide(tiles)["parts"].square().sum().backward()

    def loop() -> None:
        separate.zero_grad()
        separate(tiles)[1].square().sum().backward()  # type: ignore[union-attr]

    with torch.no_grad():
        a, b = guide.eval()(tiles)["parts"], separate.eval()(tiles)[1]
        error = float((a - b).abs().max() / a.abs().max())  # type: ignore[operator]
    guide.train(), separate.train()
    times = [(seconds(ours), seconds(loop)) for _ in range(1 + rounds)][1:]
    grouped, separately = (min(t[i] for t in times) for i in range(2))
    return {
        "batch": batch,
        "grouped": grouped,
        "separate": separately,
        "ratio": separately / grouped,
        "error": error,
    }


def step(batch: int, channels_last: bool) -> dict[str, Any]:
    """One training step of the whole method, and the warp of as many IUV maps."""
    torch.manual_seed(0)
    recipe = override(MARKET, ["size=[128,64]"])
    method = build.method(override(recipe, ["backbone.pretrained=false"]), IDENTITIES, None).train()
    if channels_last:
        arrange(method)
    built = peak_mib()
    optimizers = method.optimizers("adam", 8e-4, 5e-4)
    tiles = torch.randint(0, 256, (batch, 24, 4, 32, 32), dtype=torch.uint8)
    some = Batch(
        torch.randn(batch, 3, 128, 64),
        torch.arange(batch) // 4,
        torch.ones(batch, dtype=torch.int64),
        {"uv_tiles": tiles},
    )

    def train() -> None:
        terms = method.losses(method(some.images, some.cues), some)
        weighted_sum(terms, recipe.stages[0].weights).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    times = [seconds(train) for _ in range(2)]  # the first makes Adam's moments
    peak = peak_mib()
    maps = torch.randint(0, 256, (batch, 256, 128, 6), dtype=torch.uint8)
    maps[..., 0] %= 25
    as_tiles(maps)
    warp = min(seconds(lambda: as_tiles(maps)) for _ in range(3))
    return {
        "batch": batch,
        "channels_last": channels_last,
        "seconds": min(times),
        "built_mib": built,
        "peak_mib": peak,
        "warp": warp,
        "share": warp / min(times),
    }


def small_step(tile: int, batch: int = 64) -> dict[str, Any]:
    """The same on the demo's trunk, one thread, as a multiple of BoT's step."""
    torch.set_num_threads(1)
    images, ids = torch.randn(batch, 3, 128, 64).to(memory_format=FORMAT), torch.arange(batch) // 4
    cue = {"uv_tiles": torch.randint(0, 256, (batch, 24, 4, tile, tile), dtype=torch.uint8)}
    runs = []
    for recipe in (find("synthetic/demo/bot"), find("synthetic/demo/dsa")):
        method = arrange(build.method(recipe, 60, None).train())
        (optimizer,) = method.optimizers("adamw", 1e-3, 0.0)
        some = Batch(images, ids, torch.ones(batch, dtype=torch.int64), cue)

        def train(
            method: Any = method,
            optimizer: Any = optimizer,
            some: Batch = some,
            recipe: Any = recipe,
        ) -> None:
            optimizer.zero_grad()
            terms = method.losses(method(some.images, some.cues), some)
            weighted_sum(terms, recipe.stages[0].weights).backward()
            optimizer.step()

        runs.append(train)
    times = [[seconds(run) for run in runs] for _ in range(6)][1:]
    base, ours = (min(t[i] for t in times) for i in range(2))
    return {"tile": tile, "bot": base, "dsa": ours, "ratio": ours / base}


def in_own_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.guide", "--one", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="DSA's guiding stream at the paper's size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument("--batch", type=int, default=64, help="of the training step")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        what, *rest = options.one
        run = {"compare": compare, "step": step, "small": small_step}[what]
        print(json.dumps(run(*map(int, rest))))
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    branches = in_own_process("compare")
    print(
        f"branches, forward and backward, batch {branches['batch']}: grouped "
        f"{branches['grouped']:.2f} s, separate {branches['separate']:.2f} s, "
        f"{branches['ratio']:.2f} times as long; error {branches['error']:.0e}",
        flush=True,
    )
    small = [in_own_process("small", tile) for tile in (32, 16)]
    for r in small:
        print(
            f"step on the demo's trunk, 1 thread, tiles {r['tile']} x {r['tile']}: BoT "
            f"{r['bot']:.2f} s, DSA {r['dsa']:.2f} s, {r['ratio']:.2f} times as long",
            flush=True,
        )
    whole = [in_own_process("step", options.batch, int(last)) for last in (False, True)]
    for r in whole:
        print(
            f"step at full size, batch {r['batch']}, "
            f"{'channels last' if r['channels_last'] else 'channels first'}: {r['seconds']:.1f} s, "
            f"peak {r['peak_mib']:.0f} MiB (model alone {r['built_mib']:.0f}); warp "
            f"{r['warp']:.2f} s, {r['share']:.3f} of it",
            flush=True,
        )
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "branches": branches,
                    "small": small,
                    "steps": whole,
                    "threads": torch.get_num_threads(),
                    "torch": torch.__version__,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
