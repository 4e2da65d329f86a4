//! What the tests of nfslat are made of.
//!
//! A [`check::Check`] is one claim about the tool and the way to see whether it holds on the machine
//! that runs it. The same checks run natively and in the lab's guests: there the suite's own
//! program runs inside the guest, and its verdicts come back as files. So there is one description
//! of a test, whatever kernel it runs on.
//!
//! Every check compares the tool's answer with an independent account of the same time: the
//! scheduler's and the NFS client's own statistics, `perf sched timehist`, `ss`, the packets as tshark reads them, or a
//! workload that times itself.

pub mod answer;
pub mod bpf;
pub mod check;
pub mod checks;
pub mod client_trace;
pub mod complaints;
pub mod guards;
pub mod guest;
pub mod lab;
pub mod machine;
pub mod mapped;
pub mod matrix;
pub mod mountstats;
pub mod nfslat;
pub mod process;
pub mod server;
pub mod sockets;
pub mod starve;
pub mod timehist;
pub mod wire;
pub mod workload;
