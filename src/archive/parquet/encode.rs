//! Rows become groups of columns, one group at a time in memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use crate::archive::checksum::{Sealed, Sink};
use crate::archive::column::{Column, landmarks};
use crate::archive::wire::{Batch, Row};
use crate::archive::write::Failure;
use crate::error::Error;

use super::schema;
use super::value::{Unfit, Values};

/// A group ends at so many rows, as those of DuckDB do.
const GROUP_ROWS: usize = 122_880;

/// Or at so many bytes, which bounds the memory of writers and readers.
const GROUP_BYTES: usize = 32 << 20;

/// So many bytes make a page, about: what a reader unpacks at once.
const PAGE_BYTES: usize = 1 << 20;

/// Writes a file.
pub(in crate::archive) struct Encoder {
    columns: Vec<Column>,
    schema: Arc<Type>,
    level: i32,
    position: Option<usize>,
    /// Where the file goes, until the first group says how its columns are encoded.
    sink: Option<Sink>,
    writer: Option<SerializedFileWriter<Sink>>,
    group: Vec<Chunk>,
    rows: usize,
    bytes: usize,
    /// Rows in groups that are written.
    written: usize,
}

/// The values of one column in the group.
struct Chunk {
    values: Values,
    /// For every row whether it has a value; empty where all must have one.
    levels: Vec<i16>,
    bytes: usize,
}

impl Encoder {
    pub(in crate::archive) fn new(
        sink: Sink,
        columns: &[Column],
        level: i32,
    ) -> Result<Self, Failure> {
        let (position, _) = landmarks(columns);
        let chunk = |column: &Column| Chunk {
            values: Values::new(column.carrier),
            levels: Vec::new(),
            bytes: 0,
        };
        Ok(Self {
            schema: schema::of(columns).map_err(failed)?,
            level,
            position,
            sink: Some(sink),
            writer: None,
            group: columns.iter().map(chunk).collect(),
            columns: columns.to_vec(),
            rows: 0,
            bytes: 0,
            written: 0,
        })
    }

    /// Takes rows; writes a group where it is full.
    pub(in crate::archive) fn batch(&mut self, batch: Batch) -> Result<(), Failure> {
        let all = Bytes::from(batch.bytes);
        let mut rest = all.as_ref();
        while let Some((row, after)) = Row::first(rest) {
            self.row(row, &all).map_err(Failure::Value)?;
            rest = after;
            self.rows += 1;
            self.bytes += row.bytes().len();
            if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn row(&mut self, row: Row<'_>, all: &Bytes) -> Result<(), Error> {
        for ((column, chunk), field) in self.columns.iter().zip(&mut self.group).zip(row.fields()) {
            let pushed = match field {
                Some(field) => {
                    chunk.bytes += field.len();
                    chunk.values.push(column.carrier, field, all)
                }
                None if column.not_null => Err(Unfit::Null),
                None => Ok(()),
            };
            if let Err(unfit) = pushed {
                let place = self.place(row);
                return Err(unfit.explain(&column.name, &place));
            }
            if !column.not_null {
                chunk.levels.push(i16::from(field.is_some()));
            }
        }
        Ok(())
    }

    /// What people find a row by.
    fn place(&self, row: Row<'_>) -> String {
        match self.position.and_then(|number| row.int8(number)) {
            Some(position) => format!("the event at position {position}"),
            None => format!("row {}", self.written + self.rows + 1),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = self.rows;
        let chunks = std::mem::take(&mut self.group);
        let writer = self.writer(&chunks)?;
        let mut group = writer.next_row_group().map_err(failed)?;
        for chunk in &chunks {
            let column = group.next_column().map_err(failed)?;
            let Some(mut column) = column else { return Err(missing_column()) };
            chunk.write(&mut column, rows).map_err(failed)?;
            column.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.group = chunks;
        for chunk in &mut self.group {
            chunk.values.clear();
            chunk.levels.clear();
            chunk.bytes = 0;
        }
        self.written += self.rows;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn writer(&mut self, first: &[Chunk]) -> Result<&mut SerializedFileWriter<Sink>, Failure> {
        if let Some(sink) = self.sink.take() {
            let values: Vec<&Values> = first.iter().map(|chunk| &chunk.values).collect();
            let properties = Arc::new(schema::properties(&self.columns, &values, self.level));
            let opened = SerializedFileWriter::new(sink, Arc::clone(&self.schema), properties);
            self.writer = Some(opened.map_err(failed)?);
        }
        self.writer.as_mut().ok_or_else(missing_column)
    }

    /// Writes what is left and the end of the file.
    pub(in crate::archive) fn finish(mut self) -> Result<Sealed, Failure> {
        self.flush()?;
        let chunks = std::mem::take(&mut self.group);
        self.writer(&chunks)?;
        let Some(writer) = self.writer else { return Err(missing_column()) };
        Ok(writer.into_inner().map_err(failed)?.seal()?)
    }
}

impl Chunk {
    fn write(
        &self,
        column: &mut SerializedColumnWriter<'_>,
        rows: usize,
    ) -> Result<(), ParquetError> {
        let step = (PAGE_BYTES / (self.bytes / rows).max(1)).clamp(1, rows);
        match &self.values {
            Values::Bool(values) => self.pages(column.typed::<BoolType>(), values, step),
            Values::Int32(values) => self.pages(column.typed::<Int32Type>(), values, step),
            Values::Int64(values) => self.pages(column.typed::<Int64Type>(), values, step),
            Values::Float(values) => self.pages(column.typed::<FloatType>(), values, step),
            Values::Double(values) => self.pages(column.typed::<DoubleType>(), values, step),
            Values::Bytes(values) => self.pages(column.typed::<ByteArrayType>(), values, step),
            Values::Fixed(values) => {
                self.pages(column.typed::<FixedLenByteArrayType>(), values, step)
            }
        }
    }

    /// Writes so many rows at a time, after which the writer may end a page.
    fn pages<T: DataType>(
        &self,
        writer: &mut ColumnWriterImpl<'_, T>,
        values: &[T::T],
        step: usize,
    ) -> Result<(), ParquetError> {
        if self.levels.is_empty() {
            for values in values.chunks(step) {
                writer.write_batch(values, None, None)?;
            }
            return Ok(());
        }
        let mut rest = values;
        for levels in self.levels.chunks(step) {
            let count = levels.iter().filter(|&&level| level == 1).count();
            let (values, after) = rest.split_at(count);
            writer.write_batch(values, Some(levels), None)?;
            rest = after;
        }
        Ok(())
    }
}

fn failed(error: ParquetError) -> Failure {
    match error {
        // The cause keeps its kind: a full disk is told as such.
        ParquetError::External(cause) => Failure::File(match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        }),
        error => Failure::File(io::Error::other(error)),
    }
}

fn missing_column() -> Failure {
    Failure::File(io::Error::other("the file has fewer columns than the table"))
}
