"""What goes wrong: as an answer, and in the OpenAPI document."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import sqlalchemy.exc
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlmodel import SQLModel
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024

# ---- shapes


class Problem(SQLModel):
    detail: str


class Issue(SQLModel):
    loc: list[str | int]
    msg: str
    type: str


class ValidationProblem(SQLModel):
    detail: list[Issue]


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}}


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    401: {
        "model": Problem,
        "description": "No token, or not a good one",
        "headers": {"WWW-Authenticate": _header("`Bearer …` (RFC 6750)")},
    },
    403: {"model": Problem, "description": "Not for this user"},
    404: {"model": Problem, "description": "Not there, or not this user's"},
    413: {"model": Problem, "description": "The body is longer than 64 KiB"},
    422: {"model": ValidationProblem, "description": "The request is not what it should be"},
    503: {
        "model": Problem,
        "description": "The auth server's keys or the database cannot be reached",
        "headers": {"Retry-After": _header("Seconds")},
    },
}


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: what else a route may answer."""
    return {code: DOCUMENTED[code] for code in codes}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the 422 that FastAPI gives to every route with a parameter: those
    that can answer so say it themselves.
    """
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operations in document["paths"].values():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        for schema in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(schema, None)
        app.openapi_schema = document
    return app.openapi_schema


# ---- answers


def install(app: FastAPI) -> None:
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    for error in (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        # A connection that is refused, or takes too long.
        OSError,
    ):
        app.add_exception_handler(error, _database_away)


async def _http_error(request: Request, error: Any) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # FastAPI names the methods of the first route of this path; the others are as good.
        headers["Allow"] = _allowed(request) or headers.get("Allow", "")
    return JSONResponse({"detail": error.detail}, error.status_code, headers)


def _allowed(request: Request) -> str:
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            return ", ".join(sorted(method.upper() for method in operations))
    return ""


async def _validation_error(request: Request, error: Any) -> Response:
    errors = error.errors()
    if getattr(request.state, "malformed_json", False):
        errors = [{"loc": ["body"], "msg": "JSON decode error", "type": "json_invalid"}]
    # FastAPI would also send the input back, of which nobody knows what it is.
    return JSONResponse(
        {"detail": [{name: one[name] for name in ("loc", "msg", "type")} for one in errors]}, 422
    )


async def _database_away(_: Request, error: Exception) -> Response:
    # The driver's own words: SQLAlchemy's have the values in them.
    logger.error("The database cannot be reached: %s", getattr(error, "orig", None) or repr(error))
    return JSONResponse({"detail": "The database cannot be reached"}, 503, {"Retry-After": "5"})


# ---- bodies


class BodyLimit:
    """Nobody makes this process read more than it needs. What is over the limit is 413."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, "Request body too large")
            return message

        await self.app(scope, limited, send)


class _Request(Request):
    async def json(self) -> Any:
        try:
            return await super().json()
        except (ValueError, RecursionError):
            self.state.malformed_json = True
            return await self.body()


class Route(APIRoute):
    """Asks who is calling before it judges the body.

    FastAPI parses JSON before it runs the dependencies, so that a stranger with broken JSON would be
    told 422 instead of 401. Here broken JSON stays what it is, bytes, which fit no model later on.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handler
