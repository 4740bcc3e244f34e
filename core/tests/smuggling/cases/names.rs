//! Field names: a token, then the colon at once (RFC 9112, 5.1). What only looks like a framing
//! field is none.

use super::{Family, call, plain, post};

const FRAMING: [(&str, &str); 2] = [("Content-Length", "0"), ("Transfer-Encoding", "chunked")];

pub(super) fn damaged() -> Family {
    let mut family = Family::new("damaged names");
    let body = call("first");
    let good = format!("Content-Length: {}\r\n", body.len());
    for (name, value) in FRAMING {
        let (head, tail) = name.split_at(4);
        for line in [
            format!("{name} : {value}"),
            format!("{name}\t: {value}"),
            format!("{name}\x0b: {value}"),
            format!("{name}\x0c: {value}"),
            format!("{name}\0: {value}"),
            format!("{name}\u{a0}: {value}"),
            format!("{name}\r: {value}"),
            format!("{name}\n: {value}"),
            format!("\0{name}: {value}"),
            format!("\x0b{name}: {value}"),
            format!(" {name}: {value}"),
            format!("\t{name}: {value}"),
            format!("{head} {tail}: {value}"),
            format!("{head}\0{tail}: {value}"),
            format!("\"{name}\": {value}"),
            format!("({name}): {value}"),
            name.to_owned(),
            format!("{name} {value}"),
            format!("{name}; {value}"),
            format!(": {value}"),
            format!("{name}\u{ff}: {value}"),
        ] {
            let before = format!("{line}\r\n{good}");
            family.refused(&line, &post(&before, &body), 400);
            let behind = format!("{good}{line}\r\n");
            family.refused(&format!("behind: {line}"), &post(&behind, &body), 400);
        }
    }
    family
}

pub(super) fn lookalikes() -> Family {
    let mut family = Family::new("lookalikes");
    for line in [
        "Content_Length: 0",
        "Content-Lengt: 0",
        "Content-Lengths: 0",
        "XContent-Length: 0",
        "X-Content-Length: 0",
        "Content.Length: 0",
        "Content--Length: 0",
        "Content-Length-: 0",
        "Transfer_Encoding: chunked",
        "Transfer-Encodin: chunked",
        "Transfer-Encodings: chunked",
        "X-Transfer-Encoding: chunked",
        "Transfer.Encoding: chunked",
        "Transfer-Encoding-: chunked",
        "TE: chunked",
        "TE: trailers",
        "Trailer: Content-Length",
        "Content-Encoding: chunked",
        "Connection: Content-Length",
        "Connection: Transfer-Encoding",
        "Connection: keep-alive, Content-Length",
        "Connection: Host",
        "Keep-Alive: timeout=5, max=1",
        "Proxy-Connection: close",
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
        "X-HTTP-Method-Override: GET",
        "X: Content-Length: 0",
        "X: \u{e9}\u{ff}",
        "X:",
    ] {
        let fields = format!("{line}\r\n");
        family.heard(line, &plain(&fields, "first"));
    }
    family
}
