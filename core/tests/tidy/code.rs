//! Rules about Rust sources.

use crate::repo::{File, Repo, Violation};

const FILE_LINES_MAX: usize = 699;
const FUNCTION_LINES_MAX: usize = 69;
const LINE_CHARS_MAX: usize = 100;

/// Code lines that may stand between a `SAFETY:` comment and the `unsafe` it speaks of.
const SAFETY_DISTANCE_MAX: usize = 3;

/// Who may name a clock or a thread: everything else gets them handed in.
const OWNED: &[(&str, &[&str])] = &[
    ("Instant::now", CLOCKS),
    ("SystemTime::now", CLOCKS),
    ("clock_gettime", CLOCKS),
    ("_rdtsc", CLOCKS),
    ("nanosleep", CLOCKS),
    ("thread::sleep", SLEEPERS),
    ("thread::spawn", THREADS),
    ("thread::scope", THREADS),
    ("thread::Builder", THREADS),
];
const CLOCKS: &[&str] = &[
    "runtime/src/clock.rs",
    "bench/src/measure/clock.rs",
    // Below the runtime; the gaps between its readings are what it measures.
    "tuning/src/noise/probe.rs",
];
const KERNEL_FILES: &[&str] = &["tuning/src/facts", "tuning/src/setting/"];
const SLEEPERS: &[&str] = &[
    "runtime/src/clock.rs",
    "runtime/src/thread.rs",
    "bench/src/measure/clock.rs",
];
const THREADS: &[&str] = &["runtime/src/thread.rs", "tuning/src/noise/probe.rs"];

/// Runs `judge` on each line of masked code that is compiled outside tests.
fn outside_tests(file: &File, mut judge: impl FnMut(usize)) {
    if !file.is_test() {
        let marks = file.source.test_lines();
        (1..=marks.len())
            .filter(|line| !marks[line - 1])
            .for_each(&mut judge);
    }
}

/// A file that scrolls for ever holds more than one idea.
pub(crate) fn file_length(repo: &Repo) -> Vec<Violation> {
    let long = repo.rust().map(|file| (file, file.text.lines().count()));
    long.filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| {
            let why = format!("{lines} lines, at most {FILE_LINES_MAX}: split it by idea");
            file.breaks(1, "file_length", why)
        })
        .collect()
}

/// rustfmt leaves long strings and comments alone; this does not. A URL cannot be broken.
pub(crate) fn line_width(repo: &Repo) -> Vec<Violation> {
    let lines = repo
        .rust()
        .flat_map(|file| file.text.lines().zip(1..).map(move |l| (file, l)));
    lines
        .map(|(file, (text, line))| (file, line, text.chars().count(), text))
        .filter(|(_, _, width, text)| *width > LINE_CHARS_MAX && !text.contains("://"))
        .map(|(file, line, width, _)| {
            file.breaks(
                line,
                "line_width",
                format!("{width} columns, at most {LINE_CHARS_MAX}"),
            )
        })
        .collect()
}

/// A function is read in one piece or not understood.
pub(crate) fn function_length(repo: &Repo) -> Vec<Violation> {
    let functions = repo.rust().flat_map(|file| {
        file.source
            .functions()
            .into_iter()
            .map(move |function| (file, function))
    });
    functions
        .filter(|(_, function)| function.lines() > FUNCTION_LINES_MAX)
        .map(|(file, function)| {
            let (name, lines) = (&function.name, function.lines());
            let why = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            file.breaks(function.first, "function_length", why)
        })
        .collect()
}

/// Unsafe code has one home, where the sanitizers and loom look.
pub(crate) fn unsafe_place(repo: &Repo) -> Vec<Violation> {
    let elsewhere = repo
        .rust()
        .filter(|file| !file.path.starts_with("runtime/src/"));
    elsewhere
        .flat_map(|file| {
            file.source.find("unsafe").into_iter().map(move |at| {
                let why = "`unsafe` outside runtime/src: move it there behind a safe interface";
                file.breaks(file.source.line_of(at), "unsafe_place", why.to_owned())
            })
        })
        .collect()
}

/// Each `unsafe` says why it is sound; an `unsafe fn` may say in `# Safety` what it asks instead.
pub(crate) fn safety_notes(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo.rust() {
        for at in file.source.find("unsafe") {
            let line = file.source.line_of(at);
            let rest = file.source.rest(at + "unsafe".len());
            let after = rest.trim_start_matches("extern").trim_start();
            let after = after.trim_start_matches(['"', ' ']);
            let Some(named) = after.strip_prefix("fn") else {
                if !has_note(file, line, &["SAFETY:"]) {
                    let why = "no `SAFETY:` comment just above says why this is sound";
                    found.push(file.breaks(line, "safety_notes", why.to_owned()));
                }
                continue;
            };
            let is_type = named.trim_start().starts_with('(');
            if !is_type && !has_note(file, line, &["SAFETY:", "# Safety"]) {
                let why = "no `# Safety` section says what the caller must keep";
                found.push(file.breaks(line, "safety_notes", why.to_owned()));
            }
        }
    }
    found
}

/// Looks for one of `notes` in the comments on `line` and just above it.
fn has_note(file: &File, line: usize, notes: &[&str]) -> bool {
    let code = file.source.code_lines();
    let mut distance = 0;
    for above in (1..=line).rev() {
        let comments = file
            .source
            .comments
            .iter()
            .filter(|comment| comment.line == above);
        let mut texts = comments.map(|comment| comment.text.as_str()).peekable();
        let commented = texts.peek().is_some();
        if texts.any(|text| notes.iter().any(|note| text.contains(note))) {
            return true;
        }
        let code = code[above - 1].trim();
        if code.is_empty() && !commented {
            return false;
        }
        // Attributes may stand between a doc comment and its function.
        let counts = above != line && !code.is_empty() && !code.starts_with("#[");
        distance += usize::from(counts);
        if distance > SAFETY_DISTANCE_MAX {
            return false;
        }
    }
    false
}

/// Time and threads are handed in, so that a simulator can own both.
pub(crate) fn clocks_and_threads(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo.rust() {
        for (word, owners) in OWNED
            .iter()
            .filter(|(_, o)| !o.contains(&file.path.as_str()))
        {
            let places: Vec<_> = file.source.find(word);
            let lines: Vec<_> = places
                .into_iter()
                .map(|at| file.source.line_of(at))
                .collect();
            outside_tests(file, |line| {
                if lines.contains(&line) {
                    let why = format!("`{word}` belongs to {}", owners.join(" and "));
                    found.push(file.breaks(line, "clocks_and_threads", why));
                }
            });
        }
    }
    found
}

/// One reader of the kernel's files, so that fixtures can stand in for a host; settings only name
/// the file that they are about.
pub(crate) fn kernel_files(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo
        .rust()
        .filter(|file| !KERNEL_FILES.iter().any(|home| file.path.starts_with(home)))
    {
        let names = |text: &str| {
            let first = text.strip_prefix('/').map(|rest| rest.split('/').next());
            matches!(first, Some(Some("proc" | "sys")))
        };
        let strings = file
            .source
            .strings
            .iter()
            .filter(|literal| names(&literal.text));
        let lines: Vec<_> = strings.map(|literal| literal.line).collect();
        outside_tests(file, |line| {
            if lines.contains(&line) {
                let why = "a path of the kernel's files: ask tuning/src/facts".to_owned();
                found.push(file.breaks(line, "kernel_files", why));
            }
        });
    }
    found
}

/// Nothing half done is committed.
pub(crate) fn unfinished(repo: &Repo) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in repo.rust() {
        for word in ["todo!", "unimplemented!", "dbg!"] {
            for at in file.source.find(word) {
                let why = format!("`{word}` in committed code");
                found.push(file.breaks(file.source.line_of(at), "unfinished", why));
            }
        }
    }
    found
}
