"""The local user row, kept in step with the token."""

import asyncio
import time
from typing import Any

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.models import User
from tests.conftest import Api
from tests.keys import SigningKey
from tests.test_access import statements

pytestmark = pytest.mark.anyio

NOW = int(time.time())


async def profile(api: Api, token: str, user_id: str = "ada") -> dict[str, Any]:
    answer = await api("GET", f"/api/users/{user_id}/profile", token)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rows(api: Api) -> list[User]:
    async with AsyncSession(api.app.state.engine) as session:
        return list(await session.exec(select(User).order_by(User.id)))


async def test_the_profile_is_the_tokens(api: Api, key: SigningKey) -> None:
    found = await profile(api, key.sign(role="user"))
    assert list(found) == ["id", "email", "name", "role", "is_active", "created_at"]
    created_at = found.pop("created_at")
    assert found == {
        "id": "ada",
        "email": "ada@example.com",
        "name": "Ada",
        "role": "user",
        "is_active": True,
    }
    assert created_at.endswith("Z") and len(created_at) == len("2026-01-02T03:04:05.678Z")


async def test_a_newer_token_wins_and_an_older_does_not(api: Api, key: SigningKey) -> None:
    first = await profile(api, key.sign(iat=NOW - 100))
    assert (await profile(api, key.sign(iat=NOW - 50, name="Ada L.", email="new@example.com")))[
        "name"
    ] == "Ada L."
    # The older one is still good, and still shows what is newer.
    found = await profile(api, key.sign(iat=NOW - 100))
    assert (found["name"], found["email"]) == ("Ada L.", "new@example.com")
    assert (await profile(api, key.sign(iat=NOW - 51, name="Mallory")))["name"] == "Ada L."
    assert found["created_at"] == first["created_at"]
    [row] = await rows(api)
    assert (row.name, row.token_iat) == ("Ada L.", NOW - 50)
    assert row.updated_at > row.created_at


async def test_within_a_second_the_last_one_wins(api: Api, key: SigningKey) -> None:
    # Signing up, changing the name and asking for a new token takes less.
    await profile(api, key.sign(iat=NOW))
    assert (await profile(api, key.sign(iat=NOW, name="Ada L.")))["name"] == "Ada L."


async def test_what_came_between_two_tokens_with_the_same_profile_is_old(api: Api, key: SigningKey) -> None:
    await profile(api, key.sign(iat=NOW - 100))
    await profile(api, key.sign(iat=NOW))
    assert (await profile(api, key.sign(iat=NOW - 50, name="for a minute")))["name"] == "Ada"


async def test_what_is_taken_away_is_gone(api: Api, key: SigningKey) -> None:
    await profile(api, key.sign(iat=NOW - 100, role="admin"))
    found = await profile(api, key.sign(iat=NOW, role=None, email=None, name=None))
    assert (found["role"], found["email"], found["name"]) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1, None),
        (["Ada"], None),
        ({}, None),
        (True, None),
        ("", ""),
        ("A\0da", "Ada"),
        ("A\ud800da", "A?da"),
        ("😀" * 200, "😀" * 200),
        ("'; DROP TABLE users; --", "'; DROP TABLE users; --"),
    ],
)
async def test_whatever_a_token_says_there_is_a_row(
    api: Api, key: SigningKey, given: Any, kept: str | None
) -> None:
    found = await profile(api, key.sign(name=given, email=given, role=given))
    assert (found["name"], found["email"], found["role"]) == (kept, kept, kept)


async def test_an_address_may_go_to_another_user(api: Api, key: SigningKey) -> None:
    await profile(api, key.sign(sub="ada"), "ada")
    assert (await profile(api, key.sign(sub="bob"), "bob"))["email"] == "ada@example.com"


async def test_any_id_will_do(api: Api, key: SigningKey) -> None:
    for sub in ("1", "x" * 255, "a b", "ü😀", "a?b#c", "..a", "3fa85f64-5717-4562-b3fc-2c963f66afa6"):
        answer = await api("POST", "/api/v1/tasks", key.sign(sub=sub), json={"title": "x"})
        assert (answer.status_code, answer.json()["user_id"]) == (201, sub)


async def test_a_known_token_costs_one_read(api: Api, key: SigningKey) -> None:
    token = key.sign()
    with statements(api) as seen:
        await profile(api, token)
    assert [one.split()[0] for one in seen] == ["SELECT", "INSERT", "SELECT"]
    for same in (token, token, key.sign(iat=1)):
        with statements(api) as seen:
            await profile(api, same)
        assert [one.split()[0] for one in seen] == ["SELECT"]
    # A new token with the same profile: its time is noted.
    with statements(api) as seen:
        await profile(api, key.sign(iat=int(time.time()) + 2))
    assert [one.split()[0] for one in seen] == ["SELECT", "INSERT", "SELECT"]


async def test_a_refused_token_makes_no_row_and_asks_nothing(api: Api, key: SigningKey) -> None:
    with statements(api) as seen:
        for token in (
            None,
            "rubbish",
            key.sign(exp=1),
            key.sign(iss="http://evil.test"),
            SigningKey().sign(),
        ):
            assert (await api("GET", "/api/v1/tasks", token)).status_code == 401
        # Nor does a path that is somebody else's.
        assert (await api("GET", "/api/users/bob/profile", key.sign())).status_code == 403
    assert seen == []
    assert await rows(api) == []


async def test_nothing_but_the_token_makes_a_row(api: Api, key: SigningKey) -> None:
    admin = key.sign(sub="root", role="admin")
    for user_id in ("ada", "nobody", "a%00da", "%ff", "%ed%a0%80", "x" * 5000):
        answer = await api("PATCH", f"/api/admin/users/{user_id}", admin, json={"is_active": True})
        assert (answer.status_code, answer.json()) == (404, {"detail": "User not found"})
    assert [row.id for row in await rows(api)] == ["root"]


# ---- at the same time


async def test_the_first_requests_of_a_user_make_one_row(api: Api, key: SigningKey) -> None:
    tokens = [key.sign(iat=NOW - number) for number in range(20)]
    answers = await asyncio.gather(
        *(api("POST", "/api/v1/tasks", token, json={"title": "x"}) for token in tokens)
    )
    assert {answer.status_code for answer in answers} == {201}
    assert [row.id for row in await rows(api)] == ["ada"]
    assert len((await api("GET", "/api/v1/tasks", key.sign())).json()) == 20


async def test_the_newest_token_wins_whichever_comes_last(api: Api, key: SigningKey) -> None:
    for turn in range(10):
        tokens = [key.sign(sub=f"user{turn}", iat=NOW - age, name=f"{age} s ago") for age in range(8)]
        order = tokens if turn % 2 else tokens[::-1]
        answers = await asyncio.gather(*(api("GET", "/api/v1/tasks", token) for token in order))
        assert {answer.status_code for answer in answers} == {200}
    assert {(row.name, row.token_iat) for row in await rows(api)} == {("0 s ago", NOW)}


async def test_a_new_token_does_not_make_an_inactive_user_active(api: Api, key: SigningKey) -> None:
    await profile(api, key.sign(iat=NOW - 100))
    admin = key.sign(sub="root", role="admin")
    await api("PATCH", "/api/admin/users/ada", admin, json={"is_active": False})
    tokens = [key.sign(iat=NOW - number, name=f"{number}") for number in range(5)]
    answers = await asyncio.gather(*(api("GET", "/api/v1/tasks", token) for token in tokens))
    assert {answer.status_code for answer in answers} == {403}


# ---- for admins


async def test_an_admin_sees_the_users_and_their_profiles(api: Api, key: SigningKey) -> None:
    admin = key.sign(sub="root", role="admin", name="Root")
    expected = [await profile(api, key.sign(sub=sub), sub) for sub in ("ada", "bob", "eve")]
    expected.append(await profile(api, admin, "root"))
    expected.sort(key=lambda one: (one["created_at"], one["id"]), reverse=True)
    answer = await api("GET", "/api/admin/users", admin)
    assert (answer.status_code, answer.json()) == (200, expected)
    assert (await api("GET", "/api/admin/users?limit=2&offset=1", admin)).json() == expected[1:3]
    for query in ("limit=0", "limit=101", "offset=-1", "limit=x"):
        assert (await api("GET", f"/api/admin/users?{query}", admin)).status_code == 422


async def test_the_role_is_the_tokens_and_not_the_rows(api: Api, key: SigningKey) -> None:
    assert (await api("GET", "/api/admin/users", key.sign(iat=NOW, role="admin"))).status_code == 200
    # The row still says admin; this token does not.
    assert (await api("GET", "/api/admin/users", key.sign(iat=NOW - 10, role="user"))).status_code == 403


async def test_an_admin_switches_users_off_and_on(api: Api, key: SigningKey) -> None:
    admin = key.sign(sub="root", role="admin")
    ada = await profile(api, key.sign())
    for is_active, status in [(False, 403), (False, 403), (True, 200)]:
        answer = await api("PATCH", "/api/admin/users/ada", admin, json={"is_active": is_active})
        assert (answer.status_code, answer.json()) == (200, ada | {"is_active": is_active})
        assert (await api("GET", "/api/v1/tasks", key.sign())).status_code == status
    bad: list[Any] = [
        {},
        {"is_active": None},
        {"is_active": 1},
        {"is_active": "no"},
        {"is_active": True, "role": "x"},
        [],
    ]
    for body in bad:
        answer = await api("PATCH", "/api/admin/users/ada", admin, json=body)
        assert answer.status_code == 422, body


async def test_an_admin_cannot_lock_themself_out(api: Api, key: SigningKey) -> None:
    admin = key.sign(sub="root", role="admin")
    answer = await api("PATCH", "/api/admin/users/root", admin, json={"is_active": False})
    assert answer.status_code == 422
    [issue] = answer.json()["detail"]
    assert issue == {
        "loc": ["body", "is_active"],
        "msg": "Value error, you cannot deactivate yourself",
        "type": "value_error",
    }
    assert (await api("PATCH", "/api/admin/users/root", admin, json={"is_active": True})).status_code == 200
