//! What was agreed with the operator's hooks before a transaction began, for the writes in it.

use super::Row;
use crate::database_hooks::{Model, Verb};

/// The answers of hooks about writes that are to come, in the order in which they come.
///
/// A hook may take seconds and may call back into the server, so none is asked while a transaction is
/// open: in SQLite that is the only writer. Whoever begins one asks first (`ask_…`) and hands the
/// answers to [`Auth::begin_agreed`](crate::auth::Auth::begin_agreed). A write in it that has hooks and
/// was not asked about is an error and not a write.
#[derive(Debug, Default)]
pub struct Agreed(pub(crate) Vec<Agreement>, Vec<(String, String)>);

impl Agreed {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new(), Vec::new())
    }

    /// Did a hook say no to the next of these?
    pub fn refuses(&self, model: Model, verb: Verb) -> bool {
        let next = self.0.iter().find(|one| one.model == model && one.verb == verb);
        next.is_some_and(|one| one.over.is_none())
    }

    /// Under which name an identifier is stored, where a function of the operator's gives the name.
    pub(crate) fn name(&mut self, identifier: &str, stored: String) {
        self.1.push((identifier.to_owned(), stored));
    }

    pub(crate) fn name_of(&self, identifier: &str) -> Option<&str> {
        self.1.iter().find(|(known, _)| known == identifier).map(|(_, stored)| stored.as_str())
    }

    pub(crate) fn take(&mut self, model: Model, verb: Verb) -> Option<Agreement> {
        let at = self.0.iter().position(|one| one.model == model && one.verb == verb)?;
        Some(self.0.remove(at))
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub model: Model,
    pub verb: Verb,
    /// What is laid over the row: the id and whatever else was drawn by chance, as the hook has seen it,
    /// and what the hook wants. `None`: the hook said no.
    pub over: Option<Row>,
    /// The rows that a deletion was asked about.
    pub seen: Vec<Row>,
}
