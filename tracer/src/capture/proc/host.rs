//! Which machine this is.

use std::{ffi::CStr, fs, mem::zeroed, path::Path};

use crate::model::Host;

/// The machine. What cannot be read stays empty.
pub(crate) fn read(proc: &Path) -> Host {
    let trimmed =
        |path: &str| fs::read_to_string(proc.join(path)).map(|text| text.trim().to_owned()).unwrap_or_default();
    // SAFETY: an all-zero `utsname` is valid, and `uname` only fills it.
    let machine = unsafe {
        let mut names: libc::utsname = zeroed();
        libc::uname(&raw mut names);
        CStr::from_ptr(names.machine.as_ptr()).to_string_lossy().into_owned()
    };
    Host {
        hostname: trimmed("sys/kernel/hostname"),
        kernel: trimmed("sys/kernel/osrelease"),
        arch: machine,
        cpus: cpus_online(&trimmed("stat")),
        memory_bytes: memory_bytes(&trimmed("meminfo")),
        boot_id: trimmed("sys/kernel/random/boot_id"),
    }
}

/// Lines `cpu0`, `cpu1`, ... of `/proc/stat`: one for each CPU online.
fn cpus_online(stat: &str) -> u32 {
    stat.lines()
        .filter(|line| line.starts_with("cpu") && line.as_bytes().get(3).is_some_and(u8::is_ascii_digit))
        .count() as u32
}

fn memory_bytes(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_cpu_lines_but_not_the_total() {
        assert_eq!(cpus_online("cpu  1 2\ncpu0 1 2\ncpu1 1 2\nintr 5\n"), 2);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB"), 2 << 20);
    }
}
