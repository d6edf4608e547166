//! The density of the graph's links.

/// Links that a new row gets in each layer, and most links of a row above the lowest layer, where it is twice
/// as many: `M` in the paper.
pub(in crate::index) const MAX_LINKS: usize = 16;
/// Rows kept while looking for a new row's neighbours: `ef_construction` in the paper.
pub(in crate::index) const EF_CONSTRUCTION: usize = 200;
