//! Targets and Host: whom a request is for must have one meaning too (RFC 9112, 3.2).

use super::{Family, Heard, Wanted, plain};

pub(super) fn targets() -> Family {
    let mut family = Family::new("targets");
    let with = |target: &str, host: &str| {
        let request = plain("", "first").replacen("/mcp", target, 1);
        request.replacen("Host: localhost", &format!("Host: {host}"), 1)
    };
    // An absolute target overrides Host.
    for (target, host) in [
        ("http://localhost/mcp", "localhost"),
        ("HTTP://localhost/mcp", "localhost"),
        ("http://localhost:80/mcp?x", "localhost"),
        ("http://127.0.0.1/mcp", "evil.example.com"),
        ("http://[::1]:8080/mcp", "localhost"),
    ] {
        family.heard(&format!("{target} {host}"), &with(target, host));
    }
    for (target, status) in [
        ("http://evil.example.com/mcp", 403),
        ("http://localhost", 404),
        ("http://localhost?x", 404),
        ("http://localhost//mcp", 404),
        ("https://localhost/mcp", 404),
        ("ftp://localhost/mcp", 404),
        ("//localhost/mcp", 404),
        ("http:/localhost/mcp", 404),
        ("http:localhost/mcp", 404),
        ("*", 404),
        ("localhost:80", 404),
        ("mcp", 404),
    ] {
        let wanted = Wanted::Answered(vec![Heard::Status(status)]);
        family.add(target, &with(target, "localhost"), wanted);
    }
    for target in [
        "http:///mcp",
        "http://",
        "http://u@localhost/mcp",
        "http://u:p@localhost/mcp",
        "http://localhost:x/mcp",
        "http://localhost:80:80/mcp",
        "http://local,host/mcp",
        "http://[::1/mcp",
        "http://localhost\\mcp",
    ] {
        family.refused(target, &with(target, "localhost"), 400);
    }
    family
}

pub(super) fn hosts() -> Family {
    let mut family = Family::new("hosts");
    let with = |lines: &str| plain("", "first").replacen("Host: localhost\r\n", lines, 1);
    for lines in [
        "Host: LocalHost\r\n",
        "host:localhost:80\r\n",
        "HOST: \t127.0.0.1:65535 \r\n",
        "Host: [::1]:80\r\n",
        "Host: localhost:\r\n",
    ] {
        family.heard(lines, &with(lines));
    }
    for lines in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nX: y\r\nHost: evil.example.com\r\n",
        "Host: localhost, localhost\r\n",
        "Host: localhost evil.example.com\r\n",
        "Host: localhost/mcp\r\n",
        "Host: http://localhost\r\n",
        "Host: u@localhost\r\n",
        "Host: localhost:80:80\r\n",
        "Host: localhost:x\r\n",
        "Host: localhost:123456\r\n",
        "Host: localhost:+80\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: localhost\\\r\n",
        "Host: localhost\"\r\n",
        "Host: localhost?\r\n",
        "Host: localhost#\r\n",
        "Host: l\u{f6}calhost\r\n",
        "Host : localhost\r\n",
    ] {
        family.refused(lines, &with(lines), 400);
    }
    for lines in [
        "Host: evil.example.com\r\n",
        "Host: 127.0.0.2\r\n",
        "Host:\r\n",
    ] {
        let wanted = Wanted::Answered(vec![Heard::Status(403)]);
        family.add(lines, &with(lines), wanted);
    }
    family
}
