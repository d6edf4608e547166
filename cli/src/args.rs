//! Arguments that both programs take.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bridgetower::cache::CacheLevel;
use bridgetower::engine::{DeviceChoice, EngineOptions, Precision, keep_freed_memory};
use bridgetower::{Engine, Error, Index};
use clap::{Args, ValueEnum};

use crate::output::OutputArgs;
use crate::progress::Unit;

/// The checkpoint that is used when neither the user nor an index names one.
pub const DEFAULT_MODEL: &str = "BridgeTower/bridgetower-large-itm-mlm-itc";

/// The model, and where it computes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Checkpoint: a folder, a hub id such as BridgeTower/bridgetower-large-itm-mlm-itc, or demo, the small
    /// one that is built into the program and knows only drawn pictures [default: the one that the index was
    /// built with; BridgeTower/bridgetower-large-itm-mlm-itc without an index]
    #[arg(long, value_name = "DIR|ID|demo", env = "BT_MODEL", global = true)]
    pub model: Option<String>,

    /// Where to compute: auto, cpu, cuda or metal
    #[arg(long, default_value_t, env = "BT_DEVICE", global = true)]
    pub device: DeviceChoice,

    /// Number format: auto, f32, bf16, int8 (CPU) or f16 (accelerators)
    #[arg(long, default_value_t, env = "BT_PRECISION", global = true)]
    pub precision: Precision,

    /// Never use the network, only the hub's local cache
    #[arg(long, env = "BT_OFFLINE", global = true)]
    pub offline: bool,
}

impl ModelArgs {
    /// The options for loading a model with these settings.
    pub fn options(&self) -> EngineOptions {
        keep_freed_memory();
        EngineOptions {
            device: self.device,
            precision: self.precision,
            offline: self.offline,
        }
    }

    /// Loads `--model`, or else `default`, showing a bar for what has to be downloaded first.
    pub fn load(&self, default: &str, output: &OutputArgs) -> Result<Engine, Error> {
        if self.model.is_none() {
            // Only an index calls a folder by its whole path.
            let place = Path::new(default);
            if place.is_absolute() && !place.is_dir() {
                return Err(Error::ModelMoved {
                    model: default.to_owned(),
                });
            }
        }
        self.load_named(self.model.as_deref().unwrap_or(default), output)
    }

    /// Loads `--model`, or else the model of `index`, or else [`DEFAULT_MODEL`].
    pub fn load_for(&self, index: &IndexArgs, output: &OutputArgs) -> anyhow::Result<Engine> {
        let default = match &self.model {
            Some(_) => None,
            None => index.model()?,
        };
        Ok(self.load(default.as_deref().unwrap_or(DEFAULT_MODEL), output)?)
    }

    /// Loads the model `name` with these settings.
    pub fn load_named(&self, name: &str, output: &OutputArgs) -> Result<Engine, Error> {
        let options = self.options();
        let mut bar = None;
        let engine = Engine::load(name, &options, &mut |file, done, total| {
            let bar = bar.get_or_insert_with(|| output.progress(Unit::Bytes));
            bar.show(file, done, total);
        });
        if let Some(bar) = bar {
            bar.finish();
        }
        engine
    }
}

/// The index.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Index folder [default: bridgetower/index in the user's data directory]
    #[arg(long, value_name = "DIR", env = "BT_INDEX", global = true)]
    pub index: Option<PathBuf>,
}

impl IndexArgs {
    /// The place of the index.
    pub fn place(&self) -> anyhow::Result<Index> {
        let dir = match &self.index {
            Some(dir) => dir.clone(),
            None => dirs::data_dir()
                .context("this system has no data directory: give --index DIR")?
                .join("bridgetower")
                .join("index"),
        };
        Ok(Index::at(dir))
    }

    /// The model that the index was built with, if there is an index.
    fn model(&self) -> anyhow::Result<Option<String>> {
        let Ok(index) = self.place() else {
            return Ok(None);
        };
        match index.reader() {
            Ok(index) => Ok(Some(index.model().name.clone())),
            Err(Error::NoIndex { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// [`CacheLevel`] as named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CacheArg {
    /// Nothing
    None,
    /// The preprocessed picture
    Pixels,
    /// The image tower's state half way
    Split,
    /// Everything that does not depend on the query
    Full,
}

impl From<CacheArg> for CacheLevel {
    fn from(typed: CacheArg) -> Self {
        match typed {
            CacheArg::None => Self::None,
            CacheArg::Pixels => Self::Pixels,
            CacheArg::Split => Self::Split,
            CacheArg::Full => Self::Full,
        }
    }
}
