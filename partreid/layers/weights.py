"""Where a trunk's ImageNet weights come from: timm by their tag there, or a file of the user's."""

import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from partreid.errors import DataError, RecipeError
from partreid.utils.files import regular

CLIENTS = ("huggingface_hub", "requests", "httpx", "httpx2")  # whose errors mean the network
PATIENCE = 3  # seconds in which the hub must answer at all
# endings by which a file is told from a tag
FILES = (".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt")
LOCAL = (
    "convert yours with: partreid convert FILE --layout trunk --out FOLDER, and name what it "
    "writes: --set backbone.weights=FOLDER/trunk.safetensors"
)
DEFAULT, NOTHING = "default", "none"  # in place of a tag: timm's choice, and no weights at all


def timm_local(model: str) -> str:
    """The same for the trunk ``timm``, whose files keep timm's own names."""
    return (
        "name a file of safetensors with timm's names: --set backbone.weights=FILE; convert any "
        f"other with: partreid convert FILE --layout timm:{model} --out FOLDER, and name "
        "FOLDER/trunk.safetensors"
    )


def is_file(weights: str) -> bool:
    """Whether ``backbone.weights`` names a file, not a tag."""
    return "/" in weights or "\\" in weights or weights.lower().endswith(FILES)


def fetched(
    timm: Any, model: str, tag: str, options: Mapping[str, Any], local: str = LOCAL
) -> nn.Module:
    """A timm model with the weights of a tag, from the Hugging Face cache or the hub.

    local: how a file is given instead, for errors. RecipeError for a tag that timm does not have
    for this model, and if the hub does not answer at once.
    """
    known = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
    if tag not in known:
        raise RecipeError(
            f"{model} has no weights '{tag}'; known are {', '.join(known)}, or give a file: {local}"
        )
    name = f"{model}.{tag}"
    if not timm.get_pretrained_cfg(name).hf_hub_id:
        raise RecipeError(
            f"the weights of {model} ({tag}) are not on the hub, and nothing else is asked for "
            f"weights. If you have them as a file, {local}"
        )
    overlay = {}
    cached = _cached(timm, name)
    if cached is not None:
        overlay = {"file": cached}
    else:
        _answer(timm, name, local)
    try:
        made: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.split(".")[0] in CLIENTS:
            raise RecipeError(_unreachable(timm, name, error, local)) from None
        raise
    return made


def _cached(timm: Any, name: str) -> str | None:
    """The file of these weights in the Hugging Face cache, which is then all that is asked."""
    import huggingface_hub as hub

    file = timm.get_pretrained_cfg(name).hf_hub_filename or "model.safetensors"
    path = hub.try_to_load_from_cache(_home(timm, name), file)
    return path if isinstance(path, str) else None


def _home(timm: Any, name: str) -> str:
    """Where weights are on the hub: "timm/" in some versions of timm, the whole name in others."""
    home = str(timm.get_pretrained_cfg(name).hf_hub_id)
    return f"{home}{name}" if home.endswith("/") else home


def _answer(timm: Any, name: str, local: str) -> None:
    """RecipeError unless the hub answers within PATIENCE seconds: its own client tries again for
    minutes.
    """
    import huggingface_hub as hub

    if hub.constants.HF_HUB_OFFLINE:
        raise RecipeError(_unreachable(timm, name, OSError("HF_HUB_OFFLINE is set"), local))
    outcomes: list[Exception | None] = []

    def ask() -> None:
        try:
            hub.get_session().head(hub.constants.ENDPOINT, timeout=PATIENCE)
            outcomes.append(None)
        except Exception as error:  # whatever the client of the day raises
            outcomes.append(error)

    # of a name server that does not answer no time limit knows
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    error = outcomes[0] if outcomes else TimeoutError()
    if error is not None:
        raise RecipeError(_unreachable(timm, name, error, local))


def _unreachable(timm: Any, name: str, error: Exception, local: str) -> str:
    what, _, tag = name.partition(".")
    return (
        f"the ImageNet weights of {what} ({tag}) could not be fetched ({type(error).__name__}) and "
        "are not in the Hugging Face cache. There are two ways. If you have the weights as a file, "
        f"{local}. If not, on a machine with network: hf download {_home(timm, name)}, and copy "
        "its folder ~/.cache/huggingface here. Or train from nothing: --set "
        "backbone.pretrained=false"
    )


def fill(
    trunk: nn.Module,
    path: str,
    local: str = LOCAL,
    below: str | None = None,
    known: Collection[str] | None = None,
) -> None:
    """Fill a trunk in place from a file that ``partreid convert`` wrote of a trunk.

    A reducer of our own stays as it is, and so do numbers that images are normalised by. local: how
    such a file is made, for errors. below: where the names stand in the trunk of a file that has
    the network's own names; None: no such file is taken. known: all of the network's own names,
    by which a file of a larger model is told; None: it is not. DataError unless all else finds its
    tensor, of its shape and finite.
    """
    file = regular(path, "file of weights")
    if file.suffix != ".safetensors":
        raise DataError(
            f"{path} is read after a conversion only; {local.replace('FILE', str(path), 1)}"
            if below is None
            else f"{path} is no file of safetensors; {local}"
        )
    held = _read(file)
    tensors = {
        name.removeprefix("trunk."): t for name, t in held.items() if name.startswith("trunk.")
    }
    if not tensors and below is not None:
        tensors = {below + name: t for name, t in held.items()}
    needed = {
        name: t
        for name, t in trunk.state_dict().items()
        if not name.startswith(("reduce.", "before.")) and not name.endswith("num_batches_tracked")
    }
    wrong = [
        name for name, t in needed.items() if name not in tensors or tensors[name].shape != t.shape
    ]
    wrong += [
        name for name in needed if name in tensors and not bool(tensors[name].isfinite().all())
    ]
    if wrong or not tensors:
        raise DataError(
            f"{path} does not hold the weights of this trunk: {len(wrong)} of {len(needed)} "
            f"tensors are missing, of another shape or not finite ({', '.join(wrong[:3])}); {local}"
        )
    others = (
        [] if known is None else _foreign(tensors, needed, {f"{below}{name}" for name in known})
    )
    if others:
        raise DataError(
            f"{path} is of another model than this trunk: it holds {len(others)} tensors more in "
            f"the same modules ({', '.join(others[:3])}); say which with --set backbone.model=..."
        )
    with torch.no_grad():
        trunk.load_state_dict({name: tensors[name] for name in needed}, strict=False)


def _foreign(
    tensors: Collection[str], needed: Collection[str], known: Collection[str]
) -> list[str]:
    """Names of layers that the whole network does not have, in modules that the trunk has: not its
    head, which no trunk keeps.
    """
    modules = {name.split(".")[1] for name in needed}
    layers = {name[:i] for name in known for i, letter in enumerate(name) if letter == "."}
    return [
        name
        for name in tensors
        if name not in needed
        and name.split(".")[1] in modules
        and name.rpartition(".")[0] not in layers
    ]


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{file} is not a readable safetensors file ({error}); convert the weights again"
        ) from None
