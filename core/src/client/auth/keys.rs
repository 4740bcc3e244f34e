//! What is proved by keys: PKCE (RFC 7636), assertions of a client (RFC 7523), and proofs that a
//! token is in the right hands (DPoP, RFC 9449). The cryptography is ring's.

use std::fmt;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ninefold_runtime::clock::wall_clock;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::AuthError;

/// How long an assertion is good, in seconds: it is used at once.
const ASSERTION_S: u64 = 60;

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    // A clock before 1970 is wrong, and a token that seems to be good is then refused.
    wall_clock()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_secs())
}

/// 256 bits that nobody can guess, as text that may stand in a URL.
pub(crate) fn secret() -> Result<String, AuthError> {
    let mut bytes = [0; 32];
    let failed = |error| AuthError::Key(format!("the system gives no randomness: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(BASE64.encode(bytes))
}

/// The SHA-256 of a text, as PKCE's S256 and the proofs of DPoP want it.
pub(crate) fn digest(text: &str) -> String {
    BASE64.encode(Sha256::digest(text))
}

enum Pair {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// A private key that signs.
pub(crate) struct Key {
    pair: Pair,
    /// As it is stored.
    pkcs8: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// From PEM with a key in PKCS #8, of P-256 or RSA.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, AuthError> {
        let bad = |why: String| AuthError::Key(why);
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| {
            bad(format!(
                "wanted PEM, `-----BEGIN PRIVATE KEY-----`: {error}"
            ))
        })?;
        Self::from_pkcs8(key.secret_pkcs8_der())
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, AuthError> {
        let random = SystemRandom::new();
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match EcdsaKeyPair::from_pkcs8(curve, pkcs8, &random) {
            Ok(pair) => Pair::Es256(Box::new(pair)),
            Err(not_p256) => match RsaKeyPair::from_pkcs8(pkcs8) {
                Ok(pair) => Pair::Rs256(Box::new(pair)),
                Err(not_rsa) => {
                    let why = format!("neither one of P-256 ({not_p256}) nor RSA ({not_rsa})");
                    return Err(AuthError::Key(why));
                }
            },
        };
        let pkcs8 = pkcs8.to_vec();
        Ok(Self { pair, pkcs8 })
    }

    /// A new key of P-256.
    pub(crate) fn fresh() -> Result<Self, AuthError> {
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new());
        let made = made.map_err(|_| AuthError::Key("none could be made".to_owned()))?;
        Self::from_pkcs8(made.as_ref())
    }

    /// As text, for a store.
    pub(crate) fn to_text(&self) -> String {
        BASE64.encode(&self.pkcs8)
    }

    pub(crate) fn from_text(text: &str) -> Result<Self, AuthError> {
        let bytes = BASE64.decode(text);
        let bytes = bytes.map_err(|error| AuthError::Key(error.to_string()))?;
        Self::from_pkcs8(&bytes)
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
        }
    }

    /// A JSON Web Token (RFC 7515, compact).
    fn sign(&self, mut header: Value, claims: &Value) -> Result<String, AuthError> {
        header["alg"] = self.algorithm().into();
        let [header, claims] = [&header, claims].map(|part| BASE64.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let random = SystemRandom::new();
        let failed = |_| AuthError::Key("it does not sign".to_owned());
        let signature = match &self.pair {
            Pair::Es256(pair) => {
                let signed = pair.sign(&random, text.as_bytes()).map_err(failed)?;
                signed.as_ref().to_vec()
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                    .map_err(failed)?;
                signature
            }
        };
        Ok(format!("{text}.{}", BASE64.encode(signature)))
    }

    /// Says to `audience` that this is `client` (RFC 7523, section 3).
    pub(crate) fn assertion(&self, client: &str, audience: &str) -> Result<String, AuthError> {
        let now = now_s();
        let claims = json!({
            "iss": client, "sub": client, "aud": audience, "jti": secret()?,
            "iat": now, "exp": now + ASSERTION_S,
        });
        self.sign(json!({"typ": "JWT"}), &claims)
    }

    /// Shows that who sends `method` to `url` holds this key; `token` is what it sends, if any.
    pub(crate) fn proof(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<String, AuthError> {
        let Pair::Es256(pair) = &self.pair else {
            return Err(AuthError::Key("proofs want one of P-256".to_owned()));
        };
        // An uncompressed point: a mark, then x and y.
        let [_, point @ ..] = pair.public_key().as_ref() else {
            return Err(AuthError::Key("it has no public half".to_owned()));
        };
        let (x, y) = point.split_at(point.len() / 2);
        let key = json!({"kty": "EC", "crv": "P-256",
            "x": BASE64.encode(x), "y": BASE64.encode(y)});
        let target = url.split(['?', '#']).next().unwrap_or_default();
        let mut claims = json!({
            "jti": secret()?, "htm": method, "htu": target, "iat": now_s(),
        });
        if let Some(token) = token {
            claims["ath"] = digest(token).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        self.sign(json!({"typ": "dpop+jwt", "jwk": key}), &claims)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let challenge = digest("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(secret().unwrap().len(), 43);
        assert_ne!(secret(), secret());
    }

    #[test]
    fn a_proof_verifies_with_the_key_that_it_names() {
        let key = Key::fresh().unwrap();
        let again = Key::from_text(&key.to_text()).unwrap();
        let proof = again
            .proof("POST", "https://h/x?y#z", Some("token"), Some("n"))
            .unwrap();
        let parts: Vec<_> = proof.split('.').collect();
        let json = |part: &str| -> Value {
            serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
        };
        let (header, claims) = (json(parts[0]), json(parts[1]));
        assert_eq!(header["typ"], "dpop+jwt");
        assert_eq!(claims["htu"], "https://h/x");
        assert_eq!(claims["ath"], digest("token"));
        assert_eq!(claims["nonce"], "n");
        let coordinate = |name: &str| {
            BASE64
                .decode(header["jwk"][name].as_str().unwrap())
                .unwrap()
        };
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let signed = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &BASE64.decode(parts[2]).unwrap())
            .unwrap();
    }

    #[test]
    fn what_is_no_key_is_told_with_what_was_wanted() {
        for pem in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let error = Key::from_pem(pem.as_bytes()).err().unwrap();
            assert!(matches!(error, AuthError::Key(_)), "{error}");
        }
    }
}
