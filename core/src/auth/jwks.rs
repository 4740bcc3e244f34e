//! The public keys of an authorization server: a JWK Set (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// One key that can verify tokens.
pub(super) struct Signer {
    pub(super) id: Option<Box<str>>,
    /// What its tokens may be signed by.
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl Signer {
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The key of `jwk`, if it is a public one for signatures of an algorithm known here. A shared
    /// secret (`oct`) never is: whoever can read the set could sign with it.
    fn of(jwk: &Jwk) -> Option<Self> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let by_type: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(it) => match it.curve {
                EllipticCurve::P256 => &[ES256],
                EllipticCurve::P384 => &[ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(it) => match it.curve {
                EllipticCurve::Ed25519 => &[EdDSA],
                _ => return None,
            },
            _ => return None,
        };
        let common = &jwk.common;
        let signs = |it: &PublicKeyUse| *it == PublicKeyUse::Signature;
        let verifies = |it: &Vec<KeyOperations>| it.contains(&KeyOperations::Verify);
        let meant = common.public_key_use.as_ref().is_none_or(signs)
            && common.key_operations.as_ref().is_none_or(verifies);
        let said = |it: &Algorithm| {
            common
                .key_algorithm
                .is_none_or(|a| a == KeyAlgorithm::from(*it))
        };
        let algorithms: Vec<_> = by_type.iter().copied().filter(said).collect();
        if !meant || algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: common.key_id.as_deref().map(Into::into),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// Reads the keys of a set; those that are of no use here are passed over (RFC 7517, 5).
///
/// # Errors
/// What was wanted and what was found: no JSON, more than `count_max` keys, none of use.
pub(super) fn read(text: &[u8], count_max: usize) -> Result<Vec<Signer>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(text)
        .map_err(|error| format!("wanted a JWK Set, {{\"keys\": [..]}}, but {error}"))?;
    let found = set.keys.len();
    if found > count_max {
        return Err(format!("a JWK Set of {found} keys, at most {count_max}"));
    }
    let read = |key| serde_json::from_value::<Jwk>(key).ok();
    let usable: Vec<_> = set
        .keys
        .into_iter()
        .filter_map(read)
        .filter_map(|jwk| Signer::of(&jwk))
        .collect();
    if usable.is_empty() {
        return Err(format!(
            "none of the {found} keys of the JWK Set can verify a signature: wanted RSA, EC \
             (P-256, P-384) or Ed25519 for use `sig`"
        ));
    }
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
        let y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
        let point = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "a"});
        let with = |name: &str, value: Value| {
            let mut key = point.clone();
            key[name] = value;
            key
        };
        let keys = [
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
            json!({"kty": "of tomorrow", "kid": "b"}),
            json!("no key"),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("HS256")),
            with("crv", json!("secp256k1")),
            with("use", json!("sig")),
        ];
        let text = json!({"keys": keys}).to_string();
        let read_keys = read(text.as_bytes(), 8).unwrap_or_else(|why| panic!("{why}"));
        let [only] = read_keys.as_slice() else {
            panic!("{} keys", read_keys.len())
        };
        assert_eq!(only.id.as_deref(), Some("a"));
        assert!(only.fits(Algorithm::ES256) && !only.fits(Algorithm::ES384));
        let why = |text: &str| read(text.as_bytes(), 1).err().unwrap_or_default();
        assert!(why(&text).contains("8 keys, at most 1"));
        assert!(why(r#"{"keys":[{"kty":"oct","k":"YQ"}]}"#).contains("none of the 1"));
        for no_set in ["", "{}", "[]", "{\"keys\":{}}", &"[".repeat(100_000)] {
            assert!(why(no_set).contains("wanted a JWK Set"), "{no_set:.9}");
        }
    }
}
