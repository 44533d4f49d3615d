//! The app as its clients see it: over HTTP, with a real Portcullis inside. One binary, so that it links
//! once.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod document;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod users;
#[cfg(test)]
mod world;
