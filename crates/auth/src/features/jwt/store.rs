//! The `jwks` table (better-auth 1.7.6 `plugins/jwt/schema`): rows are shared with Node servers.

use portcullis_core::clock::Timestamp;
use portcullis_core::error::Error;
use portcullis_core::store::{Db, Filter, Query, Table};
use portcullis_core::table;
use secrecy::SecretString;

table! {
    /// A key pair; its id is the `kid` of what it signs.
    pub struct Jwk in "jwks" {
        /// Row id, and `kid`.
        id / ID: String = Column::id(),
        /// JSON of the public JWK, without `kid` and `alg`.
        public_key / PUBLIC_KEY: String = Column::text("publicKey"),
        /// JSON: a text when it is sealed, an object when it is not.
        private_key / PRIVATE_KEY: SecretString = Column::text("privateKey").hidden(),
        /// The newest live key signs.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt"),
        /// Signs until then; published for `gracePeriod` longer. `None`: for good.
        expires_at / EXPIRES_AT: Option<Timestamp> = Column::time("expiresAt"),
        /// `None` on rows of old versions: the configured algorithm.
        alg / ALG: Option<String> = Column::text("alg"),
        /// Curve.
        crv / CRV: Option<String> = Column::text("crv"),
    }
}

/// The table; which key signs is remembered for as long as nobody writes it.
pub(super) fn table() -> Table {
    Jwk::table().watched()
}

/// How many live keys are looked at: more are there only when somebody else writes the table.
const LIVE_LIMIT: u64 = 100;

/// The keys that had not expired at `since`; `None` when there is no key at all, expired or not.
pub(super) async fn since(db: &mut Db<'_>, since: Timestamp) -> Result<Option<Vec<Jwk>>, Error> {
    let filter = Jwk::EXPIRES_AT.is_null().or(Jwk::EXPIRES_AT.gt(since));
    let query = Query::from(filter);
    let mut rows = db.list(Jwk::KEY, &query).await?;
    if rows.is_empty() {
        if db.count(Jwk::KEY, &Filter::All).await? == 0 {
            return Ok(None);
        }
        // Somebody may have made the first one between the two.
        rows = db.list(Jwk::KEY, &query).await?;
    }
    rows.into_iter().map(|row| Ok(Jwk::from_row(row)?)).collect::<Result<_, _>>().map(Some)
}

/// The keys that may sign, newest first; `alg` and whether rows without one count as it.
pub(super) async fn live(
    db: &mut Db<'_>,
    now: Timestamp,
    alg: Option<(&str, bool)>,
) -> Result<Vec<Jwk>, Error> {
    let mut filter = Jwk::EXPIRES_AT.is_null().or(Jwk::EXPIRES_AT.gt(now));
    if let Some((name, or_none)) = alg {
        let mut of = Jwk::ALG.is(name);
        if or_none {
            of = of.or(Jwk::ALG.is_null());
        }
        filter = of.and(filter);
    }
    let query = Query::from(filter).newest_first(Jwk::CREATED_AT.key).limit(LIVE_LIMIT);
    let rows = db.list(Jwk::KEY, &query).await?;
    rows.into_iter().map(|row| Ok(Jwk::from_row(row)?)).collect()
}

/// The key of a `kid`.
pub(super) async fn by_id(db: &mut Db<'_>, id: &str) -> Result<Option<Jwk>, Error> {
    Ok(db.find(Jwk::KEY, &Jwk::ID.is(id)).await?.map(Jwk::from_row).transpose()?)
}
