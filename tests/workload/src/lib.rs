//! Workloads that know how long they waited, and for what.
//!
//! A tracer that attributes waits can only be trusted if something else knows the answer. Each
//! kind of workload here waits for one known thing, times every wait by itself, and reads the
//! scheduler's own statistics of its threads; it prints all of it as JSON. The tests compare the
//! tracer's answer with that.
//!
//! A kind is one file in [`kinds`]; [`run`] starts the threads of the chosen kinds.

#[cfg(target_arch = "x86_64")]
pub mod frames;
pub mod kinds;
pub mod meter;
pub mod run;
pub mod schedstat;
pub mod settings;
pub mod sys;
pub mod truth;
