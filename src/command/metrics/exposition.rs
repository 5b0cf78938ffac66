//! The text format of Prometheus.

use std::fmt::Write as _;

use serde::Serialize;

/// What sort of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// All samples of one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// A value, and what tells it from the others of its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
}

impl Family {
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help, samples: Vec::new() }
    }

    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Counter, ..Self::gauge(name, help) }
    }

    /// Adds a sample.
    pub(super) fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.add(labels, value);
        self
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        self.samples.push(Sample { labels, value });
    }
}

/// The text, family by family; those without a sample are left out.
pub(super) fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let Family { name, kind, help, samples } = family;
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escape(help, false));
        for sample in samples {
            text.push_str(name);
            for (position, (label, value)) in sample.labels.iter().enumerate() {
                let before = if position == 0 { '{' } else { ',' };
                let _ = write!(text, "{before}{label}=\"{}\"", escape(value, true));
            }
            text.push_str(if sample.labels.is_empty() { " " } else { "} " });
            text.push_str(&number(sample.value));
            text.push('\n');
        }
    }
    text
}

/// In values of labels quotes too.
fn escape(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            // A line ends at a line feed alone, but who looks at it with `less` is a terminal.
            _ if character.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Whole numbers without a point.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let family = Family::gauge("pupctl_x", "Words with \\ and\nlines.")
            .with(&[("context", "O\"Neill\\\n\u{1b}"), ("state", "past")], 12.0)
            .with(&[], 0.5);
        let wanted = "# HELP pupctl_x Words with \\\\ and\\nlines.\n# TYPE pupctl_x gauge\n\
            pupctl_x{context=\"O\\\"Neill\\\\\\n\u{fffd}\",state=\"past\"} 12\npupctl_x 0.5\n";
        assert_eq!(text(&[family, Family::counter("pupctl_y_total", "None.")]), wanted);
        assert_eq!(
            [f64::NAN, f64::INFINITY, 1e15].map(number),
            ["NaN", "+Inf", "1000000000000000"]
        );
    }
}
