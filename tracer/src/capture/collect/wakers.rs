//! What a waker's stack tells.

/// The frames of a stack that was walked by the tracer's own program, without the tracer's: they
/// come first, up to the kernel's call of the tracepoint.
pub(super) fn without_tracer(frames: &[String]) -> &[String] {
    const DEEPEST: usize = 8;
    let is_call = |frame: &String| {
        ["bpf_trace_run", "__bpf_trace_", "__traceiter_", "trace_call_bpf"].iter().any(|name| frame.starts_with(name))
    };
    let last = frames.iter().take(DEEPEST).rposition(is_call);
    last.map_or(frames, |last| &frames[last + 1..])
}

/// True if a stack shows that the wake-up came in an interrupt, or in work that one had left over:
/// then it says nothing of the thread on whose time it came. (x86, arm64; 5.10 to 7.x.)
pub(super) fn in_interrupt(frames: &[String]) -> bool {
    const ENTRIES: [&str; 16] = [
        "asm_common_interrupt",
        "common_interrupt",
        "irq_exit_rcu",
        "__irq_exit_rcu",
        "irq_exit",
        "asm_call_irq_on_stack",
        "hrtimer_interrupt",
        "handle_irq_event",
        "handle_softirqs",
        "__do_softirq",
        "run_ksoftirqd",
        "el1_interrupt",
        "el0_interrupt",
        "el1h_64_irq",
        "gic_handle_irq",
        "asm_exc_nmi",
    ];
    let is_entry = |frame: &String| {
        ENTRIES.contains(&frame.as_str()) || frame.starts_with("asm_sysvec_") || frame.starts_with("sysvec_")
    };
    let Some(first) = frames.iter().position(is_entry) else { return false };
    // A packet to this machine itself is received on the time of its sender, who is the waker.
    let receives = frames[..first].iter().any(|frame| frame == "process_backlog");
    let sends = frames[first..].iter().any(|frame| frame == "__dev_queue_xmit");
    let only_softirqs = frames[first..]
        .iter()
        .filter(|frame| is_entry(frame))
        .all(|frame| matches!(frame.as_str(), "handle_softirqs" | "__do_softirq"));
    !(receives && sends && only_softirqs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &str) -> Vec<String> {
        frames.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_tracers_own_frames_are_left_out() {
        let walked =
            stack("bpf_prog_6deef7357e7b4530_sched_waking bpf_trace_run1 __traceiter_sched_waking try_to_wake_up");
        assert_eq!(without_tracer(&walked), stack("try_to_wake_up"));
        let walked = stack("bpf_get_stack_raw_tp bpf_prog_6dee bpf_trace_run1 try_to_wake_up pipe_write");
        assert_eq!(without_tracer(&walked), stack("try_to_wake_up pipe_write"));
        let plain = stack("pipe_read vfs_read");
        assert_eq!(without_tracer(&plain), plain);
    }

    #[test]
    fn an_interrupt_is_told_by_the_way_it_came_in() {
        assert!(in_interrupt(&stack(
            "try_to_wake_up hrtimer_wakeup __hrtimer_run_queues hrtimer_interrupt sysvec_apic_timer_interrupt \
             asm_sysvec_apic_timer_interrupt pv_native_safe_halt default_idle do_idle"
        )));
        assert!(in_interrupt(&stack(
            "try_to_wake_up sock_def_readable net_rx_action handle_softirqs irq_exit_rcu do_idle"
        )));
        assert!(!in_interrupt(&stack("try_to_wake_up autoremove_wake_function pipe_write vfs_write do_syscall_64")));
        assert!(!in_interrupt(&[]));
    }

    #[test]
    fn a_sender_on_this_machine_is_the_waker() {
        let loopback = "try_to_wake_up sock_def_readable tcp_v4_rcv process_backlog net_rx_action handle_softirqs \
                        do_softirq __local_bh_enable_ip __dev_queue_xmit ip_output tcp_sendmsg";
        assert!(!in_interrupt(&stack(loopback)));
        assert!(in_interrupt(&stack(&loopback.replace("do_softirq", "irq_exit_rcu asm_common_interrupt"))));
        assert!(in_interrupt(&stack(&loopback.replace("process_backlog", "virtnet_poll"))));
    }
}
