//! NFS calls: one table for each mount, two lines for each operation, so that all four parts of a
//! call's time stand beside each other in the order in which they pass.

use std::ops::RangeInclusive;

use super::{call_details, paragraph::paragraph, table::cut};
use crate::analyse::{
    Answer,
    answer::{Latency, MakerRow, RpcRow},
    by_operation, makers,
    units::{count, counted, duration, per_second, percent, short_duration},
};
use crate::model::{Maker, hook};
use crate::render::{Style, escape::escape};

/// Operations shown for one mount: at least so many, and at most so many until those not shown
/// take less than [`REST`] of the mount's time.
const OPERATIONS: RangeInclusive<usize> = 3..=8;

/// See [`OPERATIONS`].
const REST: f64 = 0.1;

/// Columns left of the latencies.
const LEFT: usize = 26;

/// Processes named that made the calls of a mount.
const MAKERS: usize = 3;

/// Mounts shown.
const MOUNTS: usize = 4;

/// Tables of all mounts, most time first.
pub(super) fn tables(answer: &Answer, style: Style) -> String {
    let operations = by_operation(&answer.rpc);
    // Rows come most time first, so mounts do as well.
    let mut mounts: Vec<Vec<&RpcRow>> = Vec::new();
    for row in &operations {
        match mounts.iter_mut().find(|mount| is_same_place(mount[0], row)) {
            Some(mount) => mount.push(row),
            None => mounts.push(vec![row]),
        }
    }
    let mut tables: Vec<_> = mounts.iter().take(MOUNTS).map(|rows| table(answer, rows, style)).collect();
    if mounts.len() > MOUNTS {
        let rest: Vec<_> = mounts[MOUNTS..].concat();
        tables.push(format!("{} mounts more: {}\n", mounts.len() - MOUNTS, rest_of(answer, &rest)));
    }
    tables.extend(other_programs(answer));
    tables.join("\n")
}

/// Calls that are not NFS's own, in a line.
fn other_programs(answer: &Answer) -> Option<String> {
    let calls = answer.rpc.iter().filter(|row| !row.is_nfs()).fold(0_u64, |sum, row| sum.saturating_add(row.count));
    (calls > 0).then(|| format!("Other RPC programs (rpcbind, mount, locks): {}; see --json\n", counted(calls, "call")))
}

fn is_same_place(a: &RpcRow, b: &RpcRow) -> bool {
    (&a.mounts, &a.server) == (&b.mounts, &b.server)
}

fn table(answer: &Answer, rows: &[&RpcRow], style: Style) -> String {
    let quantiles = "    p50    p90    p99    max";
    let heading = format!("{:<LEFT$}         {quantiles}         {quantiles}", "operation, calls, rate");
    let mut text = style.strong(&title(answer, rows, style));
    text.push_str(&made_by(rows, style));
    text.push_str(&style.faint(&format!("{}\n", cut(&heading, style.width))));
    let (shown, rest) = rows.split_at(worth_showing(rows));
    for row in shown {
        text.push_str(&operation(answer, row, style));
        text.push_str(&call_details::lines(row, answer.window.duration_ns, style));
    }
    if !rest.is_empty() {
        text.push_str(&format!(
            "{} more: {}; see --json\n",
            counted(rest.len() as u64, "operation"),
            rest_of(answer, rest)
        ));
    }
    text
}

/// Who made most of the calls, by their time.
fn made_by(rows: &[&RpcRow], style: Style) -> String {
    let mut makers: Vec<MakerRow> = Vec::new();
    for row in rows {
        makers::merge(&mut makers, &row.makers);
    }
    let all = makers.iter().fold(0_u64, |sum, maker| sum.saturating_add(maker.execute_ns));
    let worth = makers.iter().filter(|maker| maker.execute_ns as f64 >= REST * all as f64).take(MAKERS);
    let words: Vec<_> = worth
        .map(|row| {
            let name = match row.maker {
                Maker::Process(pid) => format!("{} {pid}", row.comm),
                Maker::Kernel => "the kernel (write-back, leases)".to_owned(),
                Maker::Unknown => "not known".to_owned(),
            };
            format!("{name} {}", percent(row.execute_ns, all))
        })
        .collect();
    if words.is_empty() { String::new() } else { paragraph(&words.join(", "), "  made by ", "          ", style) }
}

/// How many of the operations, most time first, are worth two lines of a screen. Calls in flight
/// are, whatever they took.
fn worth_showing(rows: &[&RpcRow]) -> usize {
    let all = time_of(rows.iter().copied()) as f64;
    let mut seen = 0.0;
    let enough = rows.iter().position(|row| {
        let done = all - seen < REST * all && row.in_flight == 0;
        seen += time_of([*row]) as f64;
        done
    });
    enough.unwrap_or(rows.len()).clamp(*OPERATIONS.start(), *OPERATIONS.end()).min(rows.len())
}

fn time_of<'a>(rows: impl IntoIterator<Item = &'a RpcRow>) -> u64 {
    rows.into_iter().fold(0, |sum, row| sum.saturating_add(row.spent_ns()))
}

/// `NFS /mnt/a  10.0.0.1:/export  v4.2  tcp 10.0.0.1 (xprt 3)`.
fn title(answer: &Answer, rows: &[&RpcRow], style: Style) -> String {
    let row = rows[0];
    let mut words = Vec::new();
    match row.mounts.as_slice() {
        [] => words.push("calls of a mount that was not identified".to_owned()),
        [mount] => {
            words.push(mount.clone());
            let known = answer.mounts.iter().find(|known| known.name() == *mount);
            words.extend(known.map(|known| format!("{} v{}", known.source, known.version)));
        }
        several => words.push(format!("{}, shared by {}", row.server, several.join(", "))),
    }
    words.push(transports(answer, row));
    paragraph(&words.join("  "), "NFS ", "    ", style)
}

fn transports(answer: &Answer, place: &RpcRow) -> String {
    let mut transports: Vec<_> = answer
        .rpc
        .iter()
        .filter(|row| is_same_place(row, place))
        .filter_map(|row| Some((row.xprt?, row.xprt_address.as_str())))
        .collect();
    transports.sort_unstable();
    transports.dedup();
    match transports.as_slice() {
        [] => String::new(),
        [(id, address)] => format!("{address} xprt {id}").trim_start().into(),
        several => counted(several.len() as u64, "transport"),
    }
}

/// Two lines: before and between, after and all.
fn operation(answer: &Answer, row: &RpcRow, style: Style) -> String {
    let rate = per_second(row.count, answer.window.duration_ns);
    let calls = format!("{:>6} {:>7}", count(row.count), format!("{rate}/s"));
    let wide = LEFT.saturating_sub(calls.chars().count() + 1);
    let name = cut(&escape(&row.op), wide);
    let mut troubles = if hook::is_fallback(&answer.probes, hook::RPC_LATENCY) {
        "  err, resent not known".to_owned()
    } else {
        format!("  {} err {} resent", count(row.errors), count(row.retransmitted))
    };
    if row.in_flight > 0 {
        troubles.push_str(&format!(" {} open", count(row.in_flight)));
    }
    [
        (format!("{name:<wide$} {calls}"), ("backlog", &row.backlog_ns), ("rtt", &row.rtt_ns)),
        (format!("{troubles:<LEFT$}"), ("tail", &row.tail_ns), ("execute", &row.execute_ns)),
    ]
    .map(|(left, (a, first), (b, second))| {
        let line = format!("{left}  {a:<7}{}  {b:<7}{}", cells(first), cells(second));
        format!("{}\n", cut(&line, style.width))
    })
    .concat()
}

fn cells(latency: &Latency) -> String {
    if latency.count == 0 {
        return format!("{:>7}{:>7}{:>7}{:>7}", "-", "-", "-", "-");
    }
    [latency.p50, latency.p90, latency.p99, latency.max].map(|ns| format!("{:>7}", short_duration(ns))).concat()
}

fn rest_of(answer: &Answer, rows: &[&RpcRow]) -> String {
    let calls = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.count));
    let spent = time_of(rows.iter().copied());
    format!(
        "{}, {} ({} of all NFS time)",
        counted(calls, "call"),
        duration(spent),
        percent(spent, time_of(answer.rpc.iter().filter(|row| row.is_nfs())))
    )
}
