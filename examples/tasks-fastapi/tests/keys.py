"""Keys of the tests' own, tokens signed with them, and an auth server that is only a function."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from app.jwks import JwksCache

ISSUER = "http://auth.test"
JWKS_URL = f"{ISSUER}/api/auth/jwks"
ALL = ("EdDSA", "ES256", "ES512", "PS256", "RS256")


class SigningKey:
    def __init__(self, algorithm: str = "ES256", kid: str = "one", private: Any = None) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private: Any = private or make(algorithm)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public half, as it is published. A change to None takes the member away."""
        members = self._members(self.private.public_key())
        members = {name: members[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in members}
        members |= {"alg": self.algorithm, "kid": self.kid} | changes
        return {name: value for name, value in members.items() if value is not None}

    def private_jwk(self) -> dict[str, Any]:
        return self._members(self.private) | {"alg": self.algorithm, "kid": self.kid}

    def _members(self, key: Any) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(self.algorithm).to_jwk(key))
        return members

    def pem(self) -> bytes:
        public: bytes = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return public

    def forge(self, header: Any, payload: Any) -> str:
        """Anything at all, with a good signature."""
        methods = jwt.get_algorithm_by_name(self.algorithm)
        return forged(header, payload, lambda signed: methods.sign(signed, self.private))

    def sign(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token, with some claims changed. A change to None takes the claim away."""
        return jwt.encode(
            good_claims(**claims), self.private, self.algorithm, headers={"kid": self.kid} | (header or {})
        )


def good_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iat": now,
        "exp": now + 900,
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": "ada",
        "id": "ada",
        "name": "Ada",
        "email": "ada@example.com",
        "emailVerified": False,
        "role": None,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def make(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "ES512":
        return ec.generate_private_key(ec.SECP521R1())
    return rsa.generate_private_key(65537, 2048)


def forged(header: Any, payload: Any, signature: bytes | Callable[[bytes], bytes] = b"") -> str:
    """A token that no library would make. Bytes are taken as they are, everything else as JSON."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(signature(signed.encode()) if callable(signature) else signature)}"


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def shared(secret: str | bytes, algorithm: str = "HS256", header: Any = None, **claims: Any) -> str:
    """A token with a shared secret, which may be one that no library would take."""
    key = secret if isinstance(secret, bytes) else secret.encode()
    return forged(
        {"alg": algorithm, "typ": "JWT"} | (header or {}),
        good_claims(**claims),
        lambda signed: hmac.digest(key, signed, f"sha{algorithm[2:]}"),
    )


class Clock:
    """A clock that only a test moves: nothing here is waited for."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class FakeAuthServer:
    """Publishes what it is told, and counts how often it is asked."""

    def __init__(self, *keys: SigningKey) -> None:
        self.fetches = 0
        self.asked = asyncio.Event()
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json=self.document)
        self.document: Any = {"keys": [key.jwk() for key in keys]}
        # While this is cleared nobody gets an answer.
        self.open = asyncio.Event()
        self.open.set()
        self.clock = Clock()

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) != JWKS_URL:
            # Keys from anywhere else are good ones, and must not be used all the same.
            return httpx.Response(200, json=self.document)
        self.fetches += 1
        self.asked.set()
        await self.open.wait()
        return self.answer()

    def publish(self, *keys: SigningKey) -> None:
        self.document = {"keys": [key.jwk() for key in keys]}

    def fail(self) -> None:
        self.answer = lambda: httpx.Response(503)

    def recover(self) -> None:
        self.answer = lambda: httpx.Response(200, json=self.document)

    def cache(self, **options: Any) -> JwksCache:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
        return JwksCache(JWKS_URL, client, clock=self.clock, **options)
