from typing import Literal

from fastapi import APIRouter
from sqlmodel import SQLModel

router = APIRouter(tags=["health"])


class Health(SQLModel):
    status: Literal["ok"] = "ok"


@router.get("/api/health")
async def health() -> Health:
    return Health()
