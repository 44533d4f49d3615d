//! One suite for every database: what the store promises, tried on a real one.
//!
//! [`run`] is given a maker of options for new, empty databases and panics at the first promise that
//! is not kept. Run it with a pool of one as well: no verb may need a second connection.

use std::collections::HashSet;
use std::sync::Arc;

use super::link::Purpose;
use super::{
    Column, ConnectOptions, Dialect, Filter, IdKind, Order, Query, Row, Schema, Store, StoreError, Table,
    Value,
};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;

/// The options of a new, empty database, without a schema; takes the schema's id kind along.
pub trait Fresh {
    /// URL, pool size and pooler of a database that nobody has used before.
    fn database(&self) -> impl Future<Output = ConnectOptions> + Send;
}

impl<F: Fn() -> T + Sync, T: Future<Output = ConnectOptions> + Send> Fresh for F {
    fn database(&self) -> impl Future<Output = ConnectOptions> + Send {
        self()
    }
}

crate::table! {
    /// Core's user, as far as the suite needs it.
    pub struct Person in "user" {
        /// Row id.
        id / ID: String = Column::id(),
        /// Display name.
        name / NAME: String = Column::text("name"),
        /// Address.
        email / EMAIL: String = Column::text("email").unique().sortable(),
        /// Proven.
        verified / VERIFIED: bool = Column::bool("emailVerified").default(false),
        /// Born.
        created_at / CREATED: Timestamp = Column::time("createdAt").default_now(),
        /// Free text.
        image / IMAGE: Option<String> = Column::text("image"),
        .. extra
    }
}

crate::table! {
    /// Core's session, as far as the suite needs it.
    pub struct Visit in "session" {
        /// Row id.
        id / ID: String = Column::id(),
        /// Secret.
        token / TOKEN: String = Column::text("token").unique().hidden(),
        /// Whose.
        user_id / USER: String = Column::foreign("userId", "user").indexed(),
        /// Until.
        expires_at / EXPIRES: Timestamp = Column::time("expiresAt")
    }
}

crate::table! {
    /// Every kind of value, required and not.
    pub struct Thing in "thing" {
        /// Row id.
        id / ID: String = Column::id(),
        /// A text.
        text / TEXT: Option<String> = Column::text("text"),
        /// A text that sorts.
        label / LABEL: Option<String> = Column::text("label").sortable(),
        /// A boolean.
        flag / FLAG: Option<bool> = Column::bool("flag"),
        /// A number.
        count / COUNT: Option<i64> = Column::int("count"),
        /// A large number.
        big / BIG: Option<i64> = Column::bigint("big"),
        /// A date.
        at / AT: Option<Timestamp> = Column::time("at"),
        /// JSON.
        json / JSON: Option<serde_json::Value> = Column::json("json"),
        /// Texts.
        texts / TEXTS: Option<Vec<String>> = Column::text_list("texts"),
        /// Numbers.
        ints / INTS: Option<Vec<i64>> = Column::int_list("ints"),
        /// With a constant default.
        role / ROLE: Option<String> = Column::text("role").default("member"),
        /// Points somewhere, or not.
        owner_id / OWNER: Option<String> = Column::foreign("ownerId", "user"),
    }
}

crate::table! {
    /// Core's account, as far as the suite needs it.
    pub struct Login in "account" {
        /// Row id.
        id / ID: String = Column::id(),
        /// The provider's name for the user.
        account_id / ACCOUNT: String = Column::text("accountId"),
        /// The provider.
        provider_id / PROVIDER: String = Column::text("providerId"),
        /// Whose.
        user_id / USER: String = Column::foreign("userId", "user").indexed(),
    }
}

fn schema() -> Schema {
    Schema::new(vec![
        Thing::table(),
        Login::table().order(3),
        Visit::table().order(2),
        Person::table().order(1),
        Table::new(
            "pair",
            vec![Column::id(), Column::text("left").required(), Column::text("right").required()],
        )
        .unique_together(&["left", "right"]),
    ])
}

async fn open(fresh: &impl Fresh, schema: Schema, id_kind: IdKind) -> Result<Store, StoreError> {
    let options = ConnectOptions { schema, id_kind, ..fresh.database().await };
    let store = Store::connect_with_clock(options, Clock::fixed(NOW)).await?;
    store.migrate().await?;
    Ok(store)
}

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_123);

/// An id that every kind of id column takes.
fn id(store: &Store, number: u32) -> String {
    match store.id_kind() {
        IdKind::Text => format!("id{number}"),
        IdKind::Uuid => format!("00000000-0000-4000-8000-{number:012}"),
        IdKind::Serial => number.to_string(),
    }
}

async fn person(store: &Store, number: u32) -> Result<Person, StoreError> {
    let row = Row::from([
        Person::ID.set(id(store, number)),
        Person::NAME.set(format!("Person {number}")),
        Person::EMAIL.set(format!("p{number}@example.com")),
    ]);
    Person::from_row(store.db().insert(Person::KEY, row).await?)
}

async fn thing(store: &Store, number: u32) -> Result<Thing, StoreError> {
    let row = Row::from([Thing::ID.set(id(store, number)), Thing::COUNT.set(i64::from(number))]);
    Thing::from_row(store.db().insert(Thing::KEY, row).await?)
}

async fn raw(store: &Store, sql: &str) -> Result<(), StoreError> {
    let sql = if store.dialect() == Dialect::MySql { sql.replace('"', "`") } else { sql.to_owned() };
    let mut link = store.0.pool.link(Purpose::Write).await?;
    link.raw(sql).await?;
    link.commit().await
}

/// Tries every promise.
///
/// # Errors
/// What the database answered where it should have done what it was told.
pub async fn run(fresh: impl Fresh) -> Result<(), StoreError> {
    for kind in [IdKind::Text, IdKind::Uuid, IdKind::Serial] {
        let store = open(&fresh, schema(), kind).await?;
        migrating_again_finds_nothing_to_do(&store).await?;
        every_kind_of_value_comes_back_as_it_went_in(&store).await?;
        filters_take_the_rows_that_they_describe(&store).await?;
        rows_are_joined_in_one_query(&store).await?;
        store.close().await;
    }
    let store = open(&fresh, schema(), IdKind::Text).await?;
    the_database_answers(&store).await?;
    lists_are_sorted_and_cut(&store).await?;
    changes_touch_what_the_filter_takes(&store).await?;
    a_taken_value_is_a_unique_violation(&store).await?;
    a_dropped_transaction_leaves_nothing(&store).await?;
    what_waits_for_a_commit_happens_after_it(&store).await?;
    defaults_are_applied(&store).await?;
    wrong_types_are_refused_by_name(&store).await?;
    store.close().await;

    ids_that_the_database_makes(&fresh).await?;
    ids_that_cannot_exist_match_nothing(&fresh).await?;
    everything_can_be_renamed(&fresh).await?;
    a_foreign_database_is_adopted(&fresh).await?;
    the_issuer_of_older_versions_is_filled(&fresh).await?;
    a_migration_that_would_invent_values_is_refused(&fresh).await?;
    many_may_migrate_at_once(&fresh).await?;
    one_of_many_racers_wins(&fresh).await?;
    Ok(())
}

async fn the_database_answers(store: &Store) -> Result<(), StoreError> {
    store.ping().await
}

async fn migrating_again_finds_nothing_to_do(store: &Store) -> Result<(), StoreError> {
    let plan = store.migration_plan().await?;
    assert_eq!((plan.sql().as_str(), plan.warnings.as_slice()), ("", [].as_slice()));
    assert!(store.migrate().await?.is_empty());
    Ok(())
}

async fn every_kind_of_value_comes_back_as_it_went_in(store: &Store) -> Result<(), StoreError> {
    let owner = person(store, 900).await?;
    let json = serde_json::json!({"a": [1, 2.5, null, "x"], "nested": {"é": true}});
    let row = Row::from([
        Thing::ID.set(id(store, 1)),
        Thing::TEXT.set("it's \"quoted\" \\ ☃ 😀\n"),
        Thing::FLAG.set(true),
        Thing::COUNT.set(-7),
        Thing::BIG.set(9_007_199_254_740_993_i64),
        Thing::AT.set(NOW),
        Thing::JSON.set(json.clone()),
        Thing::TEXTS.set(vec!["a".to_owned(), "b,\"c".to_owned()]),
        Thing::INTS.set(vec![1, -2]),
        Thing::OWNER.set(&owner.id),
    ]);
    let stored = Thing::from_row(store.db().insert(Thing::KEY, row).await?)?;
    let found = store.db().find(Thing::KEY, &Thing::ID.is(id(store, 1))).await?;
    let found = Thing::from_row(found.unwrap_or_default())?;
    for thing in [stored, found] {
        assert_eq!(thing.id, id(store, 1));
        assert_eq!(thing.text.as_deref(), Some("it's \"quoted\" \\ ☃ 😀\n"));
        assert_eq!((thing.flag, thing.count, thing.big), (Some(true), Some(-7), Some(9_007_199_254_740_993)));
        assert_eq!(thing.at, Some(NOW));
        assert_eq!(thing.json, Some(json.clone()));
        assert_eq!(thing.texts, Some(vec!["a".to_owned(), "b,\"c".to_owned()]));
        assert_eq!(thing.ints, Some(vec![1, -2]));
        assert_eq!(thing.owner_id, Some(owner.id.clone()));
        assert_eq!(thing.role.as_deref(), Some("member"));
    }
    let empty = Row::from([Thing::ID.set(id(store, 2)), Thing::ROLE.set(None::<String>)]);
    let empty = store.db().insert(Thing::KEY, empty).await?;
    for key in ["text", "flag", "count", "big", "at", "json", "texts", "ints", "role", "ownerId"] {
        assert_eq!(empty.get(key), Some(&Value::Null), "{key}");
    }
    // Explicit NULLs can be written over values of every kind.
    let nulls: Row = ["text", "flag", "count", "big", "at", "json", "texts", "ints", "ownerId"]
        .into_iter()
        .map(|key| (key, Value::Null))
        .collect();
    let changed =
        store.db().update_one(Thing::KEY, &Thing::ID.is(id(store, 1)), nulls).await?.unwrap_or_default();
    assert_eq!((changed.get("json"), changed.get("at")), (Some(&Value::Null), Some(&Value::Null)));
    store.db().delete(Thing::KEY, &Filter::All).await?;
    Ok(())
}

async fn filters_take_the_rows_that_they_describe(store: &Store) -> Result<(), StoreError> {
    for (number, text) in [(1, "100%"), (2, "1000"), (3, "a_b!c"), (4, "axb!c"), (5, "back\\slash")] {
        let row = Row::from([
            Thing::ID.set(id(store, number)),
            Thing::TEXT.set(text),
            Thing::COUNT.set(i64::from(number)),
            Thing::FLAG.set(number % 2 == 0),
            Thing::AT.set(NOW.plus_seconds(i64::from(number))),
        ]);
        store.db().insert(Thing::KEY, row).await?;
    }
    thing(store, 6).await?; // text NULL
    let at = |seconds| NOW.plus_seconds(seconds);
    let cases: Vec<(Filter, &[u32])> = vec![
        (Filter::All, &[1, 2, 3, 4, 5, 6]),
        (Filter::And(vec![]), &[1, 2, 3, 4, 5, 6]),
        // A token in other letters, or with a space behind it, is another token.
        (Thing::TEXT.is("a_b!c"), &[3]),
        (Thing::TEXT.is("A_B!c"), &[]),
        (Thing::TEXT.is("a_b!c "), &[]),
        (Thing::TEXT.is("á_b!c"), &[]),
        (Filter::Or(vec![]), &[]),
        (Filter::Or(vec![Filter::All, Thing::COUNT.is(1)]), &[1, 2, 3, 4, 5, 6]),
        (Thing::ID.is(id(store, 2)), &[2]),
        (Thing::TEXT.is("1000"), &[2]),
        (Thing::TEXT.is("x' or '1'='1"), &[]),
        (Thing::TEXT.not("1000"), &[1, 3, 4, 5]),
        (Thing::TEXT.is_null(), &[6]),
        (Thing::TEXT.is_set(), &[1, 2, 3, 4, 5]),
        (Thing::TEXT.lt(None::<String>), &[]),
        (Thing::FLAG.is(true), &[2, 4]),
        (Thing::COUNT.lt(2), &[1]),
        (Thing::COUNT.le(2), &[1, 2]),
        (Thing::COUNT.gt(5), &[6]),
        (Thing::COUNT.ge(5), &[5, 6]),
        (Thing::AT.gt(at(3)), &[4, 5]),
        (Thing::AT.is(at(3)), &[3]),
        (Thing::ID.one_of([id(store, 1), id(store, 3), id(store, 77)]), &[1, 3]),
        (Thing::ID.none_of([id(store, 1), id(store, 3)]), &[2, 4, 5, 6]),
        (Thing::COUNT.one_of(Vec::<i64>::new()), &[]),
        (Thing::COUNT.none_of(Vec::<i64>::new()), &[1, 2, 3, 4, 5, 6]),
        (Filter::Contains("text".into(), "0%".into()), &[1]),
        (Filter::Contains("text".into(), "_b!".into()), &[3]),
        (Filter::Contains("text".into(), "k\\s".into()), &[5]),
        (Filter::StartsWith("text".into(), "100".into()), &[1, 2]),
        (Filter::EndsWith("text".into(), "b!c".into()), &[3, 4]),
        (Filter::EndsWith("text".into(), "%".into()), &[1]),
        (Thing::COUNT.gt(1).and(Thing::COUNT.lt(4)).and(Thing::FLAG.is(true)), &[2]),
        (Thing::COUNT.is(1).or(Thing::COUNT.is(6)).or(Thing::COUNT.is(9)), &[1, 6]),
        (Thing::TEXT.is("nul\0").or(Thing::COUNT.is(1)), &[1]),
    ];
    for (filter, expected) in cases {
        let found: HashSet<String> = store
            .db()
            .list(Thing::KEY, &filter.clone().into())
            .await?
            .iter()
            .filter_map(|row| row.text("id").map(str::to_owned))
            .collect();
        let expected: HashSet<String> = expected.iter().map(|number| id(store, *number)).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(store.db().count(Thing::KEY, &filter).await?, expected.len() as u64, "{filter:?}");
    }
    // A filter on an id's text, whatever the column's type.
    let contains = Filter::Contains("id".into(), id(store, 3).split_off(1));
    store.db().count(Thing::KEY, &contains).await?;
    store.db().delete(Thing::KEY, &Filter::All).await?;
    Ok(())
}

async fn rows_are_joined_in_one_query(store: &Store) -> Result<(), StoreError> {
    let owner = person(store, 31).await?;
    person(store, 32).await?;
    let row = Row::from([
        Visit::ID.set(id(store, 5)),
        Visit::TOKEN.set("secret"),
        Visit::USER.set(&owner.id),
        Visit::EXPIRES.set(NOW),
    ]);
    store.db().insert(Visit::KEY, row).await?;
    for _ in 0..2 {
        let filter = Visit::TOKEN.is("secret").and(Visit::EXPIRES.gt(NOW.plus_seconds(-1)));
        let found = store.db().find_with(Visit::KEY, &filter, Person::KEY, ("userId", "id")).await?;
        let (visit, user) = found.unwrap_or_default();
        assert_eq!(Visit::from_row(visit)?.user_id, owner.id);
        assert_eq!(Person::from_row(user)?.email, "p31@example.com");
        let expired = Visit::TOKEN.is("secret").and(Visit::EXPIRES.gt(NOW));
        assert_eq!(store.db().find_with(Visit::KEY, &expired, Person::KEY, ("userId", "id")).await?, None);
    }
    // Rows go with the row that they point to (MariaDB and the others enforce it).
    store.db().delete(Person::KEY, &Person::ID.is(&owner.id)).await?;
    assert_eq!(store.db().count(Visit::KEY, &Filter::All).await?, 0);
    Ok(())
}

async fn lists_are_sorted_and_cut(store: &Store) -> Result<(), StoreError> {
    for number in [3, 1, 2] {
        let row = Row::from([
            Thing::ID.set(id(store, number)),
            Thing::AT.set(NOW.plus_seconds(i64::from(number))),
            Thing::LABEL.set(if number == 3 { "b" } else { "a" }),
        ]);
        store.db().insert(Thing::KEY, row).await?;
    }
    let queries: Vec<(Query, &[&str])> = vec![
        (Query::all().newest_first("at"), &["id3", "id2", "id1"]),
        (Query::all().oldest_first("at").limit(2), &["id1", "id2"]),
        (Query::all().oldest_first("at").limit(2).offset(2), &["id3"]),
        (Query::all().oldest_first("at").offset(1), &["id2", "id3"]),
        (Query::all().newest_first("at").limit(0), &[]),
        (Query::all().sorted("label", Order::Desc).sorted("id", Order::Asc), &["id3", "id1", "id2"]),
    ];
    for (query, expected) in queries {
        let rows = store.db().list(Thing::KEY, &query).await?;
        let ids: Vec<_> = rows.iter().filter_map(|row| row.text("id")).collect();
        assert_eq!(ids, expected, "{query:?}");
    }
    store.db().delete(Thing::KEY, &Filter::All).await?;
    Ok(())
}

async fn changes_touch_what_the_filter_takes(store: &Store) -> Result<(), StoreError> {
    for number in 1..=4 {
        thing(store, number).await?;
    }
    let mut db = store.db();
    let changes = Row::from([Thing::TEXT.set("new"), Thing::FLAG.set(true)]);
    assert_eq!(db.update(Thing::KEY, &Thing::COUNT.gt(2), changes.clone()).await?, 2);
    // Also when nothing differs: MySQL would otherwise count changed rows only.
    assert_eq!(db.update(Thing::KEY, &Thing::COUNT.gt(2), changes.clone()).await?, 2);
    assert_eq!(db.update(Thing::KEY, &Thing::COUNT.gt(9), changes.clone()).await?, 0);
    assert_eq!(db.update(Thing::KEY, &Thing::COUNT.gt(2), Row::new()).await?, 2);

    // The filter need not hold afterwards.
    let row = db.update_one(Thing::KEY, &Thing::COUNT.is(1), Row::from([Thing::COUNT.set(10)])).await?;
    assert_eq!(row.as_ref().and_then(|row| row.get("count")), Some(&Value::Int(10)));
    assert_eq!(db.update_one(Thing::KEY, &Thing::COUNT.is(1), changes.clone()).await?, None);
    // One row, even where several match.
    assert!(
        db.update_one(Thing::KEY, &Thing::FLAG.is(true), Row::from([Thing::LABEL.set("once")]))
            .await?
            .is_some()
    );
    assert_eq!(db.count(Thing::KEY, &Thing::LABEL.is("once")).await?, 1);

    let guard = Thing::ID.is("id2").and(Thing::COUNT.lt(4));
    let counted = db.increment(Thing::KEY, &guard, "count", 2, Row::from([Thing::TEXT.set("up")])).await?;
    let counted = counted.unwrap_or_default();
    assert_eq!((counted.get("count"), counted.text("text")), (Some(&Value::Int(4)), Some("up")));
    assert_eq!(db.increment(Thing::KEY, &guard, "count", 2, Row::new()).await?, None);
    let big =
        db.increment(Thing::KEY, &Thing::ID.is("id2"), "big", -3, Row::new()).await?.unwrap_or_default();
    assert_eq!(big.get("big"), Some(&Value::Int(-3)), "NULL counts as 0");

    let taken = db.consume(Thing::KEY, &Thing::ID.is("id3")).await?.unwrap_or_default();
    assert_eq!(taken.text("text"), Some("new"));
    assert_eq!(db.consume(Thing::KEY, &Thing::ID.is("id3")).await?, None);
    // One row, even where several match.
    assert!(db.consume(Thing::KEY, &Filter::All).await?.is_some());
    assert_eq!(db.count(Thing::KEY, &Filter::All).await?, 2);
    assert_eq!(db.delete(Thing::KEY, &Filter::All).await?, 2);
    assert_eq!(db.delete(Thing::KEY, &Filter::All).await?, 0);
    Ok(())
}

async fn a_taken_value_is_a_unique_violation(store: &Store) -> Result<(), StoreError> {
    let one = person(store, 1).await?;
    let two = person(store, 2).await?;
    let same_mail =
        Row::from([Person::ID.set("other"), Person::NAME.set("x"), Person::EMAIL.set(&one.email)]);
    let same_id =
        Row::from([Person::ID.set(&one.id), Person::NAME.set("x"), Person::EMAIL.set("new@example.com")]);
    for row in [same_mail, same_id] {
        match store.db().insert(Person::KEY, row).await {
            Err(StoreError::Unique { constraint }) => {
                assert!(!constraint.contains("example.com"), "{constraint}")
            }
            other => panic_with(&format!("expected a unique violation, got {other:?}")),
        }
    }
    let change = Row::from([Person::EMAIL.set(&one.email)]);
    let by_id = Person::ID.is(&two.id);
    assert!(
        store.db().update(Person::KEY, &by_id, change.clone()).await.is_err_and(|error| error.is_unique())
    );
    assert!(store.db().update_one(Person::KEY, &by_id, change).await.is_err_and(|error| error.is_unique()));
    let pair = |id: &str, right: &str| Row::from([("id", id), ("left", "l"), ("right", right)]);
    store.db().insert("pair", pair("1", "a")).await?;
    store.db().insert("pair", pair("2", "b")).await?;
    assert!(store.db().insert("pair", pair("3", "a")).await.is_err_and(|error| error.is_unique()));
    store.db().delete(Person::KEY, &Filter::All).await?;
    Ok(())
}

/// What waits for a commit happens after it, in order and though one of it fails; never without it.
async fn what_waits_for_a_commit_happens_after_it(store: &Store) -> Result<(), StoreError> {
    let done = Arc::new(std::sync::Mutex::new(Vec::new()));
    let job = |name: &'static str, fails: bool| {
        let (store, done) = (store.clone(), Arc::clone(&done));
        async move {
            let rows = store.db().count(Thing::KEY, &Filter::All).await?;
            done.lock().map_err(|e| Error::broken(e.to_string()))?.push((name, rows));
            if fails { Err(Error::broken("it fails")) } else { Ok(()) }
        }
    };
    let row = |id: &str| Row::from([Thing::ID.set(id), Thing::COUNT.set(1)]);

    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row("a1")).await?;
    tx.db().after_commit(job("lost", false)).await.map_err(StoreError::other)?;
    drop(tx);

    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row("a2")).await?;
    for (name, fails) in [("first", true), ("second", false)] {
        tx.db().after_commit(job(name, fails)).await.map_err(StoreError::other)?;
    }
    assert!(tx.commit().await.is_err(), "the caller hears of it");
    store.db().after_commit(job("at once", false)).await.map_err(StoreError::other)?;
    assert!(store.db().after_commit(job("at once", true)).await.is_err());

    let done = done.lock().map_err(|e| StoreError::other(e.to_string()))?.clone();
    assert_eq!(done, [("first", 1), ("second", 1), ("at once", 1), ("at once", 1)]);
    store.db().delete(Thing::KEY, &Filter::All).await?;
    Ok(())
}

async fn a_dropped_transaction_leaves_nothing(store: &Store) -> Result<(), StoreError> {
    let row = |number: u32| Row::from([Thing::ID.set(format!("t{number}")), Thing::COUNT.set(1)]);
    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row(1)).await?;
    assert_eq!(tx.db().count(Thing::KEY, &Filter::All).await?, 1);
    drop(tx);
    assert_eq!(store.db().count(Thing::KEY, &Filter::All).await?, 0);

    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row(2)).await?;
    tx.rollback().await?;
    assert_eq!(store.db().count(Thing::KEY, &Filter::All).await?, 0);

    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row(3)).await?;
    tx.db().update_one(Thing::KEY, &Thing::ID.is("t3"), Row::from([Thing::TEXT.set("in")])).await?;
    tx.db().increment(Thing::KEY, &Thing::ID.is("t3"), "count", 1, Row::new()).await?;
    assert!(tx.db().consume(Thing::KEY, &Thing::ID.is("t1")).await?.is_none());
    tx.commit().await.map_err(StoreError::other)?;
    let kept = store.db().find(Thing::KEY, &Thing::ID.is("t3")).await?.unwrap_or_default();
    assert_eq!((kept.text("text"), kept.get("count")), (Some("in"), Some(&Value::Int(2))));

    // After a failed verb nothing is committed, on any database.
    let mut tx = store.begin().await?;
    tx.db().insert(Thing::KEY, row(4)).await?;
    assert!(tx.db().insert(Thing::KEY, row(3)).await.is_err_and(|error| error.is_unique()));
    assert!(tx.commit().await.is_err());
    assert_eq!(store.db().count(Thing::KEY, &Filter::All).await?, 1);
    store.db().delete(Thing::KEY, &Filter::All).await?;
    Ok(())
}

async fn defaults_are_applied(store: &Store) -> Result<(), StoreError> {
    let person = person(store, 50).await?;
    assert_eq!((person.verified, person.created_at, person.image), (false, NOW, None));
    store.db().delete(Person::KEY, &Filter::All).await?;
    Ok(())
}

async fn wrong_types_are_refused_by_name(store: &Store) -> Result<(), StoreError> {
    let wrong = Row::from([("id", Value::from("w")), ("flag", Value::from("not a flag"))]);
    decode_error(store.db().insert(Thing::KEY, wrong).await.map(drop), "thing.flag", "not a flag");
    let wrong = Filter::Is("at".into(), "yesterday evening".into());
    decode_error(store.db().find(Thing::KEY, &wrong).await.map(drop), "thing.at", "yesterday");
    assert!(store.db().find("nowhere", &Filter::All).await.is_err());
    assert!(store.db().find(Thing::KEY, &Filter::Is("nothing".into(), "x".into())).await.is_err());
    // What others wrote into a column that should hold JSON.
    if store.dialect() == Dialect::Sqlite {
        thing(store, 1).await?;
        for (column, value) in
            [("json", "'no json'"), ("at", "'yesterday evening'"), ("count", "x'ff00'"), ("text", "x'ff'")]
        {
            raw(store, "update thing set json = null, at = null, \"count\" = 1, text = null").await?;
            raw(store, &format!("update thing set \"{column}\" = {value}")).await?;
            decode_error(
                store.db().find(Thing::KEY, &Filter::All).await.map(drop),
                &format!("thing.{column}"),
                "yesterday",
            );
        }
        for at in [
            "1750000000",
            "1750000000123",
            "'2025-06-15 15:06:40'",
            "'2025-06-15T15:06:40.123Z'",
            "1750000000.0",
        ] {
            raw(store, &format!("update thing set \"count\" = 1, text = null, at = {at}")).await?;
            let row = store.db().find(Thing::KEY, &Filter::All).await?.unwrap_or_default();
            let read = row.get("at").and_then(Value::as_time).map(Timestamp::seconds);
            assert_eq!(read, Some(NOW.seconds()), "{at}");
        }
        store.db().delete(Thing::KEY, &Filter::All).await?;
    }
    Ok(())
}

fn decode_error(outcome: Result<(), StoreError>, column: &str, secret: &str) {
    match outcome {
        Err(error @ StoreError::Decode(_)) => {
            let text = error.to_string();
            assert!(text.contains(column) && !text.contains(secret), "{text}");
        }
        other => panic_with(&format!("expected a decoding error of {column}, got {other:?}")),
    }
}

#[expect(clippy::panic, reason = "a promise of the store is not kept")]
fn panic_with(what: &str) {
    panic!("{what}");
}

async fn ids_that_the_database_makes(fresh: &impl Fresh) -> Result<(), StoreError> {
    let store = open(fresh, schema(), IdKind::Serial).await?;
    let row = |mail: &str| Row::from([Person::NAME.set("x"), Person::EMAIL.set(mail)]);
    let one = store.db().insert(Person::KEY, row("a@example.com")).await?;
    let two = store.db().insert(Person::KEY, row("b@example.com")).await?;
    assert_eq!((one.text("id"), two.text("id")), (Some("1"), Some("2")), "numbers, as texts");
    assert!(store.db().find(Person::KEY, &Person::ID.is("2")).await?.is_some());
    store.close().await;
    if store.dialect() == Dialect::Postgres {
        let store = open(fresh, schema(), IdKind::Uuid).await?;
        let one = store.db().insert(Person::KEY, row("a@example.com")).await?;
        assert!(one.text("id").is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()), "{one:?}");
        store.close().await;
    }
    Ok(())
}

async fn ids_that_cannot_exist_match_nothing(fresh: &impl Fresh) -> Result<(), StoreError> {
    for kind in [IdKind::Uuid, IdKind::Serial] {
        let store = open(fresh, schema(), kind).await?;
        thing(&store, 1).await?;
        for impossible in ["nobody", "", "1 or 1=1", "99999999999999999999", "+1", "01", " 1"] {
            assert_eq!(store.db().count(Thing::KEY, &Thing::ID.is(impossible)).await?, 0, "{impossible}");
            assert_eq!(store.db().count(Thing::KEY, &Thing::ID.not(impossible)).await?, 1, "{impossible}");
            assert_eq!(
                store.db().count(Thing::KEY, &Thing::ID.one_of([impossible])).await?,
                0,
                "{impossible}"
            );
        }
        store.close().await;
    }
    Ok(())
}

async fn everything_can_be_renamed(fresh: &impl Fresh) -> Result<(), StoreError> {
    let mut schema = schema();
    let odd = "my \"users\" `table`";
    schema.set_table_name("user", odd);
    schema.set_column_name("user", "email", "e-mail \"address\"");
    schema.set_column_name("user", "id", "user_id");
    schema.set_table_name("session", "Sessions");
    schema.set_column_name("session", "userId", "user");
    schema.lend("user", Column::text("lent").default("yes").named("lent_column").indexed());
    let store = open(fresh, schema, IdKind::Text).await?;
    migrating_again_finds_nothing_to_do(&store).await?;
    let owner = person(&store, 1).await?;
    assert_eq!(owner.extra.text("lent"), Some("yes"));
    let row = Row::from([
        Visit::ID.set("s"),
        Visit::TOKEN.set("t"),
        Visit::USER.set(&owner.id),
        Visit::EXPIRES.set(NOW),
    ]);
    store.db().insert(Visit::KEY, row).await?;
    let found =
        store.db().find_with(Visit::KEY, &Visit::TOKEN.is("t"), Person::KEY, ("userId", "id")).await?;
    assert_eq!(
        found.and_then(|(_, user)| user.text("email").map(str::to_owned)).as_deref(),
        Some("p1@example.com")
    );
    let change = Row::from([Person::EMAIL.set("new@example.com")]);
    assert!(store.db().update_one(Person::KEY, &Person::EMAIL.is(&owner.email), change).await?.is_some());
    let by_mail = Person::EMAIL.is("new@example.com");
    assert_eq!(
        store.db().list(Person::KEY, &Query::from(by_mail.clone()).newest_first("email")).await?.len(),
        1
    );
    assert!(store.db().consume(Person::KEY, &by_mail).await?.is_some());
    store.close().await;
    Ok(())
}

/// A database that somebody else made: other columns, other tables, some of ours missing.
async fn a_foreign_database_is_adopted(fresh: &impl Fresh) -> Result<(), StoreError> {
    let options = fresh.database().await;
    let short = Schema::new(vec![Person::table().order(1)]);
    let store = Store::connect(ConnectOptions { schema: short, ..options.clone() }).await?;
    store.migrate().await?;
    raw(&store, "alter table \"user\" add column \"favourite\" varchar(20)").await?;
    raw(&store, "create table \"elsewhere\" (\"x\" integer)").await?;
    raw(&store, "alter table \"user\" drop column \"image\"").await?;
    person(&store, 1).await.map(drop).or_else(|error| match error {
        StoreError::Other(_) => Ok(()), // the column is missing, and that is an error, not a panic
        other => Err(other),
    })?;
    let insert = "insert into \"user\" (\"id\", \"name\", \"email\", \"emailVerified\", \"createdAt\", \"favourite\") values \
                  ('old', 'Old', 'old@example.com', VERIFIED, '2025-01-01 00:00:00', 'tea')";
    let verified = if store.dialect() == Dialect::Postgres { "true" } else { "1" };
    raw(&store, &insert.replace("VERIFIED", verified)).await?;
    store.close().await;

    let mut schema = schema();
    schema.lend("user", Column::text("role").required().default("it's").indexed());
    schema.lend("user", Column::bool("banned").default(false));
    schema.lend("user", Column::text("username").unique());
    let store = Store::connect(ConnectOptions { schema, ..options }).await?;
    let plan = store.migrate().await?;
    assert!(!plan.is_empty());
    assert_eq!(plan.warnings, Vec::<String>::new());
    migrating_again_finds_nothing_to_do(&store).await?;
    let old = store.db().find(Person::KEY, &Person::ID.is("old")).await?.unwrap_or_default();
    assert_eq!(old.text("role"), Some("it's"), "static defaults reach the rows that exist");
    assert_eq!(old.get("banned"), Some(&Value::Bool(false)));
    assert_eq!(old.get("createdAt").and_then(Value::as_time), Timestamp::parse("2025-01-01T00:00:00Z"));
    raw(&store, "select \"favourite\" from \"user\"").await?;
    raw(&store, "select \"x\" from \"elsewhere\"").await?;
    let name = |id: &str| {
        Row::from([Person::ID.set(id), Person::NAME.set("n"), Person::EMAIL.set(id)]).with("username", "u")
    };
    store.db().insert(Person::KEY, name("a")).await?;
    assert!(store.db().insert(Person::KEY, name("b")).await.is_err_and(|error| error.is_unique()));
    store.close().await;
    Ok(())
}

async fn the_issuer_of_older_versions_is_filled(fresh: &impl Fresh) -> Result<(), StoreError> {
    let options = ConnectOptions { schema: schema(), ..fresh.database().await };
    let store = Store::connect(options.clone()).await?;
    store.migrate().await?;
    raw(&store, "alter table \"account\" add column \"issuer\" varchar(255)").await?;
    match store.dialect() {
        Dialect::Postgres => {
            raw(&store, "alter table \"account\" alter column \"issuer\" set not null").await?
        }
        Dialect::MySql => {
            raw(&store, "alter table \"account\" modify \"issuer\" varchar(255) not null").await?
        }
        // SQLite adds NOT NULL columns only with a default, so the table is made anew.
        Dialect::Sqlite => {
            let anew = "drop table account; \
                create table account (id text primary key, accountId text not null, providerId text not null, \
                userId text not null, issuer text not null); \
                create index account_userId_idx on account (userId)";
            raw(&store, anew).await?;
        }
    }
    raw(&store, "create unique index \"account_issuer_uidx\" on \"account\" (\"issuer\", \"accountId\")")
        .await
        .or_else(
            // MySQL: accountId is a text without a length there.
            |error| if store.dialect() == Dialect::MySql { Ok(()) } else { Err(error) },
        )?;
    // Either way of starting notices it: migrating, or connecting to what was migrated elsewhere.
    let again = Store::connect(options).await?;
    assert!(again.migrate().await?.warnings.is_empty());
    let user = person(&again, 1).await?;
    for provider in ["credential", "github"] {
        let row = Row::from([
            Login::ID.set(provider),
            Login::ACCOUNT.set(&user.id),
            Login::PROVIDER.set(provider),
            Login::USER.set(&user.id),
        ]);
        again.db().insert(Login::KEY, row).await?;
    }
    let mut link = again.0.pool.link(Purpose::Read).await?;
    let issuers =
        link.catalogue("select issuer from account order by issuer", vec![], &[super::Kind::Text]).await?;
    link.commit().await?;
    assert_eq!(issuers, [vec![Value::from("github")], vec![Value::from("local:credential")]]);
    store.close().await;
    again.close().await;

    // Any other column of that sort is named.
    let store = open(fresh, schema(), IdKind::Text).await?;
    raw(&store, "drop table \"pair\"").await?;
    raw(&store, "create table \"pair\" (\"id\" varchar(36) not null primary key, \"left\" varchar(191) not null, \"right\" varchar(191) not null, \"tenant\" integer not null)").await?;
    let plan = store.migration_plan().await?;
    let named = |text: &String| text.contains("pair") && text.contains("tenant");
    assert!(plan.warnings.iter().any(named), "{plan}");
    store.close().await;
    Ok(())
}

async fn a_migration_that_would_invent_values_is_refused(fresh: &impl Fresh) -> Result<(), StoreError> {
    let options = fresh.database().await;
    let store = Store::connect(ConnectOptions { schema: schema(), ..options.clone() }).await?;
    store.migrate().await?;
    let with = |column: Column| {
        let mut schema = schema();
        schema.lend("user", column);
        Store::connect(ConnectOptions { schema, ..options.clone() })
    };
    // An empty table takes the column.
    let empty = with(Column::text("taken").required()).await?;
    empty.migrate().await?;
    empty.close().await;
    // From a new connection: an older one of SQLite would not know the column yet.
    let other = with(Column::text("taken")).await?;
    raw(&other, "alter table \"user\" drop column \"taken\"").await?;
    other.close().await;
    person(&store, 1).await?;
    person(&store, 2).await?;
    for column in [
        Column::text("nickname").required(),
        Column::text("nickname").required().unique().default("x"),
        Column::text("name").required().unique(),
    ] {
        let key = column.key.clone();
        if key == "name" {
            store.db().update(Person::KEY, &Filter::All, Row::from([Person::NAME.set("same")])).await?;
            if store.dialect() == Dialect::MySql {
                continue; // a text without a length has no index there, which is a warning
            }
        }
        let store = with(column).await?;
        match store.migrate().await {
            Err(StoreError::Unsafe(text)) => {
                assert!(text.contains("\"user\"") && text.contains(&*key), "{text}");
            }
            other => panic_with(&format!("expected a refusal, got {other:?}")),
        }
        assert!(store.migration_plan().await.is_err());
        store.close().await;
    }
    // A type that differs is a warning and nothing is done about it.
    let store = with(Column::int("name").required()).await?;
    let plan = store.migrate().await?;
    assert!(plan.is_empty() && plan.warnings.iter().any(|text| text.contains("\"name\"")), "{plan}");
    store.close().await;
    Ok(())
}

async fn many_may_migrate_at_once(fresh: &impl Fresh) -> Result<(), StoreError> {
    let options = ConnectOptions { schema: schema(), ..fresh.database().await };
    if options.url.contains(":memory:") {
        return Ok(());
    }
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let options = options.clone();
        tasks.push(tokio::spawn(async move {
            let store = Store::connect(options).await?;
            let plan = store.migrate().await?;
            store.close().await;
            Ok::<_, StoreError>(plan)
        }));
    }
    let mut worked = 0;
    for task in tasks {
        let plan = task.await.map_err(StoreError::other)??;
        worked += usize::from(!plan.is_empty());
    }
    assert_eq!(worked, 1, "one migrates, the others find nothing to do");
    Ok(())
}

async fn one_of_many_racers_wins(fresh: &impl Fresh) -> Result<(), StoreError> {
    const RACERS: u32 = 50;
    let store = open(fresh, schema(), IdKind::Text).await?;
    for round in 0..5 {
        let target = format!("prize{round}");
        let row = Row::from([Thing::ID.set(&target), Thing::COUNT.set(0), Thing::TEXT.set(&target)]);
        store.db().insert(Thing::KEY, row).await?;
        let mut tasks = Vec::new();
        for _ in 0..RACERS {
            let (store, filter) = (store.clone(), Thing::TEXT.is(&target).and(Thing::COUNT.lt(3)));
            tasks.push(tokio::spawn(async move {
                store.db().increment(Thing::KEY, &filter, "count", 1, Row::new()).await
            }));
        }
        let mut counts = Vec::new();
        for task in tasks {
            if let Some(row) = task.await.map_err(StoreError::other)?? {
                counts.push(row.get("count").and_then(Value::as_i64));
            }
        }
        counts.sort_unstable();
        assert_eq!(counts, [Some(1), Some(2), Some(3)], "a guarded counter stops at its guard");

        let mut tasks = Vec::new();
        for _ in 0..RACERS {
            let (store, filter) = (store.clone(), Thing::TEXT.is(&target));
            tasks.push(tokio::spawn(async move { store.db().consume(Thing::KEY, &filter).await }));
        }
        let mut winners = 0;
        for task in tasks {
            winners += usize::from(task.await.map_err(StoreError::other)??.is_some());
        }
        assert_eq!(winners, 1);

        // The same inside transactions that hold their winnings for a while.
        store.db().insert(Thing::KEY, Row::from([Thing::ID.set(&target)])).await?;
        let mut tasks = Vec::new();
        for _ in 0..RACERS {
            let (store, filter) = (store.clone(), Thing::ID.is(&target));
            tasks.push(tokio::spawn(async move {
                let mut tx = store.begin().await?;
                let won = tx.db().consume(Thing::KEY, &filter).await?;
                tokio::task::yield_now().await;
                tx.commit().await.map_err(StoreError::other)?;
                Ok::<_, StoreError>(won)
            }));
        }
        let mut winners = 0;
        for task in tasks {
            winners += usize::from(task.await.map_err(StoreError::other)??.is_some());
        }
        assert_eq!(winners, 1);
    }
    // First come, first served: a unique constraint lets one insert through.
    let mut tasks = Vec::new();
    for number in 0..RACERS {
        let store = store.clone();
        let row = Row::from([
            Person::ID.set(format!("r{number}")),
            Person::NAME.set("x"),
            Person::EMAIL.set("same@example.com"),
        ]);
        tasks.push(tokio::spawn(async move { store.db().insert(Person::KEY, row).await }));
    }
    let mut inserted = 0;
    for task in tasks {
        match task.await.map_err(StoreError::other)? {
            Ok(_) => inserted += 1,
            Err(StoreError::Unique { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    assert_eq!(inserted, 1);
    store.close().await;
    Ok(())
}
