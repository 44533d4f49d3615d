"""From signing up to one's own resources, over HTTP and with both servers as their READMEs start them.

All of it with public keys and with a shared secret, on SQLite and on PostgreSQL.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.servers import JWT_SECRET, Portcullis, serving

PASSWORD = "correct horse battery"


@dataclass
class Stack:
    portcullis: Portcullis
    auth: httpx.Client
    api: httpx.Client

    def sign_up(self, **changes: str) -> httpx.Response:
        email = f"{secrets.token_hex(6)}@example.com"
        return self.auth.post(
            "/api/auth/signup", json={"name": "Ada", "email": email, "password": PASSWORD} | changes
        )

    def user(self) -> tuple[str, dict[str, str]]:
        """A new one: their id, and the header of their requests."""
        answer = self.sign_up()
        assert answer.status_code == 201, answer.text
        return answer.json()["user"]["id"], bearer(answer.json()["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def tasks_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path_factory.mktemp('tasks') / 'tasks.db'}"
    url: str = request.getfixturevalue("postgres").empty_database()
    return url


@pytest.fixture(scope="module", params=["published keys", "shared secret"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tasks_database: str
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("nine")
    settings = {"DATABASE_URL": tasks_database}
    if request.param == "shared secret":
        jwt: dict[str, Any] = {"algorithm": "HS256"}
        settings["JWT_SECRET"] = JWT_SECRET
    else:
        jwt = {}
    portcullis = Portcullis(folder / "portcullis", jwt=jwt, tokenApi={})
    try:
        with (
            serving(folder, AUTH_URL=portcullis.url, **settings) as url,
            httpx.Client(base_url=portcullis.url, trust_env=False) as auth,
            httpx.Client(base_url=url, trust_env=False) as api,
        ):
            yield Stack(portcullis, auth, api)
    finally:
        portcullis.stop()


def test_1_signing_up(stack: Stack) -> None:
    answer = stack.sign_up(name="Ada", email="ada@example.com")
    assert answer.status_code == 201
    assert answer.json()["user"]["email"] == "ada@example.com"
    user_id = answer.json()["user"]["id"]
    profile = stack.api.get(f"/api/users/{user_id}/profile", headers=bearer(answer.json()["access_token"]))
    assert profile.status_code == 200
    assert profile.json()["email"] == "ada@example.com"


def test_2_signing_up_again_is_409(stack: Stack) -> None:
    assert stack.sign_up(email="twice@example.com").status_code == 201
    assert stack.sign_up(email="twice@example.com").status_code == 409
    assert stack.sign_up(email="Twice@Example.com").status_code == 409


def test_3_a_weak_password_is_422(stack: Stack) -> None:
    assert stack.sign_up(password="short").status_code == 422


def test_4_signing_in_gives_a_jwt(stack: Stack) -> None:
    assert stack.sign_up(email="four@example.com").status_code == 201
    answer = stack.auth.post("/api/auth/signin", json={"email": "four@example.com", "password": PASSWORD})
    assert answer.status_code == 200
    given = answer.json()
    assert given["token_type"].lower() == "bearer"
    assert given["expires_in"] > 0
    assert given["access_token"].count(".") == 2
    assert stack.api.get("/api/v1/tasks", headers=bearer(given["access_token"])).json() == []
    # A refreshed token is as good.
    answer = stack.auth.post("/api/auth/token/refresh", json={"refresh_token": given["refresh_token"]})
    assert answer.status_code == 200
    assert stack.api.get("/api/v1/tasks", headers=bearer(answer.json()["access_token"])).status_code == 200
    # The refresh token itself is none for this API.
    assert stack.api.get("/api/v1/tasks", headers=bearer(given["refresh_token"])).status_code == 401


def test_5_a_wrong_password_is_401(stack: Stack) -> None:
    assert stack.sign_up(email="five@example.com").status_code == 201
    for email, password in [("five@example.com", "wrong horse battery"), ("nobody@example.com", PASSWORD)]:
        answer = stack.auth.post("/api/auth/signin", json={"email": email, "password": password})
        assert answer.status_code == 401


def test_6_no_token_is_401(stack: Stack) -> None:
    answer = stack.api.get("/api/v1/tasks")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Missing or invalid authorization header"})
    assert answer.headers["www-authenticate"] == "Bearer"


def test_7_an_expired_token_is_401(stack: Stack) -> None:
    # The same Portcullis, whose tokens are a minute past their time when they are made.
    expired = stack.portcullis.sign_up().expired_token()
    for path in ("/api/v1/tasks", "/api/users/ada/profile"):
        answer = stack.api.get(path, headers=bearer(expired))
        assert (answer.status_code, answer.json()) == (401, {"detail": "Token expired"})
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_8_another_users_resource_is_403(stack: Stack) -> None:
    (ada, as_ada), (bob, as_bob) = stack.user(), stack.user()
    task = stack.api.post(f"/api/users/{ada}/todos", headers=as_ada, json={"title": "Ada's"}).json()
    for method, path in [
        ("GET", "/todos"),
        ("POST", "/todos"),
        ("GET", f"/todos/{task['id']}"),
        ("PUT", f"/todos/{task['id']}"),
        ("DELETE", f"/todos/{task['id']}"),
        ("GET", "/profile"),
    ]:
        answer = stack.api.request(method, f"/api/users/{ada}{path}", headers=as_bob)
        assert answer.status_code == 403
        assert answer.json() == {"detail": "You can only access your own resources"}
    # Nor by another way: there is no such task for him.
    for path in (f"/api/users/{bob}/todos/{task['id']}", f"/api/v1/tasks/{task['id']}"):
        assert stack.api.get(path, headers=as_bob).status_code == 404


def test_9_ones_own_resource_is_200(stack: Stack) -> None:
    ada, as_ada = stack.user()
    task = stack.api.post(f"/api/users/{ada}/todos", headers=as_ada, json={"title": "Buy milk"}).json()
    assert task["user_id"] == ada
    paths = [f"/api/users/{ada}/todos", "/api/v1/tasks"]
    for path in paths:
        answer = stack.api.get(path, headers=as_ada)
        assert (answer.status_code, answer.json()) == (200, [task])
        answer = stack.api.get(f"{path}/{task['id']}", headers=as_ada)
        assert (answer.status_code, answer.json()) == (200, task)
    for path in paths:
        answer = stack.api.patch(f"{path}/{task['id']}/complete", headers=as_ada)
        assert (answer.status_code, answer.json()["completed"]) == (200, True)
