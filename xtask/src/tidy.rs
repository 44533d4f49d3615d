//! `tidy`: the layout's invariants. Each is a row of a table here or a small function, and each has a
//! test that shows it failing.

use std::collections::BTreeSet;

use crate::source::{self, code, identifier, line, words};
use crate::tree::{FEATURES, Tree, is_test};

/// Cargo flags that are no rooms.
const OTHER_FLAGS: [&str; 5] = ["default", "full", "redis", "test-mode", "testing"];
/// What a room's manual has, in this order.
const HEADINGS: [&str; 8] =
    ["What it does", "Switch it on", "Options", "Routes", "Errors", "Tables", "Security", "Differences"];
/// The front door of a room with files of its own fits on a screen or two.
const FRONT_DOOR_LINES: usize = 100;
/// Which route lets whom in.
const AUTHORIZATION: &str = "docs/authorization.md";

/// Which past hole has which test.
const SECURITY_TESTS: &str = "docs/security-tests.md";

/// A crate that may be named only in some places.
struct Arrow {
    name: &'static str,
    /// Where the rule holds.
    within: &'static str,
    /// Prefixes of paths, or names of files, that may.
    may: &'static [&'static str],
    why: &'static str,
}

const ARROWS: [Arrow; 4] = [
    Arrow {
        name: "sqlx",
        within: "crates/",
        may: &["crates/core/src/store/", "crates/core/src/testing/"],
        why: "SQL is spoken in crates/core/src/store alone",
    },
    Arrow {
        name: "sea_query",
        within: "crates/",
        may: &["crates/core/src/store/", "crates/core/src/testing/"],
        why: "SQL is spoken in crates/core/src/store alone",
    },
    Arrow {
        name: "reqwest",
        within: "crates/",
        // `verify` goes into services that know nothing of the server, so it has a client of its own.
        may: &["crates/core/src/outbound.rs", "crates/verify/src/outbound.rs"],
        why: "requests to the outside go through core::outbound, which knows what to refuse",
    },
    Arrow {
        name: "axum",
        within: FEATURES,
        may: &["mod.rs", "routes.rs", "tests.rs"],
        why: "routes → service → store: only mod.rs and routes.rs of a room know HTTP",
    },
];

/// Texts that do not belong into the project, in any file. Written in two halves, so that this file
/// is not its own first find.
const BANNED: [(&str, &str); 8] = [
    (concat!("/wo", "rk/"), "a path of some machine"),
    (concat!("/ro", "ot/"), "a path of some machine"),
    (concat!("/ho", "me/"), "a path of some machine"),
    (concat!("/tmp", "/inst"), "a path of some machine"),
    (concat!("artifact", "ory"), "a registry's host"),
    (
        concat!("registry.np", "mjs.org"),
        "a registry's host; make lockfiles with --omit-lockfile-registry-resolved",
    ),
    (concat!("static.crat", "es.io"), "a registry's host"),
    (concat!("sub", "agent"), "a word about how the work is done"),
];

/// Rust that is not finished.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Everything that is wrong, one line each, beginning with the place.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    arrows(tree, &mut problems);
    rooms_apart(tree, &mut problems);
    names(tree, &mut problems);
    manuals(tree, &mut problems);
    front_doors(tree, &mut problems);
    authorization(tree, &mut problems);
    security_tests(tree, &mut problems);
    texts(tree, &mut problems);
    problems
}

fn arrows(tree: &Tree, problems: &mut Vec<String>) {
    for Arrow { name, within, may, why } in ARROWS {
        for (path, text) in tree.under(within).filter(|(path, _)| path.ends_with(".rs")) {
            let file = path.rsplit('/').next().unwrap_or(path);
            if may
                .iter()
                .any(|place| if place.contains('/') { path.starts_with(place) } else { file == *place })
            {
                continue;
            }
            let code = code(text);
            for at in words(&code, name) {
                let used =
                    code.get(at + name.len()..).is_some_and(|rest| rest.trim_start().starts_with("::"));
                let imported = code.get(..at).is_some_and(|before| before.trim_end().ends_with("use"));
                if used || imported {
                    problems.push(format!("{path}:{}: `{name}`: {why}", line(text, at)));
                }
            }
        }
    }
}

/// Rooms meet at seams, never by name.
fn rooms_apart(tree: &Tree, problems: &mut Vec<String>) {
    let rooms = tree.rooms();
    for (path, text) in tree.under(FEATURES).filter(|(path, _)| path.ends_with(".rs")) {
        let Some((room, within)) = path.strip_prefix(FEATURES).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        // Tests may need two rooms at once: they talk HTTP, but they switch rooms on by their options.
        if is_test(within) {
            continue;
        }
        let code = code(text);
        let mut reached: Vec<(usize, &str)> = Vec::new();
        for at in words(&code, "features") {
            let Some(rest) = code.get(at + "features".len()..).and_then(|rest| rest.strip_prefix("::"))
            else {
                continue;
            };
            match rest.strip_prefix('{') {
                Some(group) => {
                    let group = group.split('}').next().unwrap_or_default();
                    reached.extend(group.split(',').map(|item| (at, identifier(item.trim()))));
                }
                None => reached.push((at, identifier(rest))),
            }
        }
        // As many `super`s as lead out of the room; within it they are the room's own business.
        let depth = within.split('/').count() - usize::from(within.ends_with("mod.rs")) + 1;
        let out = "super::".repeat(depth);
        for (at, _) in code.match_indices(&out) {
            reached.push((at, identifier(code.get(at + out.len()..).unwrap_or_default())));
        }
        for (at, other) in reached {
            if other != room && rooms.contains(other) {
                problems.push(format!(
                    "{path}:{}: the room `{room}` reaches into `{other}`; rooms meet at seams, or in core",
                    line(text, at)
                ));
            }
        }
    }
}

/// One name: folder = a line in the list = cargo flag and plugin (base rooms have neither).
fn names(tree: &Tree, problems: &mut Vec<String>) {
    let rooms = tree.rooms();
    if rooms.is_empty() {
        return;
    }
    let manifest = "crates/auth/Cargo.toml";
    let flags = flags(tree.get(manifest).unwrap_or_default());
    let full =
        flags.iter().find(|(flag, _)| flag == "full").map(|(_, parts)| parts.clone()).unwrap_or_default();
    let listed = format!("{FEATURES}mod.rs");
    let list = code(tree.get(&listed).unwrap_or_default());
    for (flag, _) in flags.iter().filter(|(flag, _)| !OTHER_FLAGS.contains(&flag.as_str())) {
        if !rooms.contains(&flag.replace('-', "_")) {
            problems.push(format!("{manifest}: the flag `{flag}` has no room"));
        }
        if !full.contains(flag) {
            problems.push(format!("{manifest}: the flag `{flag}` is not part of `full`"));
        }
    }
    let entries = source::rooms_list(tree.get(&listed).unwrap_or_default());
    for room in &rooms {
        let flag = room.replace('_', "-");
        let has_flag = flags.iter().any(|(name, _)| *name == flag);
        let own: Vec<_> = entries.iter().filter(|(name, _)| name == room).collect();
        match own.as_slice() {
            [(_, None)] if has_flag => {
                problems.push(format!("{listed}: `{room}` is a base room and has the cargo flag `{flag}`"));
            }
            [(_, None)] => {}
            [(_, Some(plugin))] => {
                if !has_flag {
                    problems.push(format!("{FEATURES}{room}: has no cargo flag `{flag}` in {manifest}"));
                }
                if plain(plugin) != plain(room) {
                    problems.push(format!("{listed}: the room `{room}` has the plugin name `{plugin}`"));
                }
            }
            _ => problems.push(format!("{listed}: LIST has `{room}` {} times; one line per room", own.len())),
        }
        let lines = words(&list, room)
            .filter(|at| list.get(..*at).is_some_and(|before| before.trim_end().ends_with("mod")))
            .count();
        if lines != 1 {
            problems.push(format!("{listed}: declares `mod {room}` {lines} times; one line per room"));
        }
    }
    for at in words(&list, "mod") {
        let name = identifier(list.get(at + "mod".len()..).unwrap_or_default().trim_start());
        if !rooms.contains(name) && name != "tests" && !name.is_empty() {
            problems.push(format!("{listed}: `mod {name}` is no room's folder"));
        }
    }
}

/// `[features]` of a manifest, as written: one line each.
fn flags(manifest: &str) -> Vec<(String, Vec<String>)> {
    let lines = manifest.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split('#').next().unwrap_or_default().split_once('='))
        .map(|(flag, parts)| {
            let parts = parts.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            (flag.trim().trim_matches('"').to_owned(), parts)
        })
        .collect()
}

/// A name without its spelling: `two_factor`, `twoFactor`, `Two-factor`.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn manuals(tree: &Tree, problems: &mut Vec<String>) {
    for room in tree.rooms() {
        let path = format!("{FEATURES}{room}/README.md");
        let Some(text) = tree.get(&path) else {
            problems.push(format!("{path}: is missing; half a room"));
            continue;
        };
        let title = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
        if plain(title) != plain(&room) {
            problems.push(format!("{path}: its heading is `{title}`, not the folder's name"));
        }
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(str::trim)
            .filter(|h| HEADINGS.contains(h))
            .collect();
        for heading in HEADINGS.iter().filter(|heading| !found.contains(heading)) {
            problems.push(format!("{path}: has no heading `## {heading}`"));
        }
        let mut sorted = found.clone();
        sorted.sort_by_key(|heading| HEADINGS.iter().position(|one| one == heading));
        if sorted != found {
            problems.push(format!("{path}: its headings are not in the common order"));
        }
    }
}

fn front_doors(tree: &Tree, problems: &mut Vec<String>) {
    for room in tree.rooms() {
        let folder = format!("{FEATURES}{room}/");
        let Some(door) = tree.get(&format!("{folder}mod.rs")) else {
            problems.push(format!("{folder}mod.rs: is missing"));
            continue;
        };
        let lines = door.lines().count();
        if tree.get(&format!("{folder}routes.rs")).is_some() && lines > FRONT_DOOR_LINES {
            problems.push(format!(
                "{folder}mod.rs: has {lines} lines; a front door has at most {FRONT_DOOR_LINES}"
            ));
        }
    }
}

/// Every route has a row, and every row a route.
fn authorization(tree: &Tree, problems: &mut Vec<String>) {
    // `/ok` and its like are not a room's.
    let sources = tree.under("crates/core/src/").chain(tree.under("crates/auth/src/"));
    let routes: BTreeSet<String> = sources
        .filter(|(path, _)| path.ends_with(".rs") && !is_test(path) && !path.contains("/testing/"))
        .flat_map(|(_, text)| source::routes(text))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    if routes.is_empty() {
        return;
    }
    let matrix = tree.get(AUTHORIZATION).unwrap_or_default();
    let rows: BTreeSet<String> = matrix
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(route, _)| route.to_owned())
        .collect();
    for route in routes.difference(&rows) {
        problems.push(format!("{AUTHORIZATION}: has no row for `{route}`"));
    }
    for row in rows.difference(&routes) {
        problems.push(format!("{AUTHORIZATION}: `{row}` is no route"));
    }
}

/// A test that is named as the answer to a past hole is there.
fn security_tests(tree: &Tree, problems: &mut Vec<String>) {
    let Some(text) = tree.get(SECURITY_TESTS) else { return };
    let sources: Vec<&str> =
        tree.under("crates/").filter(|(path, _)| path.ends_with(".rs")).map(|(_, text)| text).collect();
    for (number, row) in text.lines().enumerate().filter(|(_, row)| row.starts_with('|')) {
        for name in row.split('`').skip(1).step_by(2) {
            // A test's name is a sentence; options and paths are not.
            let sentence = name.matches('_').count() >= 3
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let test = format!("fn {name}(");
            if sentence && !sources.iter().any(|source| source.contains(&test)) {
                problems.push(format!("{SECURITY_TESTS}:{}: there is no test `{name}`", number + 1));
            }
        }
    }
}

fn texts(tree: &Tree, problems: &mut Vec<String>) {
    for (path, text) in tree.files() {
        let lower = text.to_lowercase();
        for (banned, what) in BANNED {
            for (at, _) in lower.match_indices(banned) {
                // As a part of something longer it is not a path from the root.
                let before = lower.get(..at).and_then(|before| before.chars().next_back());
                let inside = banned.starts_with('/')
                    && before.is_some_and(|c| c.is_alphanumeric() || "/.-_~*}".contains(c));
                if !inside {
                    problems.push(format!("{path}:{}: `{banned}`: {what}", line(&lower, at)));
                }
            }
        }
        if path.ends_with(".rs") {
            let code = code(text);
            for word in UNFINISHED {
                for (at, _) in code.match_indices(word) {
                    problems.push(format!("{path}:{}: `{word}`: unfinished", line(text, at)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = "# two-factor\n## What it does\n## Switch it on\n## Options\n## Routes\n## Errors\n## Tables\n## Security\n## Differences\n";
    const MANIFEST: &str = "[features]\ndefault = [\"full\"]\nfull = [\"jwt\", \"two-factor\"]\njwt = []\ntwo-factor = []\ntesting = []\n[dependencies]\nx = \"1\"\n";
    const LIST: &str = "pub mod jwt;\npub mod session;\n#[cfg(feature = \"two-factor\")]\npub mod two_factor;\n\
        pub const LIST: &[Room] = &[Room { plugin: None, make: session::make }, Room { plugin: Some(\"jwt\"), make: jwt::make },\n\
        #[cfg(feature = \"two-factor\")] Room { plugin: Some(\"twoFactor\"), make: two_factor::make }];";

    /// A small project in which nothing is wrong, with files replaced or added.
    fn project<const N: usize>(over: [(&'static str, &'static str); N]) -> Vec<String> {
        let mut files = vec![
            ("crates/auth/Cargo.toml", MANIFEST),
            ("crates/auth/src/features/mod.rs", LIST),
            ("crates/auth/src/features/two_factor/README.md", MANUAL),
            (
                "crates/auth/src/features/two_factor/mod.rs",
                "use axum::Router;\nuse super::two_factor::routes;\n",
            ),
            (
                "crates/auth/src/features/two_factor/routes.rs",
                "fn r() { x.post(\"/two-factor/enable\", enable) }",
            ),
            ("crates/auth/src/features/two_factor/service.rs", "use super::store;\n"),
            ("crates/auth/src/features/two_factor/totp/mod.rs", "use super::super::two_factor::service;\n"),
            ("crates/auth/src/features/jwt/README.md", "# JWT\n"),
            ("crates/auth/src/features/jwt/mod.rs", "// `sqlx::query` is not used here.\n"),
            ("crates/auth/src/features/session/README.md", "# Session\n"),
            ("crates/auth/src/features/session/mod.rs", ""),
            ("crates/core/src/store/mod.rs", "use sqlx::Pool;"),
            (
                "docs/authorization.md",
                "| route | anonymous |\n|---|---|\n| `POST /two-factor/enable` | 401 |\n",
            ),
        ];
        for (path, text) in &mut files {
            // The small rooms' manuals only need their title to differ.
            if *text == "# JWT\n" || *text == "# Session\n" {
                let title = if path.contains("jwt") { "# JWT" } else { "# Session" };
                *text = Box::leak(MANUAL.replace("# two-factor", title).into_boxed_str());
            }
        }
        for (path, text) in over {
            files.retain(|(one, _)| *one != path);
            files.push((path, text));
        }
        let files: [(&str, &str); 32] =
            std::array::from_fn(|index| files.get(index).copied().unwrap_or(("LICENSE", "")));
        check(&Tree::from(files))
    }

    fn one_problem(problems: Vec<String>, expected: &str) {
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains(expected), "{problems:#?}");
    }

    #[test]
    fn a_tidy_project_has_no_problems() {
        assert_eq!(project([]), Vec::<String>::new());
    }

    #[test]
    fn sql_and_http_clients_have_one_place() {
        one_problem(
            project([("crates/auth/src/features/jwt/mod.rs", "\nuse sqlx::Row;")]),
            "jwt/mod.rs:2: `sqlx`",
        );
        one_problem(
            project([("crates/server/src/main.rs", "fn f() { sea_query::Query::select(); }")]),
            "`sea_query`",
        );
        one_problem(project([("crates/core/src/mail.rs", "use reqwest::Client;")]), "`reqwest`");
        assert!(project([("crates/core/src/outbound.rs", "use reqwest::Client;")]).is_empty());
    }

    #[test]
    fn services_and_stores_know_no_http() {
        one_problem(
            project([("crates/auth/src/features/two_factor/service.rs", "use axum::Json;")]),
            "two_factor/service.rs:1: `axum`",
        );
    }

    #[test]
    fn rooms_do_not_reach_into_rooms() {
        let file = "crates/auth/src/features/two_factor/service.rs";
        for text in [
            "use crate::features::jwt::x;",
            "use crate::features::{jwt, two_factor};",
            "use super::super::jwt::x;",
        ] {
            one_problem(project([(file, text)]), "`two_factor` reaches into `jwt`");
        }
        one_problem(
            project([("crates/auth/src/features/two_factor/totp/mod.rs", "use super::super::session::x;")]),
            "reaches into `session`",
        );
        assert!(project([(file, "use super::jwt;")]).is_empty(), "a module of the room's own");
        assert!(
            project([("crates/auth/src/features/two_factor/tests.rs", "use crate::features::jwt::x;")])
                .is_empty()
        );
    }

    #[test]
    fn folder_flag_list_and_heading_are_one_name() {
        let list = "crates/auth/src/features/mod.rs";
        let with =
            |from: &str, to: &str| -> &'static str { Box::leak(LIST.replace(from, to).into_boxed_str()) };
        one_problem(project([(list, with("pub mod two_factor;", ""))]), "declares `mod two_factor` 0 times");
        one_problem(
            project([(list, with("pub mod jwt;", "pub mod jwt; mod gone; mod tests;"))]),
            "`mod gone` is no room's folder",
        );
        one_problem(
            project([(list, with("Room { plugin: None, make: session::make }, ", ""))]),
            "LIST has `session` 0 times",
        );
        one_problem(project([(list, with("\"twoFactor\"", "\"mfa\""))]), "has the plugin name `mfa`");
        one_problem(
            project([(list, with("Some(\"jwt\")", "None"))]),
            "`jwt` is a base room and has the cargo flag",
        );
        one_problem(
            project([("crates/auth/Cargo.toml", "[features]\nfull = [\"two-factor\"]\ntwo-factor = []\n")]),
            "has no cargo flag `jwt`",
        );
        one_problem(
            project([(
                "crates/auth/Cargo.toml",
                "[features]\nfull = [\"jwt\", \"two-factor\"]\njwt = []\ntwo-factor = []\npasskey = []\n",
            )])
            .into_iter()
            .filter(|problem| !problem.contains("part of `full`"))
            .collect(),
            "`passkey` has no room",
        );
        one_problem(
            project([("crates/auth/src/features/session/README.md", MANUAL)]),
            "its heading is `two-factor`",
        );
    }

    #[test]
    fn a_manual_has_every_heading_in_order() {
        let path = "crates/auth/src/features/two_factor/README.md";
        one_problem(
            project([(path, Box::leak(MANUAL.replace("## Tables\n", "").into_boxed_str()))]),
            "no heading `## Tables`",
        );
        one_problem(
            project([(
                path,
                Box::leak(
                    MANUAL.replace("## Tables\n## Security", "## Security\n## Tables").into_boxed_str(),
                ),
            )]),
            "not in the common order",
        );
    }

    #[test]
    fn a_front_door_is_short() {
        let long: &str = Box::leak("// line\n".repeat(101).into_boxed_str());
        one_problem(project([("crates/auth/src/features/two_factor/mod.rs", long)]), "has 101 lines");
        assert!(
            project([("crates/auth/src/features/jwt/mod.rs", long)]).is_empty(),
            "a small room is one file"
        );
    }

    #[test]
    fn the_authorization_matrix_and_the_routes_agree() {
        one_problem(project([("docs/authorization.md", "")]), "no row for `POST /two-factor/enable`");
        one_problem(
            project([("docs/authorization.md", "| `POST /two-factor/enable` | x |\n| `GET /gone` | x |\n")]),
            "`GET /gone` is no route",
        );
    }

    #[test]
    fn a_test_that_answers_a_past_hole_is_there() {
        let table = "| hole | test |\n|---|---|\n| x, `skip_a`, `/a_b_c_d` | `a_hole_stays_closed` |\n";
        one_problem(project([("docs/security-tests.md", table)]), "there is no test `a_hole_stays_closed`");
        let test = ("crates/auth/tests/it/holes.rs", "async fn a_hole_stays_closed() {}");
        assert!(project([("docs/security-tests.md", table), test]).is_empty());
    }

    #[test]
    fn machines_and_registries_are_not_named() {
        one_problem(project([("a.md", concat!("see\n/wo", "rk/x"))]), "a.md:2");
        one_problem(
            project([("package-lock.json", concat!("\"https://registry.np", "mjs.org/x\""))]),
            "registry's host",
        );
        assert!(project([("a.md", concat!("https://example.com/ho", "me/x"))]).is_empty());
    }

    #[test]
    fn unfinished_code_is_found_and_words_about_it_are_not() {
        one_problem(project([("crates/core/src/a.rs", "fn f() { todo!() }")]), "`todo!`");
        assert!(
            project([("crates/core/src/a.rs", "// todo!() and #[ignore]\nconst X: &str = \"dbg!\";")])
                .is_empty()
        );
    }
}
