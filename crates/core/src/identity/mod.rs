//! Who is who: users, the accounts by which they sign in, their sessions, and single-use
//! verifications. The four core tables of Better Auth, and their rules.

mod account;
mod cache;
mod elsewhere;
mod fields;
pub(crate) mod functions;
mod memory;
mod packed;
pub mod password;
mod policy;
mod proof;
mod reading;
mod rows;
mod session;
mod sign_in;
mod user;
mod user_info;
mod verification;

pub use account::{Account, CREDENTIAL};
pub use cache::CacheSigner;
pub use fields::{Action, core_tables, from_json, parse_input, to_json};
pub use memory::Found;
pub(crate) use memory::Memory;
pub use policy::Policy;
pub use proof::{CONFIRM_CHANGE, Occasion, PROVE_CHANGE, ProofLink, Purpose, discreetly, mail_verification};
pub use reading::{How, Reading, read_session};
pub use session::{Handed, Session, SessionUser, clear_session_cookies, hand_over};
pub use sign_in::{Challenge, SignIn, SignedIn};
pub use user::User;
pub use user_info::check_new_user;
pub use verification::{RESET_PREFIX, Ticket, Verification};
