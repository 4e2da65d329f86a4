//! RPC tasks that are open right now, from debugfs: `sunrpc/rpc_clnt/ID/tasks`
//! (`tasks_show` in `net/sunrpc/debugfs.c`, 5.10 to 7.x).

use std::{fs, path::Path};

/// An open task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RpcTask {
    /// Number of the task (unique only within its client).
    pub(crate) task_id: u32,
    /// RPC client.
    pub(crate) client_id: u32,
    /// Transaction id, 0 if it has none yet.
    pub(crate) xid: u32,
    /// Protocol with version, such as `nfsv4`.
    pub(crate) protocol: String,
    /// Operation, such as `WRITE`.
    pub(crate) op: String,
    /// Queue on which it sleeps; empty if it does not.
    pub(crate) queue: String,
}

/// All open tasks; `None` if debugfs is not mounted or has no sunrpc folder.
pub(crate) fn read(sys: &Path) -> Option<Vec<RpcTask>> {
    let clients = fs::read_dir(sys.join("kernel/debug/sunrpc/rpc_clnt")).ok()?;
    let tasks = clients
        .flatten()
        .filter_map(|client| fs::read_to_string(client.path().join("tasks")).ok())
        .flat_map(|text| text.lines().filter_map(parse).collect::<Vec<_>>())
        .collect();
    Some(tasks)
}

/// `<id> <flags> <status> 0x<client> 0x<xid> <timeout> <ops> <protocol>v<version> <op> a:... q:...`;
/// symbols may be followed by a module in brackets.
fn parse(line: &str) -> Option<RpcTask> {
    let (head, queue) = line.split_once(" q:")?;
    let (head, _action) = head.split_once(" a:")?;
    let words: Vec<&str> = head.split_ascii_whitespace().filter(|word| !word.starts_with('[')).collect();
    let [task_id, _flags, _status, client, xid, _timeout, _ops, protocol, op] = words[..] else {
        return None;
    };
    let hex = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some(RpcTask {
        task_id: task_id.parse().ok()?,
        client_id: hex(client)?,
        xid: hex(xid)?,
        protocol: protocol.to_owned(),
        op: op.to_owned(),
        queue: if queue == "none" { String::new() } else { queue.to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_task_that_waits_for_its_reply() {
        let task = parse(
            "  263 0880      0 0x5 0x97d04d2b    60000 nfs_commit_ops [nfs] nfsv4 COMMIT \
             a:call_status [sunrpc] q:xprt_pending",
        )
        .unwrap();
        assert_eq!((task.task_id, task.client_id, task.xid), (263, 5, 0x97d0_4d2b));
        assert_eq!((task.protocol.as_str(), task.op.as_str()), ("nfsv4", "COMMIT"));
        assert_eq!(task.queue, "xprt_pending");
    }

    #[test]
    fn a_queue_name_may_have_spaces_and_a_task_may_not_sleep() {
        let line = "1 0 0 0x5 0x0 0 x nfsv4 READ a:rpc_prepare_task [sunrpc] q:ForeChannel Slot table";
        assert_eq!(parse(line).unwrap().queue, "ForeChannel Slot table");
        assert_eq!(parse("1 0 0 0x5 0x0 0 x nfsv3 READ a:call_start [sunrpc] q:none").unwrap().queue, "");
        assert_eq!(parse("garbage"), None);
    }
}
