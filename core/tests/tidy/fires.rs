//! A rule that cannot fire checks nothing: here each one does, and stays silent beside the fault.

use crate::repo::{Repo, Violation};
use crate::{Rule, code, compliance, house};

/// A repository of the given files.
fn repo(files: &[(&str, &str)]) -> Repo {
    let mut repo = Repo::default();
    for (path, text) in files {
        repo.add((*path).to_owned(), (*text).to_owned());
    }
    repo
}

/// Lines at which `rule` fires on one file, in order.
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    let mut found = rule(&repo(&[(path, text)]));
    found.sort();
    found.iter().map(|violation| violation.line).collect()
}

/// Asserts where `rule` fires, file by file.
fn fires(rule: Rule, cases: &[(&str, &str, &[usize])]) {
    for (path, text, wanted) in cases {
        assert_eq!(lines(rule, path, text), *wanted, "{path}: {text}");
    }
}

#[test]
fn dependency_direction() {
    let judge = |manifest: &str| {
        let files = ["tuning", "runtime", "core", "bench"].map(|c| format!("{c}/Cargo.toml"));
        let mut all: Vec<_> = files.iter().map(|file| (file.as_str(), "")).collect();
        all[1].1 = manifest;
        let found: Vec<Violation> = house::dependency_direction(&repo(&all));
        found
            .iter()
            .map(|violation| violation.line)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        judge("[dependencies]\nninefold-tuning.workspace = true"),
        []
    );
    assert_eq!(judge("[dependencies]\nninefold.workspace = true"), [2]);
    assert_eq!(
        judge("[dev-dependencies]\nninefold-bench = { path = \"../bench\" }"),
        [2]
    );
    assert_eq!(
        judge("[target.'cfg(loom)'.dependencies.ninefold]\npath = \"../core\""),
        [1]
    );
    assert_eq!(
        judge("[dependencies]\nnode = { package = \"ninefold\" }"),
        [2]
    );
    assert_eq!(
        judge("[dependencies]\nninefold-extra = \"1\" # ninefold"),
        [2]
    );
    assert_eq!(
        judge("[package]\nname = \"ninefold-runtime\"\n# [dependencies]\nninefold = 1"),
        []
    );
    assert_eq!(house::dependency_direction(&repo(&[])).len(), 4);
}

#[test]
fn forbids_unsafe() {
    fires(
        house::forbids_unsafe,
        &[
            ("core/src/lib.rs", "//! Docs.\n#![forbid(unsafe_code)]", &[]),
            ("core/src/lib.rs", "// #![forbid(unsafe_code)]", &[1]),
            ("bench/src/bin/x.rs", "", &[1]),
            ("tuning/src/main.rs", "#![deny(unsafe_code)]", &[1]),
            ("core/src/net.rs", "", &[]),
            ("runtime/src/lib.rs", "", &[]),
        ],
    );
}

#[test]
fn machine_paths() {
    let path = |folder: &str| format!("/{folder}/x");
    for folder in ["home", "root", "work", "Users"] {
        let comment = format!("// see\n// {}", path(folder));
        assert_eq!(lines(house::machine_paths, "core/src/a.rs", &comment), [2]);
        let plain = format!("cd \"{}\"", path(folder));
        assert_eq!(lines(house::machine_paths, ".ci/run", &plain), [1]);
        let url = format!("https://example.org{} a{}", path(folder), path(folder));
        assert_eq!(lines(house::machine_paths, "README.md", &url), []);
    }
    let temporary = format!("f(\"{}\"); // {}", path("tmp"), path("tmp"));
    assert_eq!(
        lines(house::machine_paths, "core/src/a.rs", &temporary),
        [1]
    );
    assert_eq!(lines(house::machine_paths, ".ci/run", &path("tmp")), []);
}

#[test]
fn vague_names() {
    fires(
        house::vague_names,
        &[
            ("core/src/utils.rs", "", &[1]),
            ("core/tests/common/mod.rs", "", &[1]),
            ("core/src/a.rs", "fn a() {}\nmod helpers {}", &[2]),
            (
                "core/src/commonly.rs",
                "mod manager_of_none; // mod utils",
                &[],
            ),
        ],
    );
}

#[test]
fn document_links() {
    let document = "[a](b.md) [up](../README.md#x)\n[gone](c.md)\n```\n[code](d.md)\n```\n\
                    [web](https://example.org/e.md) [here](#f) [dir](../docs)\n[out](../../g.md)";
    let files = [
        ("docs/a.md", document),
        ("docs/b.md", ""),
        ("README.md", ""),
    ];
    let mut repo = repo(&files);
    repo.paths.insert("docs".to_owned());
    let found: Vec<_> = house::document_links(&repo)
        .iter()
        .map(|v| v.line)
        .collect();
    assert_eq!(found, [2, 7]);
}

#[test]
fn checked_invariants() {
    let table = "| AI-1 | holds. | `tests`: `it_holds` |\n| AI-2 | `x` | `a/tests/b.rs` |\n\
                 | AI-3 | holds. | `it_does_not` |\n| AI-4 | `it_holds` | nothing |\n| `no` | - |";
    let files = [
        ("docs/ARCHITECTURE.md", table),
        ("a/tests/b.rs", "fn it_holds() {}"),
    ];
    let mut repo = repo(&files);
    repo.paths.insert("a/tests".to_owned());
    let found: Vec<_> = house::checked_invariants(&repo)
        .iter()
        .map(|v| v.line)
        .collect();
    assert_eq!(found, [3, 4]);
}

#[test]
fn changelog_heads() {
    let whole = "### Safety\n### Performance\n### Features\n### Internals";
    assert_eq!(lines(house::changelog_heads, "CHANGELOG.md", whole), []);
    assert_eq!(
        lines(house::changelog_heads, "CHANGELOG.md", &whole[11..]),
        [1]
    );
    assert_eq!(lines(house::changelog_heads, "README.md", whole).len(), 4);
}

#[test]
fn lengths() {
    assert_eq!(lines(code::file_length, "a.rs", &"\n".repeat(699)), []);
    assert_eq!(lines(code::file_length, "a.rs", &"\n".repeat(700)), [1]);
    let function = |inner: usize| format!("\nfn f() {{\n{}}}", "\n".repeat(inner));
    assert_eq!(lines(code::function_length, "a.rs", &function(67)), []);
    assert_eq!(
        lines(code::function_length, "core/tests/a.rs", &function(68)),
        [2]
    );
    let wide = format!(
        "{}\n//{}\n// https://{}",
        "é".repeat(100),
        "-".repeat(99),
        "x".repeat(99)
    );
    assert_eq!(lines(code::line_width, "a.rs", &wide), [2]);
}

#[test]
fn unsafe_place() {
    fires(
        code::unsafe_place,
        &[
            ("core/src/a.rs", "// unsafe\nfn f() { unsafe {} }", &[2]),
            ("runtime/tests/a.rs", "unsafe impl Send for A {}", &[1]),
            ("runtime/src/a.rs", "unsafe {}", &[]),
            (
                "core/src/lib.rs",
                "#![forbid(unsafe_code)] f(\"unsafe\")",
                &[],
            ),
        ],
    );
}

#[test]
fn safety_notes() {
    fires(
        code::safety_notes,
        &[
            ("a.rs", "fn f() {\n    unsafe { g() }\n}", &[2]),
            ("a.rs", "// SAFETY: sound.\nunsafe { g() }", &[]),
            ("a.rs", "// SAFETY: sound.\n\nunsafe { g() }", &[3]),
            (
                "a.rs",
                "// SAFETY: long\n// a\n// b\n// c\n// d\nlet x =\n  unsafe {}",
                &[],
            ),
            (
                "a.rs",
                "// SAFETY: far.\na();\nb();\nc();\nd();\nunsafe {}",
                &[6],
            ),
            (
                "a.rs",
                "f(\"SAFETY: no\");\nunsafe impl Send for A {}",
                &[2],
            ),
            (
                "a.rs",
                "/// # Safety\n/// Call once.\n#[inline]\npub unsafe fn f() {}",
                &[],
            ),
            (
                "a.rs",
                "/// Does it.\npub unsafe extern \"C\" fn f() {}",
                &[2],
            ),
            (
                "a.rs",
                "/// # Safety\n/// None.\nunsafe impl Send for A {}",
                &[3],
            ),
            (
                "a.rs",
                "type F = unsafe fn(u8);\ntype G = unsafe extern \"C\" fn(u8);",
                &[],
            ),
        ],
    );
}

#[test]
fn clocks_and_threads() {
    fires(
        code::clocks_and_threads,
        &[
            (
                "core/src/a.rs",
                "// Instant::now\nlet t = std::time::Instant::now();",
                &[2],
            ),
            (
                "core/src/a.rs",
                "SystemTime::now(); thread::sleep(d);",
                &[1, 1],
            ),
            ("core/examples/a.rs", "std::thread::Builder::new()", &[1]),
            ("runtime/src/clock.rs", "Instant::now()", &[]),
            ("runtime/src/clock.rs", "thread::spawn(f)", &[1]),
            ("runtime/src/thread.rs", "thread::spawn(f)", &[]),
            (
                "tuning/src/noise/probe.rs",
                "thread::Builder; Instant::now()",
                &[],
            ),
            ("tuning/src/noise/mod.rs", "Instant::now()", &[1]),
            ("tuning/src/noise/probe.rs", "thread::sleep(d)", &[1]),
            ("core/tests/a.rs", "Instant::now()", &[]),
            (
                "core/src/a.rs",
                "#[cfg(test)]\nmod tests {\n Instant::now();\n}",
                &[],
            ),
        ],
    );
}

#[test]
fn kernel_files() {
    let read = "fs::read(\"/proc/stat\")";
    fires(
        code::kernel_files,
        &[
            ("core/src/a.rs", read, &[1]),
            ("core/src/a.rs", "f(\"/sys\", r\"/sys/devices\")", &[1]),
            (
                "core/src/a.rs",
                "// /proc/stat\nf(\"read /proc/stat\", \"/process\")",
                &[],
            ),
            ("tuning/src/facts/cpu.rs", read, &[]),
            ("core/tests/a.rs", read, &[]),
        ],
    );
}

#[test]
fn unfinished() {
    let text = "// todo!()\nfn a() { todo!() }\nfn b() { dbg!(1); f(\"dbg!\") }\nunimplemented!()";
    assert_eq!(lines(code::unfinished, "a.rs", text), [2, 3, 4]);
}

#[test]
fn compliance() {
    let list = |text: &'static str| ("core/tests/tidy/musts.txt", text);
    let done = list("a | both | server | page | Text.");
    let code = ("core/src/a.rs", "// [mcp:a]\nfn a() {}\n");
    let test = ("core/tests/a.rs", "#[test]\nfn b() {\n    // [mcp:a]\n}\n");
    let other = ("core/src/b.rs", "// [mcp:b]\nfn b() {}\n");
    let page = "docs/reference/compliance.md";
    let why = |files: &[(&str, &str)]| {
        let found = compliance::compliance(&repo(files));
        let whys = found.into_iter().map(|violation| violation.why);
        whys.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        why(&[code, test]),
        "",
        "without a list there is nothing to cite"
    );
    assert!(why(&[done]).starts_with("no code cites `a`"));
    assert!(why(&[done, code]).starts_with("no test cites `a`"));
    assert!(why(&[done, test]).starts_with("no code cites `a`"));
    assert!(why(&[done, code, test, other]).starts_with("`b` is not in"));
    let open = list("a | 26 | client | page | Text. | open: later");
    assert!(why(&[open, code, test]).contains("neither open nor other"));
    for wrong in ["a | both | server | page", "a | 24 | server | page | Text."] {
        assert!(why(&[list(wrong)]).starts_with("wanted: id"), "{wrong}");
    }
    let unexplained = list("a | 25 | both | page | Text. | open:");
    assert!(why(&[unexplained]).starts_with("wanted: id"));
    let twice = list("# two\na | 25 | both | p | T. | other: b\na | 25 | both | p | T. | other: b");
    assert_eq!(why(&[twice]), "`a` is listed twice");
    for files in [vec![done, code, test], vec![open]] {
        assert!(why(&files).starts_with("is not what"));
        let (text, _) = compliance::made(&repo(&files)).expect("a list");
        let with = |text: &str| {
            let page = [(page, text)];
            why(&[&files[..], &page].concat())
        };
        assert_eq!(with(&text), "");
        assert!(with(&(text + "\n")).starts_with("is not what"));
    }
}
