"""What the tests have in common.

Tests with a `database` run on SQLite and on PostgreSQL. Where PostgreSQL is not installed they are
passed over, which the last lines of the output say; with CI set they fail.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.keys import ISSUER, FakeAuthServer, SigningKey
from tests.servers import Portcullis, Postgres

POSTGRES_IS_MISSING = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# ---- databases


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    programs = Postgres.programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and CI is set")
        request.config.stash[POSTGRES_IS_MISSING] = True
        pytest.skip("PostgreSQL is not installed")
    server = Postgres(programs)
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.stash.get(POSTGRES_IS_MISSING, False):
        terminalreporter.section("NOT TESTED", red=True, bold=True)
        terminalreporter.line("PostgreSQL is not installed: nothing is known about this API on it.", red=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty one."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'tasks.db'}"
    url: str = request.getfixturevalue("postgres").empty_database()
    return url


# ---- auth servers


@pytest.fixture(scope="session")
def portcullis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portcullis]:
    """The real one, as it is without options."""
    server = Portcullis(tmp_path_factory.mktemp("portcullis"))
    yield server
    server.stop()


@pytest.fixture
def key() -> SigningKey:
    return SigningKey()


@pytest.fixture
def auth_server(key: SigningKey) -> FakeAuthServer:
    """For what a real one would never do: its tokens say what a test wants."""
    return FakeAuthServer(key)


# ---- this API


class Api:
    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    async def __call__(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self.client.request(method, path, headers=headers, **options)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Api]:
    app = create_app(Settings(_env_file=None, **settings))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://api")
        )
        yield Api(app, client)


@pytest.fixture
async def api(database: str, auth_server: FakeAuthServer) -> AsyncIterator[Api]:
    """The app with the keys of `auth_server`."""
    async with running(database_url=database, auth_url=ISSUER) as api:
        api.app.state.verifier.keys = auth_server.cache()
        yield api


@pytest.fixture
async def real_api(tmp_path: Path, portcullis: Portcullis) -> AsyncIterator[Api]:
    """The app with the keys of the real Portcullis."""
    async with running(database_url=f"sqlite:{tmp_path / 'tasks.db'}", auth_url=portcullis.url) as api:
        yield api
