//! An export in one file of Apache Parquet, a row a photo: cargo feature `parquet`.

#[cfg(not(feature = "parquet"))]
mod disabled;
#[cfg(feature = "parquet")]
mod read;
#[cfg(feature = "parquet")]
mod schema;
#[cfg(feature = "parquet")]
mod write;

#[cfg(not(feature = "parquet"))]
pub(super) use disabled::{ParquetRecords, manifest};
#[cfg(feature = "parquet")]
pub(super) use read::{ParquetRecords, manifest};
