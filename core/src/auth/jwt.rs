//! Access tokens of an authorization server: signed JWTs (RFC 9068), judged without asking it.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, TokenData, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::identity::Identity;
use super::jwks::Signer;
use super::refusal::Flaw;
use super::scopes::{Policy, split};

/// What a token must say of itself.
pub(super) struct Wanted {
    pub(super) issuer: Box<str>,
    /// RFC 8707: the identifier of this server, exactly as it is published.
    pub(super) audience: Box<str>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway_s: u64,
}

/// A token that is good.
pub(super) struct Verified {
    pub(super) identity: Identity,
    /// Seconds since 1970 from which on it is not.
    pub(super) until_s: u64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    /// RFC 8693: separated by spaces.
    scope: Option<String>,
    /// What some servers send in its place.
    scp: Option<OneOrMany>,
    client_id: Option<String>,
    azp: Option<String>,
    /// RFC 7800: whoever presents the token must prove something else too.
    cnf: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Judges a JWT by `signers`.
// [mcp:auth-validate]
pub(super) fn judge(
    token: &str,
    signers: &[Signer],
    wanted: &Wanted,
    policy: &Policy,
) -> Result<Verified, Flaw> {
    let header = decode_header(token).map_err(|_| Flaw::Unknown)?;
    if !wanted.algorithms.contains(&header.alg) {
        return Err(Flaw::Signature);
    }
    if !is_access_token(&header) {
        return Err(Flaw::Unknown);
    }
    let signer = signer(&header, signers).ok_or(Flaw::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = wanted.leeway_s;
    validation.validate_nbf = true;
    validation.set_audience(&[&wanted.audience]);
    validation.set_issuer(&[&wanted.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let decoded = decode::<Claims>(token, &signer.key, &validation);
    let TokenData { claims, .. } = decoded.map_err(|error| flaw(error.kind()))?;
    if claims.cnf.is_some() {
        // A proof of possession that nobody asks for would make a stolen token good.
        return Err(Flaw::Unknown);
    }
    let scopes = match (claims.scope, claims.scp) {
        (Some(text), _) | (None, Some(OneOrMany::One(text))) => split(&text).collect(),
        (None, Some(OneOrMany::Many(all))) => all.iter().flat_map(|it| split(it)).collect(),
        (None, None) => Vec::new(),
    };
    let client = claims.client_id.or(claims.azp);
    Ok(Verified {
        identity: Identity::new(
            Some(&wanted.issuer),
            &claims.sub,
            client.as_deref(),
            policy.expand(scopes),
        ),
        until_s: seconds(claims.exp).saturating_add(wanted.leeway_s),
    })
}

/// The claim `exp`, which may have a fraction (RFC 7519, 2).
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of floats saturates, and the fraction is not wanted"
)]
fn seconds(numeric_date: f64) -> u64 {
    numeric_date.max(0.0) as u64
}

/// Whether the header is of an access token (RFC 9068, 2.1) whose every demand is understood: other
/// kinds of JWT that the same server signs are no tokens (RFC 8725, 3.11).
fn is_access_token(header: &Header) -> bool {
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    let kind_fits = match kind.as_deref() {
        None => true,
        Some(kind) => matches!(kind, "jwt" | "at+jwt" | "application/at+jwt"),
    };
    kind_fits && header.crit.is_none()
}

/// The key that a header names. One that names none is good where only one key can be meant.
fn signer<'a>(header: &Header, signers: &'a [Signer]) -> Option<&'a Signer> {
    let mut fitting = signers.iter().filter(|it| it.fits(header.alg));
    match header.kid.as_deref() {
        Some(id) => fitting.find(|it| it.id.as_deref() == Some(id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

fn flaw(error: &ErrorKind) -> Flaw {
    match error {
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::ImmatureSignature => Flaw::NotYetValid,
        ErrorKind::InvalidAudience => Flaw::Audience,
        ErrorKind::InvalidIssuer => Flaw::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Flaw::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Flaw::Issuer,
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Flaw::Signature,
        _ => Flaw::Unknown,
    }
}
