//! What every storage has to do, over all there are; and what Redis does when it is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{Functions, Memory, SecondaryStorage};
use crate::clock::{Clock, Timestamp};
use crate::config::{SecondaryFunctions, SecondaryStorageSettings, WebhookConfig};
use crate::hooks::Callback;
use crate::outbound::Outbound;

/// Functions that can do nothing but get, set and delete, and let others come between.
fn slow_functions() -> Functions {
    let map: Arc<Mutex<HashMap<String, Json>>> = Arc::default();
    let callback = Callback::native(move |name, args| {
        let (map, name) = (Arc::clone(&map), name.to_owned());
        async move {
            tokio::task::yield_now().await;
            let key = args[0].as_str().unwrap().to_owned();
            let mut map = map.lock().unwrap();
            Ok(match name.as_str() {
                "secondaryStorage.get" => map.get(&key).cloned().unwrap_or_default(),
                "secondaryStorage.set" => {
                    assert!(args[2].as_u64().unwrap() > 0);
                    map.insert(key, args[1].clone());
                    Json::Null
                }
                "secondaryStorage.delete" => {
                    map.remove(&key);
                    Json::Null
                }
                other => panic!("{other}"),
            })
        }
    });
    let functions = SecondaryFunctions {
        get: callback.clone(),
        set: callback.clone(),
        delete: callback,
        get_and_delete: None,
        increment: None,
    };
    let metrics = crate::metrics::Metrics::new(Timestamp::from_millis(0));
    let (config, clock) = (WebhookConfig::default(), Clock::system());
    let random = crate::crypto::Random::seeded(7);
    Functions::new(functions, Outbound::new(metrics, &config, clock, random).unwrap())
}

#[cfg(feature = "redis")]
fn redis_at(url: &str, prefix: &str) -> super::Redis {
    let settings = serde_json::from_value(json!({ "url": url, "keyPrefix": prefix })).unwrap();
    match settings {
        SecondaryStorageSettings::Redis(settings) => super::Redis::new(&settings).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn all(prefix: &str) -> Vec<(&'static str, Arc<dyn SecondaryStorage>)> {
    let mut all: Vec<(&'static str, Arc<dyn SecondaryStorage>)> =
        vec![("memory", Arc::new(Memory::new(Clock::system()))), ("functions", Arc::new(slow_functions()))];
    #[cfg(feature = "redis")]
    if let Some(url) = tokio::task::spawn_blocking(crate::testing::databases::redis).await.unwrap() {
        all.push(("redis", Arc::new(redis_at(url, prefix))));
    }
    let _ = prefix;
    all
}

/// How many of fifty at once answered so.
async fn of_fifty<F, Fut>(what: F) -> usize
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = bool> + Send + 'static,
{
    let tries: Vec<_> = (0..50).map(|n| tokio::spawn(what(n))).collect();
    let mut winners = 0;
    for one in tries {
        winners += usize::from(one.await.unwrap());
    }
    winners
}

#[tokio::test]
async fn a_value_is_there_until_it_is_deleted_or_taken() {
    for (name, storage) in all("there:").await {
        assert_eq!(storage.get("a").await.unwrap(), None, "{name}");
        storage.set("a", "ä \"1\"", 60).await.unwrap();
        storage.set("b", "-", 60).await.unwrap();
        let keys = ["a".to_owned(), "x".to_owned(), "b".to_owned()];
        let values = storage.get_all(&keys).await.unwrap();
        assert_eq!(values, [Some("ä \"1\"".to_owned()), None, Some("-".to_owned())], "{name}");
        assert_eq!(storage.get_and_delete("a").await.unwrap().as_deref(), Some("ä \"1\""), "{name}");
        assert_eq!(storage.get_and_delete("a").await.unwrap(), None, "{name}");
        storage.delete("b").await.unwrap();
        assert_eq!(storage.get("b").await.unwrap(), None, "{name}");
        assert_eq!(storage.get_all(&[]).await.unwrap(), Vec::<Option<String>>::new(), "{name}");
        storage.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_swap_happens_only_over_what_was_read() {
    for (name, storage) in all("swap:").await {
        let swap = async |was: Option<&str>, to: Option<&str>| {
            storage.swap("k", was, to.map(|text| (text, 60))).await.unwrap()
        };
        assert!(!swap(Some("a"), Some("b")).await, "{name}");
        assert!(swap(None, Some("a")).await, "{name}");
        assert!(!swap(None, Some("b")).await, "{name}");
        assert!(swap(Some("a"), Some("-")).await, "{name}");
        // A value that looks like the mark of none is not none.
        assert!(!swap(None, Some("b")).await, "{name}");
        assert!(swap(Some("-"), None).await, "{name}");
        assert_eq!(storage.get("k").await.unwrap(), None, "{name}");
        assert!(swap(None, None).await, "{name}");
    }
}

#[tokio::test]
async fn of_fifty_at_once_one_takes_a_value_and_one_swaps_it() {
    for (name, storage) in all("fifty:").await {
        storage.set("once", "v", 60).await.unwrap();
        let taken = of_fifty(|_| {
            let storage = Arc::clone(&storage);
            async move { storage.get_and_delete("once").await.unwrap().is_some() }
        });
        assert_eq!(taken.await, 1, "{name}");
        let set = of_fifty(|n| {
            let storage = Arc::clone(&storage);
            async move { storage.swap("place", None, Some((&n.to_string(), 60))).await.unwrap() }
        });
        assert_eq!(set.await, 1, "{name}");
    }
}

#[tokio::test]
async fn of_fifty_who_count_three_are_among_the_first_three() {
    for (name, storage) in all("count:").await.into_iter().filter(|(name, _)| *name != "functions") {
        let first = of_fifty(|_| {
            let storage = Arc::clone(&storage);
            async move { storage.increment("n", 60).await.unwrap() <= 3 }
        });
        assert_eq!(first.await, 3, "{name}");
        assert_eq!(storage.increment("n", 60).await.unwrap(), 51, "{name}");
    }
}

#[tokio::test]
async fn memory_forgets_when_the_time_is_over() {
    let clock = Clock::fixed(crate::clock::Timestamp::from_millis(0));
    let memory = Memory::new(clock.clone());
    memory.set("a", "1", 10).await.unwrap();
    assert_eq!(memory.increment("n", 10).await.unwrap(), 1);
    clock.advance(Duration::from_secs(9));
    // A count does not extend the time.
    assert_eq!(memory.increment("n", 10).await.unwrap(), 2);
    assert_eq!(memory.get("a").await.unwrap().as_deref(), Some("1"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(memory.get("a").await.unwrap(), None);
    assert_eq!(memory.increment("n", 10).await.unwrap(), 1);
}

#[tokio::test]
async fn memory_is_bounded() {
    let clock = Clock::fixed(crate::clock::Timestamp::from_millis(0));
    let memory = Memory::new(clock);
    for n in 0..100_001_u64 {
        memory.set(&n.to_string(), "v", 60 + n).await.unwrap();
    }
    let left = memory.all().len();
    assert!((90_000..=90_001).contains(&left), "{left}");
    assert_eq!(memory.get("0").await.unwrap(), None, "what ends soonest goes");
    assert!(memory.get("100000").await.unwrap().is_some());
}

#[test]
fn what_is_no_storage_is_refused_by_name() {
    let problem = |json: Json| {
        crate::config::read::<crate::config::Settings>("", json!({ "secondaryStorage": json }))
            .unwrap_err()
            .to_string()
    };
    assert!(problem(json!(3)).starts_with("secondaryStorage: must be a redis://"));
    assert!(problem(json!({ "url": "redis://x", "prefix": "y" })).contains("keyPrefix"));
    assert!(problem(json!({ "get": { "webhook": "http://x/" } })).contains("missing field `set`"));
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;

    #[test]
    fn a_url_and_its_password_are_never_shown() {
        let settings: crate::config::Settings = crate::config::read(
            "",
            json!({ "secondaryStorage": "redis://user:hunter2@127.0.0.1:1/0", "secret": "s" }),
        )
        .unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        for bad in ["http://:hunter2@x/", "redis://:hunter2@[x", "hunter2"] {
            let settings = serde_json::from_value(json!({ "url": bad })).unwrap();
            let SecondaryStorageSettings::Redis(settings) = settings else { panic!() };
            let error = super::super::Redis::new(&settings).unwrap_err().to_string();
            assert!(
                error.starts_with("secondaryStorage.url: must be redis://") && !error.contains("hunter2")
            );
        }
    }

    #[tokio::test]
    async fn a_counter_always_has_an_end() {
        let Some(url) = tokio::task::spawn_blocking(crate::testing::databases::redis).await.unwrap() else {
            return;
        };
        let storage = redis_at(url, "end:");
        let client = ::redis::Client::open(url).unwrap();
        let mut direct = client.get_multiplexed_async_connection().await.unwrap();
        let ttl = async |direct: &mut ::redis::aio::MultiplexedConnection, key: &str| -> i64 {
            ::redis::cmd("TTL").arg(key).query_async(direct).await.unwrap()
        };
        storage.increment("n", 50).await.unwrap();
        assert!((1..=50).contains(&ttl(&mut direct, "end:n").await));
        // One that lost its end, or was made without one, gets one.
        ::redis::cmd("PERSIST").arg("end:n").exec_async(&mut direct).await.unwrap();
        assert_eq!(storage.increment("n", 50).await.unwrap(), 2);
        assert!((1..=50).contains(&ttl(&mut direct, "end:n").await));
        storage.increment("n", 5_000).await.unwrap();
        assert!((1..=50).contains(&ttl(&mut direct, "end:n").await), "and it is not extended");
        storage.swap("s", None, Some(("v", 50))).await.unwrap();
        assert!((1..=50).contains(&ttl(&mut direct, "end:s").await));
    }

    /// A server that takes connections and says nothing: a network that swallows.
    #[tokio::test]
    async fn one_that_says_nothing_is_given_up_within_about_a_second() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let storage = redis_at(&format!("redis://{}", listener.local_addr().unwrap()), "x:");
        let began = Instant::now();
        for _ in 0..4 {
            let error = storage.get("a").await.unwrap_err();
            assert_eq!(error.code().map(|code| code.status.as_u16()), Some(503), "{error}");
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_that_was_away_is_found_again_by_itself() {
        let start = tokio::task::spawn_blocking(crate::testing::databases::Redis::start);
        let Some(server) = start.await.unwrap() else { return };
        let storage = redis_at(server.url(), "x:");
        storage.set("a", "1", 60).await.unwrap();
        let gone = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
        let began = Instant::now();
        let error = storage.get("a").await.unwrap_err();
        assert_eq!(error.code().map(|code| code.status.as_u16()), Some(503), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let _server = tokio::task::spawn_blocking(|| gone.start()).await.unwrap().unwrap();
        let began = Instant::now();
        while storage.ping().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "not found again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(storage.get("a").await.unwrap(), None);
    }
}
