"""Who may do what, on every route of the OpenAPI document: none can be forgotten."""

import re
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.conftest import Api
from tests.keys import SigningKey

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
GOOD_BODIES: dict[str, dict[str, Any]] = {
    "TaskInput": {"title": "stolen"},
    "TaskPatch": {"title": "stolen"},
    "Completion": {"completed": True},
    "UserPatch": {"is_active": False},
}


class Operation:
    def __init__(self, method: str, path: str, description: dict[str, Any]) -> None:
        self.method = method.upper()
        self.path = path
        self.public = "security" not in description
        body = description.get("requestBody")
        self.body = (
            GOOD_BODIES[body["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1]]
            if body
            else None
        )

    def at(self, user_id: str, task_id: str) -> str:
        return self.path.replace("{user_id}", user_id).replace("{task_id}", task_id)


@pytest.fixture
async def operations(api: Api) -> list[Operation]:
    paths = (await api("GET", "/openapi.json")).json()["paths"]
    found = [
        Operation(method, path, one) for path, methods in paths.items() for method, one in methods.items()
    ]
    # Health, seven and seven for tasks, a profile, two for admins.
    assert len(found) == 18
    assert [operation.path for operation in found if operation.public] == ["/api/health"]
    return [operation for operation in found if not operation.public]


@pytest.fixture
async def task(api: Api, key: SigningKey) -> dict[str, Any]:
    """One of Ada's."""
    answer = await api("POST", "/api/v1/tasks", key.sign(), json={"title": "Ada's"})
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
async def unchanged(api: Api, key: SigningKey, task: dict[str, Any]) -> AsyncIterator[None]:
    """Whatever the test did, Ada's task is as it was."""
    yield
    assert (await api("GET", "/api/v1/tasks", key.sign())).json() == [task]


async def test_without_a_good_token_every_route_is_401(
    api: Api, key: SigningKey, task: dict[str, Any], operations: list[Operation], unchanged: None
) -> None:
    for operation in operations:
        path = operation.at("ada", task["id"])
        for token, detail, challenge in [
            (None, "Missing or invalid authorization header", "Bearer"),
            ("rubbish", "Invalid token", 'Bearer error="invalid_token"'),
            (SigningKey().sign(), "Invalid token", 'Bearer error="invalid_token"'),
            (key.sign(exp=1), "Token expired", 'Bearer error="invalid_token"'),
        ]:
            # Neither the body nor the query nor the id is judged before.
            for url, content in [(path, b"{"), (path + "?limit=x", b"[]"), (operation.at("bob", "x"), b"")]:
                answer = await api(operation.method, url, token, content=content, headers=JSON)
                assert (answer.status_code, answer.json()) == (401, {"detail": detail}), (
                    operation.path,
                    content,
                )
                assert answer.headers["www-authenticate"].startswith(challenge)


@pytest.mark.parametrize("role", [None, "admin"])
async def test_another_users_path_is_403(
    api: Api,
    key: SigningKey,
    task: dict[str, Any],
    operations: list[Operation],
    unchanged: None,
    role: str | None,
) -> None:
    token = key.sign(sub="bob", role=role)
    checked = 0
    for operation in operations:
        if not operation.path.startswith("/api/users/"):
            continue
        # What is wrong with the rest of the request does not matter, nor whether the user exists.
        for user_id in ("ada", "nobody", "Bob", "bob%20", "BOB", "%62ob%00"):
            for task_id, content in [(task["id"], None), ("x", b"{"), (task["id"], b"[]")]:
                body = {"json": operation.body} if content is None else {"content": content}
                answer = await api(
                    operation.method, operation.at(user_id, task_id), token, headers=JSON, **body
                )
                assert answer.status_code == 403, (operation.path, user_id)
                assert answer.json() == {"detail": "You can only access your own resources"}
                checked += 1
    assert checked == 8 * 6 * 3


@pytest.mark.parametrize("role", [None, "admin"])
async def test_another_users_task_is_not_there(
    api: Api,
    key: SigningKey,
    task: dict[str, Any],
    operations: list[Operation],
    unchanged: None,
    role: str | None,
) -> None:
    token = key.sign(sub="bob", role=role)
    checked = 0
    for operation in operations:
        if "{task_id}" in operation.path:
            answer = await api(operation.method, operation.at("bob", task["id"]), token, json=operation.body)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Task not found"}), operation.path
            checked += 1
    assert checked == 10
    for path in ("/api/v1/tasks", "/api/users/bob/todos"):
        assert (await api("GET", path, token)).json() == []


async def test_both_families_are_the_same_tasks(api: Api, key: SigningKey, task: dict[str, Any]) -> None:
    for path in ("/api/v1/tasks", "/api/users/ada/todos"):
        assert (await api("GET", path, key.sign())).json() == [task]
        assert (await api("GET", f"{path}/{task['id']}", key.sign())).json() == task


async def test_every_statement_about_tasks_names_the_user(
    api: Api, key: SigningKey, task: dict[str, Any], operations: list[Operation]
) -> None:
    with statements(api) as seen:
        for operation in sorted(operations, key=lambda one: one.method == "DELETE"):
            if operation.path.startswith("/api/admin"):
                continue
            answer = await api(
                operation.method, operation.at("ada", task["id"]), key.sign(), json=operation.body
            )
            assert answer.status_code in (200, 201, 204, 404), operation.path
    about_tasks = [one for one in seen if "tasks" in one]
    assert len(about_tasks) >= 14
    for statement in about_tasks:
        if statement.startswith("INSERT"):
            assert "user_id" in statement.split("VALUES")[0]
        else:
            assert re.search(r"WHERE .*\btasks\.user_id = ", statement), statement


@contextmanager
def statements(api: Api) -> Any:
    """What the database is asked."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        seen.append(" ".join(arguments[2].split()))

    engine = api.app.state.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_an_inactive_user_is_403_everywhere(
    api: Api, key: SigningKey, task: dict[str, Any], operations: list[Operation], unchanged: None
) -> None:
    admin = key.sign(sub="root", role="admin")
    assert (await api("PATCH", "/api/admin/users/ada", admin, json={"is_active": False})).status_code == 200
    for role in (None, "admin"):
        token = key.sign(role=role)
        for operation in operations:
            for body in ({"json": operation.body}, {"content": b"{", "headers": JSON}):
                answer = await api(operation.method, operation.at("ada", task["id"]), token, **body)
                assert (answer.status_code, answer.json()) == (403, {"detail": "Inactive user"}), (
                    operation.path
                )
    assert (await api("PATCH", "/api/admin/users/ada", admin, json={"is_active": True})).status_code == 200


async def test_admin_routes_are_for_admins(
    api: Api, key: SigningKey, task: dict[str, Any], operations: list[Operation], unchanged: None
) -> None:
    for role in (
        None,
        "",
        "user",
        "Admin",
        "administrator",
        "superadmin",
        "user;admin",
        "admin admin",
        1,
        ["admin"],
    ):
        for operation in operations:
            if operation.path.startswith("/api/admin"):
                for body in ({"json": operation.body}, {"content": b"{", "headers": JSON}):
                    answer = await api(operation.method, operation.at("ada", ""), key.sign(role=role), **body)
                    assert answer.status_code == 403, (operation.path, role)
                    assert answer.json() == {"detail": "Admin access required"}
    for role in ("admin", "user,admin", "admin, user", " admin "):
        assert (await api("GET", "/api/admin/users", key.sign(role=role))).status_code == 200
