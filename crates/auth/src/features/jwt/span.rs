//! Time spans as Better Auth writes them (1.7.6 `utils/time`): `15m`, `1 hour`, `2 days ago`.

/// Seconds, rounded; `None` when it is not a time span.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.chars().next()? {
        '+' => (Some(1.0), text.get(1..)?),
        '-' => (Some(-1.0), text.get(1..)?),
        _ => (None, text),
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = rest.split_at_checked(end)?;
    let decimal =
        number.split_once('.').is_none_or(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains('.'));
    if number.is_empty() || !decimal {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest).to_ascii_lowercase();
    let (unit, ago) = if let Some(unit) = rest.strip_suffix(" ago") {
        (unit, Some(-1.0))
    } else if let Some(unit) = rest.strip_suffix(" from now") {
        (unit, Some(1.0))
    } else {
        (rest.as_str(), None)
    };
    if sign.is_some() && ago.is_some() {
        return None;
    }
    let unit = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "mo" | "month" | "months" => 2_592_000.0,
        "y" | "yr" | "yrs" | "year" | "years" => 31_557_600.0,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * unit * sign.or(ago).unwrap_or(1.0);
    // A cast saturates; beyond what a date can be, it is no date anyway.
    (value.abs() < 1e15).then_some(value.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_span_is_read_as_better_auth_reads_it() {
        for (text, expected) in [
            ("15m", 900),
            ("1h", 3_600),
            ("7 days", 604_800),
            ("30 Minutes", 1_800),
            ("1.5h", 5_400),
            ("-1h", -3_600),
            ("- 1h", -3_600),
            ("1h ago", -3_600),
            ("1h from now", 3_600),
            ("2mo", 5_184_000),
            ("1y", 31_557_600),
            ("+30s", 30),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time_span() {
        for text in [
            "", "invalid", "abc123", "15", "1.h", ".5h", "1..5h", "1h 1m", "-1h ago", "  1h", "1  h", "٣h",
            "é",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
