//! Vision-language models on candle: BridgeTower, and what any model of two towers has.
//!
//! | | |
//! |---|---|
//! | [`BridgeTower`] | towers, bridge, cross-modal layers and heads, their tensors' names and their configuration |
//! | `weights` | a checkpoint's tensors, in every layout that was published |
//! | `dense` | products, layer norm and attention, by candle or by `bt-kernels` |
//! | `packed_weights` | weights as `bt-kernels` reads them, in files that processes share |
//! | [`locate`] | a checkpoint's folder, from the hub or out of the program itself |

mod bridgetower;
#[cfg(feature = "demo")]
mod demo;
mod dense;
mod hub;
mod packed_weights;
mod weights;
mod weights_id;

pub use bridgetower::{
    BridgeTower, Bridged, Config, Fused, ImageStates, LinkTowerType, TextBatch, TextConfig,
    TextStates, VisionConfig,
};
pub use bt_kernels::Format;
pub use hub::{DEMO, DownloadProgress, locate};
pub use packed_weights::root as packed_weights_root;
