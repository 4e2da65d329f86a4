//! File systems that waits are for.

use serde::{Deserialize, Serialize};

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Type as in `/proc/self/mountinfo`, such as `ext4` or `nfs4`.
    pub kind: String,
    /// A mount point of it.
    pub mount_point: String,
}
