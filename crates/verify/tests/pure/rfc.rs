//! The examples of RFC 7515 appendix A and RFC 8037 appendix A.

use portcullis_verify::{Algorithm, Error, Expect, Jws, Key, verify_jwt};
use serde_json::{Map, Value};

const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn jwk(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap()
}

fn accepts(algorithm: Algorithm, jwk: &Map<String, Value>, token: &str) {
    let key = Key::from_jwk_for(algorithm, jwk).unwrap();
    let jws = Jws::parse(token).unwrap();
    jws.verify(&key).unwrap();
    // Every other letter in the last but one place of the signature is another signature.
    let (start, end) = token.split_at(token.len() - 2);
    let bent = format!("{start}{}{}", if end.starts_with('A') { 'B' } else { 'A' }, &end[1..]);
    assert!(Jws::parse(&bent).and_then(|jws| jws.verify(&key)).is_err());
}

fn joe(algorithm: Algorithm, jwk: &Map<String, Value>, token: &str) {
    accepts(algorithm, jwk, token);
    let claims = verify_jwt(algorithm, jwk, token).unwrap();
    assert_eq!(claims["iss"], "joe");
    let expect = |now| Expect {
        issuer: Some(vec!["joe".to_owned()]),
        audience: None,
        now,
        leeway_secs: 0,
        require_expiry: true,
        refuse_future_issue: true,
    };
    assert_eq!(expect(1_300_819_379).check(&claims), Ok(()));
    let expired = Error::Expired { at: 1_300_819_380, now: 1_300_819_380 };
    assert_eq!(expect(1_300_819_380).check(&claims), Err(expired));
}

#[test]
fn rfc_7515_a_1_hs256() {
    let key = jwk(r#"{"kty":"oct",
        "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#);
    let token =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    joe(Algorithm::HS256, &key, &token);
}

#[test]
fn rfc_7515_a_2_rs256() {
    let key = jwk(concat!(
        r#"{"kty":"RSA","n":""#,
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx",
        "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs",
        "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSH",
        "SXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV",
        "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8",
        "NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        r#"","e":"AQAB"}"#
    ));
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{JOE}.{}",
        concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7",
            "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4",
            "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
            "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv",
            "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB",
            "p0igcN_IoypGlUPQGe77Rw"
        )
    );
    joe(Algorithm::RS256, &key, &token);
}

#[test]
fn rfc_7515_a_3_es256() {
    let key = jwk(r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#);
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.{}",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    joe(Algorithm::ES256, &key, &token);
}

#[test]
fn rfc_7515_a_4_es512_over_a_payload_that_is_no_json() {
    let key = jwk(r#"{"kty":"EC","crv":"P-521",
        "x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#);
    let token = concat!(
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.",
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq",
        "wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp",
        "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );
    accepts(Algorithm::ES512, &key, token);
    assert_eq!(Jws::parse(token).unwrap().payload(), b"Payload");
    assert!(verify_jwt(Algorithm::ES512, &key, token).is_err(), "no claims");
}

#[test]
fn rfc_7515_a_5_an_unsigned_token_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    assert_eq!(Jws::parse(&token).unwrap().algorithm(), Err(Error::AlgorithmNone));
    for key in [Key::from_secret(Algorithm::HS256, &[7; 32]).unwrap(), Key::from_jwk(&jwk(ED25519)).unwrap()]
    {
        assert_eq!(Jws::parse(&token).unwrap().verify(&key), Err(Error::AlgorithmNone));
    }
}

const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

#[test]
fn rfc_8037_a_4_ed25519() {
    let token = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    accepts(Algorithm::EdDSA, &jwk(ED25519), token);
}

#[test]
fn rfc_8037_a_1_the_private_key_is_refused_for_verifying() {
    let private = jwk(r#"{"kty":"OKP","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    assert_eq!(Key::from_jwk(&private).unwrap_err(), portcullis_verify::KeyError::Private);
}
