"""The real servers that the tests run against: Portcullis, PostgreSQL, and this API under uvicorn.

Each listens on a free port of 127.0.0.1, keeps its data in a folder of its own, and ends with the
fixture that started it.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0
# Portcullis refuses to share the secret that its own cookies are signed with.
SECRET = "a secret of the tests, which nobody else has"
JWT_SECRET = "a secret that Portcullis and this API share"


def portcullis_binary() -> Path:
    built = PROJECT.parents[1] / "target/release/portcullis"
    path = Path(os.environ.get("PORTCULLIS_BIN", built))
    assert path.is_file(), (
        f"there is no Portcullis at {path}: `cargo build --release` in the repository, "
        "or PORTCULLIS_BIN=/path/to/portcullis"
    )
    return path


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# A shell holds the server and waits for its own standard input to close, which the kernel sees to however
# the tests end.
HOLD = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(cat <&3 >/dev/null; kill "$server") 2>/dev/null &
wait "$server"
"""


class Process:
    """A server that was started, and its log."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self._shell = subprocess.Popen(
                ["sh", "-c", HOLD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests, which then end it.
                start_new_session=True,
                **options,
            )

    def wait_until(self, ready: Callable[[], bool]) -> bool:
        """False when it ended before it was ready: somebody else may have taken the port."""
        end = time.monotonic() + PATIENCE
        while not ready():
            if self._shell.poll() is not None:
                self.stop()
                return False
            assert time.monotonic() < end, f"{self.log} says why it does not answer:\n{self.log.read_text()}"
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        try:
            self._shell.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()


def start(
    command: Callable[[int], list[str]],
    answers: Callable[[int], bool],
    log: Path,
    at: int | None = None,
    **options: Any,
) -> tuple[Process, int]:
    for _ in range(5):
        port = at or free_port()
        process = Process(command(port), log, **options)
        if process.wait_until(partial(answers, port)):
            return process, port
    raise AssertionError(f"it does not start:\n{log.read_text()}")


def answers_http(path: str) -> Callable[[int], bool]:
    def ask(port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


# ---- Portcullis


@dataclass
class Person:
    """A user of Portcullis, with their session."""

    id: str
    email: str
    password: str
    session: httpx.Client
    auth: "Portcullis"

    def token(self) -> str:
        """A new JWT, as the front end gets it."""
        answer = self.session.get("/api/auth/token")
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def token_from(self, jwt: dict[str, Any]) -> str:
        """One that this Portcullis would make with these options."""
        with self.auth.elsewhere({"plugins": {"jwt": {"jwt": jwt}}}) as url:
            answer = httpx.get(f"{url}/api/auth/token", cookies=self.session.cookies, trust_env=False)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def expired_token(self) -> str:
        return self.token_from({"expirationTime": "-1m"})

    def rename(self, name: str) -> None:
        answer = self.session.post("/api/auth/update-user", json={"name": name})
        assert answer.status_code == 200, answer.text

    @property
    def session_token(self) -> str:
        [cookie] = [value for name, value in self.session.cookies.items() if name.endswith("session_token")]
        return cookie


class Portcullis:
    """The real server, with a SQLite file."""

    def __init__(self, folder: Path, **plugins: Any) -> None:
        self.folder = folder
        self.plugins = {"jwt": {}} | plugins
        self._sessions: list[httpx.Client] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._process, port = self._listen({}, folder / "portcullis.log")
        self.url = f"http://127.0.0.1:{port}"

    def _listen(self, changes: dict[str, Any], log: Path, port: int | None = None) -> tuple[Process, int]:
        def command(port: int) -> list[str]:
            settings = {
                "baseURL": getattr(self, "url", f"http://127.0.0.1:{port}"),
                "secret": SECRET,
                "http": {"listen": f"127.0.0.1:{port}"},
                "database": {"url": f"sqlite:{self.folder / 'auth.db'}"},
                "emailAndPassword": {"enabled": True},
                "user": {"additionalFields": {"role": {"type": "string", "required": False, "input": False}}},
                "plugins": self.plugins,
            }
            config = self.folder / f"portcullis-{port}.json"
            config.write_text(json.dumps(merged(settings, changes)))
            return [str(portcullis_binary()), "--config", str(config)]

        # Whatever is set around the tests is not meant for this server.
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PORTCULLIS", "BETTER_AUTH", "AUTH_", "DATABASE_URL", "JWT_", "NODE_ENV"))
        }
        if self.plugins["jwt"].get("algorithm") == "HS256":
            clean["JWT_SECRET"] = JWT_SECRET
        return start(command, answers_http("/api/auth/ok"), log, port, cwd=self.folder, env=clean)

    @contextmanager
    def elsewhere(self, changes: dict[str, Any]) -> Iterator[str]:
        """Another process over the same data and with the same public address, set differently."""
        process, port = self._listen(changes, self.folder / "elsewhere.log")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stop()

    def restart(self) -> None:
        """At the same address, over the same data."""
        self._process.stop()
        port = int(self.url.rsplit(":", 1)[1])
        self._process, _ = self._listen({}, self.folder / "portcullis.log", port)

    def stop(self) -> None:
        self._process.stop()
        for session in self._sessions:
            session.close()

    def sign_up(self, name: str = "ada") -> Person:
        email = f"{name.lower()}-{secrets.token_hex(6)}@example.com"
        password = "correct horse battery"
        # Browsers send the origin by themselves.
        session = httpx.Client(base_url=self.url, headers={"origin": self.url}, trust_env=False)
        self._sessions.append(session)
        answer = session.post(
            "/api/auth/sign-up/email", json={"name": name, "email": email, "password": password}
        )
        assert answer.status_code == 200, answer.text
        return Person(answer.json()["user"]["id"], email, password, session, self)

    def sign_up_admin(self, role: str = "admin") -> Person:
        person = self.sign_up("root")
        self.sql("UPDATE user SET role = ? WHERE id = ?", role, person.id)
        # The session of before may still be remembered with the user as it was.
        answer = person.session.post(
            "/api/auth/sign-in/email", json={"email": person.email, "password": person.password}
        )
        assert answer.status_code == 200, answer.text
        return person

    def sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.folder / "auth.db", timeout=10)) as database, database:
            database.execute(statement, values)

    def key_set(self) -> Any:
        return httpx.get(f"{self.url}/api/auth/jwks", trust_env=False).json()


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    for name in one.keys() & other.keys():
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            both[name] = merged(one[name], other[name])
    return both


# ---- PostgreSQL


class Postgres:
    """A cluster of the tests' own. `Postgres.programs()` is None where it is not installed."""

    def __init__(self, programs: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tasks-fastapi-"))
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            entry = account("postgres", "nobody")
            shutil.chown(self._folder, entry.pw_uid, entry.pw_gid)
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        data = self._folder / "data"
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            cwd=self._folder,
            capture_output=True,
            **user,
        )

        def command(port: int) -> list[str]:
            listen = ["-p", str(port), "-h", "127.0.0.1", "-k", str(self._folder)]
            fast = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
            return [str(programs / "postgres"), "-D", str(data), *listen, *fast]

        def answers(port: int) -> bool:
            ask: list[str | Path] = [
                programs / "pg_isready",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "postgres",
            ]
            return subprocess.run(ask, check=False, cwd="/").returncode == 0

        log = self._folder / "log"
        log.touch()
        self._process, self.port = start(command, answers, log, cwd=self._folder, **user)
        self._psql: list[str | Path] = [
            programs / "psql",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
        ]

    @staticmethod
    def programs() -> Path | None:
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
        )
        if (initdb := shutil.which("initdb")) is not None:
            found.append(Path(initdb).parent)
        complete = [
            path for path in found if all((path / name).is_file() for name in ("initdb", "postgres", "psql"))
        ]
        return complete[0] if complete else None

    def empty_database(self) -> str:
        # One after the other in the same database: making one takes longer than most tests.
        empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        subprocess.run(
            [*self._psql, "-c", empty],
            check=True,
            cwd="/",
            env=os.environ | {"PGOPTIONS": "-c client_min_messages=error"},
        )
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def account(*names: str) -> pwd.struct_passwd:
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError(f"there is no account to run PostgreSQL with: {names}")


# ---- this API, as the README starts it


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    def command(port: int) -> list[str]:
        environment["PORT"] = str(port)
        return [sys.executable, "-m", "app"]

    # The folder has no `.env`, which must not change what is tested.
    environment.update(settings, PYTHONPATH=str(PROJECT))
    process, port = start(
        command, answers_http("/api/health"), folder / "api.log", cwd=folder, env=environment
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()
