//! What the two machines have set differently, what matters most first.

use std::collections::BTreeSet;

use serde::Serialize;

use super::gather::place;
use crate::{
    analyse::{Answer, transports::TransportRow},
    model::Mount,
};

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What.
    pub name: String,
    /// In the first.
    pub a: String,
    /// In the second.
    pub b: String,
}

/// Options that name the machine itself, and so always differ.
const OF_THE_MACHINE: [&str; 2] = ["clientaddr", "mountaddr"];

/// `crowded`: exports that are mounted several times.
pub(super) fn differences(a: &Answer, b: &Answer, crowded: &BTreeSet<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut compare = |name: String, a: String, b: String| {
        if a != b {
            settings.push(Setting { name, a, b });
        }
    };
    for first in &a.mounts {
        let source = place(first, crowded);
        let Some(second) = b.mounts.iter().find(|mount| place(mount, crowded) == source) else { continue };
        let (of_first, of_second) = (options(first), options(second));
        let only =
            |one: &BTreeSet<&str>, other: &BTreeSet<&str>| one.difference(other).copied().collect::<Vec<_>>().join(",");
        compare(format!("options of {source}"), only(&of_first, &of_second), only(&of_second, &of_first));
        let transports = |answer: &Answer, mount: &Mount| {
            let over = |row: &&TransportRow| row.mounts.contains(&mount.name());
            answer.transports.iter().filter(over).count().to_string()
        };
        compare(format!("transports of {source}"), transports(a, first), transports(b, second));
    }
    compare("kernel".into(), a.host.kernel.clone(), b.host.kernel.clone());
    compare("architecture".into(), a.host.arch.clone(), b.host.arch.clone());
    compare("CPUs".into(), a.host.cpus.to_string(), b.host.cpus.to_string());
    // A few MiB are the firmware's.
    let gib = |bytes: u64| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30));
    compare("memory".into(), gib(a.host.memory_bytes), gib(b.host.memory_bytes));
    let virtualisation = |answer: &Answer| {
        let machine = answer.machine.as_ref()?;
        Some(match (machine.virtualisation.hypervisor_flag, machine.virtualisation.hypervisor.as_str()) {
            (Some(true), "") => "a guest".to_owned(),
            (_, "") => "no guest, as far as it shows".to_owned(),
            (_, hypervisor) => format!("a guest of {hypervisor}"),
        })
    };
    if let (Some(a), Some(b)) = (virtualisation(a), virtualisation(b)) {
        compare("virtualisation".into(), a, b);
    }
    compare("nfslat".into(), a.tool_version.clone(), b.tool_version.clone());
    settings
}

fn options(mount: &Mount) -> BTreeSet<&str> {
    let is_of_the_machine = |option: &&str| OF_THE_MACHINE.contains(&option.split('=').next().unwrap_or_default());
    mount.options.split(',').filter(|option| !is_of_the_machine(option)).collect()
}
