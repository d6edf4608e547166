//! HEIC and AVIF, through the system's libheif: cargo feature `heif`.

#[cfg(not(feature = "heif"))]
mod disabled;
#[cfg(feature = "heif")]
mod enabled;

#[cfg(not(feature = "heif"))]
pub use disabled::{decode, header};
#[cfg(feature = "heif")]
pub use enabled::{decode, header};
