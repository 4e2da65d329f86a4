//! When the NFS client came to see replies, by one of the kernel's own tracepoints.

use std::{collections::HashMap, fs, io, path::PathBuf, process};

use anyhow::{Context, Result, ensure};

/// The kernel's trace of one event, in an instance of its own.
#[derive(Debug)]
pub struct Arrivals {
    instance: PathBuf,
}

/// Where instances are made.
const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// Comes when the client has read whose reply it is that came: `xprt_lookup_rqst` in `net/sunrpc/xprt.c`.
const EVENT: &str = "xprt_lookup_rqst";

/// What the header of a trace says that nothing was overwritten in: two numbers that are the same.
const WRITTEN: &str = "entries-in-buffer/entries-written:";

impl Arrivals {
    /// Starts to record.
    pub fn start() -> Result<Self> {
        let instance = PathBuf::from(INSTANCES).join(format!("nfslat-test-{}", process::id()));
        fs::create_dir(&instance).with_context(|| format!("making {}", instance.display()))?;
        let arrivals = Self { instance };
        arrivals.set("buffer_size_kb", "4096")?;
        arrivals.set("trace_clock", "mono")?;
        arrivals.set(&format!("events/sunrpc/{EVENT}/enable"), "1")?;
        Ok(arrivals)
    }

    /// Ends the recording, and returns when each reply was seen, by transaction id, in nanoseconds of Unix time.
    pub fn stop(self) -> Result<HashMap<u32, u64>> {
        self.set(&format!("events/sunrpc/{EVENT}/enable"), "0")?;
        let path = self.instance.join("trace");
        let mut times = parse(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)?;
        let offset_ns = unix_minus_monotonic_ns()?;
        times.values_mut().for_each(|time| *time += offset_ns);
        Ok(times)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }
}

impl Drop for Arrivals {
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

fn parse(trace: &str) -> Result<HashMap<u32, u64>> {
    let numbers = trace.split_once(WRITTEN).context("the trace has no header")?.1;
    let (kept, written) =
        numbers.split_whitespace().next().and_then(|both| both.split_once('/')).context("no numbers")?;
    ensure!(kept == written, "the trace, the reference, has lost events: {kept} of {written} are left");
    let events = trace.lines().filter(|line| !line.starts_with('#'));
    events.map(|line| event(line).with_context(|| format!("the trace has {line:?}"))).collect()
}

/// A line such as `kworker/u4:1-29  [000] .....  31.054321: xprt_lookup_rqst: peer=[127.0.0.1]:2049 xid=0x6e1f status=0`.
fn event(line: &str) -> Option<(u32, u64)> {
    let (before, after) = line.split_once(&format!(": {EVENT}: "))?;
    let (seconds, micros) = before.split_whitespace().next_back()?.split_once('.')?;
    let xid = after.split_whitespace().find_map(|word| word.strip_prefix("xid=0x"))?;
    let time_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    Some((u32::from_str_radix(xid, 16).ok()?, time_us * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "# tracer: nop
#
# entries-in-buffer/entries-written: 2/2   #P:1
#
    kworker/u2:1-29      [000] .....    31.054321: xprt_lookup_rqst: peer=[127.0.0.1]:2049 xid=0x6e1f0a2b status=0
          <idle>-0       [000] ..s2.    31.154321: xprt_lookup_rqst: peer=[127.0.0.1]:2049 xid=0x6f1f0a2b status=0
";

    #[test]
    fn replies_have_a_time() {
        let wanted = HashMap::from([(0x6e1f_0a2b, 31_054_321_000), (0x6f1f_0a2b, 31_154_321_000)]);
        assert_eq!(parse(TRACE).unwrap(), wanted);
    }

    #[test]
    fn a_trace_with_gaps_or_of_something_else_is_refused() {
        assert!(parse(&TRACE.replace("2/2", "2/3")).is_err());
        assert!(parse(&TRACE.replace("xid=", "id=")).is_err());
        assert!(parse("").is_err());
    }
}
