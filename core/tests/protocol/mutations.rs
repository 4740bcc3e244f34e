//! Valid requests, damaged at random by a fixed seed: whatever arrives, each answer is well
//! formed, no fault of ours is reported, and the node serves the next request as before.

use serde_json::json;

use crate::features::features;
use crate::harness::{Node, initialize, legacy, modern, text};
use crate::rounds::talkative;

/// xorshift64*: enough randomness to damage bytes, the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }

    fn damage(&mut self, request: &mut Vec<u8>) {
        const TELLING: &[u8] = b"\r\n :,;\"\\{}[]0-+.eE\0\x7f\xff/?=%";
        for _ in 0..=self.below(4) {
            let at = self.below(request.len());
            let byte = TELLING[self.below(TELLING.len())];
            match self.below(5) {
                0 => request[at] = byte,
                1 => request.insert(at, byte),
                2 => drop(request.remove(at)),
                3 => request[at] ^= 1 << self.below(8),
                _ => {
                    let end = (at + self.below(40)).min(request.len());
                    let piece = request[at..end].to_vec();
                    let to = self.below(request.len());
                    request.splice(to..to, piece);
                }
            }
        }
    }
}

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
