//! The table of what runs on which kernel, written by the run that saw it.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::check::{Ended, Verdict};

/// What was seen, by kernel.
#[derive(Debug, Default)]
pub struct Matrix {
    kernels: Vec<String>,
    probes: Rows,
    checks: Rows,
}

/// Cells by row and column.
type Rows = BTreeMap<String, BTreeMap<usize, String>>;

/// What `nfslat doctor --json` says of probes.
#[derive(Debug, Deserialize)]
struct Doctor {
    probes: Vec<Probe>,
}

#[derive(Debug, Deserialize)]
struct Probe {
    hook: String,
    state: String,
}

impl Matrix {
    /// Adds a column: verdicts, and what `doctor` said, if it was run.
    pub fn add(&mut self, kernel: &str, verdicts: &[Verdict], doctor: Option<&str>) -> Result<()> {
        let column = self.kernels.len();
        self.kernels.push(kernel.to_owned());
        for verdict in verdicts {
            let cell = symbol(&verdict.result).to_owned();
            self.checks.entry(verdict.check.clone()).or_default().insert(column, cell);
        }
        if let Some(doctor) = doctor {
            let doctor: Doctor = serde_json::from_str(doctor).context("reading what doctor said")?;
            for probe in doctor.probes {
                self.probes.entry(format!("`{}`", probe.hook)).or_default().insert(column, probe.state);
            }
        }
        Ok(())
    }

    /// Writes it as Markdown.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    fn table(&self, out: &mut fmt::Formatter<'_>, title: &str, rows: &Rows) -> fmt::Result {
        writeln!(out, "| {title} | {} |", self.kernels.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(self.kernels.len()))?;
        for (row, cells) in rows {
            write!(out, "| {row} |")?;
            for column in 0..self.kernels.len() {
                write!(out, " {} |", cells.get(&column).map_or("", String::as_str))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(out, "probe", &self.probes)?;
        writeln!(out)?;
        self.table(out, "check", &self.checks)
    }
}

fn symbol(ended: &Ended) -> &'static str {
    match ended {
        Ended::Passed => "yes",
        Ended::Skipped(_) => "not seen",
        Ended::Failed(_) => "**no**",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_left_empty() {
        let verdict = |check: &str, result| Verdict { check: check.to_owned(), result, seconds: 0.0 };
        let mut matrix = Matrix::default();
        let first = [verdict("a::b", Ended::Passed), verdict("a::c", Ended::Failed("x".to_owned()))];
        matrix.add("6.1", &first, Some(r#"{"probes": [{"hook": "sched:switch", "state": "attached"}]}"#)).unwrap();
        matrix.add("6.12", &[verdict("a::b", Ended::Skipped("x".to_owned()))], None).unwrap();
        let wanted = "| probe | 6.1 | 6.12 |\n|---|---|---|\n| `sched:switch` | attached |  |\n\n\
                      | check | 6.1 | 6.12 |\n|---|---|---|\n| a::b | yes | not seen |\n| a::c | **no** |  |\n";
        assert_eq!(matrix.to_string(), wanted);
    }
}
