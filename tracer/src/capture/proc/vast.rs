//! VAST's NFS client, whose modules replace the kernel's (`sunrpc`, `nfs`, ...).

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
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
    let mut command = Command::new(tool);
    command.arg("status").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot run {tool}")),
    };
    let output = child.stdout.take().context("its output was not caught")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        output.take(MOST_BYTES).read_to_end(&mut bytes).map(|_| bytes)
    });
    let end = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            child.kill().and_then(|()| child.wait().map(drop))?;
            // The reader is left alone: a grandchild may hold the output open.
            bail!("{tool} status did not end within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let exit = child.wait()?;
    if !exit.success() {
        bail!("{tool} status failed: {exit}");
    }
    let Ok(bytes) = reader.join() else { bail!("the output of {tool} status could not be read") };
    let text = String::from_utf8_lossy(&bytes?).into_owned();
    Ok(Some(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()))
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
}
