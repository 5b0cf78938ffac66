//! The columns of an archive, and how the values of each travel.

use serde::{Deserialize, Serialize};

/// The column that orders the events of a store.
pub const POSITION: &str = "global_position";

/// The column that says when an event was made.
pub const CREATED_AT: &str = "created_at";

/// A column of an archived table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as `format_type` prints it with an empty search path: a type that is not
    /// PostgreSQL's own comes with its schema.
    pub data_type: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// How its values travel.
    pub carrier: Carrier,
}

impl Column {
    /// A column whose type decides how it travels.
    pub fn new(name: impl Into<String>, data_type: impl Into<String>, not_null: bool) -> Self {
        let data_type = data_type.into();
        let carrier = Carrier::of(&data_type);
        Self { name: name.into(), data_type, not_null, carrier }
    }
}

impl Column {
    /// Whether its type is not PostgreSQL's own: it comes with its schema.
    #[must_use]
    pub fn is_of_foreign_type(&self) -> bool {
        self.carrier == Carrier::AsText && self.data_type.contains('.')
    }
}

/// The type of a value on its way: that of the column, where every reader knows it, else text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `text`
    Text,
    /// `character varying`
    Varchar,
    /// `character`
    Bpchar,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `date`
    Date,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// Any other type: its values are cast to text, and back when they are restored.
    AsText,
}

impl Carrier {
    /// The carrier of a type, as `format_type` prints it. What is not exactly one of PostgreSQL's
    /// own types is carried as text: arrays, domains, a type of the same name in another schema.
    #[must_use]
    pub fn of(data_type: &str) -> Self {
        match without_modifier(data_type).as_str() {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "double precision" => Self::Float8,
            "text" => Self::Text,
            "character varying" => Self::Varchar,
            "character" | "bpchar" => Self::Bpchar,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytea,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "date" => Self::Date,
            "timestamp without time zone" => Self::Timestamp,
            "timestamp with time zone" => Self::Timestamptz,
            _ => Self::AsText,
        }
    }

    /// The number of the type on the wire, which is part of the digest: those of PostgreSQL's own
    /// types never change (`src/include/catalog/pg_type.dat`).
    #[must_use]
    pub fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text | Self::AsText => 25,
            Self::Json => 114,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Bpchar => 1042,
            Self::Varchar => 1043,
            Self::Date => 1082,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Uuid => 2950,
            Self::Jsonb => 3802,
        }
    }
}

/// `timestamp(3) with time zone` without its `(3)`.
fn without_modifier(data_type: &str) -> String {
    match (data_type.find('('), data_type.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let digits = &data_type[open + 1..close];
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return data_type.to_owned();
            }
            [&data_type[..open], &data_type[close + 1..]].concat()
        }
        _ => data_type.to_owned(),
    }
}

/// Where the position and the time of an event are among columns; an aggregate's head has neither.
pub(super) fn landmarks(columns: &[Column]) -> (Option<usize>, Option<usize>) {
    let find = |name: &str, carrier: Carrier| {
        columns.iter().position(|column| column.name == name && column.carrier == carrier)
    };
    (find(POSITION, Carrier::Int8), find(CREATED_AT, Carrier::Timestamptz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_postgresql_travel_as_they_are() {
        for (data_type, carrier) in [
            ("bigint", Carrier::Int8),
            ("character varying", Carrier::Varchar),
            ("character varying(20)", Carrier::Varchar),
            ("character(4)", Carrier::Bpchar),
            ("bpchar", Carrier::Bpchar),
            ("timestamp(3) with time zone", Carrier::Timestamptz),
            ("timestamp without time zone", Carrier::Timestamp),
            ("timestamp(0) without time zone", Carrier::Timestamp),
            ("\"char\"", Carrier::AsText),
            ("other.uuid", Carrier::AsText),
            ("\"uuid\"", Carrier::AsText),
            ("uuid[]", Carrier::AsText),
            ("character varying(20)[]", Carrier::AsText),
            ("numeric(10,2)", Carrier::AsText),
            ("numeric", Carrier::AsText),
            ("time(3) with time zone", Carrier::AsText),
            ("interval(3)", Carrier::AsText),
            ("text()", Carrier::AsText),
            ("public.geometry(Point,4326)", Carrier::AsText),
        ] {
            assert_eq!(Carrier::of(data_type), carrier, "{data_type}");
        }
    }

    #[test]
    fn names_in_files_stay_as_they_are() {
        let column = Column::new("amount", "numeric(10,2)", true);
        let json = serde_json::to_string(&column).expect("JSON");
        assert_eq!(
            json,
            r#"{"name":"amount","data_type":"numeric(10,2)","not_null":true,"carrier":"as_text"}"#
        );
    }
}
