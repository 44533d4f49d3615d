//! What a verification costs beside the signature's check. Counted, because times differ by machine.

use allocation_counter::measure;
use portcullis_verify::testing::TestKit;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct User {
    sub: String,
}

#[test]
fn a_token_whose_key_is_at_hand_takes_few_allocations() {
    let kit = TestKit::new();
    let verifier = kit.verifier();
    let token = kit.token(&json!({
        "sub": "u1", "email": "a@example.com", "name": "Ada", "emailVerified": true, "role": "user,admin",
    }));
    let verify = || verifier.verify_now::<User>(&token).unwrap().sub.len();
    // aws-lc prepares itself at the first use.
    verify();
    let used = measure(|| assert_eq!(verify(), 2));
    assert!(used.count_total <= 45, "{} allocations", used.count_total);
    assert!(used.bytes_total <= 8 * 1024, "{} bytes", used.bytes_total);
    assert_eq!(used.count_current, 0);
}
