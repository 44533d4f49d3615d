"""The cache of public keys."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app.jwks import ALGORITHMS, KeysUnavailable, read_keys
from tests.keys import ALL, FakeAuthServer, SigningKey

pytestmark = pytest.mark.anyio


async def test_the_first_requests_share_one_fetch() -> None:
    server = FakeAuthServer(SigningKey())
    cache = server.cache()
    keys = await asyncio.gather(*(cache.get("one") for _ in range(100)))
    assert server.fetches == 1
    assert all(key is keys[0] and key is not None for key in keys)


async def test_a_fetch_blocks_nobody_else() -> None:
    server = FakeAuthServer(SigningKey())
    server.open.clear()
    waiting = asyncio.create_task(server.cache().get("one"))
    # The loop goes round while the auth server takes its time.
    await server.asked.wait()
    assert not waiting.done()
    server.open.set()
    assert await waiting is not None


async def test_who_hangs_up_does_not_end_the_fetch_of_the_others() -> None:
    server = FakeAuthServer(SigningKey())
    server.open.clear()
    cache = server.cache()
    impatient, patient = (asyncio.create_task(cache.get("one")) for _ in range(2))
    await server.asked.wait()
    impatient.cancel()
    server.open.set()
    assert await patient is not None
    assert impatient.cancelled()
    assert server.fetches == 1


async def test_fresh_keys_are_not_fetched_again() -> None:
    server = FakeAuthServer(SigningKey())
    cache = server.cache()
    for _ in range(10):
        await cache.get("one")
        server.clock.advance(29)
    assert server.fetches == 1


async def test_stale_keys_are_used_while_they_are_renewed() -> None:
    server = FakeAuthServer(SigningKey())
    cache = server.cache()
    old = await cache.get("one")
    server.publish(SigningKey(kid="one"))
    server.clock.advance(301)
    server.open.clear()
    # The auth server does not answer, and nobody waits for it.
    assert await cache.get("one") is old
    assert await cache.get("one") is old
    server.open.set()
    await asyncio.wait_for(settled(cache), 5)
    assert server.fetches == 2
    assert await cache.get("one") is not old


async def settled(cache: Any) -> None:
    await cache._fetch


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 300),
        ("public, max-age=600", 600),
        ('max-age="120"', 120),
        ("max-age=1", 30),
        ("max-age=0", 30),
        ("no-store", 30),
        ("no-cache, max-age=600", 30),
        ("max-age=999999999", 3600),
        ("max-age=-5", 300),
        ("max-age=99999999999999999999", 3600),
        ("s-maxage=9000", 300),
    ],
)
async def test_max_age_is_honoured_within_bounds(header: str | None, seconds: int) -> None:
    server = FakeAuthServer(SigningKey())
    server.answer = lambda: httpx.Response(
        200, json=server.document, headers={"cache-control": header} if header else {}
    )
    cache = server.cache()
    await cache.get("one")
    server.clock.advance(seconds - 1)
    await cache.get("one")
    assert cache._fetch is not None and cache._fetch.done()
    assert server.fetches == 1
    server.clock.advance(1)
    await cache.get("one")
    await settled(cache)
    assert server.fetches == 2


async def test_unknown_ids_fetch_once_in_an_interval() -> None:
    server = FakeAuthServer(SigningKey())
    cache = server.cache()
    await cache.get("one")
    for interval in range(1, 4):
        server.clock.advance(30)
        flood = await asyncio.gather(*(cache.get(f"unknown-{number}") for number in range(200)))
        assert flood == [None] * 200
        assert [await cache.get(f"later-{number}") for number in range(20)] == [None] * 20
        assert server.fetches == 1 + interval
    # Those whose key is known do not notice.
    assert await cache.get("one") is not None


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    old, new = SigningKey(kid="old"), SigningKey("EdDSA", kid="new")
    server = FakeAuthServer(old)
    cache = server.cache()
    assert await cache.get("old") is not None
    server.publish(old, new)
    server.clock.advance(30)
    assert await cache.get("new") is not None
    assert await cache.get("old") is not None
    server.publish(new)
    server.clock.advance(301)
    assert await cache.get("new") is not None
    await settled(cache)
    assert await cache.get("old") is None
    assert server.fetches == 3


async def test_the_last_keys_stay_while_the_server_is_away() -> None:
    server = FakeAuthServer(SigningKey())
    cache = server.cache()
    key = await cache.get("one")
    server.fail()
    for _ in range(50):
        server.clock.advance(3600)
        assert await cache.get("one") is key
        await settled(cache)
    assert server.fetches == 51
    # Unknown ids are what they are, and not a reason to answer 503.
    assert await cache.get("two") is None
    server.recover()
    server.publish(SigningKey(kid="two"))
    server.clock.advance(30)
    assert await cache.get("two") is not None


async def test_without_any_key_it_tries_again_after_longer_and_longer_pauses() -> None:
    server = FakeAuthServer(SigningKey())
    server.fail()
    cache = server.cache()
    for fetches, pause in enumerate([1, 2, 4, 8, 16, 30, 30], start=1):
        for _ in range(3):
            with pytest.raises(KeysUnavailable) as caught:
                await cache.get("one")
            assert caught.value.retry_after == pause
            assert server.fetches == fetches
        server.clock.advance(pause)
    server.recover()
    assert await cache.get("one") is not None


async def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    server = FakeAuthServer(SigningKey())
    server.open.clear()
    with pytest.raises(KeysUnavailable):
        await asyncio.wait_for(server.cache(timeout=0.01).get("one"), 5)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"keys": []}),
        httpx.Response(302, headers={"location": "http://elsewhere.test/jwks"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": {}}),
        httpx.Response(200, json={"keys": []}),
        httpx.Response(200, json={"keys": [{"kty": "oct", "kid": "one", "k": "c2VjcmV0", "alg": "HS256"}]}),
        httpx.Response(200, content=json.dumps({"keys": [SigningKey().jwk()]}) + " " * 300_000),
    ],
    ids=["500", "redirect", "html", "no-utf8", "deep", "list", "no-list", "empty", "secret", "too-long"],
)
async def test_a_bad_answer_does_not_replace_good_keys(answer: httpx.Response) -> None:
    server = FakeAuthServer(SigningKey())
    # Nobody has keys from it …
    server.answer = lambda: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    cache = server.cache()
    with pytest.raises(KeysUnavailable):
        await cache.get("one")
    # … and nobody loses them.
    bad, server.answer = server.answer, lambda: httpx.Response(200, json=server.document)
    server.clock.advance(1)
    key = await cache.get("one")
    assert key is not None
    server.answer = bad
    server.clock.advance(301)
    await cache.get("one")
    await settled(cache)
    assert server.fetches == 3
    assert await cache.get("one") is key


async def test_closing_ends_a_fetch() -> None:
    server = FakeAuthServer(SigningKey())
    server.open.clear()
    cache = server.cache()
    waiting = asyncio.create_task(cache.get("one"))
    await server.asked.wait()
    await cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# ---- which keys


@pytest.mark.parametrize("algorithm", ALL)
def test_a_key_is_bound_to_its_algorithm(algorithm: str) -> None:
    [key] = read_keys({"keys": [SigningKey(algorithm).jwk()]}).values()
    assert key.algorithm_name == algorithm


def test_all_of_portcullis_algorithms_are_known_and_no_other() -> None:
    assert frozenset(ALL) == ALGORITHMS


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        "key",
        {},
        {"kid": "one"},
        {"kid": "one", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kid": "one", "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kid": "one", "kty": "OKP", "crv": "X25519", "x": "AAAA", "alg": "ECDH-ES"},
        {"kid": "one", "kty": ["EC"], "crv": {}, "alg": []},
        SigningKey().jwk(kid=None),
        SigningKey().jwk(kid=1),
        SigningKey().jwk(alg="HS256"),
        SigningKey().jwk(alg="none"),
        SigningKey().jwk(alg="ES512"),
        SigningKey().jwk(crv="P-384"),
        SigningKey().jwk(crv="secp256k1"),
        SigningKey().jwk(x="AAAA"),
        SigningKey().jwk(y=None),
        SigningKey().jwk(use="enc"),
        SigningKey().jwk(key_ops=["sign"]),
        SigningKey().private_jwk(),
        SigningKey("RS256").jwk(alg=None),
        SigningKey("RS256").jwk(alg="HS256"),
        SigningKey("RS256").jwk(alg="RS512"),
        SigningKey("RS256").private_jwk(),
        SigningKey("EdDSA").jwk(alg="ES256"),
        SigningKey("EdDSA").jwk(x="!"),
    ],
)
def test_a_key_that_cannot_be_used_is_skipped(jwk: Any, caplog: pytest.LogCaptureFixture) -> None:
    good = SigningKey(kid="good")
    assert list(read_keys({"keys": [jwk, good.jwk()]})) == ["good"]
    assert "is skipped" in caplog.text
    assert "'d'" not in caplog.text


def test_a_short_rsa_key_is_skipped() -> None:
    short, long = (
        SigningKey("RS256", private=rsa.generate_private_key(65537, bits)) for bits in (1024, 2048)
    )
    assert read_keys({"keys": [short.jwk()]}) == {}
    assert len(read_keys({"keys": [long.jwk()]})) == 1


def test_different_keys_with_one_id_are_skipped(caplog: pytest.LogCaptureFixture) -> None:
    keys = [SigningKey(kid="twice"), SigningKey("RS256", kid="twice"), SigningKey(kid="once")]
    assert list(read_keys({"keys": [key.jwk() for key in keys]})) == ["once"]
    assert "share one id" in caplog.text


def test_an_id_cannot_write_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    read_keys({"keys": [{"kid": "one\nERROR all is lost"}]})
    assert len(caplog.text.splitlines()) == 1
