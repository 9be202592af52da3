"""The routes of the page: itself, its two files, and the pieces that its script puts in."""

from datetime import datetime
from typing import Annotated, Any

from partreid.serve.desk import Desk
from partreid.serve.eyes import Eyes
from partreid.serve.fields import Kinds, filters_of
from partreid.serve.page import Page


def add(app: Any, desk: Desk, eyes: Eyes, kinds: Kinds, page: Page) -> None:
    """All of them, to a FastAPI application."""
    from fastapi import UploadFile
    from fastapi.responses import HTMLResponse, Response

    @app.get("/", include_in_schema=False)
    async def shell() -> Any:
        return HTMLResponse(page.shell())

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Any:
        return Response(page.style, media_type="text/css")

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Any:
        return Response(page.script, media_type="text/javascript")

    @app.get("/page/state", include_in_schema=False)
    async def state() -> Any:
        return HTMLResponse(page.state(await desk.state()))

    @app.post("/page/search", include_in_schema=False)
    async def search(
        crop: Annotated[UploadFile, kinds.crop],
        top: Annotated[int, kinds.top] = 10,
        prior: Annotated[float, kinds.prior] = 0.5,
        cameras: Annotated[list[int] | None, kinds.cameras] = None,
        since: Annotated[datetime | None, kinds.since] = None,
        until: Annotated[datetime | None, kinds.until] = None,
    ) -> Any:
        filters = filters_of(cameras, since, until, None)
        ranked = await desk.search(await eyes.one(crop), filters, top, prior)
        return HTMLResponse(page.answers(ranked, prior))

    @app.post("/page/why", include_in_schema=False)
    async def why(
        crop: Annotated[UploadFile, kinds.crop],
        number: Annotated[int, kinds.number],
        prior: Annotated[float, kinds.prior] = 0.5,
        cameras: Annotated[list[int] | None, kinds.cameras] = None,
        since: Annotated[datetime | None, kinds.since] = None,
        until: Annotated[datetime | None, kinds.until] = None,
    ) -> Any:
        filters = filters_of(cameras, since, until, None)
        why_not = await desk.why_not(await eyes.one(crop), number, filters, prior)
        return HTMLResponse(page.why(why_not, prior))
