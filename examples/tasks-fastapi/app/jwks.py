"""The public keys of the auth server: fetched without blocking, by one request for all, and kept
while the server is away. It knows nothing of FastAPI.
"""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt

logger = logging.getLogger(__name__)

# What a published key may sign. There is no HMAC in it: whoever knows a public key could sign with it.
ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "PS256", "RS256"})

MAX_BYTES = 256 * 1024
DEFAULT_AGE = 300.0
MAX_AGE = 3600.0


class KeysUnavailable(Exception):
    """There has never been a key to verify with."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the auth server's keys could not be fetched yet")
        self.retry_after = max(1, math.ceil(retry_after))


class JwksCache:
    """Keys by their id.

    * At most one fetch runs, and all who need it wait for it.
    * Between two fetches are at least `min_interval` seconds, however many tokens name unknown keys:
      otherwise anybody could make this API hammer the auth server. A key that is made within that time
      is known a little later.
    * Keys are used for as long as the server says (`max-age`), within bounds; then they are renewed in
      the background, and the old ones stay until that has worked.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        min_interval: float = 30.0,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._client = client
        self._min_interval = min_interval
        self._timeout = timeout
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fresh_until = -math.inf
        self._not_before = -math.inf
        self._failures = 0
        self._fetch: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id; `None` when the auth server publishes no such key."""
        if kid not in self._keys:
            await self._renewed()
            if not self._keys:
                raise KeysUnavailable(self._not_before - self._clock())
        elif self._clock() >= self._fresh_until:
            self._start()
        return self._keys.get(kid)

    async def aclose(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    async def _renewed(self) -> None:
        if (fetch := self._start()) is not None:
            # A client that hangs up must not end the fetch that others wait for.
            await asyncio.shield(fetch)

    def _start(self) -> asyncio.Task[None] | None:
        """The fetch that runs, or a new one; `None` when it is too early for another."""
        # Nothing is awaited between looking and starting, so there is never a second one.
        if self._fetch is None or self._fetch.done():
            if self._clock() < self._not_before:
                return None
            self._fetch = asyncio.create_task(self._run())
        return self._fetch

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                keys, max_age = await self._download()
        except Exception as error:
            # Whatever it was: those who wait go on without new keys.
            self._failures += 1
            # Without keys nobody is served, so the next try comes soon; with keys nothing presses.
            pause = self._min_interval if self._keys else min(2.0 ** (self._failures - 1), self._min_interval)
            self._not_before = self._clock() + pause
            logger.warning("No keys from %s: %s", self._url, str(error) or type(error).__name__)
        else:
            self._failures = 0
            self._keys = keys
            self._not_before = self._clock() + self._min_interval
            self._fresh_until = self._clock() + max_age

    async def _download(self) -> tuple[dict[str, jwt.PyJWK], float]:
        # No redirects are followed: the keys come from the configured address or not at all.
        async with self._client.stream("GET", self._url, follow_redirects=False) as response:
            if response.status_code != 200:
                raise ValueError(f"the answer was {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("the answer is too long")
        keys = read_keys(json.loads(body))
        if not keys:
            raise ValueError("none of the published keys can be used")
        return keys, max(self._min_interval, min(max_age(response.headers), MAX_AGE))


def max_age(headers: httpx.Headers) -> float:
    cache_control = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(store|cache)\b", cache_control):
        return 0.0
    found = re.search(r'\bmax-age="?(\d+)', cache_control)
    return float(found[1]) if found else DEFAULT_AGE


def read_keys(document: Any) -> dict[str, jwt.PyJWK]:
    """The keys that can be used; the others are skipped, so that a new kind of key breaks nothing."""
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise ValueError("the answer is no key set")
    keys: dict[str, jwt.PyJWK] = {}
    ambiguous: set[str] = set()
    for jwk in published:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(kid, str):
            logger.warning("A published key is skipped: it has no id")
            continue
        try:
            key = read_key(jwk)
        except Exception as error:
            # Whatever is wrong with one key, the others are still good. The message of some errors
            # quotes the key; its type says enough.
            why = str(error) if isinstance(error, UnusableKey) else type(error).__name__
            logger.warning("The published key %r is skipped: %s", kid[:64], why)
            continue
        if kid in keys:
            ambiguous.add(kid)
        keys[kid] = key
    for kid in ambiguous:
        logger.warning("The published keys %r are skipped: they share one id", kid[:64])
        del keys[kid]
    return keys


class UnusableKey(Exception):
    pass


# An RSA key fits two algorithms, so it has to say which; the others fit one.
ONLY_ALGORITHM: dict[tuple[Any, Any], str] = {
    ("OKP", "Ed25519"): "EdDSA",
    ("EC", "P-256"): "ES256",
    ("EC", "P-521"): "ES512",
}


def read_key(jwk: dict[str, Any]) -> jwt.PyJWK:
    """A key, bound to the one algorithm that it is for. The token has no say in that."""
    kind = jwk.get("kty")
    if kind == "RSA":
        algorithm = jwk.get("alg")
        usable = algorithm in ("PS256", "RS256")
    else:
        algorithm = ONLY_ALGORITHM.get((kind, jwk.get("crv")))
        usable = algorithm is not None and jwk.get("alg", algorithm) == algorithm
    if not usable:
        raise UnusableKey("its type or algorithm is not one of this API's")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise UnusableKey("it is not for signatures")
    if "d" in jwk:
        raise UnusableKey("it is a private key, which must never be published; replace it")
    key = jwt.PyJWK(jwk, algorithm)
    if kind == "RSA" and key.key.key_size < 2048:
        raise UnusableKey("it has less than 2048 bits")
    return key
