"""This API and the real Portcullis: what its tokens look like, and what its keys do over time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jwks import JwksCache
from tests.conftest import Api, running
from tests.keys import ALL, Clock, SigningKey, good_claims, shared
from tests.servers import Portcullis
from tests.test_tokens import INVALID, ask, not_in_the_log

pytestmark = pytest.mark.anyio

EXPIRED = (401, {"detail": "Token expired"})


@pytest.fixture
async def api(real_api: Api) -> Api:
    return real_api


@pytest.fixture(params=ALL)
def any_portcullis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Portcullis]:
    server = Portcullis(tmp_path / "portcullis", jwt={"jwks": {"keyPairConfig": {"alg": request.param}}})
    yield server
    server.stop()


@pytest.fixture
def own_portcullis(tmp_path: Path) -> Iterator[Portcullis]:
    """One that a test may stop."""
    server = Portcullis(tmp_path / "portcullis")
    yield server
    server.stop()


class Keys:
    """The app's own cache with a clock that only the test moves, and a count of fetches."""

    def __init__(self, api: Api, url: str, client: httpx.AsyncClient) -> None:
        self.clock = Clock()
        self.fetches = 0
        client.event_hooks["request"] = [self._count]
        self.cache = JwksCache(f"{url}/api/auth/jwks", client, clock=self.clock)
        api.app.state.verifier.keys = self.cache

    async def _count(self, _: httpx.Request) -> None:
        self.fetches += 1


@asynccontextmanager
async def watched(server: Portcullis, folder: Path) -> AsyncIterator[tuple[Api, Keys]]:
    async with (
        running(database_url=f"sqlite:{folder / 'tasks.db'}", auth_url=server.url) as api,
        httpx.AsyncClient() as client,
    ):
        keys = Keys(api, server.url, client)
        yield api, keys
        await keys.cache.aclose()


async def test_every_algorithm_of_portcullis(any_portcullis: Portcullis, tmp_path: Path) -> None:
    ada = any_portcullis.sign_up("Ada")
    async with running(database_url=f"sqlite:{tmp_path / 'tasks.db'}", auth_url=any_portcullis.url) as api:
        token = ada.token()
        answer = await api("POST", "/api/v1/tasks", token, json={"title": "Buy milk"})
        assert answer.status_code == 201
        assert answer.json()["user_id"] == ada.id
        answer = await api("GET", f"/api/users/{ada.id}/profile", token)
        assert answer.json()["email"] == ada.email
        assert await ask(api, ada.expired_token()) == EXPIRED


async def test_the_token_of_get_session(api: Api, portcullis: Portcullis) -> None:
    token = portcullis.sign_up().session.get("/api/auth/get-session").headers["set-auth-jwt"]
    assert await ask(api, token) == (200, [])


async def test_a_session_token_is_no_jwt(
    api: Api, portcullis: Portcullis, caplog: pytest.LogCaptureFixture
) -> None:
    # With and without the signature that the cookie has: a mistake that everybody makes once.
    signed = portcullis.sign_up().session_token
    for token in (signed, signed.split(".")[0]):
        assert await ask(api, token) == INVALID
        assert "Better Auth's session token" in caplog.text
        not_in_the_log(caplog, token)


async def test_a_new_name_arrives_with_the_next_token(api: Api, portcullis: Portcullis) -> None:
    ada = portcullis.sign_up("Ada")

    async def name() -> Any:
        return (await api("GET", f"/api/users/{ada.id}/profile", ada.token())).json()["name"]

    assert await name() == "Ada"
    ada.rename("Ada Lovelace")
    assert await name() == "Ada Lovelace"


async def test_a_role_given_at_the_auth_server_arrives_with_the_next_token(
    api: Api, portcullis: Portcullis
) -> None:
    admin, user = portcullis.sign_up_admin("user,admin"), portcullis.sign_up()
    answer = await api("GET", "/api/admin/users", admin.token())
    assert answer.status_code == 200
    assert [(one["id"], one["role"]) for one in answer.json()] == [(admin.id, "user,admin")]
    assert (await api("GET", "/api/admin/users", user.token())).status_code == 403


async def test_nobody_gives_themself_a_role(portcullis: Portcullis, api: Api) -> None:
    ada = portcullis.sign_up()
    ada.session.post("/api/auth/update-user", json={"role": "admin"})
    assert (await api("GET", "/api/admin/users", ada.token())).status_code == 403


async def test_forged_tokens_with_a_real_keys_id(api: Api, portcullis: Portcullis) -> None:
    ada = portcullis.sign_up()
    assert await ask(api, ada.token()) == (200, [])
    for published in portcullis.key_set()["keys"]:
        claims = good_claims(iss=portcullis.url, aud=portcullis.url, sub=ada.id)
        forger = SigningKey(published["alg"], published["kid"])
        assert await ask(api, forger.sign(**claims)) == INVALID
        assert await ask(api, forger.sign({"jwk": forger.jwk()}, **claims)) == INVALID
        assert await ask(api, shared(published["x"], header={"kid": published["kid"]}, **claims)) == INVALID


async def test_tokens_of_another_portcullis(api: Api, own_portcullis: Portcullis) -> None:
    assert await ask(api, own_portcullis.sign_up().token()) == INVALID


async def test_tokens_for_somebody_else(api: Api, portcullis: Portcullis) -> None:
    # The key is the right one: only `iss` or `aud` are not.
    ada = portcullis.sign_up()
    for claim in ("issuer", "audience"):
        assert await ask(api, ada.token_from({claim: "https://other.example.com"})) == INVALID


async def test_the_first_requests_fetch_the_keys_once(portcullis: Portcullis, tmp_path: Path) -> None:
    token = portcullis.sign_up().token()
    async with watched(portcullis, tmp_path) as (api, keys):
        answers = await asyncio.gather(*(ask(api, token) for _ in range(30)))
        assert answers == [(200, [])] * 30
        assert keys.fetches == 1


async def test_the_keys_stay_while_portcullis_is_away(own_portcullis: Portcullis, tmp_path: Path) -> None:
    token = own_portcullis.sign_up().token()
    async with watched(own_portcullis, tmp_path) as (api, keys):
        assert await ask(api, token) == (200, [])
        own_portcullis.stop()
        for fetches in range(2, 6):
            keys.clock.advance(3600)
            assert await ask(api, token) == (200, [])
            assert keys.cache._fetch is not None
            await keys.cache._fetch
            assert keys.fetches == fetches


async def test_without_portcullis_from_the_start_it_is_503(
    own_portcullis: Portcullis, tmp_path: Path
) -> None:
    token = own_portcullis.sign_up().token()
    own_portcullis.stop()
    async with watched(own_portcullis, tmp_path) as (api, _):
        answer = await api("GET", "/api/v1/tasks", token)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_new_key_is_found_by_its_first_token(own_portcullis: Portcullis, tmp_path: Path) -> None:
    ada = own_portcullis.sign_up()
    before = ada.token()
    async with watched(own_portcullis, tmp_path) as (api, keys):
        assert await ask(api, before) == (200, [])
        old = {key["kid"] for key in own_portcullis.key_set()["keys"]}
        # As after a leak: the key is taken away, and the next token needs a new one.
        own_portcullis.sql("DELETE FROM jwks")
        own_portcullis.restart()
        after = ada.token()
        assert old.isdisjoint(key["kid"] for key in own_portcullis.key_set()["keys"])
        # The keys were just fetched, so this waits for its turn: a client that asks again gets in.
        assert await ask(api, after) == INVALID
        keys.clock.advance(30)
        assert await ask(api, after) == (200, [])
        assert await ask(api, before) == INVALID
        assert keys.fetches == 2


async def test_keys_that_rotate_overlap(own_portcullis: Portcullis, tmp_path: Path) -> None:
    ada = own_portcullis.sign_up()
    before = ada.token()
    async with watched(own_portcullis, tmp_path) as (api, keys):
        assert await ask(api, before) == (200, [])
        # Its time is up: it signs no more, and is still published for those whom it has signed.
        own_portcullis.sql(
            "UPDATE jwks SET expiresAt = ?", datetime.now(UTC).isoformat(timespec="milliseconds")
        )
        own_portcullis.restart()
        after = ada.token()
        assert len(own_portcullis.key_set()["keys"]) == 2
        keys.clock.advance(30)
        assert await ask(api, after) == (200, [])
        assert await ask(api, before) == (200, [])
        assert keys.fetches == 2
