//! What is no message: each such line is answered once, and the next one is read as if nothing had
//! been.

use serde_json::{Value, json};

use crate::channel::{Process, legacy};

#[test]
fn a_bad_line_is_answered_and_the_next_one_is_read() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    let long = vec![b'x'; 5 << 20];
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    let lines: [(&[u8], i64); 8] = [
        (b"no json", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", -32700),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\xfe\",\"method\":\"ping\"}",
            -32700,
        ),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{}",
            -32700,
        ),
        (&long, -32700),
        (&deep, -32700),
        (b"\"text\"", -32600),
        (b"[]", -32600),
    ];
    for (line, code) in lines {
        channel.write(line);
        channel.write(b"\n");
        let answer = channel.hear();
        let shown = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        assert_eq!(answer.get("id"), None::<&Value>, "{shown}");
        assert_eq!(answer["jsonrpc"], "2.0");
        let ping = channel.ask(&legacy(7, "ping", json!({})));
        assert_eq!(ping, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    }
}

#[test]
fn what_can_be_read_of_a_bad_message_is_named() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    for (message, id) in [
        (
            json!({"jsonrpc": "1.0", "id": 5, "method": "ping"}),
            Some(json!(5)),
        ),
        (
            json!({"jsonrpc": "2.0", "id": "a", "method": 7}),
            Some(json!("a")),
        ),
        (
            json!({"jsonrpc": "2.0", "id": null, "method": "ping"}),
            None,
        ),
        (
            json!({"jsonrpc": "2.0", "id": "x".repeat(2000), "method": "ping"}),
            None,
        ),
    ] {
        let answer = channel.ask(&message);
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        assert_eq!(answer.get("id"), id.as_ref(), "{answer}");
    }
}

#[test]
fn lines_may_come_in_pieces_and_in_heaps_and_with_either_end() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    for byte in b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n" {
        channel.write(&[*byte]);
    }
    assert_eq!(channel.hear()["id"], 1);
    let heap = "\n \r\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n\n\
        {\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",";
    channel.write(heap.as_bytes());
    assert_eq!(channel.hear()["id"], 2);
    assert_eq!(channel.hear()["id"], 3);
    channel.write(b"\"id\":4,\"method\":\"ping\"}");
    // The last line needs no end.
    channel.write.take();
    assert_eq!(channel.hear()["id"], 4);
    assert!(process.end().0.success());
}
