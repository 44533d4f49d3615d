//! The library as its users see it: embedded in apps of their own. One binary, so that it links once.

#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../../examples/database_hooks.rs"]
mod database_hooks;
#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../../examples/embed_axum.rs"]
mod embed_axum;
#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../../examples/embed_tower.rs"]
mod embed_tower;
#[expect(dead_code, reason = "an example's main is not called here")]
#[path = "../../examples/own_room.rs"]
mod own_room;

#[cfg(test)]
#[cfg(feature = "testing")]
mod advanced;
#[cfg(test)]
mod embedded;
#[cfg(test)]
#[cfg(feature = "testing")]
mod guards;
#[cfg(test)]
#[cfg(feature = "testing")]
mod holes;
#[cfg(test)]
#[cfg(feature = "testing")]
mod hooks;
#[cfg(test)]
#[cfg(feature = "testing")]
mod mailed;
#[cfg(test)]
#[cfg(feature = "testing")]
mod password_policy;
#[cfg(test)]
#[cfg(feature = "testing")]
mod remembered;
#[cfg(test)]
#[cfg(feature = "testing")]
mod rotation;
#[cfg(test)]
#[cfg(feature = "testing")]
mod secondary;
#[cfg(test)]
#[cfg(feature = "testing")]
mod told;
