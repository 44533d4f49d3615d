"""The database: one engine for the app, one session for a request. Nothing here blocks the event loop."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import URL, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app import models  # noqa: F401, the tables have to be known before they can be made


def make_engine(address: URL) -> AsyncEngine:
    if address.get_backend_name() == "sqlite":
        # Writers wait for each other for up to ten seconds.
        engine = create_async_engine(address, connect_args={"timeout": 10})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine
    # A connection that the server has closed meanwhile is found out before it is used.
    return create_async_engine(address, pool_size=10, pool_pre_ping=True, pool_timeout=10)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # Readers do not wait for the writer.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    # SQLite checks references only when asked to.
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


async def create_tables(engine: AsyncEngine) -> None:
    """Enough for an example. An app that lives on has migrations (Alembic) in place of this."""
    async with engine.begin() as connection:
        # Several workers start at once, and "create if it is not there" is no single step.
        if engine.dialect.name == "sqlite":
            await connection.execute(text("BEGIN IMMEDIATE"))
        else:
            await connection.execute(text("SELECT pg_advisory_xact_lock(499851160435)"))
        await connection.run_sync(SQLModel.metadata.create_all)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    # A connection is taken at the first statement: a request without a good token never needs one.
    async with AsyncSession(request.app.state.engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]
