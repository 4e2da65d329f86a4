//! The guests' root image: a small Debian with an NFS server, NFS clients and the tools that tests look with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{apt, erofs, erofs::Packing, host, stamp};

/// The release the image is made from, whatever kernel boots it.
const SUITE: &str = "trixie";

const PACKAGES: [&str; 23] = [
    // The server, the clients and their tools.
    "nfs-kernel-server",
    "nfs-common",
    "rpcbind",
    // Networks and delays; tshark is the peer that response times of NFS calls are compared with.
    "iproute2",
    "iputils-ping",
    "ethtool",
    "socat",
    "tcpdump",
    "tshark",
    // Disks that are slow on purpose.
    "dmsetup",
    "e2fsprogs",
    // Looking at processes and kernels; perf is the peer that scheduling times are compared with.
    "procps",
    "psmisc",
    "util-linux",
    "kmod",
    "busybox-static",
    "linux-perf",
    "strace",
    // Scripts, and reaching one guest from another.
    "bash",
    "python3-minimal",
    "openssh-client",
    "openssh-server",
    "ca-certificates",
];

/// Files that no test reads, and that would make up a good part of the image.
const LEFT_OUT: [&str; 7] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/perf-core/tests/*",
    "/usr/share/bash-completion/*",
    "/usr/share/lintian/*",
];

/// Where the image lies in the lab's folder.
pub(crate) fn image(lab: &Path) -> PathBuf {
    lab.join("root.erofs")
}

/// Whether the image is there and holds what it should.
pub(crate) fn is_current(lab: &Path) -> bool {
    stamp::matches(&image(lab), &wanted())
}

/// Makes the image anew. The old one stays in use until the new one is whole.
pub(crate) fn build(lab: &Path, mirror: &str) -> Result<()> {
    let tree = lab.join("root.tree");
    remove(&tree)?;
    let mut command = host::privileged("mmdebstrap").map_err(|error| {
        let cache = lab.parent().unwrap_or(lab).display();
        host::with_remedy(
            &error,
            &format!("make the guests' root image once, as root:\n  NFSLAT_CACHE={cache} cargo xtask setup"),
        )
    })?;
    command.args(["--mode=root", "--variant=minbase", "--components=main", "--quiet"]);
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    for pattern in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command.arg(SUITE).arg(&tree).arg(apt::source_line(mirror, SUITE).trim_end());
    host::run(&mut command).context("making the guests' root image")?;
    // What apt needs to install more is of no use without a network.
    for part in ["var/lib/apt/lists", "var/cache/apt"] {
        remove(&tree.join(part))?;
    }
    ensure!(
        tree.join("usr/sbin/rpc.nfsd").is_file(),
        "the new root image has no NFS server: mmdebstrap did not finish"
    );
    let image = image(lab);
    erofs::pack(&tree, &image, Packing::SmallWithOwners)?;
    stamp::write(&image, &wanted())?;
    remove(&tree)
}

fn wanted() -> String {
    stamp::of(&[SUITE.as_bytes(), PACKAGES.join(" ").as_bytes(), LEFT_OUT.join(" ").as_bytes()])
}

/// Removes a tree that may belong to root.
fn remove(tree: &Path) -> Result<()> {
    if !tree.exists() {
        return Ok(());
    }
    if host::is_root() {
        return fs::remove_dir_all(tree).with_context(|| format!("removing {}", tree.display()));
    }
    host::run(host::privileged("rm")?.arg("-rf").arg("--").arg(tree))
}
