//! Chunked bodies (RFC 9112, 7.1): sizes in hex digits, CRLF at every end, trailers that are
//! fields.

use super::{Family, Wanted, call, hidden, post};

/// A chunked POST with these raw bytes as its body.
fn raw(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A chunked call whose first chunk begins with `line`, without its CRLF.
fn opened(line: &str) -> String {
    raw(&format!("{line}\r\n{}\r\n0\r\n\r\n", call("first")))
}

pub(super) fn sizes() -> Family {
    let mut family = Family::new("chunk sizes");
    let n = call("first").len();
    for size in [format!("{n:X}"), format!("0{n:x}"), format!("{n:0>15x}")] {
        family.heard(&size, &opened(&size));
    }
    for size in [
        format!("+{n:x}"),
        format!("-{n:x}"),
        format!("0x{n:x}"),
        format!("0X{n:x}"),
        format!("{n:x}h"),
        format!("#{n:x}"),
        format!("\\x{n:x}"),
        format!("\"{n:x}\""),
        format!("{n:x} {n:x}"),
        format!("{n:x},{n:x}"),
        format!("{n:x}."),
        format!("{n:x}_"),
        format!("{n:x}g"),
        format!("{n:x}\t"),
        format!(" {n:x}"),
        format!("\t{n:x}"),
        format!("{n:x}\0"),
        format!("{n:x}\x0b"),
        format!("\r\n{n:x}"),
        format!("{n:0>16x}"),
        format!("{:x}", u128::from(u64::MAX) + 1 + n as u128),
        "ffffffffffffffff".to_owned(),
        "8000000000000000".to_owned(),
        "-1".to_owned(),
        "-0".to_owned(),
        "0x0".to_owned(),
        String::new(),
        "g".to_owned(),
        "x".to_owned(),
    ] {
        family.refused(&size, &opened(&size), 400);
    }
    for size in [u64::from(u32::MAX) + 1 + n as u64, u64::MAX >> 4, 4_194_305] {
        family.refused(&format!("{size:x}"), &opened(&format!("{size:x}")), 413);
    }
    family
}

pub(super) fn extensions() -> Family {
    let mut family = Family::new("chunk extensions");
    let n = call("first").len();
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"b;c\"",
        " ;a=b",
        "\t; a",
        ";a;b=c;d",
        ";a = b",
    ] {
        family.heard(extension, &opened(&format!("{n:x}{extension}")));
    }
    for extension in [
        ";", "; ", ";;", ";=b", " a", "=a", ",a", ":a", ";a\n", ";\n", ";a\rb", ";a\0", ";a\x0b",
        ";a\x7f", "\n",
    ] {
        family.refused(extension, &opened(&format!("{n:x}{extension}")), 400);
    }
    let long = format!("{n:x};{}", "a".repeat(300));
    family.refused("a long one", &opened(&long), 400);
    let hiding = format!("{n:x};\n{}", hidden());
    family.refused("a request behind a bare LF", &opened(&hiding), 400);
    family
}

pub(super) fn ends() -> Family {
    let mut family = Family::new("chunk ends");
    let body = call("first");
    let n = body.len();
    for (name, end) in [
        ("nothing", ""),
        ("bare LF", "\n"),
        ("bare CR", "\r"),
        ("CRCRLF", "\r\r\n"),
        ("a space", " \r\n"),
        ("LFCR", "\n\r"),
    ] {
        let text = format!("{n:x}\r\n{body}{end}0\r\n\r\n");
        family.refused(&format!("{name} behind data"), &raw(&text), 400);
        let text = format!("{n:x}{end}{body}\r\n0\r\n\r\n");
        family.refused(&format!("{name} behind the size"), &raw(&text), 400);
    }
    for (name, size) in [("too long", n - 1), ("too short", n + 1)] {
        let text = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
        family.refused(&format!("data {name}"), &raw(&text), 400);
    }
    let blank = "1\r\n{\r\n\r\n1\r\n}\r\n0\r\n\r\n";
    family.refused("a blank line between chunks", &raw(blank), 400);
    let many = "1\r\n \r\n".repeat(10_000) + "0\r\n\r\n";
    family.refused("many chunks of one byte", &raw(&many), 400);
    let two = format!("1\r\n{{\r\n{:x}\r\n{}\r\n0\r\n\r\n", n - 1, &body[1..]);
    family.heard("two chunks", &raw(&two));
    family.add("data that stays away", &raw("fffff\r\n"), Wanted::Late);
    family
}

pub(super) fn last_chunks() -> Family {
    let mut family = Family::new("last chunks");
    let body = call("first");
    let hidden = hidden();
    let ended = |end: &str| raw(&format!("{:x}\r\n{body}\r\n{end}", body.len()));
    for end in ["0000000\r\n\r\n", "0;a=b\r\n\r\n", "0\t;a\r\n\r\n"] {
        family.heard(end, &ended(end));
    }
    for end in [
        "0\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "0 \r\n\r\n",
        "+0\r\n\r\n",
        "-0\r\n\r\n",
        "0x0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        family.refused(end, &ended(end), 400);
    }
    // What should be the blank line is the next request.
    for end in ["0\r\n", "0\r\n\r"] {
        let name = format!("{end} and a request");
        family.refused(&name, &ended(&format!("{end}{hidden}")), 400);
    }
    family
}

pub(super) fn trailers() -> Family {
    let mut family = Family::new("trailers");
    let body = call("first");
    let ended = |trailer: &str| raw(&format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len()));
    for trailer in [
        "A: b\r\n",
        "A:\r\n",
        "A: b\r\nC: d\r\n",
        "A: \u{e9}\r\n",
        // Trailers are dropped, so these change nothing.
        "Content-Length: 0\r\n",
        "Transfer-Encoding: identity\r\n",
        "Host: evil.example.com\r\n",
        "Mcp-Name: add\r\n",
        "Connection: close\r\n",
    ] {
        family.heard(trailer, &ended(trailer));
    }
    for trailer in [
        "A\r\n",
        "A : b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\n",
        "A: b\r",
        "A: b\0\r\n",
        "A\0: b\r\n",
        ": b\r\n",
        "A B: c\r\n",
        "A: b\rC: d\r\n",
        "GET /mcp HTTP/1.1\r\n",
    ] {
        family.refused(trailer, &ended(trailer), 400);
    }
    family.refused("long", &ended(&format!("A: {}\r\n", "b".repeat(5000))), 400);
    family.refused("many", &ended(&"A: b\r\n".repeat(1000)), 400);
    family
}
