"""What can be set, from the environment or a `.env` file. Everything is checked once, at the start."""

from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        # `JWT_SECRET=` in a compose file means "none", not "the empty secret".
        env_ignore_empty=True,
        extra="ignore",
        # A secret that is too short must not be printed with the complaint about it.
        hide_input_in_errors=True,
    )

    auth_url: str = "http://localhost:4000"
    auth_issuer: str | None = None
    auth_audience: str | None = None
    jwt_secret: SecretStr | None = None
    database_url: str = Field(default="sqlite:tasks.db", repr=False)
    frontend_origins: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000",)
    host: str = "127.0.0.1"
    port: int = 8000

    @field_validator("auth_url")
    @classmethod
    def _is_a_web_address(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError("must be an http or https URL")
        return url.rstrip("/")

    @field_validator("jwt_secret")
    @classmethod
    def _is_hard_to_guess(cls, secret: SecretStr | None) -> SecretStr | None:
        # RFC 7518 §3.2: a key for HS256 has at least the size of the hash.
        if secret is not None and len(secret.get_secret_value().encode()) < 32:
            raise ValueError("must have at least 32 bytes; try `openssl rand -base64 32`")
        return secret

    @field_validator("frontend_origins", mode="before")
    @classmethod
    def _is_a_list_of_origins(cls, value: Any) -> Any:
        origins = value.split(",") if isinstance(value, str) else value
        origins = tuple(origin.strip().rstrip("/") for origin in origins if origin.strip())
        for origin in origins:
            parts = urlsplit(origin)
            usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
            # A browser sends scheme, host and port, in lower case and without the usual port; whatever
            # differs never matches.
            if (
                f"{parts.scheme}://{parts.netloc}" != origin
                or not parts.hostname
                or "*" in origin
                or origin != origin.lower()
                or (usual and origin.endswith(usual))
            ):
                raise ValueError("must be origins such as http://localhost:3000, without path or wildcard")
        return origins

    @field_validator("database_url")
    @classmethod
    def _is_a_known_database(cls, url: str) -> str:
        database_address(url)
        return url

    @property
    def issuer(self) -> str:
        return self.auth_issuer or self.auth_url

    @property
    def audience(self) -> str:
        return self.auth_audience or self.auth_url

    @property
    def jwks_url(self) -> str:
        return f"{self.auth_url}/api/auth/jwks"

    @cached_property
    def database(self) -> URL:
        return database_address(self.database_url)


def database_address(url: str) -> URL:
    """The address as SQLAlchemy's async drivers want it, from the spellings that are about."""
    scheme, _, rest = url.partition(":")
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        # `sqlite:FILE`, `sqlite:///FILE` and `sqlite:////absolute/FILE`.
        path = rest.removeprefix("///" if rest.startswith("///") else "//").partition("?")[0]
        if not path or path == ":memory:":
            # Every connection of the pool would have a database of its own.
            raise ValueError("must name a file: sqlite:tasks.db")
        return URL.create("sqlite+aiosqlite", database=path)
    if scheme in ("postgres", "postgresql", "postgresql+asyncpg"):
        address = make_url(f"postgresql+asyncpg:{rest}")
        # libpq's name for it, which is in the URLs that hosters hand out; asyncpg calls it `ssl`.
        if (mode := address.query.get("sslmode")) is not None:
            address = address.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
        return address.difference_update_query(["channel_binding"])
    raise ValueError("must begin with sqlite: or postgresql:")
