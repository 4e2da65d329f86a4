//! Whether a user stack is visibly cut short.
//!
//! It is walked by frame pointers. Code without them, such as most distributions' libc, uses the
//! register for something else, and the walk ends there or leaves out a caller.

use nfslat_common::sched::USER_STACK_DEPTH;

use crate::model::UserFrame;

/// Why the outer frames of a stack are missing; empty if it ends where a thread begins, or nothing
/// tells that it does not. `astray`: what followed was no code, and is not among the frames.
pub(super) fn reason(frames: &[UserFrame], astray: bool) -> String {
    let Some(outermost) = frames.last() else { return "no frames".to_owned() };
    // What is beyond it need not be told.
    if frames.iter().any(|frame| begins_a_thread(&frame.function)) {
        return String::new();
    }
    if frames.len() >= USER_STACK_DEPTH {
        return format!("deeper than {USER_STACK_DEPTH} frames");
    }
    // libc's own functions that call main and a thread's function have no symbol in most files. Where
    // such a thread begins, its frame pointer is not set yet, and may lead anywhere.
    if outermost.function.is_empty() && is_libc(&outermost.module) && frames.len() > 1 {
        return String::new();
    }
    let place = match (outermost.function.as_str(), outermost.module.as_str()) {
        ("", "") => "unknown code",
        ("", module) => module,
        (function, _) => function,
    };
    if astray {
        return format!("what calls {place} could not be told: no frame pointers there");
    }
    if outermost.function.is_empty() {
        return format!("ends in {place}, which has no symbol there");
    }
    format!("ends in {place}, which begins no thread: no frame pointers there")
}

/// True for a function that is the first on a stack: of a C program or thread, of Go's
/// (`runtime/asm_amd64.s`), or the last one before libc's, in C, C++ and Rust.
fn begins_a_thread(function: &str) -> bool {
    const EXACT: [&str; 11] = [
        "_start",
        "main",
        "start_thread",
        "clone",
        "clone3",
        "__clone",
        "__clone3",
        "__libc_start_call_main",
        "execute_native_thread_routine",
        "runtime.mcall",
        "runtime.systemstack",
    ];
    const BEGINNINGS: [&str; 4] = ["__libc_start_main", "runtime.goexit", "runtime.mstart", "runtime.rt0_go"];
    // Go's assembler functions carry their calling convention.
    let name = function.strip_suffix(".abi0").unwrap_or(function);
    EXACT.contains(&name)
        || (name.starts_with("std::sys::") && name.ends_with("::Thread::new::thread_start"))
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn is_libc(module: &str) -> bool {
    let file = module.rsplit('/').next().unwrap_or_default();
    ["libc.so", "libc-", "libpthread", "libc.musl", "ld-musl"].iter().any(|beginning| file.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(&str, &str)]) -> Vec<UserFrame> {
        frames
            .iter()
            .map(|(function, module)| UserFrame {
                function: (*function).to_owned(),
                module: (*module).to_owned(),
                offset: 0x1000,
            })
            .collect()
    }

    #[test]
    fn a_stack_that_ends_where_a_thread_begins_is_whole() {
        for outermost in [
            "main",
            "_start",
            "start_thread",
            "runtime.goexit.abi0",
            "runtime.mstart1",
            "std::sys::thread::unix::Thread::new::thread_start",
        ] {
            assert_eq!(reason(&stack(&[("read", "libc.so.6"), (outermost, "/bin/x")]), false), "", "{outermost}");
        }
        assert_eq!(reason(&stack(&[("work", "/bin/x"), ("", "/lib/libc.so.6")]), true), "");
        assert_eq!(reason(&stack(&[("work", "/bin/x"), ("main", "/bin/x"), ("", "/bin/x")]), true), "");
    }

    #[test]
    fn a_stack_that_ends_elsewhere_is_cut() {
        let cut = reason(&stack(&[("read", "/lib/libc.so.6")]), false);
        assert!(cut.contains("read") && cut.contains("frame pointers"), "{cut}");
        let cut = reason(&stack(&[("", "/lib/libc.so.6")]), false);
        assert!(cut.contains("libc.so.6"), "{cut}");
        let cut = reason(&stack(&[("read", "/lib/libc.so.6"), ("", "/opt/stripped")]), false);
        assert!(cut.contains("/opt/stripped"), "{cut}");
        assert_eq!(reason(&[], false), "no frames");
        let cut = reason(&stack(&[("poll", "/lib/libc.so.6")]), true);
        assert!(cut.contains("poll"), "{cut}");
        // A name that only looks like one.
        assert_ne!(reason(&stack(&[("a", "x"), ("domain", "x")]), false), "");
    }

    #[test]
    fn a_stack_as_deep_as_the_walk_is_cut_there() {
        let frames = stack(&[("recurse", "/bin/x"); USER_STACK_DEPTH]);
        assert_eq!(reason(&frames, false), "deeper than 64 frames");
    }
}
