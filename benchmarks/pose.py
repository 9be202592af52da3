"""Keypoints and a person mask for every crop of a folder, by MediaPipe Pose, whose models lie in
its wheel. It needs an environment of its own; nothing of partreid is imported.

python -m venv mp && mp/bin/pip install mediapipe==0.10.21        (Apache-2.0, some 1 GB)
mp/bin/python benchmarks/pose.py ROOT/labeled/train ROOT/pose/train
mp/bin/python benchmarks/pose.py ROOT/labeled/val ROOT/pose/val

Writes <stem>.json, COCO's 17 keypoints as labels import takes them, and <stem>_fg.png, a grey mask.
Crops in which nobody is found get no file; what is there is kept, so that it goes on where it was.
"""

import json
import sys
from pathlib import Path

import cv2
import mediapipe

# COCO's nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles among MediaPipe's 33
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
SIDE = 512  # small crops are enlarged to it and padded to a square


def main(source: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    crops = sorted(p for p in source.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    pose = mediapipe.solutions.pose.Pose(
        static_image_mode=True,
        model_complexity=1,
        enable_segmentation=True,
        min_detection_confidence=0.3,
    )
    count = 0
    for path in crops:
        mask_file = out / f"{path.stem}_fg.png"
        if mask_file.exists():
            count += 1
            continue
        crop = cv2.imread(str(path))
        if crop is None:
            sys.exit(f"{path} cannot be read")
        height, width = crop.shape[:2]
        scale = SIDE / max(height, width)
        large = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        pad = max(0, (SIDE - large.shape[1]) // 2)
        large = cv2.copyMakeBorder(large, 0, 0, pad, pad, cv2.BORDER_REPLICATE)
        result = pose.process(cv2.cvtColor(large, cv2.COLOR_BGR2RGB))
        if result.pose_landmarks is None:
            continue
        count += 1
        tall, wide = large.shape[:2]
        marks = [result.pose_landmarks.landmark[i] for i in COCO]
        points = [
            [(m.x * wide - pad) / scale, m.y * tall / scale, float(m.visibility)] for m in marks
        ]
        (out / f"{path.stem}.json").write_text(
            json.dumps([{"keypoints": points, "is_target": True}])
        )
        mask = (result.segmentation_mask[:, pad : wide - pad] * 255).astype("uint8")
        cv2.imwrite(str(mask_file), cv2.resize(mask, (width, height)))
    print(f"somebody was found in {count} of {len(crops)} crops")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
