//! Pages for a browser, with an environment of their own: what is printed is escaped, always. It
//! has no filters, and nothing can be marked as safe, so that no name of a table, a context or a
//! session becomes a part of the page.
//!
//! Pages are well-formed XML too: a test reads them with a parser that forgives nothing.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, UndefinedBehavior, Value};
use ring::digest::{SHA256, digest};
use serde::Serialize;

/// Every page, and what pages include; `tests/tidy` compares the list with the folder.
const PAGES: &[(&str, &str)] = &[
    ("report/activity.html.j2", include_str!("../../templates/report/activity.html.j2")),
    ("report/charts.html.j2", include_str!("../../templates/report/charts.html.j2")),
    ("report/findings.html.j2", include_str!("../../templates/report/findings.html.j2")),
    ("report/page.html.j2", include_str!("../../templates/report/page.html.j2")),
    ("report/script.js", SCRIPT),
    ("report/style.css", include_str!("../../templates/report/style.css")),
    ("report/tables.html.j2", include_str!("../../templates/report/tables.html.j2")),
];

const SCRIPT: &str = include_str!("../../templates/report/script.js");

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(|out, _state, value| print(out, value));
    for (name, source) in PAGES {
        if let Err(error) = environment.add_template(name, source) {
            // A template that does not parse is a bug of the build; the tests find it.
            unreachable!("{name}: {error}");
        }
    }
    environment
}

/// Prints a text or a number, and nothing else.
fn print(out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return out.write_str(&escape(text)).map_err(Error::from);
    }
    if value.is_number() {
        return out.write_str(&value.to_string()).map_err(Error::from);
    }
    let message = format!("{value:?} is neither a text nor a number");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// A text as a page may hold it, in elements and in quoted attributes. Characters that XML does not
/// have, and those that turn the order of others around, are shown as what they are: replaced.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            _ if character.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// What the policy of a page calls its script: no other one runs.
#[must_use]
pub fn script_digest() -> String {
    // As a template includes it: without the last end of line.
    let script = SCRIPT.strip_suffix('\n').unwrap_or(SCRIPT);
    let mut name = "sha256-".to_owned();
    let _ = name.write_str(&STANDARD.encode(digest(&SHA256, script.as_bytes())));
    name
}

/// Renders a page.
///
/// # Panics
///
/// When the page uses a value that it was not given: a bug of this crate that its tests find,
/// never a matter of input.
#[must_use]
pub fn page(name: &str, values: &impl Serialize) -> String {
    let values = Value::from(Serde(values));
    let rendered = ENVIRONMENT.get_template(name).and_then(|page| page.render(values));
    match rendered {
        Ok(text) => text,
        Err(error) => unreachable!("{name}: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        assert_eq!(
            escape("<script>alert(\"1\" & '2')</script>"),
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
        );
        assert_eq!(
            escape("a\0b\u{1b}[2J\u{202e}c\td\u{85}"),
            "a\u{fffd}b\u{fffd}[2J\u{fffd}c\td\u{fffd}"
        );
    }

    #[test]
    fn nothing_gets_around_the_escape() {
        let mut environment = environment();
        environment.add_template("marked", "{{ name }}").expect("a template");
        let marked = Value::from_safe_string("<b>".to_owned());
        let values = std::collections::BTreeMap::from([("name", marked)]);
        let page = environment.get_template("marked").expect("the template");
        assert_eq!(page.render(Value::from(values)).expect("a page"), "&lt;b&gt;");
        for filter in ["safe", "escape", "e", "tojson"] {
            let source = format!("{{{{ 'a' | {filter} }}}}");
            assert!(environment.render_str(&source, Value::from(())).is_err(), "{filter}");
        }
        assert!(environment.render_str("{{ nothing }}", Value::from(())).is_err());
        assert!(environment.render_str("{{ [1] }}", Value::from(())).is_err());
    }
}
