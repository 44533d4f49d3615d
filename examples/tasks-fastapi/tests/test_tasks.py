"""The tasks of one user."""

import asyncio
import json
import re
import uuid
from datetime import datetime
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from app.models import Task
from tests.conftest import Api
from tests.keys import SigningKey

pytestmark = pytest.mark.anyio

FAMILIES = ["/api/v1/tasks", "/api/users/ada/todos"]
JSON = {"content-type": "application/json"}
ISSUE_MEMBERS = {"loc", "msg", "type"}


@pytest.fixture
def token(key: SigningKey) -> str:
    return key.sign()


@pytest.fixture(params=FAMILIES)
def path(request: pytest.FixtureRequest) -> str:
    family: str = request.param
    return family


async def create(api: Api, token: str, title: str = "Buy milk", **more: Any) -> dict[str, Any]:
    answer = await api("POST", "/api/v1/tasks", token, json={"title": title, **more})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def test_a_task_from_beginning_to_end(api: Api, token: str, path: str) -> None:
    answer = await api("POST", path, token, json={"title": "Buy milk"})
    assert answer.status_code == 201
    task = answer.json()
    assert list(task) == ["id", "user_id", "title", "description", "completed", "created_at", "updated_at"]
    assert uuid.UUID(task["id"])
    assert task["user_id"] == "ada"
    assert task["description"] is None
    assert task["completed"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", task["created_at"])
    assert task["updated_at"] == task["created_at"]

    one = f"{path}/{task['id']}"
    assert (await api("GET", one, token)).json() == task
    assert (await api("GET", path, token)).json() == [task]

    answer = await api(
        "PUT", one, token, json={"title": "Buy oat milk", "description": "two", "completed": True}
    )
    assert answer.status_code == 200
    changed = answer.json()
    assert changed | {"updated_at": 0} == task | {
        "title": "Buy oat milk",
        "description": "two",
        "completed": True,
        "updated_at": 0,
    }
    assert changed["updated_at"] >= task["updated_at"]
    assert (await api("GET", one, token)).json() == changed

    answer = await api("DELETE", one, token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    for method in ("GET", "DELETE"):
        answer = await api(method, one, token)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Task not found"})


async def test_put_replaces_and_patch_changes(api: Api, token: str, path: str) -> None:
    task = await create(api, token, description="two", completed=True)
    one = f"{path}/{task['id']}"

    async def send(method: str, body: Any) -> dict[str, Any]:
        answer = await api(method, one, token, json=body)
        assert answer.status_code == 200, answer.text
        return {name: answer.json()[name] for name in ("title", "description", "completed")}

    assert await send("PATCH", {}) == {"title": "Buy milk", "description": "two", "completed": True}
    assert await send("PATCH", {"title": "Milk"}) == {
        "title": "Milk",
        "description": "two",
        "completed": True,
    }
    assert (await send("PATCH", {"completed": False}))["completed"] is False
    assert (await send("PATCH", {"description": None}))["description"] is None
    await send("PATCH", {"description": "three", "completed": True})
    assert await send("PUT", {"title": "Oats"}) == {"title": "Oats", "description": None, "completed": False}


async def test_completing_is_idempotent(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    one = f"{path}/{task['id']}/complete"
    for _ in range(2):
        answer = await api("PATCH", one, token)
        assert (answer.status_code, answer.json()["completed"]) == (200, True)
    for body, expected in [({}, True), ({"completed": False}, False), ({"completed": False}, False)]:
        answer = await api("PATCH", one, token, json=body)
        assert (answer.status_code, answer.json()["completed"]) == (200, expected)


async def test_the_list_is_newest_first_and_has_pages(api: Api, token: str, path: str) -> None:
    tasks = [await create(api, token, f"task {number}", completed=number % 2 == 0) for number in range(7)]
    expected = sorted(tasks, key=lambda task: (task["created_at"], task["id"]), reverse=True)

    async def get(query: str) -> Any:
        answer = await api("GET", f"{path}{query}", token)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await get("") == expected
    assert await get("?limit=3") == expected[:3]
    assert await get("?limit=3&offset=3") == expected[3:6]
    assert await get("?offset=7") == []
    assert await get(f"?offset={2**53 - 1}") == []
    assert await get("?completed=true") == [task for task in expected if task["completed"]]
    assert await get("?completed=false&limit=2") == [task for task in expected if not task["completed"]][:2]


async def test_tasks_of_the_same_millisecond_have_an_order(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    time = datetime.fromisoformat(task["created_at"])
    async with AsyncSession(api.app.state.engine) as session:
        session.add_all(
            Task(user_id="ada", title=f"{number}", created_at=time, updated_at=time) for number in range(30)
        )
        await session.commit()
    pages = [(await api("GET", f"{path}?limit=7&offset={start}", token)).json() for start in range(0, 35, 7)]
    ids = [one["id"] for page in pages for one in page]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 31


BAD_QUERIES = [
    "completed=yes",
    "completed=1",
    "completed=",
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=ten",
    "limit=1.0",
    "limit=1_0",
    "limit=",
    "offset=-1",
    f"offset={2**53}",
    f"offset={'9' * 5000}",
]


async def test_a_bad_query_is_422(api: Api, token: str, path: str) -> None:
    for query in BAD_QUERIES:
        answer = await api("GET", f"{path}?{query}", token)
        assert answer.status_code == 422, query
        [issue] = answer.json()["detail"]
        assert set(issue) == ISSUE_MEMBERS
        assert issue["loc"] == ["query", query.split("=")[0]]


BAD_TITLES: list[Any] = [
    None,
    1,
    True,
    [],
    {},
    "",
    " ",
    "\t\r\n",
    "\u3000\u00a0",
    "\x85",
    "\ufeff",
    "x" * 201,
    "a\0b",
    "\ud800",
]
BAD_BODIES: list[tuple[Any, list[str]]] = [
    *(({"title": title}, ["body", "title"]) for title in BAD_TITLES),
    ({}, ["body", "title"]),
    ({"title": "x", "description": "x" * 2001}, ["body", "description"]),
    ({"title": "x", "description": "a\0b"}, ["body", "description"]),
    ({"title": "x", "description": 1}, ["body", "description"]),
    ({"title": "x", "completed": None}, ["body", "completed"]),
    ({"title": "x", "completed": 1}, ["body", "completed"]),
    ({"title": "x", "completed": "true"}, ["body", "completed"]),
    ({"title": "x", "user_id": "bob"}, ["body", "user_id"]),
    ({"title": "x", "id": str(uuid.uuid4())}, ["body", "id"]),
    ({"title": "x", "created_at": "2026-01-02T03:04:05.678Z"}, ["body", "created_at"]),
    ({"title": "x", "\ud800": 1}, ["body"]),
    (None, ["body"]),
    ([], ["body"]),
    ("title", ["body"]),
    (1, ["body"]),
]


async def test_a_bad_body_is_422(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    one = f"{path}/{task['id']}"
    for body, loc in BAD_BODIES:
        # For PATCH `{}` is a good one.
        for method, target in [("POST", path), ("PUT", one), ("PATCH", one)][: 2 if body == {} else 3]:
            answer = await api(method, target, token, content=json.dumps(body), headers=JSON)
            assert answer.status_code == 422, (method, body)
            [issue] = answer.json()["detail"]
            assert set(issue) == ISSUE_MEMBERS
            assert issue["loc"] == loc
    assert (await api("GET", path, token)).json() == [task]


MALFORMED = [
    b"\x00",
    b"{",
    b"",
    b"{'title': 'x'}",
    b"\xff",
    b'{"title": "\xff"}',
    b"[" * 60_000,
    b'{"title": ' + b"9" * 5000 + b"}",
]


async def test_malformed_json_is_422(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    one = f"{path}/{task['id']}"
    for body in MALFORMED:
        for method, target in [("POST", path), ("PUT", one), ("PATCH", one), ("PATCH", f"{one}/complete")]:
            if body == b"" and target.endswith("/complete"):
                continue
            answer = await api(method, target, token, content=body, headers=JSON)
            assert answer.status_code == 422, (method, body)
            [issue] = answer.json()["detail"]
            expected = ("missing", "Field required") if body == b"" else ("json_invalid", "JSON decode error")
            assert issue == {"loc": ["body"], "type": expected[0], "msg": expected[1]}
    assert (await api("GET", path, token)).json() == [task]


async def test_a_body_that_is_not_called_json_is_none(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    one = f"{path}/{task['id']}"
    for method, target in [("POST", path), ("PUT", one), ("PATCH", one), ("PATCH", f"{one}/complete")]:
        for headers in ({"content-type": "text/plain"}, {}):
            answer = await api(
                method, target, token, content=b'{"completed": true, "title": "x"}', headers=headers
            )
            assert answer.status_code == 422
    assert (await api("GET", path, token)).json() == [task]


async def test_a_bad_completion_is_422(api: Api, token: str, path: str) -> None:
    task = await create(api, token)
    bad: list[Any] = [{"completed": None}, {"completed": 1}, {"done": True}, [], 1, None]
    for body in bad:
        target = f"{path}/{task['id']}/complete"
        answer = await api("PATCH", target, token, content=json.dumps(body), headers=JSON)
        assert answer.status_code == 422, body
    assert (await api("GET", f"{path}/{task['id']}", token)).json() == task


async def test_a_title_is_kept_as_it_was_given(api: Api, token: str) -> None:
    for title in ("x", "x" * 200, "😀" * 200, " a ", "\u200b", "'; DROP TABLE tasks; --", "<b>"):
        task = await create(api, token, title, description=title)
        assert (task["title"], task["description"]) == (title, title)
        assert (await api("GET", f"/api/v1/tasks/{task['id']}", token)).json() == task


async def test_what_is_not_there_is_404(api: Api, token: str, path: str) -> None:
    # An id has one spelling.
    mine = (await create(api, token, "mine"))["id"]
    for task_id in (str(uuid.uuid4()), mine.replace("-", ""), f"{{{mine}}}", f"urn:uuid:{mine}", "1", "null", "x" * 500, "%00", "%F0%9F%98%80"):
        for method, suffix, body in [
            ("GET", "", None),
            ("DELETE", "", None),
            ("PUT", "", {"title": "x"}),
            ("PATCH", "", {}),
            ("PATCH", "", {"title": "x"}),
            ("PATCH", "/complete", {}),
        ]:
            answer = await api(method, f"{path}/{task_id}{suffix}", token, json=body)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Task not found"}), method


async def test_an_id_is_the_same_in_capitals(api: Api, token: str) -> None:
    task = await create(api, token)
    assert (await api("GET", f"/api/v1/tasks/{task['id'].upper()}", token)).json() == task


async def test_changes_at_the_same_time_do_not_undo_each_other(api: Api, token: str) -> None:
    task = await create(api, token)
    one = f"/api/v1/tasks/{task['id']}"
    bodies = [{"title": "new"}, {"description": "new"}, {"completed": True}] * 5
    answers = await asyncio.gather(*(api("PATCH", one, token, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    after = (await api("GET", one, token)).json()
    assert (after["title"], after["description"], after["completed"]) == ("new", "new", True)


async def test_changing_and_deleting_at_the_same_time_is_200_or_404(api: Api, token: str) -> None:
    for _ in range(5):
        task = await create(api, token)
        one = f"/api/v1/tasks/{task['id']}"
        changes = [api("PATCH", one, token, json={"title": f"{number}"}) for number in range(5)]
        *changed, first, second = await asyncio.gather(
            *changes, api("DELETE", one, token), api("DELETE", one, token)
        )
        assert {answer.status_code for answer in changed} <= {200, 404}
        assert sorted([first.status_code, second.status_code]) == [204, 404]
