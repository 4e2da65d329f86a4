//! User stacks: read from the kernel's table when first referred to, freed with their process,
//! named at the end.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use aya::maps::{HashMap as BpfHashMap, MapData};
use nfslat_common::sched::{UserStack as WalkedStack, WaitKey, user_stack, wait_flags};

use super::remove;
use crate::{
    capture::{
        kernel::maps,
        session::{self, Session},
        symbols::{RawStack, Resolved, Symbols},
    },
    model::{Loss, ProbeState, ProbeStatus, UserStack},
};

/// The user stacks of a run.
#[derive(Default)]
pub(super) struct UserStacks {
    symbols: Option<Symbols>,
    stacks: Vec<RawStack>,
    index: HashMap<u64, u32>,
    coverage: Coverage,
}

/// How many waits of user threads, short ones apart, have a user stack.
#[derive(Default)]
struct Coverage {
    taken: u64,
    /// Not walked, as waits at the same place were mostly short.
    not_walked: u64,
}

/// User stacks with their names, each once.
pub(super) struct NamedStacks {
    pub(super) stacks: Vec<UserStack>,
    /// From the index that [`UserStacks::index`] gave to that in `stacks`.
    pub(super) renumbered: Vec<u32>,
    pub(super) losses: Vec<Loss>,
}

impl UserStacks {
    /// Index of the user stack of a wait; `None` if it has none.
    pub(super) fn index(&mut self, session: &Session, key: &WaitKey) -> Option<u32> {
        let hash = key.user_stack;
        if matches!(hash, user_stack::NONE | user_stack::NOT_WALKED | user_stack::LOST) {
            return None;
        }
        if let Some(&index) = self.index.get(&hash) {
            return Some(index);
        }
        let walked = look_up(session, hash)?;
        let end = walked.frames.iter().position(|&frame| frame == 0).unwrap_or(walked.frames.len());
        let stack =
            RawStack { pid: walked.tgid, address_space: walked.address_space, frames: walked.frames[..end].to_vec() };
        self.symbols.get_or_insert_with(|| Symbols::begin(&session.roots.proc)).note(&stack);
        self.stacks.push(stack);
        let index = (self.stacks.len() - 1) as u32;
        self.index.insert(hash, index);
        Some(index)
    }

    /// Counts waits for the account of how many have a user stack.
    pub(super) fn count(&mut self, key: &WaitKey, waits: u64) {
        if key.flags & wait_flags::KERNEL_THREAD != 0 {
            return;
        }
        match key.user_stack {
            user_stack::NOT_WALKED => self.coverage.not_walked += waits,
            user_stack::NONE | user_stack::LOST => {}
            _ => self.coverage.taken += waits,
        }
    }

    /// Frees the stacks of processes that are gone, also those that no wait refers to.
    pub(super) fn free(session: &mut Session, gone: &HashSet<u32>) -> Result<()> {
        let kept = maps::read_all::<u64, WalkedStack>(maps::data(session.bpf(), "USER_STACKS")?)?;
        for (hash, _) in kept.iter().filter(|(_, stack)| gone.contains(&stack.tgid)) {
            remove::<u64, WalkedStack>(session.bpf_mut(), "USER_STACKS", hash)?;
        }
        Ok(())
    }

    /// Gives names to the addresses, and tells in the probes what a reader should know.
    pub(super) fn finish(self, probes: &mut [ProbeStatus]) -> NamedStacks {
        let Resolved { stacks: all, notes, losses } =
            self.symbols.map(|symbols| symbols.resolve(self.stacks)).unwrap_or_default();
        let Coverage { taken, not_walked } = self.coverage;
        let told = (not_walked > 0).then(|| {
            format!(
                "{not_walked} of {} waits have no user stack, because waits at the same place were mostly short",
                taken + not_walked
            )
        });
        let probe = probes.iter_mut().find(|probe| probe.hook == session::USER_STACKS);
        if let Some(probe) = probe.filter(|probe| probe.state == ProbeState::Attached) {
            let known = Some(std::mem::take(&mut probe.detail)).filter(|detail| !detail.is_empty());
            probe.detail = known.into_iter().chain(told).chain(notes).collect::<Vec<_>>().join("; ");
        }
        // Processes made by a fork, and runs of the same program, have stacks in common.
        let mut stacks = Vec::new();
        let mut number: HashMap<UserStack, u32> = HashMap::new();
        let renumbered = all
            .into_iter()
            .map(|stack| {
                *number.entry(stack).or_insert_with_key(|stack| {
                    stacks.push(stack.clone());
                    (stacks.len() - 1) as u32
                })
            })
            .collect();
        NamedStacks { stacks, renumbered, losses }
    }
}

fn look_up(session: &Session, hash: u64) -> Option<WalkedStack> {
    let map: BpfHashMap<&MapData, u64, WalkedStack> = BpfHashMap::try_from(session.bpf().map("USER_STACKS")?).ok()?;
    map.get(&hash, 0).ok()
}
