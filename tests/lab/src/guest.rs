//! One guest: what it is given, running it, and what it leaves behind.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ChildStdout,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::{
    Kernel, Lab, host,
    payload::Payload,
    qemu::{Machine, Process},
    runs,
    slots::Slots,
};

/// How often a running guest is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// How long a guest may take to boot, send results and power off, beside the time its script has.
const AROUND_SCRIPT: Duration = Duration::from_secs(90);

/// How many of a guest's last lines an error repeats.
const TAIL: usize = 30;

/// What `timeout` returns for a script that it ended.
const TIMED_OUT: i32 = 124;

/// A machine to boot, and what it brings along.
#[must_use = "a guest does nothing until it runs"]
pub struct Guest {
    lab: Lab,
    kernel: Kernel,
    payload: Payload,
    hostname: String,
    smp: usize,
    mem_mib: usize,
    timeout: Duration,
    sink: Option<Sink>,
    pub(crate) on_wait: Box<dyn FnMut() + Send>,
}

type Sink = Box<dyn FnMut(&[u8]) + Send>;

impl Guest {
    pub(crate) fn new(lab: &Lab, kernel: &Kernel) -> Self {
        Self {
            lab: lab.clone(),
            kernel: kernel.clone(),
            payload: Payload::default(),
            hostname: "lab".to_owned(),
            smp: 2,
            mem_mib: 1024,
            timeout: Duration::from_secs(300),
            sink: None,
            on_wait: Box::new(|| ()),
        }
    }

    /// Brings a file, or a folder with all that is in it, from this machine to `guest` (absolute) there.
    pub fn file(mut self, host: impl AsRef<Path>, guest: &str) -> Self {
        self.payload.file(host.as_ref(), guest);
        self
    }

    /// Sets a variable in the script's environment.
    pub fn env(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.payload.variable(name, &value.to_string());
        self
    }

    /// Names the machine; NFS clients that share a server must not share a name.
    pub fn hostname(mut self, name: &str) -> Self {
        name.clone_into(&mut self.hostname);
        self
    }

    /// How many processors it has: 2 unless told.
    pub fn smp(mut self, processors: usize) -> Self {
        self.smp = processors;
        self
    }

    /// How much memory it has: 1024 MiB unless told. Files that the guest writes outside an NFS mount are kept in it.
    pub fn mem_mib(mut self, mebibytes: usize) -> Self {
        self.mem_mib = mebibytes;
        self
    }

    /// How long the script may run: 5 minutes unless told. The wait for free processors does not count.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Hands over what the script prints while it runs, as it comes.
    pub fn on_output(mut self, sink: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }

    /// Calls `waiting` if the guest cannot start at once, because others have the machine's processors.
    pub fn on_wait(mut self, waiting: impl FnMut() + Send + 'static) -> Self {
        self.on_wait = Box::new(waiting);
        self
    }

    /// Boots the guest, runs `script` with bash (`set -euo pipefail`, the functions of `guest/` at hand) as root, and
    /// returns when the guest has powered off.
    ///
    /// A script that fails is a result, with its exit code. A guest that panics, hangs or never boots is an error.
    pub fn run(mut self, script: &str) -> Result<GuestResult> {
        let slots = Slots::acquire(&self.lab.slots(), self.smp, &mut self.on_wait)?;
        let mut running = self.start(script, Vec::new(), None)?;
        let result = loop {
            if let Some(result) = running.poll()? {
                break result;
            }
            thread::sleep(LOOK);
        };
        drop(slots);
        Ok(result)
    }

    /// Starts it in the calling thread, which has to live as long as the guest.
    pub(crate) fn start(mut self, script: &str, network: Vec<String>, folder: Option<&Path>) -> Result<Running> {
        let run = runs::create(&self.lab.runs(), &self.hostname)?;
        let name = format!("{} (kernel {})", self.hostname, self.kernel.release);
        self.payload.variable("LAB_TIMEOUT", &self.timeout.as_secs().to_string());
        self.payload.variable("LAB_HOSTNAME", &self.hostname);
        let payload = run.join("payload.erofs");
        self.payload.pack(script, &payload)?;
        let machine = Machine {
            kernel: &self.kernel,
            root: self.lab.root_image(),
            payload,
            smp: self.smp,
            mem_mib: self.mem_mib,
            network,
            run: &run,
            folder: folder.unwrap_or(&run),
        };
        let start = Instant::now();
        let mut process = machine.start()?;
        let output = process.take_output().context("QEMU has no output")?;
        let log = run.join("output.log");
        let log = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let sink = self.sink.unwrap_or_else(|| Box::new(|_| ()));
        let reader = thread::spawn(move || copy_output(output, log, sink));
        Ok(Running { name, run, process, reader: Some(reader), start, limit: self.timeout + AROUND_SCRIPT })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Guest")
            .field("hostname", &self.hostname)
            .field("kernel", &self.kernel.release)
            .finish_non_exhaustive()
    }
}

fn copy_output(mut output: ChildStdout, mut log: File, mut sink: Sink) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let length = output.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        log.write_all(&buffer[..length])?;
        sink(&buffer[..length]);
    }
}

/// A guest that has been started.
pub(crate) struct Running {
    name: String,
    run: PathBuf,
    process: Process,
    reader: Option<JoinHandle<io::Result<()>>>,
    start: Instant,
    limit: Duration,
}

impl Running {
    /// Its result, once it has powered off.
    pub(crate) fn poll(&mut self) -> Result<Option<GuestResult>> {
        let Some(status) = self.process.ended()? else {
            if self.start.elapsed() < self.limit {
                return Ok(None);
            }
            bail!(self.failure(&format!("did not power off within {} s", self.limit.as_secs())));
        };
        let wall = self.start.elapsed();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("copying output does not panic").context("keeping the guest's output")?;
        }
        if !status.success() {
            let errors = self.text("qemu.log");
            bail!("{}\nQEMU said: {}", self.failure(&format!("ended with QEMU ({status})")), host::tail(&errors, TAIL));
        }
        // Only the runs themselves are worth keeping.
        let _ = fs::remove_file(self.run.join("payload.erofs"));
        let archive = self.run.join("results.tar");
        let whole = host::run(host::command("tar").arg("-xf").arg(&archive).arg("-C").arg(&self.run));
        let code =
            fs::read_to_string(self.run.join("status")).ok().and_then(|status| status.trim().parse::<i32>().ok());
        let Some(code) = code.filter(|_| whole.is_ok()) else {
            let console = self.text("console.log");
            let panic = console.lines().find_map(|line| line.find("Kernel panic").map(|start| &line[start..]));
            bail!(self.failure(panic.unwrap_or("powered off without a result")));
        };
        let _ = fs::remove_file(&archive);
        if code == TIMED_OUT {
            bail!(self.failure(&format!(
                "ran out of time: its script may take {} s",
                (self.limit - AROUND_SCRIPT).as_secs()
            )));
        }
        Ok(Some(GuestResult {
            folder: self.run.clone(),
            code,
            output: self.text("output.log"),
            console: self.text("console.log"),
            wall,
        }))
    }

    /// What its script has printed so far, and its console, as the text of an error.
    pub(crate) fn failure(&self, what: &str) -> String {
        format!(
            "guest {} {what}\n--- its output ended with\n{}\n--- its console ended with\n{}\n--- all of it is in {}",
            self.name,
            host::tail(&self.text("output.log"), TAIL),
            host::tail(&self.text("console.log"), TAIL),
            self.run.display()
        )
    }

    fn text(&self, file: &str) -> String {
        let bytes = fs::read(self.run.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }
}

/// What a guest left behind.
#[derive(Clone, Debug)]
pub struct GuestResult {
    /// The script's exit code.
    pub code: i32,
    /// All that the script printed, errors included.
    pub output: String,
    /// The kernel's messages on the console.
    pub console: String,
    /// The time from QEMU's start to its end.
    pub wall: Duration,
    folder: PathBuf,
}

impl GuestResult {
    /// The folder with what the guest left in `/results`. It is kept until many later runs have ended.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// A file that the guest left in `/results`, as text.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.results().join(name);
        fs::read_to_string(&path).with_context(|| format!("the guest left no {name}: reading {}", path.display()))
    }

    /// This result, or an error with the script's last lines if the script failed.
    pub fn success(self) -> Result<Self> {
        if self.code == 0 { Ok(self) } else { Err(self.failure()) }
    }

    /// The error that tells of a script that failed.
    pub(crate) fn failure(&self) -> Error {
        anyhow!(
            "the guest's script failed with code {}\n--- its output ended with\n{}\n--- all of it is in {}",
            self.code,
            host::tail(&self.output, TAIL),
            self.folder.display()
        )
    }
}
