//! The filters that quote: what a template prints went through one of them.

use minijinja::{Environment, Error, ErrorKind, Value};

use crate::layout::name::QualifiedName;

use super::quote;

/// The filters for names and texts, which SQL of users has too.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("ident", |name: String| safe(quote::ident(&name)));
    environment.add_filter("idents", |names: Vec<String>| {
        let quoted: Vec<_> = names.iter().map(|name| quote::ident(name)).collect();
        safe(quoted.join(", "))
    });
    environment.add_filter("literal", |text: String| safe(quote::literal(&text)));
    environment.add_filter("literals", |texts: Vec<String>| {
        let quoted: Vec<_> = texts.iter().map(|text| quote::literal(text)).collect();
        safe(quoted.join(", "))
    });
    environment.add_filter("table", |name: Value| -> Result<Value, Error> {
        let part = |key| name.get_attr(key).map(|part| part.as_str().map(str::to_owned));
        match (part("schema")?, part("name")?) {
            (Some(schema), Some(name)) => Ok(safe(quote::table(&QualifiedName::new(schema, name)))),
            _ => Err(refuse("not a qualified name".to_owned())),
        }
    });
}

/// Marks text that quoting has made.
pub(super) fn safe(sql: String) -> Value {
    Value::from_safe_string(sql)
}

/// What a template gets that asks for what it may not have.
pub(super) fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
