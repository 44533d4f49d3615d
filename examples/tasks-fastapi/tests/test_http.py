"""What has nothing to do with tasks: health, errors, limits, CORS, the OpenAPI document."""

from collections.abc import AsyncIterator

import pytest

from app.config import database_address
from app.db import make_engine
from tests.conftest import Api
from tests.keys import SigningKey

pytestmark = pytest.mark.anyio

FRONT_END = "http://localhost:3000"


async def test_health_and_the_document_are_public(api: Api) -> None:
    answer = await api("GET", "/api/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    answer = await api("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")


@pytest.mark.parametrize(
    "path", ["/", "/api/nothing", "/api/v1/tasks/", "/api/users/ada", "/api/users/ada/profile/"]
)
async def test_what_is_not_there_is_404_and_never_a_redirect(api: Api, path: str) -> None:
    answer = await api("GET", path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/v1/tasks", "GET, POST"),
        ("POST", "/api/v1/tasks/1", "DELETE, GET, PATCH, PUT"),
        ("GET", "/api/v1/tasks/1/complete", "PATCH"),
        ("PUT", "/api/users/ada/todos", "GET, POST"),
        ("PATCH", "/api/users/ada/profile", "GET"),
        ("DELETE", "/api/admin/users/ada", "PATCH"),
        ("POST", "/api/health", "GET"),
    ],
)
async def test_the_wrong_method_is_405_and_names_the_right_ones(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = await api(method, path)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == allowed


async def test_a_body_over_64_kib_is_413(api: Api, key: SigningKey) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    for content in (b" " * 65_537, chunks()):
        answer = await api(
            "POST", "/api/v1/tasks", key.sign(), content=content, headers=JSON | {"origin": FRONT_END}
        )
        assert (answer.status_code, answer.json()) == (413, {"detail": "Request body too large"})
        assert answer.headers["access-control-allow-origin"] == FRONT_END
    good = b'{"title": "x"}'
    content = good + b" " * (65_536 - len(good))
    assert (await api("POST", "/api/v1/tasks", key.sign(), content=content, headers=JSON)).status_code == 201


JSON = {"content-type": "application/json"}


async def test_the_front_end_may_call(api: Api) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = await api(
            "OPTIONS",
            "/api/v1/tasks",
            headers={
                "origin": FRONT_END,
                "access-control-request-method": method,
                "access-control-request-headers": "authorization, content-type",
            },
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRONT_END
        assert method in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_errors_can_be_read_by_the_front_end_too(api: Api) -> None:
    for method, path, status in [
        ("GET", "/api/v1/tasks", 401),
        ("GET", "/x", 404),
        ("PUT", "/api/v1/tasks", 405),
    ]:
        answer = await api(method, path, headers={"origin": FRONT_END})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == FRONT_END
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "http://localhost:3001", "http://localhost:3000.evil.test"]
)
async def test_other_pages_may_not(api: Api, origin: str) -> None:
    preflight = {"origin": origin, "access-control-request-method": "GET"}
    for method, headers in [("OPTIONS", preflight), ("GET", {"origin": origin})]:
        answer = await api(method, "/api/v1/tasks", headers=headers)
        assert "access-control-allow-origin" not in answer.headers


async def test_a_database_that_is_away_is_503(api: Api, key: SigningKey) -> None:
    working, api.app.state.engine = (
        api.app.state.engine,
        make_engine(database_address("postgres://nobody@127.0.0.1:1/nothing")),
    )
    answer = await api("GET", "/api/v1/tasks", key.sign(), headers={"origin": FRONT_END})
    assert (answer.status_code, answer.json()) == (503, {"detail": "The database cannot be reached"})
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-allow-origin"] == FRONT_END
    # Who has no token learns nothing of it.
    assert (await api("GET", "/api/v1/tasks")).status_code == 401
    api.app.state.engine = working
    assert (await api("GET", "/api/v1/tasks", key.sign())).status_code == 200


async def test_every_answer_of_the_routes_is_documented(api: Api) -> None:
    paths = (await api("GET", "/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            if path == "/api/health":
                continue
            expected = {"401", "403", "503"}
            if "requestBody" in operation:
                expected |= {"413", "422"}
            if "{task_id}" in path or path == "/api/admin/users/{user_id}":
                expected.add("404")
            if method == "get" and path.endswith(("/tasks", "/todos", "/admin/users")):
                expected.add("422")
            [success] = set(operation["responses"]) - expected
            assert set(operation["responses"]) - {success} == expected, (method, path)
            assert success in ("200", "201", "204")
            assert operation["security"] == [{"bearer": []}]
