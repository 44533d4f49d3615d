//! What a new password has to be: kinds of letters, not a common one, no word of its user's in it.
//!
//! A password is looked at in the form in which it is hashed (NFKC), so nobody passes with a letter
//! that only looks different. Every rule judges the password and what the client itself said, never
//! what others have, and says what is missing.

use async_trait::async_trait;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::config::{Config, PasswordPolicySettings};
use crate::error::{self, Code, Error};
use crate::seams::{CheckPassword, NewPassword};

/// Sources and licences are in the `README.md` beside it: normal form, sorted by bytes.
const COMMON: &str = include_str!("../../data/common_passwords/passwords.txt");

/// Shorter words are part of too many good passwords.
const SHORTEST_WORD: usize = 4;

/// So much of what a client calls itself is taken apart; a name has no length limit of its own.
const LONGEST_NAME: usize = 1_000;

/// The operator's rules.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: PasswordPolicySettings,
    /// Of `appName`, where the operator gave one.
    app: Vec<String>,
}

impl Policy {
    /// `None` when there is no rule.
    pub fn new(config: &Config) -> Option<Self> {
        let rules = config.settings.email_and_password.password_policy.clone();
        let app = config.settings.app_name.as_deref().map(words).unwrap_or_default();
        (rules != PasswordPolicySettings::default()).then_some(Self { rules, app })
    }

    fn judge(&self, new: &NewPassword<'_>) -> Result<(), Code> {
        let normal: String = new.password.nfkc().collect();
        Kinds::of(&normal).suffice(&self.rules)?;
        if self.rules.reject_context && self.has_context(&normal, new) {
            return Err(error::PASSWORD_CONTAINS_CONTEXT);
        }
        if self.rules.reject_common && is_common(&normal) {
            return Err(error::PASSWORD_TOO_COMMON);
        }
        Ok(())
    }

    fn has_context(&self, normal: &str, new: &NewPassword<'_>) -> bool {
        let password = folded(normal);
        let backwards: String = password.chars().rev().collect();
        let has = |word: &String| password.contains(word) || backwards.contains(word);
        self.app.iter().any(has) || new.context.iter().flat_map(|text| words(text)).any(|word| has(&word))
    }
}

#[async_trait]
impl CheckPassword for Policy {
    async fn check(&self, new: &NewPassword<'_>) -> Result<(), Error> {
        self.judge(new).map_err(Error::from)
    }
}

/// Which kinds of characters there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    lower: bool,
    upper: bool,
    digit: bool,
    symbol: bool,
    /// A letter of a script without case.
    caseless: bool,
}

impl Kinds {
    fn of(normal: &str) -> Self {
        let mut kinds = Self::default();
        for c in normal.chars().filter(|c| !is_combining_mark(*c)) {
            // By Unicode's properties: Lowercase, Uppercase, Alphabetic, and the categories N*.
            let kind = if c.is_lowercase() {
                &mut kinds.lower
            } else if c.is_uppercase() {
                &mut kinds.upper
            } else if c.is_numeric() {
                &mut kinds.digit
            } else if c.is_alphabetic() {
                &mut kinds.caseless
            } else {
                &mut kinds.symbol
            };
            *kind = true;
        }
        kinds
    }

    fn suffice(self, rules: &PasswordPolicySettings) -> Result<(), Code> {
        // Whoever writes Arabic or Chinese has no upper case to press: such a letter does for both.
        let required = [
            (rules.require_lowercase && !self.lower && !self.caseless, error::PASSWORD_NEEDS_LOWERCASE),
            (rules.require_uppercase && !self.upper && !self.caseless, error::PASSWORD_NEEDS_UPPERCASE),
            (rules.require_digit && !self.digit, error::PASSWORD_NEEDS_DIGIT),
            (rules.require_symbol && !self.symbol, error::PASSWORD_NEEDS_SYMBOL),
        ];
        let missing: Vec<Code> =
            required.into_iter().filter_map(|(lacks, code)| lacks.then_some(code)).collect();
        if let Some(first) = missing.first() {
            // One code, and all at once in words: nobody should have to try four times.
            let what: Vec<&str> = missing
                .iter()
                .map(|code| code.message.trim_start_matches("Password must contain "))
                .collect();
            let message = format!("Password must contain {}", what.join(" and "));
            return Err(first.clone().saying(message));
        }
        let kinds = [self.lower || self.caseless, self.upper, self.digit, self.symbol];
        let least = rules.min_classes.unwrap_or(0);
        if kinds.into_iter().filter(|there| *there).count() < least {
            let message = format!(
                "Password must contain at least {least} of: lowercase letters, uppercase letters, digits, symbols"
            );
            return Err(error::PASSWORD_NEEDS_MORE_KINDS.saying(message));
        }
        Ok(())
    }
}

/// Is it on the list? In any case, with blanks around it or without; what follows a word counts.
fn is_common(normal: &str) -> bool {
    let wanted = normal.to_lowercase();
    let wanted = wanted.trim().as_bytes();
    if wanted.is_empty() {
        return false;
    }
    // A search by halves over lines as they lie in the binary: no set to build and to keep.
    let mut rest = COMMON.as_bytes();
    loop {
        let middle = rest.len() / 2;
        let (before, after) = rest.split_at(middle);
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = after.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| middle + at);
        let Some(line) = rest.get(start..end).filter(|line| !line.is_empty()) else { return false };
        rest = match wanted.cmp(line) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest.get(..start).unwrap_or_default(),
            std::cmp::Ordering::Greater => rest.get(end + 1..).unwrap_or_default(),
        };
    }
}

/// Lower case, with the signs that people write for letters read as those letters. `1` stands for `l`
/// and for `i`, so the two are one here.
fn folded(normal: &str) -> String {
    let letter = |c: char| match c {
        '0' => 'o',
        '1' | '!' | '|' | 'l' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        other => other,
    };
    normal.to_lowercase().chars().map(letter).collect()
}

/// The words of a name or an address, folded, each part and each side of the `@` as a whole.
fn words(text: &str) -> Vec<String> {
    let normal: String = text.chars().take(LONGEST_NAME).nfkc().collect();
    let mut found: Vec<String> = Vec::new();
    for side in normal.split('@') {
        let parts: Vec<&str> =
            side.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
        found.push(parts.concat());
        found.extend(parts.into_iter().map(str::to_owned));
    }
    found.retain(|word| word.chars().count() >= SHORTEST_WORD);
    found.into_iter().map(|word| folded(&word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(rules: &PasswordPolicySettings, password: &str, context: &[&str]) -> Option<Code> {
        let policy = Policy { rules: rules.clone(), app: words("Example Shop") };
        policy.judge(&NewPassword { password, context }).err()
    }

    #[test]
    fn the_list_is_long_sorted_and_in_normal_form() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.iter().filter(|line| line.len() >= 8).count() >= 10_000);
        assert!(lines.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
        for line in lines {
            let normal: String = line.nfkc().collect();
            assert_eq!(normal.to_lowercase().trim(), line);
            assert!(is_common(line), "{line}");
        }
    }

    #[test]
    fn a_common_password_is_one_in_any_case_and_width() {
        for common in
            ["password", "PassWord", " password ", "Password1", "ｐａｓｓｗｏｒｄ", "123456", "ПАРОЛЬ"]
        {
            let normal: String = common.nfkc().collect();
            assert!(is_common(&normal), "{common}");
        }
        for rare in [
            "",
            "\n",
            "password\npassword1",
            "passwordpasswordpassword",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "\u{0}",
            "💥",
        ] {
            assert!(!is_common(rare), "{rare:?}");
        }
    }

    proptest! {
        #[test]
        fn the_search_finds_what_a_look_at_every_line_finds(text in "[a-z0-9!~ \n]{0,5}") {
            let slow = COMMON.lines().any(|line| line == text.trim() && !line.is_empty());
            prop_assert_eq!(is_common(&text), slow);
        }

        #[test]
        fn no_text_of_any_kind_breaks_a_rule(password in "\\PC{0,40}", name in "\\PC{0,40}") {
            let all = PasswordPolicySettings {
                reject_common: true, reject_context: true, min_classes: Some(4), require_lowercase: true,
                require_uppercase: true, require_digit: true, require_symbol: true,
            };
            refused(&all, &password, &[&name]);
            // A name of four letters and more is found in itself, whatever surrounds it.
            let context = PasswordPolicySettings { reject_context: true, ..PasswordPolicySettings::default() };
            if name.chars().count() >= 4 && name.chars().all(|c| c.is_ascii_alphanumeric()) {
                let around = format!("xx{name}--");
                prop_assert!(refused(&context, &around, &[&name]).is_some());
            }
        }
    }

    #[test]
    fn one_answer_says_all_that_is_missing() {
        let rules = PasswordPolicySettings {
            require_uppercase: true,
            require_digit: true,
            ..PasswordPolicySettings::default()
        };
        let code = refused(&rules, "lowercase", &[]).unwrap();
        assert_eq!(code.code, "PASSWORD_NEEDS_UPPERCASE");
        assert_eq!(code.message, "Password must contain an uppercase letter and a digit");
        assert_eq!(refused(&rules, "lowerCase", &[]).unwrap().code, "PASSWORD_NEEDS_DIGIT");
        assert_eq!(refused(&rules, "lowerCase٣", &[]), None, "a digit of any script");
        assert_eq!(refused(&rules, "ÄÖ1", &[]), None, "a capital of any alphabet");
        assert_eq!(refused(&rules, "密码1", &[]), None, "a script without case has no capitals");
    }

    #[test]
    fn kinds_are_counted() {
        let at_least = |classes| PasswordPolicySettings {
            min_classes: Some(classes),
            ..PasswordPolicySettings::default()
        };
        for (password, kinds) in
            [("", 0), ("aé", 1), ("aB", 2), ("a b", 2), ("aB1", 3), ("aB1 ", 4), ("密1_", 3), ("e\u{301}", 1)]
        {
            assert_eq!(refused(&at_least(kinds), password, &[]), None, "{password}");
            if kinds < 4 {
                let code = refused(&at_least(kinds + 1), password, &[]).unwrap();
                assert_eq!(code.code, "PASSWORD_NEEDS_MORE_KINDS");
                assert!(code.message.starts_with(&format!("Password must contain at least {}", kinds + 1)));
            }
        }
    }

    #[test]
    fn words_of_the_user_are_found_in_their_disguises() {
        let rules = PasswordPolicySettings { reject_context: true, ..PasswordPolicySettings::default() };
        let context = ["ada.lovelace@engines.example", "Ada Lovelace", "König"];
        for bad in [
            "lovelace1815",
            "LoveLace!",
            "my-10v3l4c3-x",
            "ecalevol99",
            "ex@mp1e-of-it",
            "engines4ever",
            "adalovelace",
            "Shop'til-you-drop",
            "pohs-lover",
            "könig-of-hearts",
            "ko\u{308}nig-of-hearts",
            "ｌｏｖｅｌａｃｅ",
        ] {
            let code = refused(&rules, bad, &context).unwrap_or_else(|| panic!("{bad}"));
            assert_eq!(code.code, "PASSWORD_CONTAINS_CONTEXT");
        }
        for good in ["ada is too short a word", "love-and-lace", "correct horse battery", ""] {
            assert_eq!(refused(&rules, good, &context), None, "{good}");
        }
    }
}
