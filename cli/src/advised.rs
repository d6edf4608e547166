//! An error of a program itself.

use std::error::Error;
use std::fmt;

/// Something that a user got wrong, and what to do about it in a line: what [`bridgetower::Error`] is for the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub advice: &'static str,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for Advised {}
