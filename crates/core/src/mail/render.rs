//! What a mail looks like: one template for all kinds, texts per kind and language, and whatever of it
//! the operator replaces. All of it is tried at start, so that no mail fails on a template.
//!
//! The operator's folder may hold
//! - `mail.html`, `mail.txt`: the frame of all mails;
//! - `<kind>.html`, `<kind>.txt`, `<kind>.subject`: one kind's own;
//! - any of them with a language, `<kind>.de.html`;
//! - `messages.<language>.json`: `{kind: {text: …}}`, texts of a language, new or other.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use super::MailKind;
use crate::config::{ConfigError, MailConfig, nearest};

/// Texts that all kinds share.
const COMMON: &str = "common";
/// The frame's name.
const FRAME: &str = "mail";
/// What templates may use.
const VARIABLES: &[&str] = &[
    "app",
    "code",
    "color",
    "email",
    "expires",
    "kind",
    "locale",
    "logo",
    "name",
    "new_email",
    "on_color",
    "t",
    "url",
];
/// Texts of a length of time, whose variable is `n`, and a length (in minutes) that each is for.
const UNITS: &[(&str, i64)] =
    &[("minute", 1), ("minutes", 10), ("hour", 60), ("hours", 120), ("day", 1), ("days", 2880)];
/// The longest name of a user that is written into a mail.
const LONGEST_NAME: usize = 50;

/// A mail, ready to be delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// For programs that show HTML.
    pub html: String,
    /// For the others.
    pub text: String,
    /// Language.
    pub locale: String,
    /// The link in it, or the code.
    pub link: String,
}

/// Without its contents.
impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendered").field("locale", &self.locale).finish_non_exhaustive()
    }
}

/// What a mail is about.
#[derive(Debug, Clone, Default)]
pub(super) struct About<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub url: Option<&'a str>,
    pub code: Option<&'a str>,
    pub new_email: Option<&'a str>,
    /// Milliseconds for which it is good.
    pub lasting: Option<i64>,
}

/// `{language: {kind: {key: text}}}`.
type Texts = BTreeMap<String, BTreeMap<String, BTreeMap<String, Text>>>;

#[derive(Debug, Clone)]
struct Text {
    text: String,
    /// Where it was written.
    place: String,
}

/// Everything that mails are made of.
pub(super) struct Templates {
    env: Environment<'static>,
    texts: Texts,
    default_locale: String,
}

fn broken(problem: impl Into<String>) -> ConfigError {
    ConfigError::new("mail.templates", problem)
}

/// A message of minijinja's, with file and line.
fn explained(error: &minijinja::Error) -> ConfigError {
    let name = error.name().unwrap_or("a template");
    let name = name.strip_prefix("html:").unwrap_or(name);
    let place = error.line().map_or_else(|| name.to_owned(), |line| format!("{name}, line {line}"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    broken(format!("{place}: {detail}"))
}

impl Templates {
    pub(super) fn load<'k>(
        config: &MailConfig,
        kinds: impl Iterator<Item = &'k MailKind>,
    ) -> Result<Self, ConfigError> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|name| {
            if name.starts_with("html:") || name.ends_with(".html") {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        for (name, source) in [
            ("mail.html", include_str!("templates/mail.html")),
            ("mail.txt", include_str!("templates/mail.txt")),
        ] {
            env.add_template(name, source).map_err(|e| explained(&e))?;
        }
        let mut texts = Texts::new();
        add_texts(&mut texts, COMMON, include_str!("templates/common.json"))?;
        let mut names = vec![FRAME.to_owned()];
        for kind in kinds {
            add_texts(&mut texts, kind.name, kind.texts)?;
            names.push(kind.name.to_owned());
        }
        if let Some(folder) = &config.templates {
            own(Path::new(folder), &names, &mut env, &mut texts)?;
        }
        let this = Self { env, texts, default_locale: config.default_locale.clone() };
        if !this.texts.contains_key(&config.default_locale) {
            let hint = nearest(&config.default_locale, this.locales());
            return Err(ConfigError::new(
                "mail.defaultLocale",
                format!("there are no texts in this language{hint}"),
            ));
        }
        this.check(config, &names)?;
        Ok(this)
    }

    pub(super) fn locales(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// Every template knows its variables, and every kind can be rendered in every language.
    fn check(&self, config: &MailConfig, names: &[String]) -> Result<(), ConfigError> {
        for (name, template) in self.env.templates() {
            // What a condition hides from the trial below.
            let mut unknown: Vec<_> = template
                .undeclared_variables(false)
                .into_iter()
                .filter(|variable| !VARIABLES.contains(&variable.as_str()))
                .collect();
            unknown.sort();
            if let Some(variable) = unknown.first() {
                let line = template
                    .source()
                    .lines()
                    .position(|line| line.contains(variable.as_str()))
                    .map_or(1, |line| line + 1);
                let hint = nearest(variable, VARIABLES.iter().copied());
                return Err(broken(format!("{name}, line {line}: there is no variable `{variable}`{hint}")));
            }
        }
        for locale in self.texts.keys() {
            for (_, minutes) in UNITS {
                self.words(locale, minutes * 60_000).map_err(|error| explained(&error))?;
            }
        }
        for kind in names.iter().filter(|kind| *kind != FRAME) {
            for locale in self.texts.keys() {
                for about in [sample(false), sample(true)] {
                    self.render(config, kind, Some(locale), &about).map_err(broken)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn preview(
        &self,
        config: &MailConfig,
        kind: &str,
        locale: Option<&str>,
    ) -> Result<Rendered, ConfigError> {
        let kinds =
            || self.texts.get("en").into_iter().flat_map(|kinds| kinds.keys()).filter(|kind| *kind != COMMON);
        if !kinds().any(|known| known == kind) {
            let list: Vec<_> = kinds().map(String::as_str).collect();
            return Err(broken(format!("there is no mail `{kind}`; there are {}", list.join(", "))));
        }
        let mut about = sample(true);
        if kind == super::TWO_FACTOR_OTP {
            (about.url, about.lasting) = (None, Some(180_000));
        } else {
            about.code = None;
        }
        if kind != super::CHANGE_EMAIL {
            about.new_email = None;
        }
        if kind == super::PASSWORD_CHANGED || kind == super::EXISTING_USER {
            (about.url, about.lasting) = (None, None);
        }
        self.render(config, kind, locale, &about).map_err(broken)
    }

    /// The language of a reader who prefers these (`Accept-Language`, RFC 9110 §12.5.4).
    fn locale(&self, wanted: Option<&str>) -> &str {
        let mut ranges: Vec<(&str, u32)> = wanted
            .unwrap_or_default()
            .split(',')
            .take(20)
            .filter_map(|range| {
                let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
                let weight = parameters.trim().strip_prefix("q=").map_or(Some(1000), thousandths)?;
                (weight > 0).then(|| (tag.trim(), weight))
            })
            .collect();
        // Stable: among equals the first wins.
        ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let known = |tag: &str| self.texts.keys().find(|locale| locale.eq_ignore_ascii_case(tag));
        ranges
            .iter()
            .find_map(|(tag, _)| known(tag).or_else(|| known(tag.split('-').next().unwrap_or_default())))
            .unwrap_or(&self.default_locale)
    }

    fn text(&self, locale: &str, kind: &str, key: &str) -> Option<&Text> {
        let language = locale.split('-').next().unwrap_or(locale);
        [locale, language, &self.default_locale, "en"]
            .into_iter()
            .find_map(|locale| self.texts.get(locale)?.get(kind)?.get(key))
    }

    /// The texts of a kind and those of all kinds, with their variables filled in.
    fn texts_of(
        &self,
        kind: &str,
        locale: &str,
        variables: &Value,
        html: bool,
    ) -> Result<BTreeMap<String, Value>, minijinja::Error> {
        let mut out = BTreeMap::new();
        for of in [COMMON, kind] {
            let keys = ["en", locale, &self.default_locale]
                .into_iter()
                .filter_map(|locale| self.texts.get(locale)?.get(of))
                .flat_map(|texts| texts.keys());
            for key in keys {
                let Some(Text { text, place }) = self.text(locale, of, key) else { continue };
                if UNITS.iter().any(|(unit, _)| unit == key) {
                    continue;
                }
                let value = if text.contains('{') {
                    let name = format!("{}{place}", if html { "html:" } else { "" });
                    let filled = self.env.render_named_str(&name, text, variables)?;
                    if html { Value::from_safe_string(filled) } else { Value::from(filled) }
                } else {
                    Value::from(text.as_str())
                };
                out.insert(key.clone(), value);
            }
        }
        Ok(out)
    }

    /// "1 hour".
    fn words(&self, locale: &str, ms: i64) -> Result<String, minijinja::Error> {
        let minutes = (ms.saturating_add(30_000) / 60_000).max(1);
        let (number, one, many) = match minutes {
            2880.. => (minutes / 1440, "day", "days"),
            120.. | 60..=65 => (minutes / 60, "hour", "hours"),
            _ => (minutes, "minute", "minutes"),
        };
        let key = if number == 1 { one } else { many };
        let Some(Text { text, place }) = self.text(locale, COMMON, key) else {
            return Ok(number.to_string());
        };
        self.env.render_named_str(place, text, minijinja::context! { n => number })
    }

    /// Makes a mail of a kind. The error says where; it holds nothing of the mail's.
    pub(super) fn render(
        &self,
        config: &MailConfig,
        kind: &str,
        wanted: Option<&str>,
        about: &About<'_>,
    ) -> Result<Rendered, String> {
        self.rendered(config, kind, wanted, about).map_err(|error| explained(&error).problem)
    }

    fn rendered(
        &self,
        config: &MailConfig,
        kind: &str,
        wanted: Option<&str>,
        about: &About<'_>,
    ) -> Result<Rendered, minijinja::Error> {
        let locale = self.locale(wanted);
        let expires = about.lasting.map(|ms| self.words(locale, ms)).transpose()?;
        let variables = minijinja::context! {
            app => config.brand,
            code => about.code,
            color => config.color,
            email => about.email,
            expires => expires,
            kind => kind,
            locale => locale,
            logo => config.logo,
            name => harmless_name(about.name),
            new_email => about.new_email,
            on_color => on(&config.color),
            url => about.url,
        };
        let with_texts = |html: bool| -> Result<Value, minijinja::Error> {
            let t = Value::from(self.texts_of(kind, locale, &variables, html)?);
            Ok(minijinja::context! { t => t, ..variables.clone() })
        };
        let (plain, html) = (with_texts(false)?, with_texts(true)?);
        let subject = match self.template(kind, locale, "subject") {
            Some(template) => template.render(&plain)?,
            None => plain.get_attr("t")?.get_attr("subject")?.to_string(),
        };
        let rendered = |ending, context: &Value| match self.template(kind, locale, ending) {
            Some(template) => template.render(context),
            None => Ok(String::new()),
        };
        Ok(Rendered {
            subject: one_line(&subject),
            html: rendered("html", &html)?,
            text: rendered("txt", &plain)?,
            locale: locale.to_owned(),
            link: about.url.or(about.code).unwrap_or_default().to_owned(),
        })
    }

    fn template(&self, kind: &str, locale: &str, ending: &str) -> Option<minijinja::Template<'_, '_>> {
        let language = locale.split('-').next().unwrap_or(locale);
        let of = |stem: &str| {
            [
                format!("{stem}.{locale}.{ending}"),
                format!("{stem}.{language}.{ending}"),
                format!("{stem}.{ending}"),
            ]
            .into_iter()
            .find_map(|name| self.env.get_template(&name).ok())
        };
        of(kind).or_else(|| if ending == "subject" { None } else { of(FRAME) })
    }
}

fn thousandths(text: &str) -> Option<u32> {
    let q: f32 = text.trim().parse().ok()?;
    // Between 0 and 1 by then.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    (0.0..=1.0).contains(&q).then_some((q * 1000.0) as u32)
}

/// Black or white, whichever is read better on a colour (relative luminance of WCAG 2, roughly).
fn on(color: &str) -> &'static str {
    let part = |at: usize| {
        let hex = color.get(at..at + 2).unwrap_or("00");
        u32::from_str_radix(hex, 16).unwrap_or(0)
    };
    let bright = 299 * part(1) + 587 * part(3) + 114 * part(5);
    if bright > 150_000 { "#111111" } else { "#ffffff" }
}

fn sample(full: bool) -> About<'static> {
    About {
        email: "ada@example.com",
        name: if full { "Ada" } else { "" },
        url: full.then_some(
            "https://auth.example.com/api/auth/verify?token=9hX2vQm4kTzB7cWsR1dLpY8n&callbackURL=%2F",
        ),
        code: full.then_some("314159"),
        new_email: full.then_some("ada@example.org"),
        lasting: full.then_some(3_600_000),
    }
}

/// Subjects are headers.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().take(200).collect()
}

/// The name as it may greet. Whoever signs up with somebody else's address chooses it: what could be a
/// link or a sentence is left out, so that nobody makes this server write their message.
fn harmless_name(name: &str) -> &str {
    let name = name.trim();
    let suspicious = name.chars().count() > LONGEST_NAME
        || name.chars().any(|c| {
            c.is_control()
                || matches!(c, '/' | '\\' | ':' | '@' | '<' | '>' | '[' | ']' | '{' | '}' | ',' | ';' | '!' | '?')
                // What mail programs and browsers read as a dot.
                || matches!(c, '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
        })
        // No sentence, no telephone number.
        || name.split_whitespace().count() > 5
        || name.chars().filter(|c| c.is_numeric()).count() > 4
        || name.split('.').skip(1).any(|end| end.chars().take_while(|c| c.is_alphanumeric()).count() >= 2);
    if suspicious { "" } else { name }
}

fn add_texts(texts: &mut Texts, kind: &str, source: &str) -> Result<(), ConfigError> {
    let all: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(source).map_err(|e| broken(format!("the texts of {kind}: {e}")))?;
    for (locale, of) in all {
        let into = texts.entry(locale.clone()).or_default().entry(kind.to_owned()).or_default();
        for (key, text) in of {
            let place = format!("{kind}.{key} ({locale})");
            into.insert(key, Text { text, place });
        }
    }
    Ok(())
}

/// Reads the operator's folder.
fn own(
    folder: &Path,
    names: &[String],
    env: &mut Environment<'static>,
    texts: &mut Texts,
) -> Result<(), ConfigError> {
    let cannot = |path: &Path, error: std::io::Error| {
        broken(format!("cannot read {}: {error}; check the path and its permissions", path.display()))
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| cannot(folder, e))?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for path in files {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((stem, ending)) = file.rsplit_once('.') else { continue };
        if file.starts_with('.') || !path.is_file() {
            continue;
        }
        if let Some(locale) = stem.strip_prefix("messages.").filter(|_| ending == "json") {
            let source = std::fs::read_to_string(&path).map_err(|e| cannot(&path, e))?;
            own_texts(file, locale, &source, names, texts)?;
            continue;
        }
        if !matches!(ending, "html" | "txt" | "subject") {
            continue;
        }
        let kind = stem.split('.').next().unwrap_or(stem);
        if !names.iter().any(|name| name == kind) {
            let hint = nearest(kind, names.iter().map(String::as_str));
            return Err(broken(format!("{file}: there is no mail `{kind}`{hint}")));
        }
        let source = std::fs::read_to_string(&path).map_err(|e| cannot(&path, e))?;
        env.add_template_owned(file.to_owned(), source).map_err(|e| explained(&e))?;
    }
    Ok(())
}

fn own_texts(
    file: &str,
    locale: &str,
    source: &str,
    names: &[String],
    texts: &mut Texts,
) -> Result<(), ConfigError> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Written(BTreeMap<String, BTreeMap<String, Json>>);
    let Written(all) = serde_json::from_str(source).map_err(|e| broken(format!("{file}: {e}")))?;
    for (kind, written) in all {
        if kind != COMMON && (kind == FRAME || !names.contains(&kind)) {
            let known = names.iter().map(String::as_str).filter(|name| *name != FRAME).chain([COMMON]);
            return Err(broken(format!("{file}: there is no mail `{kind}`{}", nearest(&kind, known))));
        }
        for (key, text) in written {
            let Json::String(text) = text else {
                return Err(broken(format!("{file}: {kind}.{key} must be a text")));
            };
            let keys = texts.get("en").and_then(|en| en.get(&kind));
            if keys.is_none_or(|keys| !keys.contains_key(&key)) {
                let hint = nearest(&key, keys.into_iter().flat_map(|keys| keys.keys()).map(String::as_str));
                return Err(broken(format!("{file}: {kind} has no text `{key}`{hint}")));
            }
            let place = format!("{file}: {kind}.{key}");
            texts
                .entry(locale.to_owned())
                .or_default()
                .entry(kind.clone())
                .or_default()
                .insert(key, Text { text, place });
        }
    }
    Ok(())
}
