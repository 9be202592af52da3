"""What the service does, whoever asks: search, compare, verify, enrol, forget, and say why not."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from partreid.errors import DataError, PartReidError
from partreid.evaluation import decision
from partreid.explain.overlays import part_overlay
from partreid.gallery import Answers as Decided
from partreid.gallery import Enrolled, Found, Gallery, decide
from partreid.inference import Hit, Model
from partreid.serve.batching import Batcher
from partreid.serve.describe import Described, Describer
from partreid.serve.pictures import THUMB, WIDE, Picture, jpeg, picture_of, thumbnail
from partreid.serve.shelf import Shelf
from partreid.utils.arguments import check_fields

FARTHEST = 10_000  # rank up to which a crop that was expected is looked for
_MAPS = 512  # part maps of kept crops that are held


class Missing(PartReidError):
    """There is no such crop or person."""


@dataclass(frozen=True)
class Filters:
    """Which crops a search looks at; None: all.

    Args:
        cameras: Of these.
        since: Taken then or later, with a time zone.
        until: Taken before, with a time zone.
        person: Of this one.
    """

    cameras: tuple[int, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    person: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def excludes(self, crop: Enrolled) -> str | None:
        """Why a crop is not looked at; None if it is."""
        if self.cameras is not None and crop.camera not in self.cameras:
            return f"{_camera(crop.camera)} is not among those searched"
        if (self.since is not None or self.until is not None) and crop.time is None:
            return "it has no time, and the search is limited to some"
        if self.since is not None and crop.time is not None and crop.time < self.since:
            return "it was taken before the time searched from"
        if self.until is not None and crop.time is not None and crop.time >= self.until:
            return "it was taken after the time searched to"
        if self.person is not None and crop.person != self.person:
            return f"it is not of {self.person}"
        return None


@dataclass(frozen=True, eq=False)
class Answer:
    """A crop of the gallery beside a query.

    Args:
        crop: The crop.
        hit: Evidence and decision; its place is the rank.
        thumbnail: A JPEG, if one is kept.
    """

    crop: Found
    hit: Hit
    thumbnail: bytes | None = None


@dataclass(frozen=True, eq=False)
class Ranked:
    """Answers to a query, nearest first.

    Args:
        query: The query.
        answers: The nearest.
        crops: How many the gallery has.
        called: How many of all of them are called the same person; None where nothing is decided.
        withheld: Why nothing is decided about any of them; None if something is.
    """

    query: Described
    answers: tuple[Answer, ...]
    crops: int
    called: int | None
    withheld: str | None


@dataclass(frozen=True, eq=False)
class WhyNot:
    """Why a crop is not the first answer.

    Args:
        query: The query.
        expected: The crop; its place is 0 if more than ``FARTHEST`` crops are nearer or it is
            not looked at.
        first: The first answer; None if there is none.
        excluded: Why the search does not look at it; None if it does.
    """

    query: Described
    expected: Answer
    first: Answer | None
    excluded: str | None


@dataclass(frozen=True, eq=False)
class Compared:
    """Two crops side by side.

    Args:
        a: The first.
        b: The second.
        hit: Evidence and decision.
        verdict: In words.
    """

    a: Described
    b: Described
    hit: Hit
    verdict: str


@dataclass(frozen=True)
class State:
    """What there is.

    Args:
        crops: In the gallery.
        people: Crops of each.
        cameras: Crops of each.
    """

    crops: int
    people: dict[str, int]
    cameras: dict[int, int]


class Desk:
    """The service without its network.

    Args:
        model: What describes and decides.
        shelf: The gallery.
        batcher: Describes pictures for all requests.
        keeps_crops: Whether thumbnails are kept.
    """

    def __init__(
        self,
        model: Model,
        shelf: Shelf,
        batcher: Batcher[Picture, Described],
        keeps_crops: bool = False,
    ) -> None:
        self.model, self.shelf, self.batcher, self.keeps_crops = model, shelf, batcher, keeps_crops
        self.calibration = model.calibration  # one of another model is refused at once
        self._describer = Describer(model)
        self._maps: OrderedDict[int, bytes] = OrderedDict()

    async def state(self) -> State:
        """How much there is of whom."""
        return await self.shelf.read(
            lambda gallery: State(len(gallery), dict(gallery.people()), dict(gallery.cameras()))
        )

    async def search(self, picture: Picture, filters: Filters, top: int, prior: float) -> Ranked:
        """The nearest crops that pass the filters."""
        (query,) = await self.batcher([picture])
        return await self.shelf.read(lambda g: self._ranked(g, query, filters, top, prior))

    async def verify(self, picture: Picture, person: str, prior: float) -> Ranked:
        """The crop of one person that is nearest.

        Raises:
            Missing: Nobody of this name is enrolled.
        """
        ranked = await self.search(picture, Filters(person=person), 1, prior)
        if not ranked.answers:
            raise Missing(f"nobody called {person} is enrolled")
        return ranked

    async def compare(self, a: Picture, b: Picture, prior: float) -> Compared:
        """Two pictures that need not be enrolled."""
        first, second = await self.batcher([a, b])
        query, other = (self._describer.saved([d]) for d in (first, second))
        doubt = self.model.doubt(query, other)
        hit = self.model.search(first.embeddings, second.embeddings, None, 1, prior, doubt)[0][0]
        why = None if doubt is None else doubt.of(0, 0, ("the first crop", "the second crop"))
        if why is not None:
            hit = replace(hit, reason=why)
        return Compared(first, second, hit, self.verdict(hit, prior))

    async def enrol(self, pictures: Sequence[Picture], enrolled: Enrolled) -> list[int]:
        """Keep crops, all of one person, camera and time; their ids once they are safe on disk."""
        described = await self.batcher(pictures)
        small = [thumbnail(p.small) for p in pictures] if self.keeps_crops else None
        saved = self._describer.saved(described)
        return await self.shelf.write(lambda g: g.add(saved, enrolled, thumbnails=small))

    async def crop(self, number: int) -> tuple[Found, bytes | None]:
        """A crop, and its thumbnail if one is kept.

        Raises:
            Missing: There is none of this id.
        """
        return await self.shelf.read(lambda g: (_get(g, number), g.thumbnail(number)))

    async def remove(self, number: int) -> None:
        """Forget one crop.

        Raises:
            Missing: There is none of this id.
        """

        def work(gallery: Gallery) -> None:
            _get(gallery, number)
            gallery.remove([number])

        await self.shelf.write(work)
        self._maps.pop(number, None)

    async def forget(self, person: str, purge: bool = True) -> tuple[int, tuple[str, ...]]:
        """Remove a person for good.

        Args:
            person: Who.
            purge: Also from the server's files, which takes as long as writing the gallery anew.

        Returns:
            How many crops there were, and what is not in the gallery's power, in sentences.

        Raises:
            Missing: Nobody of this name is enrolled.
        """

        def work(gallery: Gallery) -> tuple[int, tuple[str, ...]]:
            if not gallery.count(person=person):
                raise Missing(f"nobody called {person} is enrolled")
            done = gallery.forget(person)
            return done.crops, gallery.purge() if purge else ()

        try:
            return await self.shelf.write(work)
        finally:
            self._maps.clear()  # whose they were is not known here

    async def why_not(
        self, picture: Picture, number: int, filters: Filters, prior: float
    ) -> WhyNot:
        """Rank and evidence of a crop that was expected, beside those of the first answer.

        Raises:
            Missing: There is none of this id.
        """
        (query,) = await self.batcher([picture])
        return await self.shelf.read(lambda g: self._why_not(g, query, number, filters, prior))

    async def part_maps(self, number: int) -> bytes | None:
        """A kept crop with its part maps, as a JPEG; None if no picture of it is kept.

        Raises:
            Missing: There is none of this id.
        """
        crop, small = await self.crop(number)
        if small is None:
            return None
        if number not in self._maps:
            size = self.model.recipe.size
            picture = picture_of(small, "the kept crop", size, THUMB * WIDE)
            (described,) = await self.batcher([picture])
            drawn = jpeg(part_overlay(described.shown, THUMB))
            await self.crop(number)  # it may have been forgotten meanwhile
            self._maps[number] = drawn
            while len(self._maps) > _MAPS:
                self._maps.popitem(last=False)
        return self._maps[crop.id]

    async def check(self) -> tuple[int, list[str]]:
        """How many crops there are, and a sentence for each fault of the gallery."""
        return await self.shelf.read(lambda gallery: (len(gallery), gallery.verify()))

    def verdict(self, hit: Hit, prior: float) -> str:
        """The decision about a pair in words, or why there is none."""
        if self.calibration is None or hit.reason is not None:
            return hit.reason or decision.NONE
        return decision.verdict(self.calibration, hit.probability, hit.same, prior)

    def _ranked(
        self, gallery: Gallery, query: Described, filters: Filters, top: int, prior: float
    ) -> Ranked:
        nearest = _search(gallery, self._describer, query, filters, top)
        answers, decided = self._answers(gallery, query, nearest, prior)
        withheld = decision.NONE if self.calibration is None else None
        if withheld is None and decided.called[0] is None and decided.doubt is not None:
            alone = replace(decided.doubt, gallery=np.zeros(1, np.bool_))
            withheld = alone.of(0, 0)
        return Ranked(query, tuple(answers), len(gallery), decided.called[0], withheld)

    def _answers(
        self, gallery: Gallery, query: Described, crops: Sequence[Found], prior: float
    ) -> tuple[list[Answer], Decided]:
        """Crops as answers, their places as they stand in the list."""
        decided = decide(gallery, self.model, self._describer.saved([query]), [crops], prior)
        return [
            Answer(f, hit, gallery.thumbnail(f.id) if f.has_thumbnail else None)
            for f, hit in zip(crops, decided.hits[0], strict=True)
        ], decided

    def _why_not(
        self, gallery: Gallery, query: Described, number: int, filters: Filters, prior: float
    ) -> WhyNot:
        expected = _get(gallery, number)
        excluded = filters.excludes(expected.enrolled)
        top, place = 100, 0
        while True:
            nearest = _search(gallery, self._describer, query, filters, top)
            ids = [f.id for f in nearest]
            if number in ids:
                place = 1 + ids.index(number)
            if place or excluded or len(nearest) < top or top >= FARTHEST:
                break
            top *= 10
        (answer, *first), _ = self._answers(gallery, query, [expected, *nearest[:1]], prior)
        answer = replace(answer, hit=replace(answer.hit, place=place))
        return WhyNot(query, answer, first[0] if first else None, excluded)


def _search(
    gallery: Gallery, describer: Describer, query: Described, filters: Filters, top: int
) -> list[Found]:
    cameras = None if filters.cameras is None else list(filters.cameras)
    return gallery.search(
        describer.saved([query]),
        top,
        cameras=cameras,
        since=filters.since,
        until=filters.until,
        person=filters.person,
    )[0]


def _get(gallery: Gallery, number: int) -> Found:
    try:
        return gallery.get(number)
    except DataError:
        raise Missing(f"the gallery has no crop {number}") from None


def _camera(camera: int | None) -> str:
    return "a crop without a camera" if camera is None else f"camera {camera}"
