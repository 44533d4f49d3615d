"""The database by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from app.config import database_address
from app.db import create_tables, make_engine
from app.models import Task, User

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(database: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database_address(database))
    try:
        yield engine
    finally:
        await engine.dispose()


async def test_several_workers_may_start_at_once(database: str) -> None:
    async def worker() -> None:
        async with connected(database) as engine:
            await create_tables(engine)

    await asyncio.gather(*(worker() for _ in range(8)))
    # And again, over what is there.
    await worker()


async def test_a_task_belongs_to_a_user(database: str) -> None:
    async with connected(database) as engine:
        await create_tables(engine)
        async with AsyncSession(engine) as session:
            session.add(Task(user_id="nobody", title="x"))
            with pytest.raises(IntegrityError):
                await session.commit()


async def test_a_time_comes_back_as_it_went_in(database: str) -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    async with connected(database) as engine:
        await create_tables(engine)
        async with AsyncSession(engine) as session:
            session.add(User(id="ada", token_iat=0, created_at=time))
            await session.commit()
        async with AsyncSession(engine) as session:
            user = await session.get(User, "ada")
    assert user is not None
    assert user.created_at == time
    assert user.created_at.utcoffset() is not None
