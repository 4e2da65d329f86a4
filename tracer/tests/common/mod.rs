//! Recordings made by hand, for the tests of analysis, output and file format.
#![allow(dead_code, reason = "each test binary uses its part")]

use nfslat::model::*;
use nfslat_common::sched::wait_flags::{IOWAIT, KERNEL_THREAD, LOCK_READ, LOCK_WRITE, MMAP_LOCK, UNINTERRUPTIBLE};

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000_000_000;

/// Stacks as Debian's 6.12 gives them, walked from outside, innermost frame first.
pub(crate) mod stacks {
    pub(crate) const NFS_RPC: &str = "rpc_wait_bit_killable < __rpc_execute < rpc_execute < rpc_run_task < nfs4_do_call_sync < nfs4_proc_getattr < __nfs_revalidate_inode \
        < nfs_getattr < vfs_statx < __do_sys_newfstatat < do_syscall_64";
    pub(crate) const NFS_PAGE: &str = "folio_wait_bit_common < filemap_update_page \
        < filemap_get_pages < filemap_read < nfs_file_read < vfs_read < ksys_read < do_syscall_64";
    pub(crate) const MUNMAP: &str = "__vm_munmap < __x64_sys_munmap < do_syscall_64";
    pub(crate) const FAULT: &str = "lock_mm_and_find_vma < do_user_addr_fault < exc_page_fault < asm_exc_page_fault";
    pub(crate) const FILE_FAULT: &str = "folio_wait_bit_common < filemap_fault < __do_fault < do_fault \
        < handle_mm_fault < do_user_addr_fault < exc_page_fault < asm_exc_page_fault";
    pub(crate) const EPOLL: &str = "do_epoll_wait < __x64_sys_epoll_wait < do_syscall_64";
    pub(crate) const FUTEX: &str = "futex_wait_queue < __futex_wait < futex_wait < do_futex < __x64_sys_futex";
    pub(crate) const WORKER: &str = "worker_thread < kthread < ret_from_fork";
    pub(crate) const ODD: &str = "some_driver_wait < some_driver_ioctl < vfs_ioctl < do_syscall_64";
}

/// A recording that grows by what happens.
pub(crate) struct Scene {
    pub(crate) recording: Recording,
}

impl Scene {
    /// A machine on which nothing has happened yet, traced for so many seconds.
    pub(crate) fn new(seconds: u64) -> Self {
        let probe = |hook: &str, measures: &str| ProbeStatus {
            hook: hook.into(),
            measures: measures.into(),
            state: ProbeState::Attached,
            detail: String::new(),
            remedy: String::new(),
        };
        let slices = (0..seconds).map(|second| Slice { start_ns: second * S, duration_ns: S, ..Slice::default() });
        Self {
            recording: Recording {
                tool_version: "0.1.0".into(),
                host: Host {
                    hostname: "vm-a".into(),
                    kernel: "6.12.107-cloud-amd64".into(),
                    arch: "x86_64".into(),
                    cpus: 4,
                    memory_bytes: 8 << 30,
                    boot_id: "5cbbd3b5-7d2a-4c0a-8d5d-0b3f5e0a1c2d".into(),
                },
                window: Window {
                    start_unix_ns: 1_795_327_441 * S,
                    start_mono_ns: 4_711 * S,
                    duration_ns: seconds * S,
                    stopped_early: false,
                },
                options: Options { min_wait_ns: 10 * US, ..Options::default() },
                probes: vec![
                    probe("sched:sched_switch", "time and waits of threads"),
                    probe("sunrpc:rpc_stats_latency", "times of NFS calls"),
                ],
                slices: slices.collect(),
                pressure: Some(Pressure {
                    cpu: PressureLine { some_ns: 120 * MS, full_ns: Some(0) },
                    memory: PressureLine { some_ns: 0, full_ns: Some(0) },
                    io: PressureLine { some_ns: 300 * MS, full_ns: Some(250 * MS) },
                }),
                cost: Cost {
                    pid: 99_999,
                    user_cpu_ns: 180 * MS,
                    rss_bytes: 34 << 20,
                    map_bytes: 24 << 20,
                    programs: vec![ProgramCost { name: "sched_switch".into(), runs: Some(123_456), ns: Some(45 * MS) }],
                },
                ..Recording::default()
            },
        }
    }

    /// A process with one thread that lives through the window, on the CPU until told otherwise.
    pub(crate) fn process(&mut self, pid: u32, comm: &str) -> u32 {
        self.recording.processes.push(Process {
            pid,
            comm: comm.into(),
            exe: format!("/usr/bin/{comm}"),
            cgroup: "/system.slice".into(),
            kernel: false,
            identity: None,
        });
        self.thread(pid, pid, comm)
    }

    /// A kernel thread.
    pub(crate) fn kernel_thread(&mut self, pid: u32, comm: &str) -> u32 {
        let thread = self.process(pid, comm);
        let process = self.recording.processes.last_mut().unwrap();
        process.kernel = true;
        process.exe.clear();
        thread
    }

    /// One more thread of a process.
    pub(crate) fn thread(&mut self, pid: u32, tid: u32, comm: &str) -> u32 {
        let process = self.recording.processes.iter().position(|process| process.pid == pid).unwrap();
        let duration_ns = self.recording.window.duration_ns;
        self.recording.threads.push(Thread {
            tid,
            process: process as u32,
            comm: comm.into(),
            first_ns: 0,
            last_ns: duration_ns,
            times: ThreadTimes { on_cpu_ns: duration_ns, run_count: 1, ..ThreadTimes::default() },
        });
        self.recording.threads.len() as u32 - 1
    }

    fn stack(&mut self, text: &str) -> u32 {
        let frames: Vec<String> = text.split('<').map(|frame| frame.trim().into()).collect();
        let known = self.recording.stacks.iter().position(|stack| stack.frames == frames);
        known.unwrap_or_else(|| {
            self.recording.stacks.push(Stack { frames, truncated: false });
            self.recording.stacks.len() - 1
        }) as u32
    }

    /// Waits of a thread, as (length, how many), spread over the slices.
    pub(crate) fn waits(&mut self, thread: u32, stack: &str, flags: u32, waits: &[(u64, u64)]) {
        let stack = Some(self.stack(stack));
        let process = self.recording.threads[thread as usize].process;
        let kernel = self.recording.processes[process as usize].kernel;
        let flags = if kernel { flags | KERNEL_THREAD } else { flags };
        let max_ns = waits.iter().map(|(ns, _)| *ns).max().unwrap();
        self.recording.waits.push(WaitSeries { thread, stack, user_stack: None, flags, device: None, max_ns });
        let wait = self.recording.waits.len() as u32 - 1;
        for (index, &(ns, count)) in waits.iter().enumerate() {
            let slices = self.recording.slices.len();
            let slice = &mut self.recording.slices[index % slices];
            slice.waits.push(WaitSlice { wait, count, total_ns: ns * count });
            let mut histogram = Histogram::default();
            histogram.record(ns, count);
            slice.wait_histograms.push(WaitHistogramSlice { process, stack, flags, histogram });
            let times = &mut self.recording.threads[thread as usize].times;
            times.on_cpu_ns -= ns * count;
            times.blocked_ns += ns * count;
            times.wait_count += count;
        }
    }

    /// When all waits of a process with that stack and those flags were, which [`Self::waits`] has added: stretches
    /// from the start of the window on.
    pub(crate) fn spans(&mut self, thread: u32, stack: &str, flags: u32, stretches: &[Span]) {
        let stack = Some(self.stack(stack));
        let process = self.recording.threads[thread as usize].process;
        let series = |wait: &WaitSlice| {
            let series = &self.recording.waits[wait.wait as usize];
            let of = self.recording.threads[series.thread as usize].process;
            (of, series.stack, series.flags) == (process, stack, flags)
        };
        let waits = self.recording.slices.iter().flat_map(|slice| &slice.waits).filter(|wait| series(wait));
        let (count, total_ns) = waits.fold((0, 0), |(count, ns), wait| (count + wait.count, ns + wait.total_ns));
        let mut spans = SpanSlice { process, stack, flags, count, total_ns, ..SpanSlice::default() };
        let mut last_end_ns = 0;
        for &stretch in stretches {
            spans.push(last_end_ns, stretch);
            last_end_ns = stretch.1;
        }
        self.recording.slices.last_mut().unwrap().spans.push(spans);
        self.recording.span_min_ns = Some(100 * US);
    }

    /// Waits of a thread for the mmap_lock of its process, held by `holder`, who waited with that stack for
    /// so long of them.
    pub(crate) fn lock_waits(&mut self, thread: u32, waits: (u64, u64), holder: Holder, holder_waits: (&str, u64)) {
        let flags = LOCK_READ | MMAP_LOCK;
        self.waits(thread, stacks::FAULT, flags, &[waits]);
        let process = self.recording.threads[thread as usize].process;
        let (stack, holder_stack) = (self.stack(stacks::FAULT), self.stack(holder_waits.0));
        let pid = self.recording.processes[process as usize].pid;
        self.recording.locks.push(LockSeries {
            process,
            stack: Some(stack),
            flags,
            mm_pid: Some(pid),
            holder,
            holder_stack: Some(holder_stack),
            holder_flags: 0,
            count: waits.1,
            total_ns: waits.0 * waits.1,
            max_ns: waits.0,
            holder_on_cpu_ns: waits.0 * waits.1 - holder_waits.1,
            holder_runnable_ns: 0,
            holder_blocked_ns: holder_waits.1,
        });
    }

    /// A file system on a device, and waits of a thread for a page of a file mapped from there.
    pub(crate) fn fault_waits(&mut self, thread: u32, device: (u32, u32), kind: &str, waits: (u64, u64)) {
        let mount_point = format!("/on/{kind}");
        self.recording.file_systems.push(FileSystem { device, kind: kind.into(), mount_point });
        self.waits(thread, stacks::FILE_FAULT, 0, &[waits]);
        self.recording.waits.last_mut().unwrap().device = Some(device);
    }

    /// Time in waits too short for a stack.
    pub(crate) fn short(&mut self, thread: u32, count: u64, ns: u64) {
        let times = &mut self.recording.threads[thread as usize].times;
        times.on_cpu_ns -= ns;
        times.blocked_ns += ns;
        times.short_ns += ns;
        times.short_count += count;
        times.wait_count += count;
    }

    /// Time ready to run.
    pub(crate) fn runnable(&mut self, thread: u32, ns: u64) {
        let times = &mut self.recording.threads[thread as usize].times;
        times.on_cpu_ns -= ns;
        times.runnable_ns += ns;
    }

    /// An NFS mount with its own client over one transport each; returns the client's id.
    pub(crate) fn mount(&mut self, point: &str, xprts: &[u32]) -> u32 {
        let index = self.recording.mounts.len() as u32;
        self.recording.mounts.push(Mount {
            mount_point: point.into(),
            source: "nas.example:/export".into(),
            server: "192.0.2.1".into(),
            version: "4.2".into(),
            options: "rw,vers=4.2,hard,proto=tcp,addr=192.0.2.1".into(),
            dev_major: 0,
            dev_minor: 50 + index,
            namespace_pid: None,
            net_namespace: None,
        });
        let id = 10 + index;
        self.recording.clients.push(RpcClient {
            id,
            parent_id: 1,
            mounts: vec![index],
            shared: false,
            found_by: "superblock".into(),
        });
        for &xprt in xprts {
            self.recording.transports.push(Transport { id: Some(xprt), address: "tcp 192.0.2.1".into() });
        }
        id
    }

    /// Calls of one operation, each as (backlog, rtt, tail), in the first slice. Returns the slice
    /// part, to change it.
    pub(crate) fn calls(&mut self, client: u32, xprt: u32, op: &str, calls: &[(u64, u64, u64)]) -> &mut RpcSlice {
        let parts = |call: &(u64, u64, u64)| [call.0, call.1, call.2, call.0 + call.1 + call.2];
        let extreme =
            |index: usize, pick: fn(u64, u64) -> u64| calls.iter().map(|call| parts(call)[index]).reduce(pick).unwrap();
        self.recording.rpc_series.push(RpcSeries {
            resent: false,
            client_id: client,
            xprt_id: Some(xprt),
            program: 100_003,
            version: 4,
            op_index: 1,
            op: op.into(),
            min_ns: std::array::from_fn(|index| extreme(index, u64::min)),
            max_ns: std::array::from_fn(|index| extreme(index, u64::max)),
        });
        let part = |index: usize| {
            let mut part = RpcPart::default();
            for call in calls {
                part.histogram.record(parts(call)[index], 1);
                part.sum_ns += parts(call)[index] as i64;
            }
            part
        };
        let slice = &mut self.recording.slices[0];
        slice.rpc.push(RpcSlice {
            series: self.recording.rpc_series.len() as u32 - 1,
            count: calls.len() as u64,
            transmissions: calls.len() as u64,
            bytes_sent: 160 * calls.len() as u64,
            bytes_received: 4_200 * calls.len() as u64,
            backlog: part(0),
            rtt: part(1),
            tail: part(2),
            execute: part(3),
            ..RpcSlice::default()
        });
        slice.rpc.last_mut().unwrap()
    }
}

impl Scene {
    /// The same, of calls that were transmitted twice.
    pub(crate) fn resent(&mut self, client: u32, xprt: u32, op: &str, calls: &[(u64, u64, u64)]) -> &mut RpcSlice {
        let count = calls.len() as u64;
        self.calls(client, xprt, op, calls);
        self.recording.rpc_series.last_mut().unwrap().resent = true;
        let part = self.recording.slices[0].rpc.last_mut().unwrap();
        (part.retransmitted, part.transmissions) = (count, 2 * count);
        part
    }

    /// What calls of the series made last spent in a step.
    pub(crate) fn step(&mut self, step: RpcStep, values: &[u64]) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value, 1));
        let series = self.recording.rpc_series.len() as u32 - 1;
        let (count, total_ns) = (values.len() as u64, values.iter().sum());
        self.recording.slices[0].rpc_steps.push(RpcStepSlice { series, step, count, total_ns, histogram });
    }

    /// An error of a call of the series made last.
    pub(crate) fn error(&mut self, status: i32) {
        let series = self.recording.rpc_series.len() as u32 - 1;
        self.recording.slices[0].rpc_errors.push(RpcErrorSlice { series, status, count: 1 });
    }
}

/// A program that waits for NFS on one of two mounts, beside one that sleeps and a kernel thread.
pub(crate) fn nfs_is_slow() -> Recording {
    let mut scene = Scene::new(10);
    let fio = scene.process(812, "fio");
    scene.waits(fio, stacks::NFS_PAGE, IOWAIT | UNINTERRUPTIBLE, &[(41 * MS, 90), (43 * MS, 9), (112 * MS, 1)]);
    scene.waits(fio, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(20 * MS, 30), (25 * MS, 2)]);
    scene.waits(fio, stacks::ODD, 0, &[(3 * MS, 2)]);
    scene.short(fio, 900, 4 * MS);
    scene.runnable(fio, 30 * MS);
    scene.spans(fio, stacks::NFS_PAGE, IOWAIT | UNINTERRUPTIBLE, &[(0, 4 * S), (4_500 * MS, 4_689 * MS)]);
    scene.spans(fio, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(5 * S, 5_650 * MS)]);
    let nginx = scene.process(99, "nginx");
    scene.waits(nginx, stacks::EPOLL, 0, &[(990 * MS, 10)]);
    let worker = scene.kernel_thread(33, "kworker/0:1");
    scene.waits(worker, stacks::WORKER, 0, &[(2 * S, 4), (1990 * MS, 1)]);
    let a = scene.mount("/mnt/a", &[3, 4]);
    let b = scene.mount("/mnt/b", &[5]);
    let reads: Vec<_> = (0..60).map(|n| (12 * US, 40 * MS + n * 50 * US, 80 * US)).collect();
    scene.calls(a, 3, "READ", &reads);
    let reads: Vec<_> = (0..40).map(|n| (14 * US, 41 * MS + n * 60 * US, 90 * US)).collect();
    scene.calls(a, 4, "READ", &reads);
    let part = scene.resent(a, 4, "READ", &[(61 * MS, 41 * MS, 85 * US), (62 * MS, 41 * MS, 90 * US)]);
    part.timeouts = 1;
    let part = scene.calls(a, 3, "GETATTR", &[(9 * US, 20 * MS, 15 * US); 32]);
    part.errors = 1;
    scene.error(-2);
    scene.calls(b, 5, "WRITE", &[(2 * MS, 900 * US, 15 * US); 5]);
    scene.step(RpcStep::SessionSlot, &[1_900 * US; 5]);
    scene.step(RpcStep::Receive, &[5 * US; 5]);
    scene.step(RpcStep::Wake, &[10 * US; 5]);
    scene.recording
}

/// A server that stopped answering.
pub(crate) fn server_hangs() -> Recording {
    let mut scene = Scene::new(10);
    let cp = scene.process(4711, "cp");
    scene.waits(cp, stacks::NFS_RPC, UNINTERRUPTIBLE, &[(9 * S, 1)]);
    let client = scene.mount("/mnt/a", &[3]);
    scene.calls(client, 3, "LOOKUP", &[(5 * US, 700 * US, 9 * US); 4]);
    let call = |op: &str, age_ns, open_at_start, waiting_in: &str| InFlight {
        client_id: client,
        program: 100_003,
        version: 4,
        op: op.into(),
        age_ns,
        open_at_start,
        pid: if open_at_start { 0 } else { 4711 },
        comm: if open_at_start { "" } else { "cp" }.into(),
        waiting_in: waiting_in.into(),
        step: None,
    };
    scene.recording.in_flight = vec![
        call("WRITE", 9 * S, false, "xprt_pending"),
        call("SEQUENCE", 10 * S, true, ""),
        call("LOOKUP", 3 * MS, false, ""),
    ];
    scene.recording
}

/// Threads of one process that fight for its mmap_lock; no NFS module loaded.
pub(crate) fn mmap_storm() -> Recording {
    let mut scene = Scene::new(5);
    let first = scene.process(77, "storagenode");
    let threads: Vec<_> = [first].into_iter().chain((78..82).map(|tid| scene.thread(77, tid, "storagenode"))).collect();
    for thread in threads {
        let by_address = UNINTERRUPTIBLE | MMAP_LOCK;
        scene.waits(thread, stacks::MUNMAP, by_address | LOCK_WRITE, &[(4 * MS, 300), (90 * MS, 2)]);
        scene.waits(thread, stacks::FAULT, by_address | LOCK_READ, &[(2 * MS, 500)]);
        scene.waits(thread, stacks::FUTEX, 0, &[(MS, 700)]);
        scene.runnable(thread, 40 * MS);
    }
    // The readers wait while a writer does, and a while longer.
    let by_address = UNINTERRUPTIBLE | MMAP_LOCK;
    scene.spans(first, stacks::MUNMAP, by_address | LOCK_WRITE, &[(100 * MS, 1_900 * MS), (2 * S, 2_700 * MS)]);
    scene.spans(first, stacks::FAULT, by_address | LOCK_READ, &[(200 * MS, 1_950 * MS), (2_100 * MS, 2_600 * MS)]);
    let probe = &mut scene.recording.probes[1];
    probe.state = ProbeState::NotApplicable;
    probe.detail = "the sunrpc module is not loaded: nothing mounts NFS here".into();
    scene.recording.pressure = None;
    scene.recording
}

/// A machine with nothing to do.
pub(crate) fn nothing_happens() -> Recording {
    let mut scene = Scene::new(3);
    let nginx = scene.process(99, "nginx");
    scene.waits(nginx, stacks::EPOLL, 0, &[(990 * MS, 3)]);
    scene.mount("/mnt/a", &[3]);
    scene.recording
}

/// The same, with losses.
pub(crate) fn much_is_lost() -> Recording {
    let mut recording = nothing_happens();
    recording.losses = vec![
        Loss {
            what: "thread-table-full".into(),
            count: 12,
            meaning: "scheduler events of threads that found no room: their time is missing".into(),
        },
        Loss { what: "stack-table-full".into(), count: 0, meaning: "never mind".into() },
    ];
    recording.probes[1].state = ProbeState::AttachedLate;
    recording.probes[1].detail = "the sunrpc module was loaded 1.2 s after the start".into();
    recording
}

/// Names that attack the terminal.
pub(crate) fn names_attack() -> Recording {
    let mut scene = Scene::new(2);
    let evil = scene.process(666, "\x1b[2J\u{202e}lived\n");
    scene.waits(evil, stacks::NFS_PAGE, IOWAIT, &[(500 * MS, 3)]);
    let client = scene.mount("/mnt/\x1b]0;owned\x07", &[1]);
    scene.calls(client, 1, "READ\x1b[31m", &[(5, 500 * MS, 7); 3]);
    scene.recording.host.hostname = "vm\r-a".into();
    scene.recording
}
