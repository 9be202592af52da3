"""Contact sheets: a written world at a glance."""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from partreid.data.synthetic.surfaces import BONES, label_palette
from partreid.errors import DataError
from partreid.utils.files import MIB, parse_json, read_json, read_text
from partreid.utils.images import read_channels, read_image, read_index, save_image

Show = Literal["image", "labels", "iuv"]
ANNOTATIONS: Final = 1024 * MIB  # about a million images
_PAPER: Final = (250, 249, 246)
_INK: Final = (52, 54, 58)
_PALE: Final = (140, 142, 146)


def contact_sheet(
    root: str | Path,
    path: str | Path,
    *,
    show: Show = "image",
    identities: int = 8,
    first: int = 0,
    occluded: int = 3,
    tile_height: int = 192,
) -> Path:
    """Draws test identities of a written world: a row each, cameras as columns, then occluded
    queries.

    show: the bare images, label colors with joints over them (white visible, red hidden), or IUV
    maps beside the images. identities: rows, beginning with the `first`. occluded: columns of
    occluded queries. tile_height: pixels. Gives `path` back. Raises DataError if `root` holds no
    finished world, or no IUV maps when they are asked for.
    """
    root, path = Path(root), Path(path)
    state, lines = _read(root)
    if show == "iuv" and not state.get("iuv"):
        raise DataError(f"{root} was written without IUV maps. Write it again with iuv=True")
    cameras = int(state["world"]["cameras"])
    wide: int = round(tile_height * state["world"]["width"] / state["world"]["height"])
    people = sorted({e["identity"] for e in lines if e["split"] == "query_occluded"})[
        first : first + identities
    ]
    tile = wide * 2 if show == "iuv" else wide
    gap, left, top, split_gap = 6, 78, 44, 18
    columns = cameras + occluded
    size = (
        left + columns * (tile + gap) + split_gap + gap,
        top + len(people) * (tile_height + gap) + gap,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw, font, bold = ImageDraw.Draw(sheet), ImageFont.load_default(13), ImageFont.load_default(15)

    def column(k: int) -> int:
        return left + k * (tile + gap) + (split_gap if k >= cameras else 0)

    for k in range(cameras):
        draw.text((column(k) + tile / 2, top - 8), f"camera {k + 1}", _INK, font, anchor="ms")
    if occluded:
        center = (column(cameras) + column(columns - 1) + tile) / 2
        draw.text((center, top - 8), "occluded queries", _INK, font, anchor="ms")
    for row, identity in enumerate(people):
        y = top + row * (tile_height + gap)
        draw.text((left - 10, y + tile_height / 2), f"{identity:04d}", _INK, bold, anchor="rm")
        mine = [e for e in lines if e["identity"] == identity]
        for k in range(cameras):
            seen = [
                e
                for e in mine
                if e["camera"] == k + 1 and e["split"] in ("bounding_box_test", "query")
            ]
            for entry in sorted(seen, key=lambda e: e["occluder"] is not None)[:1]:
                sheet.paste(_tile(root, entry, show, (wide, tile_height)), (column(k), y))
        for k, entry in enumerate([e for e in mine if e["split"] == "query_occluded"][:occluded]):
            x = column(cameras + k)
            sheet.paste(_tile(root, entry, show, (wide, tile_height)), (x, y))
            note = f"{entry['occluder']} {entry['occlusion']:.0%}"
            box = draw.textbbox((x + 4, y + tile_height - 4), note, font, anchor="ls")
            draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), _PAPER)
            draw.text((x + 4, y + tile_height - 4), note, _INK, font, anchor="ls")
    title = f"{state['world']['name']} · seed {state['world']['seed']}"
    draw.text((10, 16), title, _PALE, font, anchor="lm")
    save_image(sheet, path)
    return path


def _read(root: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What world.json says and the lines of annotations.jsonl. DataError unless they are those
    of a finished world.
    """
    if not (root / "world.json").exists():
        raise DataError(f"{root} holds no synthetic world. Write one first: partreid data synth")
    state = read_json(root / "world.json")
    if not isinstance(state, dict) or not isinstance(state.get("world"), dict):
        raise DataError(
            f"{root / 'world.json'} is not the record of a world; write the world again"
        )
    if state.get("complete") is not True:
        raise DataError(f"{root} is not finished. Run write() again; it continues where it stopped")
    world, limits = state["world"], {"cameras": 1000, "width": 4096, "height": 4096, "seed": 2**63}
    odd = [
        name
        for name, most in limits.items()
        if type(world.get(name)) is not int or not 0 <= world[name] <= most
    ]
    if (
        odd
        or not isinstance(world.get("name"), str)
        or 0 in (world["cameras"], world["width"], world["height"])
    ):
        raise DataError(
            f"{root / 'world.json'} has no usable {', '.join(odd or ['name or sizes'])}; write the "
            "world again"
        )
    file = root / "annotations.jsonl"
    lines = [
        _entry(parse_json(line, f"line {i} of {file}"), f"line {i} of {file}")
        for i, line in enumerate(read_text(file, ANNOTATIONS).splitlines(), 1)
    ]
    return state, lines


def _entry(entry: Any, where: str) -> dict[str, Any]:
    kinds: dict[str, tuple[type, ...]] = {
        "identity": (int,),
        "camera": (int,),
        "split": (str,),
        "file": (str,),
        "occluder": (str, type(None)),
        "occlusion": (int, float),
        "keypoints": (list,),
    }
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(name), kind) for name, kind in kinds.items()
    ):
        raise DataError(f"{where} is not a line that writing a world leaves; write the world again")
    joints = entry["keypoints"]
    fine = len(joints) > max(max(pair) for pair in BONES) and all(
        isinstance(joint, list)
        and len(joint) == 3
        and all(isinstance(n, int | float) for n in joint)
        for joint in joints
    )
    inside = not any(
        Path(entry[name]).is_absolute() or ".." in Path(entry[name]).parts
        for name in ("file", "split")
    )
    if not (fine and inside):
        raise DataError(
            f"{where} has other joints or another path than writing a world leaves; write the "
            "world again"
        )
    return entry


def _tile(root: Path, entry: dict[str, Any], show: Show, size: tuple[int, int]) -> Image.Image:
    image = read_image(root / entry["file"])
    scale = size[1] / image.height
    image = image.resize(size, Image.Resampling.LANCZOS)
    name = f"{Path(entry['file']).stem}.png"
    if show == "labels":
        labels = _resized(read_index(root / "labels" / entry["split"] / name)[0], size)
        palette = label_palette()
        if labels.max() >= len(palette):
            raise DataError(
                f"{root / 'labels' / entry['split'] / name} has label {labels.max()}; a world's go "
                f"up to {len(palette) - 1}. Write the world again"
            )
        colors = palette[labels].astype(np.float64)
        mixed = np.asarray(image) * np.where(labels > 0, 0.35, 0.8)[..., None] + colors * 0.65
        image = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
        _draw_joints(ImageDraw.Draw(image), entry["keypoints"], scale)
    elif show == "iuv":
        iuv = _resized(read_channels(root / "iuv" / entry["split"] / name), size)
        spread = np.stack([iuv[..., 0] * 10, iuv[..., 1], iuv[..., 2]], -1).astype(np.uint8)
        both = Image.new("RGB", (2 * size[0], size[1]))
        both.paste(image, (0, 0))
        both.paste(Image.fromarray(spread), (size[0], 0))
        return both
    return image


def _resized(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))


def _draw_joints(draw: ImageDraw.ImageDraw, joints: list[list[float]], scale: float) -> None:
    for a, b in BONES:
        if joints[a][2] == 2 and joints[b][2] == 2:
            draw.line(
                [(joints[k][0] * scale, joints[k][1] * scale) for k in (a, b)], (255, 255, 255), 1
            )
    for x, y, v in joints:
        if v:
            box = (x * scale - 2.2, y * scale - 2.2, x * scale + 2.2, y * scale + 2.2)
            draw.ellipse(box, (255, 255, 255) if v == 2 else (225, 40, 40), (20, 20, 20))
