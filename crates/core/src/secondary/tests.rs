//! What every storage has to do.
