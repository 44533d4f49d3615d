//! Caches in memory, with a bound.

use std::hash::Hash;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

/// A shard of so many gets at most a tenth more by chance; smaller ones differ by more.
const SHARD: usize = 1024;
/// More would keep nobody from waiting for a lock.
const MOST_SHARDS: usize = 1024;

/// A cache in which so many find their place, and at most an eighth more.
pub fn cache_of<K: Eq + Hash, V: Clone>(items: usize) -> Cache<K, V> {
    // Keys are spread over shards by chance, and one that is full lets go of a key while others have room.
    let room = items.saturating_add(items / 8);
    let shards = 1 << (items / SHARD).clamp(1, MOST_SHARDS).ilog2();
    let weight = u64::try_from(room).unwrap_or(u64::MAX);
    let mut options = OptionsBuilder::new();
    match options.shards(shards).estimated_items_capacity(room).weight_capacity(weight).build() {
        Ok(options) => Cache::with_options(
            options,
            UnitWeighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // It says so of options that are missing.
        Err(_) => Cache::new(room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_were_asked_for_find_their_place_and_few_more() {
        for items in [1, 2, 100, 400, 1023, 1024, 3000, 10_000, 100_000] {
            let cache = cache_of(items);
            for number in 0..items {
                cache.insert(number, number);
            }
            assert_eq!((0..items).filter(|number| cache.get(number).is_some()).count(), items);
            for number in items..items * 3 {
                cache.insert(number, number);
            }
            assert!(cache.len() <= items + items / 8 + items / SHARD + 1, "{} of {items}", cache.len());
        }
    }

    #[test]
    fn a_bound_beyond_all_memory_is_no_bound() {
        let cache = cache_of(usize::MAX);
        cache.insert("a", 1);
        assert_eq!(cache.get("a"), Some(1));
    }
}
