"""The routes for programs: JSON in the words of the Python API."""

from datetime import datetime
from typing import Annotated, Any

from partreid.gallery import Enrolled
from partreid.serve import answers
from partreid.serve.desk import Desk, Missing
from partreid.serve.eyes import Eyes
from partreid.serve.fields import MOST_ID, Kinds, filters_of, name_of, time_of
from partreid.serve.metrics import TYPE, Metrics


def add(app: Any, desk: Desk, eyes: Eyes, kinds: Kinds, metrics: Metrics) -> None:
    """All of them, to a FastAPI application."""
    _questions(app, desk, eyes, kinds)
    _changes(app, desk, eyes, kinds)
    _crops(app, desk)
    _about(app, desk, metrics)


def _questions(app: Any, desk: Desk, eyes: Eyes, kinds: Kinds) -> None:
    from fastapi import UploadFile

    @app.post("/search", summary="The nearest crops of the gallery, with reason and decision")
    async def search(
        crop: Annotated[UploadFile, kinds.crop],
        top: Annotated[int, kinds.top] = 10,
        prior: Annotated[float, kinds.prior] = 0.5,
        cameras: Annotated[list[int] | None, kinds.cameras] = None,
        since: Annotated[datetime | None, kinds.since] = None,
        until: Annotated[datetime | None, kinds.until] = None,
    ) -> answers.Searched:
        filters = filters_of(cameras, since, until, None)
        ranked = await desk.search(await eyes.one(crop), filters, top, prior)
        return answers.searched(desk, ranked, prior)

    @app.post("/compare", summary="Two crops, neither of which is kept")
    async def compare(
        a: Annotated[UploadFile, kinds.crop],
        b: Annotated[UploadFile, kinds.crop],
        prior: Annotated[float, kinds.prior] = 0.5,
    ) -> answers.Pair:
        first, second = await eyes.one(a, "the first crop"), await eyes.one(b, "the second crop")
        return answers.compared(desk, await desk.compare(first, second, prior), prior)

    @app.post("/verify", summary="Whether a crop shows the person it is said to")
    async def verify(
        crop: Annotated[UploadFile, kinds.crop],
        person: Annotated[str, kinds.person],
        prior: Annotated[float, kinds.prior] = 0.5,
    ) -> answers.Verified:
        name = name_of(person)
        ranked = await desk.verify(await eyes.one(crop), name, prior)
        return answers.verified(desk, ranked, name, prior)

    @app.post("/why", summary="Why a crop that was expected is not the first answer")
    async def why(
        crop: Annotated[UploadFile, kinds.crop],
        number: Annotated[int, kinds.number],
        prior: Annotated[float, kinds.prior] = 0.5,
        cameras: Annotated[list[int] | None, kinds.cameras] = None,
        since: Annotated[datetime | None, kinds.since] = None,
        until: Annotated[datetime | None, kinds.until] = None,
    ) -> answers.Explained:
        filters = filters_of(cameras, since, until, None)
        why_not = await desk.why_not(await eyes.one(crop), number, filters, prior)
        return answers.explained(desk, why_not, prior)


def _changes(app: Any, desk: Desk, eyes: Eyes, kinds: Kinds) -> None:
    from fastapi import UploadFile

    @app.post("/enrol", summary="Keep crops of one person, camera and time", status_code=201)
    async def enrol(
        crops: Annotated[list[UploadFile], kinds.crops],
        person: Annotated[str | None, kinds.label] = None,
        camera: Annotated[int | None, kinds.camera] = None,
        time: Annotated[datetime | None, kinds.time] = None,
    ) -> answers.Enrolment:
        known = Enrolled(camera, time_of(time), name_of(person) if person else None)
        return answers.Enrolment(await desk.enrol(await eyes.all(crops), known))

    @app.post("/forget", summary="Remove a person for good")
    async def forget(
        person: Annotated[str, kinds.person], purge: Annotated[bool, kinds.purge] = True
    ) -> answers.Forgotten:
        name = name_of(person)
        many, notes = await desk.forget(name, purge)
        return answers.Forgotten(name, many, list(notes))


def _crops(app: Any, desk: Desk) -> None:
    from fastapi import Path
    from fastapi.responses import Response

    number = Path(ge=1, le=MOST_ID)
    picture: dict[int | str, Any] = {200: {"content": {"image/jpeg": {}}}}

    @app.get("/crops/{id}", summary="What is known of a crop")
    async def crop(id: Annotated[int, number]) -> answers.Crop:
        return answers.crop(*await desk.crop(id))

    @app.delete("/crops/{id}", summary="Forget one crop", status_code=204)
    async def remove(id: Annotated[int, number]) -> None:
        await desk.remove(id)

    @app.get("/crops/{id}/picture", response_class=Response, responses=picture)
    async def shown(id: Annotated[int, number]) -> Any:
        return _picture(id, (await desk.crop(id))[1])

    @app.get("/crops/{id}/parts", response_class=Response, responses=picture)
    async def parts(id: Annotated[int, number]) -> Any:
        return _picture(id, await desk.part_maps(id))

    def _picture(id: int, data: bytes | None) -> Response:
        if data is None:
            raise Missing(
                f"no picture of crop {id} is kept; the service was started without --keep-crops"
            )
        return Response(data, media_type="image/jpeg")


def _about(app: Any, desk: Desk, metrics: Metrics) -> None:
    from fastapi.responses import PlainTextResponse

    @app.get("/list", summary="People and cameras of the gallery, and what decides")
    async def list_() -> answers.Listed:
        return answers.listed(desk, await desk.state())

    @app.get("/check", summary="Whether every row of the gallery is whole")
    async def check() -> answers.Checked:
        return answers.Checked(*await desk.check())

    @app.get("/health", summary="Whether the service and its gallery answer")
    async def health() -> answers.Health:
        await desk.shelf.read(len)
        return answers.Health("ok")

    @app.get("/metrics", response_class=PlainTextResponse, summary="Numbers for Prometheus")
    async def numbers() -> Any:
        gauges = {
            "crops": float(await desk.shelf.read(len)),
            "waiting_crops": float(desk.batcher.waiting),
        }
        return PlainTextResponse(metrics.text(gauges), media_type=TYPE)
