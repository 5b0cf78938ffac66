//! Parameters in SQL that users write: `{{ currency }}`, through the quoting of all other SQL.
//!
//! A text prints as a literal, a list of texts as literals with commas, numbers and truth values as
//! they are. The filters `ident`, `idents`, `table`, `literal` and `literals` are there too, and
//! nothing that would print a value as it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::ValueKind;
use minijinja::{Environment, Error as TemplateError, ErrorKind, Value};
use serde::Deserialize;

use crate::error::{Error, Result};

use super::environment::{add_filters, refuse};
use super::place::pointed;
use super::quote;
use super::statements::{self, Piece};

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// Texts.
    List(Vec<String>),
}

/// Parameters by their names.
pub type Parameters = BTreeMap<String, Parameter>;

/// A parameter as a command line has it: `name=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Its name.
    pub name: String,
    /// Its value: a whole number where it reads as one, else a text.
    pub value: Parameter,
}

impl FromStr for Assignment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_name = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let parts = text.split_once('=').filter(|(name, _)| is_name(name));
        let Some((name, value)) = parts else {
            return Err(Error::invalid(format!("{text:?} is no parameter"))
                .hint("write name=value, as in --param currency=EUR"));
        };
        let value = match value.parse() {
            Ok(number) => Parameter::Integer(number),
            Err(_) => Parameter::Text(value.to_owned()),
        };
        Ok(Self { name: name.to_owned(), value })
    }
}

impl From<&Parameter> for Value {
    fn from(parameter: &Parameter) -> Self {
        match parameter {
            Parameter::Bool(value) => Self::from(*value),
            Parameter::Integer(value) => Self::from(*value),
            Parameter::Float(value) => Self::from(*value),
            Parameter::Text(value) => Self::from(value.as_str()),
            Parameter::List(values) => Self::from(values.clone()),
        }
    }
}

/// Puts parameters into the text of a file. One that is missing is an error with its place.
pub fn render(file: &str, text: &str, parameters: &Parameters) -> Result<String> {
    if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        return Ok(text.to_owned());
    }
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    // What is printed takes its place only once it is known what it stands in.
    let printed_values = Arc::new(Mutex::new(Vec::new()));
    let mark = mark(text);
    let (kept, name) = (Arc::clone(&printed_values), mark.clone());
    environment.set_formatter(move |out, _state, value| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = format!("{name}{}_", kept.len());
        kept.push(printed(value)?);
        out.write_str(&place).map_err(TemplateError::from)
    });
    add_filters(&mut environment);
    let values: BTreeMap<_, _> =
        parameters.iter().map(|(name, value)| (name.as_str(), Value::from(value))).collect();
    let template = environment
        .template_from_named_str(file, text)
        .map_err(|error| failed(file, text, parameters, &error))?;
    let marked = template.render(Value::from(values)).map_err(|error| {
        let mut missing: Vec<_> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !parameters.contains_key(name))
            .collect();
        missing.sort();
        match missing.first() {
            Some(name) if error.kind() == ErrorKind::UndefinedError => {
                is_missing(file, text, parameters, name)
            }
            _ => failed(file, text, parameters, &error),
        }
    })?;
    let values = printed_values.lock().unwrap_or_else(PoisonError::into_inner);
    put_in(file, &marked, &mark, &values)
}

/// A comment with its values, but for those that would end it: the header is made of comments.
fn in_comment(comment: &str, mark: &str, values: &[String]) -> String {
    let ends = |value: &str| value.contains(['\n', '\r']) || value.contains("*/");
    let mut text = comment.to_owned();
    // From the last one on, so that no number is taken for the beginning of another one.
    for (number, value) in values.iter().enumerate().rev() {
        let value = if ends(value) { "…" } else { value };
        text = text.replace(&format!("{mark}{number}_"), value);
    }
    text
}

/// The beginning of a word that a text has not.
fn mark(text: &str) -> String {
    let mut mark = "pupctl_value_".to_owned();
    while text.contains(&mark) {
        mark.push('x');
    }
    mark
}

/// Puts values in the places of their marks. A value is a word of its own: in quotes, or grown
/// together with another word, it would mean something else, and in a comment it could end that.
fn put_in(file: &str, marked: &str, mark: &str, values: &[String]) -> Result<String> {
    let mut text = String::with_capacity(marked.len());
    let mut end = 0;
    for (piece, range) in statements::pieces(marked) {
        text.push_str(&marked[end..range.start]);
        end = range.end;
        let written = &marked[range.clone()];
        let value = written
            .strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix('_'))
            .and_then(|number| values.get(number.parse::<usize>().ok()?));
        match (piece, value) {
            (Piece::Word, Some(value)) => text.push_str(value),
            (Piece::Comment, _) => text.push_str(&in_comment(written, mark, values)),
            _ if written.contains(mark) => {
                return Err(Error::invalid(
                    "a parameter stands in quotes, or has grown together with another word",
                )
                .details(pointed(file, &marked.replace(mark, "value "), range.start))
                .hint("write {{ name }} by itself: a text gets its quotes from pupctl"));
            }
            _ => text.push_str(written),
        }
    }
    text.push_str(&marked[end..]);
    Ok(text)
}

/// A parameter that a text uses and nobody gave.
fn is_missing(file: &str, text: &str, parameters: &Parameters, name: &str) -> Error {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_it = |&(at, _): &(usize, &str)| {
        let before = &text[..at];
        let opened = before.rfind("{{").max(before.rfind("{%"));
        let closed = before.rfind("}}").max(before.rfind("%}"));
        opened > closed
            && !before.ends_with(is_part)
            && !text[at + name.len()..].starts_with(is_part)
    };
    let place = text.match_indices(name).find(is_it).map_or(0, |(at, _)| at);
    told(Error::invalid(format!("the parameter {name} is missing")), file, text, parameters, place)
}

fn printed(value: &Value) -> Result<String, TemplateError> {
    match value.kind() {
        _ if value.is_safe() => Ok(value.to_string()),
        // After a minus it would begin a comment.
        ValueKind::Number => {
            let text = value.to_string();
            Ok(if text.starts_with('-') { format!("({text})") } else { text })
        }
        ValueKind::Bool => Ok(value.to_string().to_ascii_uppercase()),
        ValueKind::String => Ok(quote::literal(value.as_str().unwrap_or_default())),
        ValueKind::Seq => {
            let texts: Option<Vec<_>> =
                value.try_iter()?.map(|one| one.as_str().map(quote::literal)).collect();
            texts.map(|texts| texts.join(", ")).ok_or_else(|| refuse(no_value(value)))
        }
        _ => Err(refuse(no_value(value))),
    }
}

fn no_value(value: &Value) -> String {
    format!("{value:?} is neither a text, a number, true or false, nor a list of texts")
}

fn failed(file: &str, text: &str, parameters: &Parameters, error: &TemplateError) -> Error {
    let message = format!("the template does not work: {}", described(error));
    let place = error.range().map_or_else(
        || text.lines().take(error.line().unwrap_or(1) - 1).map(|line| line.len() + 1).sum(),
        |range| range.start,
    );
    told(Error::invalid(message), file, text, parameters, place)
}

/// The error with its place, and with what is there.
fn told(error: Error, file: &str, text: &str, parameters: &Parameters, place: usize) -> Error {
    let known: Vec<_> = parameters.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    error
        .details(pointed(file, text, place))
        .detail(format!("parameters that are there: {known}"))
        .hint(
            "give it with --param name=value, or in pupctl.toml under [projections.parameters]; \
             two braces that are meant as they stand go between {% raw %} and {% endraw %}",
        )
}

fn described(error: &TemplateError) -> String {
    struct Detail<'a>(&'a TemplateError);
    impl fmt::Display for Detail<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0.detail() {
                Some(detail) => write!(formatter, "{}: {detail}", self.0.kind()),
                None => write!(formatter, "{}", self.0.kind()),
            }
        }
    }
    Detail(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters::from([
            ("currency".to_owned(), Parameter::Text("O'Euro".to_owned())),
            ("limit".to_owned(), Parameter::Integer(5)),
            ("kinds".to_owned(), Parameter::List(vec!["a".to_owned(), "b'".to_owned()])),
            ("on".to_owned(), Parameter::Bool(true)),
        ])
    }

    #[test]
    fn values_are_quoted_by_what_they_are() {
        let render = |text: &str| render("a.sql", text, &parameters()).expect("it renders");
        assert_eq!(render("SELECT {{ currency }} x"), "SELECT 'O''Euro' x");
        assert_eq!(render("{{ limit }} {{ on }} {{ kinds }}"), "5 TRUE 'a', 'b'''");
        assert_eq!(render("{{ currency|ident }}"), "\"O'Euro\"");
        assert_eq!(render("'{\"a\": 1}'"), "'{\"a\": 1}'");
        assert_eq!(render("{% raw %}'{{1,2}}'{% endraw %}"), "'{{1,2}}'");
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let text = "SELECT rate, {{ limit }};\nSELECT {{ currency }}, {{ rate }};\n";
        let error = render("a.sql", text, &parameters()).expect_err("it is missing");
        assert_eq!(error.message(), "the parameter rate is missing");
        assert_eq!(error.detail_lines()[0], "a.sql:2:27");
        assert_eq!(error.detail_lines()[1], "2 | SELECT {{ currency }}, {{ rate }};");
    }

    #[test]
    fn a_value_stays_a_value_wherever_it_stands() {
        let mut parameters = parameters();
        parameters.insert("days".to_owned(), Parameter::Integer(-3));
        parameters.insert("lines".to_owned(), Parameter::Text("x\nDROP */ y".to_owned()));
        let render = |text: &str| render("a.sql", text, &parameters);
        assert_eq!(render("SELECT 10 -{{ days }}").expect("a number"), "SELECT 10 -(-3)");
        let header = render("-- contexts: {{ currency|ident }}\nSELECT 1").expect("a header");
        assert_eq!(header, "-- contexts: \"O'Euro\"\nSELECT 1");
        for comment in ["-- {{ lines }}\nSELECT 1", "/* {{ lines }} */ SELECT 1"] {
            let text = render(comment).expect("a comment");
            assert!(!text.contains("DROP"), "{text}");
        }
        for text in ["SELECT '{{ lines }}'", "SELECT E{{ lines }}", "SELECT \"{{ lines }}\""] {
            let error = render(text).expect_err("not by itself");
            assert!(error.message().contains("in quotes, or has grown"), "{text}: {error}");
        }
    }

    #[test]
    fn there_is_no_way_round_the_quoting() {
        for text in ["{{ currency|safe }}", "{{ {'a': 1} }}", "{{ none }}", "{{ currency"] {
            assert!(render("a.sql", text, &parameters()).is_err(), "{text}");
        }
    }

    #[test]
    fn assignments_are_names_and_values() {
        let of = |text: &str| text.parse::<Assignment>().map(|given| given.value);
        assert_eq!(of("a=1").expect("a number"), Parameter::Integer(1));
        assert_eq!(of("a=b=c").expect("a text"), Parameter::Text("b=c".to_owned()));
        assert!(of("a").is_err() && of("1a=2").is_err() && of("=2").is_err());
    }
}
