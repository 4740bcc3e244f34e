//! The command line against a node: what it prints, and its exit codes.

use std::process::Command;

use serde_json::Value;

use crate::node::Local;

/// Exit code, output, errors.
pub(crate) fn ninefold(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ninefold"))
        .args(arguments)
        .output()
        .expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn every_command_prints_for_people_and_for_programs() {
    let node = Local::start();
    let url = node.url();
    for era in ["auto", "legacy", "modern"] {
        let prints = |arguments: &[&str], wanted: &str| {
            let (code, out, errors) = ninefold(&[arguments, &["--era", era]].concat());
            assert_eq!(code, Some(0), "{arguments:?}: {errors}");
            assert!(out.contains(wanted), "{arguments:?}: {out}");
            let (_, out, _) = ninefold(&[arguments, &["--era", era, "--json"]].concat());
            let document: Result<Value, _> = serde_json::from_str(&out);
            assert!(
                document.is_ok_and(|it| it.is_object()),
                "{arguments:?}: {out}"
            );
        };
        prints(&["call", &url, "add", r#"{"a": 40, "b": 2}"#], "42");
        prints(&["list", &url], "hello");
        prints(&["list", &url, "tools"], "echo");
        prints(&["read", &url, "test://watched"], "seen");
        prints(
            &["prompt", &url, "hello", r#"{"name": "Ada"}"#],
            "Hello, Ada!",
        );
        prints(&["ping", &url], "test 1, MCP 20");
        prints(
            &["call", &url, "asks", "--answer", r#"{"name": "Ada"}"#],
            "\"Ada\" 30",
        );
    }
    let ticks = [
        "call",
        &url,
        "ticks",
        r#"{"count": 3, "ms": 10}"#,
        "--verbose",
    ];
    let (_, _, errors) = ninefold(&ticks);
    assert!(errors.contains("progress 3 of 3"), "{errors}");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let node = Local::start();
    let url = node.url();
    for (arguments, wanted) in [
        (&["ping", "http://127.0.0.1:1/mcp"][..], 1),
        (&["ping", "./absent"], 1),
        (&["ping", "ftp://localhost"], 2),
        (&["call", &url, "add", "[]"], 2),
        (&["call", &url], 2),
        (&["ping", &url, "--timeout", "0"], 2),
        (&["call", &url, "absent"], 3),
        (&["read", &url, "test://absent"], 3),
        (&["call", &url, "add", r#"{"a": "x"}"#], 4),
        (
            &["call", &url, "sleep", r#"{"ms": 5000}"#, "--timeout", "1"],
            5,
        ),
    ] {
        let (code, out, errors) = ninefold(arguments);
        assert_eq!(code, Some(wanted), "{arguments:?}: {out}{errors}");
        assert!(wanted == 4 || !errors.is_empty(), "{arguments:?}");
    }
    let (_, out, _) = ninefold(&["call", &url, "absent", "--json"]);
    let error: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(error["error"]["code"], -32602, "{out}");
}
