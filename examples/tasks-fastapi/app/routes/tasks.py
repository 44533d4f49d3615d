"""A user's tasks. Every statement is about the token's user; there is no way to name another one."""

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Response
from pydantic import BeforeValidator, WithJsonSchema
from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import CurrentUser
from app.db import Session
from app.errors import Route, documented
from app.models import Completion, Task, TaskInput, TaskOut, TaskPatch, now

router = APIRouter(route_class=Route, responses=documented(401, 403, 503))

# ---- parameters


def _flag(value: Any) -> Any:
    # FastAPI would also take "yes", "on" and 1.
    return {"true": True, "false": False}.get(value, value if isinstance(value, bool) else "neither")


def _digits(value: Any) -> Any:
    # FastAPI would also take "1_0" and "10.0", and stumble over thousands of digits.
    return value if not isinstance(value, str) or re.fullmatch("[0-9]{1,16}", value) else "no number"


# It can be left away, and cannot be null: there is no null in a query.
Completed = Annotated[bool | None, Query(), BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
Limit = Annotated[int, Query(ge=1, le=100), BeforeValidator(_digits)]
# No more than every JSON reader and both databases can count.
Offset = Annotated[int, Query(ge=0, le=2**53 - 1), BeforeValidator(_digits)]


def parse_task_id(task_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> UUID:
    # What is no id is no task either: the answer is the same as for a task that is not there.
    if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", task_id) is None:
        raise not_found()
    return UUID(task_id)


TaskId = Annotated[UUID, Depends(parse_task_id)]


def not_found() -> HTTPException:
    # Another user's task is not there for this one; 403 would say that it exists.
    return HTTPException(404, "Task not found")


# ---- routes


@router.get("", response_model=list[TaskOut], responses=documented(422))
async def list_tasks(
    user: CurrentUser,
    session: Session,
    completed: Completed = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Task]:
    """Newest first."""
    query = select(Task).where(Task.user_id == user.id)
    if completed is not None:
        query = query.where(Task.completed == completed)
    query = query.order_by(col(Task.created_at).desc(), col(Task.id).desc()).limit(limit).offset(offset)
    return list(await session.exec(query))


@router.post("", response_model=TaskOut, status_code=201, responses=documented(413, 422))
async def create_task(user: CurrentUser, session: Session, body: TaskInput) -> Task:
    time = now()
    task = Task(user_id=user.id, created_at=time, updated_at=time, **body.model_dump())
    session.add(task)
    await session.commit()
    return task


@router.get("/{task_id}", response_model=TaskOut, responses=documented(404))
async def get_task(user: CurrentUser, session: Session, task_id: TaskId) -> Task:
    return await find(session, user.id, task_id)


@router.put("/{task_id}", response_model=TaskOut, responses=documented(404, 413, 422))
async def replace_task(user: CurrentUser, session: Session, task_id: TaskId, body: TaskInput) -> Task:
    """What is not given gets its default."""
    return await change(session, user.id, task_id, body.model_dump())


@router.patch("/{task_id}", response_model=TaskOut, responses=documented(404, 413, 422))
async def update_task(user: CurrentUser, session: Session, task_id: TaskId, body: TaskPatch) -> Task:
    """What is not given stays."""
    changes = body.model_dump()
    if not changes:
        return await find(session, user.id, task_id)
    return await change(session, user.id, task_id, changes)


@router.patch("/{task_id}/complete", response_model=TaskOut, responses=documented(404, 413, 422))
async def complete_task(
    user: CurrentUser,
    session: Session,
    task_id: TaskId,
    body: Annotated[Completion, Body()] = Completion(),  # noqa: B008
) -> Task:
    """Says how it shall be and does not toggle, so that a request that is sent again undoes nothing."""
    return await change(session, user.id, task_id, body.model_dump())


@router.delete("/{task_id}", status_code=204, response_class=Response, responses=documented(404))
async def delete_task(user: CurrentUser, session: Session, task_id: TaskId) -> None:
    gone = delete(Task).where(*own(user.id, task_id)).returning(col(Task.id))
    if (await session.exec(gone)).one_or_none() is None:
        raise not_found()
    await session.commit()


# ---- the database


def own(user_id: str, task_id: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(Task.id) == task_id, col(Task.user_id) == user_id


async def find(session: AsyncSession, user_id: str, task_id: UUID) -> Task:
    query = select(Task).where(*own(user_id, task_id))
    task = (await session.exec(query)).one_or_none()
    if task is None:
        raise not_found()
    return task


async def change(session: AsyncSession, user_id: str, task_id: UUID, values: dict[str, Any]) -> Task:
    # One statement: nobody can delete the task, or change another column of it, between looking and writing.
    statement = (
        update(Task)
        .where(*own(user_id, task_id))
        .values(**values, updated_at=now())
        .returning(Task)
        .execution_options(synchronize_session=False)
    )
    task: Task | None = (await session.exec(statement)).scalar_one_or_none()
    if task is None:
        raise not_found()
    await session.commit()
    return task
