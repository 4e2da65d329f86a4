//! The kernel side of nfslat.
//!
//! It sums; it streams nothing but when long waits were. Programs on the scheduler's tracepoints keep the state of every
//! thread and the length of its waits; programs on the NFS client's keep latency histograms per
//! operation. User space reads the maps about once a second. What finds no room is counted
//! ([`loss`]), never dropped in silence.
//!
//! Offsets of kernel fields come from user space, which reads them from the running kernel's
//! BTF: see `nfslat_common::config`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod filter;
mod kernel;
mod loss;
mod maps;
mod probes;
mod verifier;
mod window;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects any program that can reach this.
    loop {}
}

/// Some helpers (stack walks, kernel reads) are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
