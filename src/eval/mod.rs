//! Measures how well a model finds what it should, with the paper's measures and those of a search.
//!
//! [`Dataset`] holds pictures with captions, [`evaluate`] reads them with a model, and [`Evaluation`] holds the
//! results: by embeddings alone ([`Evaluation::itc`]), reranked as a search does it ([`Evaluation::search`]) and as the
//! paper's authors count it ([`Evaluation::authors`]).

mod candidates;
mod dataset;
mod evaluate;
pub mod fidelity;
mod latency;
mod metrics;
mod protocol;
mod report;
mod score;

pub use dataset::{CAPTIONS_PER_PHOTO, Caption, Cloze, Dataset, Foil};
pub use evaluate::{EvalStage, evaluate};
pub use latency::{Latency, RerankTime, Times};
pub use metrics::{Bin, Cut, CutOffs, KEEP, Reliability, Retrieval};
pub use report::{
    BothWays, ClozeScore, Counts, Depth, Evaluation, FoilScore, Skipped, Unreadable, Work,
};
