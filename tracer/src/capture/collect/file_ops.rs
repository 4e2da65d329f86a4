//! Operations on files of NFS mounts: what was counted, and what is open.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use anyhow::Result;
use nfslat_common::{
    buckets,
    file_ops::{FileKey, FileOpBucketKey, FileOpKey, FileOpSums, FileSums, OpenFileOp as Open},
    sched::ThreadKey,
};

use super::{clients::device, is_gone, remove, text};
use crate::{
    capture::{kernel::maps, session::Session},
    model::{FileOp, FileOpSeries, FileOpSlice, FileOpTimes, Histogram, OpenFileOp, Slice, WaitedFile},
};

/// Files kept in a recording.
const FILES: usize = 1_000;

/// What the maps said of them so far.
#[derive(Default)]
pub(super) struct FileOps {
    pub(super) series: Vec<FileOpSeries>,
    /// Index and last sums of each series.
    seen: HashMap<FileOpKey, (u32, FileOpSums)>,
    /// Last count of each bucket.
    buckets: HashMap<FileOpBucketKey, u64>,
}

impl FileOps {
    /// Reads the maps and adds what is new to the slice. Entries of processes that are gone and did nothing more are freed: a
    /// long run would see more processes than the table has room for.
    pub(super) fn read(&mut self, session: &mut Session, slice: &mut Slice) -> Result<()> {
        if !session.measures_files() {
            return Ok(());
        }
        // Buckets before sums: a histogram never has an operation that the count lacks.
        let counts = maps::read_all::<FileOpBucketKey, u64>(maps::data(session.bpf(), "FILE_OP_BUCKETS")?)?;
        let sums = maps::read_all::<FileOpKey, FileOpSums>(maps::data(session.bpf(), "FILE_OPS")?)?;
        for (key, now) in sums {
            let Some(&op) = FileOp::ALL.get(key.op as usize) else { continue };
            let (series, before) = self.seen.entry(key).or_insert_with(|| {
                let (dev_major, dev_minor) = device(key.device);
                self.series.push(FileOpSeries { pid: key.tgid, dev_major, dev_minor, op });
                (self.series.len() as u32 - 1, FileOpSums::default())
            });
            if now.count > before.count {
                slice.file_ops.push(FileOpSlice {
                    series: *series,
                    count: now.count - before.count,
                    waited: now.waited.saturating_sub(before.waited),
                    failed: now.failed.saturating_sub(before.failed),
                    total_ns: now.total_ns.saturating_sub(before.total_ns),
                    blocked_ns: now.blocked_ns.saturating_sub(before.blocked_ns),
                });
                *before = now;
            } else if is_gone(session, key.tgid) {
                remove::<FileOpKey, FileOpSums>(session.bpf_mut(), "FILE_OPS", &key)?;
                *before = FileOpSums::default();
            }
        }
        let mut added: BTreeMap<(u32, FileOp, bool), Histogram> = BTreeMap::new();
        for (key, count) in counts {
            let new = count - self.buckets.insert(key, count).unwrap_or(0);
            if let Some(&op) = FileOp::ALL.get(usize::from(key.op))
                && new > 0
            {
                let histogram = added.entry((key.device, op, key.waited != 0)).or_default();
                histogram.record(buckets::midpoint_ns(key.bucket, 0), new);
            }
        }
        slice.file_op_times = added
            .into_iter()
            .map(|((dev, op, waited), histogram)| {
                let (dev_major, dev_minor) = device(dev);
                FileOpTimes { dev_major, dev_minor, op, waited, histogram }
            })
            .collect();
        slice.file_ops.sort_by_key(|ops| ops.series);
        Ok(())
    }

    /// Those that have not ended, oldest first. To be called when the window has closed.
    pub(super) fn open(session: &Session) -> Result<Vec<OpenFileOp>> {
        if !session.measures_files() {
            return Ok(Vec::new());
        }
        let all = maps::read_all::<ThreadKey, Open>(maps::data(session.bpf(), "OPEN_FILE_OPS")?)?;
        let mut open: Vec<_> = all
            .into_iter()
            .filter_map(|(thread, open)| {
                let (dev_major, dev_minor) = device(open.device);
                Some(OpenFileOp {
                    pid: open.tgid,
                    tid: thread.tid,
                    dev_major,
                    dev_minor,
                    inode: open.inode,
                    op: *FileOp::ALL.get(open.op as usize)?,
                    age_ns: session.end_ns.saturating_sub(open.begin_ns),
                })
            })
            .collect();
        open.sort_by_key(|open| (Reverse(open.age_ns), open.tid));
        Ok(open)
    }

    /// Files that threads were blocked on, most time first.
    pub(super) fn files(session: &Session) -> Result<Vec<WaitedFile>> {
        if !session.measures_files() {
            return Ok(Vec::new());
        }
        let all = maps::read_all::<FileKey, FileSums>(maps::data(session.bpf(), "FILES")?)?;
        let mut files: Vec<_> = all
            .into_iter()
            .map(|(key, sums)| {
                let (dev_major, dev_minor) = device(key.device);
                let name = text(&sums.name);
                WaitedFile {
                    dev_major,
                    dev_minor,
                    inode: key.inode,
                    name,
                    waited: sums.waited,
                    blocked_ns: sums.blocked_ns,
                }
            })
            .collect();
        files.sort_by_key(|file| (Reverse(file.blocked_ns), file.inode));
        files.truncate(FILES);
        Ok(files)
    }
}
