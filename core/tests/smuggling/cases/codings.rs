//! Transfer-Encoding: `chunked`, once, alone, and under HTTP/1.1 only (RFC 9112, 6.1).

use super::{Family, Heard, Wanted, call, chunked, hidden, post};

fn body() -> String {
    let body = call("first");
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

pub(super) fn values() -> Family {
    let mut family = Family::new("coding values");
    for name in ["Transfer-Encoding", "transfer-encoding"] {
        let request = |value: &str| post(&format!("{name}:{value}\r\n"), &body());
        for value in [
            "chunked",
            " chunked",
            " Chunked",
            " CHUNKED",
            "\tchunked",
            " \t chunked \t ",
        ] {
            family.heard(value, &request(value));
        }
        for value in [
            " xchunked",
            " chunkedx",
            " chunke",
            " chunked, chunked",
            " chunked,chunked",
            " chunked,",
            " ,chunked",
            " ,",
            " identity",
            " gzip",
            " deflate",
            " compress",
            " trailers",
            " cow",
            " gzip, chunked",
            " identity, chunked",
            " chunked, identity",
            " chunked, gzip",
            " chunked identity",
            " chunked;q=1",
            " chunked;",
            " \"chunked\"",
            " 'chunked'",
            " chunk ed",
            " chun\tked",
            " \u{a0}chunked",
            " chunked\u{a0}",
            " chun\u{e2}\u{84}\u{aa}ed",
            "",
            " ",
        ] {
            family.refused(value, &request(value), 501);
        }
        for value in [
            " \x0bchunked",
            " chunked\x0b",
            " \x0cchunked",
            " chunked\0",
            " \0chunked",
            " chunked\x7f",
            " \x08chunked",
        ] {
            family.refused(value, &request(value), 400);
        }
    }
    family
}

pub(super) fn twice() -> Family {
    let mut family = Family::new("codings twice");
    for one in ["chunked", "identity", "gzip", ""] {
        for other in ["chunked", "identity", "gzip", ""] {
            for between in ["", "X: y\r\n"] {
                let framing =
                    format!("Transfer-Encoding: {one}\r\n{between}transfer-encoding: {other}\r\n");
                let status = if one == "chunked" { 400 } else { 501 };
                let name = format!("{one} {between}{other}");
                family.refused(&name, &post(&framing, &body()), status);
            }
        }
    }
    family
}

/// The classic pairs: one reader goes by the length, the other by the chunks.
pub(super) fn beside_a_length() -> Family {
    let mut family = Family::new("coding beside a length");
    let end = format!("0\r\n\r\n{}", hidden());
    for (coding, status) in [
        ("chunked", 400),
        ("Chunked", 400),
        ("\tchunked", 400),
        ("identity", 501),
        ("xchunked", 501),
        ("chunked, identity", 501),
        ("gzip, chunked", 501),
        ("", 501),
    ] {
        for length in [0, 4, 5, end.len()] {
            let (te, cl) = (
                format!("Transfer-Encoding: {coding}\r\n"),
                format!("Content-Length: {length}\r\n"),
            );
            for framing in [format!("{te}{cl}"), format!("{cl}X: y\r\n{te}")] {
                family.refused(&framing, &post(&framing, &end), status);
            }
        }
    }
    family
}

/// HTTP/1.0 knows no chunks: who forwards them as 1.0 is not to be believed.
pub(super) fn old_versions() -> Family {
    let mut family = Family::new("HTTP/1.0");
    let old = |request: String| request.replacen("HTTP/1.1", "HTTP/1.0", 1);
    for fields in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
        family.refused(fields, &old(chunked(fields, "first")), 400);
        let te = format!("{fields}Transfer-Encoding: identity\r\n");
        family.refused(&te, &old(super::plain(&te, "first")), 501);
        let both = format!("{fields}Transfer-Encoding: chunked\r\n");
        family.refused(&both, &old(super::plain(&both, "first")), 400);
        let heard = vec![Heard::Text("first")];
        let wanted = match fields.contains("keep-alive") {
            true => Wanted::Answered(heard),
            false => Wanted::Last(heard),
        };
        let name = format!("{fields}with a length");
        family.add(&name, &old(super::plain(fields, "first")), wanted);
    }
    family
}
