//! The specification's MUSTs against the code: `musts.txt` lists them, `// [mcp:id]` stands where
//! one is done and where it is tested, and `docs/reference/compliance.md` is what both say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::repo::{File, Repo, Violation};
use crate::source::{Function, Span};

const RULE: &str = "compliance";
const LIST: &str = "core/tests/tidy/musts.txt";
const TABLE: &str = "docs/reference/compliance.md";
/// Set, it makes the rule write the table instead of comparing it.
const WRITE: &str = "NINEFOLD_WRITE_COMPLIANCE";

const HEAD: &str = "# Compliance

Every MUST of the revisions 2025-11-25 (`25`) and 2026-07-28 (`26`) of the Model Context Protocol,
paraphrased, with the code that does it and the tests that would fail without it: both carry
`// [mcp:id]`. Written by `NINEFOLD_WRITE_COMPLIANCE=1 cargo test -p ninefold --test tidy` from
[the list](../../core/tests/tidy/musts.txt) and these citations; the same test without the variable
fails when this page, the list and the code no longer agree.
";

/// One line of the list.
struct Must {
    line: usize,
    id: String,
    revision: String,
    side: String,
    page: String,
    text: String,
    /// Why it is not done; `open: ..` or `other: ..`.
    state: Option<String>,
}

/// Where an id is cited.
#[derive(Default)]
struct Cited {
    /// Files of the code.
    code: BTreeSet<String>,
    /// Files and functions of tests.
    tests: BTreeMap<String, BTreeSet<String>>,
}

fn list(file: &File) -> (Vec<Must>, Vec<Violation>) {
    let (mut musts, mut wrong) = (Vec::<Must>::new(), Vec::new());
    for (text, line) in file.text.lines().zip(1..) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut cells = text.split(" | ").map(|cell| cell.trim().to_owned());
        let mut cell = || cells.next().unwrap_or_default();
        let must = Must {
            line,
            id: cell(),
            revision: cell(),
            side: cell(),
            page: cell(),
            text: cell(),
            state: Some(cell()).filter(|state| !state.is_empty()),
        };
        let known = matches!(must.revision.as_str(), "25" | "26" | "both")
            && matches!(must.side.as_str(), "server" | "client" | "both")
            && must.state.as_deref().is_none_or(|state| {
                let why = state
                    .strip_prefix("open: ")
                    .or(state.strip_prefix("other: "));
                why.is_some_and(|why| !why.is_empty())
            });
        if !known || must.text.is_empty() || cells.next().is_some() {
            let why = "wanted: id | 25, 26 or both | server, client or both | page | text | state";
            wrong.push(file.breaks(line, RULE, why.to_owned()));
        }
        if musts.iter().any(|other| other.id == must.id) {
            wrong.push(file.breaks(line, RULE, format!("`{}` is listed twice", must.id)));
        }
        musts.push(must);
    }
    (musts, wrong)
}

/// The ids in a comment.
fn ids(comment: &str) -> impl Iterator<Item = &str> {
    let rest = comment.split("[mcp:").skip(1);
    rest.filter_map(|rest| rest.split_once(']').map(|(id, _)| id))
}

/// The function that `line` belongs to, or stands just above.
fn function_at(functions: &[Function], line: usize) -> Option<String> {
    // Of functions within functions the innermost begins last.
    let mut all = functions.iter();
    let around = all.rfind(|it| it.first <= line && line <= it.last);
    let below = functions.iter().filter(|it| it.first > line);
    let found = around.or(below.min_by_key(|it| it.first));
    found.map(|it| it.name.clone())
}

/// Every citation by its id; those that name no test are places that break the rule.
fn citations(repo: &Repo, known: &BTreeSet<&str>) -> (BTreeMap<String, Cited>, Vec<Violation>) {
    let (mut cited, mut wrong) = (BTreeMap::<String, Cited>::new(), Vec::new());
    // The rule's own tests and texts cite what they are about.
    let files = repo
        .rust()
        .filter(|file| !file.path.starts_with("core/tests/tidy/"));
    for file in files {
        let citing = |comment: &&Span| ids(&comment.text).next().is_some();
        if !file.source.comments.iter().any(|it| citing(&it)) {
            continue;
        }
        let (tests, functions) = (file.source.test_lines(), file.source.functions());
        for comment in file.source.comments.iter().filter(citing) {
            for id in ids(&comment.text) {
                if !known.contains(id) {
                    let why = format!("`{id}` is not in {LIST}");
                    wrong.push(file.breaks(comment.line, RULE, why));
                    continue;
                }
                let place = cited.entry(id.to_owned()).or_default();
                let above = tests.get(comment.line).copied().unwrap_or_default();
                if !file.is_test() && !tests[comment.line - 1] && !above {
                    place.code.insert(file.path.clone());
                } else if let Some(name) = function_at(&functions, comment.line) {
                    let names = place.tests.entry(file.path.clone()).or_default();
                    names.insert(name);
                }
            }
        }
    }
    (cited, wrong)
}

/// What the list and the citations say of one MUST, as a row; or what is missing.
fn row(must: &Must, cited: Option<&Cited>) -> Result<String, String> {
    let id = &must.id;
    let link = |path: &str| {
        let name = path.trim_start_matches("core/").trim_start_matches("src/");
        format!("[{name}](../../{path})")
    };
    let (code, tests) = match (&must.state, cited) {
        (Some(_), Some(_)) => {
            return Err(format!("`{id}` is cited, so it is neither open nor other"));
        }
        (Some(state), None) => {
            let (what, why) = state.split_once(": ").unwrap_or_default();
            let what = match what {
                "open" => "**open**",
                _ => "not ours",
            };
            (what.to_owned(), why.to_owned())
        }
        (None, Some(cited)) if !cited.code.is_empty() && !cited.tests.is_empty() => {
            let code: Vec<_> = cited.code.iter().map(|path| link(path)).collect();
            let tests = cited.tests.iter().map(|(path, names)| {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("{}: {}", link(path), names.join(", "))
            });
            (code.join(", "), tests.collect::<Vec<_>>().join("; "))
        }
        (None, cited) => {
            let has_code = cited.is_some_and(|cited| !cited.code.is_empty());
            let what = if has_code { "test" } else { "code" };
            return Err(format!("no {what} cites `{id}` as // [mcp:{id}]"));
        }
    };
    let Must {
        revision,
        side,
        page,
        text,
        ..
    } = must;
    Ok(format!(
        "| {id} | {revision} | {side} | {page} | {text} | {code} | {tests} |"
    ))
}

/// The page, and what is wrong with what it is made from.
fn page(musts: &[Must], cited: &BTreeMap<String, Cited>) -> (String, Vec<(usize, String)>) {
    let (mut page, mut wrong) = (HEAD.to_owned(), Vec::new());
    let mut counts = [("done", 0), ("open", 0), ("not ours", 0)];
    let mut rows = String::new();
    for must in musts {
        let at = match must.state.as_deref() {
            None => 0,
            Some(state) if state.starts_with("open") => 1,
            Some(_) => 2,
        };
        counts[at].1 += 1;
        match row(must, cited.get(&must.id)) {
            Ok(row) => {
                let _ = writeln!(rows, "{row}");
            }
            Err(why) => wrong.push((must.line, why)),
        }
    }
    let counts = counts.map(|(what, count)| format!("{count} {what}"));
    let _ = write!(
        page,
        "\n{} of {}.\n\n| id | revision | side | page | MUST | code | tests |\n\
         |---|---|---|---|---|---|---|\n{rows}",
        counts.join(", "),
        musts.len()
    );
    (page, wrong)
}

/// The page that list and citations make, and every place where they do not agree. A repository
/// without the list has nothing to agree with.
pub(crate) fn made(repo: &Repo) -> Option<(String, Vec<Violation>)> {
    let file = repo.file(LIST)?;
    let (musts, mut found) = list(file);
    let known = musts.iter().map(|must| must.id.as_str()).collect();
    let (cited, wrong) = citations(repo, &known);
    found.extend(wrong);
    let (page, wrong) = page(&musts, &cited);
    let wrong = wrong.into_iter();
    found.extend(wrong.map(|(line, why)| file.breaks(line, RULE, why)));
    Some((page, found))
}

/// List, citations and page agree.
pub(crate) fn compliance(repo: &Repo) -> Vec<Violation> {
    let Some((page, mut found)) = made(repo) else {
        return Vec::new();
    };
    if found.is_empty() && repo.file(TABLE).is_none_or(|table| table.text != page) {
        found.push(Violation {
            file: TABLE.to_owned(),
            line: 1,
            rule: RULE,
            why: format!("is not what list and code say: {WRITE}=1 writes it"),
        });
    }
    found
}

/// Writes the page below `root`, if the environment asks for it.
pub(crate) fn write(root: &str) -> std::io::Result<()> {
    let wanted = std::env::var_os(WRITE).is_some();
    let Some((page, _)) = made(&Repo::load(root)?).filter(|_| wanted) else {
        return Ok(());
    };
    let path = std::path::Path::new(root).join(TABLE);
    std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
    std::fs::write(path, page)
}
