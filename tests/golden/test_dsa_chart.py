"""DensePose output against recorded numbers: the network's charts on a box, and its pictures in
both channel orders.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.labels.densepose import read_iuv
from partreid.labels.dumps import Detection, chart_result, read_dump
from partreid.labels.imported import place

HERE = Path(__file__).parent


def golden(name: str) -> dict[str, Any]:
    return dict(np.load(HERE / f"{name}.npz"))


def test_chart_result_and_its_place_in_the_image(tmp_path: Path) -> None:
    z = golden("dsa_d2_chart")
    raw = [torch.from_numpy(z[key]) for key in ("coarse_segm", "fine_segm", "u", "v")]
    box = torch.from_numpy(z["box_xyxy"])
    labels, uv = chart_result(*raw, box)
    np.testing.assert_array_equal(labels, z["labels"])
    np.testing.assert_allclose(uv, z["uv"], atol=1e-6)
    x, y, w, h = z["box_xywh_int"].tolist()
    assert (int(box[0]), int(box[1])) == (x, y) and labels.shape == (h, w)

    height, width = z["image_hw"].tolist()
    placed = place(
        Detection(1.0, tuple(box.tolist()), labels.to(torch.uint8).numpy(), uv.numpy()),
        height,
        width,
    )
    np.testing.assert_array_equal(placed.labels, z["full_iuv"][0])
    np.testing.assert_allclose(placed.uv, z["full_iuv"][1:], atol=1e-6)

    keys = ("coarse_segm", "fine_segm", "u", "v")
    torch.save(
        [
            {
                "file_name": "a.jpg",
                "pred_boxes": box[None],
                "scores": torch.ones(1),
                **{f"pred_densepose_{key}": value for key, value in zip(keys, raw, strict=True)},
            }
        ],
        tmp_path / "a.pt",
    )
    (detection,) = read_dump(tmp_path / "a.pt")["a.jpg"]
    np.testing.assert_array_equal(place(detection, height, width).labels, z["full_iuv"][0])
    np.testing.assert_allclose(place(detection, height, width).uv, z["full_iuv"][1:], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("a_IUV.png", "iuv_png_pil_order"),
        ("a.png", "iuv_png_cv2_order"),
        ("b.png", "iuv_png_pil_order"),
        ("b_IUV.png", "iuv_png_cv2_order"),
    ],
)
def test_pictures_in_either_order(tmp_path: Path, name: str, saved: str) -> None:
    """``pil_order`` is what Pillow finds in DensePose's own file, ``cv2_order`` what OpenCV
    does, and ours.
    """
    z = golden("dsa_warp")
    Image.fromarray(z[saved]).save(tmp_path / name)
    for order in ("auto", "vui" if saved == "iuv_png_pil_order" else "iuv"):
        surfaces = read_iuv(tmp_path / name, order=order)  # type: ignore[arg-type]
        np.testing.assert_array_equal(surfaces.labels, z["labels"])
        uv = np.stack([z["u"], z["v"]]).clip(0, 1) * (z["labels"] > 0)
        np.testing.assert_allclose(surfaces.uv, np.floor(255 * uv + 1e-9) / 255, atol=1e-6)
    # u = .50 on file is .498: row 1 of 4, not 2
    assert surfaces.uv[0, 2, 1] == np.float32(127 / 255)
