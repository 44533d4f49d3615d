"""schemathesis makes up requests from the OpenAPI document, good ones and bad ones, and compares the
answers with it. It must find nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.servers import Portcullis, serving

SECONDS = 20


# One after the other: both are names of the same tasks, and schemathesis would miss under one name what
# it has deleted under the other.
@pytest.mark.parametrize(
    ("paths", "database"),
    [("^/api/(v1|admin|health)", "postgresql"), ("^/api/users", "sqlite")],
    indirect=["database"],
)
def test_schemathesis_finds_nothing(
    portcullis: Portcullis, tmp_path: Path, database: str, paths: str
) -> None:
    # An admin, because everything is open to them; and a path's user is they, or all would be 403.
    admin, bob = portcullis.sign_up_admin(), portcullis.sign_up("Bob")
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        f"""
        [[operations]]
        include-path-regex = "^/api/users/"
        parameters = {{ "path.user_id" = {json.dumps(admin.id)} }}

        [[operations]]
        include-path = "/api/admin/users/{{user_id}}"
        parameters = {{ "path.user_id" = {json.dumps(bob.id)} }}
        """
    )
    with serving(tmp_path, AUTH_URL=portcullis.url, DATABASE_URL=database) as url:
        # This API knows those who have been here.
        answer = httpx.get(
            f"{url}/api/v1/tasks", headers={"authorization": f"Bearer {bob.token()}"}, trust_env=False
        )
        assert answer.status_code == 200
        schemathesis = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"]
        found = subprocess.run(
            [
                *(*schemathesis, "run", f"{url}/openapi.json", "--include-path-regex", paths),
                *("--header", f"Authorization: Bearer {admin.token()}", "--checks", "all"),
                *("--max-time", str(SECONDS), "--generation-database", "none"),
            ],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS * 4,
        )
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Missing test data" not in found.stdout
    assert "✅ Stateful" in found.stdout
