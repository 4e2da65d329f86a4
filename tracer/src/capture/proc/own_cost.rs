//! What the tracer itself uses.

use std::{fs, mem::zeroed, path::Path};

/// CPU time of this process so far, user and system, in ns.
pub(crate) fn cpu_ns() -> u64 {
    // SAFETY: an all-zero `rusage` is valid, and `getrusage` only fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// Largest resident set of this process so far (`VmHWM`), in bytes; 0 if it cannot be read.
pub(crate) fn peak_rss_bytes(proc: &Path) -> u64 {
    fs::read_to_string(proc.join("self/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Memory of a BPF map by its file descriptor, as the kernel states it (`memlock` in `fdinfo`).
pub(crate) fn map_bytes(proc: &Path, fd: i32) -> u64 {
    fs::read_to_string(proc.join(format!("self/fdinfo/{fd}")))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
        .unwrap_or(0)
}
