//! The lab: real Debian kernels in QEMU on one machine, with the kernel's own NFS server and client.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use nfslat_lab::Lab;
//!
//! let lab = Lab::open()?;
//! let result = lab
//!     .guest(&lab.kernel("6.12")?)
//!     .file("target/release/nfslat", "/usr/local/bin/nfslat")
//!     .run("nfs_serve; nfs_mount 4.2 /mnt/nfs; ls /mnt/nfs >/results/listing")?;
//! assert_eq!(result.code, 0, "{}", result.output);
//! # Ok(()) }
//! ```
//!
//! A guest boots a kernel that is unpacked, not installed, from a read-only root image, with writes going to memory:
//! each run starts from the same state and leaves nothing behind but its results. Everything runs under software
//! emulation, so that it works the same wherever there is a QEMU, inside other virtual machines and containers too.
//!
//! * [`setup`] gets what is missing: packages, kernels, the root image.
//! * [`Guest`] runs a script in one machine, [`ThreeGuests`] in a server and two clients on one network.
//! * The functions that scripts call, such as `nfs_serve`, are in `guest/lib.sh`.

pub mod apt;
pub mod cache;
pub mod host;
pub mod setup;

mod cpio;
mod erofs;
mod guest;
mod initrd;
mod kernel;
mod network;
mod payload;
mod qemu;
mod root;
mod runs;
mod slots;
mod stamp;
mod suite;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub use guest::{Guest, GuestResult};
pub use kernel::{Kernel, NEWEST, SOURCES, Source, source};
pub use network::{ThreeGuests, ThreeResults, ThreeScripts};

/// The images and kernels that guests run from.
#[derive(Clone, Debug)]
pub struct Lab {
    folder: PathBuf,
}

impl Lab {
    /// The lab in the cache folder, with whatever kernels are there.
    pub fn open() -> Result<Self> {
        let lab = Self { folder: cache::lab(&cache::root()?) };
        if !root::image(&lab.folder).is_file() {
            bail!("the lab is not set up in {}: run `cargo xtask setup`", lab.folder.display());
        }
        Ok(lab)
    }

    /// The kernels that are ready to boot, oldest first.
    #[must_use]
    pub fn kernels(&self) -> Vec<Kernel> {
        let kernels = self.folder.join("kernels");
        SOURCES.iter().filter_map(|source| Kernel::find(&kernels, source.name)).collect()
    }

    /// The kernel called `name`: a series such as `6.12`, a whole release, or `newest`.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        let kernels = self.kernels();
        let matching = |kernel: &&Kernel| [&kernel.name, &kernel.series, &kernel.release].contains(&&name.to_owned());
        kernels.iter().find(matching).cloned().with_context(|| {
            let ready: Vec<_> = kernels.iter().map(|kernel| kernel.series.as_str()).collect();
            format!("no kernel {name} in the lab (ready: {}): run `cargo xtask setup`", ready.join(", "))
        })
    }

    /// A guest with `kernel`, to be given files and a script.
    pub fn guest(&self, kernel: &Kernel) -> Guest {
        Guest::new(self, kernel)
    }

    /// A server and two clients on one network, all with `kernel`.
    pub fn three_guests(&self, kernel: &Kernel) -> ThreeGuests {
        ThreeGuests::new(self, kernel)
    }

    fn root_image(&self) -> PathBuf {
        root::image(&self.folder)
    }

    fn slots(&self) -> PathBuf {
        self.folder.join("slots")
    }

    fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }
}
