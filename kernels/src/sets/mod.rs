//! The instruction sets, each in a file that implements the contract.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod f32;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
