//! Divides SQL that others wrote into its statements, by the rules of psql: quotes, comments,
//! dollar quotes, parentheses, and the bodies of functions that begin with `BEGIN ATOMIC`.

use std::ops::Range;

/// A statement of a longer text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text, from its first word on, without the semicolon.
    pub sql: &'a str,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Its first words, in upper case; a quoted name or a text stands as it is written.
    pub words: Vec<String>,
}

/// A comment or a quoted text that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unended {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// What it is.
    pub what: &'static str,
}

/// How many words of a statement are kept: enough to tell what it does.
const WORDS: usize = 16;

/// A piece of SQL that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A key word, a name without quotes, a number.
    Word,
    /// A name or a text in quotes of any sort.
    Quoted,
    /// Any other character.
    Symbol,
    /// A comment, which means nothing.
    Comment,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    range: Range<usize>,
    /// Whether its end is in the text.
    ended: bool,
}

/// The statements of a text, in order. Comments between them belong to none.
#[must_use]
pub fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut current = Current::default();
    for token in tokens(text).filter(|token| token.kind != Kind::Comment) {
        let piece = &text[token.range.clone()];
        if piece == ";" && token.kind == Kind::Symbol && current.is_outside() {
            statements.extend(current.end(text));
            current = Current::default();
        } else {
            current.take(&token, piece);
        }
    }
    statements.extend(current.end(text));
    statements
}

/// What a text opens and does not close: the rest of it is lost in there.
#[must_use]
pub fn unended(text: &str) -> Option<Unended> {
    let token = tokens(text).find(|token| !token.ended)?;
    let piece = &text[token.range.clone()];
    let what = match piece.chars().next() {
        _ if token.kind == Kind::Comment => "comment",
        Some('"') => "quoted name",
        Some('$') => "dollar-quoted text",
        _ => "quoted text",
    };
    Some(Unended { start: token.range.start, what })
}

/// What a piece of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A word by itself.
    Word,
    /// A comment.
    Comment,
    /// Anything else.
    Other,
}

/// The pieces of a text, with their places.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = (Piece, Range<usize>)> {
    tokens(text).map(|token| {
        let piece = match token.kind {
            Kind::Word => Piece::Word,
            Kind::Comment => Piece::Comment,
            Kind::Quoted | Kind::Symbol => Piece::Other,
        };
        (piece, token.range)
    })
}

/// A text without its comments, and with one space between its parts: what it means, however it is
/// written down.
#[must_use]
pub fn plain(text: &str) -> String {
    let parts: Vec<_> = tokens(text)
        .filter(|token| token.kind != Kind::Comment)
        .map(|token| &text[token.range])
        .collect();
    parts.join(" ")
}

impl<'a> Statement<'a> {
    /// Its text behind so many of its words.
    #[must_use]
    pub fn after(&self, words: usize) -> &'a str {
        let mut tokens = tokens(self.sql).filter(|token| token.kind != Kind::Comment);
        let end = match words {
            0 => Some(0),
            _ => tokens.nth(words - 1).map(|token| token.range.end),
        };
        &self.sql[end.unwrap_or(self.sql.len())..]
    }
}

fn tokens(text: &str) -> impl Iterator<Item = Token> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let token = next(text, position)?;
        position = token.range.end;
        Some(token)
    })
}

/// The statement that is being read.
#[derive(Debug, Default)]
struct Current {
    range: Option<Range<usize>>,
    words: Vec<String>,
    parentheses: usize,
    /// How many `BEGIN` and `CASE` of a function's body are open.
    blocks: usize,
}

impl Current {
    fn is_outside(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn take(&mut self, token: &Token, piece: &str) {
        let start = self.range.as_ref().map_or(token.range.start, |range| range.start);
        self.range = Some(start..token.range.end);
        match (token.kind, piece) {
            (Kind::Symbol, "(") => self.parentheses += 1,
            (Kind::Symbol, ")") => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        let word =
            if token.kind == Kind::Word { piece.to_ascii_uppercase() } else { piece.to_owned() };
        if token.kind == Kind::Word && self.parentheses == 0 && self.makes_a_routine() {
            match word.as_str() {
                "BEGIN" => self.blocks += 1,
                "CASE" if self.blocks > 0 => self.blocks += 1,
                "END" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < WORDS {
            self.words.push(word);
        }
    }

    fn makes_a_routine(&self) -> bool {
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        )
    }

    fn end(self, text: &str) -> Option<Statement<'_>> {
        let range = self.range?;
        Some(Statement { sql: &text[range.clone()], start: range.start, words: self.words })
    }
}

/// The next token from a place on.
fn next(text: &str, from: usize) -> Option<Token> {
    let start = from + text[from..].find(|c: char| !c.is_whitespace())?;
    let rest = &text[start..];
    let first = rest.chars().next()?;
    let (kind, length) = match first {
        '-' if rest.starts_with("--") => {
            (Kind::Comment, Some(rest.find('\n').unwrap_or(rest.len())))
        }
        '/' if rest.starts_with("/*") => (Kind::Comment, comment(rest)),
        '\'' => (Kind::Quoted, quoted(rest, '\'', false)),
        '"' => (Kind::Quoted, quoted(rest, '"', false)),
        '$' => match dollar_tag(rest) {
            Some(tag) => (Kind::Quoted, dollar_quoted(rest, tag)),
            None => (Kind::Symbol, Some(1)),
        },
        'e' | 'E' if rest[1..].starts_with('\'') => {
            (Kind::Quoted, quoted(&rest[1..], '\'', true).map(|length| 1 + length))
        }
        _ if is_word(first) => {
            (Kind::Word, Some(rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len())))
        }
        other => (Kind::Symbol, Some(other.len_utf8())),
    };
    let range = start..start + length.unwrap_or(rest.len());
    Some(Token { kind, range, ended: length.is_some() })
}

/// The length of a comment, which may hold others, where it ends.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut position = 0;
    while position < text.len() {
        let rest = &text[position..];
        if rest.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return Some(position);
            }
        } else {
            position += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// The length of a quoted text, where it ends.
fn quoted(text: &str, quote: char, backslashes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((position, character)) = characters.next() {
        if backslashes && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return Some(position + character.len_utf8());
            }
        }
    }
    None
}

/// `$tag$`, with which a text begins.
fn dollar_tag(text: &str) -> Option<&str> {
    let end =
        1 + text[1..].find(|c| !is_word(c)).filter(|&end| text[1 + end..].starts_with('$'))?;
    let is_parameter = text[1..].starts_with(|c: char| c.is_ascii_digit());
    (!is_parameter).then(|| &text[..=end])
}

fn dollar_quoted(text: &str, tag: &str) -> Option<usize> {
    let end = text[tag.len()..].find(tag)?;
    Some(tag.len() + end + tag.len())
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

/// The name that a word or a quoted name means to the server.
#[must_use]
pub fn name(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        let text = "-- a; b\nSELECT ';', \"a;b\", E'\\';', $$;$$,\n\
                    $x$ $$;$$ $x$ /* ; /* ; */ ; */;\n\
                    SELECT 'it''s;' ;; SELECT $1, a$b$, 2;\n-- end;";
        let found = texts(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("SELECT ';'") && found[0].ends_with("$x$"), "{found:?}");
        assert_eq!(found[1..], ["SELECT 'it''s;'", "SELECT $1, a$b$, 2"]);
    }

    #[test]
    fn bodies_of_functions_and_rules_hold_together() {
        let atomic = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC\n\
                      SELECT CASE WHEN a > 1 THEN 2 END; SELECT 3; END";
        let rule = "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)";
        let text = format!("{atomic};\n{rule};\nBEGIN; END");
        assert_eq!(texts(&text), [atomic, rule, "BEGIN", "END"]);
    }

    #[test]
    fn what_does_not_end_is_known() {
        for (text, start, what) in [
            ("SELECT 'a; b", 7, "quoted text"),
            ("SELECT E'a\\'; b", 7, "quoted text"),
            ("SELECT $x$ ; $$", 7, "dollar-quoted text"),
            ("SELECT \"ä; ", 7, "quoted name"),
            ("-- it's\nSELECT 1; /* /* ; */ ;", 18, "comment"),
        ] {
            assert_eq!(unended(text), Some(Unended { start, what }), "{text}");
        }
        for text in ["SELECT (1; 2", "SELECT 'a', $1 -- '", "SELECT 1 /* ' */", "SELECT a$b$"] {
            assert_eq!(unended(text), None, "{text}");
        }
        assert_eq!(texts("SELECT (1; 2").len(), 1);
    }

    #[test]
    fn the_rest_of_a_statement_stands_behind_its_words() {
        let found = split("CREATE /* an */ INDEX \"a b\" ON t(x)");
        assert_eq!(found[0].after(5), "(x)");
        assert_eq!(found[0].after(0), found[0].sql);
        assert_eq!(found[0].after(99), "");
    }

    #[test]
    fn statements_know_where_they_begin_and_what_they_are() {
        let text = "-- Überschrift\n\n  create unique index concurrently \"A\"\"b\" on t (x);";
        let found = split(text);
        assert_eq!(&text[found[0].start..][..6], "create");
        let words = ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", "\"A\"\"b\""];
        assert_eq!(found[0].words[..5], words);
        assert_eq!(name(&found[0].words[4]), "A\"b");
        assert_eq!(name("Orders_IDX"), "orders_idx");
    }
}
