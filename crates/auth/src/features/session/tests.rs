//! Sessions, through HTTP.

use portcullis_core::testing::TestApp;
use serde_json::{Value as Json, json};

use crate::features::LIST;

#[tokio::test]
async fn a_session_is_there_until_sign_out() {
    let app = TestApp::start(LIST, json!({})).await;
    let ada = app.user("ada").await;
    let session = ada.get("/get-session").await.expect(200);
    assert_eq!(session["user"]["email"], "ada@example.com");
    let thief = ada.copy();
    ada.post_empty("/sign-out").await.expect(200);
    assert!(ada.cookies().is_empty());
    assert_eq!(thief.get("/get-session").await.expect(200), Json::Null);
}
