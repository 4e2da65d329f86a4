//! Work of NFS mounts that is no call of theirs: what goes to data servers (pNFS), and what a machine serves to itself
//! without the network (localio).

use std::fs;

use super::{Roots, mounts::unescape};
use crate::model::{ProbeState, ProbeStatus};

/// Those in use on this machine, as limits of what is measured.
pub(crate) fn read(roots: &Roots) -> Vec<ProbeStatus> {
    let mountstats = fs::read(roots.proc.join("self/mountstats")).unwrap_or_default();
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let localio = text(roots.sys.join("module/nfs/parameters/localio_enabled"));
    let server_threads = text(roots.proc.join("fs/nfsd/threads"));
    let pnfs = pnfs(&with_layouts(&String::from_utf8_lossy(&mountstats)));
    pnfs.into_iter().chain(goes_past_the_network(&localio, &server_threads).then(own_server)).collect()
}

/// Mount points whose server gives out layouts, with the layout's name: `pnfs=` among the statistics of a mount
/// (`nfs_show_stats`, `fs/nfs/super.c`, and `pnfs_curr_ld->name`).
fn with_layouts(mountstats: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut mount_point = "";
    for line in mountstats.lines() {
        if let Some((_, rest)) = line.strip_prefix("device ").and_then(|line| line.split_once(" mounted on ")) {
            mount_point = rest.split(' ').next().unwrap_or_default();
        }
        let layout = line.trim_start().strip_prefix("nfsv4:").and_then(|line| line.split(",pnfs=").nth(1));
        let layout = layout.and_then(|rest| rest.split(',').next()).unwrap_or("not configured");
        if !layout.starts_with("not ") {
            found.push((unescape(mount_point), layout.to_owned()));
        }
    }
    found
}

fn pnfs(mounts: &[(String, String)]) -> Option<ProbeStatus> {
    let named: Vec<_> = mounts.iter().map(|(mount, layout)| format!("{mount} {layout}")).collect();
    (!named.is_empty()).then(|| ProbeStatus {
        hook: "pNFS".to_owned(),
        measures: "what is read and written by layouts".to_owned(),
        state: ProbeState::Fallback,
        detail: format!(
            "{}: calls to data servers are counted, but belong to no mount; what goes to disks is no call",
            named.join(", ")
        ),
        remedy: "--file-ops measures it by mount, as operations on files".to_owned(),
    })
}

/// True if the client may go past the network (`localio_enabled`, `fs/nfs/localio.c`, from 6.12 on), and the machine has a
/// server.
fn goes_past_the_network(localio_enabled: &str, server_threads: &str) -> bool {
    localio_enabled.trim() == "Y" && server_threads.trim().parse::<u32>().is_ok_and(|threads| threads > 0)
}

fn own_server() -> ProbeStatus {
    ProbeStatus {
        hook: "localio".to_owned(),
        measures: "what is read and written on a mount of this machine's own server".to_owned(),
        state: ProbeState::Fallback,
        detail: "it goes past the network and is no call".to_owned(),
        remedy: "--file-ops measures it, as operations on files".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTSTATS: &str = "device proc mounted on /proc with fstype proc\n\
        device 10.0.0.1:/a mounted on /mnt/a\\040b with fstype nfs4 statvers=1.1\n\
        \topts:\trw,vers=4.2\n\
        \tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=LAYOUT_FLEX_FILES,lease_time=90,lease_expired=0\n\
        device 10.0.0.2:/ mounted on /mnt/c with fstype nfs4 statvers=1.1\n\
        \tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured,lease_time=90,lease_expired=0\n\
        device 10.0.0.3:/ mounted on /mnt/d with fstype nfs statvers=1.1\n\tage:\t0\n";

    #[test]
    fn mounts_with_layouts_are_named() {
        let found = with_layouts(MOUNTSTATS);
        assert_eq!(found, [("/mnt/a b".to_owned(), "LAYOUT_FLEX_FILES".to_owned())]);
        assert!(pnfs(&found).unwrap().detail.contains("/mnt/a b LAYOUT_FLEX_FILES"));
        assert_eq!(pnfs(&with_layouts("")), None);
    }

    #[test]
    fn a_machine_goes_past_the_network_only_with_a_server_of_its_own() {
        assert!(goes_past_the_network("Y\n", "8\n"));
        assert!(!goes_past_the_network("N\n", "8\n"));
        assert!(!goes_past_the_network("Y\n", "0\n"));
        assert!(!goes_past_the_network("Y\n", ""));
        assert!(!goes_past_the_network("", "8\n"));
    }
}
