//! Looking after an index: what is in it, whether it is whole, making it small, mending it, and finding duplicates.

pub(crate) mod compact;
pub(crate) mod duplicates;
pub(crate) mod repair;
pub(crate) mod status;
pub(crate) mod verify;
