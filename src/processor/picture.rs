//! A picture that a caller provides: to search by, to embed, to match with a text.

use std::path::PathBuf;
use std::sync::Arc;

use super::decode::Encoded;
use crate::error::Result;

/// A picture as a file of this machine, or as the bytes of a file from anywhere.
///
/// No text becomes a path here: a program that accepts file names from its users makes a [`Picture::File`] itself,
/// which a server never should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// A file.
    File(PathBuf),
    /// The bytes of a file, such as an upload.
    Bytes(Arc<[u8]>),
}

impl Picture {
    /// Reads the file, or takes the bytes.
    pub fn encoded(&self) -> Result<Encoded> {
        match self {
            Self::File(path) => Encoded::read(path),
            Self::Bytes(bytes) => Encoded::new(bytes.to_vec()),
        }
    }
}

impl From<PathBuf> for Picture {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for Picture {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}
