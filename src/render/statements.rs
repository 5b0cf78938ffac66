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
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// The statements of a text, in order. Comments between them belong to none.
#[must_use]
pub fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut current = Current::default();
    let mut position = 0;
    while let Some(token) = next(text, position) {
        position = token.range.end;
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
    let start = skip(text, from)?;
    let rest = &text[start..];
    let first = rest.chars().next()?;
    let (kind, length) = match first {
        '\'' => (Kind::Quoted, quoted(rest, '\'', false)),
        '"' => (Kind::Quoted, quoted(rest, '"', false)),
        '$' => match dollar_tag(rest) {
            Some(tag) => (Kind::Quoted, dollar_quoted(rest, tag)),
            None => (Kind::Symbol, 1),
        },
        'e' | 'E' if rest[1..].starts_with('\'') => {
            (Kind::Quoted, 1 + quoted(&rest[1..], '\'', true))
        }
        _ if is_word(first) => {
            (Kind::Word, rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len()))
        }
        other => (Kind::Symbol, other.len_utf8()),
    };
    Some(Token { kind, range: start..start + length })
}

/// The place of the next character that is neither space nor comment.
fn skip(text: &str, from: usize) -> Option<usize> {
    let mut position = from;
    loop {
        let rest = &text[position..];
        let first = rest.chars().next()?;
        position += if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else {
            return Some(position);
        };
    }
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> usize {
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
                return position;
            }
        } else {
            position += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a quoted text; one that does not end goes to the end of the file, where the
/// server complains of it.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((position, character)) = characters.next() {
        if backslashes && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return position + character.len_utf8();
            }
        }
    }
    text.len()
}

/// `$tag$`, with which a text begins.
fn dollar_tag(text: &str) -> Option<&str> {
    let end =
        1 + text[1..].find(|c| !is_word(c)).filter(|&end| text[1 + end..].starts_with('$'))?;
    let is_parameter = text[1..].starts_with(|c: char| c.is_ascii_digit());
    (!is_parameter).then(|| &text[..=end])
}

fn dollar_quoted(text: &str, tag: &str) -> usize {
    let end = text[tag.len()..].find(tag);
    end.map_or(text.len(), |end| tag.len() + end + tag.len())
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
    fn what_does_not_end_goes_to_the_server_as_it_is() {
        for text in ["SELECT 'a; b", "SELECT $x$ ; $$", "SELECT (1; 2", "SELECT \"ä; "] {
            assert_eq!(texts(text).len(), 1, "{text}");
        }
        assert!(texts(" -- nothing\n/* at all").is_empty());
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
