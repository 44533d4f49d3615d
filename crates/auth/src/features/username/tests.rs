//! The room's behaviour, through HTTP.
