//! Rules about the repository as a whole: manifests, names, documents.

use crate::repo::{File, Repo, Violation};

/// The crates in the order of the dependency direction: folder and package. Each uses only those
/// before it.
const CRATES: &[(&str, &str)] = &[
    ("tuning", "ninefold-tuning"),
    ("runtime", "ninefold-runtime"),
    ("core", "ninefold"),
    ("bench", "ninefold-bench"),
];

/// Crates without a line of unsafe code.
const SAFE: &[&str] = &["tuning", "core", "bench"];

/// First folders of paths that exist on one machine only. Kept without their slashes, so that this
/// file does not break its own rule.
const MACHINE_FOLDERS: &[&str] = &["home", "root", "work", "Users"];

/// Names that say nothing of what is inside.
const VAGUE: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common"];

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

const CHANGELOG_HEADS: &[&str] = &["Safety", "Performance", "Features", "Internals"];

/// tuning <- runtime <- core <- bench, development dependencies included.
pub(crate) fn dependency_direction(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for (rank, (folder, package)) in CRATES.iter().enumerate() {
        let path = format!("{folder}/Cargo.toml");
        let breaks = |line, why| Violation {
            file: path.clone(),
            line,
            rule: "dependency_direction",
            why,
        };
        let Some(manifest) = repo.file(&path) else {
            found.push(breaks(1, format!("no manifest of `{package}` here")));
            continue;
        };
        for (line, name) in dependencies(&manifest.text) {
            match CRATES.iter().position(|(_, package)| *package == name) {
                Some(other) if other >= rank => {
                    found.push(breaks(line, format!("`{package}` must not use `{name}`")));
                }
                None if name.starts_with("ninefold") => {
                    found.push(breaks(
                        line,
                        format!("`{name}` has no place in the direction"),
                    ));
                }
                _ => {}
            }
        }
    }
    found
}

/// The dependencies of a manifest with their lines, whatever table and spelling they stand in.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (text, line) in manifest.lines().zip(1..) {
        let text = text.split('#').next().unwrap_or_default().trim();
        let key = |text: &str| {
            text.split(['.', ' ', '='])
                .next()
                .map(|key| key.replace('"', ""))
        };
        if let Some(table) = text.strip_prefix('[') {
            let table = table.trim_matches(['[', ']']);
            inside = table.ends_with("dependencies");
            if let Some((_, name)) = table.rsplit_once("dependencies.") {
                found.extend(key(name).map(|name| (line, name)));
            }
        } else if inside && !text.is_empty() {
            found.extend(key(text).map(|name| (line, name)));
        }
        // `alias = { package = "name" }` depends on the name.
        if let Some((_, rest)) = text.split_once("package = \"") {
            found.extend(rest.split('"').next().map(|name| (line, name.to_owned())));
        }
    }
    found
}

/// The compiler itself keeps unsafe code out of the safe crates.
pub(crate) fn forbids_unsafe(repo: &Repo) -> Vec<Violation> {
    let roots = repo.rust().filter(|file| {
        let (folder, rest) = file.path.split_once('/').unwrap_or_default();
        let root = matches!(rest, "src/lib.rs" | "src/main.rs");
        SAFE.contains(&folder) && (root || rest.starts_with("src/bin/"))
    });
    roots
        .filter(|file| file.source.find("#![forbid(unsafe_code)]").is_empty())
        .map(|file| {
            file.breaks(
                1,
                "forbids_unsafe",
                "`#![forbid(unsafe_code)]` is missing".into(),
            )
        })
        .collect()
}

/// No file knows whose machine it was written on; in Rust that holds for temporary files too.
pub(crate) fn machine_paths(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &repo.files {
        let mut judge = |line: usize, text: &str, folders: &[&str]| {
            for folder in folders.iter().filter(|folder| names_folder(text, folder)) {
                let why = format!("a path under `{folder}` of one machine");
                found.push(file.breaks(line, "machine_paths", why));
            }
        };
        for (text, line) in file.text.lines().zip(1..) {
            judge(line, text, MACHINE_FOLDERS);
        }
        for literal in &file.source.strings {
            judge(literal.line, &literal.text, &["tmp"]);
        }
    }
    found
}

/// True when `text` holds an absolute path whose first folder is `folder`.
fn names_folder(text: &str, folder: &str) -> bool {
    text.match_indices(&format!("/{folder}/")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}$*".contains(c))
    })
}

/// A name that fits everything explains nothing.
pub(crate) fn vague_names(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo.rust() {
        let parts = file
            .path
            .split('/')
            .map(|part| part.trim_end_matches(".rs"));
        for part in parts.filter(|part| VAGUE.contains(part)) {
            let why = format!("`{part}` does not say what is inside");
            found.push(file.breaks(1, "vague_names", why));
        }
        for name in VAGUE {
            for at in file.source.find(&format!("mod {name}")) {
                let why = format!("module `{name}` does not say what is inside");
                found.push(file.breaks(file.source.line_of(at), "vague_names", why));
            }
        }
    }
    found
}

/// Every link of a document to a file of the repository leads somewhere.
pub(crate) fn document_links(repo: &Repo) -> Vec<Violation> {
    let documents = repo.files.iter().filter(|file| file.path.ends_with(".md"));
    documents
        .flat_map(|file| links(&file.text).into_iter().map(move |link| (file, link)))
        .filter(|(file, (_, target))| !leads_somewhere(repo, file, target))
        .map(|(file, (line, target))| {
            file.breaks(
                line,
                "document_links",
                format!("`{target}` is not in the repository"),
            )
        })
        .collect()
}

/// Targets of `[text](target)` outside fenced code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for (text, line) in text.lines().zip(1..) {
        fenced ^= text.trim_start().starts_with("```");
        for (at, _) in text.match_indices("](").filter(|_| !fenced) {
            let target = text[at + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push((line, target.to_owned()));
        }
    }
    found
}

fn leads_somewhere(repo: &Repo, from: &File, target: &str) -> bool {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    let mut parts: Vec<&str> = from.path.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            part => parts.push(part),
        }
    }
    parts.is_empty() || repo.paths.contains(&parts.join("/"))
}

/// An invariant of the architecture names the test that checks it, and that test exists.
pub(crate) fn checked_invariants(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo.files.iter().filter(|file| file.path == ARCHITECTURE) {
        let rows = file.text.lines().zip(1..);
        for (row, line) in rows.filter(|(row, _)| row.starts_with("| AI-")) {
            let cell = row.trim_end_matches([' ', '|']).rsplit('|').next();
            let cell = cell.unwrap_or_default();
            // Every second piece between backticks is a name.
            let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
            let missing = names.iter().filter(|name| !exists(repo, name));
            found.extend(missing.map(|name| {
                let why = format!("`{name}` is neither a path nor a function of the repository");
                file.breaks(line, "checked_invariants", why)
            }));
            if names.is_empty() {
                let why = "the invariant names no test".to_owned();
                found.push(file.breaks(line, "checked_invariants", why));
            }
        }
    }
    found
}

/// True for a path, the last part of one, or a word of the code.
fn exists(repo: &Repo, name: &str) -> bool {
    let path = |path: &String| path == name || path.rsplit('/').next() == Some(name);
    repo.paths.iter().any(path) || repo.rust().any(|file| !file.source.find(name).is_empty())
}

/// Users read the changelog by head.
pub(crate) fn changelog_heads(repo: &Repo) -> Vec<Violation> {
    let text = repo
        .file("CHANGELOG.md")
        .map(|file| file.text.as_str())
        .unwrap_or_default();
    let heads = CHANGELOG_HEADS.iter();
    heads
        .filter(|head| !text.lines().any(|line| line == format!("### {head}")))
        .map(|head| Violation {
            file: "CHANGELOG.md".to_owned(),
            line: 1,
            rule: "changelog_heads",
            why: format!("the head `### {head}` is missing"),
        })
        .collect()
}
