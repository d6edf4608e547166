//! The device and the precision of the model's computations.

use std::fmt;
use std::str::FromStr;

use bt_kernels::Format;
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
    /// bf16 on CUDA and on CPUs that are faster in it (AVX512-BF16), f16 on Metal, else f32.
    #[default]
    Auto,
    /// 32-bit floats, everywhere.
    F32,
    /// Brain floats: the range of f32 in 16 bits. On a CPU only the weights, in the image tower and the cross-modal
    /// layers, and with AVX512-BF16 what they are multiplied with; with AVX2 or NEON it saves memory, not time.
    Bf16,
    /// 8-bit integers with scales, instead of those; only on CPUs, with AVX2 or NEON's dot products.
    Int8,
    /// Half floats; not on the CPU, which has no arithmetic for them.
    F16,
}

/// The number formats that a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The format of states, and of all weights that are not packed.
    pub(crate) states: DType,
    /// The format of packed weights, where there are any.
    pub(crate) packed: Option<Format>,
}

impl Precision {
    /// The number formats on `device`.
    pub(crate) fn on(self, device: &Device) -> Result<Numbers> {
        let all = |states| Numbers {
            states,
            packed: None,
        };
        let packed = |format: Format| Numbers {
            states: DType::F32,
            packed: Some(format),
        };
        let no = |reason: &str| {
            Err(Error::Input {
                reason: reason.into(),
            })
        };
        let has = Format::is_supported;
        match (self, device) {
            (Self::F16, Device::Cpu) => no("the CPU computes in f32, bf16 or int8, not in f16"),
            (Self::Bf16, Device::Cpu) if !has(Format::Bf16) => {
                no("this CPU has neither AVX2 nor NEON for bf16: use --precision f32")
            }
            (Self::Int8, Device::Cpu) if !has(Format::Int8) => no(
                "this CPU has neither AVX2 nor NEON's dot products for int8: use --precision f32",
            ),
            (Self::Int8, Device::Cuda(_) | Device::Metal(_)) => {
                no("int8 is for the CPU: accelerators compute in bf16 or f16")
            }
            (Self::Bf16, Device::Cpu) => Ok(packed(Format::Bf16)),
            (Self::Auto, Device::Cpu) if Format::Bf16.beats_f32() => Ok(packed(Format::Bf16)),
            (Self::Int8, Device::Cpu) => Ok(packed(Format::Int8)),
            (Self::F32 | Self::Auto, Device::Cpu) if has(Format::F32) => Ok(packed(Format::F32)),
            (Self::F32, _) | (Self::Auto, Device::Cpu) => Ok(all(DType::F32)),
            (Self::Bf16, _) | (Self::Auto, Device::Cuda(_)) => Ok(all(DType::BF16)),
            (Self::F16, _) | (Self::Auto, Device::Metal(_)) => Ok(all(DType::F16)),
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
    Int8 = "int8",
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
            "the precision is one of auto f32 bf16 int8 f16 but not \"f64\""
        );
    }

    #[test]
    fn the_cpu_computes_in_what_it_has_instructions_for() {
        let on_cpu = |precision: Precision| precision.on(&Device::Cpu);
        let exact = on_cpu(Precision::F32).expect("everywhere");
        assert_eq!(exact.states, DType::F32);
        assert!(matches!(exact.packed, None | Some(Format::F32)));
        assert!(on_cpu(Precision::F16).is_err());
        for (precision, format) in [
            (Precision::Bf16, Format::Bf16),
            (Precision::Int8, Format::Int8),
        ] {
            match on_cpu(precision) {
                Ok(numbers) => assert_eq!(numbers.packed, Some(format)),
                Err(error) => assert!(!format.is_supported(), "{error}"),
            }
        }
        let auto = on_cpu(Precision::Auto).expect("everywhere");
        let is_bf16 = auto.packed == Some(Format::Bf16);
        assert_eq!(is_bf16, Format::Bf16.beats_f32());
    }
}
