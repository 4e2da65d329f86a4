//! `cargo xtask demo`: nfslat's main job, on three virtual machines that this command makes up.
//!
//! Two clients of one NFS server do the same work. All that client `b` sends is late by some milliseconds, as behind a
//! slow network card. nfslat measures on both at the same time; its answers should differ in one layer only.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nfslat_lab::{Guest, GuestResult, Lab, SOURCES, ThreeScripts, host, setup, source};

use crate::{
    build, ebpf,
    show::{self, Progress},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which kernel the three machines run: 5.10, 6.1, 6.12 or newest
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// How late client b's packets are
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20)]
    delay: u32,
    /// How long nfslat measures
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    duration: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let start = Instant::now();
    let Some(kernel) = source(&arguments.kernel) else {
        let known: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
        bail!("the lab has no kernel {}: choose one of {}", arguments.kernel, known.join(", "));
    };
    show::title("what the demo needs");
    ebpf::setup()?;
    let wanted = setup::Wanted { kernels: vec![kernel], packages: Vec::new(), refresh: false };
    setup::run(&wanted, &|step| show::step(step.what, step.outcome))?;
    build::release(&["nfslat", "nfslat-workload"])?;
    show::step("nfslat", "built");

    let lab = Lab::open()?;
    let kernel = lab.kernel(kernel.name)?;
    show::title(&format!(
        "\nan NFS server and the clients a and b, kernel {}; what b sends is {} ms late",
        kernel.release, arguments.delay
    ));
    let progress = Arc::new(Progress::start("booting three machines"));
    let mut guests = lab.three_guests(&kernel);
    let waiting = Arc::clone(&progress);
    guests.server = watched(guests.server, "server", &progress)
        .on_wait(move || waiting.stage("waiting until other guests have ended, then booting three machines"));
    guests.a = client(guests.a, "a", &progress)?;
    guests.b = client(guests.b, "b", &progress)?.env("DELAY_MS", arguments.delay);
    let script = client_script(arguments.duration);
    let results = guests.run(ThreeScripts { server: "nfs_serve; stage serving NFS", a: &script, b: &script })?;
    drop(progress);

    let folder = build::target()?.join("demo");
    let recordings = [("a", &results.a), ("b", &results.b)]
        .map(|(name, result)| keep(name, result, &folder))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for (name, recording) in ["a", "b"].iter().zip(&recordings) {
        show(&format!("client {name}"), "report", std::slice::from_ref(recording))?;
    }
    show("client b beside client a", "diff", &recordings)?;
    let mut ending = format!(
        "\ndone in {}. The recordings, for nfslat report and other commands:\n",
        show::duration(start.elapsed())
    );
    for recording in &recordings {
        writeln!(ending, "  {}", recording.display())?;
    }
    print!("{ending}");
    Ok(ExitCode::SUCCESS)
}

/// A client with the programs it needs.
fn client(guest: Guest, name: &'static str, progress: &Arc<Progress>) -> Result<Guest> {
    let guest = watched(guest, name, progress).timeout(Duration::from_secs(240));
    Ok(guest
        .file(build::program("nfslat")?, "/usr/local/bin/nfslat")
        .file(build::program("nfslat-workload")?, "/usr/local/bin/nfslat-workload"))
}

/// A guest whose stages are shown.
fn watched(guest: Guest, name: &'static str, progress: &Arc<Progress>) -> Guest {
    let progress = Arc::clone(progress);
    let mut line = Vec::new();
    guest.on_output(move |bytes| {
        for byte in bytes {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            if let Some(stage) = stage(&String::from_utf8_lossy(&line)) {
                progress.stage(&format!("{name}: {stage}"));
            }
            line.clear();
        }
    })
}

/// The words of a line such as `lab: 7.1 s: serving NFS`.
fn stage(line: &str) -> Option<&str> {
    line.strip_prefix("lab: ")?.split_once(" s: ").map(|(_, words)| words)
}

/// The work goes on before, while and after nfslat measures, so that it sees nothing but work.
///
/// Code 3 of nfslat means that the data is incomplete; its answer says so, and is worth showing.
fn client_script(seconds: u32) -> String {
    format!(
        r#"
nfs_mount 4.2 /mnt/nfs
mkdir -p "/mnt/nfs/$LAB_HOSTNAME"
[ -z "${{DELAY_MS:-}}" ] || delay eth0 "${{DELAY_MS}}ms"
stage mounted
meet mounted
nfslat-workload nfs-mixed --dir "/mnt/nfs/$LAB_HOSTNAME" --duration 600 >/dev/null &
work=$!
sleep 2
meet working
stage "measuring for {seconds} s"
nfslat trace --duration {seconds} --mount /mnt/nfs -o /results/recording.nfslat >/results/answer.txt || [ $? = 3 ]
stage "measured"
meet measured
kill $work
wait $work || true
"#
    )
}

/// Copies a client's recording to where later commands find it.
fn keep(name: &str, result: &GuestResult, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let from = result.results().join("recording.nfslat");
    ensure!(from.is_file(), "client {name} left no recording; it printed:\n{}", host::tail(&result.output, 20));
    let to = folder.join(format!("{name}.nfslat"));
    fs::copy(&from, &to).with_context(|| format!("copying {name}'s recording to {}", to.display()))?;
    Ok(to)
}

/// Prints what a command says of recordings.
fn show(what: &str, command: &str, recordings: &[PathBuf]) -> Result<()> {
    println!("\n=== {what}\n");
    let program = build::program("nfslat")?;
    let status = Command::new(&program).arg(command).args(recordings).status();
    let status = status.with_context(|| format!("running {}", program.display()))?;
    // 3 means that a recording is incomplete, which the answer says itself.
    ensure!(matches!(status.code(), Some(0 | 3)), "nfslat {command} {recordings:?} failed: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_lab_are_stages() {
        assert_eq!(stage("lab: 7.12 s: serving NFS: 8 threads"), Some("serving NFS: 8 threads"));
        assert_eq!(stage("mount: lab: busy"), None);
        assert_eq!(stage("lab: gave up"), None);
    }
}
