//! Transports of NFS calls, with their round trips as the kernel's TCP sees them.

use super::{super::Style, table::Table};
use crate::analyse::{
    Answer, TcpRow, TransportRow,
    answer::RpcRow,
    units::{count, counted, percent, short_duration},
};

/// Rows shown.
const ROWS: usize = 8;

/// Parts of the time worth a word.
const SHARE_WORTH_SHOWING: f64 = 0.01;

/// A line for each transport, if there were calls to go over them.
pub(super) fn table(answer: &Answer, style: Style) -> String {
    let rows = &answer.transports;
    let has_calls = answer.rpc.iter().any(RpcRow::is_nfs) || !answer.in_flight.is_empty();
    if rows.is_empty() || !has_calls {
        return String::new();
    }
    let headings = ["<TRANSPORTS", "port", "calls", "rtt p50", "TCP: min rtt", "srtt", "resent", "<"];
    let mut table = Table::new(&headings);
    for row in rows.iter().take(ROWS) {
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), short_duration);
        let tcp = row.tcp.as_ref();
        table.row([
            name(row),
            tcp.and_then(|tcp| tcp.client_ports.last()).map_or_else(|| "-".to_owned(), u16::to_string),
            row.calls.as_ref().map_or_else(|| "?".to_owned(), |calls| count(calls.count)),
            time(row.calls.as_ref().and_then(|calls| calls.rtt_p50_ns)),
            time(tcp.and_then(|tcp| tcp.min_rtt_ns)),
            time(tcp.and_then(|tcp| tcp.srtt_ns)),
            tcp.map_or_else(|| "-".to_owned(), resent),
            notes(row),
        ]);
    }
    let mut text = table.render(style);
    if rows.len() > ROWS {
        text.push_str(&format!("{} more; see --json\n", counted((rows.len() - ROWS) as u64, "transport")));
    }
    text
}

/// `tcp 10.0.0.1:2049 xprt 3`.
fn name(row: &TransportRow) -> String {
    let mut words = Vec::new();
    if !row.address.is_empty() {
        let is_v6 = row.address.contains(':');
        let address = if is_v6 { format!("[{}]", row.address) } else { row.address.clone() };
        words.push(row.protocol.clone());
        words.push(if row.port == 0 { row.address.clone() } else { format!("{address}:{}", row.port) });
    }
    words.extend(row.id.map(|id| format!("xprt {id}")));
    words.join(" ")
}

/// Segments sent again, and of how many.
fn resent(tcp: &TcpRow) -> String {
    match (tcp.retransmitted_segments, tcp.sent_segments) {
        (0, _) => "0".to_owned(),
        (again, Some(all)) => format!("{} ({})", count(again), percent(again, all)),
        (again, None) => count(again),
    }
}

/// What is out of the ordinary.
fn notes(row: &TransportRow) -> String {
    let Some(tcp) = &row.tcp else { return row.tcp_missing.clone() };
    let mut notes = Vec::new();
    if tcp.state != "established" {
        notes.push(tcp.state.to_owned());
    }
    if tcp.reconnects > 0 {
        notes.push(counted(tcp.reconnects, "reconnect"));
    }
    for (limited, by) in [(tcp.rwnd_limited_ns, "server's window"), (tcp.sndbuf_limited_ns, "send buffer")] {
        let limited = limited.unwrap_or_default();
        if limited as f64 > SHARE_WORTH_SHOWING * tcp.observed_ns as f64 {
            notes.push(format!("{by} full {}", percent(limited, tcp.observed_ns)));
        }
    }
    notes.join(", ")
}
