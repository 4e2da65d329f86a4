//! The NFS client's own statistics, `/proc/self/mountstats`.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context, Result, bail};

/// Nothing has happened on a mount for this long: calls that end by themselves have ended.
const QUIET: Duration = Duration::from_millis(1500);

/// How often to look for it: with leases renewed in between, it may take a few times.
const LOOKS: usize = 20;

/// Totals of one operation since the mount was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Op {
    /// Calls done.
    pub ops: u64,
    /// Transmissions.
    pub transmissions: u64,
    /// Major timeouts.
    pub timeouts: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Time before the last transmission, in whole ms.
    pub queue_ms: i64,
    /// Time from there to the reply, in whole ms.
    pub rtt_ms: i64,
    /// The whole time, in whole ms.
    pub execute_ms: i64,
    /// Calls that ended in an error.
    pub errors: u64,
}

/// The operations of one mount that have been used, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, Op>);

impl Snapshot {
    /// Of the file system mounted at `mount`.
    pub fn of(mount: &str) -> Result<Self> {
        let text = fs::read_to_string("/proc/self/mountstats").context("reading /proc/self/mountstats")?;
        Self::parse(&text, mount).with_context(|| format!("/proc/self/mountstats has no statistics of {mount}"))
    }

    /// Of a mount on which nothing happens any more.
    pub fn settled(mount: &str) -> Result<Self> {
        let mut last = Self::of(mount)?;
        for _ in 0..LOOKS {
            thread::sleep(QUIET);
            let now = Self::of(mount)?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        bail!("{mount} does not come to rest")
    }

    fn parse(text: &str, mount: &str) -> Option<Self> {
        let this = format!(" mounted on {mount} with fstype nfs");
        let mut lines = text.lines().skip_while(|line| !(line.starts_with("device ") && line.contains(&this)));
        lines.next()?;
        let own = lines.take_while(|line| !line.starts_with("device "));
        let ops = own.skip_while(|line| !line.contains("per-op statistics")).skip(1).filter_map(parse_op);
        Some(Self(ops.filter(|(_, op)| op.ops > 0).collect()))
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> BTreeMap<String, Op> {
        let added = self.0.iter().map(|(name, now)| {
            let old = before.0.get(name).copied().unwrap_or_default();
            let added = Op {
                ops: now.ops - old.ops,
                transmissions: now.transmissions - old.transmissions,
                timeouts: now.timeouts - old.timeouts,
                bytes_sent: now.bytes_sent - old.bytes_sent,
                bytes_received: now.bytes_received - old.bytes_received,
                queue_ms: now.queue_ms - old.queue_ms,
                rtt_ms: now.rtt_ms - old.rtt_ms,
                execute_ms: now.execute_ms - old.execute_ms,
                errors: now.errors - old.errors,
            };
            (name.clone(), added)
        });
        added.filter(|(_, op)| op.ops > 0).collect()
    }
}

fn parse_op(line: &str) -> Option<(String, Op)> {
    let (name, values) = line.trim().split_once(':')?;
    let values: Vec<i64> = values.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let count = |index: usize| values.get(index).and_then(|value| u64::try_from(*value).ok());
    let op = Op {
        ops: count(0)?,
        transmissions: count(1)?,
        timeouts: count(2)?,
        bytes_sent: count(3)?,
        bytes_received: count(4)?,
        queue_ms: *values.get(5)?,
        rtt_ms: *values.get(6)?,
        execute_ms: *values.get(7)?,
        errors: count(8)?,
    };
    Some((name.to_owned(), op))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "device proc mounted on /proc with fstype proc
device 127.0.0.1:/ mounted on /mnt/a with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 0 0 2 0 0 13151 13151 0 15147 0 8 1124 1521
\tper-op statistics
\t        NULL: 1 1 0 44 24 1 0 2 0
\t        READ: 0 0 0 0 0 0 0 0 0
\t      LOOKUP: 54 55 1 9736 5920 2 28 36 50

device 127.0.0.1:/ mounted on /mnt/ab with fstype nfs4 statvers=1.1
\tper-op statistics
\t        NULL: 9 9 0 44 24 1 0 2 0
";

    #[test]
    fn a_mount_is_found_by_its_whole_name() {
        let snapshot = Snapshot::parse(TEXT, "/mnt/a").unwrap();
        assert_eq!(snapshot.0.keys().collect::<Vec<_>>(), ["LOOKUP", "NULL"]);
        let lookup = snapshot.0["LOOKUP"];
        assert_eq!((lookup.ops, lookup.transmissions, lookup.timeouts, lookup.errors), (54, 55, 1, 50));
        assert_eq!((lookup.queue_ms, lookup.rtt_ms, lookup.execute_ms), (2, 28, 36));
        assert_eq!(Snapshot::parse(TEXT, "/mnt"), None);
    }

    #[test]
    fn only_what_was_added_is_left() {
        let before = Snapshot::parse(TEXT, "/mnt/a").unwrap();
        let after = Snapshot::parse(&TEXT.replace("LOOKUP: 54", "LOOKUP: 57"), "/mnt/a").unwrap();
        let added = after.since(&before);
        assert_eq!(added.len(), 1);
        assert_eq!((added["LOOKUP"].ops, added["LOOKUP"].bytes_sent), (3, 0));
    }
}
