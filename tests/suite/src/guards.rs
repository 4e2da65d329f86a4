//! Things a check sets up on the machine, taken down again when they are dropped.

use std::{
    ffi::{CString, OsStr},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::PATIENCE;

/// A file system in memory.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// A file system of `bytes`, rounded up to whole pages.
    pub fn of_size(bytes: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let c_string = |text: &OsStr| CString::new(text.as_bytes());
        let (target, kind) = (c_string(folder.path().as_os_str())?, c_string(OsStr::new("tmpfs"))?);
        let options = CString::new(format!("size={bytes}"))?;
        // SAFETY: all three are strings that outlive the call.
        let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("mounting a file system in memory");
        }
        Ok(Self { folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// A file that memory can be swapped to.
#[derive(Debug)]
pub struct SwapFile {
    folder: tempfile::TempDir,
}

impl SwapFile {
    /// A file of `bytes` below `folder`, in use. Its file system has to be on a disk.
    pub fn on(folder: &Path, bytes: usize) -> Result<Self> {
        let swap = Self { folder: tempfile::tempdir_in(folder)? };
        let path = swap.path();
        // Written, as swap space has no holes; and for root alone, which mkswap asks for.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&vec![0; bytes])?;
        file.sync_all()?;
        let output = Command::new("mkswap").arg("--quiet").arg(&path).output().context("starting mkswap")?;
        ensure!(output.status.success(), "mkswap: {}", String::from_utf8_lossy(&output.stderr));
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the string outlives the call.
        match unsafe { libc::swapon(name.as_ptr(), 0) } {
            0 => Ok(swap),
            _ => Err(io::Error::last_os_error()).with_context(|| format!("swapping to {}", path.display())),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("swap")
    }
}

impl Drop for SwapFile {
    fn drop(&mut self) {
        if let Ok(name) = CString::new(self.path().as_os_str().as_bytes()) {
            // SAFETY: the string outlives the call.
            unsafe { libc::swapoff(name.as_ptr()) };
        }
    }
}

/// Options for version 3 of the protocol, without a lock manager.
const VERSION_3: &str = "vers=3,proto=tcp,nolock,mountproto=tcp";

/// An NFS mount of this machine's own server.
#[derive(Debug)]
pub struct NfsMount {
    folder: tempfile::TempDir,
}

impl NfsMount {
    /// Mounts the export with a version of the protocol.
    pub fn of_version(version: &str) -> Result<Self> {
        match version {
            "3" => Self::of_export("/export", ""),
            _ => Self::with("127.0.0.1:/", &format!("vers={version},proto=tcp")),
        }
    }

    /// Mounts the export with version 4.2, of the server at one of this machine's addresses.
    pub fn at(address: &str) -> Result<Self> {
        Self::with(&format!("{address}:/"), "vers=4.2,proto=tcp")
    }

    /// Mounts an export with version 3 and these further options, each with a comma before it.
    pub fn of_export(export: &str, options: &str) -> Result<Self> {
        Self::with(&format!("127.0.0.1:{export}"), &format!("{VERSION_3}{options}"))
    }

    /// Mounts the export over so many connections.
    pub fn over_connections(version: &str, connections: u32) -> Result<Self> {
        Self::with("127.0.0.1:/", &format!("vers={version},proto=tcp,nconnect={connections}"))
    }

    /// Mounts the export so that the server is asked about a file each time it matters.
    pub fn without_cached_attributes() -> Result<Self> {
        Self::of_export("/export", ",noac")
    }

    fn with(source: &str, options: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let output = Command::new("mount")
            .args(["-t", "nfs", "-o", options, source])
            .arg(folder.path())
            .output()
            .context("starting mount")?;
        if !output.status.success() {
            bail!("mounting with {options}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self { folder })
    }

    /// Waits until the client has forgotten its servers. A mount goes away a while after it was unmounted, when it has given
    /// back what the server lent it, and until then another one gets its connection and its session.
    pub fn wait_for_none() -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let servers = fs::read_to_string("/proc/fs/nfsfs/servers").unwrap_or_default();
            // The first line is a heading.
            if servers.lines().count() <= 1 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the client keeps its servers: {servers}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &str {
        self.folder.path().to_str().unwrap_or_default()
    }
}

impl Drop for NfsMount {
    fn drop(&mut self) {
        unmount(self.folder.path());
    }
}

fn unmount(path: &Path) {
    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: the string outlives the call. Lazily: a dead server must not hold up the check.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// One band for all priorities, and a fourth for what is sorted out.
const BANDS: &str = "qdisc replace dev lo root handle 1: prio bands 4 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

/// A loopback interface on which packets take a while, or get lost.
#[derive(Debug)]
pub struct SlowLoopback(());

impl SlowLoopback {
    /// Delays packets by `delay`, such as `10ms`.
    pub fn by(delay: &str) -> Result<Self> {
        Self::as_told(&[&format!("qdisc replace dev lo root netem delay {delay} limit 100000")])
    }

    /// Loses this share of what is sent to the NFS server, such as `3%`. What comes back is not lost: for want of an
    /// acknowledgement the server gets things twice, which TCP tells from loss.
    pub fn losing(share: &str) -> Result<Self> {
        Self::as_told(&[
            BANDS,
            &format!("qdisc add dev lo parent 1:4 netem loss {share} limit 100000"),
            "filter add dev lo protocol ip parent 1: prio 1 u32 match ip dport 2049 0xffff flowid 1:4",
        ])
    }

    /// Delays what is sent from one port by `delay`.
    pub fn from_port(port: u16, delay: &str) -> Result<Self> {
        Self::as_told(&[
            BANDS,
            &format!("qdisc add dev lo parent 1:4 netem delay {delay} limit 100000"),
            &format!("filter add dev lo protocol ip parent 1: prio 1 u32 match ip sport {port} 0xffff flowid 1:4"),
        ])
    }

    fn as_told(commands: &[&str]) -> Result<Self> {
        let guard = Self(());
        commands.iter().try_for_each(|words| traffic_control(words))?;
        Ok(guard)
    }
}

impl Drop for SlowLoopback {
    fn drop(&mut self) {
        reset_loopback();
    }
}

/// A loopback interface on which what the NFS server sends takes a while, and nothing else.
#[derive(Debug)]
pub struct SlowReplies(());

impl SlowReplies {
    /// Sorts the server's packets out; they are not delayed yet.
    pub fn new() -> Result<Self> {
        // One band for all priorities, and a third for the server alone.
        let bands = "qdisc replace dev lo root handle 1: prio bands 3 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        traffic_control(bands)?;
        let slow = Self(());
        traffic_control("qdisc add dev lo parent 1:3 handle 30: netem delay 0ms limit 100000")?;
        traffic_control("filter add dev lo parent 1: protocol ip u32 match ip sport 2049 0xffff flowid 1:3")?;
        Ok(slow)
    }

    /// From now on a packet takes this long.
    pub fn by(&self, milliseconds: u64) -> Result<()> {
        traffic_control(&format!("qdisc change dev lo parent 1:3 handle 30: netem delay {milliseconds}ms limit 100000"))
    }
}

impl Drop for SlowReplies {
    fn drop(&mut self) {
        reset_loopback();
    }
}

fn traffic_control(words: &str) -> Result<()> {
    let status = Command::new("tc").args(words.split(' ')).status().context("starting tc")?;
    ensure!(status.success(), "tc {words}: {status}");
    Ok(())
}

fn reset_loopback() {
    // What is left behind shows in the next check.
    drop(traffic_control("qdisc del dev lo root"));
}

/// A network namespace of its own, with a way to this machine.
#[derive(Debug)]
pub struct SlowNetwork {
    name: &'static str,
}

impl SlowNetwork {
    /// Makes it: the machine is at [`Self::MACHINE`], and what is sent to it takes `delay`.
    pub fn by(delay: &str) -> Result<Self> {
        let network = Self { name: "nfslat-test" };
        let name = network.name;
        ip(&format!("netns add {name}"))?;
        // Goes with the namespace.
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"))?;
        ip(&format!("addr add {}/24 dev {name}", Self::MACHINE))?;
        ip(&format!("link set {name} up"))?;
        ip(&format!("-n {name} addr add 10.77.3.2/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("netns exec {name} tc qdisc replace dev eth0 root netem delay {delay} limit 100000"))?;
        Ok(network)
    }

    /// The machine's address on this way.
    pub const MACHINE: &str = "10.77.3.1";

    /// Has a program run there.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name]);
        command
    }
}

impl Drop for SlowNetwork {
    fn drop(&mut self) {
        // The namespace may be in use for a while yet. What is left behind shows in the next check.
        drop(ip(&format!("link del {}", self.name)));
        drop(ip(&format!("netns del {}", self.name)));
    }
}

fn ip(words: &str) -> Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status().context("starting ip")?;
    ensure!(status.success(), "ip {words}: {status}");
    Ok(())
}

/// A control group of its own, in the version 2 hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The group above it, if that was told to hand its memory controller down.
    told: Option<PathBuf>,
}

impl Cgroup {
    /// An empty group; `None` if the machine has none.
    pub fn new() -> Result<Option<Self>> {
        let Some(root) = Self::root()? else {
            return Ok(None);
        };
        let path = root.join(format!("nfslat-test-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Some(Self { path, told: None }))
    }

    /// An empty group that is slowed down when it uses more memory than `bytes`; else why there can be none.
    pub fn with_memory_high(bytes: u64) -> Result<Result<Self, String>> {
        let Some(root) = Self::root()? else {
            return Ok(Err("no cgroup version 2 hierarchy is mounted".to_owned()));
        };
        let has_memory = |file: &str| {
            let path = root.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            anyhow::Ok(text.split_whitespace().any(|controller| controller == "memory"))
        };
        if !has_memory("cgroup.controllers")? {
            let root = root.display();
            return Ok(Err(format!("the cgroup version 2 hierarchy at {root} has no memory controller")));
        }
        let handed_down = has_memory("cgroup.subtree_control")?;
        if !handed_down && let Err(error) = fs::write(root.join("cgroup.subtree_control"), "+memory") {
            return Ok(Err(format!("the memory controller is not handed down at {}: {error}", root.display())));
        }
        let Some(mut group) = Self::new()? else { bail!("the cgroup version 2 hierarchy is gone") };
        group.told = (!handed_down).then_some(root);
        let limit = group.path.join("memory.high");
        fs::write(&limit, bytes.to_string()).with_context(|| format!("writing {}", limit.display()))?;
        Ok(Ok(group))
    }

    fn root() -> Result<Option<PathBuf>> {
        let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
        Ok(mounts.lines().find_map(hierarchy).map(PathBuf::from))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it.
    pub fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).context("moving a process into a control group")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes have ended; an empty group that stays behind does no harm.
        drop(fs::remove_dir(&self.path));
        if let Some(above) = &self.told {
            drop(fs::write(above.join("cgroup.subtree_control"), "-memory"));
        }
    }
}

fn hierarchy(mount: &str) -> Option<&str> {
    let mut fields = mount.split(' ');
    let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
    (kind == "cgroup2").then_some(path)
}

/// A kernel module's parameter, as it was again when dropped.
#[derive(Debug)]
pub struct Parameter {
    path: PathBuf,
    before: String,
}

impl Parameter {
    /// Sets it.
    pub fn set(module: &str, name: &str, value: &str) -> Result<Self> {
        let path = Path::new("/sys/module").join(module).join("parameters").join(name);
        let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, before: before.trim_end().to_owned() })
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        // What is left behind shows in the next check.
        drop(fs::write(&self.path, &self.before));
    }
}

/// A file or folder that stands in the place of another one until this is dropped.
#[derive(Debug)]
pub struct InPlaceOf {
    place: CString,
}

impl InPlaceOf {
    /// Shows `path` where `place` is, which has to be of the same kind.
    pub fn another(place: &str, path: &Path) -> Result<Self> {
        let source = CString::new(path.as_os_str().as_bytes())?;
        let to = CString::new(place)?;
        let none = std::ptr::null();
        // SAFETY: the strings outlive the call.
        if unsafe { libc::mount(source.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()) } != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("hiding {place}"));
        }
        Ok(Self { place: to })
    }
}

impl Drop for InPlaceOf {
    fn drop(&mut self) {
        // SAFETY: the string outlives the call. What is left behind shows in the next check.
        unsafe { libc::umount2(self.place.as_ptr(), libc::MNT_DETACH) };
    }
}
