//! Where fields lie in a tracepoint's record, from its `format` file in tracefs (`Documentation/trace/events.rst`).
//!
//! It is what there is where a module has no types: clients that replace the kernel's own, such as VAST's, need not have
//! any, and their records differ.

use anyhow::{Context as _, Result, anyhow};
use nfslat_common::{config::NO_FIELD, rpc_record::RpcRecordOffsets};

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    offset: u32,
    size: u32,
    /// Its place and length are here, itself is elsewhere in the record.
    is_elsewhere: bool,
}

/// Where the fields of `sunrpc:rpc_stats_latency` are.
///
/// # Errors
/// Names the first field that is missing, or is not what it should be.
pub(crate) fn rpc_stats_latency(format: &str) -> Result<RpcRecordOffsets> {
    let fields: Vec<Field> = format.lines().filter_map(parse).collect();
    let find = |name: &str| fields.iter().find(|field| field.name == name);
    let number = |name: &str, size: u32| {
        let field = find(name).with_context(|| format!("the record has no field {name}"))?;
        if field.size == size && !field.is_elsewhere {
            Ok(field.offset)
        } else {
            Err(anyhow!("the field {name} of the record has {} bytes, not {size}", field.size))
        }
    };
    let text = |name: &str| {
        let field = find(name).filter(|field| field.is_elsewhere);
        field.map(|field| field.offset).with_context(|| format!("the record has no text {name}"))
    };
    Ok(RpcRecordOffsets {
        ready: 1,
        client_id: number("client_id", 4)?,
        version: number("version", 4)?,
        program: text("progname")?,
        procedure: text("procname")?,
        backlog_us: number("backlog", 8)?,
        rtt_us: number("rtt", 8)?,
        execute_us: number("execute", 8)?,
        xprt_id: number("xprt_id", 4).unwrap_or(NO_FIELD),
    })
}

/// A line such as `field:unsigned int task_id; offset:8; size:4; signed:0;`, with tabs.
fn parse(line: &str) -> Option<Field> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let mut number = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(':')?.parse().ok();
    let (offset, size) = (number("offset")?, number("size")?);
    let name = declaration.split_whitespace().last()?.split('[').next()?;
    Some(Field { name: name.to_owned(), offset, size, is_elsewhere: declaration.starts_with("__data_loc") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "name: rpc_stats_latency\nID: 1893\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

    /// As Linux 6.12 has it.
    const KERNELS: &str = "\tfield:unsigned int task_id;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned int client_id;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:u32 xid;\toffset:16;\tsize:4;\tsigned:0;\n\
        \tfield:int version;\toffset:20;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] progname;\toffset:24;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc char[] procname;\toffset:28;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long backlog;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long rtt;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long execute;\toffset:48;\tsize:8;\tsigned:0;\n\
        \tfield:u32 xprt_id;\toffset:56;\tsize:4;\tsigned:0;\n\nprint fmt: \"\"\n";

    /// As VAST's client 4.0.33 declares it: a longer task id, and the transport before the call's own number.
    const VAST: &str = "\tfield:u64 task_id;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned int client_id;\toffset:16;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned int xprt_id;\toffset:20;\tsize:4;\tsigned:0;\n\
        \tfield:u32 xid;\toffset:24;\tsize:4;\tsigned:0;\n\
        \tfield:int version;\toffset:28;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] progname;\toffset:32;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] procname;\toffset:36;\tsize:4;\tsigned:1;\n\
        \tfield:unsigned long backlog;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long rtt;\toffset:48;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long execute;\toffset:56;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"\n";

    #[test]
    fn reads_the_kernels_record() {
        let offsets = rpc_stats_latency(&format!("{COMMON}{KERNELS}")).unwrap();
        assert_eq!((offsets.client_id, offsets.version, offsets.program, offsets.procedure), (12, 20, 24, 28));
        assert_eq!((offsets.backlog_us, offsets.rtt_us, offsets.execute_us), (32, 40, 48));
        assert_eq!(offsets.xprt_id, 56);
    }

    #[test]
    fn reads_vasts_record_and_one_without_a_transport() {
        let offsets = rpc_stats_latency(&format!("{COMMON}{VAST}")).unwrap();
        assert_eq!((offsets.client_id, offsets.xprt_id, offsets.version, offsets.execute_us), (16, 20, 28, 56));
        let older = KERNELS.lines().filter(|line| !line.contains("xprt_id")).collect::<Vec<_>>().join("\n");
        assert_eq!(rpc_stats_latency(&format!("{COMMON}{older}")).unwrap().xprt_id, NO_FIELD);
    }

    #[test]
    fn a_record_that_lacks_a_field_or_has_another_is_refused() {
        let refused = |format: &str| rpc_stats_latency(format).unwrap_err().to_string();
        assert!(refused(&KERNELS.replace(" rtt;", " round;")).contains("rtt"));
        assert!(refused(&KERNELS.replace("offset:32;\tsize:8", "offset:32;\tsize:4")).contains("backlog"));
        assert!(refused(&KERNELS.replace("__data_loc char[] procname", "char procname[4]")).contains("procname"));
        assert!(refused("").contains("client_id"));
    }
}
