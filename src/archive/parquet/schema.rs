//! The columns of a Parquet file for those of a table.

use std::collections::HashSet;
use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, Type};

use crate::archive::column::{Carrier, Column};

use super::value::Values;
use super::{COLUMNS_KEY, FORM, FORM_KEY};

/// So many values tell whether a column repeats itself.
const SAMPLE: usize = 4096;

/// The schema of a file.
pub(super) fn of(columns: &[Column]) -> Result<Arc<Type>> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("rows").with_fields(fields).build()?))
}

fn field(column: &Column) -> Result<Arc<Type>> {
    let (physical, logical, length) = types(column.carrier);
    let repetition = if column.not_null { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let field = Type::primitive_type_builder(&column.name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition)
        .with_length(length)
        .build()?;
    Ok(Arc::new(field))
}

fn types(carrier: Carrier) -> (Physical, Option<LogicalType>, i32) {
    let plain = |physical| (physical, None, -1);
    let typed = |physical, logical| (physical, Some(logical), -1);
    let timestamp = |utc| LogicalType::timestamp(utc, TimeUnit::MICROS);
    match carrier {
        Carrier::Bool => plain(Physical::BOOLEAN),
        Carrier::Int2 => typed(Physical::INT32, LogicalType::integer(16, true)),
        Carrier::Int4 => typed(Physical::INT32, LogicalType::integer(32, true)),
        Carrier::Int8 => typed(Physical::INT64, LogicalType::integer(64, true)),
        Carrier::Float4 => plain(Physical::FLOAT),
        Carrier::Float8 => plain(Physical::DOUBLE),
        Carrier::Text | Carrier::Varchar | Carrier::Bpchar | Carrier::AsText => {
            typed(Physical::BYTE_ARRAY, LogicalType::String)
        }
        Carrier::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), 16),
        Carrier::Bytea => plain(Physical::BYTE_ARRAY),
        Carrier::Json | Carrier::Jsonb => typed(Physical::BYTE_ARRAY, LogicalType::Json),
        Carrier::Date => typed(Physical::INT32, LogicalType::Date),
        Carrier::Timestamp => typed(Physical::INT64, timestamp(false)),
        Carrier::Timestamptz => typed(Physical::INT64, timestamp(true)),
    }
}

/// How each column is encoded, judged by its first values.
pub(super) fn properties(columns: &[Column], first: &[&Values], level: i32) -> WriterProperties {
    let zstd = ZstdLevel::try_new(level).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(zstd))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        // The groups are cut by those who write them.
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(metadata(columns)));
    for (column, values) in columns.iter().zip(first) {
        let path = || ColumnPath::from(vec![column.name.clone()]);
        let dictionary = repeats(values);
        properties = properties.set_column_dictionary_enabled(path(), dictionary);
        if matches!(values, Values::Int64(_)) {
            // Positions and times grow by little.
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        // Nobody looks for the greatest payload.
        if matches!(column.carrier, Carrier::Bytea | Carrier::Json | Carrier::Jsonb) {
            let none = EnabledStatistics::None;
            properties = properties.set_column_statistics_enabled(path(), none);
        }
    }
    properties.build()
}

fn metadata(columns: &[Column]) -> Vec<KeyValue> {
    let columns = serde_json::to_string(columns).unwrap_or_default();
    vec![
        KeyValue::new(FORM_KEY.to_owned(), FORM.to_owned()),
        KeyValue::new(COLUMNS_KEY.to_owned(), columns),
    ]
}

/// Whether a dictionary of the values is smaller than the values.
fn repeats(values: &Values) -> bool {
    fn is_small<T: Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> bool {
        let (mut count, mut distinct) = (0, HashSet::new());
        for value in values.take(SAMPLE) {
            count += 1;
            distinct.insert(value);
        }
        distinct.len() * 2 < count
    }
    match values {
        Values::Int32(values) => is_small(values.iter()),
        Values::Bytes(values) => is_small(values.iter().map(parquet::data_type::ByteArray::data)),
        Values::Fixed(values) => is_small(values.iter().map(|value| value.data())),
        // A dictionary of floats would make one of -0.0 and 0.0.
        Values::Bool(_) | Values::Int64(_) | Values::Float(_) | Values::Double(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use parquet::data_type::ByteArray;

    use super::*;

    #[test]
    fn a_dictionary_is_made_of_what_repeats_itself() {
        let of = |modulus: usize| {
            let values = (0..3000).map(|n| ByteArray::from((n % modulus).to_string().into_bytes()));
            Values::Bytes(values.collect())
        };
        assert!(repeats(&of(10)) && !repeats(&of(2900)) && !repeats(&Values::Bytes(Vec::new())));
    }
}
