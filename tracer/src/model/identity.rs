//! Who a process really is: what its executable and its surroundings show. Facts and where they
//! were seen; what follows from them is decided elsewhere.

use serde::{Deserialize, Serialize};

/// What was found out about one process. Names and paths are the process's own choice, and hostile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Path of the executable as the kernel prints it, in the process's own mount namespace.
    pub path: String,
    /// True if that path no longer leads to it (an update replaced it, or it was removed).
    pub deleted: bool,
    /// Type of the filesystem it is on; empty if not known.
    pub filesystem: String,
    /// Why the executable was not opened or not understood; empty if it was read.
    pub not_read: String,
    /// What stands in the executable; `None` if it was not read.
    pub executable: Option<Executable>,
    /// The container it runs in, by the path of its cgroup.
    pub container: Option<Container>,
    /// systemd unit, by the path of its cgroup; empty if none.
    pub unit: String,
    /// True if its process ids are not those that the tracer sees; `None` if not known.
    pub other_pid_namespace: Option<bool>,
}

/// What stands in an ELF executable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// Size of the file.
    pub bytes: u64,
    /// `.note.gnu.build-id`, in hex; empty if it has none.
    pub build_id: String,
    /// Go's own build id; empty if it has none.
    pub go_build_id: String,
    /// The dynamic linker it asks for (`PT_INTERP`); empty if none.
    pub interpreter: String,
    /// True if it has neither an interpreter nor needs a library: nothing is linked at its start.
    pub is_static: bool,
    /// Libraries it names itself (`DT_NEEDED`); libraries of libraries are not listed.
    pub needed: Vec<String>,
    /// Path of Go's main package, from its build information; empty if it has none.
    pub go_package: String,
    /// Path and version of the Go module that package is in, likewise.
    pub go_module: String,
    /// What tells languages, runtimes and allocators.
    pub markers: Vec<Marker>,
    /// Parts that were not looked at to their end, because they are too large.
    pub cut: Vec<String>,
}

/// Something that tells what a program is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What it tells.
    pub tells: Made,
    /// Version, if it tells one; empty otherwise.
    pub version: String,
    /// What was seen, and where.
    pub evidence: String,
}

/// What a program may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// Go, whose runtime has its own allocator.
    Go,
    /// The Java virtual machine.
    Jvm,
    /// The Python interpreter.
    Python,
    /// Node.js.
    Node,
    /// Rust.
    Rust,
    /// C++.
    CPlusPlus,
    /// A compiler of C or C++ left its name; start-up code of other languages has it as well.
    CCompiler,
    /// Tokio, an asynchronous runtime for Rust.
    Tokio,
    /// jemalloc.
    Jemalloc,
    /// mimalloc.
    Mimalloc,
    /// tcmalloc.
    Tcmalloc,
    /// The allocator of the GNU C library.
    GlibcMalloc,
    /// The allocator of musl.
    MuslMalloc,
}

/// A container, as the path of the cgroup tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `machine` (systemd) or `kubernetes`.
    pub runtime: String,
    /// Its id or name.
    pub id: String,
    /// The Kubernetes pod's uid; empty if none.
    pub pod: String,
}
