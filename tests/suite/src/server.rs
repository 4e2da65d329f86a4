//! The machine's NFS server.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

/// Sets the number of its threads: 0 ends it.
pub fn set_threads(threads: u32) -> Result<()> {
    let status = Command::new("rpc.nfsd").arg(threads.to_string()).status().context("starting rpc.nfsd")?;
    ensure!(status.success(), "setting the server's threads to {threads}: {status}");
    Ok(())
}

/// Ends the program that notes for the server which clients it has (`nfsdcld`). A server that is started without it waits
/// for the whole of its grace time.
pub fn kill_client_tracking() -> Result<()> {
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "nfsdcld") {
            // SAFETY: no memory is touched. The machine is the suite's own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    Ok(())
}
