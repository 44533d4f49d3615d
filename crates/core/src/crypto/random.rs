//! Chance, as a value that is handed around: the system's generator, or a seeded one in tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;

/// A source of random bytes. Clones of a seeded source continue the same sequence.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded { seed: u64, block: Arc<AtomicU64> },
}

/// The letters a random text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// `a-zA-Z0-9`: ids and session tokens.
    Alphanumeric,
    /// `0-9a-z`: delete-account tokens.
    LowerDigits,
    /// `a-zA-Z`: API keys.
    Letters,
    /// `a-z0-9A-Z-_`: Better Auth's `generateRandomString` without arguments.
    UrlSafe,
    /// `0-9`: one-time codes.
    Digits,
}

impl Alphabet {
    /// The letters themselves; all ASCII.
    pub const fn letters(self) -> &'static str {
        match self {
            Self::Alphanumeric => "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            Self::LowerDigits => "0123456789abcdefghijklmnopqrstuvwxyz",
            Self::Letters => "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Self::UrlSafe => "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_",
            Self::Digits => "0123456789",
        }
    }
}

impl Random {
    /// The operating system's generator.
    ///
    /// Not aws-lc's, which gathers entropy of its own when it is first asked: 30 to 40 ms of the first
    /// request.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A generator whose output follows from `seed`. For tests: anyone who knows the seed knows all.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded { seed, block: Arc::new(AtomicU64::new(0)) })
    }

    /// Fills `out` with random bytes.
    ///
    /// Without randomness the process ends: every continuation would hand out guessable tokens.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System => {
                if getrandom::fill(out).is_err() {
                    std::process::abort();
                }
            }
            Source::Seeded { seed, block } => {
                for chunk in out.chunks_mut(digest::SHA256_OUTPUT_LEN) {
                    let number = block.fetch_add(1, Ordering::SeqCst);
                    let mut input = [0u8; 16];
                    let (head, tail) = input.split_at_mut(8);
                    head.copy_from_slice(&seed.to_be_bytes());
                    tail.copy_from_slice(&number.to_be_bytes());
                    for (to, from) in chunk.iter_mut().zip(digest::digest(&digest::SHA256, &input).as_ref()) {
                        *to = *from;
                    }
                }
            }
        }
    }

    /// Random bytes of a fixed length.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0u8; N];
        self.fill(&mut bytes);
        bytes
    }

    /// An id as Better Auth makes them: 32 letters of `a-zA-Z0-9`.
    pub fn id(&self) -> String {
        self.text(32, Alphabet::Alphanumeric)
    }

    /// A text of `len` letters, each equally likely: bytes above the largest multiple of the
    /// alphabet's size are thrown away, so there is no modulo bias.
    pub fn text(&self, len: usize, alphabet: Alphabet) -> String {
        let letters = alphabet.letters().as_bytes();
        let size = letters.len();
        let limit = 256 / size * size;
        let mut text = String::with_capacity(len);
        while text.len() < len {
            for byte in self.bytes::<64>() {
                let byte = usize::from(byte);
                if byte < limit
                    && text.len() < len
                    && let Some(letter) = letters.get(byte % size)
                {
                    text.push(char::from(*letter));
                }
            }
        }
        text
    }

    /// A version 4 UUID in its usual lower-case form.
    pub fn uuid_v4(&self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Random(system)",
            Source::Seeded { .. } => "Random(seeded)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ALL: [Alphabet; 5] = [
        Alphabet::Alphanumeric,
        Alphabet::LowerDigits,
        Alphabet::Letters,
        Alphabet::UrlSafe,
        Alphabet::Digits,
    ];

    #[test]
    fn a_text_has_its_length_and_only_letters_of_its_alphabet() {
        for random in [Random::system(), Random::seeded(7)] {
            for alphabet in ALL {
                for len in [0, 1, 6, 24, 32, 64, 128, 1000] {
                    let text = random.text(len, alphabet);
                    assert_eq!(text.len(), len);
                    assert!(text.chars().all(|c| alphabet.letters().contains(c)));
                }
            }
        }
    }

    #[test]
    fn every_letter_of_an_alphabet_occurs_about_equally_often() {
        for alphabet in ALL {
            let size = alphabet.letters().len();
            let text = Random::seeded(1).text(size * 4000, alphabet);
            for letter in alphabet.letters().chars() {
                let count = text.chars().filter(|c| *c == letter).count();
                assert!((3600..4400).contains(&count), "{letter} of {alphabet:?} came {count} times");
            }
        }
    }

    #[test]
    fn alphabets_have_the_sizes_of_their_names_and_no_letter_twice() {
        for (alphabet, size) in ALL.iter().zip([62, 36, 52, 64, 10]) {
            assert_eq!(alphabet.letters().chars().collect::<HashSet<_>>().len(), size);
            assert_eq!(alphabet.letters().len(), size);
        }
    }

    #[test]
    fn a_seed_repeats_itself_and_another_seed_differs() {
        let (a, b, c) = (Random::seeded(1), Random::seeded(1), Random::seeded(2));
        let first = a.id();
        assert_eq!(first, b.id());
        assert_ne!(first, c.id());
        assert_ne!(first, a.clone().id(), "a clone goes on where the original stopped");
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        let ids: HashSet<String> = (0..1000).map(|_| Random::system().id()).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn a_uuid_has_its_version_and_variant_bits() {
        for _ in 0..100 {
            let id = Random::system().uuid_v4();
            assert_eq!(id.len(), 36);
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&id.as_bytes()[19]));
        }
    }
}
