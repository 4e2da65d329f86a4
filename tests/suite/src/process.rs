//! A program that runs beside the check: waiting for what it says, ending it, and what it left.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a program may take to say or do what it should. Emulated machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A running program. It is killed if the check ends before it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
    listener: Option<JoinHandle<()>>,
    start: Instant,
}

/// What a program has printed on standard error so far.
#[derive(Debug, Default)]
struct Said {
    state: Mutex<(String, bool)>,
    more: Condvar,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
    /// From its start to its end.
    pub wall: Duration,
}

impl Finished {
    /// The exit code; a program ended by a signal has none.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl Process {
    /// Starts `command`, with all three streams held by this value.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = format!("{:?}", command.get_program());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let said = Arc::new(Said::default());
        let stderr = child.stderr.take().context("the program has no standard error")?;
        let listener = thread::spawn({
            let said = Arc::clone(&said);
            move || listen(stderr, &said)
        });
        Ok(Self { name, child, said, listener: Some(listener), start: Instant::now() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, to be written or closed by the caller.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().with_context(|| format!("{}: standard input is taken already", self.name))
    }

    /// Its standard output, for a caller that reads it before the program ends.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().with_context(|| format!("{}: standard output is taken already", self.name))
    }

    /// Waits until it has printed `text` on standard error.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.said.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (said, closed) = &*state;
            if said.contains(text) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if *closed || left.is_zero() {
                bail!("{} did not say {text:?}, but:\n{said}", self.name);
            }
            (state, _) = self.said.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends it a signal.
    pub fn send(&self, signal: libc::c_int) -> Result<()> {
        let pid = libc::pid_t::try_from(self.pid())?;
        // SAFETY: the child has not been waited for, so the id is still its own.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).with_context(|| format!("signalling {}", self.name)),
        }
    }

    /// Waits for its end, at most `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        drop(self.child.stdin.take());
        let stdout = self.child.stdout.take();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut bytes)).map(|_| bytes)
        });
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let said = self.said.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
                bail!("{} has not ended after {} s; it said:\n{said}", self.name, limit.as_secs());
            }
            thread::sleep(LOOK);
        };
        let wall = self.start.elapsed();
        let stdout = reader.join().expect("reading does not panic")?;
        if let Some(listener) = self.listener.take() {
            listener.join().expect("listening does not panic");
        }
        let stderr = self.said.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        Ok(Finished { status, stdout: String::from_utf8(stdout)?, stderr, wall })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `finish` both do nothing; before, they end what the check leaves behind. Not every
        // process ends when it is killed: one that waits for a dead NFS server may not.
        drop(self.child.kill());
        let end = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(LOOK);
        }
    }
}

fn listen(mut stderr: ChildStderr, said: &Said) {
    let mut buffer = [0; 4096];
    loop {
        let length = stderr.read(&mut buffer).unwrap_or(0);
        let mut state = said.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push_str(&String::from_utf8_lossy(&buffer[..length]));
        state.1 = length == 0;
        said.more.notify_all();
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn what_a_program_says_and_returns_is_kept() {
        let process = shell("echo ready >&2; read line; echo got $line; exit 3");
        process.wait_for("ready").unwrap();
        let finished = process.finish(PATIENCE).unwrap();
        assert_eq!(
            (finished.code(), finished.stdout.as_str(), finished.stderr.as_str()),
            (Some(3), "got\n", "ready\n")
        );
    }

    #[test]
    fn silence_and_slowness_are_errors() {
        assert!(shell("exit 0").wait_for("ready").is_err());
        assert!(shell("sleep 5").finish(Duration::from_millis(50)).is_err());
    }
}
