//! The recording: what was measured, as plain values. Everything that is reported, drawn or
//! compared is computed from it, so it holds raw sums and histograms and no verdicts.

mod file;
mod file_system;
mod hist;
mod host;
mod identity;
mod lock;
mod machine;
mod recording;
mod rpc;
mod sched;
mod spans;
mod tcp;
mod validate;

pub use file::{FORMAT_VERSION, ReadError};
pub use file_system::FileSystem;
pub use hist::Histogram;
pub use host::{Cost, Host, Loss, Pressure, PressureLine, ProbeState, ProbeStatus, ProgramCost, hook};
pub use identity::{Container, Executable, Identity, Made, Marker};
pub use lock::{Call, Holder, HolderKind, LockSeries};
pub use machine::{Counter, CpuTimes, Machine, Pause, Pauses, Virtualisation};
pub use recording::{Options, Recording, Slice, Window};
pub use rpc::{
    InFlight, Mount, RpcClient, RpcErrorSlice, RpcPart, RpcSeries, RpcSlice, RpcStep, RpcStepSlice, Transport,
};
pub use sched::{
    Process, Stack, Thread, ThreadSlice, ThreadTimes, UserFrame, UserStack, WaitHistogramSlice, WaitSeries, WaitSlice,
    WakeSeries,
};
pub use spans::{Span, SpanSlice};
pub use tcp::{Tcp, TcpConnection, TcpSlice, TcpState, TcpTransport};
