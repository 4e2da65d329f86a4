//! What user space tells the kernel side: the window, the filter, and where fields lie in the
//! structures of the running kernel.

/// Stands for a field that the running kernel does not have.
pub const NO_FIELD: u32 = u32::MAX;

/// The measuring window and its phases; the one entry of the `CONTROL` map.
///
/// User space writes it whole, and never while a pass over the threads runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Nothing is counted before this (CLOCK_MONOTONIC); 0: not started.
    pub start_ns: u64,
    /// Intervals are cut here: what happens later adds nothing.
    pub end_ns: u64,
    /// How long the window is to be, at most.
    pub duration_ns: u64,
    /// 1 once every thread that existed at the start has an entry: a thread first seen later
    /// is new, or has begun to match the filter.
    pub snapshot_done: u32,
    /// 1 during the first of the passes that end the waits open at the end: it leaves out those
    /// for locks, so that what their holders waited for is known in the second.
    pub locks_later: u32,
    /// 1 during the last of the passes: what it cannot walk is lost.
    pub last_pass: u32,
    /// Threads whose stack a pass could not walk; the next one tries again.
    pub left: u32,
}
const _: () = assert!(size_of::<Control>() == 40);

impl Control {
    /// Start and end are set so much ahead: the cut is the same for every CPU then, whatever it is about.
    pub const LEAD_NS: u64 = 1_000_000;
}

/// Bits of the `FILTER_MODE` global; a thread must match all that are set. 0: every thread.
pub mod filter {
    /// Process id equals `FILTER_TGID`.
    pub const TGID: u32 = 1;
    /// Process id is in the `TREE` map: a command and its descendants.
    pub const TREE: u32 = 1 << 1;
    /// Thread name equals `FILTER_COMM`.
    pub const COMM: u32 = 1 << 2;
    /// cgroup is `FILTER_CGROUP_ID` or below it.
    pub const CGROUP: u32 = 1 << 3;

    /// Value in the `TREE` map of a process that is traced.
    pub const TREE_MEMBER: u8 = 1;
    /// Value in the `TREE` map of a process that is not traced, but whose children are.
    pub const TREE_PARENT: u8 = 2;
}

/// Calls a macro with the list of fields read directly from BTF-typed pointers:
/// `GLOBAL = "struct", "field";`. The kernel side makes each a read-only global, which the
/// verifier knows as a constant; the user side fills it from the running kernel's BTF.
#[macro_export]
macro_rules! for_each_task_field {
    ($callback:ident) => {
        $callback! {
            TASK_PID = "task_struct", "pid";
            TASK_TGID = "task_struct", "tgid";
            TASK_START_TIME = "task_struct", "start_time";
            TASK_FLAGS = "task_struct", "flags";
            TASK_STATE_U32 = "task_struct", "__state";
            TASK_STATE_LONG = "task_struct", "state";
            TASK_ON_CPU = "task_struct", "on_cpu";
            TASK_PSI_FLAGS = "task_struct", "psi_flags";
            TASK_COMM = "task_struct", "comm";
            TASK_LAST_ARRIVAL = "task_struct", "sched_info.last_arrival";
            TASK_LAST_QUEUED = "task_struct", "sched_info.last_queued";
            TASK_MM = "task_struct", "mm";
            MM_MMAP_LOCK = "mm_struct", "mmap_lock";
            TASK_STACK = "task_struct", "stack";
            RWSEM_OWNER = "rw_semaphore", "owner";
            RWSEM_COUNT = "rw_semaphore", "count";
            MUTEX_OWNER = "mutex", "owner";
            REGS_IP = "pt_regs", "ip";
            REGS_SP = "pt_regs", "sp";
            REGS_CALL = "pt_regs", "orig_ax";
            MAPPING_HOST = "address_space", "host";
            VM_FAULT_VMA = "vm_fault", "vma";
            VMA_FILE = "vm_area_struct", "vm_file";
            FILE_INODE = "file", "f_inode";
            INODE_SUPERBLOCK = "inode", "i_sb";
            SUPERBLOCK_DEVICE = "super_block", "s_dev";
            SUPERBLOCK_MAGIC = "super_block", "s_magic";
            INODE_NUMBER = "inode", "i_ino";
            KIOCB_FILE = "kiocb", "ki_filp";
            FILE_DENTRY = "file", "f_path.dentry";
            PATH_DENTRY = "path", "dentry";
            DENTRY_INODE = "dentry", "d_inode";
            DENTRY_PARENT = "dentry", "d_parent";
            DENTRY_NAME = "dentry", "d_name.name";
            TASK_CGROUPS = "task_struct", "cgroups";
            CSS_SET_DFL_CGRP = "css_set", "dfl_cgrp";
            CGROUP_LEVEL = "cgroup", "level";
            CGROUP_KN = "cgroup", "kn";
            CGROUP_ANCESTORS = "cgroup", "ancestors";
            CGROUP_ANCESTOR_IDS = "cgroup", "ancestor_ids";
            KERNFS_NODE_ID = "kernfs_node", "id";
        }
    };
}

/// Calls a macro with the list of fields of the sunrpc and nfs modules' structures:
/// `name = "struct", "field", required;`. The modules may come later than the tracer, so these
/// offsets travel in a map. A field that is not required may be absent ([`NO_FIELD`]).
#[macro_export]
macro_rules! for_each_rpc_field {
    ($callback:ident) => {
        $callback! {
            task_client = "rpc_task", "tk_client", true;
            task_rqst = "rpc_task", "tk_rqstp", true;
            task_proc = "rpc_task", "tk_msg.rpc_proc", true;
            task_status = "rpc_task", "tk_status", true;
            task_start = "rpc_task", "tk_start", true;
            task_timeouts = "rpc_task", "tk_timeouts", false;
            clnt_clid = "rpc_clnt", "cl_clid", true;
            clnt_parent = "rpc_clnt", "cl_parent", true;
            clnt_prog = "rpc_clnt", "cl_prog", true;
            clnt_vers = "rpc_clnt", "cl_vers", true;
            proc_statidx = "rpc_procinfo", "p_statidx", true;
            proc_name = "rpc_procinfo", "p_name", true;
            rqst_xprt = "rpc_rqst", "rq_xprt", false;
            rqst_xtime = "rpc_rqst", "rq_xtime", true;
            rqst_ntrans = "rpc_rqst", "rq_ntrans", true;
            rqst_bytes_sent = "rpc_rqst", "rq_xmit_bytes_sent", true;
            rqst_bytes_received = "rpc_rqst", "rq_reply_bytes_recvd", true;
            xprt_id = "rpc_xprt", "id", false;
            queue_name = "rpc_wait_queue", "name", false;
            hdr_inode = "nfs_pgio_header", "inode", false;
            inode_sb = "inode", "i_sb", false;
            sb_dev = "super_block", "s_dev", false;
            sb_fs_info = "super_block", "s_fs_info", false;
            server_client = "nfs_server", "client", false;
        }
    };
}

macro_rules! rpc_offsets {
    ($($field:ident = $owner:literal, $path:literal, $required:literal;)*) => {
        /// Offsets of the fields named in [`for_each_rpc_field`]; the one entry of the
        /// `RPC_OFFSETS` map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct RpcOffsets {
            /// 1 once the offsets are filled in.
            pub ready: u32,
            $(#[doc = concat!("`", $owner, ".", $path, "`")] pub $field: u32,)*
        }

        impl Default for RpcOffsets {
            fn default() -> Self {
                Self { ready: 0, $($field: NO_FIELD,)* }
            }
        }
    };
}
for_each_rpc_field!(rpc_offsets);
