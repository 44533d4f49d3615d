"""Who is calling: the part to copy, with `jwks.py`.

A route asks for what it needs and gets it from the token alone, never from the URL or the body:

* `verify_token`: the verified claims, or 401
* `get_current_user_id`: the user's id
* `get_current_user`: the user's row in this API's database, in step with the token; inactive users are 403
* `require_admin`: the same for admins; others are 403
* `validate_user_access`: for paths with a `{user_id}`: it has to be the caller's own, or 403
"""

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from fastapi import Depends, HTTPException, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Session
from app.jwks import ALGORITHMS, JwksCache, KeysUnavailable
from app.models import User, now

logger = logging.getLogger(__name__)

MAX_TOKEN_BYTES = 16 * 1024
# How much the clocks of two machines may differ, in seconds.
LEEWAY = 5


@dataclass(frozen=True)
class Claims:
    """What a verified token says."""

    sub: str
    iat: int
    email: str | None
    name: str | None
    role: str | None

    @property
    def is_admin(self) -> bool:
        # A user can have several roles, separated by commas.
        return "admin" in [role.strip() for role in (self.role or "").split(",")]


class InvalidToken(Exception):
    """The message is for the log: it says what to do, and never contains the token."""


class ExpiredToken(Exception):
    pass


class TokenVerifier:
    """Verifies with the published keys of the auth server, or with a secret shared with it, never both."""

    def __init__(self, keys: JwksCache | str, *, issuer: str, audience: str) -> None:
        self.keys = keys
        self.issuer = issuer
        self.audience = audience

    async def verify(self, token: str) -> Claims:
        """The claims of a good token.

        Raises InvalidToken, ExpiredToken, or KeysUnavailable when nobody can know yet.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("it is longer than 16 KiB: have the auth server put fewer claims into it")
        if token.count(".") != 2:
            raise InvalidToken(f"it is no signed JWT; {looks_like(token)}")
        try:
            key, algorithm = await self._key(jwt.get_unverified_header(token))
            payload = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise ExpiredToken from error
        except jwt.PyJWTError as error:
            raise InvalidToken(self._explain(error, token)) from error
        return read_claims(payload)

    async def _key(self, header: dict[str, Any]) -> tuple[Any, str]:
        algorithm = header.get("alg")
        if isinstance(self.keys, str):
            if algorithm != "HS256":
                raise InvalidToken(
                    f"it is signed with {brief(algorithm)}, and JWT_SECRET is set, which means HS256 alone: "
                    "unset it, or set plugins.jwt.algorithm of the auth server"
                )
            return self.keys, "HS256"
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise InvalidToken(
                f"it is signed with {brief(algorithm)}, which no published key does: if the auth server "
                "signs with a shared secret, set JWT_SECRET; otherwise the token is forged"
            )
        kid = header.get("kid")
        key = await self.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidToken(
                f"the auth server publishes no key {brief(kid)}: does the token come from another one?"
            )
        return key, key.algorithm_name

    def _explain(self, error: jwt.PyJWTError, token: str) -> str:
        # PyJWT verifies the signature first: with these two the token is one of the auth server's.
        if isinstance(error, jwt.InvalidIssuerError):
            found = jwt.decode(token, options={"verify_signature": False}).get("iss")
            return (
                f"it was issued by {brief(found)} and AUTH_ISSUER is {self.issuer!r}: this has to be the "
                "auth server's plugins.jwt.jwt.issuer or the origin of its baseURL, letter for letter"
            )
        if isinstance(error, jwt.InvalidAudienceError):
            found = jwt.decode(token, options={"verify_signature": False}).get("aud")
            return (
                f"it is for {brief(found)} and AUTH_AUDIENCE is {self.audience!r}: this has to be in the "
                "auth server's plugins.jwt.jwt.audience or the origin of its baseURL, letter for letter"
            )
        if isinstance(error, jwt.ImmatureSignatureError):
            return "it is not valid yet: are the clocks of both machines right?"
        if isinstance(error, jwt.InvalidSignatureError):
            return "its signature does not fit: it was changed, or JWT_SECRET is not the auth server's"
        if isinstance(error, jwt.MissingRequiredClaimError):
            return f"it has no `{error.claim}`: does plugins.jwt.jwt.definePayload leave it out?"
        return f"it is malformed ({type(error).__name__})"


def looks_like(token: str) -> str:
    dots = token.count(".")
    if token.startswith("prt_"):
        return "it looks like a refresh token: `POST /api/auth/token/refresh` gives a JWT for it"
    if dots < 2:
        return (
            "it looks like Better Auth's session token (that of the cookie, or `token` of sign-in): ask "
            "`GET /api/auth/token` for a JWT and send that"
        )
    if dots == 4:
        return "it looks like an encrypted one, such as a session cookie cache"
    return "it has neither two dots nor any other known shape"


def brief(value: object) -> str:
    """What a stranger sent, for the log: on one line, and not much of it."""
    return repr(value)[:80]


def read_claims(payload: dict[str, Any]) -> Claims:
    sub = payload["sub"]
    # What cannot be an id in the database cannot be a user.
    if not sub or len(sub) > 255 or sub != text(sub):
        raise InvalidToken("its `sub` is empty, longer than 255 characters, or no proper text")
    return Claims(
        sub=sub,
        iat=max(0, int(payload["iat"])),
        email=text(payload.get("email")),
        name=text(payload.get("name")),
        role=text(payload.get("role")),
    )


def text(value: object) -> str | None:
    # PostgreSQL stores no NUL, and nothing stores half a character.
    return value.replace("\0", "").encode(errors="replace").decode() if isinstance(value, str) else None


# ---- the dependencies

bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", bearerFormat="JWT", description="From `GET /api/auth/token`"
)


def unauthorized(detail: str, challenge: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": challenge})


async def verify_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Claims:
    """The claims of the token in `Authorization: Bearer …`."""
    # Two headers could mean two users; which one is meant is not for us to guess.
    if credentials is None or len(request.headers.getlist("authorization")) != 1:
        raise unauthorized("Missing or invalid authorization header", "Bearer")
    verifier: TokenVerifier = request.app.state.verifier
    try:
        return await verifier.verify(credentials.credentials)
    except ExpiredToken as error:
        raise unauthorized(
            "Token expired", 'Bearer error="invalid_token", error_description="The token has expired"'
        ) from error
    except InvalidToken as error:
        # The caller learns no more than that: the rest is for whoever runs this.
        logger.warning("A token is refused: %s", error)
        raise unauthorized(
            "Invalid token", 'Bearer error="invalid_token", error_description="The token is not valid"'
        ) from error
    except KeysUnavailable as error:
        raise HTTPException(
            503, "Tokens cannot be verified at present", headers={"Retry-After": str(error.retry_after)}
        ) from error


VerifiedClaims = Annotated[Claims, Depends(verify_token)]


async def get_current_user_id(claims: VerifiedClaims) -> str:
    """Without a look into the database, so inactive users get through: for what needs no row."""
    return claims.sub


CurrentUserId = Annotated[str, Depends(get_current_user_id)]


async def validate_user_access(user_id: Annotated[str, Path()], current_user_id: CurrentUserId) -> str:
    """The `{user_id}` of the path. It is only compared: what is done is done as the token's user."""
    if user_id != current_user_id:
        raise HTTPException(403, "You can only access your own resources")
    return current_user_id


async def get_current_user(claims: VerifiedClaims, session: Session) -> User:
    user = await sync_user(session, claims)
    if not user.is_active:
        raise HTTPException(403, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


async def require_admin(claims: VerifiedClaims, user: CurrentUser) -> User:
    # The token's role, not the row's: the row may be from an older or a newer token.
    if not claims.is_admin:
        raise HTTPException(403, "Admin access required")
    return user


CurrentAdmin = Annotated[User, Depends(require_admin)]


async def sync_user(session: AsyncSession, claims: Claims) -> User:
    """The user's row, made or brought in step with the token: one read, and one write for a new token.

    The write is a single statement and decides by itself, so that of two requests at the same time
    neither makes a second row, and the newer token wins whichever comes last.
    """
    user = await session.get(User, claims.sub)
    profile = {"email": claims.email, "name": claims.name, "role": claims.role}
    if user is not None:
        same = all(getattr(user, column) == value for column, value in profile.items())
        # An older token changes nothing. A newer one is remembered even with the same profile, or one
        # of the time between could still overwrite it.
        if claims.iat < user.token_iat or (claims.iat == user.token_iat and same):
            return user
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    time = now()
    row = insert(User).values(
        id=claims.sub, **profile, is_active=True, token_iat=claims.iat, created_at=time, updated_at=time
    )
    newer = {column: row.excluded[column] for column in (*profile, "token_iat", "updated_at")}
    await session.exec(
        row.on_conflict_do_update(
            index_elements=["id"], set_=newer, where=User.token_iat <= row.excluded.token_iat
        )
    )
    await session.commit()
    written = select(User).where(User.id == claims.sub).execution_options(populate_existing=True)
    return (await session.exec(written)).one()
