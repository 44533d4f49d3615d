//! The mails of a developer: the last ones, in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Rendered;
use crate::clock::Timestamp;

/// Mails that are kept.
const MOST: usize = 100;

/// A mail that was rendered in this process.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts from 1.
    pub number: u64,
    /// Kind.
    pub kind: String,
    /// Recipient.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub mail: Rendered,
}

/// The last mails of this process.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<(u64, VecDeque<Arc<Seen>>)>);

impl Mailbox {
    pub(super) fn put(&self, kind: &str, to: &str, at: Timestamp, mail: Rendered) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let number = inner.0;
        if inner.1.len() == MOST {
            inner.1.pop_back();
        }
        inner.1.push_front(Arc::new(Seen { number, kind: kind.to_owned(), to: to.to_owned(), at, mail }));
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Arc<Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.iter().cloned().collect()
    }

    /// One by number.
    pub fn get(&self, number: u64) -> Option<Arc<Seen>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.iter().find(|seen| seen.number == number).cloned()
    }
}
