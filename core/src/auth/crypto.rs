//! Signatures of tokens, checked by ring: the cryptography that rustls brings already.
//!
//! `jsonwebtoken` knows the formats and leaves the arithmetic to a provider of the process; this is
//! one that verifies and never signs, and knows no HMAC: a shared secret is no public key.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| unsupported(),
        rsa_pub_components_from_public_key: |_| unsupported(),
        ec_pub_components_from_private_key: |_, _| unsupported(),
        ed_pub_components_from_private_key: |_, _| unsupported(),
        compute_digest: |_, _| unsupported(),
    },
};

/// Makes ring the provider of this process, unless the program around has chosen one already.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

fn unsupported<T>() -> Result<T> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    unsupported()
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    let check = match algorithm {
        Algorithm::RS256 => Check::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Check::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Check::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Check::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Check::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Check::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Check::Curve(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Check::Curve(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Check::Curve(&ED25519),
        _ => return unsupported(),
    };
    Ok(Box::new(ByRing {
        algorithm: *algorithm,
        check,
        key: key.clone(),
    }))
}

enum Check {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

struct ByRing {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (&self.check, self.key.kind()) {
            (Check::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Check::Curve(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::crypto::verify;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    };

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    /// A key of 2048 bits, and what OpenSSL signed by it: `a.b`.
    const MODULUS: &str = "\
        18spSTx_AIqle8GCZa16664uwvpPs0wa5JBf0U6z87Fl1g8pqpZ0ZdrAZvOb9ubdkm5AU7J0HadgLl1-N3fj\
        4gq5UnLepBMgLxorUnKP0IWmzdYVdao7tC4Ohy1AY7Oj-k2-VwptPQVy6eI_UZU8WXR1JfB30zQmh7Vco2fD\
        ThhMtSAJEzQZC61KGB4pUf7kdHCAOC-n_yJ5EyS3BNytyISKBbAqywqkh1mzYiHFzfARFsVPIYKdKD64vOOl\
        nFuwJnbFI8_Wyis9LKAjj8iLfxE0aYUQ2VM9OUApDekUFnkRakaD3GJx-JSAbXnahZd-Pp0E8laCBtgrRXYu\
        Sw86Mw";
    const RS256: &str = "\
        GEVrHU07H2P_Y7P31N2-mDwAcSAfTf0j8LBAGgU6ovKK2H0_v_I0HD5EVorfEajVFX6Kvy8klOtMtZYUvzsi\
        7-y4KWW-DtbxZ--IE7OcI9VuOI_gpOqlrB02ZdoWHNRa45bmv3-MympI00LsqzmbWgryXm9Nz5KlJh-usZ7T\
        pYEQoBYySLibBmZZwLq-NT4ZfjD334sKbtLP0f94UM4s3KtAyCTtYOJnDrmD89t2i5TvM94oRJcOr0sE1ZFw\
        tU5eqi7HywDbKces2Yk9sy1YiAXktcPxAHMe9UzzSibUmI8vYxa3leYNkn9Zen9lRlQwd8WTcFSJPPLeSwR0\
        UKn9lQ";
    const PS384: &str = "\
        KKiABgUOh9FbQmWg8rb9QjTLAMQjWz9MDsZ0J8lMpKugxVzrAYyatVOFHKqBn9qqFkNgTmeoVwAQhInd9_mI\
        LtLI9nq5qeqWUTtjETgHUNsXLNMIIgA3Lw6GFbMdtigVVG-xcJms19sZsDyNmVBlF0rhXrfNvYfgfOQLHbMh\
        zzg2iCZyLJ39GysoBTL0iWc9fYBH1AsHW451DKcZ1_LkOlbFjQIMtYzNChXBduuAbGSfz7mmymT9j7tN8JpI\
        o2pEFG5NjK_Sfki_LDq3xfkAwtCtsE--5bFdlMT_99EnGTj_r1vvSQGyAtDnIdHE3IWLOLcyd4bufb5Q1ibq\
        -zFpZA";

    fn is_good(signature: &str, message: &str, key: &DecodingKey, by: Algorithm) -> bool {
        install();
        verify(signature, message.as_bytes(), key, by).unwrap_or(false)
    }

    #[test]
    fn signatures_of_rsa_are_checked() {
        let key = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        assert!(is_good(RS256, "a.b", &key, Algorithm::RS256));
        assert!(is_good(PS384, "a.b", &key, Algorithm::PS384));
        assert!(!is_good(RS256, "a.c", &key, Algorithm::RS256));
        for other in [
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::ES256,
        ] {
            assert!(!is_good(RS256, "a.b", &key, other), "{other:?}");
        }
        // 1024 bits have been too few for long.
        let short = DecodingKey::from_rsa_components(&MODULUS[..168], "AQAB").unwrap();
        assert!(!is_good(RS256, "a.b", &short, Algorithm::RS256));
    }

    #[test]
    fn signatures_of_curves_are_checked_and_shared_secrets_are_none() {
        let (random, ed) = (SystemRandom::new(), Algorithm::EdDSA);
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let key = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let signature = BASE64.encode(pair.sign(b"a.b"));
        assert!(is_good(&signature, "a.b", &key, ed) && !is_good(&signature, "a.c", &key, ed));
        let curves: [(&'static EcdsaSigningAlgorithm, Algorithm); 2] = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384),
        ];
        for (kind, by) in curves {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap();
            let key = DecodingKey::from_ec_der(pair.public_key().as_ref());
            let signature = BASE64.encode(pair.sign(&random, b"a.b").unwrap());
            assert!(is_good(&signature, "a.b", &key, by), "{by:?}");
            assert!(!is_good(&signature, "a.c", &key, by), "{by:?}");
            assert!(!is_good(&signature[4..], "a.b", &key, by), "{by:?}");
        }
        let secret = DecodingKey::from_secret(b"secret");
        assert!(!is_good(&signature, "a.b", &secret, Algorithm::HS256));
    }
}
