//! Valid requests, damaged at random by a fixed seed: whatever arrives, each answer is well
//! formed, no fault of ours is reported, and the node serves the next request as before.

use serde_json::json;

use crate::damage::Random;
use crate::features::features;
use crate::harness::{Node, initialize, legacy, modern, text};
use crate::rounds::talkative;

#[test]
fn damaged_requests_do_no_harm() {
    let node = Node::with(|builder| talkative(features(builder)));
    let add = modern(
        "tools/call",
        json!({"name": "add", "arguments": {"a": 1, "b": 2.5}}),
    );
    let (head, body) = add.split_once("\r\n\r\n").expect("a body");
    let head = head.replacen("Content-Length", "X-Length", 1);
    let chunked = format!(
        "{head}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let seeds = [
        add.clone(),
        modern("server/discover", json!({})),
        legacy(None, &initialize("2025-11-25")),
        chunked,
        modern("resources/read", json!({"uri": "test://item/7"})),
        modern(
            "prompts/get",
            json!({"name": "about", "arguments": {"topic": "x"}}),
        ),
        modern(
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "about"},
            "argument": {"name": "topic", "value": "x"}, "context": {"arguments": {}}}),
        ),
        modern("tools/list", json!({"cursor": "AAAAAAAAAAAAAAAAAAAAAA"})),
        modern(
            "tools/call",
            json!({"name": "asks", "requestState": "AAAA",
            "inputResponses": {"name": {"action": "accept", "content": {"name": "x"}}}}),
        ),
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut refused = 0;
    for round in 0..45_000 {
        let mut request = seeds[round % seeds.len()].clone().into_bytes();
        random.damage(&mut request);
        for answer in node.send(&request).0 {
            let known = [
                200, 202, 400, 403, 404, 405, 406, 413, 414, 415, 417, 431, 501, 505,
            ];
            assert!(known.contains(&answer.status), "{answer:?}");
            refused += usize::from(answer.status >= 400);
        }
    }
    assert!(
        refused > 12_000,
        "the damage is meant to be noticed, {refused} were"
    );
    assert_eq!(
        (node.count("error_internal"), node.count("tool_panic")),
        (0, 0)
    );
    assert_eq!(text(&node.one(add).json()), "3.5");
}
