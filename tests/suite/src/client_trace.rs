//! When the NFS client began to send calls and saw their replies, by the kernel's own tracepoints.

use std::{collections::HashMap, fs, io, path::PathBuf, process};

use anyhow::{Context, Result, ensure};

/// The kernel's trace of the events of RPC transports, in an instance of its own.
#[derive(Debug)]
pub struct ClientTrace {
    instance: PathBuf,
}

/// A call as the client sees it, in nanoseconds of Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// It is about to be handed to the socket.
    pub begin_unix_ns: u64,
    /// The client has read whose reply it is that came.
    pub end_unix_ns: u64,
}

/// Where instances are made.
const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// Before a call is sent, after it was sent, and when its reply is seen (`xprt_request_transmit` and `xprt_lookup_rqst`
/// in `net/sunrpc/xprt.c`). The first knows the task, the last the transaction, and the second both.
const EVENTS: [&str; 3] = ["rpc_xdr_sendto", "xprt_transmit", "xprt_lookup_rqst"];

/// What the header of a trace says that nothing was overwritten in: two numbers that are the same.
const WRITTEN: &str = "entries-in-buffer/entries-written:";

impl ClientTrace {
    /// Starts to record.
    pub fn start() -> Result<Self> {
        let instance = PathBuf::from(INSTANCES).join(format!("nfslat-test-{}", process::id()));
        fs::create_dir(&instance).with_context(|| format!("making {}", instance.display()))?;
        let trace = Self { instance };
        trace.set("buffer_size_kb", "4096")?;
        trace.set("trace_clock", "mono")?;
        trace.switch("1")?;
        Ok(trace)
    }

    /// Ends the recording, and returns the calls that were answered, by transaction id.
    pub fn stop(self) -> Result<HashMap<u32, Span>> {
        self.switch("0")?;
        let path = self.instance.join("trace");
        let mut spans = parse(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)?;
        let offset_ns = unix_minus_monotonic_ns()?;
        for span in spans.values_mut() {
            span.begin_unix_ns += offset_ns;
            span.end_unix_ns += offset_ns;
        }
        Ok(spans)
    }

    fn switch(&self, value: &str) -> Result<()> {
        EVENTS.iter().try_for_each(|event| self.set(&format!("events/sunrpc/{event}/enable"), value))
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }
}

impl Drop for ClientTrace {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.instance));
    }
}

/// What the clocks differ by, with the least time between looking at them: in between, this thread may lose its CPU.
fn unix_minus_monotonic_ns() -> Result<u64> {
    let mut least = (u64::MAX, 0);
    for _ in 0..10 {
        let before = clock_ns(libc::CLOCK_MONOTONIC)?;
        let unix = clock_ns(libc::CLOCK_REALTIME)?;
        let between = clock_ns(libc::CLOCK_MONOTONIC)? - before;
        least = least.min((between, unix - before - between / 2));
    }
    Ok(least.1)
}

fn clock_ns(clock: libc::clockid_t) -> Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in the one value, which is valid.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error()).context("reading a clock");
    }
    Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?)
}

/// The calls in a trace, with times as it has them.
fn parse(trace: &str) -> Result<HashMap<u32, Span>> {
    let numbers = trace.split_once(WRITTEN).context("the trace has no header")?.1;
    let (kept, written) =
        numbers.split_whitespace().next().and_then(|both| both.split_once('/')).context("no numbers")?;
    ensure!(kept == written, "the trace, the reference, has lost events: {kept} of {written} are left");
    let (mut sending, mut begins, mut ends) = (HashMap::new(), HashMap::new(), HashMap::new());
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        let (time_ns, name, values) = event(line).with_context(|| format!("the trace has {line:?}"))?;
        let value = |name: &str| values.split_whitespace().find_map(|word| word.strip_prefix(name));
        let xid = || value("xid=0x").and_then(|xid| u32::from_str_radix(xid, 16).ok()).context("no transaction id");
        let task = || value("task:").with_context(|| format!("the trace has no task in {line:?}"));
        match name {
            "rpc_xdr_sendto" => {
                sending.insert(task()?, time_ns);
            }
            "xprt_transmit" => {
                // One that began before the trace has none.
                if let Some(begin) = sending.get(task()?) {
                    begins.insert(xid()?, *begin);
                }
            }
            _ => {
                ends.insert(xid()?, time_ns);
            }
        }
    }
    let span = |(xid, end_unix_ns)| Some((xid, Span { begin_unix_ns: *begins.get(&xid)?, end_unix_ns }));
    Ok(ends.into_iter().filter_map(span).collect())
}

/// A line such as `kworker/u4:1-29  [000] .....  31.054321: xprt_lookup_rqst: peer=[127.0.0.1]:2049 xid=0x6e1f`: its
/// time in nanoseconds, the event's name and its values.
fn event(line: &str) -> Option<(u64, &str, &str)> {
    let (before, name, values) = EVENTS.iter().find_map(|name| {
        let (before, values) = line.split_once(&format!(": {name}: "))?;
        Some((before, *name, values))
    })?;
    let (seconds, micros) = before.split_whitespace().next_back()?.split_once('.')?;
    Some(((seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?) * 1_000, name, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "# tracer: nop
#
# entries-in-buffer/entries-written: 5/5   #P:1
#
          nfslat-12      [000] .....    31.000001: rpc_xdr_sendto: task:00000007@00000001 head=[0xff,80] page=0 tail=[0x0,0] len=80
          nfslat-13      [000] .....    31.000002: rpc_xdr_sendto: task:00000008@00000001 head=[0xff,80] page=0 tail=[0x0,0] len=80
          nfslat-12      [000] .....    31.000003: xprt_transmit: task:00000007@00000001 xid=0x6e1f0a2b seqno=0 status=0
    kworker/u2:1-29      [000] .....    31.054321: xprt_lookup_rqst: peer=[127.0.0.1]:2049 xid=0x6e1f0a2b status=0
          nfslat-13      [000] .....    31.060000: xprt_transmit: task:00000008@00000001 xid=0x6f1f0a2b seqno=0 status=0
";

    #[test]
    fn answered_calls_have_a_begin_and_an_end() {
        let span = Span { begin_unix_ns: 31_000_001_000, end_unix_ns: 31_054_321_000 };
        assert_eq!(parse(TRACE).unwrap(), HashMap::from([(0x6e1f_0a2b, span)]));
    }

    #[test]
    fn a_trace_with_gaps_or_of_something_else_is_refused() {
        assert!(parse(&TRACE.replace("5/5", "5/6")).is_err());
        assert!(parse(&TRACE.replace("xid=", "id=")).is_err());
        assert!(parse(&TRACE.replace("task:", "task ")).is_err());
        assert!(parse("").is_err());
    }
}
