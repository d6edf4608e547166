//! The loops over vectors and products. They are written once; the table compiles them for each of its lines.

pub(crate) mod dot;
pub(crate) mod finish;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod pack;
pub(crate) mod round;
pub(crate) mod softmax;
pub(crate) mod tile;
