//! The tool's answer (`--json`), as a program that relies on the documented fields reads it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use serde::Deserialize;

mod files;
mod nfs;
mod threads;

pub use files::{FileOp, FileProcess, FileSums, FileTimes, OpenFileOp, WaitedFile};
pub use nfs::{Layers, MadeBy, Maker, NamedError, Resent, Rpc, Step, Tcp, Transport, TransportCalls};
pub use threads::{
    Identity, Lock, Made, MemoryMap, ProcessRow, SomeThread, SomeTime, Thread, UserStack, UserStacks, Wait, Waker,
};

/// The answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// Version of the schema.
    pub schema: String,
    /// False if anything was lost or cut.
    pub complete: bool,
    /// What was measured when.
    pub window: Window,
    /// The machine.
    pub host: Host,
    /// Statements.
    pub findings: Vec<Finding>,
    /// NFS calls.
    pub rpc: Vec<Rpc>,
    /// Which layer held up the calls of each mount.
    pub layers: Vec<Layers>,
    /// Operations on NFS files as programs see them.
    pub file_ops: Vec<FileOp>,
    /// Those open at the end.
    pub open_file_ops: Vec<OpenFileOp>,
    /// NFS files that threads were blocked on.
    pub files: Vec<WaitedFile>,
    /// What was measured.
    pub probes: Vec<Probe>,
    /// Transports of NFS calls.
    pub transports: Vec<Transport>,
    /// Processes, the most stalled first.
    pub processes: Vec<ProcessRow>,
    /// Threads.
    pub threads: Vec<Thread>,
    /// Waits.
    pub waits: Vec<Wait>,
    /// Lock waits by holder.
    pub locks: Vec<Lock>,
    /// Waits for mmap_locks by whose memory map it is.
    pub memory_maps: Vec<MemoryMap>,
    /// Where in the programs waits began.
    pub user_stacks: UserStacks,
    /// Who ended the long waits.
    pub wakers: Vec<Waker>,
    /// Stall time by group of classes.
    pub groups: BTreeMap<String, u64>,
    /// For how much of the window some thread waited.
    pub some_thread: SomeThread,
    /// What was lost.
    pub losses: Vec<Loss>,
}

/// What was measured, or not.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// Where.
    pub hook: String,
    /// How it went.
    pub state: String,
}

/// The time that was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    /// Start.
    pub start_unix_ns: u64,
    /// Length.
    pub duration_ns: u64,
}

/// The machine that was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Its kernel's release.
    pub kernel: String,
}

/// A statement.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Short stable name.
    pub id: String,
    /// What it states.
    pub claim: String,
}

/// How long something took.
#[derive(Clone, Debug, Deserialize)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Their sum; the kernel's statistics are signed.
    pub sum: i64,
    /// Smallest.
    pub min: Option<u64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
    /// HdrHistogram, V2 deflate, base64.
    pub hdr: String,
}

/// Something that was lost.
#[derive(Clone, Debug, Deserialize)]
pub struct Loss {
    /// Short stable name.
    pub what: String,
    /// How many.
    pub count: u64,
    /// What that means, and where.
    pub meaning: String,
}

impl Answer {
    /// How often something of this name was lost.
    #[must_use]
    pub fn loss(&self, what: &str) -> u64 {
        self.losses.iter().filter(|loss| loss.what == what).map(|loss| loss.count).sum()
    }

    /// The thread of that id.
    #[must_use]
    pub fn thread(&self, tid: u32) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.tid == tid)
    }
}

impl Distribution {
    /// The values, as another program reads them.
    pub fn histogram(&self) -> Result<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.hdr).context("it is not base64")?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).context("it is no histogram")
    }
}
