//! Sets of kernel functions that several rows of the class table share.
//!
//! Names are those of Linux 5.10 to 7.3. A name that one version lacks does no harm there.

/// The functions of a set.
///
/// # Panics
/// If there is none of that name. Patterns are constants, and a test parses them all.
pub(super) fn named(set: &str) -> &'static [&'static str] {
    match set {
        "rwsem" => RWSEM,
        "mutex" => MUTEX,
        "mm" => MM,
        "other-mm" => OTHER_MM,
        "vma" => VMA,
        "inode" => INODE,
        "rmap" => RMAP,
        "page" => PAGE,
        "block" => BLOCK,
        "reclaim" => RECLAIM,
        "compaction" => COMPACTION,
        "swap" => SWAP,
        "fault" => FAULT,
        _ => panic!("no set @{set}"),
    }
}

/// Sleeping in a reader-writer semaphore; the `rwbase` ones are PREEMPT_RT's.
const RWSEM: &[&str] = &[
    "rwsem_down_read_slowpath",
    "rwsem_down_write_slowpath",
    "__rwbase_read_lock",
    "rwbase_read_lock",
    "rwbase_write_lock",
];

/// Sleeping in a mutex.
const MUTEX: &[&str] = &["__mutex_lock", "__mutex_lock_common", "__ww_mutex_lock"];

/// Functions that take an address space's `mmap_lock` themselves and sleep for nothing else, by
/// what they are for. Source: callers of `mmap_read_lock*()` and `mmap_write_lock*()`.
const MM: &[&str] = &[
    // map, unmap, protect, move
    "__do_sys_brk",
    "__do_sys_mlockall",
    "__do_sys_mremap",
    "__do_sys_mseal",
    "__do_sys_munlock",
    "__do_sys_munlockall",
    "__do_sys_remap_file_pages",
    "__mm_populate",
    "__se_sys_brk",
    "__se_sys_mremap",
    "__se_sys_remap_file_pages",
    "__vm_munmap",
    "__x64_sys_munlockall",
    "__ia32_sys_munlockall",
    "__arm64_sys_munlockall",
    "apply_vma_lock_flags",
    "do_mlock",
    "do_mprotect_pkey",
    "do_mremap",
    "do_mseal",
    "ksys_mmap_pgoff",
    "vm_brk_flags",
    "vm_mmap_pgoff",
    "vm_munmap",
    // advise, inspect
    "__do_sys_mincore",
    "__do_sys_msync",
    "do_madvise",
    "madvise_collapse",
    "madvise_do_behavior",
    "madvise_dontneed_free",
    "madvise_lock",
    "madvise_populate",
    "madvise_remove",
    "madvise_willneed",
    "vector_madvise",
    // page faults
    "do_user_addr_fault",
    "expand_stack",
    "fault_in_user_writeable",
    "fixup_user_fault",
    "get_mmap_lock_carefully",
    "lock_mm_and_find_vma",
    "mmap_read_lock_maybe_expand",
    "upgrade_mmap_lock_carefully",
    // fork, exec, exit
    "do_exit",
    "dump_vma_snapshot",
    "exec_mmap",
    "exit_mm",
    "get_arg_page",
    "map_vdso",
    "map_vdso_once",
    "setup_arg_pages",
    // user pages: get_user_pages(), direct I/O, KVM, VFIO, RDMA
    "__get_user_pages_locked",
    "__gup_longterm_locked",
    "__gup_longterm_unlocked",
    "faultin_page_range",
    "get_dump_page",
    "get_user_pages_unlocked",
    "gup_fast_fallback",
    "internal_get_user_pages_fast",
    "pin_user_pages_unlocked",
    // memory policy, migration, KSM, huge pages
    "add_page_for_migration",
    "do_get_mempolicy",
    "do_mbind",
    "do_migrate_pages",
    "do_pages_stat_array",
    "migrate_to_node",
    "mpol_rebind_mm",
    "unuse_mm",
    // userfaultfd, uprobes, aio, prctl, notifiers
    "do_mmu_notifier_register",
    "find_active_uprobe",
    "find_active_uprobe_rcu",
    "mfill_atomic",
    "mremap_userfaultfd_prep",
    "mwriteprotect_range",
    "prctl_set_mm",
    "prctl_set_mm_map",
    "prctl_set_vma",
    "userfaultfd_move",
    "userfaultfd_register",
    "userfaultfd_release_all",
    "userfaultfd_unregister",
    "xol_add_vma",
];

/// The same for another address space than the thread's own: `/proc`, ptrace,
/// `process_vm_readv()`, the last user's exit, KSM and huge pages. (`madvise_collapse` and
/// `process_madvise()` may do either.)
const OTHER_MM: &[&str] = &[
    "__access_remote_vm",
    "access_process_vm",
    "access_remote_vm",
    "clear_refs_write",
    "collapse_huge_page",
    "do_madvise",
    "do_pagemap_scan",
    "do_procmap_query",
    "exit_mmap",
    "fixup_user_fault",
    "get_mm_cmdline",
    "get_user_pages_remote",
    "m_start",
    "madvise_collapse",
    "madvise_do_behavior",
    "madvise_lock",
    "map_files_d_revalidate",
    "pagemap_read",
    "pin_user_pages_remote",
    "proc_pid_cmdline_read",
    "process_vm_rw_core",
    "process_vm_rw_single_vec",
    "query_vma_setup",
    "scan_get_next_rmap_item",
    "show_smaps_rollup",
    "vector_madvise",
];

/// Functions into which `vma_start_write()` is inlined where the per-VMA lock is an rwsem (6.4 to
/// 6.14). They take no other rwsem there; older kernels' `vma_expand` locks the file mapping.
const VMA: &[&str] = &[
    "__split_vma",
    "commit_merge",
    "do_brk_flags",
    "do_vmi_align_munmap",
    "expand_downwards",
    "expand_upwards",
    "free_pgtables",
    "madvise_update_vma",
    "mlock_fixup",
    "mprotect_fixup",
    "vma_expand",
    "vma_merge",
    "vma_merge_existing_range",
    "vma_merge_new_range",
    "vma_modify",
    "vma_shrink",
    "vms_gather_munmap_vmas",
];

/// Functions that lock an inode (`i_rwsem`): a file being written, a directory being changed.
const INODE: &[&str] = &[
    "btrfs_inode_lock",
    "chmod_common",
    "chown_common",
    "do_rmdir",
    "do_truncate",
    "do_unlinkat",
    "ext4_buffered_write_iter",
    "ext4_dio_write_iter",
    "ext4_file_read_iter",
    "ext4_file_write_iter",
    "ext4_map_blocks",
    "f2fs_file_write_iter",
    "filename_create",
    "filename_unlinkat",
    "generic_file_write_iter",
    "iterate_dir",
    "lock_rename",
    "lock_two_directories",
    "lookup_slow",
    "nfs_start_io_direct",
    "nfs_start_io_read",
    "nfs_start_io_write",
    "open_last_lookups",
    "shmem_file_write_iter",
    "start_creating",
    "start_dirop",
    "start_removing",
    "vfs_unlink",
    "vfs_utimes",
    "xfs_file_buffered_write",
    "xfs_ilock",
    "xfs_ilock_for_iomap",
];

/// Functions that lock the reverse mapping of pages (`anon_vma`, `i_mmap_rwsem`).
const RMAP: &[&str] = &[
    "__anon_vma_prepare",
    "__put_anon_vma",
    "anon_vma_clone",
    "anon_vma_fork",
    "folio_lock_anon_vma_read",
    "page_lock_anon_vma_read",
    "rmap_walk_file",
    "unlink_anon_vmas",
    "unlink_file_vma",
    "unlink_file_vma_batch_process",
    "vma_link",
    "vma_link_file",
    "vma_prepare",
];

/// Waiting for the lock or the writeback bit of a page or folio.
const PAGE: &[&str] = &[
    "__folio_lock",
    "__folio_lock_killable",
    "__lock_page",
    "__lock_page_killable",
    "folio_put_wait_locked",
    "folio_wait_bit",
    "folio_wait_bit_common",
    "folio_wait_bit_killable",
    "folio_wait_writeback",
    "migration_entry_wait_on_locked",
    "put_and_wait_on_page_locked",
    "softleaf_entry_wait_on_locked",
    "wait_on_page_bit",
    "wait_on_page_bit_common",
    "wait_on_page_bit_killable",
    "wait_on_page_writeback",
];

/// Waiting for a block device, its queue or a buffer.
const BLOCK: &[&str] = &[
    "__bio_queue_enter",
    "__blkdev_direct_IO",
    "__blkdev_direct_IO_simple",
    "__blockdev_direct_IO",
    "__bread_gfp",
    "__inode_dio_wait",
    "__iomap_dio_rw",
    "__lock_buffer",
    "__sync_dirty_buffer",
    "__wait_on_buffer",
    "bdev_getblk",
    "bio_await",
    "bio_queue_enter",
    "blk_execute_rq",
    "blk_mq_freeze_queue_wait",
    "blk_mq_get_tag",
    "blk_queue_enter",
    "blk_wait_io",
    "blkdev_direct_IO",
    "blkdev_issue_flush",
    "dio_await_completion",
    "dm_wait_for_completion",
    "do_blockdev_direct_IO",
    "ext4_read_bh",
    "ext4_read_block_bitmap_nowait",
    "ext4_wait_block_bitmap",
    "fsync_buffers_list",
    "inode_dio_wait",
    "inode_dio_wait_interruptible",
    "ioc_rqos_throttle",
    "iolatency_throttle",
    "iomap_dio_rw",
    "md_flush_request",
    "md_super_wait",
    "md_write_start",
    "raid5_get_active_stripe",
    "rq_qos_wait",
    "submit_bio_wait",
    "sync_dirty_buffer",
    "wait_barrier",
    "wbt_wait",
    "write_dirty_buffer",
    "xfs_buf_iowait",
    "xfs_buf_lock",
];

/// Making room in memory: direct reclaim, `kswapd`, and a cgroup's limit.
const RECLAIM: &[&str] = &[
    "__alloc_pages_direct_reclaim",
    "balance_pgdat",
    "congestion_wait",
    "do_shrink_slab",
    "do_try_to_free_pages",
    "evict_folios",
    "node_reclaim",
    "reclaim_throttle",
    "shrink_folio_list",
    "shrink_inactive_list",
    "shrink_lruvec",
    "shrink_node",
    "shrink_page_list",
    "shrink_slab",
    "throttle_direct_reclaim",
    "try_to_free_mem_cgroup_pages",
    "try_to_free_pages",
    "wait_iff_congested",
];

/// Moving pages to make large free areas, and waiting for a page that is being moved.
const COMPACTION: &[&str] = &[
    "__migration_entry_wait",
    "compact_node",
    "compact_zone",
    "compact_zone_order",
    "migrate_pages",
    "migrate_pages_batch",
    "migration_entry_wait",
    "migration_entry_wait_on_locked",
    "pmd_migration_entry_wait",
    "softleaf_entry_wait_on_locked",
    "try_to_compact_pages",
];

/// Reading from swap.
const SWAP: &[&str] = &[
    "do_swap_page",
    "read_swap_cache_async",
    "shmem_swapin_folio",
    "shmem_swapin_page",
    "swap_cluster_readahead",
    "swap_read_folio",
    "swap_readpage",
    "swapin_readahead",
];

/// A page fault on a mapped file.
const FAULT: &[&str] = &[
    "__do_fault",
    "do_cow_fault",
    "do_fault",
    "do_page_mkwrite",
    "do_read_fault",
    "do_shared_fault",
    "filemap_fault",
    "filemap_map_pages",
    "handle_mm_fault",
];
