//! Frames of a stack, from the process inwards to what was waited for.

use std::borrow::Cow;

use crate::{
    analyse::classify::Verdict,
    model::{Process, Stack, Thread, UserFrame, UserStack},
};

/// Most frames shown of one stack in the kernel, and in user space. No tracer walks deeper; a file
/// may claim anything.
const MAX_FRAMES: usize = 256;

/// One level of a stack. Names come from outside and hold anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame<'r> {
    /// What it is.
    pub kind: FrameKind,
    /// Its name.
    pub name: Cow<'r, str>,
    /// File that holds a user function's code; empty if not known, and for all other frames.
    pub module: &'r str,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// A process, by name and id.
    Process,
    /// A thread of it, by name and id.
    Thread,
    /// A function in user space.
    User,
    /// A function in the kernel.
    Kernel,
    /// What is known of waits or frames that are not there, in brackets.
    Note,
    /// What was waited for.
    Class,
    /// Between a wait and the stack of who ended it.
    Boundary,
    /// A function in the kernel on the way to the wake-up.
    WakerKernel,
    /// Who ended the wait.
    Waker,
}

impl FrameKind {
    /// What the name of every [`FrameKind::Class`] begins with.
    pub const CLASS_PREFIX: &'static str = "waits: ";
}

impl<'r> Frame<'r> {
    /// A frame of this kind and name.
    pub(super) fn new(kind: FrameKind, name: impl Into<Cow<'r, str>>) -> Self {
        Self { kind, name: name.into(), module: "" }
    }

    pub(super) fn process(process: &Process) -> Self {
        Self::new(FrameKind::Process, named(&process.comm, process.pid))
    }

    pub(super) fn thread(thread: &Thread) -> Self {
        Self::new(FrameKind::Thread, named(&thread.comm, thread.tid))
    }

    /// What was waited for, as `waits: mmap-lock (write)`.
    pub(super) fn class(verdict: &Verdict) -> Self {
        let mode = verdict.mode.map(|mode| format!(" ({})", mode.name())).unwrap_or_default();
        Self::new(FrameKind::Class, format!("{}{}{mode}", FrameKind::CLASS_PREFIX, verdict.class.name()))
    }

    fn user(frame: &'r UserFrame) -> Self {
        let file = frame.module.rsplit('/').next().unwrap_or_default();
        let name = if !frame.function.is_empty() {
            Cow::Borrowed(frame.function.as_str())
        } else if file.is_empty() {
            Cow::Owned(format!("{:#x}", frame.offset))
        } else {
            Cow::Owned(format!("{file}+{:#x}", frame.offset))
        };
        Self { kind: FrameKind::User, name, module: &frame.module }
    }
}

pub(super) fn named(comm: &str, id: u32) -> String {
    if comm.is_empty() { format!("[no name] ({id})") } else { format!("{comm} ({id})") }
}

/// Adds a user stack, outermost frame first.
pub(super) fn push_user<'r>(frames: &mut Vec<Frame<'r>>, stack: &'r UserStack) {
    if !stack.cut.is_empty() {
        frames.push(Frame::new(FrameKind::Note, format!("[cut: {}]", stack.cut)));
    } else if stack.frames.len() > MAX_FRAMES {
        frames.push(too_deep());
    }
    frames.extend(stack.frames.iter().take(MAX_FRAMES).rev().map(Frame::user));
}

/// Adds a kernel stack, outermost frame first.
pub(super) fn push_kernel<'r>(frames: &mut Vec<Frame<'r>>, stack: &'r Stack) {
    if stack.truncated || stack.frames.len() > MAX_FRAMES {
        frames.push(too_deep());
    }
    frames.extend(stack.frames.iter().take(MAX_FRAMES).rev().map(|name| kernel(FrameKind::Kernel, name)));
}

/// Adds the stack of who ended a wait, the other way round: the wake-up meets the wait. If it came in
/// an interrupt, what was interrupted has nothing to do with it and is left out.
pub(super) fn push_waker<'r>(frames: &mut Vec<Frame<'r>>, stack: &'r Stack, interrupt: bool) {
    let entry = stack.frames.iter().position(|name| interrupt && is_interrupt_entry(name));
    let whole = entry.map_or(stack.frames.len(), |entry| entry + 1);
    frames.extend(stack.frames[..whole.min(MAX_FRAMES)].iter().map(|name| kernel(FrameKind::WakerKernel, name)));
    if (stack.truncated && entry.is_none()) || whole > MAX_FRAMES {
        frames.push(too_deep());
    }
}

/// True for the function in which an interrupt enters the kernel: `asm_common_interrupt` and
/// `asm_sysvec_...` on x86 from 5.8 on (arch/x86/include/asm/idtentry.h), `el1h_64_irq` and its like
/// on arm64 (arch/arm64/kernel/entry.S; before 5.14 `el1_irq`).
fn is_interrupt_entry(name: &str) -> bool {
    name.starts_with("asm_sysvec_")
        || matches!(name, "asm_common_interrupt" | "el1h_64_irq" | "el0t_64_irq" | "el1_irq" | "el0_irq")
}

fn too_deep<'r>() -> Frame<'r> {
    Frame::new(FrameKind::Note, "[cut: too deep]")
}

fn kernel(kind: FrameKind, name: &str) -> Frame<'_> {
    Frame::new(kind, if name.is_empty() { "[no name]" } else { name })
}
