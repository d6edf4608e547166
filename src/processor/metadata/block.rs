//! A piece of metadata, not yet read.

use std::borrow::Cow;

use super::facts::Facts;

/// A piece of metadata, not yet read.
#[derive(Debug)]
pub(super) enum Block<'a> {
    /// A TIFF file, which holds EXIF fields beside its pictures.
    Tiff(&'a [u8]),
    Exif(Cow<'a, [u8]>),
    Xmp(Cow<'a, [u8]>),
    /// Photoshop's image resources, which hold other blocks.
    Photoshop(Cow<'a, [u8]>),
    Iptc(Cow<'a, [u8]>),
    /// The facts of a PNG's texts and clock, parsed by its reader.
    Text(Facts),
}

/// The most bytes to join: nothing that is read here is larger.
const MAX_JOINED: usize = 16 << 20;

/// Joins the pieces of a block; none if there are none, or too many.
pub(super) fn joined<'a>(pieces: &[&'a [u8]]) -> Option<Cow<'a, [u8]>> {
    match pieces {
        [] => None,
        [piece] => Some(Cow::Borrowed(*piece)),
        pieces => {
            let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
            (bytes <= MAX_JOINED).then(|| pieces.concat().into())
        }
    }
}
