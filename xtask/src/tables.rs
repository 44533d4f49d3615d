//! `tables`: routes, errors, options and columns in the manuals come from the code. A region is
//! `<!-- routes -->` … `<!-- /routes -->`; in a room's README it holds the room's, in `docs/` all of them
//! (`options` there: the engine's settings; `rooms`: the manuals themselves).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::source::{self, Settings};
use crate::tree::{FEATURES, Tree};

/// What a region can hold.
const KINDS: [&str; 5] = ["routes", "errors", "options", "columns", "rooms"];
/// The engine's settings; those of single parts are in files of their own below its folder.
const CONFIG: &str = "crates/core/src/config.rs";
/// Types of the settings that are read in their own way (in order, or as one of two), and what they are to
/// the operator.
const IN_ORDER: [(&str, &str); 4] = [
    ("AdditionalFields", "BTreeMap<String, FieldSettings>"),
    ("CustomRules", "Map<String, Json>"),
    ("MailSetting", "MailSettings"),
    ("SmtpSetting", "SmtpSettings"),
];
const SECTIONS: &str = "crates/core/src/config/";
/// Errors that every room may answer with.
const CORE_ERRORS: &str = "crates/core/src/error.rs";

/// Writes every region that is not up to date.
pub fn write(root: &Path) -> Result<(), String> {
    let tree = Tree::load(root)?;
    for (path, text) in manuals(&tree) {
        let new = filled(&tree, path, text)?;
        if new != text {
            std::fs::write(root.join(path), new).map_err(|e| format!("{path}: {e}"))?;
            println!("wrote {path}");
        }
    }
    Ok(())
}

/// Manuals whose regions are not what the code says.
pub fn stale(tree: &Tree) -> Vec<String> {
    manuals(tree)
        .filter_map(|(path, text)| match filled(tree, path, text) {
            Ok(new) if new == text => None,
            Ok(_) => Some(format!("{path}: is not up to date with the code")),
            Err(problem) => Some(problem),
        })
        .collect()
}

fn manuals(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.files().filter(|(path, _)| {
        path.ends_with(".md") && (path.starts_with("docs/") || path.starts_with(FEATURES))
    })
}

fn filled(tree: &Tree, path: &str, text: &str) -> Result<String, String> {
    let room = path.strip_prefix(FEATURES).and_then(|rest| rest.split_once('/')).map(|(room, _)| room);
    let mut text = text.to_owned();
    for kind in KINDS {
        let (open, close) = (format!("<!-- {kind} -->\n"), format!("<!-- /{kind} -->"));
        let Some((before, rest)) = text.split_once(&open) else { continue };
        let Some((_, after)) = rest.split_once(&close) else {
            return Err(format!("{path}: `{}` has no `{close}`", open.trim()));
        };
        let table = match (kind, room) {
            ("routes", Some(room)) => routes(tree, &[room.to_owned()], false),
            ("routes", None) => routes(tree, &tree.rooms().into_iter().collect::<Vec<_>>(), true),
            ("errors", Some(room)) => errors(tree, &[room.to_owned()], false),
            ("errors", None) => errors(tree, &tree.rooms().into_iter().collect::<Vec<_>>(), true),
            ("options", Some(room)) => options(&room_settings(tree, room)),
            ("options", None) => options(&settings(tree)),
            ("rooms", _) => manuals_of_rooms(tree),
            (_, Some(room)) => columns(tree, &[room.to_owned()]),
            (_, None) => columns(tree, &tree.rooms().into_iter().collect::<Vec<_>>()),
        };
        text = format!("{before}{open}\n{table}\n{close}{after}");
    }
    Ok(text)
}

/// The engine's settings: `config.rs`, then its sections in files of their own.
fn settings(tree: &Tree) -> Vec<source::Settings> {
    let texts = tree.get(CONFIG).into_iter().chain(tree.under(SECTIONS).map(|(_, text)| text));
    texts.flat_map(|text| source::settings(source::without_tests(text))).collect()
}

/// A Markdown table; without rows, a word that says so.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "None.\n".into();
    }
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

fn routes(tree: &Tree, rooms: &[String], name_room: bool) -> String {
    let mut rows = Vec::new();
    for room in rooms {
        let sources = tree.room_sources(room);
        for route in sources.iter().flat_map(|(_, text)| source::routes(text)) {
            let what = sources
                .iter()
                .find_map(|(_, text)| source::function_docs(text, &route.handler))
                .unwrap_or_else(|| sentence(&route.handler));
            let mut row = vec![format!("`{} {}`", route.method, route.path), what];
            if name_room {
                row.push(room.clone());
            }
            rows.push(row);
        }
    }
    table(if name_room { &["route", "what it does", "room"] } else { &["route", "what it does"] }, &rows)
}

/// A handler whose name says it all: `list_accounts` → `List accounts`.
fn sentence(handler: &str) -> String {
    let words = handler.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn errors(tree: &Tree, rooms: &[String], name_room: bool) -> String {
    let mut rows = Vec::new();
    let mut add = |room: &str, text: &str| {
        for error in source::errors(text) {
            let mut row = vec![format!("`{}`", error.code), error.status, error.message, error.docs];
            if name_room {
                row.push(room.to_owned());
            }
            rows.push(row);
        }
    };
    if name_room {
        add("core", tree.get(CORE_ERRORS).unwrap_or_default());
    }
    for room in rooms {
        for (_, text) in tree.room_sources(room) {
            add(room, text);
        }
    }
    let head = ["code", "status", "message", "when", "room"];
    table(head.get(..if name_room { 5 } else { 4 }).unwrap_or_default(), &rows)
}

fn columns(tree: &Tree, rooms: &[String]) -> String {
    let sources = rooms.iter().flat_map(|room| tree.room_sources(room));
    let rows: Vec<_> = sources
        .flat_map(|(_, text)| source::columns(text))
        .map(|row| vec![format!("`{}`", row.table), format!("`{}`", row.column), row.kind, row.docs])
        .collect();
    table(&["table", "column", "kind", "what it holds"], &rows)
}

/// mdBook's directive for each manual: included, not copied.
fn manuals_of_rooms(tree: &Tree) -> String {
    let include = |room: String| format!("{{{{#include ../{FEATURES}{room}/README.md}}}}\n");
    tree.rooms().into_iter().map(include).collect()
}

fn room_settings(tree: &Tree, room: &str) -> Vec<Settings> {
    tree.room_sources(room)
        .iter()
        .filter(|(path, _)| !path.ends_with("wire.rs"))
        .flat_map(|(_, text)| source::settings(text))
        .filter(|settings| settings.name.ends_with("Options") || settings.name.ends_with("Settings"))
        .collect()
}

/// Options by dotted path, beginning with the struct that no other refers to.
fn options(all: &[Settings]) -> String {
    let mentions = |kind: &str, name: &str| source::words(kind, name).next().is_some();
    let top = all.iter().find(|one| {
        !all.iter().any(|other| {
            other.name != one.name && other.fields.iter().any(|field| mentions(&field.kind, &one.name))
        })
    });
    let mut rows = Vec::new();
    if let Some(top) = top {
        flatten(all, top, "", &mut rows, &mut BTreeMap::new());
    }
    table(&["option", "type", "default", "what it does"], &rows)
}

/// Adds the rows of one struct. What stands there already under another path is referred to.
fn flatten(
    all: &[Settings],
    settings: &Settings,
    prefix: &str,
    rows: &mut Vec<Vec<String>>,
    written: &mut BTreeMap<String, String>,
) {
    for field in &settings.fields {
        let path = format!("{prefix}{}", field.name);
        let rust =
            IN_ORDER.iter().find(|(kind, _)| field.kind == *kind).map_or(&*field.kind, |(_, rust)| rust);
        let inner = all
            .iter()
            .find(|one| one.name != settings.name && source::words(rust, &one.name).next().is_some());
        let Some(inner) = inner else {
            rows.push(vec![format!("`{path}`"), kind(rust), default(field), field.docs.clone()]);
            continue;
        };
        if let Some(there) = written.get(&inner.name) {
            rows.push(vec![format!("`{path}`"), format!("as `{there}`"), "–".into(), field.docs.clone()]);
            continue;
        }
        written.insert(inner.name.clone(), path.clone());
        let place = match rust {
            list if list.starts_with("Vec<") => format!("{path}[]."),
            map if map.starts_with("BTreeMap<") => format!("{path}.NAME."),
            _ => format!("{path}."),
        };
        flatten(all, inner, &place, rows, written);
    }
}

/// A Rust type in the words of a config file.
fn kind(rust: &str) -> String {
    match rust {
        "String" => "text".into(),
        "bool" => "true or false".into(),
        "Callback" => "function (`{ webhook }`)".into(),
        "TrustedOrigins" => "list of texts, or a function (`{ webhook }`)".into(),
        "Vec<String>" => "list of texts".into(),
        "BTreeMap<String, String>" => "table of texts".into(),
        "BaseUrlSettings" | "SecondaryStorageSettings" | "StoreIdentifiers" => "text, or a table".into(),
        "RateLimitFunctions" => "table of functions".into(),
        "Json" => "any".into(),
        "Map<String, Json>" => "table".into(),
        number if ["u8", "u16", "u32", "u64", "usize", "i64", "f64"].contains(&number) => "number".into(),
        other => format!("`{other}`"),
    }
}

/// What the documentation says after "Default" or before "(default)", or what the type means when it
/// says nothing.
fn default(field: &source::Field) -> String {
    let docs = &field.docs;
    if let Some((before, _)) = docs.split_once(" (default)") {
        return before.rsplit(' ').next().unwrap_or(before).to_owned();
    }
    let said = ["Default: ", "Default ", "default: "].iter().find_map(|word| docs.split_once(word));
    match said {
        Some((_, rest)) => {
            let end = rest.find([';', ',']).into_iter().chain(rest.find(". ")).chain([rest.len()]).min();
            let text = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
            text.trim_end_matches('.').trim().to_owned()
        }
        None if field.kind == "bool" && !field.optional => "false".into(),
        None => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(manual: &str) -> Tree {
        Tree::from([
            (
                "crates/auth/src/features/jwt/mod.rs",
                "/// Options.\n#[derive(Deserialize)]\n#[serde(rename_all = \"camelCase\")]\npub struct JwtOptions {\n/// Seconds. Default 900.\npub expires_in: Option<i64>, pub keys: KeyOptions }\n#[derive(Deserialize)]\npub struct KeyOptions { /// Its kind.\n pub alg: Option<String> }\nerrors! { /// None there.\n NO_KEY = 404 \"No key\"; }",
            ),
            (
                "crates/auth/src/features/jwt/routes.rs",
                "fn r() { R::new().get(\"/token\", token).get(\"/jwks\", public_keys) }\n/// A token for the session. More.\nasync fn token() {}",
            ),
            ("crates/auth/src/features/jwt/README.md", manual),
        ])
    }

    fn region(kind: &str) -> String {
        format!("before\n<!-- {kind} -->\nold\n<!-- /{kind} -->\nafter\n")
    }

    #[test]
    fn regions_are_filled_from_the_code_and_the_rest_stays() {
        for (kind, row) in [
            ("routes", "| `GET /token` | A token for the session |\n| `GET /jwks` | Public keys |"),
            ("errors", "| `NO_KEY` | 404 | No key | None there. |"),
            (
                "options",
                "| `expiresIn` | number | 900 | Seconds. Default 900. |\n| `keys.alg` | text | – | Its kind. |",
            ),
            ("columns", "None."),
            ("rooms", "{{#include ../crates/auth/src/features/jwt/README.md}}"),
        ] {
            let manual = region(kind);
            let tree = fixture(&manual);
            let new = filled(&tree, "crates/auth/src/features/jwt/README.md", &manual).unwrap();
            assert!(new.starts_with(&format!("before\n<!-- {kind} -->\n")), "{new}");
            assert!(new.ends_with(&format!("<!-- /{kind} -->\nafter\n")), "{new}");
            assert!(new.contains(row), "{kind}: {new}");
            assert!(!new.contains("old"));
            assert_eq!(stale(&tree).len(), 1);
            assert_eq!(stale(&fixture(&new)), Vec::<String>::new(), "filling twice changes nothing");
        }
    }

    #[test]
    fn options_of_one_kind_are_written_once_and_referred_to() {
        let text = "#[derive(Deserialize)] struct Settings { one: Inner, more: BTreeMap<String, Inner>, two: Inner }\n\
                    #[derive(Deserialize)] struct Inner { /// `a` (default) or `b`.\n kind: Option<String>, on: bool, off: Option<bool> }";
        let table = options(&source::settings(text));
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| `one.kind` | text | `a` | `a` (default) or `b`. |",
            "| `one.on` | true or false | false |  |",
            "| `one.off` | true or false | – |  |",
            "| `more` | as `one` | – |  |",
            "| `two` | as `one` | – |  |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_region_without_an_end_is_an_error() {
        let tree = fixture("<!-- routes -->\n");
        assert_eq!(
            stale(&tree),
            ["crates/auth/src/features/jwt/README.md: `<!-- routes -->` has no `<!-- /routes -->`"]
        );
    }
}
