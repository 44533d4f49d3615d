"""For admins: a role of the token, given by the auth server."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path
from fastapi.exceptions import RequestValidationError
from sqlmodel import col, select, update

from app.auth import CurrentAdmin, require_admin, text
from app.db import Session
from app.errors import Route, documented
from app.models import Profile, User, UserPatch, now
from app.routes.tasks import Limit, Offset

router = APIRouter(
    route_class=Route, dependencies=[Depends(require_admin)], responses=documented(401, 403, 503)
)


@router.get("/users", response_model=list[Profile], responses=documented(422))
async def list_users(session: Session, limit: Limit = 50, offset: Offset = 0) -> list[User]:
    """Those who have called this API at least once, newest first."""
    query = (
        select(User).order_by(col(User.created_at).desc(), col(User.id).desc()).limit(limit).offset(offset)
    )
    return list(await session.exec(query))


@router.patch("/users/{user_id}", response_model=Profile, responses=documented(404, 413, 422))
async def update_user(
    admin: CurrentAdmin, session: Session, user_id: Annotated[str, Path()], body: UserPatch
) -> User:
    """An inactive user's tokens are still good, and are refused here all the same."""
    if user_id == admin.id and not body.is_active:
        # Nobody might be left to undo it.
        why = "Value error, you cannot deactivate yourself"
        raise RequestValidationError([{"loc": ("body", "is_active"), "msg": why, "type": "value_error"}])
    if text(user_id) != user_id:
        # What no row can have, the database need not be asked for: PostgreSQL takes it amiss.
        raise not_found()
    statement = (
        update(User)
        .where(col(User.id) == user_id)
        .values(is_active=body.is_active, updated_at=now())
        .returning(User)
        .execution_options(synchronize_session=False)
    )
    user: User | None = (await session.exec(statement)).scalar_one_or_none()
    if user is None:
        raise not_found()
    await session.commit()
    return user


def not_found() -> HTTPException:
    return HTTPException(404, "User not found")
