//! Just enough of Rust's surface to read routes, error tables, options and columns out of a source
//! text. Not a parser: it knows strings, comments and brackets, and the project's own declarations.

/// The text with comments and the insides of strings blanked, byte for byte as long as the original,
/// so that what is found in it can be looked up there.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let mut out = Vec::with_capacity(bytes.len());
    let blank = |out: &mut Vec<u8>, from: usize, to: usize| {
        for index in from..to.min(bytes.len()) {
            out.push(if at(index) == b'\n' { b'\n' } else { b' ' });
        }
    };
    let mut index = 0;
    while index < bytes.len() {
        let start = index;
        let word_before = start > 0 && (at(start - 1).is_ascii_alphanumeric() || at(start - 1) == b'_');
        if at(index) == b'/' && at(index + 1) == b'/' {
            while index < bytes.len() && at(index) != b'\n' {
                index += 1;
            }
            blank(&mut out, start, index);
        } else if at(index) == b'/' && at(index + 1) == b'*' {
            let mut depth = 0;
            loop {
                if at(index) == b'/' && at(index + 1) == b'*' {
                    depth += 1;
                    index += 2;
                } else if at(index) == b'*' && at(index + 1) == b'/' {
                    depth -= 1;
                    index += 2;
                } else {
                    index += 1;
                }
                if depth == 0 || index >= bytes.len() {
                    break;
                }
            }
            blank(&mut out, start, index);
        } else if at(index) == b'r' && !word_before && raw_string(bytes, index).is_some() {
            let (open, hashes) = raw_string(bytes, index).unwrap_or((1, 0));
            index += open;
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            while index < bytes.len() && !bytes.get(index..).is_some_and(|rest| rest.starts_with(&close)) {
                index += 1;
            }
            index = (index + close.len()).min(bytes.len());
            out.push(b'"');
            blank(&mut out, start + 1, index - 1);
            out.push(b'"');
        } else if at(index) == b'"' {
            index += 1;
            while index < bytes.len() && at(index) != b'"' {
                index += if at(index) == b'\\' { 2 } else { 1 };
            }
            index = (index + 1).min(bytes.len());
            out.push(b'"');
            blank(&mut out, start + 1, index - 1);
            out.push(b'"');
        } else if at(index) == b'\'' && (at(index + 1) == b'\\' || at(index + 2) == b'\'') {
            // A character, not a lifetime.
            index += if at(index + 1) == b'\\' { 3 } else { 2 };
            while index < bytes.len() && at(index) != b'\'' {
                index += 1;
            }
            index = (index + 1).min(bytes.len());
            blank(&mut out, start, index);
        } else {
            // Bytes of other alphabets are blanked too, so that the result is text whatever is cut.
            out.push(if at(index).is_ascii() { at(index) } else { b' ' });
            index += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of `r##"` at this place and its number of `#`.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let hashes = bytes.get(at + 1..)?.iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some((hashes + 2, hashes))
}

/// The part before the tests that stand at a file's end.
pub fn without_tests(source: &str) -> &str {
    let code = code(source);
    let cut = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        code.get(at + mark.len()..).is_some_and(|rest| rest.trim_start().starts_with("mod "))
    });
    cut.and_then(|(at, _)| source.get(..at)).unwrap_or(source)
}

/// The position after the bracket that closes the one at `open`.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.get(open..)?.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(open + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Positions at which `word` stands as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        !(at.checked_sub(1).is_some_and(|before| part(bytes.get(before))))
            && !part(bytes.get(at + word.len()))
    })
}

/// The identifier at the start of a text.
pub fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Line number of a position, from 1.
pub fn line(source: &str, at: usize) -> usize {
    source.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

/// A string literal at the start of a text (white space before it allowed), and what follows.
fn literal(text: &str) -> Option<(&str, &str)> {
    text.trim_start().strip_prefix('"')?.split_once('"')
}

/// Bodies of `NAME! { … }` or `NAME! ( … )`: positions within the source.
fn macro_bodies<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    words(code, name).filter_map(move |at| {
        let rest = code.get(at + name.len()..)?;
        let bracket = rest.strip_prefix('!')?;
        let skipped = bracket.len() - bracket.trim_start().len();
        let open = at + name.len() + 1 + skipped;
        matches!(code.as_bytes().get(open), Some(b'{' | b'(')).then_some(())?;
        Some((open + 1, closing(code, open)? - 1))
    })
}

/// Splits at commas (or `end`) that stand in no bracket; positions are kept.
fn items(code: &str, from: usize, to: usize, end: u8) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let (mut start, mut depth) = (from, 0_i32);
    for index in from..to {
        let byte = code.as_bytes().get(index).copied().unwrap_or(0);
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            // `Map<K, V>`, and not the arrows `->` and `=>`.
            b'<' => depth += 1,
            b'>' if !matches!(
                index.checked_sub(1).and_then(|before| code.as_bytes().get(before)),
                Some(b'-' | b'=')
            ) =>
            {
                depth -= 1;
            }
            _ if byte == end && depth == 0 => {
                out.push((start, index));
                start = index + 1;
            }
            _ => {}
        }
    }
    if code.get(start..to).is_some_and(|rest| !rest.trim().is_empty()) {
        out.push((start, to));
    }
    out
}

/// The doc comment within a piece of source, joined to one line; empty when there is none.
fn docs(piece: &str) -> String {
    let lines: Vec<&str> =
        piece.lines().filter_map(|line| line.trim_start().strip_prefix("///")).map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Below the base path, e.g. `/sign-in/email`.
    pub path: String,
    /// `GET`, …
    pub method: String,
    /// The handler's name, for its documentation.
    pub handler: String,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Routes written as `.get("/path", handler)` or `.route("/path", get(handler).post(other))`.
pub fn routes(source: &str) -> Vec<Route> {
    let source = without_tests(source);
    let code = code(source);
    let mut found = Vec::new();
    let handler = |text: &str| -> String {
        // `move |call| get_jwks(…)`: what the closure calls.
        let closure = text.trim_start().strip_prefix("move |").and_then(|rest| rest.split_once('|'));
        let text = closure.map_or(text, |(_, body)| body);
        let end = text.find(['(', ')', ',']).unwrap_or(text.len());
        let path = text.get(..end).unwrap_or_default().trim();
        path.rsplit("::").next().map(identifier).unwrap_or_default().to_owned()
    };
    for method in METHODS {
        let call = format!(".{method}(");
        for (at, _) in code.match_indices(&call) {
            let Some((path, rest)) = source.get(at + call.len()..).and_then(literal) else { continue };
            let Some(rest) = rest.trim_start().strip_prefix(',') else { continue };
            if path.starts_with('/') {
                found.push((
                    at,
                    Route { path: path.into(), method: method.to_uppercase(), handler: handler(rest) },
                ));
            }
        }
    }
    for (at, call) in code.match_indices(".route(") {
        let open = at + call.len() - 1;
        let Some(close) = closing(&code, open) else { continue };
        let Some((path, _)) = source.get(open + 1..close).and_then(literal) else { continue };
        for method in METHODS {
            for within in words(code.get(open..close).unwrap_or_default(), method) {
                let Some(rest) =
                    code.get(open + within + method.len()..close).and_then(|text| text.strip_prefix('('))
                else {
                    continue;
                };
                let route =
                    Route { path: path.into(), method: method.to_uppercase(), handler: handler(rest) };
                found.push((open + within, route));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, route)| route).collect()
}

/// The first sentence of the documentation of `fn name`.
pub fn function_docs(source: &str, name: &str) -> Option<String> {
    let code = code(source);
    let at = words(&code, name)
        .find(|at| code.get(..*at).is_some_and(|before| before.trim_end().ends_with("fn")))?;
    let before = source.get(..at)?;
    let mut lines: Vec<&str> = Vec::new();
    for line in before.lines().rev().skip(1) {
        let line = line.trim();
        match line.strip_prefix("///") {
            Some(text) => lines.push(text.trim()),
            None if line.starts_with("#[") => {}
            None => break,
        }
    }
    lines.reverse();
    let text = lines.join(" ");
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let end = text.find(". ").map_or(text.len(), |dot| dot + 1);
    text.get(..end).map(|sentence| sentence.trim_end_matches('.').to_owned())
}

/// One row of an `errors!` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRow {
    /// The wire code.
    pub code: String,
    /// HTTP status.
    pub status: String,
    /// The wire message.
    pub message: String,
    /// What it means.
    pub docs: String,
}

/// Rows of the `errors! { NAME = 404 "Message"; }` tables.
pub fn errors(source: &str) -> Vec<ErrorRow> {
    let source = without_tests(source);
    let code = code(source);
    let mut rows = Vec::new();
    for (from, to) in macro_bodies(&code, "errors") {
        for (start, end) in items(&code, from, to, b';') {
            let (Some(piece), Some(bare)) = (source.get(start..end), code.get(start..end)) else { continue };
            let Some((name, _)) = bare.split_once('=') else { continue };
            let Some(value) = bare.find('=').and_then(|at| piece.get(at + 1..)) else { continue };
            let status: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
            let Some((message, _)) = value.trim_start().get(status.len()..).and_then(literal) else {
                continue;
            };
            let name = name.split_whitespace().last().unwrap_or_default();
            rows.push(ErrorRow { code: name.into(), status, message: message.into(), docs: docs(piece) });
        }
    }
    rows
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRow {
    /// The table.
    pub table: String,
    /// The column's name in the database.
    pub column: String,
    /// Kind, and what else is said of it.
    pub kind: String,
    /// What it holds.
    pub docs: String,
}

/// A column's constructor call: `Column::text("email").unique()`.
fn column(table: &str, piece: &str, docs: String, optional: bool) -> Option<ColumnRow> {
    let call = piece.split_once("Column::")?.1;
    let kind = identifier(call);
    let arguments = call.get(kind.len()..)?.strip_prefix('(')?;
    let mut notes = vec![if kind == "foreign" { "text".to_owned() } else { kind.replace('_', " ") }];
    let name = match kind {
        "id" => "id",
        _ => literal(arguments)?.0,
    };
    if kind == "foreign" {
        let target = arguments.split('"').nth(3)?;
        notes.push(format!("→ `{target}`"));
    }
    if optional {
        notes.push("optional".into());
    }
    for (method, note) in [(".unique(", "unique"), (".indexed(", "indexed"), (".hidden(", "never sent")] {
        if piece.contains(method) {
            notes.push(note.into());
        }
    }
    Some(ColumnRow { table: table.into(), column: name.into(), kind: notes.join(", "), docs })
}

/// The entries of `LIST`: a room's folder and its plugin, if it is one.
pub fn rooms_list(source: &str) -> Vec<(String, Option<String>)> {
    let code = code(source);
    let entries = words(&code, "Room").filter_map(|at| {
        let open = at + code.get(at..)?.find('{')?;
        // The type `Room` before its values is followed by something else.
        code.get(at + "Room".len()..open)?.trim().is_empty().then_some(())?;
        let close = closing(&code, open)?;
        let (bare, piece) = (code.get(open..close)?, source.get(open..close)?);
        let make = words(bare, "make").next()?;
        let room = identifier(bare.get(make + "make".len()..)?.trim_start_matches([':', ' ']));
        let plugin = words(bare, "plugin").next().and_then(|at| piece.get(at..)?.split_once("Some("));
        Some((room.to_owned(), plugin.and_then(|(_, rest)| literal(rest)).map(|(name, _)| name.to_owned())))
    });
    entries.collect()
}

/// Columns of the `table!` declarations, and those lent to other tables: `("table", Column::…)`.
pub fn columns(source: &str) -> Vec<ColumnRow> {
    let source = without_tests(source);
    let code = code(source);
    let mut rows = Vec::new();
    for (from, to) in macro_bodies(&code, "table") {
        let Some(open) = code.get(from..to).and_then(|body| body.find('{')).map(|at| from + at) else {
            continue;
        };
        let Some(table) = source.get(from..open).and_then(|head| head.rsplit('"').nth(1)) else { continue };
        let Some(close) = closing(&code, open) else { continue };
        for (start, end) in items(&code, open + 1, close - 1, b',') {
            let (Some(piece), Some(bare)) = (source.get(start..end), code.get(start..end)) else { continue };
            let optional = bare.contains("Option<");
            rows.extend(column(table, piece, docs(piece), optional));
        }
    }
    for (open, _) in code.match_indices('(') {
        let Some((table, rest)) = source.get(open + 1..).and_then(literal) else { continue };
        if !rest.trim_start_matches([',', ' ', '\n']).starts_with("Column::") {
            continue;
        }
        let Some(piece) = closing(&code, open).and_then(|close| source.get(open + 1..close)) else {
            continue;
        };
        rows.extend(column(table, piece, String::new(), !piece.contains(".required(")));
    }
    rows
}

/// One field of a settings struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As written in a config file.
    pub name: String,
    /// Its Rust type, `Option` taken off.
    pub kind: String,
    /// Was there an `Option`?
    pub optional: bool,
    /// What it does.
    pub docs: String,
}

/// A struct that is read from settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// The structs that derive `Deserialize`, and those called `…Settings` that do it by hand.
pub fn settings(source: &str) -> Vec<Settings> {
    let source = without_tests(source);
    let code = code(source);
    let mut found = Vec::new();
    for at in words(&code, "struct") {
        let Some(after) = code.get(at + "struct".len()..) else { continue };
        let name = identifier(after.trim_start());
        let head_start = code.get(..at).and_then(|before| before.rfind(['}', ';'])).map_or(0, |end| end + 1);
        let head = code.get(head_start..at).unwrap_or_default();
        let Some(open) = after.find(['{', ';', '(']).map(|offset| at + "struct".len() + offset) else {
            continue;
        };
        let derived = words(head, "Deserialize").next().is_some();
        if !(derived || name.ends_with("Settings")) || code.as_bytes().get(open) != Some(&b'{') {
            continue;
        }
        let camel = !derived
            || source.get(head_start..at).is_some_and(|head| head.contains("rename_all = \"camelCase\""));
        let Some(close) = closing(&code, open) else { continue };
        let mut fields = Vec::new();
        for (start, end) in items(&code, open + 1, close - 1, b',') {
            let (Some(piece), Some(bare)) = (source.get(start..end), code.get(start..end)) else { continue };
            // What only Rust can say is not for the operator's table.
            if piece.contains("#[serde(skip)]") {
                continue;
            }
            let Some((before, kind)) = bare.split_once(": ") else { continue };
            let own = before.split_whitespace().last().unwrap_or_default();
            let renamed = piece.split_once("rename = \"").and_then(|(_, rest)| rest.split('"').next());
            let name = match renamed {
                Some(name) => name.to_owned(),
                None if camel => camel_case(own),
                None => own.to_owned(),
            };
            let kind = kind.trim();
            let inner = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>'));
            let kind = inner.unwrap_or(kind).to_owned();
            fields.push(Field { name, kind, optional: inner.is_some(), docs: docs(piece) });
        }
        found.push(Settings { name: name.to_owned(), fields });
    }
    found
}

fn camel_case(snake: &str) -> String {
    let mut out = String::new();
    for (index, part) in snake.split('_').enumerate() {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if index > 0 => {
                out.extend(first.to_uppercase());
                out.push_str(letters.as_str());
            }
            _ => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_nothing_moves() {
        let text = "let a = \"x // \\\" y\"; // sqlx\nlet b = 'c'; let c: &'static str = r#\"a \" sqlx\"#; /* x /* y */ sqlx */ end ü";
        let code = code(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("sqlx"), "{code}");
        assert!(code.contains("&'static str"));
        assert!(code.trim_end().ends_with("end"));
    }

    #[test]
    fn tests_at_the_end_are_cut_off() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests { }"), "a\n");
        assert_eq!(without_tests("#[cfg(test)]\nuse x;\nb"), "#[cfg(test)]\nuse x;\nb");
    }

    #[test]
    fn routes_are_read_in_both_forms_and_in_their_order() {
        let text = r#"
            Routes::new().get("/ok", ok)
                .post("/sign-in/email", routes::sign_in_email)
                .route("/get-session", get(get_session).post(renew)) // .get("/no", no)
            let x = map.get("key"); let y = map.get("/not", );
        "#;
        let routes: Vec<_> =
            routes(text).into_iter().map(|r| format!("{} {} {}", r.method, r.path, r.handler)).collect();
        let expected = [
            "GET /ok ok",
            "POST /sign-in/email sign_in_email",
            "GET /get-session get_session",
            "POST /get-session renew",
            "GET /not ",
        ];
        assert_eq!(routes, expected);
    }

    #[test]
    fn a_handler_says_what_it_does_in_its_first_sentence() {
        let text =
            "/// Ends the session. And more\n/// of it.\n#[inline]\npub async fn sign_out() {}\nfn bare() {}";
        assert_eq!(function_docs(text, "sign_out").as_deref(), Some("Ends the session"));
        assert_eq!(function_docs(text, "bare"), None);
    }

    #[test]
    fn error_tables_are_read_with_status_message_and_meaning() {
        let text =
            "errors! {\n /// It is; gone.\n NOT_FOUND = 404 \"Not; found\";\n OTHER = 400 \"Other\";\n}";
        let rows = errors(text);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            ErrorRow {
                code: "NOT_FOUND".into(),
                status: "404".into(),
                message: "Not; found".into(),
                docs: "It is; gone.".into()
            }
        );
        assert_eq!(rows[1].docs, "");
    }

    #[test]
    fn columns_are_read_from_tables_and_loans() {
        let text = r#"
            table! {
                /// Keys.
                pub struct Key in "jwks" {
                    /// Row id.
                    id / ID: String = Column::id(),
                    /// Whose, by id.
                    user_id / USER: Option<String> = Column::foreign("userId", "user").indexed(),
                    token / TOKEN: String = Column::text("token").unique().hidden(),
                }
            }
            fn lends(&self) -> Vec<(&'static str, Column)> { vec![("user", Column::text("username").unique())] }
        "#;
        let rows: Vec<_> = columns(text)
            .into_iter()
            .map(|r| format!("{}.{}: {} ({})", r.table, r.column, r.kind, r.docs))
            .collect();
        let expected = [
            "jwks.id: id (Row id.)",
            "jwks.userId: text, → `user`, optional, indexed (Whose, by id.)",
            "jwks.token: text, unique, never sent ()",
            "user.username: text, optional, unique ()",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn settings_are_read_with_the_names_of_the_file() {
        let text = r#"
            /// Not this one.
            struct Plain { a: u8 }
            #[derive(Debug, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct Sizes {
                /// Seconds. Default 60.
                pub max_age: Option<i64>,
                /// A map.
                #[serde(rename = "baseURL")]
                pub base_url: BTreeMap<String, String>,
            }
        "#;
        let found = settings(text);
        assert_eq!(found.len(), 1);
        let field = |name: &str, kind: &str, optional, docs: &str| Field {
            name: name.into(),
            kind: kind.into(),
            optional,
            docs: docs.into(),
        };
        assert_eq!(
            found[0].fields,
            [
                field("maxAge", "i64", true, "Seconds. Default 60."),
                field("baseURL", "BTreeMap<String, String>", false, "A map.")
            ]
        );
    }
}
