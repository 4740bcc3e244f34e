//! A Rust source seen as a tidy rule needs it: code without literals and comments, and both apart.

/// A piece of text taken out of the code, with the line it starts on (1-based).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A function with a body, and the lines it spans (1-based, inclusive).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Function {
    /// Lines from the `fn` keyword to the closing brace.
    pub(crate) fn lines(&self) -> usize {
        self.last - self.first + 1
    }
}

/// One scanned file.
///
/// `code` has the byte for byte layout of lines that the source has, but holds only ASCII: the
/// insides of literals and whole comments are blanks, so a word found in it is a word of the code.
#[derive(Debug, Default)]
pub(crate) struct Source {
    code: Vec<u8>,
    /// The inside of every string literal, escapes as written.
    pub(crate) strings: Vec<Span>,
    /// Every comment, one span a line, markers included.
    pub(crate) comments: Vec<Span>,
}

impl Source {
    /// Splits `text` into code, strings and comments.
    pub(crate) fn scan(text: &str) -> Self {
        let mut scanner = Scanner {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            out: Self::default(),
        };
        while scanner.step() {}
        scanner.out
    }

    /// The masked code, line by line.
    pub(crate) fn code_lines(&self) -> Vec<&str> {
        // Scanning emits ASCII only, so this never falls back.
        std::str::from_utf8(&self.code)
            .unwrap_or_default()
            .lines()
            .collect()
    }

    /// Line of a byte offset into the code.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        1 + self.code[..at]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
    }

    /// Offsets of `word` as a whole word of the code; `word` may hold `::`, `!` or `(`.
    pub(crate) fn find(&self, word: &str) -> Vec<usize> {
        let (code, word) = (&self.code, word.as_bytes());
        let bounded = |at: usize| {
            let before = at.checked_sub(1).map(|i| code[i]);
            let after = code.get(at + word.len()).copied();
            let closed = word.last().is_some_and(|&last| !is_ident(last));
            !before.is_some_and(is_ident) && (closed || !after.is_some_and(is_ident))
        };
        let offsets = code.windows(word.len()).enumerate();
        offsets
            .filter(|(at, seen)| *seen == word && bounded(*at))
            .map(|(at, _)| at)
            .collect()
    }

    /// The code from `at` on, blanks skipped.
    pub(crate) fn rest(&self, at: usize) -> &str {
        let rest = std::str::from_utf8(&self.code[at..]).unwrap_or_default();
        rest.trim_start()
    }

    /// Every function that has a body, nested ones included.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let named = self.find("fn").into_iter().filter_map(|at| {
            let rest = self.rest(at + 2);
            let end = rest
                .find(|c: char| c != '$' && !is_ident_char(c))
                .unwrap_or(rest.len());
            // `fn(` is a type, not a function.
            (end > 0).then(|| (at, rest[..end].to_owned()))
        });
        named
            .filter_map(|(at, name)| {
                let close = self.body_end(at)?;
                Some(Function {
                    name,
                    first: self.line_of(at),
                    last: self.line_of(close),
                })
            })
            .collect()
    }

    /// For each line (index 0 is line 1) whether it belongs to an item compiled only for tests.
    pub(crate) fn test_lines(&self) -> Vec<bool> {
        let mut marks = vec![false; self.code_lines().len()];
        for attribute in ["#[cfg(test)]", "#[cfg(all(test,", "#[test]"] {
            for at in self.find(attribute) {
                let end = self.body_end(at + attribute.len()).unwrap_or(at);
                marks[self.line_of(at) - 1..self.line_of(end)].fill(true);
            }
        }
        marks
    }

    /// Offset of the brace that closes the body of the item at `start`; none when it has no body.
    fn body_end(&self, start: usize) -> Option<usize> {
        let (mut depth, mut at) = (0_usize, start);
        while let Some(&byte) = self.code.get(at) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                b';' if depth == 0 => return None,
                b'{' if depth == 0 => {
                    let close = self.matching(at)?;
                    // `Ring<{ N * 2 }>` in a signature is an argument, not the body.
                    if !self.rest(close + 1).starts_with(['>', ',']) {
                        return Some(close);
                    }
                    at = close;
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Offset of the brace that matches the one at `open`.
    fn matching(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (offset, byte) in self.code[open..].iter().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(open + offset);
            }
        }
        None
    }
}

fn is_ident(byte: u8) -> bool {
    is_ident_char(char::from(byte))
}

fn is_ident_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Walks a source once, emitting code and masking the rest.
struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Source,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Consumes one lexical piece; false at the end of the text.
    fn step(&mut self) -> bool {
        match (self.peek(0), self.peek(1)) {
            (None, _) => return false,
            (Some('/'), Some('/')) => self.line_comment(),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('"'), _) => self.string(),
            (Some('r'), Some('"' | '#')) => match self.raw_hashes() {
                Some(hashes) => self.raw_string(hashes),
                None => self.emit(),
            },
            (Some('\''), Some(next)) if next == '\\' || self.peek(2) == Some('\'') => {
                self.char_literal();
            }
            _ => self.emit(),
        }
        true
    }

    /// Passes one character through as code.
    fn emit(&mut self) {
        let c = self.chars[self.at];
        self.push(if c.is_ascii() { c } else { '?' });
    }

    /// Passes one character through as a blank; a line break stays one.
    fn mask(&mut self) -> char {
        let c = self.chars[self.at];
        self.push(if c == '\n' { '\n' } else { ' ' });
        c
    }

    fn push(&mut self, c: char) {
        self.line += usize::from(c == '\n');
        self.at += 1;
        // Only ASCII reaches this, so the byte is the character.
        self.out.code.push(u8::try_from(c).unwrap_or(b'?'));
    }

    fn line_comment(&mut self) {
        let (line, mut text) = (self.line, String::new());
        while self.peek(0).is_some_and(|c| c != '\n') {
            text.push(self.mask());
        }
        self.out.comments.push(Span { line, text });
    }

    fn block_comment(&mut self) {
        let (first, mut depth, mut text) = (self.line, 0_usize, String::new());
        while let (Some(c), next) = (self.peek(0), self.peek(1)) {
            let marker = matches!((c, next), ('/', Some('*')) | ('*', Some('/')));
            if marker {
                depth = if c == '/' { depth + 1 } else { depth - 1 };
                text.push(self.mask());
            }
            text.push(self.mask());
            if depth == 0 {
                break;
            }
        }
        let spans = text.lines().enumerate();
        let spans = spans.map(|(i, text)| Span {
            line: first + i,
            text: text.to_owned(),
        });
        self.out.comments.extend(spans);
    }

    fn string(&mut self) {
        let (line, mut text) = (self.line, String::new());
        self.emit();
        while let Some(c) = self.peek(0).filter(|&c| c != '"') {
            text.push(self.mask());
            if c == '\\' && self.peek(0).is_some() {
                text.push(self.mask());
            }
        }
        self.close_string(1, line, text);
    }

    /// Number of `#` when a raw string starts here: `r"`, `r#"`, also after `b` or `c`.
    fn raw_hashes(&self) -> Option<usize> {
        let before = self.chars[..self.at]
            .iter()
            .rev()
            .take_while(|&&c| is_ident_char(c));
        let prefix: Vec<char> = before.take(2).copied().collect();
        if !matches!(prefix[..], [] | ['b' | 'c']) {
            return None;
        }
        let hashes = self.chars[self.at + 1..]
            .iter()
            .take_while(|&&c| c == '#')
            .count();
        (self.peek(1 + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let (line, mut text) = (self.line, String::new());
        for _ in 0..hashes + 2 {
            self.emit();
        }
        let closed = |s: &Self| {
            s.peek(0) == Some('"') && (1..=hashes).all(|ahead| s.peek(ahead) == Some('#'))
        };
        while self.peek(0).is_some() && !closed(self) {
            text.push(self.mask());
        }
        self.close_string(1 + hashes, line, text);
    }

    /// Emits what is there of the closing delimiter and files the string.
    fn close_string(&mut self, delimiter: usize, line: usize, text: String) {
        for _ in 0..delimiter.min(self.chars.len() - self.at) {
            self.emit();
        }
        self.out.strings.push(Span { line, text });
    }

    /// `'x'`, `'\''`, `'\u{7d}'`; a lifetime never comes here.
    fn char_literal(&mut self) {
        self.emit();
        let escaped = self.mask() == '\\';
        if escaped && self.peek(0).is_some() {
            self.mask();
        }
        while self.peek(0).is_some_and(|c| c != '\'') {
            self.mask();
        }
        if self.peek(0).is_some() {
            self.emit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        String::from_utf8(Source::scan(text).code).unwrap()
    }

    fn spans(text: &str) -> Vec<(String, usize)> {
        let functions = Source::scan(text).functions();
        functions
            .into_iter()
            .map(|f| (f.name.clone(), f.lines()))
            .collect()
    }

    #[test]
    fn literals_and_comments_are_masked() {
        for (text, wanted) in [
            ("a // fn {\nb", "a        \nb"),
            ("a /* { /* } */ { */ b", "a                   b"),
            (r#"f("}", b"\"{")"#, r#"f(" ", b"   ")"#),
            (r##"f(r#""}"#, br"\")"##, r##"f(r#"  "#, br" ")"##),
            (
                r"f('{', '\'', '\\', '\u{7d}', b'}')",
                "f(' ', '  ', '  ', '      ', b' ')",
            ),
            (
                "fn f<'a>(x: &'a str, y: &'static u8) {}",
                "fn f<'a>(x: &'a str, y: &'static u8) {}",
            ),
            (
                "'outer: loop { break 'outer; }",
                "'outer: loop { break 'outer; }",
            ),
            ("let r#fn = var\"}\"; é", "let r#fn = var\" \"; ?"),
            ("'🦀' \"🦀\n{\" x", "' ' \" \n \" x"),
        ] {
            assert_eq!(code(text), wanted, "scanning {text}");
        }
    }

    #[test]
    fn unfinished_literals_end_with_the_text() {
        for text in ["\"a", "r#\"a\"", "/* /* */", "'\\", "'", "r", "b'", "\"a\\"] {
            assert_eq!(
                code(text).chars().count(),
                text.chars().count(),
                "scanning {text}"
            );
        }
    }

    #[test]
    fn strings_and_comments_keep_their_lines() {
        let source = Source::scan("// one\nf(\"two\\n\");\n/* three\nfour */ r\"five\"");
        let found = |spans: &[Span]| spans.iter().map(|s| s.line).collect::<Vec<_>>();
        assert_eq!(found(&source.comments), [1, 3, 4]);
        assert_eq!(found(&source.strings), [2, 4]);
        assert_eq!(source.strings[0].text, "two\\n");
        assert_eq!(source.comments[2].text, "four */");
    }

    #[test]
    fn functions_are_measured_from_keyword_to_brace() {
        let text = "pub fn a<T>(f: fn(u8) -> u8) -> [u8; 2]\nwhere\n    T: X,\n{\n    '}'\n}\n";
        assert_eq!(spans(text), [("a".to_owned(), 6)]);
        let text = "trait T { fn none(&self); fn some(&self) {\n \"}\"\n} }";
        assert_eq!(spans(text), [("some".to_owned(), 3)]);
        let text = "fn a() -> Ring<{ N * 2 }> {\n fn b() {\n }\n}\ntype F = unsafe fn(u8);";
        assert_eq!(spans(text), [("a".to_owned(), 4), ("b".to_owned(), 2)]);
        assert_eq!(
            spans("macro_rules! m { () => { fn $name() {\n\n} } }")[0].1,
            3
        );
    }

    #[test]
    fn words_have_edges() {
        let source =
            Source::scan("unsafe_code; unsafe {} // unsafe\nnot_unsafe; a::b::now(); now!");
        assert_eq!(source.find("unsafe"), [13]);
        assert_eq!(source.find("b::now").len(), 1);
        assert_eq!(source.find("a::no").len(), 0);
        assert_eq!(source.find("now!").len(), 1);
    }

    #[test]
    fn test_items_are_marked() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n#[test]\nfn b() {\n}\nfn c() {}";
        let marks = Source::scan(text).test_lines();
        assert_eq!(marks, [false, true, true, true, true, true, true, false]);
        assert!(!Source::scan("#[cfg(test)]\nmod tests;\nfn a() {\n}").test_lines()[2]);
    }
}
