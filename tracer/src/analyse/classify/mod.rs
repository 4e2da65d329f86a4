//! Wait classes: what a blocked thread waits for, by its kernel stack.
//!
//! [`table`] is the knowledge, [`pattern`] its notation, [`symbol`] and [`sets`] the names in it.

mod class;
mod locks;
mod pattern;
mod sets;
mod symbol;
mod table;

use std::{collections::HashMap, sync::LazyLock};

use nfslat_common::sched::wait_flags;
use serde::Serialize;

pub use class::{Class, Group};
use pattern::Pattern;
pub(super) use symbol::base_name;
use symbol::{is_scheduler, is_wrapper};

/// No stack is deeper; of a file that claims one only this much is looked at.
const MAX_FRAMES: usize = 128;

/// A class and the frames that are the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Verdict {
    /// What the thread waited for.
    pub class: Class,
    /// The function it slept in, as far as it can be named; empty without a stack.
    pub frame: String,
    /// The function that called it, wrappers left out; empty if there is none.
    pub caller: String,
    /// The function further out that decided between classes; empty if none was needed.
    pub context: String,
    /// How it wanted the lock, for one that has readers and writers.
    pub mode: Option<LockMode>,
    /// True if the kernel told which lock it is: its kind, for an mmap_lock its address. False if
    /// the stack told.
    pub lock_seen: bool,
}

/// How a thread wants a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Beside other readers.
    Read,
    /// Alone.
    Write,
}

impl LockMode {
    /// As a verb.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Verdict {
    fn without_frames(class: Class) -> Self {
        Self {
            class,
            frame: String::new(),
            caller: String::new(),
            context: String::new(),
            mode: None,
            lock_seen: false,
        }
    }
}

/// The class of a wait with this stack (innermost frame first; `None`: the kernel gave none) and
/// these [`wait_flags`].
///
/// A lock that was seen in the kernel (its kind, or that it is an mmap_lock by its address) stands
/// above what the stack says. iowait and memstall stand below it: they tell that the kernel itself
/// accounts the wait as I/O or memory, but not what it waits for.
#[must_use]
pub fn classify(frames: Option<&[String]>, flags: u32) -> Verdict {
    let by_stack = match frames {
        Some(frames) => classify_stack(frames, flags),
        None => Verdict::without_frames(Class::NoStack),
    };
    match locks::class(flags, &by_stack) {
        Some(class) => Verdict {
            class,
            mode: locks::mode(flags).or(by_stack.mode),
            lock_seen: locks::is_certain(class, flags),
            context: String::new(),
            ..by_stack
        },
        None => by_flags(flags, by_stack),
    }
}

fn classify_stack(frames: &[String], flags: u32) -> Verdict {
    let frames: Vec<&str> = frames.iter().take(MAX_FRAMES).map(|frame| base_name(frame)).collect();
    let wait = frames.iter().position(|frame| !is_scheduler(frame)).unwrap_or(frames.len());
    let frames = &frames[wait..];
    let body = frames.iter().position(|frame| !is_wrapper(frame)).unwrap_or(0);
    for start in 0..frames.len() {
        if let Some((class, last)) = RULES.match_at(frames, start, body) {
            return verdict(class, frames, start, last);
        }
    }
    if frames.is_empty() {
        return Verdict::without_frames(Class::NoStack);
    }
    let unknown = verdict(Class::Unknown, frames, body, body);
    if flags & wait_flags::KERNEL_THREAD != 0 && unknown.caller == "kthread" {
        // The thread's own function sleeps, not something it called: it has no work.
        return Verdict { class: Class::KernelIdle, ..unknown };
    }
    unknown
}

fn by_flags(flags: u32, otherwise: Verdict) -> Verdict {
    if !matches!(otherwise.class, Class::Unknown | Class::NoStack) {
        otherwise
    } else if flags & wait_flags::MEMSTALL != 0 {
        Verdict { class: Class::MemStall, ..otherwise }
    } else if flags & wait_flags::IOWAIT != 0 {
        Verdict { class: Class::IoWait, ..otherwise }
    } else {
        otherwise
    }
}

fn verdict(class: Class, frames: &[&str], start: usize, last: usize) -> Verdict {
    let caller = (start + 1..frames.len()).find(|&next| !is_wrapper(frames[next]));
    let context = (last > start && Some(last) != caller && !is_wrapper(frames[last])).then_some(last);
    let name = |index: Option<usize>| index.map_or_else(String::new, |index| frames[index].into());
    Verdict {
        class,
        frame: frames[start].into(),
        caller: name(caller),
        context: name(context),
        mode: locks::mode_of_frame(class, frames[start]),
        lock_seen: false,
    }
}

/// The class table, parsed, with an index by the name a pattern begins with.
struct Rules {
    rules: Vec<(Class, Pattern)>,
    by_name: HashMap<&'static str, Vec<usize>>,
    by_prefix: Vec<(&'static str, usize)>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rules: Vec<_> = table::TABLE.iter().map(|&(class, text)| (class, Pattern::parse(text))).collect();
    let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
    let mut by_prefix = Vec::new();
    for (index, (_, pattern)) in rules.iter().enumerate() {
        let (names, prefixes) = pattern.first_names();
        for &name in names {
            by_name.entry(name).or_default().push(index);
        }
        by_prefix.extend(prefixes.iter().map(|&prefix| (prefix, index)));
    }
    Rules { rules, by_name, by_prefix }
});

impl Rules {
    /// The first row that fits with its first step at `start`, and the index of the frame its last
    /// step matched. Rows that begin with a name stand above rows that begin with a prefix.
    fn match_at(&self, frames: &[&str], start: usize, body: usize) -> Option<(Class, usize)> {
        let named = self.by_name.get(frames[start]).into_iter().flatten().copied();
        let prefixed =
            self.by_prefix.iter().filter(|(prefix, _)| frames[start].starts_with(prefix)).map(|&(_, index)| index);
        named.chain(prefixed).find_map(|index| {
            let (class, pattern) = &self.rules[index];
            Some((*class, pattern.match_at(frames, start, body)?))
        })
    }
}

#[cfg(test)]
mod tests;
