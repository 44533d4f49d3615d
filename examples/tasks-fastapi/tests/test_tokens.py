"""Tokens that must not get in, and what is said of them."""

import base64
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from app.auth import InvalidToken, TokenVerifier
from tests.conftest import Api, running
from tests.keys import ALL, ISSUER, FakeAuthServer, SigningKey, forged, good_claims, shared

pytestmark = pytest.mark.anyio

MISSING = (401, {"detail": "Missing or invalid authorization header"})
INVALID = (401, {"detail": "Invalid token"})
EXPIRED = (401, {"detail": "Token expired"})
SECRET = "the secret that both sides of the tests share"


@pytest.fixture
def database(tmp_path: Any) -> str:
    # Nothing here is about the database.
    return f"sqlite:{tmp_path / 'tasks.db'}"


@pytest.fixture
async def secret_api(database: str) -> AsyncIterator[Api]:
    """The app with a shared secret."""
    async with running(database_url=database, auth_url=ISSUER, jwt_secret=SECRET) as api:
        yield api


async def ask(api: Api, token: str) -> tuple[int, Any]:
    answer = await api("GET", "/api/v1/tasks", token)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer.status_code, answer.json()


def not_in_the_log(caplog: pytest.LogCaptureFixture, token: str) -> None:
    for part in [token, *token.split(".")]:
        assert len(part) < 8 or part not in caplog.text


# ---- the header


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_gets_in(api: Api, key: SigningKey, scheme: str) -> None:
    answer = await api("GET", "/api/v1/tasks", headers={"authorization": f"{scheme} {key.sign()}"})
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "abc"])
async def test_no_token_is_401(api: Api, header: str | None) -> None:
    answer = await api(
        "GET", "/api/v1/tasks", headers={"authorization": header} if header is not None else {}
    )
    assert (answer.status_code, answer.json()) == MISSING
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_headers_are_401(api: Api, key: SigningKey) -> None:
    one, other = (("authorization", f"Bearer {key.sign(sub=user)}") for user in ("ada", "bob"))
    answer = await api.client.get("/api/v1/tasks", headers=[one, other])
    assert (answer.status_code, answer.json()) == MISSING


async def test_a_token_elsewhere_is_none(api: Api, key: SigningKey) -> None:
    token = key.sign()
    for query, cookie in [(f"?access_token={token}&token={token}", ""), ("", f"token={token}")]:
        answer = await api("GET", f"/api/v1/tasks{query}", headers={"cookie": cookie})
        assert (answer.status_code, answer.json()) == MISSING


# ---- keys and algorithms


@pytest.mark.parametrize("algorithm", ALL)
async def test_every_algorithm_of_portcullis_gets_in(
    api: Api, auth_server: FakeAuthServer, algorithm: str
) -> None:
    key = SigningKey(algorithm)
    auth_server.publish(key)
    assert await ask(api, key.sign()) == (200, [])


@pytest.mark.parametrize("algorithm", ALL)
async def test_another_key_with_a_known_id_does_not(
    api: Api, auth_server: FakeAuthServer, algorithm: str
) -> None:
    auth_server.publish(SigningKey(algorithm))
    assert await ask(api, SigningKey(algorithm).sign()) == INVALID


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, ["none"], {"a": 1}])
async def test_a_token_that_is_not_signed_is_refused(
    api: Api, secret_api: Api, key: SigningKey, algorithm: Any
) -> None:
    for header in ({"alg": algorithm, "kid": key.kid}, {"alg": algorithm}, {"kid": key.kid}):
        for signature in (b"", b"x" * 64):
            token = forged(header, good_claims(), signature)
            assert await ask(api, token) == INVALID
            assert await ask(secret_api, token) == INVALID


async def test_the_public_key_is_no_secret(api: Api, key: SigningKey, auth_server: FakeAuthServer) -> None:
    raw = base64.urlsafe_b64decode(key.jwk()["x"] + "==")
    document = json.dumps(auth_server.document).encode()
    for public in (key.pem(), key.pem().strip(), raw, json.dumps(key.jwk()).encode(), document):
        for algorithm in ("HS256", "HS384", "HS512"):
            assert await ask(api, shared(public, algorithm, {"kid": key.kid})) == INVALID


async def test_the_algorithm_is_the_keys_and_not_the_tokens(api: Api, auth_server: FakeAuthServer) -> None:
    # One RSA key, published for one of its two algorithms.
    published = SigningKey("PS256")
    other = SigningKey("RS256", private=published.private)
    auth_server.publish(published)
    assert await ask(api, published.sign()) == (200, [])
    assert await ask(api, other.sign()) == INVALID
    for algorithm in ("ES256", "EdDSA", "RS256", "PS384", "HS256"):
        token = published.forge({"alg": algorithm, "kid": published.kid}, good_claims())
        assert await ask(api, token) == INVALID


async def test_a_token_brings_no_key_of_its_own(
    api: Api, key: SigningKey, auth_server: FakeAuthServer
) -> None:
    foreign = SigningKey(kid="foreign")
    for header in (
        {"jwk": foreign.jwk()},
        {"jwk": foreign.jwk(kid=key.kid), "kid": key.kid},
        {"jku": "http://evil.test/jwks"},
        {"x5u": "http://evil.test/cert", "x5c": ["AAAA"], "kid": key.kid},
        {"kid": key.kid},
        {"kid": "../../../dev/null"},
        {"kid": "' OR 1=1 --"},
    ):
        assert await ask(api, foreign.sign(header)) == INVALID
    assert auth_server.fetches == 1


async def test_a_token_that_names_no_key_is_refused(
    api: Api, key: SigningKey, auth_server: FakeAuthServer
) -> None:
    token = jwt.encode(good_claims(), key.private, "ES256")
    assert await ask(api, token) == INVALID
    for kid in (1, None, ["one"], {"one": 1}):
        assert await ask(api, forged({"alg": "ES256", "kid": kid}, good_claims(), b"x" * 64)) == INVALID
    # Nothing of that is worth asking the auth server.
    assert auth_server.fetches == 0


async def test_extensions_that_must_be_understood_are_not(api: Api, key: SigningKey) -> None:
    assert await ask(api, key.sign({"crit": ["exp"], "exp": 1})) == INVALID
    assert await ask(api, key.sign({"crit": ["x"], "x": True})) == INVALID


async def test_with_a_secret_hs256_alone_gets_in(secret_api: Api, key: SigningKey) -> None:
    assert await ask(secret_api, shared(SECRET)) == (200, [])
    assert await ask(secret_api, shared("another secret, of which nobody knows")) == INVALID
    for algorithm in ("HS384", "HS512"):
        assert await ask(secret_api, shared(SECRET, algorithm)) == INVALID
    for other in ALL:
        assert await ask(secret_api, SigningKey(other).sign()) == INVALID


async def test_with_published_keys_no_secret_gets_in(api: Api) -> None:
    assert await ask(api, shared(SECRET)) == INVALID


# ---- claims


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub"])
async def test_a_claim_that_is_missing_is_refused(
    api: Api, secret_api: Api, key: SigningKey, claim: str
) -> None:
    without: dict[str, Any] = {claim: None}
    assert await ask(api, key.sign(**without)) == INVALID
    assert await ask(secret_api, shared(SECRET, **without)) == INVALID


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://evil.test"},
        {"iss": ISSUER + "/"},
        {"iss": ISSUER.upper()},
        {"iss": [ISSUER]},
        {"iss": 1},
        {"aud": "http://evil.test"},
        {"aud": ISSUER + "/"},
        {"aud": []},
        {"aud": ["http://evil.test"]},
        {"aud": {ISSUER: 1}},
        {"sub": ""},
        {"sub": 1},
        {"sub": ["ada"]},
        {"sub": "a\0b"},
        {"sub": "\ud800"},
        {"sub": "x" * 256},
        {"exp": "soon"},
        {"exp": []},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"iat": "now"},
        {"iat": {}},
        {"iat": float("-inf")},
        {"nbf": "x"},
        {"jti": 1},
    ],
)
async def test_a_claim_that_is_wrong_is_refused(api: Api, key: SigningKey, claims: dict[str, Any]) -> None:
    token = key.forge({"alg": key.algorithm, "kid": key.kid}, good_claims() | claims)
    assert await ask(api, token) == INVALID


async def test_one_of_several_audiences_is_enough(api: Api, key: SigningKey) -> None:
    assert await ask(api, key.sign(aud=["http://other.test", ISSUER])) == (200, [])


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": -3}, (200, [])),
        ({"exp": -10}, EXPIRED),
        ({"exp": -86_400}, EXPIRED),
        ({"nbf": 3}, (200, [])),
        ({"nbf": 60}, INVALID),
        ({"iat": 3}, (200, [])),
        ({"iat": 60}, INVALID),
    ],
)
async def test_clocks_may_differ_by_seconds(
    api: Api, secret_api: Api, key: SigningKey, claims: dict[str, int], expected: tuple[int, Any]
) -> None:
    times: dict[str, Any] = {name: int(time.time()) + seconds for name, seconds in claims.items()}
    assert await ask(api, key.sign(**times)) == expected
    assert await ask(secret_api, shared(SECRET, **times)) == expected


async def test_an_expired_token_of_somebody_else_is_invalid(api: Api) -> None:
    # "Expired" is said of tokens whose signature is good, and of no others.
    assert await ask(api, SigningKey().sign(exp=1)) == INVALID


# ---- shapes


async def test_a_token_that_was_changed_is_refused(api: Api, key: SigningKey) -> None:
    head, _, signature = key.sign().split(".")
    other_head, other_claims, other_signature = key.sign(sub="bob").split(".")
    for token in (
        f"{head}.{other_claims}.{signature}",
        f"{head}.{other_claims}.",
        f"{head}..{signature}",
        f".{other_claims}.{other_signature}",
        f"{other_head}.{other_claims}.{other_signature[:-8]}",
    ):
        assert await ask(api, token) == INVALID
    assert await ask(api, f"{other_head}.{other_claims}.{other_signature}") == (200, [])


async def test_a_token_over_16_kib_is_refused(
    api: Api, key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ask(api, key.sign(name="x" * 11_000)) == (200, [])
    token = key.sign(name="x" * 13_000)
    assert len(token) > 16 * 1024
    assert await ask(api, token) == INVALID
    assert "16 KiB" in caplog.text


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("7NzuDXi3VhTPqyyFOEQ9hBb7YqHzU0sI", "session token"),
        ("7NzuDXi3VhTPqyyFOEQ9hBb7YqHzU0sI.n2Jy5s1k0Zr7cF8mVw3xT6bQe9uLa4Gd%3D", "session token"),
        ("prt_7NzuDXi3VhTPqyyFOEQ9hBb7YqHzU0sI", "refresh token"),
        ("eyJhbGciOiJkaXIifQ..aXYtaXYtaXY.Y2lwaGVydGV4dA.dGFndGFndGFn", "encrypted"),
        ("eyJhbGciOiJkaXIifQ.eyJhbGciOiJkaXIifQ.eyJhbGciOiJkaXIifQ.eyJhbGciOiJkaXIifQ", "no signed JWT"),
        ("....................", "no signed JWT"),
    ],
)
async def test_the_log_says_what_a_wrong_token_looks_like(
    api: Api, caplog: pytest.LogCaptureFixture, token: str, says: str
) -> None:
    assert await ask(api, token) == INVALID
    assert says in caplog.text
    not_in_the_log(caplog, token)


async def test_the_log_says_what_to_do_and_never_the_token(
    api: Api, secret_api: Api, key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    async def logged(api: Api, token: str) -> str:
        caplog.clear()
        assert await ask(api, token) == INVALID
        not_in_the_log(caplog, token)
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        return record.getMessage()

    message = await logged(api, key.sign(iss="http://localhost:3000"))
    assert "'http://localhost:3000'" in message and f"'{ISSUER}'" in message and "AUTH_ISSUER" in message
    message = await logged(api, key.sign(aud="http://localhost:3000"))
    assert "'http://localhost:3000'" in message and f"'{ISSUER}'" in message and "AUTH_AUDIENCE" in message
    assert "JWT_SECRET" in await logged(api, shared(SECRET))
    assert "JWT_SECRET" in await logged(secret_api, key.sign())
    assert "JWT_SECRET" in await logged(secret_api, shared("another secret, of which nobody knows"))
    assert "no key 'unknown'" in await logged(api, SigningKey(kid="unknown").sign())
    assert "no `exp`" in await logged(api, key.sign(exp=None))
    assert "clocks" in await logged(api, key.sign(nbf=int(time.time()) + 60))
    # What a stranger wrote is one line, and short.
    message = await logged(api, SigningKey(kid="x\nERROR all is lost" + "x" * 500).sign())
    assert "\n" not in message and len(message) < 250


async def test_rubbish_is_refused_and_breaks_nothing(api: Api, secret_api: Api, key: SigningKey) -> None:
    chance = random.Random(1)
    good = key.sign()
    letters = "ABCabc012-_=.+/%~!é\x80 "
    for _ in range(400):
        if chance.random() < 0.5:
            token = "".join(chance.choices(letters, k=chance.randrange(1, 80)))
        else:
            at = chance.randrange(len(good) - 8)
            token = (
                good[:at]
                + chance.choice(letters) * chance.randrange(1, 4)
                + good[at + chance.randrange(1, 4) :]
            )
        if token.strip() in ("", good):
            continue
        for one in (api, secret_api):
            answer = await one(
                "GET", "/api/v1/tasks", headers={"authorization": b"Bearer " + token.encode("latin-1")}
            )
            assert answer.status_code == 401, token


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"\xff",
        b"[" * 8000,
        b'{"a":' * 2000,
        b"1" * 5000,
        b'{"alg":"ES256","kid":"one"}',
    ],
)
async def test_headers_and_claims_that_are_no_objects_are_refused(
    api: Api, key: SigningKey, raw: bytes
) -> None:
    good = {"alg": key.algorithm, "kid": key.kid}
    for token in (forged(raw, good_claims(), b"x" * 64), forged(good, raw, b"x" * 64), forged(raw, raw, raw)):
        assert await ask(api, token) == INVALID
    # Also when the auth server itself had signed it.
    assert await ask(api, key.forge(good, raw)) == INVALID


# ---- keys that cannot be had


async def test_without_any_key_it_is_503_and_says_when_to_come_back(
    api: Api, key: SigningKey, auth_server: FakeAuthServer
) -> None:
    auth_server.fail()
    for seconds in ("1", "1", "1"):
        answer = await api("GET", "/api/v1/tasks", key.sign())
        assert answer.status_code == 503
        assert answer.json() == {"detail": "Tokens cannot be verified at present"}
        assert answer.headers["retry-after"] == seconds
    assert auth_server.fetches == 1
    # What cannot be good is known without keys, and no token is still no token.
    assert await ask(api, "rubbish") == INVALID
    assert (await api("GET", "/api/v1/tasks")).status_code == 401
    assert (await api("GET", "/api/health")).status_code == 200
    auth_server.recover()
    auth_server.clock.advance(1)
    assert await ask(api, key.sign()) == (200, [])


async def test_a_flood_of_unknown_keys_asks_the_auth_server_once(
    api: Api, key: SigningKey, auth_server: FakeAuthServer
) -> None:
    assert await ask(api, key.sign()) == (200, [])
    auth_server.clock.advance(30)
    for number in range(50):
        assert await ask(api, key.sign({"kid": f"unknown-{number}"})) == INVALID
    assert auth_server.fetches == 2
    assert await ask(api, key.sign()) == (200, [])


async def test_the_verifier_needs_no_web_framework(key: SigningKey, auth_server: FakeAuthServer) -> None:
    verifier = TokenVerifier(auth_server.cache(), issuer=ISSUER, audience=ISSUER)
    claims = await verifier.verify(key.sign(role="user, admin"))
    assert (claims.sub, claims.name, claims.email) == ("ada", "Ada", "ada@example.com")
    assert claims.is_admin
    with pytest.raises(InvalidToken):
        await verifier.verify(key.sign(iss="http://evil.test"))
