//! What Better Auth's own generator writes, taken from better-auth 1.7.6 (`getMigrations(…)
//! .compileMigrations()` with plugins username, jwt and twoFactor and `rateLimit.storage` database)
//! on an empty database of each kind, and from the same tables declared here. Equal text is an equal
//! schema.

use super::migrate::Plan;
use super::*;

fn schema() -> Schema {
    let user = Table::new(
        "user",
        vec![
            Column::id(),
            Column::text("name").required().sortable(),
            Column::text("email").required().unique().sortable(),
            Column::bool("emailVerified").required().default(false),
            Column::text("image"),
            Column::time("createdAt").required().default_now(),
            Column::time("updatedAt").required().default_now(),
        ],
    );
    let session = Table::new(
        "session",
        vec![
            Column::id(),
            Column::time("expiresAt").required(),
            Column::text("token").required().unique(),
            Column::time("createdAt").required().default_now(),
            Column::time("updatedAt").required(),
            Column::text("ipAddress"),
            Column::text("userAgent"),
            Column::foreign("userId", "user").required().indexed(),
        ],
    );
    let account = Table::new(
        "account",
        vec![
            Column::id(),
            Column::text("accountId").required(),
            Column::text("providerId").required(),
            Column::foreign("userId", "user").required().indexed(),
            Column::text("accessToken").hidden(),
            Column::text("refreshToken").hidden(),
            Column::text("idToken").hidden(),
            Column::time("accessTokenExpiresAt").hidden(),
            Column::time("refreshTokenExpiresAt").hidden(),
            Column::text("scope"),
            Column::text("password").hidden(),
            Column::time("createdAt").required().default_now(),
            Column::time("updatedAt").required(),
        ],
    );
    let verification = Table::new(
        "verification",
        vec![
            Column::id(),
            Column::text("identifier").required().indexed(),
            Column::text("value").required(),
            Column::time("expiresAt").required(),
            Column::time("createdAt").required().default_now(),
            Column::time("updatedAt").required().default_now(),
        ],
    );
    let jwks = Table::new(
        "jwks",
        vec![
            Column::id(),
            Column::text("publicKey").required(),
            Column::text("privateKey").required(),
            Column::time("createdAt").required(),
            Column::time("expiresAt"),
            Column::text("alg"),
            Column::text("crv"),
        ],
    );
    let two_factor = Table::new(
        "twoFactor",
        vec![
            Column::id(),
            Column::text("secret").required().indexed().hidden(),
            Column::text("backupCodes").required().hidden(),
            Column::foreign("userId", "user").required().indexed().hidden(),
            Column::bool("verified").default(true),
            Column::int("failedVerificationCount").default(0),
            Column::time("lockedUntil"),
        ],
    );
    let rate_limit = Table::new(
        "rateLimit",
        vec![
            Column::id(),
            Column::text("key").required().unique(),
            Column::int("count").required(),
            Column::bigint("lastRequest").required(),
        ],
    );
    let mut schema = Schema::new(vec![
        jwks,
        two_factor,
        rate_limit,
        verification.order(4),
        account.order(3),
        session.order(2),
        user.order(1),
    ]);
    schema.lend("user", Column::text("username").unique().sortable());
    schema.lend("user", Column::text("displayUsername"));
    schema.lend("user", Column::bool("twoFactorEnabled").default(false).no_input());
    schema
}

fn written(dialect: Dialect, ids: IdKind) -> String {
    Plan::of_an_empty_database(dialect, ids, &schema()).unwrap().sql()
}

const SQLITE_TEXT: &str = r#"create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" integer not null, "image" text, "createdAt" date not null, "updatedAt" date not null, "username" text unique, "displayUsername" text, "twoFactorEnabled" integer);
create table "session" ("id" text not null primary key, "expiresAt" date not null, "token" text not null unique, "createdAt" date not null, "updatedAt" date not null, "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade);
create table "account" ("id" text not null primary key, "accountId" text not null, "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" date, "refreshTokenExpiresAt" date, "scope" text, "password" text, "createdAt" date not null, "updatedAt" date not null);
create table "verification" ("id" text not null primary key, "identifier" text not null, "value" text not null, "expiresAt" date not null, "createdAt" date not null, "updatedAt" date not null);
create table "jwks" ("id" text not null primary key, "publicKey" text not null, "privateKey" text not null, "createdAt" date not null, "expiresAt" date, "alg" text, "crv" text);
create table "twoFactor" ("id" text not null primary key, "secret" text not null, "backupCodes" text not null, "userId" text not null references "user" ("id") on delete cascade, "verified" integer, "failedVerificationCount" integer, "lockedUntil" date);
create table "rateLimit" ("id" text not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
create index "session_userId_idx" on "session" ("userId");
create index "account_userId_idx" on "account" ("userId");
create index "verification_identifier_idx" on "verification" ("identifier");
create index "twoFactor_secret_idx" on "twoFactor" ("secret");
create index "twoFactor_userId_idx" on "twoFactor" ("userId");
"#;

const SQLITE_SERIAL: &str = r#"create table "user" ("id" integer not null primary key, "name" text not null, "email" text not null unique, "emailVerified" integer not null, "image" text, "createdAt" date not null, "updatedAt" date not null, "username" text unique, "displayUsername" text, "twoFactorEnabled" integer);
create table "session" ("id" integer not null primary key, "expiresAt" date not null, "token" text not null unique, "createdAt" date not null, "updatedAt" date not null, "ipAddress" text, "userAgent" text, "userId" integer not null references "user" ("id") on delete cascade);
create table "account" ("id" integer not null primary key, "accountId" text not null, "providerId" text not null, "userId" integer not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" date, "refreshTokenExpiresAt" date, "scope" text, "password" text, "createdAt" date not null, "updatedAt" date not null);
create table "verification" ("id" integer not null primary key, "identifier" text not null, "value" text not null, "expiresAt" date not null, "createdAt" date not null, "updatedAt" date not null);
create table "jwks" ("id" integer not null primary key, "publicKey" text not null, "privateKey" text not null, "createdAt" date not null, "expiresAt" date, "alg" text, "crv" text);
create table "twoFactor" ("id" integer not null primary key, "secret" text not null, "backupCodes" text not null, "userId" integer not null references "user" ("id") on delete cascade, "verified" integer, "failedVerificationCount" integer, "lockedUntil" date);
create table "rateLimit" ("id" integer not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
create index "session_userId_idx" on "session" ("userId");
create index "account_userId_idx" on "account" ("userId");
create index "verification_identifier_idx" on "verification" ("identifier");
create index "twoFactor_secret_idx" on "twoFactor" ("secret");
create index "twoFactor_userId_idx" on "twoFactor" ("userId");
"#;

const POSTGRES_TEXT: &str = r#"create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" boolean not null, "image" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null, "username" text unique, "displayUsername" text, "twoFactorEnabled" boolean);
create table "session" ("id" text not null primary key, "expiresAt" timestamptz not null, "token" text not null unique, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null, "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade);
create table "account" ("id" text not null primary key, "accountId" text not null, "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz, "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null);
create table "verification" ("id" text not null primary key, "identifier" text not null, "value" text not null, "expiresAt" timestamptz not null, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null);
create table "jwks" ("id" text not null primary key, "publicKey" text not null, "privateKey" text not null, "createdAt" timestamptz not null, "expiresAt" timestamptz, "alg" text, "crv" text);
create table "twoFactor" ("id" text not null primary key, "secret" text not null, "backupCodes" text not null, "userId" text not null references "user" ("id") on delete cascade, "verified" boolean, "failedVerificationCount" integer, "lockedUntil" timestamptz);
create table "rateLimit" ("id" text not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
create index "session_userId_idx" on "session" ("userId");
create index "account_userId_idx" on "account" ("userId");
create index "verification_identifier_idx" on "verification" ("identifier");
create index "twoFactor_secret_idx" on "twoFactor" ("secret");
create index "twoFactor_userId_idx" on "twoFactor" ("userId");
"#;

const POSTGRES_UUID: &str = r#"create table "user" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "name" text not null, "email" text not null unique, "emailVerified" boolean not null, "image" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null, "username" text unique, "displayUsername" text, "twoFactorEnabled" boolean);
create table "session" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "expiresAt" timestamptz not null, "token" text not null unique, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null, "ipAddress" text, "userAgent" text, "userId" uuid not null references "user" ("id") on delete cascade);
create table "account" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "accountId" text not null, "providerId" text not null, "userId" uuid not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz, "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null);
create table "verification" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "identifier" text not null, "value" text not null, "expiresAt" timestamptz not null, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null);
create table "jwks" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "publicKey" text not null, "privateKey" text not null, "createdAt" timestamptz not null, "expiresAt" timestamptz, "alg" text, "crv" text);
create table "twoFactor" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "secret" text not null, "backupCodes" text not null, "userId" uuid not null references "user" ("id") on delete cascade, "verified" boolean, "failedVerificationCount" integer, "lockedUntil" timestamptz);
create table "rateLimit" ("id" uuid default pg_catalog.gen_random_uuid() not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
create index "session_userId_idx" on "session" ("userId");
create index "account_userId_idx" on "account" ("userId");
create index "verification_identifier_idx" on "verification" ("identifier");
create index "twoFactor_secret_idx" on "twoFactor" ("secret");
create index "twoFactor_userId_idx" on "twoFactor" ("userId");
"#;

const POSTGRES_SERIAL: &str = r#"create table "user" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "name" text not null, "email" text not null unique, "emailVerified" boolean not null, "image" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null, "username" text unique, "displayUsername" text, "twoFactorEnabled" boolean);
create table "session" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "expiresAt" timestamptz not null, "token" text not null unique, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null, "ipAddress" text, "userAgent" text, "userId" integer not null references "user" ("id") on delete cascade);
create table "account" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "accountId" text not null, "providerId" text not null, "userId" integer not null references "user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz, "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null);
create table "verification" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "identifier" text not null, "value" text not null, "expiresAt" timestamptz not null, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null);
create table "jwks" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "publicKey" text not null, "privateKey" text not null, "createdAt" timestamptz not null, "expiresAt" timestamptz, "alg" text, "crv" text);
create table "twoFactor" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "secret" text not null, "backupCodes" text not null, "userId" integer not null references "user" ("id") on delete cascade, "verified" boolean, "failedVerificationCount" integer, "lockedUntil" timestamptz);
create table "rateLimit" ("id" integer GENERATED BY DEFAULT AS IDENTITY not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
create index "session_userId_idx" on "session" ("userId");
create index "account_userId_idx" on "account" ("userId");
create index "verification_identifier_idx" on "verification" ("identifier");
create index "twoFactor_secret_idx" on "twoFactor" ("secret");
create index "twoFactor_userId_idx" on "twoFactor" ("userId");
"#;

const MYSQL_TEXT: &str = r#"create table `user` (`id` varchar(36) not null primary key, `name` varchar(255) not null, `email` varchar(255) not null unique, `emailVerified` boolean not null, `image` text, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `username` varchar(255) unique, `displayUsername` text, `twoFactorEnabled` boolean);
create table `session` (`id` varchar(36) not null primary key, `expiresAt` timestamp(3) not null, `token` varchar(255) not null unique, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) not null, `ipAddress` text, `userAgent` text, `userId` varchar(36) not null references `user` (`id`) on delete cascade);
create table `account` (`id` varchar(36) not null primary key, `accountId` text not null, `providerId` text not null, `userId` varchar(36) not null references `user` (`id`) on delete cascade, `accessToken` text, `refreshToken` text, `idToken` text, `accessTokenExpiresAt` timestamp(3), `refreshTokenExpiresAt` timestamp(3), `scope` text, `password` text, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) not null);
create table `verification` (`id` varchar(36) not null primary key, `identifier` varchar(255) not null, `value` text not null, `expiresAt` timestamp(3) not null, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null);
create table `jwks` (`id` varchar(36) not null primary key, `publicKey` text not null, `privateKey` text not null, `createdAt` timestamp(3) not null, `expiresAt` timestamp(3), `alg` text, `crv` text);
create table `twoFactor` (`id` varchar(36) not null primary key, `secret` varchar(255) not null, `backupCodes` text not null, `userId` varchar(36) not null references `user` (`id`) on delete cascade, `verified` boolean, `failedVerificationCount` integer, `lockedUntil` timestamp(3));
create table `rateLimit` (`id` varchar(36) not null primary key, `key` varchar(255) not null unique, `count` integer not null, `lastRequest` bigint not null);
create index `session_userId_idx` on `session` (`userId`);
create index `account_userId_idx` on `account` (`userId`);
create index `verification_identifier_idx` on `verification` (`identifier`);
create index `twoFactor_secret_idx` on `twoFactor` (`secret`);
create index `twoFactor_userId_idx` on `twoFactor` (`userId`);
"#;

const MYSQL_SERIAL: &str = r#"create table `user` (`id` integer not null primary key auto_increment, `name` varchar(255) not null, `email` varchar(255) not null unique, `emailVerified` boolean not null, `image` text, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `username` varchar(255) unique, `displayUsername` text, `twoFactorEnabled` boolean);
create table `session` (`id` integer not null primary key auto_increment, `expiresAt` timestamp(3) not null, `token` varchar(255) not null unique, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) not null, `ipAddress` text, `userAgent` text, `userId` integer not null references `user` (`id`) on delete cascade);
create table `account` (`id` integer not null primary key auto_increment, `accountId` text not null, `providerId` text not null, `userId` integer not null references `user` (`id`) on delete cascade, `accessToken` text, `refreshToken` text, `idToken` text, `accessTokenExpiresAt` timestamp(3), `refreshTokenExpiresAt` timestamp(3), `scope` text, `password` text, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) not null);
create table `verification` (`id` integer not null primary key auto_increment, `identifier` varchar(255) not null, `value` text not null, `expiresAt` timestamp(3) not null, `createdAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null, `updatedAt` timestamp(3) default CURRENT_TIMESTAMP(3) not null);
create table `jwks` (`id` integer not null primary key auto_increment, `publicKey` text not null, `privateKey` text not null, `createdAt` timestamp(3) not null, `expiresAt` timestamp(3), `alg` text, `crv` text);
create table `twoFactor` (`id` integer not null primary key auto_increment, `secret` varchar(255) not null, `backupCodes` text not null, `userId` integer not null references `user` (`id`) on delete cascade, `verified` boolean, `failedVerificationCount` integer, `lockedUntil` timestamp(3));
create table `rateLimit` (`id` integer not null primary key auto_increment, `key` varchar(255) not null unique, `count` integer not null, `lastRequest` bigint not null);
create index `session_userId_idx` on `session` (`userId`);
create index `account_userId_idx` on `account` (`userId`);
create index `verification_identifier_idx` on `verification` (`identifier`);
create index `twoFactor_secret_idx` on `twoFactor` (`secret`);
create index `twoFactor_userId_idx` on `twoFactor` (`userId`);
"#;

#[test]
fn an_empty_database_gets_the_tables_that_better_auth_makes() {
    for (dialect, ids, expected) in [
        (Dialect::Sqlite, IdKind::Text, SQLITE_TEXT),
        (Dialect::Sqlite, IdKind::Uuid, SQLITE_TEXT),
        (Dialect::Sqlite, IdKind::Serial, SQLITE_SERIAL),
        (Dialect::Postgres, IdKind::Text, POSTGRES_TEXT),
        (Dialect::Postgres, IdKind::Uuid, POSTGRES_UUID),
        (Dialect::Postgres, IdKind::Serial, POSTGRES_SERIAL),
        (Dialect::MySql, IdKind::Text, MYSQL_TEXT),
        (Dialect::MySql, IdKind::Uuid, MYSQL_TEXT),
        (Dialect::MySql, IdKind::Serial, MYSQL_SERIAL),
    ] {
        assert_eq!(written(dialect, ids), expected, "{dialect} {ids:?}");
    }
}

/// Runs what Better Auth's generator wrote, then looks for anything that we would add or say.
async fn adopts(url: String, ids: IdKind, script: &str) {
    let options = ConnectOptions { id_kind: ids, ..ConnectOptions::new(url, schema()) };
    let store = Store::connect(options).await.unwrap();
    for statement in script.split_terminator(";\n") {
        let mut link = store.0.pool.link(Purpose::Read).await.unwrap();
        link.raw(statement.to_owned()).await.unwrap();
    }
    assert_eq!(store.migrate().await.unwrap(), Plan::default(), "{ids:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_better_auth_made_needs_nothing() {
    use crate::testing::databases::fresh_database;
    for (dialect, ids, script) in [
        (Dialect::Postgres, IdKind::Text, POSTGRES_TEXT),
        (Dialect::Postgres, IdKind::Uuid, POSTGRES_UUID),
        (Dialect::Postgres, IdKind::Serial, POSTGRES_SERIAL),
        (Dialect::MySql, IdKind::Text, MYSQL_TEXT),
        (Dialect::MySql, IdKind::Serial, MYSQL_SERIAL),
    ] {
        if let Some(url) = fresh_database(dialect).await {
            adopts(url, ids, script).await;
        }
    }
    for (ids, script) in [(IdKind::Text, SQLITE_TEXT), (IdKind::Serial, SQLITE_SERIAL)] {
        adopts("sqlite::memory:".to_owned(), ids, script).await;
    }
}
