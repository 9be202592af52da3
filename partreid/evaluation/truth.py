"""Part maps and visibility against exact labels, counted while images stream by."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from partreid.data.transforms import resize_nearest
from partreid.types import Output, PartScheme, Sample

# share of the crop that a part must cover to count as visible: 16 pixels at 128 x 64
SHOWN_PIXELS = 1 / 512


class Truth:
    """Confusion of labels at image resolution, and of visibility per part.

    labels: exact part labels uint8 [h, w] of a sample, 0 background, 1..K. Pass :meth:`see` to
    ``extract``.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        scheme: PartScheme,
        size: tuple[int, int],
        labels: Callable[[Sample], NDArray[np.uint8]],
    ) -> None:
        self.samples, self.scheme, self.size, self.labels = samples, scheme, size, labels
        self.confusion = np.zeros((scheme.K + 1, scheme.K + 1), np.int64)  # [truth, predicted]
        self.visibility = np.zeros((scheme.K, 2, 2), np.int64)  # [part, truth, predicted]

    def see(self, at: slice, out: Output) -> None:
        """Count one batch of outputs, which stand for ``samples[at]``."""
        if out.parts is None:
            return
        K = self.scheme.K
        predicted = (
            F.interpolate(out.parts.logits.float().cpu(), size=self.size, mode="bilinear")
            .argmax(1)
            .numpy()
        )
        shown = (out.groups["parts"].visibility.cpu() > 0).numpy().astype(int)
        for row, sample in enumerate(self.samples[at]):
            truth = resize_nearest(self.labels(sample), self.size).astype(np.uint8)
            self.confusion += np.bincount(
                truth.ravel().astype(int) * (K + 1) + predicted[row].ravel(), minlength=(K + 1) ** 2
            ).reshape(K + 1, K + 1)
            there = exact_visibility(truth, K).astype(int)
            np.add.at(self.visibility, (np.arange(K), there, shown[row]), 1)

    def iou(self) -> dict[str, float]:
        """Intersection over union of every part, of the foreground as a whole, and their mean
        over parts.
        """
        hit = self.confusion.diagonal()
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        parts = {
            name: float(hit[k] / max(union[k], 1)) for k, name in enumerate(self.scheme.names, 1)
        }
        both, none = self.confusion[1:, 1:].sum(), self.confusion[0, 0]
        return {
            **parts,
            "mean": float(np.mean(list(parts.values()))),
            "foreground": float(both / max(self.confusion.sum() - none, 1)),
        }

    def visibility_accuracy(self) -> dict[str, float]:
        """Share of images in which a part's predicted visibility is right, by part and on
        average.
        """
        right = self.visibility[:, [0, 1], [0, 1]].sum(1) / np.maximum(
            self.visibility.sum((1, 2)), 1
        )
        parts = {name: float(r) for name, r in zip(self.scheme.names, right, strict=True)}
        return {**parts, "mean": float(right.mean())}


def exact_visibility(labels: NDArray[np.uint8], K: int) -> NDArray[np.bool_]:
    """Bool [K]: the parts that cover at least :data:`SHOWN_PIXELS` of a label map [H, W]."""
    return np.bincount(labels.ravel(), minlength=K + 1)[1 : K + 1] >= SHOWN_PIXELS * labels.size


def exact_visibilities(
    samples: Sequence[Sample], K: int, labels: Callable[[Sample], NDArray[np.uint8]]
) -> torch.Tensor:
    """Float32 [N, K] of :func:`exact_visibility` for every sample."""
    return torch.from_numpy(np.stack([exact_visibility(labels(s), K) for s in samples])).float()
