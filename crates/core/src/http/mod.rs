//! HTTP: what comes in ([`Request`], [`Call`]), what goes out ([`Answer`], [`Cookies`]), and the
//! checks in between.

pub mod answer;
pub mod body;
pub mod call;
pub mod client_ip;
pub mod cookies;
pub(crate) mod cors;
pub mod origin;
pub mod rate_limit;
pub mod routes;

pub use answer::{Answer, Content};
pub use body::{Fields, FromFields};
pub use call::{Access, Anyone, Call, Fresh, Optional, Request, Sensitive, SignedIn, truthy};
pub use client_ip::ClientIp;
pub use cookies::{CookieSpec, Cookies, RequestCookies, SetCookie};
pub use rate_limit::{RateLimit, RateRule};
pub use routes::{Api, MatchedRoute, RouteDoc, Routes};
