//! NFS calls as the packets on the loopback interface tell them: tcpdump records, tshark decodes.

use std::{collections::HashMap, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use libc::SIGINT;
use tempfile::TempDir;

use crate::process::{PATIENCE, Process};

/// A block of packets is handed to tcpdump when it is full or after a second, and what it has not been handed when it
/// is asked to end is lost.
const HANDED_OVER: Duration = Duration::from_millis(1500);

/// RPC programs by number.
const NFS: u32 = 100_003;
const NFS_ACL: u32 = 100_227;
const CALLBACK: u32 = 0x4000_0000;

/// Procedures of version 3 by number (RFC 1813).
const VERSION_3: [&str; 22] = [
    "NULL",
    "GETATTR",
    "SETATTR",
    "LOOKUP",
    "ACCESS",
    "READLINK",
    "READ",
    "WRITE",
    "CREATE",
    "MKDIR",
    "SYMLINK",
    "MKNOD",
    "REMOVE",
    "RMDIR",
    "RENAME",
    "LINK",
    "READDIR",
    "READDIRPLUS",
    "FSSTAT",
    "FSINFO",
    "PATHCONF",
    "COMMIT",
];

/// Operations of version 4 by number (RFC 7530, 5661 and 7862) that the client's calls are named after.
const VERSION_4: [(u32, &str); 15] = [
    (4, "CLOSE"),
    (5, "COMMIT"),
    (6, "CREATE"),
    (8, "DELEGRETURN"),
    (11, "LINK"),
    (15, "LOOKUP"),
    (18, "OPEN"),
    (25, "READ"),
    (26, "READDIR"),
    (28, "REMOVE"),
    (29, "RENAME"),
    (30, "RENEW"),
    (34, "SETATTR"),
    (38, "WRITE"),
    (68, "READ_PLUS"),
];

/// Those that stand beside others, too; the first that is there gives the name if none of the above does.
const BESIDE: [(u32, &str); 3] = [(3, "ACCESS"), (9, "GETATTR"), (53, "SEQUENCE")];

/// What tshark prints of each frame, in this order; several values where a frame holds several messages.
const FIELDS: [&str; 10] = [
    "frame.time_epoch",
    "rpc.msgtyp",
    "rpc.xid",
    "rpc.program",
    "rpc.programversion",
    "rpc.procedure",
    "nfs.ops.count",
    "nfs.opcode",
    "rpc.fraglen",
    "rpc.time",
];

/// A recording of the packets to and from the NFS server.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    folder: TempDir,
}

/// A call that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its transaction id.
    pub xid: u32,
    /// Its name, with the version of the protocol: `v3 READ`. Numbers stand for what the tables above have not.
    pub name: String,
    /// When its last packet came to the server, in nanoseconds of Unix time.
    pub sent_unix_ns: u64,
    /// From there until the last packet of the reply came.
    pub response_ns: u64,
    /// Length of the call, without the mark of 4 bytes before it.
    pub call_bytes: u64,
    /// The same of the reply.
    pub reply_bytes: u64,
}

impl Capture {
    /// Starts to record, and returns when it does.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut tcpdump = Command::new("tcpdump");
        // Whole packets, as tshark has to put together what is longer than one; and room for all there will be.
        tcpdump.args([
            "--relinquish-privileges=root",
            "--interface=lo",
            "--snapshot-length=0",
            "--buffer-size=32768",
            "-w",
        ]);
        tcpdump.arg(folder.path().join("packets")).arg("tcp port 2049");
        let process = Process::start(&mut tcpdump)?;
        process.wait_for("listening on")?;
        Ok(Self { process, folder })
    }

    /// Ends the recording, and returns the calls in it, in the order of their replies.
    pub fn stop(self) -> Result<Vec<Call>> {
        thread::sleep(HANDED_OVER);
        self.process.send(SIGINT)?;
        let recorded = self.process.finish(PATIENCE)?;
        ensure!(recorded.code() == Some(0), "tcpdump ended with {}: {}", recorded.status, recorded.stderr);
        let whole = recorded.stderr.lines().any(|line| line.trim() == "0 packets dropped by kernel");
        ensure!(whole, "tcpdump, the reference, lost packets: {}", recorded.stderr);

        let mut tshark = Command::new("tshark");
        // Told what is behind the port: else the client's, which may be any, would say it.
        tshark
            .args(["-n", "-d", "tcp.port==2049,rpc", "-Y", "rpc", "-T", "fields"])
            .args(FIELDS.iter().flat_map(|field| ["-e", field]));
        let decoded = Process::start(tshark.arg("-r").arg(self.folder.path().join("packets")))?.finish(PATIENCE)?;
        ensure!(decoded.code() == Some(0), "tshark ended with {}: {}", decoded.status, decoded.stderr);
        calls(&decoded.stdout)
    }
}

/// The calls in what tshark printed, of which each has to be answered once.
fn calls(text: &str) -> Result<Vec<Call>> {
    let mut open = HashMap::new();
    let mut done = Vec::new();
    for line in text.lines() {
        for message in messages(line).with_context(|| format!("tshark printed {line:?}"))? {
            match message.kind {
                Kind::Call(name) => {
                    let twice = open.insert(message.xid, (name, message.time_unix_ns, message.bytes));
                    ensure!(twice.is_none(), "a call was sent twice: {twice:?}");
                }
                Kind::Reply(response_ns) => {
                    let call = open.remove(&message.xid);
                    let (name, sent_unix_ns, call_bytes) =
                        call.with_context(|| format!("a reply to nothing: {line:?}"))?;
                    let (xid, reply_bytes) = (message.xid, message.bytes);
                    done.push(Call { xid, name, sent_unix_ns, response_ns, call_bytes, reply_bytes });
                }
            }
        }
    }
    ensure!(open.is_empty(), "not answered: {open:?}");
    Ok(done)
}

/// One RPC message.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    xid: u32,
    time_unix_ns: u64,
    bytes: u64,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Its name.
    Call(String),
    /// The response time.
    Reply(u64),
}

/// The messages of one frame.
fn messages(line: &str) -> Result<Vec<Message>> {
    let columns: Vec<Vec<&str>> =
        line.split('\t').map(|column| column.split(',').filter(|value| !value.is_empty()).collect()).collect();
    let Ok([times, kinds, xids, programs, versions, procedures, counts, operations, lengths, responses]) =
        <[Vec<&str>; FIELDS.len()]>::try_from(columns)
    else {
        bail!("the number of columns is not that of the fields");
    };
    let time_unix_ns = nanoseconds(times.first().context("no time")?)?;
    // Whatever is there once for each message, is there as often for each: the version, for one, is there twice.
    let each = |column: &[&str], index: usize| {
        ensure!(column.len().is_multiple_of(xids.len()), "{} messages, {} values", xids.len(), column.len());
        let value = column.get(index * column.len() / xids.len());
        value.context("a value is missing")?.parse::<u32>().context("no number")
    };
    let mut responses = responses.into_iter();
    let mut compounds = compounds(&counts, &operations)?.into_iter();
    let mut messages = Vec::new();
    for (index, xid) in xids.iter().enumerate() {
        let (program, version, procedure) =
            (each(&programs, index)?, each(&versions, index)?, each(&procedures, index)?);
        let name = match (program, version, procedure) {
            (NFS, 4, 1) => name_4(&compounds.next().context("a COMPOUND has no operations")?),
            _ => name(program, version, procedure),
        };
        let kind = match each(&kinds, index)? {
            0 => Kind::Call(name),
            _ => Kind::Reply(nanoseconds(responses.next().context("a reply has no response time")?)?),
        };
        // What the server asks of the client (RFC 5661, section 20) is not a call of the client's.
        if program != CALLBACK {
            let xid = u32::from_str_radix(xid.strip_prefix("0x").context("no transaction id")?, 16)?;
            messages.push(Message { xid, time_unix_ns, bytes: each(&lengths, index)?.into(), kind });
        }
    }
    ensure!(compounds.next().is_none(), "more operations than messages");
    Ok(messages)
}

/// The operations of each COMPOUND in a frame.
fn compounds(counts: &[&str], operations: &[&str]) -> Result<Vec<Vec<u32>>> {
    let mut operations = operations.iter();
    let mut compounds = Vec::new();
    for count in counts {
        let own = operations.by_ref().take(count.parse()?).map(|number| number.parse());
        compounds.push(own.collect::<Result<Vec<u32>, _>>()?);
    }
    ensure!(operations.next().is_none(), "more operations than are counted");
    Ok(compounds)
}

fn name(program: u32, version: u32, procedure: u32) -> String {
    let known = match (program, version, procedure) {
        (NFS, 3, _) => usize::try_from(procedure).ok().and_then(|number| VERSION_3.get(number)).copied(),
        (NFS_ACL, 3, 1) => Some("GETACL"),
        _ => None,
    };
    known.map_or_else(|| format!("{program} v{version} {procedure}"), |known| format!("v{version} {known}"))
}

/// The name of a call with these operations. What it is for comes after what it needs: a delegation that is returned, for
/// one, after the attributes that were changed under it.
fn name_4(operations: &[u32]) -> String {
    let main = operations.iter().rev().find_map(|number| VERSION_4.iter().find(|(other, _)| other == number));
    let beside = || BESIDE.iter().find(|(number, _)| operations.contains(number));
    main.or_else(beside).map_or_else(|| format!("v4 {operations:?}"), |(_, name)| format!("v4 {name}"))
}

/// Seconds, as tshark prints them.
fn nanoseconds(text: &str) -> Result<u64> {
    let (whole, fraction) = text.split_once('.').context("seconds have a fraction")?;
    ensure!(fraction.len() == 9, "{text} has not as many digits as nanoseconds take");
    Ok(whole.parse::<u64>()? * 1_000_000_000 + fraction.parse::<u64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_their_replies_are_put_together() {
        let text = "1.000000000\t0,0\t0xa,0xb\t100003,100003\t3,3,4,4\t7,1\t4\t53,22,38,9\t80,120\t\n\
                    1.500000000\t1\t0xb\t100003\t4,4\t1\t4\t53,22,38,9\t100\t0.500000000\n\
                    1.600000000\t1\t0xa\t100003\t3,3\t7\t\t\t90\t0.600000000\n";
        let call = |xid, name: &str, response_ns, call_bytes, reply_bytes| Call {
            xid,
            name: name.to_owned(),
            sent_unix_ns: 1_000_000_000,
            response_ns,
            call_bytes,
            reply_bytes,
        };
        let wanted = [call(0xb, "v4 WRITE", 500_000_000, 120, 100), call(0xa, "v3 WRITE", 600_000_000, 80, 90)];
        assert_eq!(calls(text).unwrap(), wanted);
    }

    #[test]
    fn calls_of_the_server_are_left_out() {
        let text = "1.000000000\t1,0\t0x1,0xa\t1073741824,100003\t1,1,4,4\t1,1\t3\t53,22,8\t84,164\t0.028436000\n\
                    1.500000000\t1\t0xa\t100003\t4,4\t1\t3\t53,22,8\t100\t0.500000000\n";
        let names: Vec<_> = calls(text).unwrap().into_iter().map(|call| call.name).collect();
        assert_eq!(names, ["v4 DELEGRETURN"]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let call = "1.000000000\t0\t0xa\t100003\t4,4\t1\t2\t53,9\t80\t\n";
        let reply = "1.500000000\t1\t0xa\t100003\t4,4\t1\t2\t53,9\t100\t0.500000000\n";
        assert!(calls(&format!("{call}{reply}")).is_ok());
        for (text, why) in [
            (call.to_owned(), "not answered"),
            (reply.to_owned(), "a reply to nothing"),
            (format!("{call}{call}{reply}"), "sent twice"),
            (format!("{call}{}", reply.replace("0.500000000", "")), "no response time"),
            (call.replace("\t2\t53,9\t", "\t\t\t"), "no operations"),
            (call.replace("53,9", "53,9,9"), "more operations"),
            (call.replace("\t1\t", "\t"), "columns"),
        ] {
            let error = format!("{:#}", calls(&text).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        assert_eq!(name(NFS, 3, 6), "v3 READ");
        assert_eq!(name(NFS_ACL, 3, 7), "100227 v3 7");
        for (operations, name) in [
            (&[53, 22, 18, 10, 3, 9][..], "v4 OPEN"),
            (&[53, 22, 9, 34, 8], "v4 DELEGRETURN"),
            (&[53, 22, 9, 4], "v4 CLOSE"),
            (&[53, 22, 3, 9], "v4 ACCESS"),
            (&[53], "v4 SEQUENCE"),
            (&[53, 999], "v4 SEQUENCE"),
            (&[999], "v4 [999]"),
        ] {
            assert_eq!(name_4(operations), name);
        }
    }
}
