//! One file per area of the kernel.

mod clients;
mod faults;
mod holders;
mod locks;
mod rpc;
mod sched;
mod snapshot;
mod threads;
mod twice;
mod user_stacks;
mod waits;
mod wakers;
