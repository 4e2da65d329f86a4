//! From the kernel's maps to a recording.
//!
//! The maps hold sums since the start of the window. About once a second they are read whole and
//! what was added since the last reading becomes a slice: no event can fall between two slices.

mod call_details;
mod calls;
mod clients;
mod file_ops;
mod locks;
mod processes;
mod spans;
mod threads;
mod user_stacks;
mod wakers;
mod who;

use std::fs::File;

use anyhow::{Result, anyhow};
use aya::{
    Ebpf, Pod,
    maps::{HashMap as BpfHashMap, MapError},
};
use nfslat_common::loss::LossKind;

use super::{
    kernel::{kallsyms, maps},
    pauses::Watch,
    proc::{bypasses, counters::Counters, host, mounts, own_cost, pressure, rpc_tasks, virtualisation},
    session::{Session, clock_ns, monotonic_ns},
    tcp::TcpWatch,
};
use crate::model::{Cost, Loss, Machine, Options, Pressure, ProbeState, ProbeStatus, Recording, Slice, Window};
use calls::Calls;
use file_ops::FileOps;
use threads::Threads;
use who::Who;

/// A run in progress: collects slices until it is finished.
pub struct Run {
    calls: Calls,
    file_ops: FileOps,
    threads: Threads,
    tcp: TcpWatch,
    who: Who,
    slices: Vec<Slice>,
    slice_start_ns: u64,
    start_unix_ns: u64,
    pressure_before: Option<Pressure>,
    counters_before: Counters,
    watch: Watch,
    cpu_before_ns: u64,
    tasks_before: Vec<rpc_tasks::RpcTask>,
}

/// What a run has seen so far, for a progress line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Calls done.
    pub calls: u64,
    /// Threads seen.
    pub threads: usize,
}

impl Run {
    /// Begins to collect; call it right after [`Session::open_window`].
    #[must_use]
    pub fn begin(session: &Session) -> Self {
        let since_start_ns = monotonic_ns().saturating_sub(session.start_ns);
        let mut run = Self {
            calls: Calls::default(),
            file_ops: FileOps::default(),
            threads: Threads::default(),
            tcp: TcpWatch::default(),
            who: Who::new(&session.roots.proc),
            slices: Vec::new(),
            slice_start_ns: 0,
            start_unix_ns: clock_ns(libc::CLOCK_REALTIME).saturating_sub(since_start_ns),
            pressure_before: pressure::read(&session.roots.proc),
            counters_before: Counters::read(&session.roots.proc),
            watch: Watch::begin(&session.roots),
            cpu_before_ns: own_cost::cpu_ns(),
            tasks_before: rpc_tasks::read(&session.roots.sys).unwrap_or_default(),
        };
        if session.roots.has_module("nfs") {
            run.calls.clients.look_elsewhere(&session.roots.proc);
        }
        let now_ns = monotonic_ns().saturating_sub(session.start_ns);
        run.tcp.read(&session.roots, run.calls.clients.elsewhere(), now_ns, None);
        run
    }

    /// Reads the maps and adds a slice that ends now, or at the end of the window.
    ///
    /// # Errors
    /// If the kernel refuses to hand over a map.
    pub fn take_slice(&mut self, session: &mut Session) -> Result<Progress> {
        let until_ns = monotonic_ns().min(session.end_ns).saturating_sub(session.start_ns);
        let mut slice = Slice {
            start_ns: self.slice_start_ns,
            duration_ns: until_ns.saturating_sub(self.slice_start_ns),
            ..Slice::default()
        };
        // First, as connections know no window.
        self.tcp.read(&session.roots, self.calls.clients.elsewhere(), until_ns, Some(&mut slice));
        self.threads.read(session, &mut slice)?;
        self.calls.read(session, &mut slice)?;
        self.file_ops.read(session, &mut slice)?;
        self.who.add(&self.threads, &slice);
        self.slices.push(slice);
        self.watch.note_steal(&session.roots.proc);
        self.slice_start_ns = until_ns;
        Ok(Progress { calls: self.calls.done(), threads: self.threads.count() })
    }

    /// Notes which processes have waited so far, so that their functions can be named even if they end
    /// before the next slice. Much less work than a slice.
    ///
    /// # Errors
    /// If the kernel refuses to hand over a map.
    pub fn look(&mut self, session: &Session) -> Result<()> {
        self.threads.look(session)
    }

    /// Closes the window, takes the last slice and makes the recording.
    ///
    /// # Errors
    /// If the kernel refuses to hand over a map.
    pub fn finish(mut self, session: &mut Session, options: Options, stopped_early: bool) -> Result<Recording> {
        session.close_window()?;
        self.threads.note_occupants(session)?;
        let pressure_after = pressure::read(&session.roots.proc);
        let counters_after = Counters::read(&session.roots.proc);
        let in_flight = Calls::in_flight(session, &self.tasks_before)?;
        let open_file_ops = FileOps::open(session)?;
        let waited_files = FileOps::files(session)?;
        self.take_slice(session)?;
        let (cpus, vm, softirqs) = counters_after.since(&self.counters_before);
        let machine = Machine {
            virtualisation: virtualisation::read(&session.roots),
            cpus,
            vm,
            softirqs,
            pauses: self.watch.finish(session.start_ns, session.end_ns),
        };
        let window = Window {
            start_unix_ns: self.start_unix_ns,
            start_mono_ns: session.start_ns,
            duration_ns: session.end_ns - session.start_ns,
            stopped_early,
        };
        let mut probes = session.probes.clone();
        let locks = locks::read(session, &mut self.threads)?;
        let stacks = self.threads.resolve_stacks(session, &mut probes)?;
        let (tcp, tcp_probe) = self.tcp.finish();
        let nfs = self.calls.clients.describe(&self.calls.series, &tcp.transports);
        probes.extend(tcp_probe);
        probes.extend(bypasses::read(&session.roots));
        let named = self.threads.resolve_user_stacks(&mut probes);
        let mut threads = self.threads.finish(session, window, &stacks);
        self.who.finish(&mut threads.processes);
        let devices = threads.waits.iter().filter_map(|wait| wait.device).collect();
        let mut losses = losses(session)?;
        losses.extend(named.losses);
        Ok(Recording {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host::read(&session.roots.proc),
            window,
            options,
            probes,
            mounts: nfs.mounts,
            clients: nfs.clients,
            transports: nfs.transports,
            rpc_series: self.calls.series,
            file_op_series: self.file_ops.series,
            open_file_ops,
            waited_files,
            tcp: Some(tcp),
            processes: threads.processes,
            threads: threads.threads,
            stacks,
            file_systems: mounts::file_systems(&session.roots.proc, &devices),
            waits: threads.waits,
            user_stacks: named.stacks,
            locks,
            wakes: threads.wakes,
            span_min_ns: Some(session.span_min_ns),
            slices: self.slices,
            in_flight,
            pressure: self
                .pressure_before
                .zip(pressure_after)
                .map(|(before, after)| pressure::difference(before, after)),
            machine: Some(machine),
            losses,
            cost: Cost {
                pid: std::process::id(),
                // Loading the programs is over before the window opens, and not part of it.
                user_cpu_ns: own_cost::cpu_ns().saturating_sub(self.cpu_before_ns),
                rss_bytes: own_cost::peak_rss_bytes(&session.roots.proc),
                map_bytes: session.map_bytes(),
                programs: session.program_costs(),
            },
        })
    }
}

/// The kernel side's loss counters that are not zero, and what the kernel itself left out.
fn losses(session: &Session) -> Result<Vec<Loss>> {
    let counters = maps::read_per_cpu_array::<u64>(session.bpf(), "LOSSES")?;
    let mut losses: Vec<Loss> = LossKind::ALL
        .iter()
        .zip(counters.iter().map(|per_cpu| per_cpu.iter().sum()))
        .filter(|(_, count): &(_, u64)| *count > 0)
        .map(|(kind, count)| Loss { what: kind.name().to_owned(), count, meaning: kind.meaning().to_owned() })
        .collect();
    let left_out = session.left_out()?;
    if !left_out.is_empty() {
        let hooks: Vec<_> = left_out.iter().map(|(hook, count)| format!("{hook} {count}")).collect();
        losses.push(Loss {
            what: "recursion-miss".to_owned(),
            count: left_out.values().sum(),
            meaning: format!(
                "events that the kernel did not hand over, because a task was preempted while it handed over \
                 another one on the same CPU, at most ({}): calls, lock waits or switches that are not counted",
                hooks.join(", ")
            ),
        });
    }
    Ok(losses)
}

/// Names of the functions at the given addresses. Without them no wait can be classified, so a
/// failure becomes a probe that is missing.
fn symbols(session: &Session, addresses: &[u64], probes: &mut Vec<ProbeStatus>) -> Vec<Option<String>> {
    let path = session.roots.proc.join("kallsyms");
    let found = File::open(&path).map_err(Into::into).and_then(|file| kallsyms::resolve(file, addresses));
    let failure = match &found {
        Err(error) => Some(format!("{}: {error:#}", path.display())),
        Ok(names) if !names.is_empty() && names.iter().all(Option::is_none) => {
            Some(format!("{} hides the addresses", path.display()))
        }
        Ok(_) => None,
    };
    if let Some(detail) = failure {
        probes.push(ProbeStatus {
            hook: "kernel symbols".to_owned(),
            measures: "the class of every wait".to_owned(),
            state: ProbeState::Missing,
            detail,
            remedy: "run as root, with kernel.kptr_restrict below 2".to_owned(),
        });
    }
    found.unwrap_or_else(|_| vec![None; addresses.len()])
}

/// Text up to the first 0.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// True if no process has that id.
fn is_gone(session: &Session, pid: u32) -> bool {
    !session.roots.proc.join(pid.to_string()).exists()
}

/// Frees one entry; it may be gone already.
fn remove<K: Pod, V: Pod>(bpf: &mut Ebpf, map: &str, key: &K) -> Result<()> {
    let map = bpf.map_mut(map).ok_or_else(|| anyhow!("the kernel side has no map {map}"))?;
    let mut map: BpfHashMap<_, K, V> = BpfHashMap::try_from(map)?;
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
