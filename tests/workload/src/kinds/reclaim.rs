//! A thread that writes to more memory than its control group allows: it waits for reclaim, or is slowed down.

use crate::{
    kinds::Kind,
    run::Worker,
    sys::{Mapping, PAGE},
    truth::Cause,
};

/// Pages of one round: as many as the kernel takes from the group's allowance at once (`MEMCG_CHARGE_BATCH`).
const PAGES: usize = 64;

pub(super) const KIND: Kind = Kind {
    name: "reclaim",
    about: "writes to --file-kib of memory, over and over: waits in a control group that allows less",
    workers: |settings| {
        let length = settings.file_bytes.max(PAGES * PAGE);
        let mut memory = Mapping::anonymous(length)?;
        // Each page is one of its own, on machines with huge pages too.
        memory.advise(libc::MADV_NOHUGEPAGE)?;
        Ok(vec![Worker::new("reclaim", Cause::Memory, move |meter| {
            let mut rounds = (0..length).step_by(PAGES * PAGE).cycle();
            while meter.another_round() {
                let start = rounds.next().unwrap_or_default();
                let end = length.min(start + PAGES * PAGE);
                meter.wait(|| memory.touch_part(start..end));
            }
            Ok(())
        })])
    },
};
