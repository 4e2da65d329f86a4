//! Whether this machine is a guest.

use std::{fs, path::Path};

use super::Roots;
use crate::model::Virtualisation;

/// What the CPU, the kernel and the firmware say. What they do not say is empty.
pub(crate) fn read(roots: &Roots) -> Virtualisation {
    let dmi = roots.sys.join("class/dmi/id");
    Virtualisation {
        hypervisor_flag: hypervisor_flag(&fs::read_to_string(roots.proc.join("cpuinfo")).unwrap_or_default()),
        hypervisor: trimmed(&roots.sys.join("hypervisor/type")),
        vendor: trimmed(&dmi.join("sys_vendor")),
        product: trimmed(&dmi.join("product_name")),
    }
}

fn trimmed(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default()
}

/// x86 lists `hypervisor` among the first CPU's flags; others have no such list.
fn hypervisor_flag(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    Some(flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_a_guest() {
        assert_eq!(hypervisor_flag("processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"), Some(true));
        assert_eq!(hypervisor_flag("flags\t\t: fpu vme\n"), Some(false));
        assert_eq!(hypervisor_flag("Features : fp asimd\n"), None);
    }
}
