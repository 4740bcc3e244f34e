//! Requests behind each other on one connection, with and without what makes a reader wait.

use super::{FIELDS, Family, Heard, Wanted, call, chunked, hidden, plain, post};

pub(super) fn expectations() -> Family {
    let mut family = Family::new("expectations");
    for expect in ["100-continue", "100-Continue", "100-CONTINUE "] {
        let fields = format!("Expect: {expect}\r\n");
        family.heard(expect, &plain(&fields, "first"));
        let name = format!("{expect}, chunked");
        family.heard(&name, &chunked(&fields, "first"));
    }
    let twice = "Expect: 100-continue\r\nExpect: 100-continue\r\n";
    family.heard("twice", &plain(twice, "first"));
    let empty = post("Expect: 100-continue\r\nContent-Length: 0\r\n", "");
    let wanted = Wanted::Answered(vec![Heard::Status(400)]);
    family.add("without a body", &empty, wanted);
    let waits = post("Expect: 100-continue\r\nContent-Length: 100000\r\n", "{");
    family.add("with a body that stays away", &waits, Wanted::Late);
    for expect in [
        "",
        "100",
        "200-ok",
        "100-continue, 100-continue",
        "100-continue;x",
        "\"100-continue\"",
        "y 100-continue",
        "100-continued",
    ] {
        let fields = format!("Expect: {expect}\r\n");
        family.refused(expect, &plain(&fields, "first"), 417);
    }
    family
}

pub(super) fn pipelines() -> Family {
    let mut family = Family::new("pipelines");
    let get = format!("GET /mcp HTTP/1.1\r\n{FIELDS}Mcp-Session-Id: none\r\n\r\n");
    let head = get.replacen("GET", "HEAD", 1);
    let delete = get.replacen("GET", "DELETE", 1);
    let elsewhere = get.replacen("/mcp", "/", 1);
    let kinds = [
        ("a length", plain("", "first"), Heard::Text("first")),
        ("chunks", chunked("", "second"), Heard::Text("second")),
        ("a DELETE", delete, Heard::Status(405)),
        ("elsewhere", elsewhere, Heard::Status(404)),
        ("a HEAD", head, Heard::Bodiless(405)),
    ];
    for (one, first, heard) in &kinds {
        for (other, second, heard_too) in &kinds {
            for blank in ["", "\r\n"] {
                let name = format!("{one}, {blank}then {other}");
                let heard = vec![heard.clone(), heard_too.clone()];
                let bytes = format!("{first}{blank}{second}");
                family.add(&name, &bytes, Wanted::Answered(heard));
            }
        }
    }
    let many = plain("", "first").repeat(20);
    let heard = vec![Heard::Text("first"); 20];
    family.add("twenty", &many, Wanted::Answered(heard));
    let closing = plain("Connection: close\r\n", "first");
    let last = Wanted::Last(vec![Heard::Text("first")]);
    let ignored = format!("{closing}{}", hidden());
    family.add("behind a close nothing is heard", &ignored, last);
    let cut = format!("{}POST /mcp HT", plain("", "first"));
    family.add("a cut request line", &format!("{cut}\r\n"), {
        Wanted::Last(vec![Heard::Text("first"), Heard::Status(505)])
    });
    family
}

/// A body belongs to its request whatever the verb, and whatever becomes of it.
pub(super) fn verbs_with_bodies() -> Family {
    let mut family = Family::new("verbs with bodies");
    for (verb, status) in [
        ("GET", 405),
        ("DELETE", 405),
        ("PUT", 405),
        ("OPTIONS", 405),
        ("TRACE", 405),
        ("PATCH", 405),
        ("CONNECT", 405),
        ("HEAD", 405),
    ] {
        let heard = match verb {
            "HEAD" => Heard::Bodiless(status),
            _ => Heard::Status(status),
        };
        let request = |framing: &str, body: &str| {
            let head = format!("{verb} /mcp HTTP/1.1\r\n{FIELDS}Mcp-Session-Id: none\r\n");
            format!("{head}{framing}\r\n{body}")
        };
        let hidden = hidden();
        let framing = format!("Content-Length: {}\r\n", hidden.len());
        let wanted = Wanted::Answered(vec![heard]);
        let name = format!("{verb} with a length");
        family.add(&name, &request(&framing, &hidden), wanted.clone());
        let body = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        let framing = "Transfer-Encoding: chunked\r\n";
        let name = format!("{verb} with chunks");
        family.add(&name, &request(framing, &body), wanted);
        let both = format!("{framing}Content-Length: 5\r\n");
        let name = format!("{verb} with both");
        family.refused(&name, &request(&both, &body), 400);
    }
    family
}

pub(super) fn beyond_limits() -> Family {
    let mut family = Family::new("beyond limits");
    let body = call("first");
    let length = format!("Content-Length: {}\r\n", body.len());
    for times in [1, 10] {
        let target = "x".repeat(8192 * times);
        let request = plain("", "first").replacen("/mcp", &format!("/mcp?{target}"), 1);
        family.refused(&format!("request line, {times}"), &request, 414);
        let fields = "X: y\r\n".repeat(64 * times);
        let request = post(&format!("{fields}{length}"), &body);
        family.refused(&format!("fields, {times}"), &request, 431);
        let field = format!("X: {}\r\n", "y".repeat(16_384 * times));
        let request = post(&format!("{field}{length}"), &body);
        family.refused(&format!("head, {times}"), &request, 431);
    }
    family
}
