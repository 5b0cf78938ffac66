//! A reader of XML that forgives nothing: the page has to be well formed.

use std::collections::BTreeSet;

/// Fails unless the text is one element with everything in it closed, in order, and quoted.
#[track_caller]
pub(crate) fn check(text: &str) {
    let body = text.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    let allowed = |c: char| c == '\n' || c == '\t' || !c.is_control();
    assert!(body.chars().all(allowed), "control characters");
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start]);
        let inner = &rest[start + 1..];
        let end = tag_end(inner);
        let tag = &inner[..end];
        rest = &inner[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
            continue;
        }
        let closes = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let name = tag.split([' ', '\n']).next().expect("a name");
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert!(!open.is_empty() || name == "html", "a second root: {name}");
        for (key, value) in attributes(&tag[name.len()..]) {
            entities(value);
            assert!(key != "id" || ids.insert(value), "the id {value} is there twice");
        }
        if !closes {
            open.push(name);
        }
        if name == "script" || name == "style" {
            assert!(!rest[..rest.find("</").expect("an end")].contains(['<', '&']));
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    // Whatever refers to another element finds it.
    for key in ["aria-labelledby=\"", "for=\"", "href=\"#"] {
        for value in body.split(key).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ids.contains(value), "{key}{value} leads nowhere");
        }
    }
}

/// Where a tag ends: quoted values may have its sign in them.
fn tag_end(inner: &str) -> usize {
    let mut quoted = false;
    let end = inner.find(|c| {
        quoted ^= c == '"';
        c == '>' && !quoted
    });
    end.expect("a tag ends")
}

fn attributes(mut text: &str) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    while !text.trim().is_empty() {
        assert!(text.starts_with([' ', '\n']), "no space before {text}");
        let (key, rest) = text.trim_start().split_once("=\"").expect("a quoted value");
        let (value, rest) = rest.split_once('"').expect("the end of a value");
        assert!(
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{key}"
        );
        assert!(!value.contains('<'), "{value}");
        assert!(found.iter().all(|(other, _)| *other != key), "{key} twice");
        found.push((key, value));
        text = rest;
    }
    found
}

fn entities(text: &str) {
    for rest in text.split('&').skip(1) {
        let name = rest.split(';').next().expect("a name");
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{name}");
    }
    assert!(!text.contains(']') || !text.contains("]]>"));
}
