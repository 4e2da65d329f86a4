//! One file per area of the kernel.

mod clients;
mod faults;
mod file_ops;
mod holders;
mod lock_functions;
mod locks;
mod rpc;
mod rpc_record;
mod rpc_steps;
mod sched;
mod snapshot;
mod spans;
mod stand_in;
mod threads;
mod user_stacks;
mod waits;
mod wakers;
