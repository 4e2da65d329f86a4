//! nfslat: where did the time go on this machine, and is it storage or memory locks?
//!
//! Imports point one way: `cli -> {capture, analyse, render} -> model -> nfslat-common`.
//! Only [`capture`] touches BPF, `/proc` and `/sys`; [`analyse`] and [`render`] are pure functions
//! of a recording.

pub mod analyse;
pub mod capture;
pub mod cli;
pub mod model;
pub mod render;
