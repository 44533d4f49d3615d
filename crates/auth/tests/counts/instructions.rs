//! What `cargo xtask test` runs once more under callgrind, with few readings and with many: the difference
//! is what the readings cost in instructions. In memory: a file is looked at every few milliseconds, and
//! under callgrind those pass with few readings.

use crate::requests::{Server, all_rooms};
use serde_json::json;

#[test]
fn plain_few() {
    Server::in_memory(json!({})).read(100);
}

#[test]
fn plain_many() {
    Server::in_memory(json!({})).read(600);
}

#[test]
fn rooms_few() {
    Server::in_memory(all_rooms()).read(100);
}

#[test]
fn rooms_many() {
    Server::in_memory(all_rooms()).read(600);
}
