"""Write requirements.lock: every package but PyTorch, pinned and hashed, for all platforms and
Pythons.

    python tools/lock.py torch==2.13.0

PyTorch takes part in the resolution, so that the rest fits it, and is then left out together with
the CUDA packages it brings: which build of it is right depends on the machine, and `make setup`
installs it by itself. Releases younger than a week are not considered; a poisoned upload rarely
lives that long unnoticed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("torch==", "triton==", "nvidia-", "cuda-")  # torchvision stays: timm imports it
HEADER = """\
# Made by `make lock`; do not edit.
#   uv pip compile pyproject.toml --extra docs --extra test --universal --python-version 3.10
#       --generate-hashes --exclude-newer "7 days" --no-annotate --no-header --no-emit-index-url
#       --constraint {torch}
#   then PyTorch and its CUDA packages are taken out: `make setup` installs {torch} by itself.
# Install with: pip install --require-hashes --no-deps -r requirements.lock
"""


def blocks(text: str) -> list[str]:
    """One entry per requirement: its line and the hash lines below it."""
    entries: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(" "):
            entries[-1] += line
        else:
            entries.append(line)
    return entries


def main(torch: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        venv, constraint, out = (
            Path(scratch, "venv"),
            Path(scratch, "torch.in"),
            Path(scratch, "lock"),
        )
        constraint.write_text(torch + "\n")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "uv>=0.9"], check=True)
        subprocess.run(
            [venv / "bin/uv", "pip", "compile", "-q", "pyproject.toml",
             "--extra", "docs", "--extra", "test",
             "--universal", "--python-version", "3.10", "--generate-hashes",
             "--exclude-newer", "7 days",
             "--no-annotate", "--no-header", "--no-emit-index-url",
             "--constraint", constraint, "--output-file", out],
            cwd=ROOT, check=True,
        )  # fmt: skip
        kept = [block for block in blocks(out.read_text()) if not block.startswith(LEFT_OUT)]
    (ROOT / "requirements.lock").write_text(HEADER.format(torch=torch) + "".join(kept))
    print(f"requirements.lock: {len(kept)} entries beside {torch}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
