//! Which origins may call with cookies, and which URLs a visitor may be sent to.
//!
//! The rules are better-auth 1.7.24's (`auth/trusted-origins`): a relative URL must be safe under
//! every parser, a pattern without wildcard is an exact origin, a wildcard crosses dots, a custom
//! scheme is matched by scheme, authority and resolved path.

use percent_encoding::percent_decode_str;
use url::Url;

/// Does a URL (or an `Origin`) match a trusted pattern?
pub fn matches(url: &str, pattern: &str, allow_relative: bool) -> bool {
    if url.starts_with('/') {
        return allow_relative && is_safe_relative(url);
    }
    let scheme = scheme_of(url);
    // A page that goes to one of these runs it, whatever host stands in it.
    if scheme
        .as_deref()
        .is_some_and(|scheme| ["javascript", "data", "vbscript", "blob", "filesystem"].contains(&scheme))
    {
        return false;
    }
    let origin = origin_of(url);
    if pattern.contains(['*', '?']) {
        if pattern.contains("://") {
            // What should be a web origin and cannot be read as one is none.
            let web = pattern.starts_with("http://") || pattern.starts_with("https://");
            let Some(subject) = origin.as_deref().or((!web).then_some(url)) else { return false };
            // `*` would also cross an `@`, and what stands before it is not the host.
            return !subject.contains('@') && wildcard(pattern, subject);
        }
        // A pattern without a scheme means hosts on the web; other schemes have to be named.
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return false;
        }
        let Some(host) = host_of(url) else { return false };
        if pattern.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '*' | '?' | ':')) {
            // A pattern of digits means addresses, so a name such as `10.0.0.1.example.com` is not meant.
            let name = host.split(':').next().unwrap_or_default();
            if name.parse::<std::net::Ipv4Addr>().is_err() {
                return false;
            }
        }
        return wildcard(pattern, &host);
    }
    match scheme {
        None => Some(pattern) == origin.as_deref(),
        Some(scheme) if scheme == "http" || scheme == "https" => {
            origin.as_deref() == Some(pattern) || origin.is_some() && origin == origin_of(pattern)
        }
        Some(_) => match (custom(url), custom(pattern)) {
            (Some(url), Some(pattern)) => {
                url.scheme == pattern.scheme
                    && (pattern.authority.is_empty() || url.authority == pattern.authority)
                    && (pattern.path.is_empty()
                        || url.path == pattern.path
                        || url.path.starts_with(&format!("{}/", pattern.path)))
            }
            _ => false,
        },
    }
}

/// `scheme://host[:port]` of an http(s) URL.
pub fn origin_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.origin().is_tuple().then(|| url.origin().ascii_serialization())
}

fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn scheme_of(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once(':')?;
    let good = scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    good.then(|| scheme.to_ascii_lowercase())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// A path on this origin that no browser or router reads as another host.
pub fn is_safe_relative(url: &str) -> bool {
    if !url.starts_with('/') || url.starts_with("//") || url.contains('\\') || has_control(url) {
        return false;
    }
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if path.contains("%2f") || path.contains("%5c") {
        return false;
    }
    const BASE: &str = "https://portcullis.invalid";
    Url::parse(BASE)
        .and_then(|base| base.join(url))
        // `/.//elsewhere.example` is one path now, and another origin once somebody has resolved it.
        .is_ok_and(|url| url.origin().ascii_serialization() == BASE && !url.path().starts_with("//"))
}

/// Is this a host with or without a port, and nothing else?
pub fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, rest)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_one = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|_| port.bytes().all(|b| b.is_ascii_digit())));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    port_is_one && (text.starts_with('[') || host.len() <= 253 && host.split('.').all(label))
}

struct Custom {
    scheme: String,
    authority: String,
    path: String,
}

/// Scheme, authority and resolved path of a URL of any scheme, by plain text operations.
fn custom(value: &str) -> Option<Custom> {
    if has_control(value) {
        return None;
    }
    let (scheme, rest) = value.split_once(':').filter(|(scheme, _)| !scheme.is_empty())?;
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            ".." => {
                segments.pop();
            }
            "" | "." => {}
            other => segments.push(other),
        }
    }
    let path = if segments.is_empty() { String::new() } else { format!("/{}", segments.join("/")) };
    Some(Custom { scheme: scheme.to_ascii_lowercase(), authority: authority.to_ascii_lowercase(), path })
}

/// `*` is any run of characters, `?` any one; linear time, whatever the pattern.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_origin_matches_without_a_wildcard() {
        assert!(matches("https://app.example.com/x?y", "https://app.example.com", false));
        for foreign in [
            "https://app.example.com.evil.io",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com@evil.io",
            "https://evil.io/https://app.example.com",
            "//app.example.com",
            "app.example.com",
            "javascript:alert(1)",
            "",
        ] {
            assert!(!matches(foreign, "https://app.example.com", true), "{foreign}");
        }
    }

    #[test]
    fn a_wildcard_crosses_dots_and_stays_in_the_host() {
        assert!(matches("https://a.b.example.com", "https://*.example.com", false));
        assert!(matches("https://a.example.com:3000", "*.example.com:3000", false));
        assert!(!matches("https://example.com.evil.io", "https://*.example.com", false));
        assert!(!matches("https://evil.io/.example.com", "*.example.com", false));
        assert!(!matches("https://10.0.0.1.evil.io", "10.*", false));
        assert!(matches("http://10.0.0.1", "10.*", false));
        assert!(matches("http://localhost:5173", "http://localhost:*", false));
        for script in
            ["javascript://a.example.com:3000/%0aalert(1)", "myapp://a.example.com:3000", "JavaScript:x"]
        {
            assert!(!matches(script, "*.example.com:3000", false), "{script}");
        }
        assert!(!matches("data://x", "*://x", false) && matches("myapp://x", "*://x", false));
        assert!(!matches("http://localhost:5173.evil.io", "http://localhost:*", false));
    }

    #[test]
    fn relative_urls_are_safe_under_every_parser() {
        for good in ["/", "/a/b?c=//d", "/a#%2f", "/ä", "/a:b@c"] {
            assert!(matches(good, "https://x.io", true), "{good}");
        }
        for bad in ["//evil.io", "/\\evil.io", "/a\\b", "/%2fevil.io", "/%5Cevil.io", "/\tevil", "/a\nb"] {
            assert!(!matches(bad, "https://x.io", true), "{bad}");
        }
        assert!(!matches("/a", "https://x.io", false));
    }

    #[test]
    fn a_custom_scheme_cannot_leave_its_path() {
        assert!(matches("myapp://host/cb/x", "myapp://host/cb", false));
        assert!(matches("myapp://anything", "myapp://", false));
        assert!(!matches("myapp://host/cb/../evil", "myapp://host/cb", false));
        assert!(!matches("myapp://host/cb/%2e%2e/evil", "myapp://host/cb", false));
        assert!(!matches("myapp://host.evil/cb", "myapp://host/cb", false));
        assert!(!matches("myapp2://host/cb", "myapp://host/cb", false));
    }
}
