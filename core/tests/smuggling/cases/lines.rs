//! Lines: CRLF and nothing else ends one, nothing folds, no control byte is part of one
//! (RFC 9112, 2.2 and 5.2).

use super::{FIELDS, Family, Heard, Wanted, call, hidden, plain, post};

pub(super) fn ends() -> Family {
    let mut family = Family::new("line ends");
    let request = plain("X: y\r\n", "first");
    let head = request.find("\r\n\r\n").expect("a head");
    let lines: Vec<_> = request[..head + 2].match_indices("\r\n").collect();
    let places = [
        ("of the request line", lines[0].0),
        ("of Host", lines[1].0),
        ("before the length", lines[lines.len() - 2].0),
        ("of the length", head),
        ("of the blank line", head + 2),
    ];
    for (place, at) in places {
        for end in ["\n", "\r", "\r\r\n", "\n\r", "\n\n", "\r\0\n", "\x0b"] {
            let damaged = format!("{}{end}{}", &request[..at], &request[at + 2..]);
            let name = format!("{end} as the end {place}");
            family.refused(&name, &damaged, 400);
        }
    }
    for before in [
        "\n", "\r", "\r\r\n", "\n\n", "\0", " ", "\t", "\r\n ", "\r\n\n",
    ] {
        let name = format!("{before} before the request line");
        family.refused(&name, &format!("{before}{request}"), 400);
    }
    for before in ["\r\n", "\r\n\r\n"] {
        let name = format!("{before} before the request line");
        family.heard(&name, &format!("{before}{request}"));
    }
    family.refused("three blank lines", &format!("\r\n\r\n\r\n{request}"), 400);
    family
}

pub(super) fn folds() -> Family {
    let mut family = Family::new("folds");
    let body = call("first");
    let good = format!("Content-Length: {}\r\n", body.len());
    for space in [" ", "\t", "  ", " \t"] {
        for field in ["X: y", "Content-Length: 1", "Transfer-Encoding:", "X:"] {
            for more in ["chunked", "0", "Transfer-Encoding: chunked", ""] {
                let folded = format!("{field}\r\n{space}{more}\r\n");
                family.refused(&folded, &post(&format!("{good}{folded}"), &body), 400);
            }
        }
    }
    let first = format!("POST /mcp HTTP/1.1\r\n X: y\r\n{FIELDS}{good}\r\n{body}");
    family.refused("behind the request line", &first, 400);
    family
}

/// Each control byte in each part of a head.
pub(super) fn control_bytes() -> Family {
    let mut family = Family::new("control bytes");
    let body = call("first");
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let controls = (0..0x20u8).chain([0x7f]).map(char::from);
    for c in controls.filter(|c| !"\t\r\n".contains(*c)) {
        for (place, head) in [
            ("method", format!("PO{c}ST /mcp HTTP/1.1\r\n{FIELDS}")),
            ("target", format!("POST /m{c}cp HTTP/1.1\r\n{FIELDS}")),
            ("version", format!("POST /mcp HTTP/1.1{c}\r\n{FIELDS}")),
            (
                "name",
                format!("POST /mcp HTTP/1.1\r\n{FIELDS}X{c}Y: z\r\n"),
            ),
            (
                "value",
                format!("POST /mcp HTTP/1.1\r\n{FIELDS}X: y{c}z\r\n"),
            ),
        ] {
            let name = format!("{c} in the {place}");
            family.refused(&name, &format!("{head}{length}"), 400);
        }
    }
    family
}

pub(super) fn request_lines() -> Family {
    let mut family = Family::new("request lines");
    let rest = plain("", "first");
    let (_, rest) = rest.split_once("\r\n").expect("a request line");
    for (line, status) in [
        ("POST  /mcp HTTP/1.1", 400),
        ("POST /mcp  HTTP/1.1", 505),
        ("POST\t/mcp HTTP/1.1", 400),
        ("POST /mcp\tHTTP/1.1", 400),
        (" POST /mcp HTTP/1.1", 400),
        ("POST /mcp HTTP/1.1 ", 400),
        ("POST /mcp HTTP/1.1\t", 400),
        ("POST /mcp HTTP/1.1 HTTP/1.1", 400),
        ("POST /mcp x HTTP/1.1", 505),
        ("POST /mcp", 400),
        ("POST /mcp ", 505),
        ("POST", 400),
        ("/mcp HTTP/1.1", 400),
        ("POST /mcp HTTP", 505),
        ("POST /mcp HTTP/", 505),
        ("POST /mcp HTTP/1", 505),
        ("POST /mcp HTTP/1.", 505),
        ("POST /mcp HTTP/1.10", 400),
        ("POST /mcp HTTP/1.2", 505),
        ("POST /mcp HTTP/01.1", 505),
        ("POST /mcp HTTP/2.0", 505),
        ("POST /mcp HTTP/0.9", 505),
        ("POST /mcp http/1.1", 505),
        ("POST /mcp HTTP/1,1", 505),
        ("POST /mcp HTTP /1.1", 505),
        ("POST /mcp SHTTP/1.3", 505),
        ("PO(ST /mcp HTTP/1.1", 400),
        ("POST: /mcp HTTP/1.1", 400),
        ("HTTP/1.1 200 OK", 400),
    ] {
        family.refused(line, &format!("{line}\r\n{rest}"), status);
    }
    for (line, status) in [
        ("post /mcp HTTP/1.1", 405),
        ("PATCH /mcp HTTP/1.1", 405),
        ("P!#$%&'*+-.^_`|~ /mcp HTTP/1.1", 405),
        ("POST /mcp/ HTTP/1.1", 404),
        ("POST /MCP HTTP/1.1", 404),
        ("POST /%6dcp HTTP/1.1", 404),
        ("POST //mcp HTTP/1.1", 404),
        ("POST /./mcp HTTP/1.1", 404),
        ("POST /x/../mcp HTTP/1.1", 404),
        ("POST /mcp#x HTTP/1.1", 404),
        ("POST /mcp;x HTTP/1.1", 404),
    ] {
        let wanted = Wanted::Answered(vec![Heard::Status(status)]);
        family.add(line, &format!("{line}\r\n{rest}"), wanted);
    }
    family.heard(
        "a query",
        &format!("POST /mcp?{}x HTTP/1.1\r\n{rest}", "a=/mcp&"),
    );
    let none = format!("GET /mcp\r\n\r\n{}", hidden());
    family.refused("HTTP/0.9 and a request behind it", &none, 400);
    family
}
