//! The class table: which frames are evidence for which class.
//!
//! How it is read: frames are tried from the innermost outwards, since the innermost function
//! that waits for something nameable is what the thread waits for, and everything around it is
//! why. At each frame the rows that begin with that function are tried in the order below, and the
//! first that fits decides; so rows that look at the surroundings stand above those that do not.
//! The notation is explained in [`super::pattern`].
//!
//! Stacks walked from outside (`bpf_get_task_stack`, `/proc/PID/stack`) lack the functions of the
//! kernel's `.sched.text`: the scheduler, but also mutexes, rwsems, completions and bit waits. So a
//! lock shows only by the function that asked for it, and `^` rows name functions whose own sleep
//! can be nothing else. Stacks taken by the sleeper itself have the lock's frames; rows for them
//! stand first.
//!
//! Sources: kernel sources 5.10, 6.1, 6.12, 6.18 and 7.x; stacks seen on them are in the tests.

use super::class::Class::{self, *};

/// The rows.
pub(super) const TABLE: &[(Class, &str)] = &[
    // ---- Memory locks. By its stack alone a lock is the mmap_lock if the function that asked
    // for it takes that one and no other rwsem in the same way.
    (VmaLock, "__vma_start_exclude_readers|__vma_enter_locked|__vma_start_write|vma_start_write_killable"),
    (VmaLock, "rwsem_down_write_slowpath < down_write < @vma"),
    (MmapLock, "rwsem_down_write_slowpath < down_write_killable < dup_mmap|dup_mm|copy_mm|copy_process"),
    (MmapLock, "@rwsem < @mm|@other-mm"),
    (VmaLock, "^ @vma"),
    (MmapLock, "^ @mm|@other-mm|dup_mmap|dup_mm"),
    // ---- NFS client
    (NfsDelay, "^ nfs4_handle_exception|nfs4_delay|nfs4_delay_killable|nfs4_delay_interruptible"),
    (NfsDelay, "^ nfs3_rpc_wrapper"),
    (NfsRecovery, "nfs4_wait_clnt_recover|nfs4_client_recover_expired_lease|nfs_wait_client_init_complete"),
    (FileLock, "^ nfs4_retry_setlk|nfs4_retry_setlk_simple|nlmclnt_block|nlmclnt_wait|nlmclnt_lock"),
    (FileLock, "^ nlmclnt_proc"),
    (NfsRpc, "rpc_wait_bit_killable"),
    (
        NfsOther,
        "__lock_sock|lock_sock_nested|sk_stream_wait_memory .. xprt_transmit|xs_tcp_send_request|xs_udp_send_request|xs_stream_data_receive_workfn",
    ),
    (NfsServer, "__lock_sock|lock_sock_nested|sk_stream_wait_memory .. svc_*"),
    (NfsDirect, "^ nfs_direct_wait|nfs_file_direct_read|nfs_file_direct_write"),
    (NfsPage, "@page .. nfs_*|nfs4_*"),
    (NfsCommit, "wait_on_commit|__nfs_commit_inode"),
    (NfsPage, "nfs_wait_on_request|nfs_lock_and_join_requests|nfs_page_group_lock|nfs_page_group_lock_head"),
    (NfsPage, "nfs_writepages|nfs_wb_all|nfs_wb_folio|nfs_wb_page"),
    (KernelIdle, "^ nfs4_run_state_manager|nfs4_callback_svc|nfs41_callback_svc"),
    // ---- Other network filesystems
    (Smb, "@page .. cifs_*|smb2_*|smb3_*"),
    (Smb, "wait_for_response .. cifs_*|smb2_*|SMB2_*|compound_send_recv|SendReceive|SendReceive2"),
    (Smb, "wait_for_free_credits|compound_send_recv|cifs_send_recv|SendReceive"),
    (Ceph, "@page .. ceph_*"),
    (NineP, "p9_client_rpc|p9_client_zc_rpc|p9_virtio_request|p9_virtio_zc_request"),
    (NineP, "@page .. v9fs_*"),
    (EventRead, "fuse_dev_do_read"),
    (Fuse, "request_wait_answer|__fuse_request_send|__fuse_simple_request|fuse_simple_request|fuse_get_req"),
    (Fuse, "fuse_wait_on_page_writeback|fuse_wait_on_folio_writeback|fuse_sync_writes|fuse_set_nowrite"),
    (Fuse, "@page .. fuse_*"),
    (NetFs, "ptlrpc_set_wait|cl_sync_io_wait|ldlm_completion_ast|gfs2_glock_wait|__ocfs2_cluster_lock"),
    (NetFs, "@page .. afs_*|ll_*|vvp_*|gfs2_*|ocfs2_*"),
    // ---- Memory. A page, buffer or journal wait inside reclaim is a wait for memory.
    (Compaction, "@page|@block .. @compaction"),
    (Reclaim, "@page|@block .. @reclaim"),
    (Reclaim, "@reclaim"),
    (Compaction, "@compaction"),
    (MemcgThrottle, "mem_cgroup_handle_over_high|__mem_cgroup_handle_over_high|mem_cgroup_oom_synchronize"),
    (UserFault, "handle_userfault"),
    // ---- Swap, dirty pages, writeback
    (SwapIn, "@page|@block .. @swap"),
    (SwapIn, "do_swap_page"),
    (DirtyThrottle, "balance_dirty_pages"),
    (
        Writeback,
        "folio_wait_bit_common|folio_wait_bit|wait_on_page_bit|wait_on_page_bit_common .. folio_wait_writeback|wait_on_page_writeback|folio_wait_writeback_killable",
    ),
    (Writeback, "folio_wait_writeback|wait_on_page_writeback"),
    (Writeback, "wb_wait_for_completion|sync_inodes_sb|wait_sb_inodes|inode_wait_for_writeback"),
    (Writeback, "__inode_wait_for_writeback|inode_sleep_on_writeback"),
    (Writeback, "btrfs_start_ordered_extent|btrfs_start_ordered_extent_nowriteback|btrfs_wait_ordered_extents"),
    (Writeback, "wait_reserve_ticket|handle_reserve_ticket"),
    // ---- Journals
    (Journal, "@mutex < mutex_lock_io .. __jbd2_log_wait_for_space|jbd2_journal_flush|jbd2_log_do_checkpoint"),
    (Journal, "jbd2_log_wait_commit|jbd2_complete_transaction|wait_transaction_locked"),
    (Journal, "wait_transaction_switching|add_transaction_credits|start_this_handle|do_get_write_access"),
    (Journal, "jbd2_journal_wait_updates|jbd2_journal_lock_updates|__jbd2_log_wait_for_space"),
    (Journal, "jbd2_fc_begin_commit|jbd2_fc_wait_bufs|ext4_fc_commit"),
    (Journal, "@page|@block .. jbd2_journal_commit_transaction|jbd2_log_do_checkpoint"),
    (Journal, "jbd2_journal_commit_transaction"),
    (Journal, "xlog_wait_on_iclog|xlog_grant_head_wait|xlog_grant_head_check|xlog_state_get_iclog_space"),
    (Journal, "xlog_cil_force_seq|xlog_cil_order_write|xfs_log_force|xfs_log_force_seq|xlog_force_lsn"),
    (Journal, "xfs_ail_push_all_sync"),
    (Journal, "wait_current_trans|wait_for_commit|btrfs_commit_transaction|btrfs_sync_log|wait_log_commit"),
    (Journal, "btrfs_wait_for_commit"),
    (Journal, "f2fs_issue_flush|f2fs_issue_checkpoint"),
    // ---- ZFS. cv_wait's idle flavour is the taskqs' and threads' own wait for work.
    (KernelIdle, "__cv_wait_idle|__cv_timedwait_idle|txg_thread_wait|zthr_procedure"),
    (Zfs, "__cv_wait_io|__cv_wait_io_sig|__cv_timedwait_io|txg_wait_synced|txg_wait_synced_impl"),
    (Zfs, "txg_wait_synced_flags|txg_wait_open|dmu_tx_wait|dmu_tx_delay|zil_commit|zil_commit_impl|zio_wait"),
    (Zfs, "arc_wait_for_eviction|zfs_rangelock_enter_impl|zfs_range_lock|spl_kmem_cache_alloc"),
    // ---- Pages and block devices
    (FileFault, "@page .. @fault"),
    (PageRead, "@page"),
    (Block, "@block"),
    // ---- Other kernel locks; their caller is part of the answer
    (
        FutexWait,
        "rt_mutex_wait_proxy_lock|rt_mutex_slowlock|rt_mutex_slowlock_block|__rt_mutex_slowlock .. futex_lock_pi|futex_wait_requeue_pi",
    ),
    (RwSemaphore, "@rwsem"),
    (RwSemaphore, "^ @inode|@rmap"),
    (RwSemaphore, "percpu_rwsem_wait|__percpu_down_read|percpu_down_write"),
    (Mutex, "@mutex"),
    (Mutex, "^ rtnl_lock|rtnetlink_rcv_msg|fdget_pos|__fdget_pos|cgroup_kn_lock_live|ep_send_events"),
    (Mutex, "^ do_epoll_ctl|pipe_lock|pipe_double_lock|tty_lock|seq_read_iter|seq_read"),
    (RtMutex, "rt_mutex_slowlock|__rt_mutex_slowlock|rt_mutex_slowlock_block|rtlock_slowlock_locked"),
    (RtMutex, "rt_spin_lock|rt_mutex_wait_proxy_lock"),
    (Semaphore, "__down|___down_common|__down_common|__down_interruptible|__down_killable|__down_timeout"),
    (FileLock, "locks_lock_inode_wait|flock_lock_inode_wait|posix_lock_inode_wait|do_lock_file_wait"),
    (FileLock, "fcntl_setlk|__do_sys_flock|__break_lease"),
    (Rcu, "__wait_rcu_gp|synchronize_rcu|synchronize_rcu_normal|synchronize_rcu_expedited"),
    (Rcu, "synchronize_rcu_tasks_generic|__synchronize_srcu|synchronize_srcu|exp_funnel_lock|rcu_barrier"),
    (Rcu, "synchronize_net"),
    (KernelWork, "__flush_work|flush_work|__flush_workqueue|flush_workqueue|drain_workqueue"),
    (KernelWork, "__cancel_work_timer|__cancel_work_sync|kthread_stop|kthread_flush_worker|stop_one_cpu"),
    (KernelWork, "stop_machine_cpuslocked|__stop_cpus|lru_add_drain_all|__lru_add_drain_all|affine_move_task"),
    (KernelWork, "async_synchronize_cookie_domain|call_usermodehelper_exec|wait_for_device_probe"),
    (KernelWork, "__kthread_create_on_node"),
    // ---- Futexes and System V
    (FutexWait, "futex_wait_queue_me|futex_wait_queue|futex_do_wait|__futex_wait|futex_wait"),
    (FutexWait, "futex_wait_requeue_pi|futex_lock_pi|futex_wait_multiple"),
    (SysvIpc, "do_semtimedop|__do_semtimedop|do_msgrcv|do_msgsnd|wq_sleep|do_mq_timedreceive|do_mq_timedsend"),
    // ---- Sockets
    (NetAccept, "inet_csk_accept|inet_csk_wait_for_connect|vsock_accept"),
    (NetAccept, "__skb_wait_for_more_packets|__skb_recv_datagram .. unix_accept"),
    (
        UnixSocket,
        "__skb_wait_for_more_packets|__skb_recv_datagram|sock_alloc_send_pskb|sock_wait_for_wmem .. unix_*|__unix_*|vsock_*",
    ),
    (UnixSocket, "unix_stream_read_generic|unix_stream_data_wait|unix_wait_for_peer"),
    (UnixSocket, "vsock_connectible_wait_data|vsock_connectible_recvmsg|vsock_connectible_sendmsg"),
    (NetConnect, "inet_wait_for_connect|__inet_stream_connect|sk_stream_wait_connect|vsock_connect"),
    (NetReceive, "sk_wait_data|tcp_recvmsg_locked|tcp_recvmsg|__skb_wait_for_more_packets|__skb_recv_datagram"),
    (NetReceive, "__skb_recv_udp|netlink_recvmsg|packet_recvmsg|tls_rx_rec_wait|tun_do_read|tap_do_read"),
    (NetSend, "sk_stream_wait_memory|sk_stream_wait_close|sock_alloc_send_pskb|sock_wait_for_wmem"),
    (NetSend, "tcp_sendmsg_locked"),
    (NetLock, "__lock_sock|lock_sock_nested"),
    // ---- Nothing to do
    (Poll, "ep_poll|do_epoll_wait|poll_schedule_timeout|do_poll|do_sys_poll|do_select|core_sys_select"),
    (Sleep, "do_nanosleep|hrtimer_nanosleep|common_nsleep|common_nsleep_timens|alarm_timer_nsleep"),
    (Sleep, "alarmtimer_do_nsleep"),
    (Signal, "do_sigtimedwait|sigsuspend|__do_sys_pause|__x64_sys_pause|__ia32_sys_pause|__arm64_sys_pause"),
    (Signal, "__se_sys_pause"),
    (Child, "do_wait|__do_wait|kernel_wait4|kernel_waitid|wait_for_vfork_done|zap_pid_ns_processes"),
    (Child, "^ kernel_clone|_do_fork"),
    (Pipe, "pipe_read|pipe_write|anon_pipe_read|anon_pipe_write|fifo_pipe_read|fifo_pipe_write"),
    (Pipe, "pipe_wait_readable|pipe_wait_writable|wait_for_partner|ipipe_prep|opipe_prep"),
    (Terminal, "n_tty_read|n_tty_write|tty_wait_until_sent|tty_port_block_til_ready"),
    (EventRead, "eventfd_read|eventfd_write|timerfd_read|timerfd_read_iter|inotify_read|fanotify_read"),
    (EventRead, "signalfd_read|signalfd_read_iter|signalfd_dequeue|userfaultfd_read|userfaultfd_read_iter"),
    (EventRead, "userfaultfd_ctx_read|do_syslog|syslog_print|devkmsg_read|ring_buffer_wait|tracing_wait_pipe"),
    (EventRead, "evdev_read|seccomp_notify_recv|wait_for_random_bytes"),
    (IoUring, "io_cqring_wait|io_cqring_wait_schedule"),
    (Aio, "read_events|do_io_getevents"),
    (GuestIdle, "kvm_vcpu_block|kvm_vcpu_halt"),
    (Stopped, "ptrace_stop|do_signal_stop|do_jobctl_trap|do_freezer_trap|__refrigerator|coredump_task_exit"),
    // ---- Kernel threads between two pieces of work: the first frame is their main loop
    (KernelIdle, "^ worker_thread|rescuer_thread|kthread_worker_fn|kthreadd|kthread|smpboot_thread_fn"),
    (KernelIdle, "^ __kthread_parkme|kthread_parkme|irq_thread|irq_wait_for_interrupt"),
    (KernelIdle, "^ kswapd|kswapd_try_to_sleep|kcompactd|khugepaged|khugepaged_wait_work|ksm_scan_thread"),
    (KernelIdle, "^ oom_reaper"),
    (KernelIdle, "^ rcu_gp_kthread|rcu_gp_fqs_loop|rcu_gp_init|rcu_gp_cleanup|rcu_nocb_gp_kthread"),
    (KernelIdle, "^ rcu_nocb_cb_kthread|nocb_gp_wait|nocb_gp_sleep|nocb_cb_wait|rcu_boost_kthread"),
    (KernelIdle, "^ rcu_tasks_kthread|rcu_tasks_one_gp"),
    (KernelIdle, "^ io_wqe_worker|io_wq_worker|io_sq_thread|vhost_worker|vhost_task_fn|psi_rtpoll_worker"),
    (KernelIdle, "^ psi_poll_worker"),
    (KernelIdle, "^ kjournald2|xfsaild|cleaner_kthread|transaction_kthread|md_thread|dmcrypt_write"),
    (KernelIdle, "^ taskq_thread|bch_allocator_thread|ext4_lazyinit_thread|f2fs_gc_thread"),
    (KernelIdle, "^ issue_discard_thread"),
    (KernelIdle, "^ svc_recv|svc_get_next_xprt|svc_thread_wait_for_work|nfsd|lockd"),
    (KernelIdle, "^ kauditd_thread|devtmpfsd|devtmpfs_work_loop|watchdog|scsi_error_handler|hwrng_fillfn"),
    (KernelIdle, "^ usb_stor_control_thread|kmemleak_scan_thread|kdamond_fn"),
    // ---- What is left inside these belongs to them
    (NfsOther, "nfs_*|nfs3_*|nfs4_*|nfs42_*|pnfs_*|rpc_*|xprt_*|nlmclnt_*"),
    (NfsServer, "nfsd_*|nfsd3_*|nfsd4_*|svc_*"),
    (Smb, "cifs_*|smb2_*|smb3_*"),
    (Ceph, "ceph_*|rbd_*"),
    (NineP, "v9fs_*|p9_*"),
    (Fuse, "fuse_*|virtio_fs_*"),
    (NetFs, "netfs_*|afs_*|ptlrpc_*|gfs2_*|ocfs2_*"),
    (Zfs, "zfs_*|zpl_*|zil_*|zio_*|zvol_*|txg_*|dmu_*|arc_*|spa_*"),
];
