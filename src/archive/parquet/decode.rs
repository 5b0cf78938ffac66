//! Groups of columns become rows again, page by page.

use std::fs::File;
use std::io;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::archive::column::Column;
use crate::archive::source::BATCH_BYTES;
use crate::archive::wire::{Batch, malformed};

use super::value::Values;
use super::{FORM, FORM_KEY, schema};

/// At most so many rows are put together at a time.
const STEP_ROWS: usize = 4096;

/// Reads a file.
pub(in crate::archive) struct Decoder {
    reader: SerializedFileReader<File>,
    columns: Vec<Column>,
    next_group: usize,
    group: Option<Group>,
}

/// A group that is being read.
struct Group {
    readers: Vec<ColumnReader>,
    chunks: Vec<Chunk>,
    rows_left: usize,
    /// So many rows at a time.
    step: usize,
}

/// What was read of a column and is not in a row yet.
struct Chunk {
    values: Values,
    levels: Vec<i16>,
    /// The next value.
    next: usize,
}

impl Decoder {
    /// Reads the end of the file, where its schema is.
    pub(in crate::archive) fn new(file: File, columns: &[Column]) -> io::Result<Self> {
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        let metadata = reader.metadata().file_metadata();
        let pairs = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let form = pairs.iter().find(|pair| pair.key == FORM_KEY);
        match form.and_then(|pair| pair.value.as_deref()) {
            Some(FORM) => {}
            Some(_) => return Err(malformed("a newer pupctl wrote it")),
            None => return Err(malformed("pupctl did not write it")),
        }
        let found = metadata.schema_descr().root_schema().get_fields();
        let wanted = schema::of(columns).map_err(failed)?;
        let wanted = wanted.get_fields();
        if let Some((_, other)) = wanted.iter().zip(found).find(|(wanted, found)| wanted != found) {
            let what = format!("its column {} is not the one that is expected", other.name());
            return Err(malformed(what));
        }
        if found.len() != wanted.len() {
            let what = format!("it has {} columns, not {}", found.len(), wanted.len());
            return Err(malformed(what));
        }
        Ok(Self { reader, columns: columns.to_vec(), next_group: 0, group: None })
    }

    /// The next rows, in the memory of those before; none at the end.
    pub(in crate::archive) fn next(&mut self, mut bytes: Vec<u8>) -> io::Result<Option<Batch>> {
        bytes.clear();
        let mut rows = 0;
        while bytes.len() < BATCH_BYTES {
            let Some(group) = &mut self.group else {
                if self.next_group == self.reader.num_row_groups() {
                    break;
                }
                self.group = Some(self.open(self.next_group)?);
                self.next_group += 1;
                continue;
            };
            if group.rows_left == 0 {
                self.group = None;
                continue;
            }
            rows += group.read(&self.columns, &mut bytes)?;
        }
        Ok((rows > 0).then_some(Batch { bytes, rows }))
    }

    fn open(&self, number: usize) -> io::Result<Group> {
        let reader = self.reader.get_row_group(number).map_err(failed)?;
        let rows = usize::try_from(reader.metadata().num_rows());
        let rows_left = rows.map_err(|_| malformed("a group has no valid number of rows"))?;
        let bytes = usize::try_from(reader.metadata().total_byte_size()).unwrap_or(usize::MAX);
        let step = BATCH_BYTES / (bytes / rows_left.max(1)).max(1);
        let readers = (0..self.columns.len()).map(|column| reader.get_column_reader(column));
        let chunk = |column: &Column| Chunk {
            values: Values::new(column.carrier),
            levels: Vec::new(),
            next: 0,
        };
        Ok(Group {
            readers: readers.collect::<Result<_, _>>().map_err(failed)?,
            chunks: self.columns.iter().map(chunk).collect(),
            rows_left,
            step: step.clamp(1, STEP_ROWS),
        })
    }
}

impl Group {
    /// Appends some rows; how many.
    fn read(&mut self, columns: &[Column], out: &mut Vec<u8>) -> io::Result<u64> {
        let rows = self.step.min(self.rows_left);
        for ((column, reader), chunk) in columns.iter().zip(&mut self.readers).zip(&mut self.chunks)
        {
            chunk.read(reader, rows, !column.not_null)?;
        }
        let count = i16::try_from(columns.len()).unwrap_or(i16::MAX).to_be_bytes();
        for row in 0..rows {
            out.extend_from_slice(&count);
            for (column, chunk) in columns.iter().zip(&mut self.chunks) {
                chunk.send(column, row, out).ok_or_else(|| {
                    malformed(format!("column {} holds what PostgreSQL cannot", column.name))
                })?;
            }
        }
        self.rows_left -= rows;
        Ok(rows as u64)
    }
}

impl Chunk {
    fn read(&mut self, reader: &mut ColumnReader, rows: usize, nulls: bool) -> io::Result<()> {
        self.values.clear();
        self.levels.clear();
        self.next = 0;
        let levels = nulls.then_some(&mut self.levels);
        match (reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Bool(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                fill(reader, rows, levels, values)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                fill(reader, rows, levels, values)
            }
            _ => Err(malformed("a column is of another type than the schema says")),
        }
    }

    /// Appends the field of a row.
    fn send(&mut self, column: &Column, row: usize, out: &mut Vec<u8>) -> Option<()> {
        if !column.not_null && *self.levels.get(row)? == 0 {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Some(());
        }
        self.next += 1;
        self.values.send(column.carrier, self.next - 1, out)
    }
}

/// Reads exactly so many rows, which may lie on several pages.
fn fill<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    mut levels: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> io::Result<()> {
    let mut done = 0;
    while done < rows {
        let levels = levels.as_deref_mut();
        let (read, _, _) =
            reader.read_records(rows - done, levels, None, values).map_err(failed)?;
        if read == 0 {
            return Err(malformed("a column has fewer values than rows"));
        }
        done += read;
    }
    Ok(())
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => io::Error::other(cause),
        error => malformed(error.to_string()),
    }
}
