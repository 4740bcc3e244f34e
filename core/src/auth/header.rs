//! The token of a request: `Authorization: Bearer`, once, and nowhere else (RFC 6750, 2.1).

use super::refusal::Refusal;
use crate::http::Head;

/// Finds the token of a request.
pub(super) fn token<'a>(head: &Head<'a>) -> Result<&'a str, Refusal> {
    if names_token(head.query()) {
        return Err(Refusal::Malformed(
            "send the token in Authorization, never in the query",
        ));
    }
    let mut values = head.values("authorization");
    let Some(value) = values.next() else {
        return Err(Refusal::Missing);
    };
    if values.next().is_some() {
        return Err(Refusal::Malformed("send Authorization once"));
    }
    let end = value.iter().position(|&byte| byte == b' ');
    let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::Missing);
    }
    let token = rest.trim_ascii_start();
    if !is_token(token) {
        return Err(Refusal::Malformed(
            "wanted Authorization: Bearer, a space, and one token",
        ));
    }
    std::str::from_utf8(token).map_err(|_| Refusal::Missing)
}

/// Whether a query has a parameter of the name that RFC 6750, 2.3 gives to tokens.
fn names_token(query: &[u8]) -> bool {
    query
        .split(|&byte| byte == b'&')
        .any(|it| it == b"access_token" || it.starts_with(b"access_token="))
}

/// The grammar `b64token` of RFC 6750, 2.1.
fn is_token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = &text[..text.len() - padding];
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_of_its_alphabet() {
        for good in ["a", "a.b-c_d~e+f/g==", "0"] {
            assert!(is_token(good.as_bytes()), "{good}");
        }
        for bad in ["", "=", "a b", "a,b", "a=b", "é", "a\"", "a\t"] {
            assert!(!is_token(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_token_in_a_query_is_seen() {
        for query in ["access_token=x", "a=1&access_token=x", "access_token"] {
            assert!(names_token(query.as_bytes()), "{query}");
        }
        for query in ["", "token=x", "my_access_token=x", "access_tokens=x"] {
            assert!(!names_token(query.as_bytes()), "{query}");
        }
    }
}
