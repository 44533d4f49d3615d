"""Puts the app together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app import errors
from app.auth import TokenVerifier
from app.config import Settings
from app.db import create_tables, make_engine
from app.jwks import JwksCache
from app.routes import admin, health, tasks, users


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()

    app = FastAPI(
        title="Tasks",
        version="1.0.0",
        lifespan=lifespan,
        # Behind a proxy the redirect from `/tasks/` to `/tasks` names another origin, and clients send no
        # Authorization header there.
        redirect_slashes=False,
    )
    app.state.settings = settings
    errors.install(app)
    app.add_middleware(errors.BodyLimit)
    # The last one that is added is the outermost: errors need these headers, too, or a browser shows
    # every one of them as a "CORS error". Tokens travel in a header, so no credentials are allowed.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.frontend_origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["WWW-Authenticate", "Retry-After"],
    )

    app.include_router(health.router)
    app.include_router(tasks.router, prefix="/api/v1/tasks", tags=["tasks"])
    app.include_router(users.router, prefix="/api/users/{user_id}")
    app.include_router(admin.router, prefix="/api/admin", tags=["admin"])
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    app.state.engine = make_engine(settings.database)
    try:
        await create_tables(app.state.engine)
        async with httpx.AsyncClient() as client:
            keys = JwksCache(settings.jwks_url, client)
            app.state.verifier = TokenVerifier(
                settings.jwt_secret.get_secret_value() if settings.jwt_secret else keys,
                issuer=settings.issuer,
                audience=settings.audience,
            )
            try:
                yield
            finally:
                await keys.aclose()
    finally:
        await app.state.engine.dispose()


app = create_app()
