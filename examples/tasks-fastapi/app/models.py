"""Tables, and what goes in and out over HTTP."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import MISSING, BaseModel, ConfigDict, PlainSerializer, StringConstraints, WithJsonSchema
from sqlalchemy import BigInteger, DateTime, Dialect, Index, Text, TypeDecorator
from sqlmodel import Field, SQLModel, col

# ---- time: UTC with milliseconds, in the database as in JSON


def now() -> datetime:
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite has no time zones: what is stored is UTC, and what is read says so."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


Timestamp = Annotated[
    datetime,
    PlainSerializer(lambda time: time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-02T03:04:05.678Z"]}),
]

# ---- tables


class User(SQLModel, table=True):
    """What this API knows of a user: a copy of the token's profile, and what is its own (`is_active`).

    `email` is not unique here: an address can have gone to another user at the auth server before
    the former one came by with a new token.
    """

    __tablename__ = "users"

    id: str = Field(primary_key=True, sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    role: str | None = Field(default=None, sa_type=Text)
    is_active: bool = True
    # `iat` of the token that the profile is from: an older one does not overwrite it.
    token_iat: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Task(SQLModel, table=True):
    __tablename__ = "tasks"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: str = Field(foreign_key="users.id", sa_type=Text)
    title: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    completed: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


# The list of a user's tasks, newest first, comes out of the index in its order.
Index("tasks_by_user", col(Task.user_id), col(Task.created_at).desc(), col(Task.id).desc())

# ---- what comes in

# PostgreSQL stores no NUL. The class is what JavaScript, Python and Rust together call white space,
# so that the pattern in the OpenAPI document means the same to everybody who reads it.
Title = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=200, pattern=r"^[^\x00]*[^\s\x00\x1c-\x1f\x85\ufeff][^\x00]*$"
    ),
]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class Input(BaseModel):
    # Unknown fields are refused: a `user_id` in the body must not look as if it had an effect.
    # Strict: "yes" and 1 are not true.
    model_config = ConfigDict(extra="forbid", strict=True)


class TaskInput(Input):
    title: Title
    description: Description | None = None
    completed: bool = False


class TaskPatch(Input):
    """What is missing stays as it is. Only the description can be taken away with null."""

    title: Title | MISSING = MISSING
    description: Description | MISSING | None = MISSING
    completed: bool | MISSING = MISSING


class Completion(Input):
    completed: bool = True


class UserPatch(Input):
    is_active: bool


# ---- what goes out


class TaskOut(SQLModel):
    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Timestamp
    updated_at: Timestamp


class Profile(SQLModel):
    id: str
    email: str | None
    name: str | None
    role: str | None
    is_active: bool
    created_at: Timestamp
