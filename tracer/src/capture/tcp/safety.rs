//! Whether a transport's ports may be read at all.
//!
//! Sysfs takes them from the transport's socket. Before 5.18 (`get_srcport`, `net/sunrpc/xprtsock.c`) it does so without a
//! look whether there is one just then: to read them while the transport connects again crashes the machine. What
//! repaired it has a name of its own, `xs_sock_srcport`, by which older kernels that were given it are known.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
};

/// First version that shows transports: no need to look for anything in older ones.
const SHOWN: (u32, u32) = (5, 14);

/// First version that looks before it reads.
const REPAIRED: (u32, u32) = (5, 18);

/// The function that looks before it reads.
const REPAIRED_FUNCTION: &str = "xs_sock_srcport";

/// True if ports may be read. `proc`: the root of `/proc`.
pub(super) fn ports_may_be_read(proc: &Path) -> bool {
    let release = fs::read_to_string(proc.join("sys/kernel/osrelease")).unwrap_or_default();
    match version(&release) {
        Some(version) if version >= REPAIRED => true,
        Some(version) if version < SHOWN => false,
        _ => has_function(proc, REPAIRED_FUNCTION),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Lines are `ADDRESS KIND NAME [MODULE]`.
fn has_function(proc: &Path, name: &str) -> bool {
    let Ok(file) = File::open(proc.join("kallsyms")) else { return false };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.any(|line| line.split_ascii_whitespace().nth(2) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be_read(release: &str, symbols: &str) -> bool {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("sys/kernel")).unwrap();
        fs::write(proc.path().join("sys/kernel/osrelease"), release).unwrap();
        fs::write(proc.path().join("kallsyms"), symbols).unwrap();
        ports_may_be_read(proc.path())
    }

    #[test]
    fn only_a_kernel_that_looks_first_is_asked() {
        const REPAIRED: &str = "ffffffffc0a0 t xs_sock_getport\t[sunrpc]\nffffffffc0b0 t xs_sock_srcport\t[sunrpc]\n";
        assert!(may_be_read("5.18.0\n", "") && may_be_read("6.1.0-50-cloud-amd64\n", "") && may_be_read("7.3-rc1", ""));
        assert!(!may_be_read("5.15.0-91-generic\n", "ffffffffc0a0 T get_srcport\t[sunrpc]\n"));
        assert!(may_be_read("5.14.0-427.el9.x86_64\n", REPAIRED));
        assert!(!may_be_read("5.10.0-32-cloud-amd64\n", REPAIRED) && !may_be_read("", ""));
    }
}
