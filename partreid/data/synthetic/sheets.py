"""Contact sheets: a written world at a glance."""

import json
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from partreid.data.synthetic.surfaces import BONES, label_palette
from partreid.errors import DataError

Show = Literal["image", "labels", "iuv"]
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
    """Draws test identities of a written world: a row each, cameras as columns, then occluded queries.

    show: the bare images, label colours with joints over them (white visible, red hidden), or IUV maps beside the
    images. identities: rows, beginning with the `first`. occluded: columns of occluded queries. tile_height: pixels.
    Gives `path` back. Raises DataError if `root` holds no finished world, or no IUV maps when they are asked for.
    """
    root, path = Path(root), Path(path)
    state, lines = _read(root)
    if show == "iuv" and not state.get("iuv"):
        raise DataError(f"{root} was written without IUV maps. Write it again with iuv=True")
    cameras = int(state["world"]["cameras"])
    wide: int = round(tile_height * state["world"]["width"] / state["world"]["height"])
    people = sorted({e["identity"] for e in lines if e["split"] == "query_occluded"})[first : first + identities]
    tile = wide * 2 if show == "iuv" else wide
    gap, left, top, split_gap = 6, 78, 44, 18
    columns = cameras + occluded
    size = (left + columns * (tile + gap) + split_gap + gap, top + len(people) * (tile_height + gap) + gap)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font, bold = ImageDraw.Draw(sheet), ImageFont.load_default(13), ImageFont.load_default(15)

    def column(k: int) -> int:
        return left + k * (tile + gap) + (split_gap if k >= cameras else 0)

    for k in range(cameras):
        draw.text((column(k) + tile / 2, top - 8), f"camera {k + 1}", _INK, font, anchor="ms")
    if occluded:
        centre = (column(cameras) + column(columns - 1) + tile) / 2
        draw.text((centre, top - 8), "occluded queries", _INK, font, anchor="ms")
    for row, identity in enumerate(people):
        y = top + row * (tile_height + gap)
        draw.text((left - 10, y + tile_height / 2), f"{identity:04d}", _INK, bold, anchor="rm")
        mine = [e for e in lines if e["identity"] == identity]
        for k in range(cameras):
            seen = [e for e in mine if e["camera"] == k + 1 and e["split"] in ("bounding_box_test", "query")]
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
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def _read(root: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        state = json.loads((root / "world.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{root} holds no synthetic world ({error}). Write one first") from error
    if not state.get("complete"):
        raise DataError(f"{root} is not finished. Run write() again; it continues where it stopped")
    with (root / "annotations.jsonl").open() as file:
        return state, [json.loads(line) for line in file]


def _tile(root: Path, entry: dict[str, Any], show: Show, size: tuple[int, int]) -> Image.Image:
    with Image.open(root / entry["file"]) as file:
        image = file.convert("RGB")
    scale = size[1] / image.height
    image = image.resize(size, Image.Resampling.LANCZOS)
    name = f"{Path(entry['file']).stem}.png"
    if show == "labels":
        with Image.open(root / "labels" / entry["split"] / name) as file:
            labels = np.asarray(file.resize(size, Image.Resampling.NEAREST))
        colours = label_palette()[labels].astype(np.float64)
        mixed = np.asarray(image) * np.where(labels > 0, 0.35, 0.8)[..., None] + colours * 0.65
        image = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
        _draw_joints(ImageDraw.Draw(image), entry["keypoints"], scale)
    elif show == "iuv":
        with Image.open(root / "iuv" / entry["split"] / name) as file:
            iuv = np.asarray(file.resize(size, Image.Resampling.NEAREST))
        spread = np.stack([iuv[..., 0] * 10, iuv[..., 1], iuv[..., 2]], -1).astype(np.uint8)
        both = Image.new("RGB", (2 * size[0], size[1]))
        both.paste(image, (0, 0))
        both.paste(Image.fromarray(spread), (size[0], 0))
        return both
    return image


def _draw_joints(draw: ImageDraw.ImageDraw, joints: list[list[float]], scale: float) -> None:
    for a, b in BONES:
        if joints[a][2] == 2 and joints[b][2] == 2:
            draw.line([(joints[k][0] * scale, joints[k][1] * scale) for k in (a, b)], (255, 255, 255), 1)
    for x, y, v in joints:
        if v:
            at = (x * scale - 2.2, y * scale - 2.2, x * scale + 2.2, y * scale + 2.2)
            draw.ellipse(at, (255, 255, 255) if v == 2 else (225, 40, 40), (20, 20, 20))
