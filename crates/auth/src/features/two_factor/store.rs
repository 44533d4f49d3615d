//! The `twoFactor` table: what a user's authenticator and backup codes are, and the account's count of
//! failures.

use portcullis_core::clock::Timestamp;
use portcullis_core::error::Error;
use portcullis_core::identity::User;
use portcullis_core::store::{Db, Row, Value};
use portcullis_core::table;

/// The column that the room lends to `user`.
pub(super) const ENABLED: &str = "twoFactorEnabled";

table! {
    /// A user's second factor.
    pub(super) struct Factor in "twoFactor" {
        /// Id.
        id / ID: String = Column::id(),
        /// The authenticator's secret, sealed.
        secret / SECRET: String = Column::text("secret").indexed().hidden(),
        /// A JSON list of the unused codes, stored as the options say.
        backup_codes / BACKUP_CODES: String = Column::text("backupCodes").hidden(),
        /// Whose.
        user_id / USER_ID: String = Column::foreign("userId", "user").indexed().hidden(),
        /// `false` until the first code is right; `None` on rows from before the column.
        verified / VERIFIED: Option<bool> = Column::bool("verified").default(true).no_input(),
        /// Failures since the last success.
        failures / FAILURES: Option<i64> = Column::int("failedVerificationCount").default(0).no_input().hidden(),
        /// No verification before this.
        locked_until / LOCKED_UNTIL: Option<Timestamp> = Column::time("lockedUntil").no_input().hidden(),
    }
}

impl Factor {
    /// The user's second factor.
    pub(super) async fn of(db: &mut Db<'_>, user: &str) -> Result<Option<Self>, Error> {
        Ok(db.find(Self::KEY, &Self::USER_ID.is(user)).await?.map(Self::from_row).transpose()?)
    }

    /// May its authenticator be used to sign in? Only a setup that was begun and not finished is not.
    pub(super) const fn is_ready(&self) -> bool {
        !matches!(self.verified, Some(false))
    }

    /// Changes it if it still has the value that was read; of two writers one wins.
    pub(super) async fn change_if_same(
        &self,
        db: &mut Db<'_>,
        same: portcullis_core::store::Filter,
        changes: Row,
    ) -> Result<bool, Error> {
        let this = Self::ID.is(self.id.as_str()).and(same);
        Ok(db.update_one(Self::KEY, &this, changes).await?.is_some())
    }
}

/// Has the user a second factor?
pub(super) fn is_enabled(user: &User) -> bool {
    user.extra.get(ENABLED).and_then(Value::as_bool).unwrap_or(false)
}
