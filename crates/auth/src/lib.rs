#![doc = include_str!("../README.md")]

pub mod extract;
mod facade;
pub mod features;

pub use facade::{Auth, Builder};
pub use portcullis_core::auth::{AuthBuilder, Room, StartError};
#[cfg(feature = "testing")]
pub use portcullis_core::testing;
pub use portcullis_core::{
    clock, config, crypto, database_hooks, error, errors, events, feature, hooks, http, identity, mail,
    metrics, outbound, purge, seams, secondary, store, table,
};
