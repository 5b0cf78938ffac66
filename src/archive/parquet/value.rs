//! Values of PostgreSQL's wire format and those of Parquet.
//!
//! | PostgreSQL | Parquet |
//! |---|---|
//! | days and microseconds since 2000 | since 1970 |
//! | `infinity` and `-infinity` | the greatest number and its negative, as DuckDB has it |
//! | the version byte of `jsonb` | left out, put back |

use bytes::Bytes;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use crate::archive::column::Carrier;
use crate::error::{Error, Result};

/// From 1970-01-01 to 2000-01-01.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// What `jsonb` begins with on the wire, since there is `jsonb`.
const JSONB_VERSION: u8 = 1;

/// Values of one column, without those that are NULL.
#[derive(Debug)]
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Values {
    /// None yet.
    pub(super) fn new(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Bool => Self::Bool(Vec::new()),
            Carrier::Int2 | Carrier::Int4 | Carrier::Date => Self::Int32(Vec::new()),
            Carrier::Int8 | Carrier::Timestamp | Carrier::Timestamptz => Self::Int64(Vec::new()),
            Carrier::Float4 => Self::Float(Vec::new()),
            Carrier::Float8 => Self::Double(Vec::new()),
            Carrier::Uuid => Self::Fixed(Vec::new()),
            Carrier::Text
            | Carrier::Varchar
            | Carrier::Bpchar
            | Carrier::Bytea
            | Carrier::Json
            | Carrier::Jsonb
            | Carrier::AsText => Self::Bytes(Vec::new()),
        }
    }

    /// Adds a value as the server sent it; none where the form cannot hold it. `field` is a part
    /// of `all`, whose memory is shared.
    pub(super) fn push(
        &mut self,
        carrier: Carrier,
        field: &[u8],
        all: &Bytes,
    ) -> Result<(), Unfit> {
        match self {
            Self::Bool(values) => values.push(array::<1>(field)? != [0]),
            Self::Int32(values) => values.push(match carrier {
                Carrier::Int2 => i32::from(i16::from_be_bytes(array(field)?)),
                Carrier::Date => date_out(i32::from_be_bytes(array(field)?))?,
                _ => i32::from_be_bytes(array(field)?),
            }),
            Self::Int64(values) => values.push(match carrier {
                Carrier::Int8 => i64::from_be_bytes(array(field)?),
                _ => time_out(i64::from_be_bytes(array(field)?))?,
            }),
            Self::Float(values) => values.push(f32::from_be_bytes(array(field)?)),
            Self::Double(values) => values.push(f64::from_be_bytes(array(field)?)),
            Self::Fixed(values) => {
                array::<16>(field)?;
                values.push(ByteArray::from(all.slice_ref(field)).into());
            }
            Self::Bytes(values) => {
                let text = match carrier {
                    Carrier::Jsonb => field.strip_prefix(&[JSONB_VERSION]).ok_or(Unfit::Form)?,
                    _ => field,
                };
                if carrier != Carrier::Bytea && std::str::from_utf8(text).is_err() {
                    return Err(Unfit::Text);
                }
                values.push(ByteArray::from(all.slice_ref(text)));
            }
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Bool(values) => values.clear(),
            Self::Int32(values) => values.clear(),
            Self::Int64(values) => values.clear(),
            Self::Float(values) => values.clear(),
            Self::Double(values) => values.clear(),
            Self::Bytes(values) => values.clear(),
            Self::Fixed(values) => values.clear(),
        }
    }

    /// Appends a value as the server takes it, its length in front. `None` where there is no
    /// such value, or PostgreSQL cannot have it.
    pub(super) fn send(&self, carrier: Carrier, number: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Bool(values) => sized(out, &[u8::from(*values.get(number)?)]),
            Self::Int32(values) => {
                let value = *values.get(number)?;
                match carrier {
                    Carrier::Int2 => sized(out, &i16::try_from(value).ok()?.to_be_bytes()),
                    Carrier::Date => sized(out, &date_in(value)?.to_be_bytes()),
                    _ => sized(out, &value.to_be_bytes()),
                }
            }
            Self::Int64(values) => {
                let value = *values.get(number)?;
                let value = if carrier == Carrier::Int8 { value } else { time_in(value)? };
                sized(out, &value.to_be_bytes())
            }
            Self::Float(values) => sized(out, &values.get(number)?.to_be_bytes()),
            Self::Double(values) => sized(out, &values.get(number)?.to_be_bytes()),
            Self::Fixed(values) => sized(out, &array::<16>(values.get(number)?.data()).ok()?),
            Self::Bytes(values) if carrier == Carrier::Jsonb => {
                let text = values.get(number)?.data();
                out.extend_from_slice(&i32::try_from(text.len() + 1).ok()?.to_be_bytes());
                out.push(JSONB_VERSION);
                out.extend_from_slice(text);
                Some(())
            }
            Self::Bytes(values) => sized(out, values.get(number)?.data()),
        }
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

/// Why a value does not fit into Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not of the form that its type has on the wire.
    Form,
    /// It is later than a file can tell.
    Time,
    /// It is not UTF-8.
    Text,
    /// It is NULL, in a column that refuses NULL. PostgreSQL 18 can have that: NOT NULL NOT VALID.
    Null,
}

impl Unfit {
    /// What to tell people.
    pub(super) fn explain(self, column: &str, place: &str) -> Error {
        let copy = "archive this table with --format copy, which keeps every value";
        let told = |what: &str| Error::refused(format!("{column} of {place} {what}"));
        match self {
            Self::Form => told("does not have the form of its type"),
            Self::Null => told("is NULL, which the column refuses").hint(copy),
            Self::Time => told("is later than Parquet can tell").hint(copy),
            Self::Text => told("is not UTF-8, as all text in Parquet is").hint(copy),
        }
    }
}

fn array<const LENGTH: usize>(field: &[u8]) -> Result<[u8; LENGTH], Unfit> {
    field.try_into().map_err(|_| Unfit::Form)
}

fn date_out(days: i32) -> Result<i32, Unfit> {
    match days {
        i32::MAX => Ok(i32::MAX),
        i32::MIN => Ok(-i32::MAX),
        _ => days.checked_add(DAYS_TO_2000).filter(|&days| days < i32::MAX).ok_or(Unfit::Time),
    }
}

fn date_in(days: i32) -> Option<i32> {
    match days {
        i32::MAX => Some(i32::MAX),
        _ if days == -i32::MAX => Some(i32::MIN),
        _ => days.checked_sub(DAYS_TO_2000),
    }
}

fn time_out(micros: i64) -> Result<i64, Unfit> {
    match micros {
        i64::MAX => Ok(i64::MAX),
        i64::MIN => Ok(-i64::MAX),
        _ => {
            let moved = micros.checked_add(MICROS_TO_2000);
            moved.filter(|&micros| micros < i64::MAX).ok_or(Unfit::Time)
        }
    }
}

fn time_in(micros: i64) -> Option<i64> {
    match micros {
        i64::MAX => Some(i64::MAX),
        _ if micros == -i64::MAX => Some(i64::MIN),
        _ => micros.checked_sub(MICROS_TO_2000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_come_back_or_are_refused() {
        // From 4714 BC to the ends of what PostgreSQL has.
        for days in [i32::MIN, -2_451_545, -10_957, 0, 2_145_031_948, i32::MAX] {
            assert_eq!(date_out(days).map(date_in), Ok(Some(days)));
        }
        let last = i64::MAX - MICROS_TO_2000 - 1;
        for micros in [i64::MIN, -211_813_488_000_000_000, -1, 0, last, i64::MAX] {
            assert_eq!(time_out(micros).map(time_in), Ok(Some(micros)));
        }
        for micros in [last + 1, 9_223_371_331_199_999_999, i64::MAX - 1] {
            assert_eq!(time_out(micros), Err(Unfit::Time));
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        for (carrier, field) in [
            (Carrier::Bool, b"\x01".as_slice()),
            (Carrier::Int2, b"\x80\0"),
            (Carrier::Int4, b"\xff\xff\xff\xff"),
            (Carrier::Int8, b"\x80\0\0\0\0\0\0\0"),
            (Carrier::Float4, b"\x80\0\0\0"),
            (Carrier::Float8, b"\x7f\xf8\0\0\0\0\0\x01"),
            (Carrier::Text, "ü€".as_bytes()),
            (Carrier::Text, b""),
            (Carrier::Bytea, b"\0\xff"),
            (Carrier::Jsonb, b"\x01{}"),
            (Carrier::Uuid, &[9; 16]),
            (Carrier::Date, &[0; 4]),
            (Carrier::Timestamptz, &[0; 8]),
        ] {
            let all = Bytes::copy_from_slice(field);
            let mut values = Values::new(carrier);
            assert_eq!(values.push(carrier, &all, &all), Ok(()), "{carrier:?}");
            let mut sent = Vec::new();
            values.send(carrier, 0, &mut sent).expect("a value");
            assert_eq!(sent[4..], *field, "{carrier:?}");
            assert_eq!(sent[..4], i32::try_from(field.len()).expect("short").to_be_bytes());
            assert_eq!(values.send(carrier, 1, &mut sent), None);
        }
    }

    #[test]
    fn what_parquet_cannot_hold_is_refused() {
        for (carrier, field, unfit) in [
            (Carrier::Text, b"\xff".as_slice(), Unfit::Text),
            (Carrier::AsText, b"\xc3", Unfit::Text),
            (Carrier::Jsonb, b"\x02{}", Unfit::Form),
            (Carrier::Int8, b"123", Unfit::Form),
            (Carrier::Uuid, b"123", Unfit::Form),
        ] {
            let all = Bytes::copy_from_slice(field);
            assert_eq!(Values::new(carrier).push(carrier, &all, &all), Err(unfit));
        }
        let error = Unfit::Text.explain("note", "row 7");
        assert_eq!(error.message(), "note of row 7 is not UTF-8, as all text in Parquet is");
    }
}
