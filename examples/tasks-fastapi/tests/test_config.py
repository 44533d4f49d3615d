"""Settings."""

import pytest
from pydantic import ValidationError

from app.config import Settings, database_address


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name in (
        "AUTH_URL",
        "AUTH_ISSUER",
        "AUTH_AUDIENCE",
        "JWT_SECRET",
        "DATABASE_URL",
        "FRONTEND_ORIGINS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    default = settings(monkeypatch)
    assert default.jwks_url == "http://localhost:4000/api/auth/jwks"
    assert default.issuer == default.audience == "http://localhost:4000"
    assert default.jwt_secret is None
    assert default.frontend_origins == ("http://localhost:3000",)
    assert default.database.database == "tasks.db"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = settings(
        monkeypatch,
        AUTH_URL="http://portcullis:4000/",
        AUTH_ISSUER="https://app.example.com",
        AUTH_AUDIENCE="tasks",
        FRONTEND_ORIGINS="https://app.example.com, https://admin.example.com/",
    )
    assert changed.jwks_url == "http://portcullis:4000/api/auth/jwks"
    assert (changed.issuer, changed.audience) == ("https://app.example.com", "tasks")
    assert changed.frontend_origins == ("https://app.example.com", "https://admin.example.com")


def test_a_secret_that_can_be_guessed_is_refused_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, JWT_SECRET="only-thirty-one-bytes-are-here!")
    assert "32 bytes" in str(caught.value)
    assert "only-thirty" not in str(caught.value)
    accepted = settings(monkeypatch, JWT_SECRET="now-there-are-thirty-two-of-them")
    assert accepted.jwt_secret is not None
    assert "thirty" not in repr(accepted)


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, JWT_SECRET="").jwt_secret is None


@pytest.mark.parametrize(
    "origins", ["*", "http://*.example.com", "localhost:3000", "http://localhost:3000/app", "null"]
)
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    with pytest.raises(ValidationError, match="origins"):
        settings(monkeypatch, FRONTEND_ORIGINS=origins)


@pytest.mark.parametrize("url", ["localhost:4000", "ftp://localhost", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="URL"):
        Settings(_env_file=None, auth_url=url)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:tasks.db", "sqlite+aiosqlite:///tasks.db"),
        ("sqlite:///tasks.db", "sqlite+aiosqlite:///tasks.db"),
        ("sqlite://tasks.db", "sqlite+aiosqlite:///tasks.db"),
        ("sqlite:/var/lib/tasks.db", "sqlite+aiosqlite:////var/lib/tasks.db"),
        ("sqlite:////var/lib/tasks.db", "sqlite+aiosqlite:////var/lib/tasks.db"),
        ("sqlite:tasks.db?mode=rwc", "sqlite+aiosqlite:///tasks.db"),
        ("postgres://u:p@db/tasks", "postgresql+asyncpg://u:p@db/tasks"),
        ("postgresql://u:p%40@db:5433/tasks", "postgresql+asyncpg://u:p%40@db:5433/tasks"),
        ("postgresql+asyncpg://db/tasks", "postgresql+asyncpg://db/tasks"),
        (
            "postgresql://db/tasks?sslmode=require&channel_binding=require",
            "postgresql+asyncpg://db/tasks?ssl=require",
        ),
    ],
)
def test_spellings_of_databases(given: str, meant: str) -> None:
    assert database_address(given).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize(
    "url", ["mysql://db/tasks", "tasks.db", "", "sqlite:", "sqlite::memory:", "sqlite://"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must (begin|name)"):
        database_address(url)
