//! The notation, and stacks that are hard to come by: made by hand from kernel sources.
//! Stacks recorded on real kernels are in tests/classes.rs.

use nfslat_common::sched::wait_flags::{
    IOWAIT, KERNEL_THREAD, LOCK_MUTEX, LOCK_OTHER, LOCK_READ, LOCK_WRITE, MEMSTALL, MMAP_LOCK,
};

use super::*;

fn verdict_of(stack: &str, flags: u32) -> Verdict {
    let frames: Vec<String> = stack.split(" < ").map(Into::into).collect();
    classify(Some(&frames), flags)
}

fn class_of(stack: &str) -> Class {
    verdict_of(stack, 0).class
}

#[test]
fn every_pattern_parses_and_every_class_but_the_computed_ones_has_one() {
    let without: Vec<_> =
        Class::ALL.iter().filter(|class| RULES.rules.iter().all(|(ruled, _)| ruled != *class)).collect();
    assert_eq!(
        without,
        [&Class::IoWait, &Class::MemStall, &Class::Short, &Class::NoStack, &Class::Unattributed, &Class::Unknown]
    );
}

#[test]
fn the_notation() {
    let matches = |pattern, stack: &str| {
        let frames: Vec<&str> = stack.split(' ').collect();
        Pattern::parse(pattern).match_at(&frames, 0, 0)
    };
    assert_eq!(matches("a", "a b"), Some(0));
    assert_eq!(matches("b", "a b"), None);
    assert_eq!(matches("a < b", "a b c"), Some(1));
    assert_eq!(matches("a < c", "a b c"), None);
    assert_eq!(matches("a < c", "a down_write c"), Some(2));
    assert_eq!(matches("a .. c", "a b c"), Some(2));
    assert_eq!(matches("a .. b < d", "a b c b d"), Some(4));
    assert_eq!(matches("a .. x|nfs_*", "a b nfs_read"), Some(2));
    assert_eq!(matches("@rwsem < @mm", "rwsem_down_read_slowpath do_madvise"), Some(1));
    let frames = ["wait_for_completion", "kernel_clone"];
    assert_eq!(Pattern::parse("^ kernel_clone").match_at(&frames, 1, 1), Some(1));
    assert_eq!(Pattern::parse("^ kernel_clone").match_at(&frames, 1, 0), None);
}

#[test]
fn the_evidence_names_frame_caller_and_context() {
    let verdict = verdict_of(
        "__schedule < schedule < schedule_preempt_disabled < rwsem_down_write_slowpath < down_write_killable \
         < __vm_munmap < __x64_sys_munmap",
        0,
    );
    assert_eq!(verdict.class, Class::MmapLock);
    assert_eq!((verdict.frame.as_str(), verdict.caller.as_str()), ("rwsem_down_write_slowpath", "__vm_munmap"));
    assert_eq!((verdict.context.as_str(), verdict.mode), ("", Some(LockMode::Write)));
    let verdict =
        verdict_of("io_schedule < folio_wait_bit_common < filemap_get_pages < filemap_read < nfs_file_read", 0);
    assert_eq!((verdict.class, verdict.context.as_str()), (Class::NfsPage, "nfs_file_read"));
}

#[test]
fn suffixes_of_compilers_do_not_matter() {
    assert_eq!(class_of("schedule < __mutex_lock.constprop.0 < do_epoll_ctl"), Class::Mutex);
    assert_eq!(class_of("schedule < sigsuspend.isra.0 < __x64_sys_rt_sigsuspend"), Class::Signal);
}

#[test]
fn linux_5_10_has_neither_down_read_nor_schedule_preempt_disabled() {
    assert_eq!(class_of("__schedule < schedule < rwsem_down_read_slowpath < do_madvise.part.0"), Class::MmapLock);
    assert_eq!(class_of("__schedule < schedule < rwsem_down_read_slowpath < do_user_addr_fault"), Class::MmapLock);
    assert_eq!(class_of("schedule < rwsem_down_write_slowpath < down_write_killable < __do_sys_brk"), Class::MmapLock);
    assert_eq!(class_of("schedule < futex_wait_queue_me < futex_wait < do_futex"), Class::FutexWait);
    assert_eq!(
        class_of("schedule < io_schedule < wait_on_page_bit_common < nfs_readpage < filemap_fault"),
        Class::NfsPage
    );
}

#[test]
fn other_semaphores_are_no_memory_lock() {
    for stack in [
        "schedule < rwsem_down_write_slowpath < down_write < ext4_buffered_write_iter < vfs_write",
        "schedule < rwsem_down_write_slowpath < down_write < nfs_start_io_write < nfs_file_write",
        "schedule < rwsem_down_write_slowpath < down_write < unlink_file_vma < free_pgtables < exit_mmap < mmput < do_exit",
        "schedule < rwsem_down_write_slowpath < down_write < dup_mmap < copy_process",
        "schedule < rwsem_down_read_slowpath < down_read < iterate_dir < do_user_addr_fault",
        "ext4_buffered_write_iter < vfs_write",
        "unlink_file_vma < free_pgtables < exit_mmap",
    ] {
        assert_eq!(class_of(stack), Class::RwSemaphore, "{stack}");
    }
    assert_eq!(class_of("schedule < rwsem_down_write_slowpath < down_write_killable < dup_mmap"), Class::MmapLock);
}

#[test]
fn memory_locks_of_other_processes_and_per_vma_locks() {
    for stack in [
        "schedule < rwsem_down_read_slowpath < down_read_killable < m_start < seq_read_iter",
        "schedule < rwsem_down_read_slowpath < down_read_killable < mmap_read_lock_killable < __access_remote_vm < get_mm_cmdline",
        "__access_remote_vm < access_remote_vm < proc_pid_cmdline_read",
    ] {
        assert_eq!(class_of(stack), Class::MmapLock, "{stack}");
    }
    for stack in [
        "schedule < rwsem_down_write_slowpath < down_write < __split_vma < do_vmi_align_munmap",
        "schedule < __vma_start_exclude_readers < __vma_start_write < vma_expand",
        "__vma_enter_locked < __vma_start_write < vma_modify",
        "vma_expand < vma_merge_new_range < __mmap_region",
    ] {
        assert_eq!(class_of(stack), Class::VmaLock, "{stack}");
    }
}

#[test]
fn what_surrounds_a_page_wait_decides() {
    let wait = "schedule < io_schedule < folio_wait_bit_common";
    for (around, class) in [
        ("filemap_get_pages < filemap_read < nfs_file_read", Class::NfsPage),
        ("filemap_get_pages < filemap_read < ext4_file_read_iter", Class::PageRead),
        // The NFS server waits for its own disk.
        ("filemap_get_pages < filemap_splice_read < nfsd_splice_read < nfsd4_encode_read", Class::PageRead),
        ("filemap_fault < __do_fault < do_read_fault < handle_mm_fault", Class::FileFault),
        ("do_swap_page < handle_mm_fault < do_user_addr_fault", Class::SwapIn),
        (
            "folio_wait_writeback < shrink_folio_list < shrink_inactive_list < try_to_free_pages < do_swap_page",
            Class::Reclaim,
        ),
        ("folio_wait_writeback < __filemap_fdatawait_range < ext4_sync_file", Class::Writeback),
        (
            "folio_wait_writeback < nfs_wb_folio < nfs_release_folio < shrink_folio_list < try_to_free_pages",
            Class::NfsPage,
        ),
        ("migration_entry_wait_on_locked < migration_entry_wait < do_swap_page", Class::Compaction),
        ("fuse_readahead < read_pages < filemap_get_pages", Class::Fuse),
        ("filemap_get_pages < filemap_read < cifs_strict_readv", Class::Smb),
    ] {
        assert_eq!(class_of(&format!("{wait} < {around}")), class, "{around}");
    }
}

#[test]
fn the_innermost_cause_counts() {
    // A page fault under an NFS read that waits for the mmap_lock, and a poll that waits for a mutex.
    assert_eq!(
        class_of(
            "schedule < rwsem_down_read_slowpath < down_read_killable < lock_mm_and_find_vma < do_user_addr_fault < copy_page_to_iter < filemap_read < nfs_file_read"
        ),
        Class::MmapLock
    );
    assert_eq!(class_of("schedule < __mutex_lock < driver_poll < do_sys_poll"), Class::Mutex);
    // The server asked to wait: no call is open.
    assert_eq!(class_of("schedule < schedule_timeout < nfs4_handle_exception < nfs4_do_open"), Class::NfsDelay);
    assert_eq!(
        class_of("schedule < rpc_wait_bit_killable < nfs4_run_open_task < nfs4_handle_exception"),
        Class::NfsRpc
    );
}

#[test]
fn classes_without_a_recorded_stack() {
    for (stack, class) in [
        ("schedule < nfs4_wait_clnt_recover < nfs4_client_recover_expired_lease", Class::NfsRecovery),
        ("schedule_timeout < nfs4_retry_setlk < nfs4_proc_lock", Class::FileLock),
        ("schedule < nfs_wait_on_request < nfs_wb_page", Class::NfsPage),
        ("schedule < p9_client_rpc < p9_client_read", Class::NineP),
        ("schedule < wait_for_response < compound_send_recv < cifs_send_recv < SMB2_open", Class::Smb),
        ("schedule_timeout < ceph_mdsc_wait_request < ceph_mdsc_do_request < ceph_open", Class::Ceph),
        ("schedule < request_wait_answer < fuse_simple_request < fuse_do_getattr", Class::Fuse),
        ("schedule < fuse_dev_do_read < fuse_dev_read", Class::EventRead),
        ("schedule < cv_wait_common < __cv_wait_io < zio_wait < dmu_buf_hold_array_by_dnode", Class::Zfs),
        ("schedule < cv_wait_common < __cv_timedwait_idle < zthr_procedure", Class::KernelIdle),
        ("schedule < cv_wait_common < __cv_wait < txg_wait_open < dmu_tx_wait < zfs_write", Class::Zfs),
        ("schedule < xlog_wait_on_iclog < xfs_log_force_seq < xfs_file_fsync", Class::Journal),
        ("schedule < wait_current_trans < start_transaction < btrfs_create", Class::Journal),
        ("io_schedule_timeout < balance_dirty_pages < balance_dirty_pages_ratelimited_flags", Class::DirtyThrottle),
        ("io_schedule < rq_qos_wait < wbt_wait < __rq_qos_throttle < blk_mq_submit_bio", Class::Block),
        ("io_schedule < blk_mq_get_tag < __blk_mq_alloc_requests", Class::Block),
        ("schedule_timeout < reclaim_throttle < shrink_node < do_try_to_free_pages", Class::Reclaim),
        ("schedule < mem_cgroup_handle_over_high < exit_to_user_mode_loop", Class::MemcgThrottle),
        ("schedule < handle_userfault < do_anonymous_page < handle_mm_fault", Class::UserFault),
        ("schedule < percpu_rwsem_wait < __percpu_down_read < cgroup_can_fork", Class::RwSemaphore),
        ("schedule < locks_lock_inode_wait < __do_sys_flock", Class::FileLock),
        ("schedule < rt_mutex_slowlock_block < rt_mutex_wait_proxy_lock < futex_lock_pi", Class::FutexWait),
        ("schedule < __do_semtimedop < do_semtimedop", Class::SysvIpc),
        (
            "schedule_timeout < __skb_wait_for_more_packets < __skb_recv_datagram < unix_dgram_recvmsg",
            Class::UnixSocket,
        ),
        ("schedule_timeout < __skb_wait_for_more_packets < __skb_recv_udp < udp_recvmsg", Class::NetReceive),
        ("schedule_timeout < wait_woken < sk_stream_wait_memory < tcp_sendmsg_locked", Class::NetSend),
        ("schedule < __do_sys_pause < do_syscall_64", Class::Signal),
        ("schedule < wait_woken < n_tty_read < tty_read", Class::Terminal),
        ("schedule < eventfd_read < vfs_read", Class::EventRead),
        ("schedule < io_cqring_wait < __do_sys_io_uring_enter", Class::IoUring),
        ("schedule < read_events < do_io_getevents", Class::Aio),
        ("schedule < ptrace_stop < ptrace_notify", Class::Stopped),
        ("schedule < kvm_vcpu_block < kvm_vcpu_halt < vcpu_run", Class::GuestIdle),
    ] {
        assert_eq!(class_of(stack), class, "{stack}");
    }
}

#[test]
fn a_kernel_thread_is_idle_only_in_its_own_function() {
    let own = "schedule < some_driver_thread < kthread < ret_from_fork";
    assert_eq!(verdict_of(own, KERNEL_THREAD).class, Class::KernelIdle);
    assert_eq!(verdict_of(own, 0).class, Class::Unknown);
    let deeper = "schedule < some_wait < some_driver_thread < kthread < ret_from_fork";
    assert_eq!(verdict_of(deeper, KERNEL_THREAD).class, Class::Unknown);
    let work = "schedule < some_wait < some_work < process_one_work < worker_thread < kthread";
    assert_eq!(verdict_of(work, KERNEL_THREAD).class, Class::Unknown);
    assert_eq!(verdict_of("schedule < worker_thread < kthread", 0).class, Class::KernelIdle);
}

#[test]
fn flags_tell_where_the_stack_does_not() {
    let odd = "schedule < some_wait < some_ioctl";
    assert_eq!(verdict_of(odd, IOWAIT).class, Class::IoWait);
    assert_eq!(verdict_of(odd, MEMSTALL | IOWAIT).class, Class::MemStall);
    assert_eq!(verdict_of(odd, 0).frame, "some_wait");
    assert_eq!(classify(None, IOWAIT).class, Class::IoWait);
    assert_eq!(classify(None, 0).class, Class::NoStack);
    assert_eq!(classify(Some(&[]), 0).class, Class::NoStack);
    assert_eq!(class_of("__schedule < schedule"), Class::NoStack);
    // The stack knows better.
    assert_eq!(verdict_of("schedule < io_cqring_wait < io_uring_enter", IOWAIT).class, Class::IoUring);
}

#[test]
fn a_lock_that_was_seen_stands_above_the_stack() {
    let seen = |stack, flags| {
        let verdict = verdict_of(stack, flags);
        (verdict.class, verdict.mode)
    };
    let odd = "odd_driver_write < vfs_write";
    assert_eq!(seen(odd, LOCK_WRITE | MMAP_LOCK), (Class::MmapLock, Some(LockMode::Write)));
    assert_eq!(seen(odd, LOCK_READ), (Class::RwSemaphore, Some(LockMode::Read)));
    assert_eq!(seen(odd, LOCK_MUTEX), (Class::Mutex, None));
    assert_eq!(seen(odd, LOCK_OTHER), (Class::RwSemaphore, None));
    // Another rwsem, asked for by a function that otherwise takes the mmap_lock; and the mmap_lock
    // of another process.
    assert_eq!(seen("__vm_munmap < __x64_sys_munmap", LOCK_WRITE).0, Class::RwSemaphore);
    assert_eq!(seen("m_start < seq_read_iter", LOCK_READ).0, Class::MmapLock);
    assert_eq!(seen("__split_vma < do_vmi_align_munmap", LOCK_WRITE).0, Class::VmaLock);
    assert_eq!(seen("futex_lock_pi < do_futex", LOCK_OTHER).0, Class::FutexWait);
    // mutex_lock_io(): the holder does I/O.
    assert_eq!(
        verdict_of("__jbd2_log_wait_for_space < add_transaction_credits", LOCK_MUTEX | IOWAIT).class,
        Class::Journal
    );
    assert_eq!(classify(None, LOCK_WRITE | MMAP_LOCK).class, Class::MmapLock);
    assert!(verdict_of(odd, LOCK_WRITE | MMAP_LOCK).lock_seen && verdict_of(odd, LOCK_MUTEX).lock_seen);
    assert!(!verdict_of("m_start < seq_read_iter", LOCK_READ).lock_seen);
}

#[test]
fn absurd_stacks_do_no_harm() {
    let frames = vec!["folio_wait_bit_common".to_owned(); 100_000];
    assert_eq!(classify(Some(&frames), 0).class, Class::PageRead);
    assert_eq!(class_of(" < .. < "), Class::Unknown);
}
