"""The service as an application: routes, their arguments, and the answer to each mistake."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from partreid import __version__
from partreid.errors import PartReidError
from partreid.serve import answers, page_routes, routes
from partreid.serve.access import Access
from partreid.serve.batching import Busy
from partreid.serve.desk import Desk, Missing
from partreid.serve.doorkeeper import App, Doorkeeper
from partreid.serve.eyes import Eyes
from partreid.serve.fields import Kinds
from partreid.serve.limits import Limits
from partreid.serve.metrics import Metrics
from partreid.serve.page import Page
from partreid.serve.shelf import Unreachable
from partreid.utils.text import printable


def create(
    desk: Desk, access: Access, limits: Limits | None = None, metrics: Metrics | None = None
) -> App:
    """The service as an ASGI application.

    Args:
        desk: What it does; closed when the application stops.
        access: Who may ask.
        limits: How much may be asked for.
        metrics: Takes what happens; the desk's batches too, if they were told so.
    """
    from fastapi import FastAPI
    from starlette.formparsers import MultiPartParser

    limits, metrics = limits or Limits(), metrics or Metrics()
    MultiPartParser.spool_max_size = limits.body  # beyond it, uploads would be written to files
    eyes = Eyes(desk, limits)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await desk.batcher.close()
        eyes.close()
        desk.shelf.close()

    app = FastAPI(
        title="partreid",
        version=__version__,
        description="Search a gallery of person crops by their parts; it decides, explains, "
        "forgets.",
        docs_url=None,  # those pages are fetched from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={"4XX": {"model": answers.Problem}, 503: {"model": answers.Problem}},
    )
    _mistakes(app)
    kinds = Kinds.of(limits)
    routes.add(app, desk, eyes, kinds, metrics)
    page_routes.add(app, desk, eyes, kinds, Page(desk, access.key is not None))
    return Doorkeeper(app, access, limits, metrics)


def _mistakes(app: Any) -> None:
    """Each kind of mistake is a status and one sentence."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def handler(status: int) -> Callable[..., Any]:
        async def handle(_: Any, error: Exception) -> Any:
            headers = {"retry-after": "1"} if status == 503 else None
            return JSONResponse({"error": str(error)}, status, headers)

        return handle

    async def invalid(_: Any, error: Any) -> Any:
        return JSONResponse({"error": _sentence(error.errors())}, 422)

    async def unknown(_: Any, error: Any) -> Any:
        return JSONResponse({"error": _detail(error)}, error.status_code, error.headers)

    app.add_exception_handler(PartReidError, handler(422))
    app.add_exception_handler(Missing, handler(404))
    app.add_exception_handler(Busy, handler(503))
    app.add_exception_handler(Unreachable, handler(503))
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, unknown)


def _sentence(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with a request's fields."""
    error = errors[0]
    name = printable(".".join(str(word) for word in error["loc"][1:]) or "the request")[:80]
    if error["type"] == "missing":
        return f"{name} is missing; see /openapi.json for what a request holds"
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}: {printable(text[:1].lower() + text[1:])[:200]}"


def _detail(error: Any) -> str:
    known = {
        404: "there is nothing at this address; see /openapi.json for what there is",
        405: "this address takes no such method; see /openapi.json",
        400: "the request cannot be read; send its fields as multipart/form-data",
    }
    return known.get(error.status_code, printable(error.detail)[:200])
