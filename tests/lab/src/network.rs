//! Three guests on one network: an NFS server and the clients `a` and `b`.
//!
//! The wires are unix sockets between the QEMU processes, and the hub that joins them is inside the server's: nothing of
//! this machine's own network is touched or needed.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    Guest, GuestResult, Kernel, Lab,
    guest::{LOOK, Running},
    runs,
    slots::Slots,
};

/// How long the server may take to open its end of the wires.
const WIRES: Duration = Duration::from_secs(20);

/// How long the others go on after one script has failed; they may be waiting for it.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

const NAMES: [&str; 3] = ["server", "a", "b"];

/// A server and two clients, each to be given what it needs.
///
/// The server's script returns when the server is ready; the machine stays until both clients have left.
#[derive(Debug)]
#[must_use = "guests do nothing until they run"]
pub struct ThreeGuests {
    /// The NFS server, 192.168.50.1.
    pub server: Guest,
    /// The first client, 192.168.50.2.
    pub a: Guest,
    /// The second client, 192.168.50.3.
    pub b: Guest,
    lab: Lab,
}

/// What the three guests run.
#[derive(Clone, Copy, Debug)]
pub struct ThreeScripts<'a> {
    /// Run by the server.
    pub server: &'a str,
    /// Run by the first client.
    pub a: &'a str,
    /// Run by the second client.
    pub b: &'a str,
}

/// What the three guests left behind.
#[derive(Clone, Debug)]
pub struct ThreeResults {
    /// The server's.
    pub server: GuestResult,
    /// The first client's.
    pub a: GuestResult,
    /// The second client's.
    pub b: GuestResult,
}

impl ThreeGuests {
    pub(crate) fn new(lab: &Lab, kernel: &Kernel) -> Self {
        // One processor each: three guests of one disturb each other little, even on two cores.
        let guest = |name, mem_mib| lab.guest(kernel).hostname(name).env("LAB_ROLE", name).smp(1).mem_mib(mem_mib);
        Self { server: guest("server", 1024), a: guest("a", 768), b: guest("b", 768), lab: lab.clone() }
    }

    /// Runs all three once no other guest runs (the server is the one that is told of a wait).
    ///
    /// A script that fails is an error here, since the others cannot go on without it.
    pub fn run(mut self, scripts: ThreeScripts<'_>) -> Result<ThreeResults> {
        let _machine = Slots::acquire_all(&self.lab.slots(), &mut self.server.on_wait)?;
        let wires = runs::create(&self.lab.runs(), "wires")?;
        let start = |guest: Guest, name, script| {
            guest.start(script, arguments(name), Some(&wires)).with_context(|| format!("starting guest {name}"))
        };
        let server = start(self.server, "server", scripts.server)?;
        let mut running = vec![server];
        wait_for_wires(&wires, &mut running[0])?;
        running.push(start(self.a, "a", scripts.a)?);
        running.push(start(self.b, "b", scripts.b)?);
        let results = wait(&mut running)?;
        // It held only sockets.
        let _ = fs::remove_dir_all(&wires);
        let [server, a, b] = results;
        Ok(ThreeResults { server, a, b })
    }
}

/// Waits for the sockets that the clients connect to.
fn wait_for_wires(wires: &Path, server: &mut Running) -> Result<()> {
    let start = Instant::now();
    while !NAMES[1..].iter().all(|name| wires.join(name).exists()) {
        server.poll()?;
        if start.elapsed() > WIRES {
            bail!(server.failure("did not open its network"));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn wait(running: &mut [Running]) -> Result<[GuestResult; 3]> {
    let mut results = [const { None }; 3];
    let mut failed: Option<(Instant, usize)> = None;
    loop {
        for (index, guest) in running.iter_mut().enumerate() {
            if results[index].is_none() {
                results[index] = guest.poll()?;
                if results[index].as_ref().is_some_and(|result| result.code != 0) {
                    failed.get_or_insert((Instant::now(), index));
                }
            }
        }
        if let [Some(_), Some(_), Some(_)] = &results {
            break;
        }
        if failed.is_some_and(|(since, _)| since.elapsed() > AFTER_FAILURE) {
            break;
        }
        thread::sleep(LOOK);
    }
    if let Some((_, index)) = failed {
        let failed = results[index].take().context("a guest that failed has a result")?;
        return Err(failed.failure()).context(format!("guest {}", NAMES[index]));
    }
    let [Some(server), Some(a), Some(b)] = results else { bail!("a guest has no result") };
    Ok([server, a, b])
}

/// The arguments that connect the guest called `name`.
fn arguments(name: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    if name == NAMES[0] {
        for client in &NAMES[1..] {
            add("-netdev", format!("stream,id=wire-{client},server=on,addr.type=unix,addr.path={client}"));
            add("-netdev", format!("hubport,id=hub-{client},hubid=0,netdev=wire-{client}"));
        }
        add("-netdev", "hubport,id=card,hubid=0".to_owned());
    } else {
        add("-netdev", format!("stream,id=card,server=off,addr.type=unix,addr.path={name}"));
    }
    // Any address will do that differs from the others'; the first letters' codes do.
    let last = name.bytes().next().unwrap_or_default();
    add("-device", format!("virtio-net-pci,netdev=card,mac=52:54:00:00:50:{last:02x},romfile="));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_a_card_and_a_name_of_its_own_on_the_wire() {
        let all = NAMES.map(|name| arguments(name).join(" "));
        assert!(all[0].contains("addr.path=a") && all[0].contains("addr.path=b") && all[0].contains("hubid=0"));
        assert!(all[1].contains("server=off,addr.type=unix,addr.path=a"));
        let addresses: std::collections::BTreeSet<_> =
            all.iter().map(|line| line.split_once("mac=").unwrap().1).collect();
        assert_eq!(addresses.len(), 3);
    }
}
