//! TCP connections to an NFS server, as `ss` lists them.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::PATIENCE;

/// The port of NFS, as `ss` is asked for it.
const TO_NFS: &str = "dport = :2049";

/// Nothing has happened on any connection for this long: nothing is on its way any more.
const QUIET: Duration = Duration::from_millis(1500);

/// The client's end of a connection. Times are in us, counters run since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// Port on the client's side.
    pub port: u16,
    /// Smallest round-trip time.
    pub min_rtt_us: u64,
    /// Smoothed round-trip time.
    pub srtt_us: u64,
    /// Its mean deviation.
    pub rttvar_us: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Segments sent.
    pub sent: u64,
    /// Segments received.
    pub received: u64,
    /// Bytes acknowledged.
    pub bytes_acked: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

/// Connections that are established, by port.
pub fn to_nfs() -> Result<Vec<Socket>> {
    listed_by(&mut Command::new("ss"))
}

fn listed_by(ss: &mut Command) -> Result<Vec<Socket>> {
    let output = ss.args(["-tinHO", "state", "established", TO_NFS]).output().context("starting ss")?;
    ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line: &str| parse(line).with_context(|| format!("a line of ss: {line}"));
    let mut sockets: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect::<Result<_>>()?;
    sockets.sort_by_key(|socket| socket.port);
    Ok(sockets)
}

/// The only connection.
pub fn only_one() -> Result<Socket> {
    only(&to_nfs()?)
}

/// The only connection in another network; `command` runs there what it is given as arguments.
pub fn only_one_in(mut command: Command) -> Result<Socket> {
    only(&listed_by(command.arg("ss"))?)
}

fn only(sockets: &[Socket]) -> Result<Socket> {
    match sockets {
        [only] => Ok(only.clone()),
        sockets => bail!("{} connections to NFS, should be one: {sockets:?}", sockets.len()),
    }
}

/// Waits until there is none: what mounts next connects anew.
pub fn wait_for_none() -> Result<()> {
    let begun = Instant::now();
    while !to_nfs()?.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "connections of earlier mounts stay: {:?}", to_nfs()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Waits until nothing happens on any connection.
pub fn settled() -> Result<Vec<Socket>> {
    let begun = Instant::now();
    let mut last = to_nfs()?;
    while begun.elapsed() < PATIENCE {
        thread::sleep(QUIET);
        let now = to_nfs()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    bail!("connections to NFS do not come to rest: {last:?}")
}

/// Has the kernel end every connection; false if it cannot.
pub fn cut() -> Result<bool> {
    let output = Command::new("ss").args(["-tKH", "state", "established", TO_NFS]).output().context("starting ss")?;
    Ok(output.status.success() && !output.stdout.trim_ascii().is_empty())
}

/// Queues, both ends, and what is known of it: `0 0 127.0.0.1:974 127.0.0.1:2049 cubic rtt:0.943/0.554 ...`.
fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace();
    let (_, local, _) = (words.nth(1)?, words.next()?, words.next()?);
    let known: Vec<_> = words.filter_map(|word| word.split_once(':')).collect();
    let text = |name: &str| known.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let count = |name: &str| text(name).map_or(Some(0), |value| value.parse().ok());
    // In ms, with the us behind the point.
    let in_us = |value: &str| Some((value.parse::<f64>().ok()? * 1000.0).round() as u64);
    let (srtt, rttvar) = text("rtt")?.split_once('/')?;
    Some(Socket {
        port: local.rsplit_once(':')?.1.parse().ok()?,
        min_rtt_us: in_us(text("minrtt")?)?,
        srtt_us: in_us(srtt)?,
        rttvar_us: in_us(rttvar)?,
        // Those under way, and all.
        retransmitted: text("retrans").map_or(Some(0), |value| value.split_once('/')?.1.parse().ok())?,
        sent: count("segs_out")?,
        received: count("segs_in")?,
        bytes_acked: count("bytes_acked")?,
        bytes_received: count("bytes_received")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ss_is_read() {
        let line = "0      0          127.0.0.1:974     127.0.0.1:2049 cubic wscale:7,7 rto:204 rtt:0.943/0.554 ato:40 \
                    bytes_sent:789756 bytes_acked:789757 bytes_received:3516 segs_out:37 segs_in:28 data_segs_out:31 \
                    send 5555291622bps busy:28ms retrans:0/12 rcv_space:65495 minrtt:0.098 snd_wnd:2747264";
        let expected = Socket {
            port: 974,
            min_rtt_us: 98,
            srtt_us: 943,
            rttvar_us: 554,
            retransmitted: 12,
            sent: 37,
            received: 28,
            bytes_acked: 789_757,
            bytes_received: 3516,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("0 0 127.0.0.1:974 127.0.0.1:2049 cubic"), None);
    }
}
