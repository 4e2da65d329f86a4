//! PSI totals (`Documentation/accounting/psi.rst`): the `total=` fields, in microseconds there.

use std::{fs, path::Path};

use crate::model::{Pressure, PressureLine};

/// The totals since boot; `None` where the kernel has no PSI or it is switched off.
pub(crate) fn read(proc: &Path) -> Option<Pressure> {
    let line = |name: &str| fs::read_to_string(proc.join("pressure").join(name)).ok().and_then(|text| parse(&text));
    Some(Pressure { cpu: line("cpu")?, memory: line("memory")?, io: line("io")? })
}

/// What was added between two readings.
pub(crate) fn difference(before: Pressure, after: Pressure) -> Pressure {
    let line = |before: PressureLine, after: PressureLine| PressureLine {
        some_ns: after.some_ns.saturating_sub(before.some_ns),
        full_ns: after.full_ns.zip(before.full_ns).map(|(after, before)| after.saturating_sub(before)),
    };
    Pressure {
        cpu: line(before.cpu, after.cpu),
        memory: line(before.memory, after.memory),
        io: line(before.io, after.io),
    }
}

fn parse(text: &str) -> Option<PressureLine> {
    let total_ns = |kind: &str| {
        text.lines()
            .find(|line| line.starts_with(kind))?
            .split(' ')
            .find_map(|word| word.strip_prefix("total=")?.parse::<u64>().ok())
            .map(|microseconds| microseconds * 1_000)
    };
    Some(PressureLine { some_ns: total_ns("some")?, full_ns: total_ns("full") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_totals() {
        let line =
            parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n");
        assert_eq!(line, Some(PressureLine { some_ns: 12_000, full_ns: Some(3_000) }));
    }

    #[test]
    fn a_file_without_full_is_fine() {
        let line = parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n").unwrap();
        assert_eq!(line.full_ns, None);
    }
}
