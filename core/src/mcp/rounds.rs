//! Calls in rounds (modern era): the state that a client carries from one round to the next, and
//! the cursors that it carries from one page to the next. Both are authenticated by a key that
//! lives as long as the process, so that neither can be made up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use crate::auth::Owner;
use crate::catalog::Listed;
use crate::limits::Limits;
use crate::rpc::{RpcError, Value, write};

/// Length of a tag in bytes.
const TAG: usize = 32;
/// Bytes of a cursor's tag: it guards no secret, only against numbers that were never given.
const SHORT_TAG: usize = 8;

/// What a state belongs to: who calls, and method and parameters of the call, without what a round
/// adds.
pub(crate) type Digest = [u8; 32];

/// The digest of a call of `owner`.
pub(crate) fn digest(owner: Option<Owner>, method: &str, params: Value<'_>) -> Digest {
    const ROUND: [&str; 3] = ["_meta", "inputResponses", "requestState"];
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(owner.as_ref().map_or(&[], Owner::bytes));
    write::string(&mut text, method);
    let mut members: Vec<_> = params.as_object().unwrap_or_default().iter().collect();
    members.retain(|(name, _)| !ROUND.contains(name));
    members.sort_by_key(|(name, _)| *name);
    for &&(name, member) in &members {
        write::string(&mut text, name);
        write::value(&mut text, member, true);
    }
    Sha256::digest(&text).into()
}

/// The key of a server's states and cursors.
pub(crate) struct Secrets([u8; 64]);

impl Secrets {
    /// A key of the system's random source.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        mac.update(purpose);
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    /// The state of a call whose client has given `answers`, good until `expires_ns`.
    pub(crate) fn seal(
        &self,
        digest: &Digest,
        expires_ns: u64,
        answers: &Map<String, Json>,
    ) -> String {
        let answers = serde_json::to_vec(answers).unwrap_or_default();
        let expires = expires_ns.to_le_bytes();
        let mac = self.mac(b"state", &[digest, &expires, &answers]);
        let tag = mac.finalize().into_bytes();
        BASE64.encode([&expires[..], &answers, &tag].concat())
    }

    /// The answers that the state `text` of the call `digest` carries, unless it was changed, is
    /// of another call or of an earlier process, or has expired.
    // [mcp:mrtr-hostile]
    pub(crate) fn open(
        &self,
        digest: &Digest,
        now_ns: u64,
        text: &str,
        limits: &Limits,
    ) -> Option<Map<String, Json>> {
        if text.len() > 2 * limits.request_state_bytes + 128 {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        let (expires, rest) = bytes.split_first_chunk::<8>()?;
        let (answers, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let mac = self.mac(b"state", &[digest, expires, answers]);
        mac.verify_slice(tag).ok()?;
        if u64::from_le_bytes(*expires) < now_ns {
            return None;
        }
        serde_json::from_slice(answers).ok()
    }

    /// The cursor of page `number` of `list`.
    pub(crate) fn cursor(&self, list: Listed, number: usize) -> String {
        let number = (number as u64).to_le_bytes();
        let mac = self.mac(b"cursor", &[list.member().as_bytes(), &number]);
        let tag = mac.finalize().into_bytes();
        BASE64.encode([&number[..], &tag[..SHORT_TAG]].concat())
    }

    /// The page that `cursor` of `list` stands for, if it was given by [`Secrets::cursor`].
    pub(crate) fn page(&self, list: Listed, cursor: &str) -> Option<usize> {
        // Sixteen bytes are written in 22 characters; whatever is longer was not given here.
        let bytes = (cursor.len() == 22).then(|| BASE64.decode(cursor).ok())??;
        let (number, tag) = bytes.split_first_chunk::<8>()?;
        let mac = self.mac(b"cursor", &[list.member().as_bytes(), number]);
        mac.verify_truncated_left(tag).ok()?;
        usize::try_from(u64::from_le_bytes(*number)).ok()
    }
}

/// The answers that a request brings: those of its state, and behind them its own.
pub(crate) fn answers(
    secrets: &Secrets,
    limits: &Limits,
    now_ns: u64,
    digest: &Digest,
    responses: Option<Value<'_>>,
    state: Option<Value<'_>>,
) -> Result<Map<String, Json>, RpcError> {
    let mut answers = match state {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Str(text)) => secrets.open(digest, now_ns, text, limits).ok_or_else(|| {
            RpcError::invalid_params(
                "Invalid params: requestState is not one of this call, or has expired",
            )
        })?,
        Some(_) => {
            return Err(RpcError::invalid_params(
                "Invalid params: requestState must be a string",
            ));
        }
    };
    match responses {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) => {
            for &(key, answer) in members {
                if !answers.contains_key(key) {
                    answers.insert(key.to_owned(), to_json(answer));
                }
            }
            let bytes: usize = answers.values().map(|it| it.to_string().len()).sum();
            if bytes > limits.request_state_bytes {
                return Err(RpcError::invalid_params(format!(
                    "Invalid params: inputResponses of {bytes} bytes, at most {}",
                    limits.request_state_bytes
                )));
            }
        }
        Some(_) => {
            return Err(RpcError::invalid_params(
                "Invalid params: inputResponses must be an object",
            ));
        }
    }
    Ok(answers)
}

fn to_json(value: Value<'_>) -> Json {
    // Every value that was parsed can be represented.
    serde::Deserialize::deserialize(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Map<String, Json> {
        let mut answers = Map::new();
        answers.insert("k".into(), Json::from("v"));
        answers
    }

    #[test]
    fn a_state_is_good_for_its_call_and_its_time() {
        // [mcp:mrtr-hostile]
        let (secrets, limits) = (Secrets::fresh().unwrap(), Limits::default());
        let params = [("a", Value::Int(1)), ("b", Value::Null)];
        let swapped = [
            ("b", Value::Null),
            ("_meta", Value::Null),
            ("a", Value::Int(1)),
        ];
        let call = digest(None, "m", Value::Object(&params));
        assert_eq!(call, digest(None, "m", Value::Object(&swapped)));
        let state = secrets.seal(&call, 100, &answers());
        let open = |digest, now, text: &str| secrets.open(digest, now, text, &limits);
        assert_eq!(open(&call, 100, &state), Some(answers()));
        assert_eq!(open(&call, 101, &state), None, "expired");
        let other = digest(None, "m", Value::Object(&params[..1]));
        assert_eq!(open(&other, 1, &state), None, "another call's");
        assert_ne!(call, digest(None, "n", Value::Object(&params)));
        for tampered in [
            format!("{state}-TAMPERED"),
            format!("{state}A"),
            state[1..].to_owned(),
            String::new(),
            "A".repeat(300_000),
        ] {
            assert_eq!(open(&call, 1, &tampered), None);
        }
        let foreign = Secrets::fresh().unwrap().seal(&call, 100, &answers());
        assert_eq!(open(&call, 1, &foreign), None, "another process's");
    }

    #[test]
    fn a_cursor_leads_to_its_page_and_cannot_be_made_up() {
        let secrets = Secrets::fresh().unwrap();
        let cursor = secrets.cursor(Listed::Tools, 3);
        assert_eq!(secrets.page(Listed::Tools, &cursor), Some(3));
        assert_eq!(secrets.page(Listed::Prompts, &cursor), None);
        for wrong in ["", "3", &cursor[1..], &"A".repeat(22), &"A".repeat(1 << 16)] {
            assert_eq!(secrets.page(Listed::Tools, wrong), None);
        }
    }
}
