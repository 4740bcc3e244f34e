//! Replays what fuzzing has found worth keeping: every input of `core/fuzz/corpus` through the
//! target that it belongs to, with the toolchain of everybody.
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpora_keeps_the_promises() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let files = fs::read_dir(corpora.join(name)).expect("a corpus for each target");
        let mut inputs = 0;
        for file in files {
            let path = file.expect("an entry").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("an input"));
            inputs += 1;
        }
        assert!(inputs >= 10, "{inputs} inputs for {name}");
    }
}
