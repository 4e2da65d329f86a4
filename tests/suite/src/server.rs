//! The machine's NFS server.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Sets the number of its threads: 0 ends it.
pub fn set_threads(threads: u32) -> Result<()> {
    let status = Command::new("rpc.nfsd").arg(threads.to_string()).status().context("starting rpc.nfsd")?;
    ensure!(status.success(), "setting the server's threads to {threads}: {status}");
    Ok(())
}
