"""Where a trunk's ImageNet weights come from: timm by their tag there, or a file of the user's."""

import threading
from collections.abc import Mapping
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


def is_file(weights: str) -> bool:
    """Whether ``backbone.weights`` names a file, not a tag."""
    return "/" in weights or "\\" in weights or weights.lower().endswith(FILES)


def fetched(timm: Any, model: str, tag: str, options: Mapping[str, Any]) -> nn.Module:
    """A timm model with the weights of a tag, from the Hugging Face cache or the hub.

    RecipeError for a tag that timm does not have for this model, and if the hub does not answer at
    once.
    """
    known = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
    if tag not in known:
        raise RecipeError(
            f"{model} has no weights '{tag}'; known are {', '.join(known)}, or give a file: {LOCAL}"
        )
    name = f"{model}.{tag}"
    overlay = {}
    cached = _cached(timm, name)
    if cached is not None:
        overlay = {"file": cached}
    else:
        _answer(name)
    try:
        made: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.split(".")[0] in CLIENTS:
            raise RecipeError(_unreachable(name, error)) from None
        raise
    return made


def _cached(timm: Any, name: str) -> str | None:
    """The file of these weights in the Hugging Face cache, which is then all that is asked."""
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(
        timm.get_pretrained_cfg(name).hf_hub_id + name, "model.safetensors"
    )
    return found if isinstance(found, str) else None


def _answer(name: str) -> None:
    """RecipeError unless the hub answers within PATIENCE seconds: its own client tries again for
    minutes.
    """
    import huggingface_hub as hub

    if hub.constants.HF_HUB_OFFLINE:
        raise RecipeError(_unreachable(name, OSError("HF_HUB_OFFLINE is set")))
    found: list[Exception | None] = []

    def ask() -> None:
        try:
            hub.get_session().head(hub.constants.ENDPOINT, timeout=PATIENCE)
            found.append(None)
        except Exception as error:  # whatever the client of the day raises
            found.append(error)

    # of a name server that does not answer no time limit knows
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    error = found[0] if found else TimeoutError()
    if error is not None:
        raise RecipeError(_unreachable(name, error))


def _unreachable(name: str, error: Exception) -> str:
    what, _, tag = name.partition(".")
    return (
        f"the ImageNet weights of {what} ({tag}) could not be fetched ({type(error).__name__}) and "
        "are not in the Hugging Face cache. There are two ways. If you have the weights as a file, "
        f"{LOCAL}. If not, on a machine with network: hf download timm/{name}, and copy its folder "
        "~/.cache/huggingface here. Or train from nothing: --set backbone.pretrained=false"
    )


def fill(trunk: nn.Module, path: str) -> None:
    """Fill a trunk from a file that ``partreid convert --layout trunk`` wrote, in place.

    A reducer of our own stays as it is. DataError unless all else finds its tensor, of its shape
    and finite.
    """
    file = regular(path, "file of weights")
    if file.suffix != ".safetensors":
        raise DataError(
            f"{path} is read after a conversion only; {LOCAL.replace('FILE', str(path), 1)}"
        )
    tensors = {
        name.removeprefix("trunk."): t
        for name, t in _read(file).items()
        if name.startswith("trunk.")
    }
    own = {
        name: t
        for name, t in trunk.state_dict().items()
        if not name.startswith("reduce.") and not name.endswith("num_batches_tracked")
    }
    wrong = [
        name for name, t in own.items() if name not in tensors or tensors[name].shape != t.shape
    ]
    wrong += [name for name in own if name in tensors and not bool(tensors[name].isfinite().all())]
    if wrong or not tensors:
        raise DataError(
            f"{path} does not hold the weights of this trunk: {len(wrong)} of {len(own)} tensors "
            f"are missing, of another shape or not finite ({', '.join(wrong[:3])}); {LOCAL}"
        )
    with torch.no_grad():
        trunk.load_state_dict({name: tensors[name] for name in own}, strict=False)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{file} is not a readable safetensors file ({error}); convert the weights again"
        ) from None
