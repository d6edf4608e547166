//! An error of a program itself.

use std::error::Error;
use std::fmt;

/// A user's mistake, with one line on what to do about it: the programs' counterpart of [`bridgetower::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// The mistake.
    pub reason: String,
    /// The remedy.
    pub advice: &'static str,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for Advised {}
