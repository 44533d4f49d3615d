"""What is under a user's path. The whole router is the path's user's alone."""

from fastapi import APIRouter, Depends

from app.auth import CurrentUser, validate_user_access
from app.errors import Route, documented
from app.models import Profile, User
from app.routes import tasks

router = APIRouter(
    route_class=Route, dependencies=[Depends(validate_user_access)], responses=documented(401, 403, 503)
)


@router.get("/profile", response_model=Profile, tags=["users"])
async def get_profile(user: CurrentUser) -> User:
    """Read only: the profile is the auth server's, and is changed there."""
    return user


router.include_router(tasks.router, prefix="/todos", tags=["todos"])
