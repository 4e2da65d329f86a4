//! VAST's NFS client, whose modules replace the kernel's (`sunrpc`, `nfs`, ...).

use std::{
    fs,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Version of the bundle that the RPC layer belongs to, which its module has as a parameter; `None` for the kernel's own.
pub(crate) fn bundle_version(sys: &Path) -> Option<String> {
    let version = fs::read_to_string(sys.join("module/sunrpc/parameters/nfs_bundle_version")).ok()?;
    Some(version.trim().to_owned())
}

/// Its status tool.
pub(crate) const STATUS_TOOL: &str = "vastnfs-ctl";

/// How long the tool may take: it asks for services, and one of them may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than it prints.
const MOST_BYTES: u64 = 16 << 10;

/// What the status tool says, line by line: versions, modules, services. `None` if it is not installed.
///
/// # Errors
/// If it fails, or does not end.
pub(crate) fn status(tool: &str) -> Result<Option<Vec<String>>> {
    status_within(tool, PATIENCE)
}

fn status_within(tool: &str, patience: Duration) -> Result<Option<Vec<String>>> {
    let end = Instant::now() + patience;
    let mut command = Command::new(tool);
    // A group of its own, so that what it starts can be ended with it.
    command.arg("status").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot run {tool}")),
    };
    let output = child.stdout.take().context("its output was not caught")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(MOST_BYTES).read_to_end(&mut bytes).map(|_| bytes);
        // Nobody may be waiting any more.
        let _ = sender.send(read);
    });
    // It ends when it and all that it started have closed their output.
    let Ok(bytes) = receiver.recv_timeout(patience) else {
        end_group(&mut child)?;
        bail!("{tool} status did not end within {patience:?}");
    };
    let exit = loop {
        match child.try_wait()? {
            Some(exit) => break exit,
            None if Instant::now() >= end => {
                end_group(&mut child)?;
                bail!("{tool} status did not end within {patience:?}");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    if !exit.success() {
        bail!("{tool} status failed: {exit}");
    }
    let text = String::from_utf8_lossy(&bytes?).into_owned();
    Ok(Some(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()))
}

/// Kills a process that leads a group, and the group.
fn end_group(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: no memory is touched. The number is still the group's: its leader has not been waited for, or another member
    // lives.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A tool that does what the script says.
    fn tool(script: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STATUS_TOOL);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path.to_string_lossy().into_owned())
    }

    #[test]
    fn the_kernels_own_client_has_no_bundle_version() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(bundle_version(sys.path()), None);
        let parameters = sys.path().join("module/sunrpc/parameters");
        fs::create_dir_all(&parameters).unwrap();
        fs::write(parameters.join("nfs_bundle_version"), "4.0.33-vastdata\n").unwrap();
        assert_eq!(bundle_version(sys.path()).as_deref(), Some("4.0.33-vastdata"));
    }

    #[test]
    fn the_status_is_read_line_by_line() {
        let (_folder, path) = tool("[ \"$1\" = status ] && printf 'version: 4.0.33\\n\\n  rpc_pipefs: mounted\\n'");
        assert_eq!(status(&path).unwrap().unwrap(), ["version: 4.0.33", "rpc_pipefs: mounted"]);
        assert_eq!(status("/nonexistent/vastnfs-ctl").unwrap(), None);
    }

    #[test]
    fn a_status_that_fails_is_told() {
        let (_folder, path) = tool("exit 3");
        assert!(status(&path).unwrap_err().to_string().contains("exit status: 3"));
    }
    #[test]
    fn a_status_that_does_not_end_is_ended_and_told() {
        // The second ends, but leaves another one that holds its output open.
        for script in ["exec sleep 60", "sleep 60 & exit 0"] {
            let (_folder, path) = tool(script);
            let begun = Instant::now();
            let error = status_within(&path, Duration::from_millis(300)).unwrap_err().to_string();
            assert!(error.contains("did not end"), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
    }
}
