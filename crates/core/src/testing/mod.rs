//! What tests need and no deployment has.

pub mod databases;
