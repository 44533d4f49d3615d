#!/bin/sh
# Starts the app and has schemathesis look for answers that openapi.json does not promise, for about a
# minute: as a user, as an admin, and in between without a token or with a bad one. Needs Python 3.10 or newer, and pip.
#
# usage: [SCHEMATHESIS=program] schemathesis.sh [path of the binary]
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
venv=$target/schemathesis
tool=${SCHEMATHESIS:-$venv/bin/schemathesis}
port=${PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
base=http://localhost:$port

if ! command -v "$tool" >/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" --quiet --disable-pip-version-check install 'schemathesis>=4,<5'
fi
app=${1:-}
if [ -z "$app" ]; then
    (cd "$root" && cargo build -p tasks-axum)
    app=$target/debug/tasks-axum
fi

work=$(mktemp -d)
cd "$work"
# Nothing of the surroundings' own: neither their database nor their secrets.
env -u DATABASE_URL -u JWT_SECRET -u BETTER_AUTH_URL -u BETTER_AUTH_SECRET -u AUTH_ISSUER -u AUTH_AUDIENCE \
    -u FRONTEND_ORIGINS -u PORTCULLIS_ENV HOST=127.0.0.1 PORT="$port" "$app" >"$work/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT

tries=0
until curl -fs "$base/api/health" >/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $server 2>/dev/null; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.1
done

# Signs somebody up, and prints id and token.
person() {
    json='content-type: application/json'
    curl -fs -c "$work/$1" "$base/api/auth/sign-up/email" -H "$json" \
        -d "{\"name\":\"$1\",\"email\":\"$1@example.com\",\"password\":\"correct horse battery\"}" >"$work/$1.json"
    if [ "$1" = admin ]; then
        # What an operator does: there is no route that makes admins.
        python3 -c "
import sqlite3
with sqlite3.connect('tasks.db') as database:
    database.execute('update user set role = ? where email = ?', ('admin', 'admin@example.com'))"
        curl -fs -c "$work/$1" "$base/api/auth/sign-in/email" -H "$json" \
            -d '{"email":"admin@example.com","password":"correct horse battery"}' >"$work/$1.json"
    fi
    id=$(sed 's/.*"user":{[^}]*"id":"\([^"]*\)".*/\1/' "$work/$1.json")
    token=$(curl -fs -b "$work/$1" "$base/api/auth/token" | cut -d'"' -f4)
    # The app knows people from their first request on.
    curl -fs -o "$work/first" "$base/api/v1/tasks" -H "authorization: Bearer $token"
}

# The caller's own id is put into paths: with one that is made up everything is 403. Admins switch somebody
# else off, because switching oneself off is refused, which no schema can say. A task has two
# addresses, and schemathesis, which knows nothing of that, would miss under one what it removed under the
# other: each run leaves one of them out.
run() {
    cat >"$work/schemathesis.toml" <<END
[parameters]
"path.user_id" = "$id"
[[operations]]
include-path = "/api/admin/users/{user_id}"
[operations.parameters]
"path.user_id" = "$other"
END
    "$tool" --config-file "$work/schemathesis.toml" run "$base/openapi.json" \
        --checks all --header "Authorization: Bearer $token" --exclude-path-regex "$1" \
        --max-time 25 --continue-on-failure --suppress-health-check all --no-color >"$work/said" || {
        cat "$work/said"
        exit 1
    }
    tail -n 25 "$work/said"
    # That nothing was found means something only if it got that far, with data that fit.
    if grep -q 'Missing test data' "$work/said" || ! grep -q 'Stateful' "$work/said"; then
        echo 'schemathesis did not come to the routes' >&2
        exit 1
    fi
}

person other
other=$id
person user
run '^/api/v1/'
person admin
run '/todos'

if grep -q ' ERROR ' "$work/log"; then
    grep ' ERROR ' "$work/log" >&2
    exit 1
fi
