//! Content-Length: one plain decimal number, once (RFC 9112, 6.3).

use super::{Family, Heard, Wanted, call, hidden, post};

pub(super) fn values() -> Family {
    let mut family = Family::new("length values");
    let body = call("first");
    let n = body.len();
    for name in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
        let request = |value: &str| post(&format!("{name}:{value}\r\n"), &body);
        for value in [
            format!("{n}"),
            format!(" {n}"),
            format!("\t{n}"),
            format!("  \t {n} \t"),
            format!(" 0{n}"),
            format!(" 0000000000000{n}"),
        ] {
            family.heard(&value, &request(&value));
        }
        for value in [
            format!(" +{n}"),
            format!(" -{n}"),
            format!(" 0x{n:x}"),
            format!(" {n:x}h"),
            format!(" {n} {n}"),
            format!(" {n},{n}"),
            format!(" {n}, {n}"),
            format!(" {n},"),
            format!(" ,{n}"),
            format!(" {n};"),
            format!(" {n};q=1"),
            format!(" {n}.0"),
            format!(" {n}e0"),
            format!(" \"{n}\""),
            format!(" {n}_"),
            format!(" {n}\x0b"),
            format!(" \x0c{n}"),
            format!(" {n}\0"),
            format!(" {n}\u{a0}"),
            format!(" \u{ef}\u{bc}\u{91}{n}"),
            format!(" {n:0>20}"),
            String::new(),
            " ".to_owned(),
            " -0".to_owned(),
            " 0x".to_owned(),
            " 18446744073709551615".to_owned(),
            " 18446744073709551616".to_owned(),
            format!(" {}", u128::from(u64::MAX) + 1 + n as u128),
            " 99999999999999999999999999999999".to_owned(),
        ] {
            family.refused(&value, &request(&value), 400);
        }
        for value in [u64::from(u32::MAX) + 1 + n as u64, u64::MAX / 2, 4_194_305] {
            family.refused(&value.to_string(), &request(&format!(" {value}")), 413);
        }
    }
    family
}

/// Equal or not, next to each other or not: a second length is refused.
pub(super) fn twice() -> Family {
    let mut family = Family::new("lengths twice");
    let body = call("first");
    let values = [
        body.len().to_string(),
        format!("0{}", body.len()),
        "0".to_owned(),
        (body.len() + hidden().len()).to_string(),
    ];
    for one in &values {
        for other in &values {
            for between in ["", "X: y\r\n"] {
                let framing =
                    format!("Content-Length: {one}\r\n{between}content-length: {other}\r\n");
                let rest = format!("{body}{}", hidden());
                let name = format!("{one} {between}{other}");
                family.refused(&name, &post(&framing, &rest), 400);
            }
        }
    }
    family
}

/// A request within the stated length is part of a body, and never a request.
pub(super) fn covered() -> Family {
    let mut family = Family::new("hidden within the length");
    let (body, hidden) = (call("first"), hidden());
    for (name, content) in [
        ("alone", hidden.clone()),
        ("behind a body", format!("{body}{hidden}")),
        ("behind a chunked end", format!("0\r\n\r\n{hidden}")),
        ("behind blank lines", format!("\r\n\r\n{hidden}")),
        ("twice", format!("{hidden}{hidden}")),
    ] {
        let bad = Wanted::Answered(vec![Heard::Status(400)]);
        let framing = format!("Content-Length: {}\r\n", content.len());
        family.add(name, &post(&framing, &content), bad.clone());
        let chunk = format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
        let name = format!("{name}, as a chunk");
        family.add(&name, &post("Transfer-Encoding: chunked\r\n", &chunk), bad);
    }
    let short = format!("Content-Length: {}\r\n", body.len() + 100_000);
    family.add("a body that is short", &post(&short, &body), Wanted::Late);
    family
}
