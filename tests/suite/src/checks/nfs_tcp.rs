//! TCP's own account of NFS transports, against `ss`.

use std::{ops::RangeInclusive, path::Path, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    answer::{Answer, Tcp, Transport},
    check::{Check, Outcome, Stage},
    complaints::Complaints,
    guards::{NfsMount, SlowLoopback},
    machine::Machine,
    nfslat::Trace,
    sockets::{self, Socket},
    workload,
};

/// The numbers are those that `ss` shows of the same connection.
pub(super) const AGREES: Check = Check { name: "nfs::tcp_agrees_with_ss", stage: Stage::WithNfs, run: agrees };

/// A delay of the network shows in TCP's smallest round trip, and without one there is none.
pub(super) const DELAY: Check = Check { name: "nfs::tcp_shows_delay", stage: Stage::WithNfs, run: delay };

/// Lost packets show as segments sent again.
pub(super) const LOSS: Check = Check { name: "nfs::tcp_shows_loss", stage: Stage::WithNfs, run: loss };

/// Each of several connections of a mount is a transport, with its own calls.
pub(super) const CONNECTIONS: Check =
    Check { name: "nfs::tcp_of_every_connection", stage: Stage::WithNfs, run: connections };

/// A transport that loses its connection gets another one, whose counters are not mixed with the old one's.
pub(super) const RECONNECTS: Check =
    Check { name: "nfs::tcp_reconnects_are_seen", stage: Stage::WithNfs, run: reconnects };

/// A new connection's first round trip cannot be shorter than a delay of 20 ms on both ways, but for what rounding does.
const SLOW: &str = "20ms";
const SLOW_AT_LEAST_NS: u64 = 39_000_000;

/// The smallest round trip within a machine, however slow: far less than this.
const FAST_AT_MOST_NS: u64 = 10_000_000;

/// More than a small call takes.
const A_CALL_BYTES: u64 = 250;

/// Connections of one mount.
const SEVERAL: u32 = 4;

/// The only transport of a mount that has a connection.
fn only_transport<'a>(answer: &'a Answer, mount: &NfsMount) -> Result<(&'a Transport, &'a Tcp)> {
    let of_mount = |transport: &&Transport| transport.mounts.iter().any(|point| point == mount.path());
    let transports: Vec<_> = answer.transports.iter().filter(of_mount).collect();
    let [only] = transports[..] else { anyhow::bail!("not one transport of the mount: {:?}", answer.transports) };
    Ok((only, only.tcp.as_ref().with_context(|| format!("no connection: {only:?}"))?))
}

/// A connection before and after a trace (`outer`), and while it surely measured (`inner`).
struct Account {
    inner: [Socket; 2],
    outer: [Socket; 2],
}

impl Account {
    /// What may have been added to a counter.
    fn added(&self, counter: fn(&Socket) -> u64) -> RangeInclusive<u64> {
        let added = |[before, after]: &[Socket; 2]| counter(after) - counter(before);
        added(&self.inner)..=added(&self.outer)
    }

    fn compare(&self, complaints: &mut Complaints, tcp: &Tcp) {
        complaints.unless(tcp.client_ports == [self.outer[1].port], || format!("ports {:?}", tcp.client_ports));
        complaints.unless(tcp.state == "established", || format!("it is {}", tcp.state));
        complaints.unless(tcp.reconnects == 0, || format!("{} connections more", tcp.reconnects));
        let mut exact = |what: &str, seen: Option<u64>, wanted: RangeInclusive<u64>| {
            complaints.unless(seen.is_some_and(|seen| wanted.contains(&seen)), || {
                format!("{what}: {seen:?}, should be {wanted:?}")
            });
        };
        exact("sent again", Some(tcp.retransmitted_segments), self.added(|socket| socket.retransmitted));
        exact("segments sent", tcp.sent_segments, self.added(|socket| socket.sent));
        exact("segments received", tcp.received_segments, self.added(|socket| socket.received));
        exact("bytes acknowledged", tcp.acked_bytes, self.added(|socket| socket.bytes_acked));
        exact("bytes received", tcp.received_bytes, self.added(|socket| socket.bytes_received));
        // It only ever falls within the time of a check.
        let min_rtt_us = tcp.min_rtt_ns.map(|ns| ns / 1_000);
        exact("min rtt (us)", min_rtt_us, self.outer[1].min_rtt_us..=self.inner[1].min_rtt_us);
        // Where nothing came in since, the last value is the same.
        if self.inner[1] == self.outer[1] {
            let last = &self.outer[1];
            let within_rounding = |us: u64| us.saturating_sub(1)..=us + 1;
            exact("srtt (us)", tcp.srtt_ns.map(|ns| ns / 1_000), within_rounding(last.srtt_us));
            exact("rttvar (us)", tcp.rttvar_ns.map(|ns| ns / 1_000), within_rounding(last.rttvar_us));
        }
    }
}

/// Traces work on the only mount.
fn traced(machine: &Machine, work: impl FnOnce() -> Result<()>) -> Result<(Answer, Account)> {
    sockets::settled()?;
    let before = sockets::only_one()?;
    let trace = Trace::start(machine, ["--duration", "280"])?;
    let begun = sockets::only_one()?;
    work()?;
    sockets::settled()?;
    let done = sockets::only_one()?;
    let answer = trace.stop()?;
    let after = sockets::only_one()?;
    Ok((answer, Account { inner: [begun, done], outer: [before, after] }))
}

fn agrees(machine: &Machine) -> Result<Outcome> {
    sockets::wait_for_none()?;
    let mount = NfsMount::of_version("4.2")?;
    let (answer, account) = traced(machine, || {
        workload::run(machine, &["nfs-mixed", "--count", "5", "--dir", mount.path()])?;
        Ok(())
    })?;
    let (transport, tcp) = only_transport(&answer, &mount)?;
    let mut complaints = Complaints::default();
    account.compare(&mut complaints, tcp);
    complaints.unless_equal("port of the server", transport.port.into(), 2049);
    let calls = transport.calls.as_ref().map(|calls| calls.count);
    let counted: u64 = answer.rpc.iter().map(|rpc| rpc.count).sum();
    complaints.unless(calls == Some(counted), || format!("calls {calls:?}, should be {counted}"));
    // Each call is at least a segment each way.
    let enough =
        account.added(|socket| socket.sent).start().min(account.added(|socket| socket.received).start()).to_owned();
    complaints.unless(enough > 100, || format!("only {enough} segments: the workload did too little"));
    complaints.unless((1..=tcp.observed_ns).contains(&tcp.busy_ns.unwrap_or_default()), || format!("busy: {tcp:?}"));
    complaints.settle()
}

fn delay(machine: &Machine) -> Result<Outcome> {
    let mut complaints = Complaints::default();
    let mut measure = |what: &str, wanted: RangeInclusive<u64>| -> Result<()> {
        sockets::wait_for_none()?;
        let mount = NfsMount::of_version("4.2")?;
        let (answer, account) = traced(machine, || {
            workload::run(machine, &["nfs-meta", "--count", "1", "--dir", mount.path()])?;
            Ok(())
        })?;
        let (_, tcp) = only_transport(&answer, &mount)?;
        account.compare(&mut complaints, tcp);
        complaints.unless(tcp.min_rtt_ns.is_some_and(|ns| wanted.contains(&ns)), || {
            format!("{what}: min rtt {:?}, should be {wanted:?}", tcp.min_rtt_ns)
        });
        Ok(())
    };
    measure("as it is", 1..=FAST_AT_MOST_NS)?;
    let slow = SlowLoopback::by(SLOW)?;
    measure("with a delay", SLOW_AT_LEAST_NS..=u64::MAX)?;
    drop(slow);
    complaints.settle()
}

fn loss(machine: &Machine) -> Result<Outcome> {
    sockets::wait_for_none()?;
    let mount = NfsMount::of_version("4.2")?;
    let (answer, account) = traced(machine, || {
        let before = sockets::only_one()?.retransmitted;
        let lossy = SlowLoopback::losing("4%")?;
        // One run of it sends some hundred segments: that none is lost of so many is next to impossible.
        for _ in 0..10 {
            workload::run(machine, &["nfs-meta", "--count", "1", "--dir", mount.path()])?;
            if sockets::only_one()?.retransmitted > before + 2 {
                break;
            }
        }
        drop(lossy);
        Ok(())
    })?;
    let (_, tcp) = only_transport(&answer, &mount)?;
    let mut complaints = Complaints::default();
    account.compare(&mut complaints, tcp);
    let again = account.added(|socket| socket.retransmitted);
    complaints.unless(*again.start() > 0 && again.start() == again.end(), || format!("{again:?} segments sent again"));
    complaints.settle()
}

fn connections(machine: &Machine) -> Result<Outcome> {
    sockets::wait_for_none()?;
    let mount = NfsMount::over_connections("4.1", SEVERAL)?;
    let trace = Trace::start(machine, ["--duration", "280"])?;
    workload::run(machine, &["nfs-mixed", "--count", "5", "--dir", mount.path()])?;
    let ports: Vec<u16> = sockets::settled()?.iter().map(|socket| socket.port).collect();
    let answer = trace.stop()?;
    ensure!(ports.len() == SEVERAL as usize, "the mount has connections from {ports:?}");

    let mut complaints = Complaints::default();
    let mut seen: Vec<u16> = answer
        .transports
        .iter()
        .filter_map(|transport| transport.tcp.as_ref())
        .flat_map(|tcp| tcp.client_ports.clone())
        .collect();
    seen.sort_unstable();
    complaints.unless(seen == ports, || format!("ports {seen:?}, should be {ports:?}"));
    complaints.unless_equal("transports", answer.transports.len() as u64, SEVERAL.into());
    let shown = Path::new("/sys/kernel/sunrpc/xprt-switches").exists();
    for transport in &answer.transports {
        complaints.unless(transport.mounts == [mount.path()], || format!("of other mounts: {transport:?}"));
        complaints.unless(transport.id.is_some() == shown, || format!("its number: {transport:?}"));
        complaints.unless(transport.calls.is_some() == shown, || format!("its calls: {transport:?}"));
        let (Some(calls), Some(tcp)) = (&transport.calls, &transport.tcp) else { continue };
        complaints.unless(calls.count > 0, || format!("no calls: {transport:?}"));
        // What the calls sent is what the connection sent, and nothing else but for a lease renewed across the begin.
        let what = format!("bytes acknowledged to {:?}, which sent {} calls", tcp.client_ports, calls.count);
        complaints.unless_near(what, tcp.acked_bytes.unwrap_or_default(), calls.bytes_sent, 0.0, A_CALL_BYTES);
    }
    if shown {
        let calls: u64 =
            answer.transports.iter().filter_map(|transport| transport.calls.as_ref()).map(|calls| calls.count).sum();
        complaints.unless_equal("calls", calls, answer.rpc.iter().map(|rpc| rpc.count).sum());
    }
    complaints.settle()
}

fn reconnects(machine: &Machine) -> Result<Outcome> {
    sockets::wait_for_none()?;
    let mount = NfsMount::of_version("4.2")?;
    let work = || workload::run(machine, &["nfs-meta", "--count", "1", "--dir", mount.path()]);
    work()?;
    sockets::settled()?;
    let old = sockets::only_one()?;
    let trace = Trace::start(machine, ["--duration", "280"])?;
    if !sockets::cut()? {
        return Ok(Outcome::Skipped("this kernel does not end connections (CONFIG_INET_DIAG_DESTROY)".to_owned()));
    }
    work()?;
    sockets::settled()?;
    let new = sockets::only_one()?;
    // The tool looks once a second.
    thread::sleep(Duration::from_secs(3));
    let answer = trace.stop()?;
    let after = sockets::only_one()?;
    let (_, tcp) = only_transport(&answer, &mount)?;
    let mut complaints = Complaints::default();
    complaints.unless_equal("connections more", tcp.reconnects, 1);
    complaints.unless(tcp.client_ports.last() == Some(&new.port), || format!("ports {:?}", tcp.client_ports));
    // The old connection did nothing in the window, or next to nothing, and all that the new one did counts.
    let acked = tcp.acked_bytes.unwrap_or_default();
    let wanted = new.bytes_acked..=after.bytes_acked + old.bytes_acked / 2;
    complaints.unless(wanted.contains(&acked), || format!("bytes acknowledged: {acked}, should be {wanted:?}"));
    complaints.settle()
}
