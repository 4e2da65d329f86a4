//! What both sides of nfslat must agree on: the keys and values of the BPF maps, the arithmetic of
//! the histogram buckets, the names of the loss counters and the settings of the kernel side.
//!
//! Everything that crosses a map is `repr(C)`, has no implicit padding and asserts its size, so a
//! change that breaks the agreement breaks the build instead of a measurement.

#![no_std]

pub mod buckets;
pub mod config;
pub mod file_ops;
pub mod lock;
pub mod loss;
pub mod rpc;
pub mod rpc_record;
pub mod sched;

#[cfg(feature = "user")]
mod pod;
