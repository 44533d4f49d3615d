//! What requests cost, counted. A binary of its own: it counts allocations in place of the system's allocator.

#[cfg(test)]
#[cfg(feature = "testing")]
mod instructions;
#[cfg(test)]
#[cfg(feature = "testing")]
mod requests;
