//! Terms: what a query is made of.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{Error, Result};
use crate::json::{decimal, path_entry};
use crate::processor::Picture;

/// One part of a query.
///
/// ```
/// use bridgetower::Term;
/// use bridgetower::search::Query;
///
/// let terms = vec![
///     Term::text("a horse"),
///     Term::text("stripes").weighed(0.5),
///     Term::text("a zoo").negated(),
/// ];
/// let query = Query { terms, ..Query::default() };
/// # assert_eq!(query.terms[2].weight, -1.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// The weight; negative for what the photo should not show.
    pub weight: f32,
    /// The content it asks for.
    pub content: TermContent,
}

/// The content of a [`Term`].
#[derive(Debug, Clone, PartialEq)]
pub enum TermContent {
    /// Something described in words. Words are never taken for the name of a file.
    Text(String),
    /// Something that looks like this picture.
    Image(Picture),
}

impl Term {
    /// Asks for what the words describe.
    pub fn text(words: impl Into<String>) -> Self {
        Self {
            weight: 1.0,
            content: TermContent::Text(words.into()),
        }
    }

    /// Asks for what looks like a picture.
    pub fn image(picture: impl Into<Picture>) -> Self {
        Self {
            weight: 1.0,
            content: TermContent::Image(picture.into()),
        }
    }

    /// The same term, counting so much beside others.
    #[must_use]
    pub fn weighed(self, weight: f32) -> Self {
        Self { weight, ..self }
    }

    /// The same term, as something that the photo should not show.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            weight: -self.weight,
            ..self
        }
    }

    /// Refuses a term that asks for nothing.
    pub(super) fn check(&self) -> Result<()> {
        match &self.content {
            TermContent::Text(words) if words.trim().is_empty() => Err(Error::EmptyQuery),
            _ if !self.weight.is_finite() || self.weight == 0.0 => Err(Error::Input {
                reason: format!("the weight {} of a term", self.weight),
            }),
            _ => Ok(()),
        }
    }
}

/// The words, or the path of the picture; of bytes only how many there are.
impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        match &self.content {
            TermContent::Text(words) => object.serialize_entry("text", words)?,
            TermContent::Image(Picture::File(path)) => path_entry(&mut object, "image", path)?,
            TermContent::Image(Picture::Bytes(bytes)) => {
                object.serialize_entry("image", &None::<&str>)?;
                object.serialize_entry("image_bytes", &bytes.len())?;
            }
        }
        object.serialize_entry("weight", &decimal(self.weight))?;
        object.end()
    }
}
