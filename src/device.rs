//! Where the model computes, and in which precision.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::error::{Error, Result};

/// The device to compute on, as the user chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first accelerator that this build knows and the machine has, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The Apple GPU.
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    pub fn open(self) -> Result<Device> {
        let missing = |reason: String| Error::Device { reason };
        match self {
            Self::Auto => Ok(Device::new_cuda(0)
                .or_else(|_| Device::new_metal(0))
                .unwrap_or(Device::Cpu)),
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda if !cfg!(feature = "cuda") => Err(missing(
                "this build has no CUDA (cargo feature `cuda`)".into(),
            )),
            Self::Cuda => Device::new_cuda(0).map_err(|e| missing(format!("no CUDA device: {e}"))),
            Self::Metal if !cfg!(feature = "metal") => Err(missing(
                "this build has no Metal (cargo feature `metal`)".into(),
            )),
            Self::Metal => {
                Device::new_metal(0).map_err(|e| missing(format!("no Metal device: {e}")))
            }
        }
    }
}

/// The number format of weights and activations, as the user chooses it.
///
/// Embeddings, logits and scores are f32 whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 on the CPU, bf16 on CUDA, f16 on Metal.
    #[default]
    Auto,
    /// 32-bit floats, everywhere.
    F32,
    /// Brain floats: the range of f32 in 16 bits.
    Bf16,
    /// Half floats; not on the CPU, which has no arithmetic for them.
    F16,
}

impl Precision {
    /// The number format on `device`.
    pub fn dtype(self, device: &Device) -> Result<DType> {
        match (self, device) {
            (Self::F16, Device::Cpu) => Err(Error::Input {
                reason: "the CPU computes in f32 or bf16, not in f16".into(),
            }),
            (Self::F32, _) | (Self::Auto, Device::Cpu) => Ok(DType::F32),
            (Self::Bf16, _) | (Self::Auto, Device::Cuda(_)) => Ok(DType::BF16),
            (Self::F16, _) | (Self::Auto, Device::Metal(_)) => Ok(DType::F16),
        }
    }
}

/// Reads and writes a choice by the word that the command line uses for it.
macro_rules! by_name {
    ($choice:ty, $what:literal, $($variant:ident = $name:literal),+) => {
        impl FromStr for $choice {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(Error::Input {
                        reason: format!(
                            concat!($what, " is one of ", $($name, " ",)+ "but not {:?}"),
                            name
                        ),
                    }),
                }
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

by_name!(
    DeviceChoice,
    "the device",
    Auto = "auto",
    Cpu = "cpu",
    Cuda = "cuda",
    Metal = "metal"
);
by_name!(
    Precision,
    "the precision",
    Auto = "auto",
    F32 = "f32",
    Bf16 = "bf16",
    F16 = "f16"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda] {
            assert_eq!(
                choice.to_string().parse::<DeviceChoice>().expect("parses"),
                choice
            );
        }
        let error = "f64".parse::<Precision>().expect_err("not a precision");
        assert_eq!(
            error.to_string(),
            "the precision is one of auto f32 bf16 f16 but not \"f64\""
        );
    }

    #[test]
    fn the_cpu_computes_in_f32_unless_told() {
        assert_eq!(
            Precision::Auto.dtype(&Device::Cpu).expect("known"),
            DType::F32
        );
        assert_eq!(
            Precision::Bf16.dtype(&Device::Cpu).expect("known"),
            DType::BF16
        );
        assert!(Precision::F16.dtype(&Device::Cpu).is_err());
    }
}
