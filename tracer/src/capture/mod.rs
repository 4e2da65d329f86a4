//! Measuring: everything that touches BPF, `/proc` and `/sys`. The result is a
//! [`crate::model::Recording`]; what it means is decided elsewhere.

mod collect;
pub mod doctor;
mod identity;
mod kernel;
mod load;
mod pauses;
mod preflight;
mod proc;
mod session;
mod settings;
mod stand_ins;
mod symbols;
mod tcp;

pub use collect::{Progress, Run};
pub use session::Session;
pub use settings::{FileOps, Filter, Settings};

/// The NFS mounts of this mount namespace.
///
/// # Errors
/// If the list cannot be read.
pub fn nfs_mounts() -> anyhow::Result<Vec<crate::model::Mount>> {
    proc::mounts::read(&proc::Roots::default().proc)
}
