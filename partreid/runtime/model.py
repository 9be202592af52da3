"""An exported model at work: crops to embeddings, distances, ranked lists and decisions, by
onnxruntime alone.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from os.path import isdir
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.runtime.decision import NOTHING_SHARED, Decision, require_prior
from partreid.runtime.distance import PartDistance
from partreid.runtime.doubt import Doubt, chosen, doubted, scored
from partreid.runtime.file import Card, read
from partreid.runtime.likeness import Crops
from partreid.runtime.types import Comparison, Embeddings, Hit
from partreid.utils.ahead import ahead
from partreid.utils.arguments import door, integer, require
from partreid.utils.crops import AnyCrop, AnyCrops, Crop, crops_of
from partreid.utils.files import read_json
from partreid.utils.looks import looks
from partreid.utils.text import reason

Providers = Sequence[str | tuple[str, dict[str, Any]]]
Check = Literal["refuse", "warn"]

SHORT = {  # names by which onnxruntime's providers are known
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_CALIBRATION_LIMIT = 4 * 2**20
_NONE = (
    "no decision: this file has no calibration; export the run with --data and labelled crops, or "
    "give one with calibration="
)


class Model:
    """An exported model, as :func:`load` gives it: the verbs of :class:`partreid.inference.Model`.

    A crop is a file (a str or a Path), a Pillow picture, or an array uint8 [H, W, 3] in RGB; floats
    count from 0 (black) to 1 (white). It is resized to the model's size bilinearly by Pillow, as in
    training; see :mod:`partreid.utils.crops`.

    Args:
        session: onnxruntime's.
        card: What the file says of itself.
        calibration: What decides, if there is one.
        source: The file, for errors.

    Attributes:
        names: Of the M embeddings.
        size: (H, W) of the images that the network takes.
        calibration: A :class:`~partreid.runtime.decision.Decision`, or None.
    """

    @door
    def __init__(
        self, session: Any, card: Card, calibration: Decision | None, source: Path
    ) -> None:
        self.session, self.card, self.calibration, self.source = session, card, calibration, source
        self.names, self.size = card.names, card.size

    @cached_property
    def rule(self) -> PartDistance:
        """How its embeddings are compared."""
        return self.card.distance

    def embed(self, crops: AnyCrops, batch: int = 64, workers: int = 1) -> Embeddings:
        """Crops to embeddings. The next crops are read while the network works.

        Args:
            crops: A folder, a crop, or a list of crops; an array uint8 [N, H, W, 3] is N crops.
            batch: Crops that go through the network together, at least 1.
            workers: Threads that read crops, at least 1.

        Returns:
            Vectors float32 [N, M, D] and visibility [N, M], in the order of the crops.

        Raises:
            ArgumentError: Something is no crop, or its numbers are neither uint8 nor in 0..1.
            ShapeError: An array has another shape.
            DataError: Names the first crop that cannot be read, or for which the model gives
                anything but numbers.
        """
        integer("batch", batch, 1)
        integer("workers", workers, 1)
        return self._embedded(crops_of(crops), batch, workers)

    def part_maps(self, crops: AnyCrops, batch: int = 64) -> NDArray[np.float32]:
        """Part maps of crops, float32 [N, K + 1, h, w], background first.

        Raises:
            DataError: The file has none; partreid export puts them in with --with-parts. As of
                ``embed``.
        """
        if not self.card.scheme:
            raise DataError(
                f"{self.source} has no part maps; export the run again with --with-parts, if its "
                "method has any"
            )
        integer("batch", batch, 1)
        given = crops_of(crops)
        return np.concatenate([outputs[2] for _, _, outputs in self._run(given, batch, 1)])

    def distance(self, a: Embeddings, b: Embeddings) -> NDArray[np.float32]:
        """All distances between embeddings: float32 [Na, Nb], +inf where two images share no part.

        Raises:
            ShapeError: They have not the same embeddings.
        """
        return self.rule(a, b)

    def compare(self, a: AnyCrop, b: AnyCrop, prior: float = 0.5) -> Comparison:
        """The distance between two crops, what each part says about it, and the decision.

        Args:
            a: A crop.
            b: Another.
            prior: In (0, 1), how likely one person was beforehand; moves the probability, never the
                decision.

        Raises:
            ArgumentError: A side is no crop, or several; the prior lies outside (0, 1).
            DataError: As of ``embed``.
        """
        require_prior(prior)
        crops = [_one_crop(side, given) for side, given in (("a", a), ("b", b))]
        e = self._embedded(crops, 2, 1)
        (evidence,) = self.rule.explain(e, e, [0], [1])
        doubt = self.doubt(e.rows([0]), e.rows([1]))
        why = None if doubt is None else doubt.of(0, 0, ("the first crop", "the second crop"))
        return self._decided(Comparison(evidence), prior, why)

    def rank(
        self, query: AnyCrops, gallery: AnyCrops, top: int = 10, prior: float = 0.5
    ) -> list[list[Hit]]:
        """For every query crop the nearest gallery crops; ties keep the gallery's order.

        Args:
            query: A folder, a crop or a list of crops, as for ``embed``.
            gallery: The same.
            top: How many to give, at least 1; all if there are fewer.
            prior: See ``compare``.

        Returns:
            A list for each query, nearest first.

        Raises:
            ArgumentError: As of ``embed``; ``top`` or the prior is out of its range.
            DataError: As of ``embed``.
        """
        integer("top", top, 1)
        require_prior(prior)
        queries, others = crops_of(query), crops_of(gallery)
        paths = [crop.path for crop in others]
        return self.search(self._embedded(queries), self._embedded(others), paths, top, prior)

    def search(
        self,
        query: Embeddings,
        gallery: Embeddings,
        paths: Sequence[Path | None] | None = None,
        top: int = 10,
        prior: float = 0.5,
    ) -> list[list[Hit]]:
        """The same with crops that are embedded already.

        Args:
            query: What ``embed`` gave.
            gallery: The same.
            paths: Of the gallery, one for each of its rows; None: there are none.
            top: How many to give, at least 1; all if there are fewer.
            prior: See ``compare``.

        Raises:
            ShapeError: There are not as many paths as gallery rows, or the embeddings differ.
        """
        integer("top", top, 1)
        require_prior(prior)
        paths = [None] * len(gallery) if paths is None else list(paths)
        if len(paths) != len(gallery):
            raise ShapeError(
                f"a gallery of {len(gallery)} embeddings needs as many paths, got {len(paths)}"
            )
        doubt, lists = self.doubt(query, gallery), []
        for row, nearest in enumerate(self.rule.nearest(query, gallery, top).tolist()):
            evidence = self.rule.explain(query, gallery, [row] * len(nearest), nearest)
            lists.append(
                [
                    self._decided(
                        Hit(e, place=place, row=i, path=paths[i]),
                        prior,
                        None if doubt is None else doubt.of(row, i),
                    )
                    for place, (i, e) in enumerate(zip(nearest, evidence), 1)
                ]
            )
        return lists

    def doubt(self, query: Embeddings, gallery: Embeddings) -> Doubt | None:
        """Which crops the calibration decides nothing about, as they do not look like those it was
        made of.

        Args:
            query: What ``embed`` gave.
            gallery: The same.

        Returns:
            The crops and why; None without a calibration.

        Raises:
            ShapeError: The embeddings are of another model.
        """
        if self.calibration is None:
            return None
        origin = self.calibration.origin
        q, g = (scored(origin, Crops(e.vectors, e.visibility, e.looks)) for e in (query, gallery))
        return doubted(
            origin,
            q,
            g,
            lambda: self._apart(query, gallery),
            "calibrate on labelled crops of this place: "
            "partreid export RUN --out FILE.onnx --data FOLDER --dataset folders",
            "partreid export RUN --out FILE.onnx --data FOLDER",
        )

    def _apart(self, *crops: Embeddings) -> str | None:
        samples = chosen([len(e) for e in crops])
        if samples is None or self.calibration is None:
            return None
        some = Embeddings.stack([e.rows(rows) for e, rows in zip(crops, samples)])
        far = self.rule(some, some)[np.triu_indices(len(some), 1)]
        return self.calibration.origin.apart(far, len(some))

    def likeness(self) -> float:
        """How near this machine comes to the model that was exported, on the pictures in the file:
        the least mean cosine of any embedding over them.
        """
        checks = self.card.checks
        if not len(checks.pictures):
            return 1.0
        e = self._embedded(
            [Crop(f"check picture {i}", picture=p) for i, p in enumerate(checks.pictures, 1)]
        )
        return float(mean_cosines(checks.vectors, e.vectors).min())

    def verify(self) -> None:
        """DataError if this machine gives other embeddings than the file promises."""
        cosine, promised = self.likeness(), self.card.checks.cosine
        if not cosine >= promised:  # NaN is not
            raise DataError(
                f"{self.source} gives other embeddings on this machine than the model that was "
                f"exported: cosine {cosine:.4f} on its check pictures, where {promised:g} is "
                f"promised ({', '.join(self.session.get_providers())}); take another provider, or "
                "export without --int8"
            )

    def _decided(self, pair: Any, prior: float, doubt: str | None) -> Any:
        if self.calibration is None or doubt is not None:
            return replace(pair, reason=doubt or _NONE)
        probability, same = self.calibration(pair.distance, pair.shared_evidence, prior)
        reason = NOTHING_SHARED if probability is None else None
        return replace(pair, probability=probability, same=same, reason=reason)

    def _embedded(self, crops: Sequence[Crop], batch: int = 64, workers: int = 1) -> Embeddings:
        pieces = []
        asks = self.calibration is not None and self.calibration.origin.likeness is not None
        for some, pixels, (vectors, visibility, *_) in self._run(crops, batch, workers):
            good = np.isfinite(vectors).all((1, 2)) & (visibility >= 0).all(1)  # NaN is not
            if not good.all():
                raise DataError(
                    f"the model gives NaN or infinity for {some[int(np.argmin(good))].name}: its "
                    "weights are broken, or this machine computes them wrongly; take another "
                    "provider, or export the run again"
                )
            seen = [looks(p, *crop.size) for p, crop in zip(pixels, some)] if asks else None
            pieces.append(
                Embeddings(
                    vectors,
                    np.minimum(visibility, 1),
                    self.names,
                    None if seen is None else np.stack(seen),
                )
            )
        return Embeddings.stack(pieces)

    def _run(
        self, crops: Sequence[Crop], batch: int, workers: int
    ) -> Iterator[tuple[Sequence[Crop], NDArray[np.uint8], list[Any]]]:
        """Batches of crops, their pixels and the network's outputs; the next are read meanwhile."""
        for some, each in ahead(crops, lambda crop: crop.pixels(self.size), batch, workers):
            pixels = np.stack(each)
            yield some, pixels, self.run(pixels)

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The network alone: pixels uint8 [N, H, W, 3] of its size -> vectors, visibility and, if
        the file has them, part maps. DataError if the provider fails.
        """
        try:
            outputs: list[NDArray[np.float32]] = self.session.run(None, {"images": pixels})
        except Exception as error:  # of every provider its own
            raise DataError(
                f"{self.source} cannot be run on these crops ({reason(error)}); take a smaller "
                "batch, or another provider"
            ) from None
        return outputs


@door
def load(
    file: str | Path,
    providers: str | Sequence[Any] = "cpu",
    calibration: str | Path | None = None,
    check: Check = "refuse",
    threads: int | None = None,
) -> Model:
    """The model of a file that ``partreid export`` wrote.

    Args:
        file: The .onnx file.
        providers: What computes: "cpu", "cuda", "openvino" or another of onnxruntime's names, or
            several in the order of preference, each with or without a table of options.
        calibration: A file that ``partreid calibrate`` wrote for this model; default the one that
            was exported with it.
        check: What happens if this machine gives other embeddings for the file's check pictures
            than the model that was exported, as some do with int8: "refuse", or "warn".
        threads: That one batch is shared out among; None: as many as onnxruntime thinks best.

    Returns:
        The model, ready to embed.

    Raises:
        DataError: It is no such file, was cut short or changed, its calibration is for another
            model, onnxruntime or a provider is missing, or the check fails.
    """
    path = Path(file)
    data, card = read(path)
    return opened(data, card, path, providers, calibration, check, threads)


def opened(
    data: bytes,
    card: Card,
    path: Path,
    providers: str | Sequence[Any] = "cpu",
    calibration: str | Path | None = None,
    check: Check = "refuse",
    threads: int | None = None,
) -> Model:
    """:func:`load` of a file that is read already."""
    decides = (
        card.decision(f"the calibration in {path}")
        if calibration is None
        else card.bound(
            read_json(Path(calibration), _CALIBRATION_LIMIT, "calibration"), calibration
        )
    )
    session = _session(data, path, providers, threads)
    _require_outputs(session, card, path)
    model = Model(session, card, decides, path)
    try:
        model.verify()
    except DataError as error:
        if check == "refuse":
            raise
        warnings.warn(str(error), stacklevel=2)
    return model


def mean_cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Mean cosine over the images of each embedding, of vectors [N, M, D] and others: float64 [M].
    An embedding of length 0 in both counts as 1.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt(np.square(x).sum(2) * np.square(y).sum(2))
    empty = ~x.any(2) & ~y.any(2)
    cosine = np.where(empty, 1.0, (x * y).sum(2) / np.where(lengths == 0, 1, lengths))
    return np.asarray(cosine.mean(0))


def onnxruntime() -> Any:
    """The package, told not to report to its makers: since 1.32 it does from the moment of its
    import, and leaves a device's number and a database in the user's cache. DataError says how to
    get it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime as package
    except ImportError:
        raise DataError(
            "an exported model needs onnxruntime, which is not installed; install it with pip "
            "install 'partreid[runtime]', or partreid-runtime where there is no PyTorch"
        ) from None
    return package


def _session(data: bytes, path: Path, providers: str | Sequence[Any], threads: int | None) -> Any:
    package = onnxruntime()
    there = package.get_available_providers()
    wanted = []
    for given in [providers] if isinstance(providers, str) else providers:
        name, *options = given if isinstance(given, tuple | list) else (given,)
        require(isinstance(name, str), "each of the providers", "a name", name)
        full = SHORT.get(name.lower(), name)
        if full not in there:
            known = ", ".join(next((s for s, f in SHORT.items() if f == p), p) for p in there)
            raise DataError(
                f"this onnxruntime has no provider '{name}', it has {known}; choose one of these, "
                "or install the onnxruntime that has it (onnxruntime-gpu, onnxruntime-openvino)"
            )
        wanted.append((full, *options) if options else full)
    require(len(wanted) > 0, "providers", "one at least", providers)
    options = package.SessionOptions()
    options.log_severity_level = 3  # warnings of onnxruntime are about its own choices
    if threads is not None:
        options.intra_op_num_threads = integer("threads", threads, 1)
    try:
        return package.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # onnxruntime raises in as many ways as a graph can be wrong
        raise DataError(
            f"{path} cannot be loaded by onnxruntime {package.__version__} ({reason(error)}); "
            "install a newer onnxruntime, or export the run again with partreid export"
        ) from None


def _require_outputs(session: Any, card: Card, path: Path) -> None:
    """DataError unless the network takes and gives what the card says."""
    M, K = len(card.names), len(card.scheme)
    wanted: dict[str, tuple[str, list[int | None]]] = {
        "images": ("tensor(uint8)", [None, *card.size, 3]),
        "vectors": ("tensor(float)", [None, M, card.width]),
        "visibility": ("tensor(float)", [None, M]),
    }
    if K:
        wanted["parts"] = ("tensor(float)", [None, K + 1, None, None])
    tensors = {v.name: (v.type, v.shape) for v in (*session.get_inputs(), *session.get_outputs())}
    for name, (kind, shape) in wanted.items():
        there, lengths = tensors.pop(name, ("nothing", []))
        fits = len(lengths) == len(shape) and all(
            isinstance(n, str) or n is None if want is None and axis == 0 else want in (None, n)
            for axis, (n, want) in enumerate(zip(lengths, shape))
        )
        if there != kind or not fits:
            raise DataError(
                f"{path} is damaged: its '{name}' is {there} {lengths}, and its metadata say "
                f"{kind} {['N' if n is None else n for n in shape]}; export the run again"
            )
    if tensors:
        raise DataError(
            f"{path} is damaged: it has {', '.join(tensors)}, which its metadata do not name; "
            "export the run again"
        )


def _one_crop(side: str, given: AnyCrop) -> Crop:
    if isinstance(given, str | Path) and isdir(given):
        raise ArgumentError(f"{side} must be one crop, got the folder {given}")
    crops = crops_of([given])
    require(len(crops) == 1, side, "one crop", given)
    return crops[0]
