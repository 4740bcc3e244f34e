//! The style law of the repository, executable: `cargo test -p ninefold --test tidy`.
//!
//! Every rule is one function from the repository to the places that break it; `fires` shows that
//! each rule does fire. Clippy and rustfmt judge what they can; this judges the rest.

mod code;
mod compliance;
mod fires;
mod house;
mod repo;
mod source;

use repo::{Repo, Violation};

/// A rule reads the whole repository and names every place that breaks it.
type Rule = fn(&Repo) -> Vec<Violation>;

const RULES: &[Rule] = &[
    house::dependency_direction,
    house::forbids_unsafe,
    house::machine_paths,
    house::vague_names,
    house::document_links,
    house::checked_invariants,
    house::changelog_heads,
    compliance::compliance,
    code::file_length,
    code::line_width,
    code::function_length,
    code::unsafe_place,
    code::safety_notes,
    code::clocks_and_threads,
    code::kernel_files,
    code::unfinished,
];

#[test]
fn the_repository_is_tidy() -> std::io::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    compliance::write(root)?;
    let repo = Repo::load(root)?;
    let mut found: Vec<_> = RULES.iter().flat_map(|rule| rule(&repo)).collect();
    found.sort();
    let list: String = found
        .iter()
        .map(|violation| format!("\n  {violation}"))
        .collect();
    assert!(
        found.is_empty(),
        "{} places break the house rules:{list}",
        found.len()
    );
    Ok(())
}
