//! Transports with their calls and their TCP connections, and recordings that lie about them.

mod common;

use common::{MS, S, Scene};
use nfslat::{
    analyse::{TransportRow, answer},
    model::{Mount, Recording, Tcp, TcpConnection, TcpSlice, TcpState, TcpTransport},
    render::{Style, json, text},
};

fn transport(id: Option<u32>, protocol: &str, clients: &[u32]) -> TcpTransport {
    TcpTransport {
        xprt_id: id,
        protocol: protocol.into(),
        address: "192.0.2.1".into(),
        port: 2049,
        clients: clients.to_vec(),
        net_namespace: None,
    }
}

/// Its counters are multiples of `count`.
fn state(at_ns: u64, count: u32) -> TcpState {
    TcpState {
        at_ns,
        state: 1,
        srtt_us: Some(41_000),
        rttvar_us: Some(900),
        min_rtt_us: Some(40_100),
        cwnd_segments: 10,
        mss_bytes: 1448,
        retransmitted_segments: count,
        sent_segments: Some(100_u32.wrapping_mul(count)),
        received_segments: Some(0),
        acked_bytes: Some(u64::from(count) * 100_000),
        received_bytes: Some(0),
        retransmitted_bytes: Some(u64::from(count) * 1448),
        busy_us: Some(u64::from(count) * 500_000),
        rwnd_limited_us: Some(u64::from(count) * 250_000),
        sndbuf_limited_us: Some(0),
        ..TcpState::default()
    }
}

fn connection(transport: u32, client_port: u16, counted: (u32, u32)) -> TcpConnection {
    TcpConnection {
        transport,
        cookie: u64::from(client_port),
        client_port,
        congestion: "cubic".into(),
        open_at_start: true,
        open_at_end: true,
        first: state(0, counted.0),
        last: state(10 * S, counted.1),
        least_min_rtt_us: Some(40_050),
        most_srtt_us: Some(52_000),
        least_cwnd_segments: 2,
    }
}

/// A mount over three transports: one steady, one that has connected again, one that is not of this network namespace.
/// And one of another mount, over RDMA.
fn several() -> Recording {
    let mut scene = Scene::new(10);
    let a = scene.mount("/mnt/a", &[3, 4, 5]);
    scene.calls(a, 3, "READ", &[(0, 41 * MS, 0); 60]);
    scene.calls(a, 4, "READ", &[(0, 90 * MS, 0); 30]);
    scene.calls(a, 5, "READ", &[(0, 41 * MS, 0); 2]);
    let b = scene.mount("/mnt/b", &[7]);
    let mut recording = scene.recording;
    recording.tcp = Some(Tcp {
        transports: vec![
            transport(Some(3), "tcp", &[a]),
            transport(Some(4), "tcp", &[a]),
            transport(Some(7), "rdma", &[b]),
        ],
        connections: vec![
            connection(0, 821, (50, 50)),
            TcpConnection { open_at_end: false, last: state(4 * S, 53), ..connection(1, 822, (50, 50)) },
            TcpConnection { open_at_start: false, first: state(5 * S + MS, 1), ..connection(1, 823, (0, 4)) },
        ],
        failure: String::new(),
    });
    recording
}

fn row(rows: &[TransportRow], id: u32) -> &TransportRow {
    rows.iter().find(|row| row.id == Some(id)).unwrap()
}

#[test]
fn counters_of_one_connection_are_not_taken_from_anothers() {
    let rows = answer(&several()).transports;
    assert_eq!(rows.iter().map(|row| row.id.unwrap()).collect::<Vec<_>>(), [3, 4, 5, 7]);
    let steady = row(&rows, 3).tcp.as_ref().unwrap();
    assert_eq!((steady.reconnects, steady.retransmitted_segments, steady.sent_segments), (0, 0, Some(0)));
    assert_eq!((steady.min_rtt_ns, steady.srtt_max_ns), (Some(40_050_000), Some(52 * MS)));
    let again = row(&rows, 4).tcp.as_ref().unwrap();
    // 53 - 50 of the first, all 4 of the second.
    assert_eq!((again.reconnects, again.retransmitted_segments, again.sent_segments), (1, 7, Some(700)));
    assert_eq!((&again.client_ports[..], again.state), (&[822, 823][..], "established"));
    // The second connection may be as old as the reading before it was first seen.
    assert_eq!((again.observed_ns, again.busy_ns), (4 * S + 5 * S, Some(3_500 * MS)));
}

#[test]
fn what_is_not_known_is_not_zero() {
    let rows = answer(&several()).transports;
    let [foreign, rdma] = [5, 7].map(|id| row(&rows, id));
    assert!(foreign.tcp.is_none() && foreign.tcp_missing.contains("network namespace"), "{foreign:?}");
    assert_eq!((foreign.address.as_str(), foreign.calls.as_ref().unwrap().count), ("192.0.2.1", 2));
    assert_eq!((rdma.tcp_missing.as_str(), &rdma.mounts[..]), ("rdma is not TCP", &["/mnt/b".to_owned()][..]));
    assert_eq!(rdma.calls.as_ref().unwrap().rtt_p50_ns, None);

    let mut recording = several();
    let tcp = recording.tcp.as_mut().unwrap();
    tcp.connections.clear();
    assert_eq!(row(&answer(&recording).transports, 3).tcp_missing, "no connection was found");
    recording.tcp.as_mut().unwrap().failure = "the kernel does not list TCP sockets".into();
    assert_eq!(row(&answer(&recording).transports, 3).tcp_missing, "the kernel does not list TCP sockets");

    // A connection from a kernel that has fewer counters.
    let mut recording = several();
    let tcp = recording.tcp.as_mut().unwrap();
    tcp.connections[0].last = TcpState { busy_us: None, ..tcp.connections[0].last };
    assert_eq!(row(&answer(&recording).transports, 3).tcp.as_ref().unwrap().busy_ns, None);
}

#[test]
fn the_slow_one_shows() {
    let rows = answer(&several()).transports;
    let medians = [3, 4].map(|id| row(&rows, id).calls.as_ref().unwrap().rtt_p50_ns.unwrap() / MS);
    assert!(medians[0].abs_diff(41) <= 1 && medians[1].abs_diff(90) <= 1, "{medians:?}");
}

#[test]
fn the_mount_filter_holds() {
    let mut recording = several();
    recording.options.mount = Some("/mnt/b".into());
    assert_eq!(answer(&recording).transports.iter().map(|row| row.id).collect::<Vec<_>>(), [Some(7)]);
}

/// As kernels without transport numbers have it.
fn unnumbered(ports: &[u16]) -> Recording {
    let mut scene = Scene::new(10);
    let a = scene.mount("/mnt/a", &[]);
    scene.calls(a, 0, "READ", &[(0, 41 * MS, 0); 60]);
    let mut recording = scene.recording;
    recording.rpc_series[0].xprt_id = None;
    recording.mounts.push(Mount { mount_point: "/mnt/other".into(), server: "192.0.2.7".into(), ..Mount::default() });
    recording.tcp = Some(Tcp {
        transports: ports.iter().map(|_| transport(None, "tcp", &[])).collect(),
        connections: ports.iter().zip(0..).map(|(&port, index)| connection(index, port, (0, 1))).collect(),
        failure: String::new(),
    });
    recording
}

#[test]
fn without_numbers_calls_are_told_if_there_is_one_way_only() {
    let rows = answer(&unnumbered(&[700])).transports;
    assert_eq!((rows[0].mounts.as_slice(), rows[0].calls.as_ref().unwrap().count), (&["/mnt/a".to_owned()][..], 60));
    let rows = answer(&unnumbered(&[700, 800])).transports;
    assert_eq!((rows.len(), &rows[0].calls, &rows[1].calls), (2, &None, &None));
    assert!(rows.iter().all(|row| row.mounts == ["/mnt/a"]));
}

#[test]
fn an_equal_address_in_another_network_is_another_server() {
    let mut recording = unnumbered(&[700, 700]);
    recording.tcp.as_mut().unwrap().transports[1].net_namespace = Some(4_026_532_200);
    let address = recording.mounts[0].server.clone();
    let elsewhere = |point: &str, net_namespace| Mount {
        mount_point: point.into(),
        server: address.clone(),
        namespace_pid: Some(5),
        net_namespace,
        ..Mount::default()
    };
    // And one of which it is not known.
    recording.mounts[0].net_namespace = Some(4_026_531_840);
    recording.tcp.as_mut().unwrap().transports[0].net_namespace = Some(4_026_531_840);
    recording.mounts.extend([elsewhere("/data", Some(4_026_532_200)), elsewhere("/what", None)]);
    let rows = answer(&recording).transports;
    let told: Vec<_> = rows.iter().map(|row| (row.mounts.join(", "), row.calls.as_ref().unwrap().count)).collect();
    assert_eq!(told, [("/mnt/a".into(), 60), ("/data (mount namespace of pid 5)".into(), 0)]);
}

/// The lines of the table.
fn table(recording: &Recording) -> Vec<String> {
    let text = text::render(&answer(recording), Style { width: 120, ..Style::default() });
    let lines = text.lines().skip_while(|line| !line.starts_with("TRANSPORTS"));
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_table_is_calm() {
    insta::assert_snapshot!(table(&several()).join("\n"), @r"
    TRANSPORTS                  port  calls  rtt p50  TCP: min rtt    srtt    resent
    tcp 192.0.2.1:2049 xprt 3    821     60   41.0ms        40.0ms  41.0ms         0
    tcp 192.0.2.1:2049 xprt 4    823     30   90.0ms        40.0ms  41.0ms  7 (1.0%)  1 reconnect, server's window full 19%
    tcp 192.0.2.1 xprt 5           -      2   41.0ms             -       -         -  gone, or of another network namespace
    rdma 192.0.2.1:2049 xprt 7     -      0        -             -       -         -  rdma is not TCP
    ");
    insta::assert_snapshot!(table(&unnumbered(&[700, 800])).join("\n"), @r"
    TRANSPORTS          port  calls  rtt p50  TCP: min rtt    srtt    resent
    tcp 192.0.2.1:2049   700      ?        -        40.0ms  41.0ms  1 (1.0%)  server's window full 2.5%
    tcp 192.0.2.1:2049   800      ?        -        40.0ms  41.0ms  1 (1.0%)  server's window full 2.5%
    ");
}

#[test]
fn the_table_needs_calls_and_has_an_end() {
    let mut recording = several();
    recording.slices.iter_mut().for_each(|slice| slice.rpc.clear());
    assert_eq!(table(&recording), [""; 0]);
    let ports: Vec<u16> = (700..720).collect();
    let lines = table(&unnumbered(&ports));
    assert_eq!((lines.len(), lines.last().unwrap().as_str()), (10, "12 transports more; see --json"));
}

#[test]
fn recordings_of_older_versions_have_none() {
    let mut old = serde_json::to_value(several()).unwrap();
    old.as_object_mut().unwrap().remove("tcp");
    let old: Recording = serde_json::from_value(old).unwrap();
    old.validate().unwrap();
    assert!(answer(&old).transports.is_empty() && table(&old).is_empty());
    // What later versions leave out, or add, does no harm either.
    let sparse: Tcp = serde_json::from_str(r#"{"connections": [{"transport": 0, "more": 1}]}"#).unwrap();
    assert_eq!(sparse.connections.len(), 1);
}

#[test]
fn what_refers_to_nothing_is_refused() {
    let mut recording = several();
    recording.tcp.as_mut().unwrap().connections[0].transport = 3;
    assert!(recording.validate().unwrap_err().contains("transport 3 of 3"));
    let mut recording = several();
    recording.slices[0].tcp.push(TcpSlice { connection: 3, ..TcpSlice::default() });
    assert!(recording.validate().unwrap_err().contains("TCP connection 3 of 3"));
}

#[test]
fn a_hostile_recording_does_no_harm() {
    let mut recording = several();
    let tcp = recording.tcp.as_mut().unwrap();
    for transport in &mut tcp.transports {
        transport.address = "\u{1b}[31m\u{202e}::evil".into();
    }
    tcp.transports[2].protocol = "\u{1b}]0;rdma\n".into();
    let most = TcpState {
        at_ns: u64::MAX,
        srtt_us: Some(u32::MAX),
        retransmitted_segments: u32::MAX,
        sent_segments: Some(u32::MAX),
        acked_bytes: Some(u64::MAX),
        busy_us: Some(u64::MAX),
        rwnd_limited_us: Some(u64::MAX),
        ..TcpState::default()
    };
    for connection in &mut tcp.connections {
        // Counters that run backwards.
        (connection.first, connection.last) = (most, TcpState { at_ns: 1, ..TcpState::default() });
    }
    recording.validate().unwrap();
    let back = answer(&recording);
    assert!(!text::render(&back, Style::default()).contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(back.transports.iter().filter_map(|row| row.tcp.as_ref()?.acked_bytes).max(), None);
    let tcp = recording.tcp.as_mut().unwrap();
    for connection in &mut tcp.connections {
        (connection.first, connection.last) = (TcpState::default(), most);
        connection.open_at_start = false;
    }
    let shown = answer(&recording);
    assert!(json::render(&shown).contains("\"transports\""));
    assert!(!text::render(&shown, Style::default()).is_empty());
}
