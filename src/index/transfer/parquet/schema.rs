//! The columns.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

use super::super::format::PhotoLine;

/// What the columns mean is what the fields of [`PhotoLine`] mean; times are what readers show as times.
const SCHEMA: &str = "
message photos {
    required binary path (STRING);
    optional binary path_hex (STRING);
    required int64 size (INTEGER(64, false));
    required int64 mtime (TIMESTAMP(NANOS, true));
    required binary content_hash (STRING);
    required int32 width (INTEGER(32, false));
    required int32 height (INTEGER(32, false));
    optional int64 captured_at (TIMESTAMP(MICROS, false));
    optional double latitude;
    optional double longitude;
    optional binary camera (STRING);
    required group embedding (LIST) {
        repeated group list {
            required float element;
        }
    }
}";

/// Where the file's metadata holds what `index.json` holds of other exports,
pub(super) const MANIFEST_KEY: &str = "bridgetower";
/// and the BLAKE3 of all rows: of each, its record as JSON and its embedding, little-endian.
pub(super) const BLAKE3_KEY: &str = "bridgetower.blake3";

pub(super) fn schema() -> Result<TypePtr, ParquetError> {
    parse_message_type(SCHEMA).map(Arc::new)
}

/// Neighbours' paths begin alike, and no two embeddings or hashes are the same.
pub(super) fn properties() -> WriterProperties {
    let path = || ColumnPath::from("path");
    let embedding = || {
        ColumnPath::from(
            "embedding.list.element"
                .split('.')
                .map(String::from)
                .collect::<Vec<_>>(),
        )
    };
    let content_hash = || ColumnPath::from("content_hash");
    WriterProperties::builder()
        .set_created_by(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into())
        .set_column_dictionary_enabled(path(), false)
        .set_column_encoding(path(), Encoding::DELTA_BYTE_ARRAY)
        .set_column_dictionary_enabled(content_hash(), false)
        .set_column_dictionary_enabled(embedding(), false)
        .build()
}

/// The camera's local time as Parquet counts it. What is finer than a microsecond is lost.
pub(super) fn microseconds(time: DateTime) -> Option<i64> {
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    Some(time.as_microsecond())
}

/// The inverse of [`microseconds`].
pub(super) fn local_time(microseconds: i64) -> Option<DateTime> {
    let time = Timestamp::from_microsecond(microseconds).ok()?;
    Some(TimeZone::UTC.to_datetime(time))
}

/// Adds a row to the checksum.
pub(super) fn hash_row(
    hasher: &mut blake3::Hasher,
    line: &PhotoLine,
    embedding: &[f32],
) -> serde_json::Result<()> {
    hasher.update(&serde_json::to_vec(line)?);
    for value in embedding {
        hasher.update(&value.to_le_bytes());
    }
    Ok(())
}
